// SPDX-License-Identifier: Apache-2.0

//! Control groups (cgroup v2): one for the whole workload, with the limits, and below it one for each process that the
//! host runs, so that everything a process ever started can be found and killed, however it forked.

use std::collections::HashSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Step, StepError};

const DEFAULT_PIDS: u64 = 4096;

/// What of the available memory is left to the agent and to what the kernel does not charge to anybody.
const MEMORY_RESERVE: u64 = 8 << 20;

/// Limits of the workload; 0 stands for the default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) pids: u64,
    pub(crate) memory_bytes: u64,
}

/// The cgroup of everything that runs in the workload's namespaces.
#[derive(Debug)]
pub(crate) struct Workload {
    directory: Arc<OwnedFd>,
    /// memory.events, where the kernel has it.
    memory_events: Option<OwnedFd>,
    memory_bytes: Option<u64>,
}

impl Workload {
    /// Makes the cgroup below `hierarchy`. A limit that was asked for and that the kernel cannot enforce is an error; a
    /// default one is not.
    pub(crate) fn create(hierarchy: &Path, limits: Limits) -> Result<Self, StepError> {
        let root = open_directory(hierarchy)?;
        for controller in ["pids", "memory"] {
            // Where it is missing, the limit's file is, which is where it matters.
            let _ = write_file(&root, "cgroup.subtree_control", &format!("+{controller}"));
        }
        match mkdirat(&root, "workload", Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).step(|| "creating the workload's cgroup".into()),
        }
        let directory = open_directory(&hierarchy.join("workload"))?;
        // Root can have its process's cgroup writable, in namespaces that it makes. Without cgroups below it, whoever is in it
        // is in its cgroup.procs, and it can be removed once they are gone.
        let _ = write_file(&directory, "cgroup.max.depth", "1");
        let memory = if limits.memory_bytes == 0 { memory_for_workload() } else { Some(limits.memory_bytes) };
        let pids = if limits.pids == 0 { DEFAULT_PIDS } else { limits.pids };
        for (file, value, asked) in
            [("pids.max", Some(pids), limits.pids != 0), ("memory.max", memory, limits.memory_bytes != 0)]
        {
            let Some(value) = value else { continue };
            let written = write_file(&directory, file, &value.to_string());
            if asked {
                written.step(|| format!("limiting the workload ({file} = {value})"))?;
            }
        }
        let memory_events = openat(&directory, "memory.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        Ok(Self { directory: Arc::new(directory), memory_events, memory_bytes: memory })
    }

    /// Its limit of memory, or what it can hardly have more of, where the kernel tells.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.memory_bytes
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The cgroup of one process; `id` is never used again.
    pub(crate) fn create_child(&self, id: u64) -> Result<Cgroup, StepError> {
        let name = id.to_string();
        mkdirat(&self.directory, &name, Mode::from_raw_mode(0o755))
            .and_then(|()| openat(&self.directory, &name, DIRECTORY, Mode::empty()))
            .step(|| "creating the process's cgroup".into())
            .map(|directory| Cgroup { parent: self.directory.clone(), name, directory })
    }

    /// How many processes of the workload the OOM killer has ended so far.
    pub(crate) fn oom_kills(&self) -> u64 {
        // Asked for twice for each process, so without opening it.
        let mut text = [0; 512];
        let events = self.memory_events.as_ref().and_then(|file| rustix::io::pread(file, &mut text, 0).ok());
        let text = events.and_then(|length| std::str::from_utf8(&text[..length]).ok());
        text.map_or(0, |text| value_of(text, "oom_kill"))
    }
}

/// The cgroup of one process and of everything it started.
#[derive(Debug)]
pub(crate) struct Cgroup {
    parent: Arc<OwnedFd>,
    name: String,
    directory: OwnedFd,
}

impl Cgroup {
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Kills every process in it.
    pub(crate) fn kill(&self) {
        // Linux 5.14 and later: nobody escapes, whoever forks meanwhile.
        if write_file(&self.directory, "cgroup.kill", "1").is_err() {
            self.kill_each();
        }
    }

    /// Kills one by one until nobody new turns up. What is frozen cannot fork, and dies all the same.
    fn kill_each(&self) {
        let _ = write_file(&self.directory, "cgroup.freeze", "1");
        let mut killed = HashSet::new();
        loop {
            let fresh: Vec<Pid> = self.pids().into_iter().filter(|&pid| killed.insert(pid)).collect();
            if fresh.is_empty() {
                break;
            }
            for pid in fresh {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = write_file(&self.directory, "cgroup.freeze", "0");
    }

    /// Sends a signal to every process in it.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            let _ = kill_process(pid, signal);
        }
    }

    pub(crate) fn is_populated(&self) -> bool {
        read_file(&self.directory, "cgroup.events").is_ok_and(|events| value_of(&events, "populated") != 0)
    }

    /// Removes it when it is empty; false when it is not.
    pub(crate) fn try_remove(&self) -> bool {
        unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR) != Err(Errno::BUSY)
    }

    fn pids(&self) -> Vec<Pid> {
        let procs = read_file(&self.directory, "cgroup.procs").unwrap_or_default();
        procs.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn open_directory(path: &Path) -> Result<OwnedFd, StepError> {
    rustix::fs::open(path, DIRECTORY, Mode::empty()).step(|| format!("opening {}", path.display()))
}

fn write_file(directory: &OwnedFd, name: &str, value: &str) -> rustix::io::Result<()> {
    let file = openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes())?;
    Ok(())
}

fn read_file(directory: &OwnedFd, name: &str) -> std::io::Result<String> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    std::io::read_to_string(fs::File::from(file))
}

/// The number after `key` in a file of "key number" lines; 0 when there is none.
fn value_of(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// What is available now, before anything runs, less the reserve.
fn memory_for_workload() -> Option<u64> {
    let available = available_bytes(&fs::read_to_string("/proc/meminfo").ok()?)?;
    Some(available.saturating_sub(MEMORY_RESERVE).max(available / 2))
}

/// MemAvailable of /proc/meminfo.
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let events = "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 9\n";
        assert_eq!(value_of(events, "oom_kill"), 1);
        assert_eq!(value_of(events, "oom"), 2);
        assert_eq!(value_of(events, "oom_group"), 0);
        assert_eq!(value_of("", "oom_kill"), 0);
        assert_eq!(value_of("oom_kill x\n", "oom_kill"), 0);
    }

    /// Without cgroup.kill, as before Linux 5.14.
    #[test]
    fn killing_one_by_one_leaves_nobody_who_forks_meanwhile() {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let hierarchy = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            fields.next().filter(|_| fields.next() == Some("cgroup2"))
        });
        let parent = Path::new(hierarchy.unwrap()).join(format!("nacelle-kill-{}", std::process::id()));
        fs::create_dir(&parent).unwrap();
        let workload = Workload::create(&parent, Limits::default()).unwrap();
        let cgroup = workload.create_child(1).unwrap();
        let script = format!(
            "echo $$ > {}/workload/1/cgroup.procs; spawn() {{ while :; do (:) & (:); done; }}; \
             spawn & spawn & spawn & echo; wait",
            parent.display()
        );
        let mut shell = std::process::Command::new("sh")
            .args(["-c", &script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        assert!(cgroup.is_populated());
        cgroup.kill_each();
        // Fails where the agent of another test, in this process, was quicker: it reaps whatever ends.
        let _ = shell.wait();
        while cgroup.is_populated() {
            // Dead, and on their way out; nobody is left to make more.
            std::thread::yield_now();
        }
        assert!(cgroup.try_remove());
        fs::remove_dir(parent.join("workload")).unwrap();
        fs::remove_dir(parent).unwrap();
    }

    #[test]
    fn available_memory_is_read_in_bytes() {
        let meminfo = "MemTotal:       24731708 kB\nMemFree:          505000 kB\nMemAvailable:   23176000 kB\n";
        assert_eq!(available_bytes(meminfo), Some(23_176_000 * 1024));
        assert_eq!(available_bytes("MemTotal: 1 kB\n"), None);
        assert_eq!(available_bytes("MemAvailable: 99999999999999999999 kB\n"), None);
        assert_eq!(available_bytes("MemAvailable: 18446744073709551615 kB\n"), None);
    }
}
