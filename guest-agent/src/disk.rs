// SPDX-License-Identifier: Apache-2.0

//! Finds the disk that the host attached, by what the host says of it.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::machine::Machine;
use crate::proto::ScsiDisk;

/// The longest serial number of a virtio block device: VIRTIO_BLK_ID_BYTES (virtio 1.2, 5.2.6).
const MAX_SERIAL_BYTES: usize = 20;

/// What the kernel's driver has at most (STORVSC_MAX_LUNS_PER_TARGET of storvsc_drv.c), less one.
const MAX_LUN: u32 = 255;

/// How long a device that the host announced may take to be probed: storvsc asks 16 targets, and the machine may be emulated.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which disk it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Location {
    /// The virtio block device with this serial number.
    Serial(String),
    /// The unit of a SCSI controller on Hyper-V's VMBus.
    Scsi { controller: String, lun: u32 },
}

impl Location {
    /// By a serial number from the host, checked.
    pub(crate) fn serial(serial: &str) -> Result<Self, String> {
        if serial.is_empty() || serial.len() > MAX_SERIAL_BYTES {
            return Err(format!("a disk's serial number must have 1 to {MAX_SERIAL_BYTES} bytes"));
        }
        Ok(Self::Serial(serial.into()))
    }

    /// By a controller and a unit from the host, checked: the controller's name becomes part of a path.
    pub(crate) fn scsi(disk: &ScsiDisk) -> Result<Self, String> {
        let ScsiDisk { controller, lun } = disk;
        if !is_guid(controller) {
            return Err("a SCSI disk's controller must be a GUID in lower case".into());
        }
        if *lun > MAX_LUN {
            return Err(format!("a SCSI disk's LUN must be at most {MAX_LUN}"));
        }
        Ok(Self::Scsi { controller: controller.clone(), lun: *lun })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "serial number '{serial}'"),
            Self::Scsi { controller, lun } => write!(f, "LUN {lun} of the SCSI controller {controller}"),
        }
    }
}

/// 8-4-4-4-12 hexadecimal digits, as "%pUl" of vsprintf.c prints them.
fn is_guid(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(digits)
}

/// The device node of that disk, once it is there; otherwise where disks are.
pub(crate) async fn find(machine: &Machine, disk: &Location) -> Result<PathBuf, Vec<Location>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let present = disks(machine);
        if let Some((_, node)) = present.iter().find(|(found, _)| found == disk) {
            return Ok(node.clone());
        }
        if start.elapsed() + pause >= PATIENCE {
            return Err(present.into_iter().map(|(location, _)| location).collect());
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Locations and device nodes of the disks that have both.
fn disks(machine: &Machine) -> Vec<(Location, PathBuf)> {
    let serials = names(&machine.block).filter_map(|name| {
        // The driver asks the device: what it answers ends at the first NUL, or after 20 bytes.
        let serial = fs::read_to_string(machine.block.join(&name).join("serial")).ok()?;
        Some((Location::Serial(serial.trim_end_matches(['\0', '\n']).to_owned()), name))
    });
    let controllers = names(&machine.vmbus).filter_map(|name| name.into_string().ok());
    let units = controllers.flat_map(|controller| units(&machine.vmbus.join(&controller), &controller));
    serials.chain(units).map(|(location, name)| (location, machine.devices.join(name))).collect()
}

/// Locations and names of a controller's disks: `host7/target7:0:0/7:0:0:1/block/sda`, by host, channel, target and LUN.
fn units(path: &Path, controller: &str) -> Vec<(Location, OsString)> {
    let mut found = Vec::new();
    for host in names(path).filter_map(|name| name.into_string().ok()) {
        let Some(number) = host.strip_prefix("host") else { continue };
        let target = path.join(&host).join(format!("target{number}:0:0"));
        for unit in names(&target).filter_map(|name| name.into_string().ok()) {
            let lun = unit.strip_prefix(&format!("{number}:0:0:")).and_then(|lun| lun.parse().ok());
            let Some(lun) = lun else { continue };
            let location = Location::Scsi { controller: controller.into(), lun };
            found.extend(names(&target.join(unit).join("block")).map(|name| (location.clone(), name)));
        }
    }
    found
}

/// What is in a directory; nothing where there is none.
fn names(directory: &Path) -> impl Iterator<Item = OsString> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROLLER: &str = "df6d0690-79e5-55b6-a5ec-c1e2f77f580a";
    const OTHER: &str = "0110f83b-de10-5172-a266-78bca56bf50a";

    fn machine_with(disks: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let directory = tempfile::tempdir().unwrap();
        let block = directory.path().join("block");
        for (name, serial) in disks {
            fs::create_dir_all(block.join(name)).unwrap();
            fs::write(block.join(name).join("serial"), serial).unwrap();
        }
        let machine = Machine { block, vmbus: directory.path().join("vmbus"), ..Machine::default() };
        (directory, machine)
    }

    fn serial(serial: &str) -> Location {
        Location::serial(serial).unwrap()
    }

    fn scsi(controller: &str, lun: u32) -> Location {
        Location::scsi(&ScsiDisk { controller: controller.into(), lun }).unwrap()
    }

    fn make(machine: &Machine, path: &str) {
        fs::create_dir_all(machine.vmbus.join(path)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_is_found_by_its_serial_number() {
        let (_directory, machine) = machine_with(&[("vda", "scratch"), ("vdb", "nacelle-root")]);
        assert_eq!(find(&machine, &serial("nacelle-root")).await, Ok("/dev/vdb".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_serial_number_matches_as_a_whole() {
        let (_directory, machine) = machine_with(&[("vda", "nacelle-root-2")]);
        assert_eq!(find(&machine, &serial("nacelle-root")).await, Err(vec![serial("nacelle-root-2")]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_comes_late_is_found() {
        let (_directory, machine) = machine_with(&[]);
        let late = async {
            sleep(Duration::from_secs(2)).await;
            fs::create_dir_all(machine.block.join("vda")).unwrap();
            fs::write(machine.block.join("vda/serial"), "root").unwrap();
        };
        let wanted = serial("root");
        let (found, ()) = tokio::join!(find(&machine, &wanted), late);
        assert_eq!(found, Ok("/dev/vda".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scsi_disk_is_found_by_its_controller_and_unit() {
        let (_directory, machine) = machine_with(&[("vda", CONTROLLER)]);
        // Hosts are numbered as they are found, whatever the order of the controllers is.
        make(&machine, &format!("{OTHER}/host0/target0:0:0/0:0:0:1/block/sda"));
        make(&machine, &format!("{CONTROLLER}/host12/target12:0:0/12:0:0:0/block/sdb"));
        make(&machine, &format!("{CONTROLLER}/host12/target12:0:0/12:0:0:1/block/sdc"));
        make(&machine, &format!("{CONTROLLER}/host12/target12:0:0/12:0:0:11/block/sdd"));
        assert_eq!(find(&machine, &scsi(OTHER, 1)).await, Ok("/dev/sda".into()));
        assert_eq!(find(&machine, &scsi(CONTROLLER, 0)).await, Ok("/dev/sdb".into()));
        assert_eq!(find(&machine, &scsi(CONTROLLER, 1)).await, Ok("/dev/sdc".into()));
        assert_eq!(find(&machine, &scsi(CONTROLLER, 11)).await, Ok("/dev/sdd".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scsi_disk_that_is_not_there_is_waited_for_and_then_told() {
        let (_directory, machine) = machine_with(&[]);
        make(&machine, &format!("{CONTROLLER}/host0/target0:0:0/0:0:0:1/block/sda"));
        make(&machine, &format!("{CONTROLLER}/power"));
        // Not disks of target 0:0: another channel, another target, one without a driver, and no unit at all.
        make(&machine, &format!("{CONTROLLER}/host0/target0:1:0/0:1:0:2/block/sdb"));
        make(&machine, &format!("{CONTROLLER}/host0/target0:0:1/0:0:1:2/block/sdc"));
        make(&machine, &format!("{CONTROLLER}/host0/target0:0:0/0:0:0:2"));
        make(&machine, &format!("{CONTROLLER}/host0/target0:0:0/0:0:0:-2/block/sdd"));
        make(&machine, &format!("{CONTROLLER}/host0/target0:0:0/power/block/sde"));
        let start = Instant::now();
        assert_eq!(find(&machine, &scsi(CONTROLLER, 2)).await, Err(vec![scsi(CONTROLLER, 1)]));
        let waited = start.elapsed();
        assert!(waited > PATIENCE - Duration::from_millis(100) && waited <= PATIENCE, "{waited:?}");
        assert_eq!(scsi(CONTROLLER, 2).to_string(), format!("LUN 2 of the SCSI controller {CONTROLLER}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scsi_disk_that_comes_late_is_found() {
        let (_directory, machine) = machine_with(&[]);
        let late = async {
            sleep(Duration::from_secs(2)).await;
            make(&machine, &format!("{CONTROLLER}/host0/target0:0:0/0:0:0:0/block/sda"));
        };
        let wanted = scsi(CONTROLLER, 0);
        let (found, ()) = tokio::join!(find(&machine, &wanted), late);
        assert_eq!(found, Ok("/dev/sda".into()));
    }

    #[test]
    fn what_is_no_controller_or_no_unit_is_refused() {
        let long = "0".repeat(1 << 16);
        let upper = CONTROLLER.to_uppercase();
        let controllers =
            ["", "..", "../../block", &long, &upper, &CONTROLLER[1..], "df6d0690-79e5-55b6-a5ec-c1e2f77f580/"];
        for controller in controllers {
            assert!(Location::scsi(&ScsiDisk { controller: controller.into(), lun: 0 }).is_err(), "{controller}");
        }
        for (lun, taken) in [(0, true), (255, true), (256, false), (u32::MAX, false)] {
            assert_eq!(Location::scsi(&ScsiDisk { controller: CONTROLLER.into(), lun }).is_ok(), taken, "{lun}");
        }
    }

    #[test]
    fn a_serial_number_has_1_to_20_bytes() {
        assert!(Location::serial("").is_err());
        assert!(Location::serial(&"x".repeat(20)).is_ok());
        assert!(Location::serial(&"x".repeat(21)).is_err());
    }
}
