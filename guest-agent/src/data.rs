// SPDX-License-Identifier: Apache-2.0

//! Disks with files beside those of the root.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, openat, syncfs};
use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick};

use crate::disk::Location;
use crate::error::StepError;
use crate::furnishing::check_path;
use crate::log;
use crate::mounts;
use crate::proto::{DataDisk, Filesystem, Mount, MountAttributes, data_disk};

/// As many as a machine has besides those of the root.
const MAX_DISKS: usize = 16;

/// MOUNT_ATTR_* of linux/mount.h.
const RDONLY: u64 = 0x1;
const NODEV: u64 = 0x4;
const NOATIME: u64 = 0x10;

/// What was asked for, checked.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) location: Location,
    request: DataDisk,
}

/// A disk that is there.
#[derive(Debug)]
pub(crate) struct Disk {
    device: PathBuf,
    request: DataDisk,
}

/// A filesystem that is mounted nowhere yet.
#[derive(Debug)]
pub(crate) struct Opened {
    tree: OwnedFd,
    request: DataDisk,
}

/// Says what breaks the contract.
pub(crate) fn check(requests: &[DataDisk]) -> Result<Vec<Wanted>, String> {
    if requests.len() > MAX_DISKS {
        return Err(format!("{} data disks are more than {MAX_DISKS}", requests.len()));
    }
    let mut all: Vec<Wanted> = Vec::with_capacity(requests.len());
    for request in requests {
        let path = &request.destination;
        check_path(path)?;
        let first = path.split('/').find(|name| !matches!(*name, "" | "."));
        if matches!(first, None | Some("dev" | "proc" | "sys")) {
            return Err(format!("no place for a disk: '{path}'"));
        }
        let location = match &request.disk {
            None => return Err(format!("no disk for {path}")),
            Some(data_disk::Disk::Serial(serial)) => Location::serial(serial)?,
            Some(data_disk::Disk::Scsi(scsi)) => Location::scsi(scsi)?,
        };
        if all.iter().any(|other| other.location == location) {
            return Err(format!("the disk for {path} is another's, too"));
        }
        all.push(Wanted { location, request: request.clone() });
    }
    Ok(all)
}

impl Wanted {
    pub(crate) fn found(self, device: PathBuf) -> Disk {
        Disk { device, request: self.request }
    }
}

impl Disk {
    /// Opens the filesystem, as long as the thread's root has the device.
    pub(crate) fn open(&self, all_devices: bool) -> Result<Opened, StepError> {
        let DataDisk { destination, read_only, kept, .. } = &self.request;
        // What to do about a damaged filesystem is not its own choice, which could be a kernel panic.
        let mut parameters = vec!["errors=remount-ro"];
        match (read_only, kept) {
            // A journal could not be replayed, and the host has seen that there is nothing in it.
            (true, _) => parameters.extend(["ro", "noload"]),
            // What is deleted is the host's again at once.
            (false, true) => parameters.push("discard"),
            // Nothing of it is kept beyond this machine, so its flushes would protect nothing.
            (false, false) => parameters.extend(["discard", "nobarrier"]),
        }
        let mut set = NOATIME;
        if *read_only {
            set |= RDONLY;
        }
        if !all_devices {
            set |= NODEV;
        }
        let filesystem = Filesystem {
            r#type: "ext4".into(),
            source: self.device.to_string_lossy().into(),
            parameters: parameters.into_iter().map(Into::into).collect(),
            ..Filesystem::default()
        };
        let attributes = Some(MountAttributes { set, clear: 0 });
        let mount = Mount { destination: destination.clone(), attributes, ..Mount::default() };
        let tree = mounts::create(&filesystem, &mount)?;
        Ok(Opened { tree, request: self.request.clone() })
    }
}

/// What the agent keeps of disks that can be written to.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// To be asked for their room.
    pub(crate) room: Vec<OwnedFd>,
    pub(crate) kept: Kept,
}

/// Mounts them below the thread's root, one after the other.
pub(crate) fn place(disks: Vec<Opened>) -> Result<Written, StepError> {
    let mut written = Written::default();
    for Opened { tree, request } in disks {
        mounts::place_directory(&tree, &request.destination)?;
        if request.read_only {
            continue;
        }
        // Without one it is whole, and no event tells that it is full.
        written.room.extend(openat(&tree, c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()));
        if request.kept {
            written.kept.0.push((tree, request.destination));
        }
    }
    Ok(written)
}

/// Disks that outlive the machine.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<(OwnedFd, String)>);

impl Kept {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes all that is not on them yet, and leaves them clean, unless somebody has files of them open to write. Takes as
    /// long as the disks take.
    pub(crate) fn close(&self) {
        for (tree, path) in &self.0 {
            let closed =
                fspick(tree, c"", FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC).and_then(|context| {
                    fsconfig_set_flag(&context, "ro")?;
                    fsconfig_reconfigure(&context)
                });
            if let Err(errno) = closed {
                log!("the disk on {path} is not closed: {}", std::io::Error::from(errno));
                // A descriptor that has nothing but a path cannot be synchronised.
                let directory = openat(tree, c".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                if let Err(errno) = directory.and_then(syncfs) {
                    log!("the disk on {path} is not written: {}", std::io::Error::from(errno));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ScsiDisk;

    fn disk(serial: &str, destination: &str) -> DataDisk {
        let disk = Some(data_disk::Disk::Serial(serial.into()));
        DataDisk { disk, destination: destination.into(), ..DataDisk::default() }
    }

    #[test]
    fn disks_have_places_and_are_different() {
        let controller = "df6d0690-79e5-55b6-a5ec-c1e2f77f580a".to_owned();
        let scsi = Some(data_disk::Disk::Scsi(ScsiDisk { controller, lun: 3 }));
        let scsi = DataDisk { disk: scsi, destination: "/b/c".into(), ..DataDisk::default() };
        assert_eq!(check(&[disk("a", "/data"), scsi, disk("b", "/device")]).unwrap().len(), 3);
        for (refused, words) in [
            (disk("a", "data"), "not an absolute path"),
            (disk("a", "/a/../b"), "without '..'"),
            (disk("a", "/"), "no place"),
            (disk("a", "//./"), "no place"),
            (disk("a", "/./proc/x"), "no place"),
            (disk("a", "/dev"), "no place"),
            (disk("", "/data"), "serial number"),
            (DataDisk { destination: "/data".into(), ..DataDisk::default() }, "no disk"),
        ] {
            let refusal = check(&[refused]).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
        assert!(check(&[disk("a", "/a"), disk("a", "/b")]).unwrap_err().contains("another's"));
        assert!(check(&vec![disk("a", "/a"); 17]).unwrap_err().contains("17 data disks"));
    }
}
