// SPDX-License-Identifier: Apache-2.0

//! Finds the disk that the host attached, by its serial number.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::machine::Machine;

/// The longest serial number of a virtio block device: VIRTIO_BLK_ID_BYTES (virtio 1.2, 5.2.6).
pub(crate) const MAX_SERIAL_BYTES: usize = 20;

/// How long a device that the host announced may take to be probed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The device node of the disk with this serial number, once it is there; otherwise the serial numbers that are.
pub(crate) async fn find(machine: &Machine, serial: &str) -> Result<PathBuf, Vec<String>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let present = disks(machine);
        if let Some((_, node)) = present.iter().find(|(found, _)| found == serial) {
            return Ok(node.clone());
        }
        if start.elapsed() + pause >= PATIENCE {
            return Err(present.into_iter().map(|(serial, _)| serial).collect());
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Serial numbers and device nodes of the disks that have both.
fn disks(machine: &Machine) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(&machine.block).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            // The driver asks the device: what it answers ends at the first NUL, or after 20 bytes.
            let serial = fs::read_to_string(entry.path().join("serial")).ok()?;
            Some((serial.trim_end_matches(['\0', '\n']).to_owned(), machine.devices.join(entry.file_name())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine_with(disks: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let directory = tempfile::tempdir().unwrap();
        for (name, serial) in disks {
            fs::create_dir(directory.path().join(name)).unwrap();
            fs::write(directory.path().join(name).join("serial"), serial).unwrap();
        }
        let machine = Machine { block: directory.path().into(), ..Machine::default() };
        (directory, machine)
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_is_found_by_its_serial_number() {
        let (_directory, machine) = machine_with(&[("vda", "scratch"), ("vdb", "nacelle-root")]);
        assert_eq!(find(&machine, "nacelle-root").await, Ok("/dev/vdb".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_serial_number_matches_as_a_whole() {
        let (_directory, machine) = machine_with(&[("vda", "nacelle-root-2")]);
        assert_eq!(find(&machine, "nacelle-root").await, Err(vec!["nacelle-root-2".into()]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_comes_late_is_found() {
        let (directory, machine) = machine_with(&[]);
        let late = async {
            sleep(Duration::from_secs(2)).await;
            fs::create_dir(directory.path().join("vda")).unwrap();
            fs::write(directory.path().join("vda/serial"), "root").unwrap();
        };
        let (found, ()) = tokio::join!(find(&machine, "root"), late);
        assert_eq!(found, Ok("/dev/vda".into()));
    }
}
