// SPDX-License-Identifier: Apache-2.0

//! Control groups (cgroup v2): one for the whole workload, with the limits, and below it one for each process that the
//! host runs, so that everything a process ever started can be found and killed, however it forked, and what became of its
//! memory is told of nobody else. The workload's init has one beside them: where memory is counted below a cgroup, nobody
//! may be in that cgroup itself.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::{Errno, write};
use rustix::path::Arg;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::error::{Step, StepError};
use crate::fork::{fork_into, pipe};
use crate::proto::CgroupSetting;

const DEFAULT_PIDS: u64 = 4096;

/// What of the kernel's processes and threads is left to the agent and to the kernel itself.
const PIDS_RESERVE: u64 = 64;

/// What of the available memory is at least left to the agent and to what the kernel does not charge to anybody: output
/// that the host does not read is the most of it.
const MEMORY_RESERVE: u64 = 8 << 20;
/// The same in parts of the machine's memory, for what grows with it.
const MEMORY_RESERVE_PART: u64 = 33;

/// Rounds of looking for processes to signal that were born meanwhile.
const SIGNAL_ROUNDS: usize = 16;
/// The same where they are to be killed and the kernel cannot do it; frozen processes do not fork.
const KILL_ROUNDS: usize = 256;

/// Limits of the workload; 0 stands for the default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) pids: u64,
    pub(crate) memory_bytes: u64,
    /// Whether the workload may make cgroups below its processes'.
    pub(crate) nested: bool,
}

/// How many cgroups of the workload's own are looked at below one of a process.
const MAX_NESTED: usize = 4096;

const MAX_SETTINGS: usize = 64;
const MAX_FILE_BYTES: usize = 255;
const MAX_VALUE_BYTES: usize = 4096;

/// Says what breaks the contract.
pub(crate) fn check(settings: &[CgroupSetting]) -> Result<(), String> {
    if settings.len() > MAX_SETTINGS {
        return Err(format!("{} cgroup settings are more than {MAX_SETTINGS}", settings.len()));
    }
    for CgroupSetting { file, value } in settings {
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let has_controller = file.split_once('.').is_some_and(|(controller, _)| !controller.is_empty());
        if file.len() > MAX_FILE_BYTES || !file.bytes().all(named) || !has_controller {
            return Err(format!("'{file}' is no file of a controller's"));
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(format!("the value of {file} has more than {MAX_VALUE_BYTES} bytes"));
        }
    }
    Ok(())
}

/// The cgroup of everything that runs in the workload's namespaces.
#[derive(Debug)]
pub(crate) struct Workload {
    directory: Arc<OwnedFd>,
    nested: bool,
    init: OwnedFd,
    namespace: OwnedFd,
    /// memory.events, where the kernel has it.
    memory_events: Option<OwnedFd>,
    memory_bytes: Option<u64>,
}

impl Workload {
    /// Makes the cgroup below `hierarchy`. A limit that was asked for and that the kernel cannot enforce is an error; a
    /// default one is not.
    pub(crate) fn create(hierarchy: &Path, limits: Limits) -> Result<Self, StepError> {
        let root = open_directory(hierarchy)?;
        let all = read_file(&root, "cgroup.controllers").unwrap_or_default();
        // Who makes cgroups of his own is given all that there are.
        let controllers =
            if limits.nested { all.split_whitespace().collect() } else { vec!["pids", "memory", "cpu", "io"] };
        for controller in controllers {
            // Where it is missing, the limit's file is, which is where it matters.
            let _ = write_file(&root, "cgroup.subtree_control", &format!("+{controller}"));
        }
        let directory = make_directory(&root, "workload").step(|| "creating the workload's cgroup".into())?;
        // Root can have its process's cgroup writable, in namespaces that it makes. Without cgroups below it, whoever is in it
        // is in its cgroup.procs, and it can be removed once they are gone.
        if !limits.nested {
            let _ = write_file(&directory, "cgroup.max.depth", "1");
        }
        let pids = at_most(if limits.pids == 0 { DEFAULT_PIDS } else { limits.pids }, pids_for_workload());
        let memory = match (limits.memory_bytes, memory_for_workload()) {
            (0, most) => most,
            (asked, most) => Some(at_most(asked, most)),
        };
        for (file, value, asked) in
            [("pids.max", Some(pids), limits.pids != 0), ("memory.max", memory, limits.memory_bytes != 0)]
        {
            let Some(value) = value else { continue };
            let written = write_file(&directory, file, &value.to_string());
            if asked {
                written.step(|| format!("limiting the workload ({file} = {value})"))?;
            }
        }
        let namespace = namespace_of(directory.as_fd())?;
        let init = make_directory(&directory, "init").step(|| "creating the init's cgroup".into())?;
        // Where it is missing, nothing is told of a process's memory.
        let _ = write_file(&directory, "cgroup.subtree_control", "+memory");
        let memory_events = openat(&directory, "memory.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        let (directory, nested) = (Arc::new(directory), limits.nested);
        Ok(Self { directory, nested, init, namespace, memory_events, memory_bytes: memory })
    }

    /// Writes to its files, with the controllers that they need.
    pub(crate) fn set(&self, hierarchy: &Path, settings: &[CgroupSetting]) -> Result<(), StepError> {
        if settings.is_empty() {
            return Ok(());
        }
        let root = open_directory(hierarchy)?;
        for CgroupSetting { file, value } in settings {
            let controller = file.split('.').next().unwrap_or_default();
            if controller != "cgroup" {
                write_file(&root, "cgroup.subtree_control", &format!("+{controller}"))
                    .step(|| format!("setting {file}, whose controller this kernel may not have"))?;
            }
            for line in value.split('\n').filter(|line| !line.is_empty()) {
                write_file(&self.directory, file, line).step(|| format!("setting {file} to '{line}'"))?;
            }
        }
        Ok(())
    }

    /// Its limit of memory, or what it can hardly have more of, where the kernel tells.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        self.memory_bytes
    }

    /// The cgroup of the workload's init.
    pub(crate) fn init(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }

    /// The cgroup namespace whose root is the workload's cgroup.
    pub(crate) fn namespace(&self) -> &OwnedFd {
        &self.namespace
    }

    /// A file of its cgroup, to be read; none where the kernel has it not.
    pub(crate) fn open(&self, name: &str) -> Option<OwnedFd> {
        openat(&self.directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// A file of pressure of its cgroup that tells when the pressure rises, as `trigger` says (Documentation/accounting/psi.rst).
    pub(crate) fn open_trigger(&self, name: &str, trigger: &str) -> Option<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::empty()).ok()?;
        write(&file, trigger.as_bytes()).ok()?;
        Some(file)
    }

    /// The cgroup of one process, and its directory; `id` is never used again.
    pub(crate) fn create_child(&self, id: u64) -> Result<(Cgroup, OwnedFd), StepError> {
        let name = id.to_string();
        make_directory(&self.directory, &name)
            .step(|| "creating the process's cgroup".into())
            .map(|directory| (Cgroup { parent: self.directory.clone(), name, nested: self.nested }, directory))
    }

    /// How often the OOM killer has ended the init; 0 where that is not counted.
    pub(crate) fn init_oom_kills(&self) -> u64 {
        read_file(&self.init, "memory.events").map_or(0, |events| value_of(&events, "oom_kill"))
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

/// The cgroup of one process and of everything it started. It holds no descriptor: there may be as many as there are
/// processes.
#[derive(Debug)]
pub(crate) struct Cgroup {
    parent: Arc<OwnedFd>,
    name: String,
    /// Whether there may be cgroups of the workload's own below it.
    nested: bool,
}

impl Cgroup {
    /// Kills every process in it.
    pub(crate) fn kill(&self) {
        // Linux 5.14 and later: nobody escapes, whoever forks meanwhile.
        if self.write("cgroup.kill", "1").is_err() {
            self.kill_each();
        }
    }

    /// Kills one by one until nobody new turns up. What is frozen cannot fork, and dies all the same.
    fn kill_each(&self) {
        let _ = self.write("cgroup.freeze", "1");
        self.signal_each(Signal::KILL, KILL_ROUNDS);
        let _ = self.write("cgroup.freeze", "0");
    }

    /// Sends a signal to every process in it.
    pub(crate) fn signal(&self, signal: Signal) {
        match signal {
            Signal::KILL => self.kill(),
            signal => self.signal_each(signal, SIGNAL_ROUNDS),
        }
    }

    fn signal_each(&self, signal: Signal, rounds: usize) {
        let mut signalled = HashSet::new();
        for _ in 0..rounds {
            let fresh: Vec<Pid> = self.pids().into_iter().filter(|&pid| signalled.insert(pid)).collect();
            if fresh.is_empty() {
                break;
            }
            for pid in fresh {
                let _ = kill_process(pid, signal);
            }
        }
    }

    pub(crate) fn is_populated(&self) -> bool {
        may_be_populated(self.read("cgroup.events"))
    }

    /// How many processes are in it.
    pub(crate) fn size(&self) -> usize {
        self.pids().len()
    }

    /// How many processes of it the OOM killer has ended; 0 where that is not counted.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.read("memory.events").map_or(0, |events| value_of(&events, "oom_kill"))
    }

    /// The most memory that it had at a time, in bytes; 0 where that is not counted (before Linux 5.19).
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        self.read("memory.peak").ok().and_then(|peak| peak.trim().parse().ok()).unwrap_or(0)
    }

    /// Removes it when it is empty; false when it is not.
    pub(crate) fn try_remove(&self) -> bool {
        if unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR) != Err(Errno::BUSY) {
            return true;
        }
        if !self.nested || self.is_populated() {
            return false;
        }
        // What the workload made below it and has left; the innermost first.
        self.names().iter().rev().all(|name| unlinkat(&self.parent, name, AtFlags::REMOVEDIR) != Err(Errno::BUSY))
    }

    /// Its own name and those of the cgroups below it, as its parent sees them, each before what is below it.
    fn names(&self) -> Vec<PathBuf> {
        let mut names = vec![PathBuf::from(&self.name)];
        let mut next = 0;
        while self.nested && next < names.len() {
            let name = &names[next];
            let entries = openat(&self.parent, name, DIRECTORY, Mode::empty()).and_then(Dir::new);
            let below: Vec<_> = entries
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.file_type() == FileType::Directory)
                .filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
                .map(|entry| name.join(OsStr::from_bytes(entry.file_name().to_bytes())))
                .take(MAX_NESTED - names.len())
                .collect();
            names.extend(below);
            next += 1;
        }
        names
    }

    fn pids(&self) -> Vec<Pid> {
        let procs = |name: PathBuf| read_file(&self.parent, name.join("cgroup.procs")).unwrap_or_default();
        let pids = |text: String| text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect::<Vec<_>>();
        self.names().into_iter().map(procs).flat_map(pids).collect()
    }

    fn write(&self, file: &str, value: &str) -> rustix::io::Result<()> {
        write_file(&self.parent, &format!("{}/{file}", self.name), value)
    }

    fn read(&self, file: &str) -> std::io::Result<String> {
        read_file(&self.parent, &format!("{}/{file}", self.name))
    }
}

/// The cgroup namespace whose root is this cgroup. A namespace begins where the process is that makes it, and moving a
/// living one takes milliseconds; so one is born there, and has left again before memory is counted below.
fn namespace_of(cgroup: BorrowedFd<'_>) -> Result<OwnedFd, StepError> {
    const STEP: &str = "creating the workload's cgroup namespace";
    let (report, writer) = pipe()?;
    let pid = fork_into(cgroup, |procs| {
        // SAFETY: the flag concerns the namespace only.
        let made = procs
            .map_or(Ok(1), |procs| write(procs, b"0"))
            .and_then(|_| unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) });
        let _ = write(&writer, &[made.map_or_else(|errno| errno.raw_os_error() as u8, |()| 0)]);
        loop {
            // SAFETY: waits for a signal, which is SIGKILL.
            unsafe { libc::pause() };
        }
    })
    .step(|| STEP.into())?;
    drop(writer);
    let mut made = [0];
    let opened = fs::File::from(report).read_exact(&mut made).step(|| STEP.into()).and_then(|()| match made {
        [0] => rustix::fs::open(format!("/proc/{}/ns/cgroup", pid.as_raw_nonzero()), READ, Mode::empty())
            .step(|| STEP.into()),
        [errno] => Err(StepError { step: STEP.into(), errno: Errno::from_raw_os_error(errno.into()) }),
    });
    // Where the reaper is another thread and was quicker, it is gone as well.
    let _ = kill_process(pid, Signal::KILL).and_then(|()| waitpid(Some(pid), WaitOptions::empty()));
    opened
}

const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC);
const DIRECTORY: OFlags = READ.union(OFlags::DIRECTORY);

/// Makes a cgroup, unless it is there.
fn make_directory(parent: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => openat(parent, name, DIRECTORY, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, StepError> {
    rustix::fs::open(path, DIRECTORY, Mode::empty()).step(|| format!("opening {}", path.display()))
}

fn write_file(directory: &OwnedFd, name: &str, value: &str) -> rustix::io::Result<()> {
    let file = openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes())?;
    Ok(())
}

fn read_file(directory: &OwnedFd, name: impl Arg) -> std::io::Result<String> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    std::io::read_to_string(fs::File::from(file))
}

/// What cgroup.events says. Only a cgroup that is gone is empty without saying so: a descriptor may be wanting to read it.
fn may_be_populated(events: std::io::Result<String>) -> bool {
    match events {
        Ok(events) => value_of(&events, "populated") != 0,
        Err(error) => !matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NODEV)),
    }
}

/// The number after `key` in a file of "key number" lines; 0 when there is none.
pub(crate) fn value_of(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

fn at_most(value: u64, most: Option<u64>) -> u64 {
    most.map_or(value, |most| value.min(most))
}

/// As many processes as the kernel can have, less the reserve.
fn pids_for_workload() -> Option<u64> {
    let limit = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse::<u64>().ok();
    let most = limit("threads-max").into_iter().chain(limit("pid_max")).min()?;
    Some(most.saturating_sub(PIDS_RESERVE).max(most / 2))
}

/// What is available now, before anything runs, less the reserve.
fn memory_for_workload() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let available = bytes_of(&meminfo, "MemAvailable:")?;
    let reserve = MEMORY_RESERVE.max(bytes_of(&meminfo, "MemTotal:")? / MEMORY_RESERVE_PART);
    Some(available.saturating_sub(reserve).max(available / 2))
}

/// A line of /proc/meminfo.
pub(crate) fn bytes_of(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
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

    #[test]
    fn only_a_cgroup_that_is_gone_is_empty_without_saying_so() {
        assert!(may_be_populated(Ok("populated 1\nfrozen 0\n".into())));
        assert!(!may_be_populated(Ok("populated 0\nfrozen 0\n".into())));
        for (errno, populated) in [
            (Errno::NOENT, false),
            (Errno::NODEV, false),
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOMEM, true),
        ] {
            assert_eq!(may_be_populated(Err(errno.into())), populated, "{errno}");
        }
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
        let (cgroup, _) = workload.create_child(1).unwrap();
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
        fs::remove_dir(parent.join("workload/init")).unwrap();
        fs::remove_dir(parent.join("workload")).unwrap();
        fs::remove_dir(parent).unwrap();
    }

    #[test]
    fn available_memory_is_read_in_bytes() {
        let meminfo = "MemTotal:       24731708 kB\nMemFree:          505000 kB\nMemAvailable:   23176000 kB\n";
        let available = |meminfo| bytes_of(meminfo, "MemAvailable:");
        assert_eq!(available(meminfo), Some(23_176_000 * 1024));
        assert_eq!(bytes_of(meminfo, "MemTotal:"), Some(24_731_708 * 1024));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
        assert_eq!(available("MemAvailable: 99999999999999999999 kB\n"), None);
        assert_eq!(available("MemAvailable: 18446744073709551615 kB\n"), None);
    }
}
