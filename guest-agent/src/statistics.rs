// SPDX-License-Identifier: Apache-2.0

//! What the workload has used, as the kernel counts it. The files stay open: a reading costs a read each, and works
//! however many descriptors there are. A file that this kernel has not leaves its values absent.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::cgroup::{Workload, bytes_of, value_of};
use crate::clock::boot_nanos;
use crate::proto::{DiskUse, NetworkInterface, Pressure, Stall, Statistics, Traffic};

/// More than any of the files has; memory.stat is the longest, with 2 KiB.
const FILE_BYTES: usize = 8 << 10;

const NANOS_PER_MICRO: u64 = 1000;

/// Below /proc.
pub(crate) const OPEN_FILES: &str = "sys/fs/file-nr";

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
    open_files: File,
    disks: Disks,
}

impl Counters {
    pub(crate) fn open(workload: &Workload, disks: Disks) -> Self {
        let of = |name: &str| File(workload.open(name));
        let proc = |name: &str| File::open(Path::new("/proc").join(name));
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
            open_files: proc(OPEN_FILES),
            disks,
        }
    }

    /// `interfaces` is the workload's /proc/net/dev.
    pub(crate) fn read(&self, interfaces: &File) -> Statistics {
        let open_files = self.open_files.text().and_then(|text| open_files(&text));
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
            interfaces: interfaces.text().map_or_else(Vec::new, |text| network(&text)),
            open_files: open_files.map(|(open, _)| open),
            open_files_limit: open_files.map(|(_, limit)| limit),
        }
    }
}

/// A file of the kernel's that may be absent.
#[derive(Debug)]
pub(crate) struct File(Option<OwnedFd>);

impl File {
    pub(crate) fn open(path: impl AsRef<Path>) -> Self {
        Self(fs::File::open(path).map(OwnedFd::from).ok())
    }

    /// What it says now.
    pub(crate) fn text(&self) -> Option<String> {
        Self::text_of(self.0.as_ref()?)
    }

    /// The same of one that is open.
    pub(crate) fn text_of(file: &OwnedFd) -> Option<String> {
        let mut text = vec![0; FILE_BYTES];
        let length = rustix::io::pread(file, &mut text, 0).ok()?;
        text.truncate(length);
        // Names of network interfaces may be any bytes.
        Some(String::from_utf8_lossy(&text).into_owned())
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

/// Files that are open, and how many may be: "1216\t0\t25343" of fs.file-nr.
pub(crate) fn open_files(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
    let open = numbers.next()??;
    Some((open, numbers.nth(1)??))
}

/// Two lines of titles, and then one for each interface: its name, eight numbers of what it received (bytes, packets, errors,
/// dropped, …) and eight of what it sent, likewise (dev_seq_printf_stats of net/core/net-procfs.c).
fn network(text: &str) -> Vec<NetworkInterface> {
    let interface = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers = numbers.split_ascii_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
        let traffic = |first: usize| match numbers.get(first..first + 4)? {
            &[bytes, packets, errors, dropped] => Some(Traffic { bytes, packets, errors, dropped }),
            _ => None,
        };
        Some(NetworkInterface { name: name.trim().into(), received: Some(traffic(0)?), sent: Some(traffic(8)?) })
    };
    text.lines().skip(2).filter_map(interface).collect()
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
    fn interfaces_are_read_as_the_kernel_writes_them() {
        let titles = "Inter-|   Receive                   |  Transmit\n face |bytes    packets errs drop fifo frame \
            compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
        let lines = "    lo:      84       1    2    3    0     0          0         0       85       4    5    6    0     0       \
            0          0\n  eth0:18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
        let traffic = |bytes, packets, errors, dropped| Some(Traffic { bytes, packets, errors, dropped });
        let named = |name: &str, received, sent| NetworkInterface { name: name.into(), received, sent };
        let expected = [
            named("lo", traffic(84, 1, 2, 3), traffic(85, 4, 5, 6)),
            named("eth0", traffic(u64::MAX, 0, 0, 0), traffic(0, 0, 0, 0)),
        ];
        assert_eq!(network(&format!("{titles}{lines}")), expected);
        // What is cut off, or no number, is left out.
        for broken in ["", titles, &format!("{titles}lo: 1 2 3"), &format!("{titles}lo 1 2 3\nlo: x")] {
            assert_eq!(network(broken), [], "{broken}");
        }
    }

    #[test]
    fn the_interfaces_of_this_machine_are_read() {
        let text = File::open("/proc/self/net/dev").text().unwrap();
        assert!(network(&text).iter().any(|interface| interface.name == "lo"), "{text}");
    }

    #[test]
    fn open_files_are_the_first_and_the_last_number() {
        assert_eq!(open_files("1216\t0\t25343\n"), Some((1216, 25343)));
        assert_eq!(open_files("1216\t0\t9223372036854775807\n"), Some((1216, i64::MAX as u64)));
        assert_eq!((open_files(""), open_files("1\t0"), open_files("x 0 1")), (None, None, None));
        let (open, limit) = open_files(&File::open(Path::new("/proc").join(OPEN_FILES)).text().unwrap()).unwrap();
        assert!(open > 0 && open <= limit, "{open} of {limit}");
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
