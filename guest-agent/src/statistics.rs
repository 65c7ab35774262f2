// SPDX-License-Identifier: Apache-2.0

//! What the workload has used, as the kernel counts it. The files stay open: a reading costs a read each, and works
//! however many descriptors there are. A file that this kernel has not leaves its values absent.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::cgroup::{Workload, bytes_of, value_of};
use crate::clock::boot_nanos;
use crate::proto::{DiskUse, Pressure, Stall, Statistics};

/// More than any of the files has; memory.stat is the longest, with 2 KiB.
const FILE_BYTES: usize = 8 << 10;

const NANOS_PER_MICRO: u64 = 1000;

/// Major and minor number of a disk.
pub(crate) type Device = (u32, u32);

/// The disks that the workload's root is on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disks {
    pub(crate) image: Option<Device>,
    pub(crate) scratch: Option<Device>,
}

/// The files, open where they exist.
#[derive(Debug)]
pub(crate) struct Counters {
    memory: File,
    memory_peak: File,
    memory_limit: File,
    memory_stat: File,
    memory_events: File,
    cpu: File,
    io: File,
    processes: File,
    processes_peak: File,
    processes_limit: File,
    cpu_pressure: File,
    memory_pressure: File,
    io_pressure: File,
    machine_memory: File,
    machine_load: File,
    disks: Disks,
}

impl Counters {
    pub(crate) fn open(workload: &Workload, disks: Disks) -> Self {
        let of = |name: &str| File(workload.open(name));
        let proc = |name: &str| File(fs::File::open(Path::new("/proc").join(name)).map(OwnedFd::from).ok());
        Self {
            memory: of("memory.current"),
            memory_peak: of("memory.peak"),
            memory_limit: of("memory.max"),
            memory_stat: of("memory.stat"),
            memory_events: of("memory.events"),
            cpu: of("cpu.stat"),
            io: of("io.stat"),
            processes: of("pids.current"),
            processes_peak: of("pids.peak"),
            processes_limit: of("pids.max"),
            cpu_pressure: of("cpu.pressure"),
            memory_pressure: of("memory.pressure"),
            io_pressure: of("io.pressure"),
            machine_memory: proc("meminfo"),
            machine_load: proc("loadavg"),
            disks,
        }
    }

    pub(crate) fn read(&self) -> Statistics {
        let memory = self.memory_stat.text();
        let cpu = self.cpu.text();
        let io = self.io.text();
        let of_memory = |key| number(memory.as_deref()?, key);
        let of_cpu = |key| number(cpu.as_deref()?, key)?.checked_mul(NANOS_PER_MICRO);
        let of_disk = |device: Option<Device>| disk_use(io.as_deref()?, device?);
        Statistics {
            boottime_nanos: boot_nanos(),
            memory_bytes: self.memory.number(),
            memory_peak_bytes: self.memory_peak.number(),
            memory_limit_bytes: self.memory_limit.number(),
            memory_anonymous_bytes: of_memory("anon"),
            memory_file_bytes: of_memory("file"),
            memory_kernel_bytes: of_memory("kernel"),
            oom_kills: self.memory_events.text().and_then(|events| number(&events, "oom_kill")),
            cpu_nanos: of_cpu("usage_usec"),
            cpu_user_nanos: of_cpu("user_usec"),
            cpu_system_nanos: of_cpu("system_usec"),
            cpu_throttled_nanos: of_cpu("throttled_usec"),
            image_disk: of_disk(self.disks.image),
            scratch_disk: of_disk(self.disks.scratch),
            processes: self.processes.number(),
            processes_peak: self.processes_peak.number(),
            processes_limit: self.processes_limit.number(),
            cpu_pressure: self.cpu_pressure.pressure(),
            memory_pressure: self.memory_pressure.pressure(),
            io_pressure: self.io_pressure.pressure(),
            machine_memory_available_bytes: self
                .machine_memory
                .text()
                .and_then(|text| bytes_of(&text, "MemAvailable:")),
            machine_load_hundredths: self.machine_load.text().and_then(|text| hundredths(text.split(' ').next()?)),
        }
    }
}

/// A file of the kernel's that may be absent.
#[derive(Debug)]
pub(crate) struct File(Option<OwnedFd>);

impl File {
    /// What it says now.
    pub(crate) fn text(&self) -> Option<String> {
        Self::text_of(self.0.as_ref()?)
    }

    /// The same of one that is open.
    pub(crate) fn text_of(file: &OwnedFd) -> Option<String> {
        let mut text = vec![0; FILE_BYTES];
        let length = rustix::io::pread(file, &mut text, 0).ok()?;
        text.truncate(length);
        String::from_utf8(text).ok()
    }

    /// Its one number; none for "max".
    fn number(&self) -> Option<u64> {
        self.text()?.trim().parse().ok()
    }

    fn pressure(&self) -> Option<Pressure> {
        pressure(&self.text()?)
    }
}

/// The number after a key that is there.
fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().any(|line| line.split(' ').next() == Some(key)).then(|| value_of(text, key))
}

/// A line of io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0".
fn disk_use(text: &str, (major, minor): Device) -> Option<DiskUse> {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{major}:{minor} ")))?;
    let of = |key: &str| {
        let value = line.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    Some(DiskUse { read_bytes: of("rbytes"), written_bytes: of("wbytes"), reads: of("rios"), writes: of("wios") })
}

/// Two lines, "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and the same of "full".
pub(crate) fn pressure(text: &str) -> Option<Pressure> {
    let stall = |which: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(' '))?;
        let of = |key: &str| line.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        Some(Stall {
            average_10_hundredths: hundredths(of("avg10")?)?,
            average_60_hundredths: hundredths(of("avg60")?)?,
            total_nanos: of("total")?.parse::<u64>().ok()?.checked_mul(NANOS_PER_MICRO)?,
        })
    };
    Some(Pressure { some: Some(stall("some")?), full: stall("full") })
}

/// "1.25" is 125.
fn hundredths(number: &str) -> Option<u32> {
    let (whole, part) = number.split_once('.')?;
    let part = part.get(..2)?.parse::<u32>().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_by_its_whole_number() {
        let text = "254:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n254:1 rbytes=7 rios=8\n254:0\n";
        let of = |minor| disk_use(text, (254, minor));
        assert_eq!(of(16), Some(DiskUse { read_bytes: 1, written_bytes: 2, reads: 3, writes: 4 }));
        assert_eq!(of(1), Some(DiskUse { read_bytes: 7, written_bytes: 0, reads: 8, writes: 0 }));
        assert_eq!((of(0), of(2)), (None, None));
    }

    #[test]
    fn pressure_is_read_as_the_kernel_writes_it() {
        let some = "some avg10=12.34 avg60=0.05 avg300=0.00 total=678\n";
        let stall = |ten, sixty, total_nanos| {
            Some(Stall { average_10_hundredths: ten, average_60_hundredths: sixty, total_nanos })
        };
        assert_eq!(pressure(some), Some(Pressure { some: stall(1234, 5, 678_000), full: None }));
        let both = format!("{some}full avg10=100.00 avg60=1.00 avg300=0.00 total=9\n");
        assert_eq!(pressure(&both), Some(Pressure { some: stall(1234, 5, 678_000), full: stall(10_000, 100, 9000) }));
        for broken in ["", "some", "some avg10=1 avg60=0.00 total=1", "full avg10=0.00 avg60=0.00 total=1"] {
            assert_eq!(pressure(broken), None, "{broken}");
        }
    }

    #[test]
    fn what_is_not_there_is_absent_and_a_zero_is_not() {
        assert_eq!(number("anon 0\nfile 4096\n", "anon"), Some(0));
        assert_eq!(number("anon 0\nfile 4096\n", "kernel"), None);
        assert_eq!(File(None).number(), None);
        assert_eq!(hundredths("0.07"), Some(7));
        assert_eq!((hundredths("x.07"), hundredths("1"), hundredths("99999999.00")), (None, None, None));
    }
}
