// SPDX-License-Identifier: Apache-2.0

//! How the workload's root is furnished, as the host asks for it; checked before anything is made of it.

use std::ffi::CString;

use rustix::mount::MountFlags;

use crate::namespaces;
use crate::proto;
use crate::proto::device::Type;
use crate::proto::mount::What;
use crate::proto::{MountPropagation, Paths};

const MAX_MOUNTS: usize = 256;
const MAX_DEVICES: usize = 128;
const MAX_PATHS: usize = 256;
const MAX_PARAMETERS: usize = 64;
/// PATH_MAX of linux/limits.h, without the NUL.
const MAX_BYTES: usize = 4095;
const MAX_FILESYSTEM_BYTES: usize = 32;
/// __NEW_UTS_LEN of linux/utsname.h.
const MAX_DOMAINNAME_BYTES: usize = 64;
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

/// MOUNT_ATTR_* of linux/mount.h: what a host may set and clear, with the flags of mount(2) that are the same.
const ATTRIBUTES: [(u64, MountFlags); 8] = [
    (0x1, MountFlags::RDONLY),
    (0x2, MountFlags::NOSUID),
    (0x4, MountFlags::NODEV),
    (0x8, MountFlags::NOEXEC),
    (0x10, MountFlags::NOATIME),
    (0x20, MountFlags::STRICTATIME),
    (0x80, MountFlags::NODIRATIME),
    (0x20_0000, MountFlags::from_bits_retain(libc::MS_NOSYMFOLLOW as u32)),
];
/// Three kinds of atime share two bits; all are cleared where one is set.
const ATIME: u64 = 0x70;

/// Paths of /proc and /sys that tell about, or act on, the whole machine: Docker's defaults.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A filesystem that is there whatever the host says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Usual {
    Devices,
    Terminals,
    SharedMemory,
    Queues,
    Sys,
    Proc,
    Cgroup,
}

impl Usual {
    /// The one that a mount stands for, if any.
    fn of(destination: &str, filesystem: &str) -> Option<Self> {
        match (destination, filesystem) {
            ("/dev", "tmpfs" | "devtmpfs") => Some(Self::Devices),
            ("/dev/pts", "devpts") => Some(Self::Terminals),
            ("/dev/shm", "tmpfs") => Some(Self::SharedMemory),
            ("/dev/mqueue", "mqueue") => Some(Self::Queues),
            ("/sys", "sysfs") => Some(Self::Sys),
            ("/proc", "proc") => Some(Self::Proc),
            ("/sys/fs/cgroup", "cgroup2") => Some(Self::Cgroup),
            _ => None,
        }
    }
}

/// What mount(2) is given for a usual filesystem.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) filesystem: CString,
    pub(crate) source: CString,
    pub(crate) flags: MountFlags,
    pub(crate) data: CString,
}

impl Options {
    pub(crate) fn new(filesystem: &str, flags: MountFlags, data: &str) -> Self {
        Self { filesystem: text(filesystem), source: text(filesystem), flags, data: text(data) }
    }
}

/// What comes from the host was looked at, the rest is written in this crate.
fn text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// What was asked for, checked.
#[derive(Debug)]
pub(crate) struct Furnishing {
    /// Usual filesystems that differ.
    usual: Vec<(Usual, Options)>,
    pub(crate) mounts: Vec<proto::Mount>,
    /// Where the host has something mounted after a /proc of its own.
    pub(crate) after_proc: Vec<CString>,
    pub(crate) devices: Vec<proto::Device>,
    pub(crate) all_devices: bool,
    pub(crate) read_only_root: bool,
    pub(crate) root_propagation: MountPropagation,
    pub(crate) masked: Vec<CString>,
    pub(crate) read_only: Vec<CString>,
    pub(crate) domainname: String,
    pub(crate) image_names: bool,
}

impl Furnishing {
    /// Says what breaks the contract.
    pub(crate) fn check(request: proto::Furnishing) -> Result<Self, String> {
        at_most("mounts", request.mounts.len(), MAX_MOUNTS)?;
        at_most("devices", request.devices.len(), MAX_DEVICES)?;
        at_most("bytes of domainname", request.domainname.len(), MAX_DOMAINNAME_BYTES)?;
        let root_propagation = propagation(request.root_propagation)?;
        let masked = paths(request.masked_paths, MASKED)?;
        let read_only = paths(request.read_only_paths, READ_ONLY)?;
        request.devices.iter().try_for_each(check_device)?;
        let after_proc = after_proc(&request.mounts);
        let (mut usual, mut mounts) = (Vec::new(), Vec::new());
        for mut mount in request.mounts {
            check_mount(&mount)?;
            if !request.all_devices {
                close_to_devices(&mut mount)?;
            }
            match of_usual(&mount) {
                Some(replaced) => usual.push(replaced),
                None => mounts.push(mount),
            }
        }
        Ok(Self {
            usual,
            mounts,
            after_proc,
            devices: request.devices,
            all_devices: request.all_devices,
            read_only_root: request.read_only_root,
            root_propagation,
            masked,
            read_only,
            domainname: request.domainname,
            image_names: request.image_names,
        })
    }

    /// What the host asked for in place of a usual filesystem; the last, should it have said so twice.
    pub(crate) fn usual(&self, which: Usual) -> Option<&Options> {
        self.usual.iter().rev().find(|(usual, _)| *usual == which).map(|(_, options)| options)
    }
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count <= most { Ok(()) } else { Err(format!("{count} {what} are more than {most}")) }
}

/// Whether it can be a path of the workload's.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    let leads_up = path.split('/').any(|name| name == "..");
    if path.len() > MAX_BYTES || !path.starts_with('/') || path.contains('\0') || leads_up {
        return Err(format!("not an absolute path of at most {MAX_BYTES} bytes without '..': '{path}'"));
    }
    Ok(())
}

fn paths(given: Option<Paths>, default: &[&str]) -> Result<Vec<CString>, String> {
    let given = given.map_or_else(|| default.iter().map(|&path| path.into()).collect(), |paths| paths.paths);
    at_most("paths", given.len(), MAX_PATHS)?;
    given
        .into_iter()
        .map(|path| check_path(&path).and_then(|()| CString::new(path).map_err(|error| error.to_string())))
        .collect()
}

fn propagation(value: i32) -> Result<MountPropagation, String> {
    MountPropagation::try_from(value).map_err(|_| format!("there is no mount propagation {value}"))
}

fn check_device(device: &proto::Device) -> Result<(), String> {
    check_path(&device.path)?;
    match device.r#type() {
        Type::Unspecified => return Err(format!("{} is of no known type", device.path)),
        Type::Character | Type::Block | Type::Fifo => {}
    }
    if device.major > MAX_MAJOR || device.minor > MAX_MINOR || device.mode > 0o7777 {
        return Err(format!("{} has a number that is too large", device.path));
    }
    Ok(())
}

fn check_mount(mount: &proto::Mount) -> Result<(), String> {
    check_path(&mount.destination)?;
    // Each PID namespace has a /proc of its own.
    if mount.destination.starts_with("/proc/") {
        return Err(format!("{} is below /proc, where nothing can be mounted", mount.destination));
    }
    propagation(mount.propagation)?;
    propagation(mount.recursive_propagation)?;
    if let Some(ids) = &mount.ids {
        namespaces::check_mappings([&ids.uid_mappings, &ids.gid_mappings])?;
    }
    for attributes in [&mount.attributes, &mount.recursive_attributes].into_iter().flatten() {
        let known = ATTRIBUTES.iter().fold(ATIME, |known, (attribute, _)| known | attribute);
        if (attributes.set | attributes.clear) & !known != 0 {
            return Err(format!("attributes of {} that are not known", mount.destination));
        }
    }
    match &mount.what {
        None => Err(format!("nothing to mount on {}", mount.destination)),
        Some(What::Remount(_)) if mount.ids.is_some() => {
            Err(format!("what is on {} is mounted already, and its owners are numbered", mount.destination))
        }
        Some(What::Remount(remount)) => check_parameters(&remount.parameters, &mount.destination),
        Some(What::Bind(bind)) => check_path(&bind.source),
        Some(What::Filesystem(filesystem)) => {
            let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
            let name = &filesystem.r#type;
            if name.is_empty() || name.len() > MAX_FILESYSTEM_BYTES || !name.bytes().all(named) {
                return Err(format!("'{name}' is no filesystem's name"));
            }
            if filesystem.copy_up && (name != "tmpfs" || mount.destination == "/dev") {
                return Err(format!("{name} on {} is not to be filled with what is there", mount.destination));
            }
            check_text(&filesystem.source, &mount.destination)?;
            check_parameters(&filesystem.parameters, &mount.destination)
        }
    }
}

fn check_parameters(parameters: &[String], of: &str) -> Result<(), String> {
    at_most("parameters", parameters.len(), MAX_PARAMETERS)?;
    parameters.iter().try_for_each(|parameter| check_text(parameter, of))
}

fn check_text(text: &str, of: &str) -> Result<(), String> {
    match text.len() <= MAX_BYTES && !text.contains('\0') {
        true => Ok(()),
        false => Err(format!("not a text of at most {MAX_BYTES} bytes for {of}")),
    }
}

/// Keeps a mount from letting device files be opened that the workload makes on it.
fn close_to_devices(mount: &mut proto::Mount) -> Result<(), String> {
    const NODEV: u64 = 0x4;
    let is_new = matches!(mount.what, Some(What::Filesystem(_)));
    for attributes in [&mut mount.attributes, &mut mount.recursive_attributes].into_iter().flatten() {
        if attributes.clear & !attributes.set & NODEV != 0 && !is_new {
            return Err(format!("{} would let any device file be opened, which all_devices does", mount.destination));
        }
        attributes.clear &= !NODEV;
    }
    // Of a bind mount it would close the device files that are there on purpose.
    if is_new {
        mount.attributes.get_or_insert_default().set |= NODEV;
    }
    Ok(())
}

/// Of all that is mounted after a /proc, what is not below another of these. None where a mount cannot be copied, or would
/// take others with it when it goes.
fn after_proc(mounts: &[proto::Mount]) -> Vec<CString> {
    let stays = |propagation| matches!(propagation, MountPropagation::Shared | MountPropagation::Unbindable);
    if mounts.iter().any(|mount| stays(mount.propagation()) || stays(mount.recursive_propagation())) {
        return Vec::new();
    }
    let is_proc = |mount: &proto::Mount| matches!(of_usual(mount), Some((Usual::Proc, _)));
    let Some(proc) = mounts.iter().position(is_proc) else { return Vec::new() };
    let mut tops: Vec<&str> = Vec::new();
    for mount in mounts[proc + 1..].iter().filter(|mount| !matches!(mount.what, Some(What::Remount(_)))) {
        let path = mount.destination.trim_end_matches('/');
        let is_below = |top: &&str| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !path.is_empty() && path != "/proc" && !tops.iter().any(|top| is_below(&top)) {
            tops.push(path);
        }
    }
    tops.into_iter().map(text).collect()
}

fn of_usual(mount: &proto::Mount) -> Option<(Usual, Options)> {
    let Some(What::Filesystem(filesystem)) = &mount.what else { return None };
    // That takes a mount of its own, over the usual one.
    if mount.ids.is_some() || filesystem.copy_up {
        return None;
    }
    let usual = Usual::of(&mount.destination, &filesystem.r#type)?;
    // Below it nothing is mounted yet, so what is recursive is its own; later of the two.
    let attributes = [mount.attributes, mount.recursive_attributes].into_iter().flatten();
    let set = attributes.fold(0, |set, attributes| (set & !attributes.clear) | attributes.set);
    let versions = if filesystem.i_version {
        MountFlags::from_bits_retain(libc::MS_I_VERSION as u32)
    } else {
        MountFlags::empty()
    };
    let mut options = Options::new(&filesystem.r#type, flags_of(set) | versions, &filesystem.parameters.join(","));
    if !filesystem.source.is_empty() {
        options.source = text(&filesystem.source);
    }
    Some((usual, options))
}

/// The flags of mount(2) that are the same as attributes that are set.
pub(crate) fn flags_of(set: u64) -> MountFlags {
    ATTRIBUTES
        .iter()
        .filter(|(attribute, _)| set & attribute != 0)
        .fold(MountFlags::empty(), |flags, (_, flag)| flags | *flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{BindMount, Filesystem, MountAttributes, Remount};

    fn filesystem(destination: &str, name: &str, parameters: &[&str]) -> proto::Mount {
        let parameters = parameters.iter().map(|&parameter| parameter.into()).collect();
        let what =
            What::Filesystem(Filesystem { r#type: name.into(), source: name.into(), parameters, ..Default::default() });
        proto::Mount { destination: destination.into(), what: Some(what), ..proto::Mount::default() }
    }

    fn checked(mounts: Vec<proto::Mount>) -> Result<Furnishing, String> {
        Furnishing::check(proto::Furnishing { mounts, ..proto::Furnishing::default() })
    }

    #[test]
    fn nothing_is_docker_s_default() {
        let furnishing = checked(Vec::new()).unwrap();
        assert!(furnishing.usual.is_empty() && furnishing.mounts.is_empty() && !furnishing.read_only_root);
        assert_eq!((furnishing.masked.len(), furnishing.read_only.len()), (MASKED.len(), READ_ONLY.len()));
    }

    #[test]
    fn a_filesystem_in_a_usual_one_s_place_is_mounted_as_that() {
        let attributes = Some(MountAttributes { set: 0x1 | 0x2 | 0x20, clear: ATIME });
        let proc = proto::Mount { attributes, ..filesystem("/proc", "proc", &["hidepid=2", "gid=7"]) };
        let furnishing = checked(vec![proc, filesystem("/data", "tmpfs", &[])]).unwrap();
        let options = furnishing.usual(Usual::Proc).unwrap();
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::STRICTATIME;
        assert_eq!(options.flags, flags);
        assert_eq!(options.data.as_c_str(), c"hidepid=2,gid=7");
        assert!(furnishing.usual(Usual::Sys).is_none());
        assert_eq!(furnishing.mounts.len(), 1);
    }

    #[test]
    fn what_is_mounted_after_proc_is_known() {
        let after = |paths: &[&str]| {
            let mount = |&path: &&str| filesystem(path, if path == "/proc" { "proc" } else { "tmpfs" }, &[]);
            let mut mounts: Vec<_> = paths.iter().map(mount).collect();
            mounts.push(proto::Mount {
                destination: "/changed".into(),
                what: Some(What::Remount(Remount::default())),
                ..Default::default()
            });
            let paths = checked(mounts).unwrap().after_proc;
            paths.into_iter().map(|path| path.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(
            after(&["/a", "/proc", "/dev", "/dev/shm", "/device", "/b/c", "/b"]),
            ["/dev", "/device", "/b/c", "/b"]
        );
        assert_eq!(after(&["/a", "/b"]), [""; 0]);
        assert_eq!(after(&["/a", "/proc"]), [""; 0]);
    }

    #[test]
    fn another_filesystem_in_that_place_is_one_mount_more() {
        for mount in [filesystem("/proc", "tmpfs", &[]), filesystem("/dev/shm", "ramfs", &[])] {
            let furnishing = checked(vec![mount]).unwrap();
            assert!(furnishing.usual.is_empty());
            assert_eq!(furnishing.mounts.len(), 1);
        }
    }

    #[test]
    fn device_files_of_the_workload_s_own_work_only_where_all_do() {
        let clear = Some(MountAttributes { set: 0, clear: 0x4 });
        let tmpfs = proto::Mount { attributes: clear, ..filesystem("/data", "tmpfs", &[]) };
        let furnishing = checked(vec![tmpfs.clone()]).unwrap();
        assert_eq!(furnishing.mounts[0].attributes, Some(MountAttributes { set: 0x4, clear: 0 }));
        let what = Some(What::Remount(Remount::default()));
        let remount = proto::Mount { destination: "/".into(), what, attributes: clear, ..proto::Mount::default() };
        assert!(checked(vec![remount.clone()]).unwrap_err().contains("any device file"));
        let mounts = vec![tmpfs, remount];
        let all = proto::Furnishing { mounts: mounts.clone(), all_devices: true, ..proto::Furnishing::default() };
        assert_eq!(Furnishing::check(all).unwrap().mounts, mounts);
    }

    #[test]
    fn none_at_all_is_not_the_default() {
        let none = Some(Paths::default());
        let request = proto::Furnishing { masked_paths: none.clone(), read_only_paths: none, ..Default::default() };
        let furnishing = Furnishing::check(request).unwrap();
        assert!(furnishing.masked.is_empty() && furnishing.read_only.is_empty());
    }

    #[test]
    fn what_breaks_the_contract_is_named() {
        let bind = |source: &str| proto::Mount {
            destination: "/a".into(),
            what: Some(What::Bind(BindMount { source: source.into(), recursive: false })),
            ..proto::Mount::default()
        };
        let attributes = Some(MountAttributes { set: 0x10_0000, clear: 0 });
        let remount = proto::Mount {
            destination: "/a".into(),
            what: Some(What::Remount(Remount::default())),
            attributes,
            ..proto::Mount::default()
        };
        for (mount, words) in [
            (filesystem("proc", "proc", &[]), "not an absolute path"),
            (filesystem("/proc/x", "tmpfs", &[]), "below /proc"),
            (filesystem("/a/../b", "tmpfs", &[]), "without '..'"),
            (filesystem("/a\0b", "tmpfs", &[]), "not an absolute path"),
            (filesystem(&format!("/{}", "x".repeat(MAX_BYTES)), "tmpfs", &[]), "not an absolute path"),
            (filesystem("/a", "", &[]), "is no filesystem's name"),
            (filesystem("/a", "tmpfs,x", &[]), "is no filesystem's name"),
            (filesystem("/a", "tmpfs", &["x"; 65]), "65 parameters are more than 64"),
            (filesystem("/a", "tmpfs", &["size=1\0"]), "not a text"),
            (bind("a"), "not an absolute path"),
            (proto::Mount { destination: "/a".into(), ..proto::Mount::default() }, "nothing to mount on /a"),
            (proto::Mount { propagation: 9, ..bind("/b") }, "no mount propagation 9"),
            (remount, "attributes of /a that are not known"),
        ] {
            let refusal = checked(vec![mount]).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
        assert!(checked(vec![bind("/b"); 257]).unwrap_err().contains("257 mounts are more than 256"));
    }

    #[test]
    fn devices_have_a_type_and_numbers_that_there_are() {
        let device = |r#type: i32, major, minor, mode| proto::Device {
            path: "/dev/x".into(),
            r#type,
            major,
            minor,
            mode,
            ..Default::default()
        };
        let check = |device| Furnishing::check(proto::Furnishing { devices: vec![device], ..Default::default() });
        assert!(check(device(1, MAX_MAJOR, MAX_MINOR, 0o7777)).is_ok());
        for refused in [
            device(0, 1, 1, 0),
            device(4, 1, 1, 0),
            device(1, 4096, 0, 0),
            device(2, 0, 1 << 20, 0),
            device(3, 0, 0, 0o10000),
        ] {
            assert!(check(refused).is_err());
        }
    }
}
