// SPDX-License-Identifier: Apache-2.0

//! What a new process does between its birth and execve(2).
//!
//! It is the child of a process with several threads, so until execve(2) it may call only what is safe in a signal
//! handler: system calls on what was prepared before. No allocation, no lock, no panic.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, chownat, fchown, mkdir, open, openat, stat};
use rustix::io::{Errno, read, write};
use rustix::process::{Gid, Resource, Rlimit, Uid, chdir, getpid, ioctl_tiocsctty, setrlimit, setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use rustix::thread::{
    CapabilitySet, CapabilitySets, LinkNameSpaceType, move_into_link_name_space, set_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

/// The capabilities that images are written for: Docker's default. The machine is the boundary; these keep a workload from
/// pulling its own machine from under itself by accident (reboot, mounts over /proc, loading modules).
pub(crate) const CAPABILITIES: CapabilitySet = CapabilitySet::AUDIT_WRITE
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// systemd's defaults, which programs are tested with: select(2) works below the soft limit, who needs more raises it.
const OPEN_FILES: Rlimit = Rlimit { current: Some(1024), maximum: Some(524_288) };
/// pids.max is the limit.
const PROCESSES: Rlimit = Rlimit { current: None, maximum: None };

/// Bytes of a file that may tell why it cannot be executed.
const HEAD_BYTES: usize = 128;
/// step, errno, candidate, bytes of the head, each 4 bytes, and the head.
const FAILURE_BYTES: usize = 16 + HEAD_BYTES;
/// The longest that a process may report: its PID, and a failure.
pub(crate) const REPORT_BYTES: usize = 4 + FAILURE_BYTES;

/// All that the new process needs, prepared.
pub(crate) struct Plan<'a> {
    pub(crate) report: &'a OwnedFd,
    /// The process's cgroup.procs, when it is not born into that cgroup.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    pub(crate) cgroup_namespace: &'a OwnedFd,
    pub(crate) stdin: BorrowedFd<'a>,
    pub(crate) stdout: BorrowedFd<'a>,
    pub(crate) stderr: BorrowedFd<'a>,
    /// Whether stdin is the process's own, rather than the shared /dev/null.
    pub(crate) owns_stdin: bool,
    /// Whether the three are a terminal.
    pub(crate) terminal: bool,
    /// The working directory, after the directories above it from the root on.
    pub(crate) working_directory: &'a [CString],
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) groups: &'a [Gid],
    pub(crate) ignored_signals: &'a [i32],
    /// The files to try, in order.
    pub(crate) candidates: &'a [CString],
    pub(crate) arguments: &'a Pointers<'a>,
    pub(crate) environment: &'a Pointers<'a>,
}

/// A NULL-terminated array of C strings, as execve(2) wants it.
pub(crate) struct Pointers<'a> {
    pointers: Vec<*const libc::c_char>,
    _strings: std::marker::PhantomData<&'a [CString]>,
}

impl<'a> Pointers<'a> {
    pub(crate) fn new(strings: &'a [CString]) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _strings: std::marker::PhantomData }
    }
}

/// The step that a new process failed in.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u32)]
pub(crate) enum Step {
    Cgroup,
    Namespace,
    Limits,
    Streams,
    Terminal,
    WorkingDirectory,
    Capabilities,
    Identity,
    /// No file could be executed.
    Execute,
    /// A file is there, and what should run it is not: the interpreter of a script, the loader of a program.
    Interpreter,
}

impl Step {
    fn from(number: u32) -> Option<Self> {
        use Step::*;
        [Cgroup, Namespace, Limits, Streams, Terminal, WorkingDirectory, Capabilities, Identity, Execute, Interpreter]
            .into_iter()
            .find(|step| *step as u32 == number)
    }
}

/// Why a process did not come to execute its command.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) errno: Errno,
    /// Index into [`Plan::candidates`] of the file that came closest.
    pub(crate) candidate: usize,
    /// That file's first bytes.
    pub(crate) head: Vec<u8>,
}

/// What a process reported before its report pipe closed.
#[derive(Debug, PartialEq)]
pub(crate) enum Report {
    /// It executes its command, or was killed on its way there; its PID as it sees it itself.
    Started(u32),
    Failed(Failure),
    /// It was killed before it could say even its PID.
    Died,
}

impl Report {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let number =
            |index: usize| bytes.get(index * 4..index * 4 + 4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        match (bytes.len(), number(0), number(1).and_then(Step::from)) {
            (4, Some(pid), _) => Self::Started(pid),
            (REPORT_BYTES, _, Some(step)) => {
                let head = &bytes[REPORT_BYTES - HEAD_BYTES..];
                Self::Failed(Failure {
                    step,
                    errno: Errno::from_raw_os_error(number(2).unwrap_or_default() as i32),
                    candidate: number(3).unwrap_or_default() as usize,
                    head: head[..(number(4).unwrap_or_default() as usize).min(HEAD_BYTES)].into(),
                })
            }
            _ => Self::Died,
        }
    }
}

/// Becomes the process.
pub(crate) fn run(plan: &Plan<'_>) -> ! {
    let pid = getpid().as_raw_nonzero().get();
    let _ = write(plan.report, &pid.to_ne_bytes());
    let (step, errno, candidate) = match prepare(plan) {
        Err((step, errno)) => (step, errno, 0),
        Ok(()) => execute(plan),
    };
    let mut failure = [0; FAILURE_BYTES];
    let (numbers, head) = failure.split_at_mut(FAILURE_BYTES - HEAD_BYTES);
    let head_bytes = match plan.candidates.get(candidate) {
        Some(file) if step == Step::Interpreter => read_head(file, head),
        _ => 0,
    };
    let values = [step as u32, errno.raw_os_error() as u32, candidate as u32, head_bytes as u32];
    for (bytes, value) in numbers.chunks_exact_mut(4).zip(values) {
        bytes.copy_from_slice(&value.to_ne_bytes());
    }
    let _ = write(plan.report, &failure);
    // SAFETY: ends this process without running what the agent registered for its own exit.
    unsafe { libc::_exit(127) }
}

fn prepare(plan: &Plan<'_>) -> Result<(), (Step, Errno)> {
    let at = |step: Step| move |errno: Errno| (step, errno);
    let _ = setsid(); // Cannot fail: a new process leads no group.
    if let Some(procs) = plan.cgroup {
        write(procs, b"0").map_err(at(Step::Cgroup))?;
    }
    move_into_link_name_space(plan.cgroup_namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup))
        .map_err(at(Step::Namespace))?;
    // The agent's own, which it inherited, would save it from the OOM killer.
    openat(CWD, c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| write(&file, b"0"))
        .map_err(at(Step::Limits))?;
    // Conveniences: without the privilege to raise them, the inherited ones do.
    let _ = setrlimit(Resource::Nofile, OPEN_FILES);
    let _ = setrlimit(Resource::Nproc, PROCESSES);
    umask(Mode::from_raw_mode(0o022));
    streams(plan).map_err(at(Step::Streams))?;
    if plan.terminal {
        ioctl_tiocsctty(stdin()).map_err(at(Step::Terminal))?;
    }
    let capabilities =
        CapabilitySets { effective: CAPABILITIES, permitted: CAPABILITIES, inheritable: CapabilitySet::empty() };
    set_capabilities(None, capabilities).map_err(at(Step::Capabilities))?;
    // Still as root: an image's working directory may be closed to its own user, and Docker enters it all the same.
    working_directory(plan).map_err(at(Step::WorkingDirectory))?;
    // By the bare system calls: the C library's would look for the threads that this process is a copy without.
    set_thread_groups(plan.groups)
        .and_then(|()| set_thread_res_gid(plan.gid, plan.gid, plan.gid))
        .and_then(|()| set_thread_res_uid(plan.uid, plan.uid, plan.uid))
        .map_err(at(Step::Identity))?;
    reset_signals(plan.ignored_signals);
    Ok(())
}

/// Enters the working directory, and makes it first where it is not. Here, and not on the spawner's thread, because it may
/// lead into a FUSE mount of the workload's, whose server need not answer: only this process waits for that, and can be
/// killed.
fn working_directory(plan: &Plan<'_>) -> Result<(), Errno> {
    let Some(directory) = plan.working_directory.last() else { return Ok(()) };
    match chdir(directory) {
        Err(Errno::NOENT) => {}
        entered => return entered,
    }
    for directory in plan.working_directory {
        match mkdir(directory, Mode::from_raw_mode(0o755)) {
            Ok(()) => chownat(CWD, directory, Some(plan.uid), Some(plan.gid), AtFlags::SYMLINK_NOFOLLOW)?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    chdir(directory)
}

fn streams(plan: &Plan<'_>) -> Result<(), Errno> {
    dup2_stdin(plan.stdin)?;
    dup2_stdout(plan.stdout)?;
    dup2_stderr(plan.stderr)?;
    // So that an unprivileged process can open /dev/stdout.
    let group = if plan.terminal { None } else { Some(plan.gid) };
    if plan.owns_stdin {
        fchown(stdin(), Some(plan.uid), group)?;
    }
    fchown(stdout(), Some(plan.uid), group)?;
    fchown(stderr(), Some(plan.uid), group)?;
    // Everything of the agent's is close-on-exec already; this holds whatever a library opens. Linux 5.11 and later.
    // SAFETY: marks descriptors, and closes none.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Ok(())
}

/// Size of the kernel's sigset_t.
const MASK_BYTES: usize = 8;

/// The signals that this process ignores. By the bare system call: the C library hides two that it keeps for itself, which
/// may have been inherited as ignored, too.
pub(crate) fn ignored_signals() -> Vec<i32> {
    let is_ignored = |signal: &i32| {
        // The kernel's sigaction; its first word is the handler.
        let mut action = [0usize; 4];
        // SAFETY: the kernel writes at most 32 bytes of a sigaction.
        let result = unsafe { libc::syscall(libc::SYS_rt_sigaction, *signal, 0, action.as_mut_ptr(), MASK_BYTES) };
        result == 0 && action[0] == libc::SIG_IGN
    };
    (1..=64).filter(is_ignored).collect()
}

/// Default dispositions and no mask; execve(2) resets handlers by itself.
fn reset_signals(ignored: &[i32]) {
    let nothing = [0usize; 4];
    // SAFETY: all zeroes is the kernel's sigaction for SIG_DFL, and an empty mask.
    unsafe {
        for &signal in ignored {
            libc::syscall(libc::SYS_rt_sigaction, signal, nothing.as_ptr(), 0, MASK_BYTES);
        }
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, nothing.as_ptr(), 0, MASK_BYTES);
    }
}

/// Tries the candidates as execvp(3) does; returns only when none can be executed.
fn execute(plan: &Plan<'_>) -> (Step, Errno, usize) {
    let mut best = (Step::Execute, Errno::NOENT, 0);
    for (index, file) in plan.candidates.iter().enumerate() {
        // SAFETY: the pointers are to NUL-terminated strings that live in `plan`, and both arrays end with NULL.
        unsafe {
            libc::execve(file.as_ptr(), plan.arguments.pointers.as_ptr(), plan.environment.pointers.as_ptr());
        }
        let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
        match errno {
            Errno::NOENT if stat(file).is_ok() => best = (Step::Interpreter, errno, index),
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => best = (Step::Execute, errno, index),
            _ => return (Step::Execute, errno, index),
        }
    }
    best
}

fn read_head(file: &CStr, head: &mut [u8]) -> usize {
    open(file, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
        .and_then(|file| read(&file, head))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(step: u32, errno: u32, candidate: u32, head: &[u8]) -> Vec<u8> {
        let numbers = [7, step, errno, candidate, head.len() as u32];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        bytes.extend_from_slice(head);
        bytes.resize(REPORT_BYTES, 0);
        bytes
    }

    #[test]
    fn a_pid_alone_means_started() {
        assert_eq!(Report::parse(&7u32.to_ne_bytes()), Report::Started(7));
    }

    #[test]
    fn a_failure_carries_what_was_tried() {
        let bytes = report(Step::Interpreter as u32, 2, 3, b"#!/bin/nosh\n");
        let expected =
            Failure { step: Step::Interpreter, errno: Errno::NOENT, candidate: 3, head: b"#!/bin/nosh\n".into() };
        assert_eq!(Report::parse(&bytes), Report::Failed(expected));
    }

    #[test]
    fn silence_means_died() {
        assert_eq!(Report::parse(b""), Report::Died);
        assert_eq!(Report::parse(&[0; 3]), Report::Died);
        assert_eq!(Report::parse(&report(99, 2, 0, b"")), Report::Died);
    }

    proptest! {
        #[test]
        fn any_bytes_are_some_report(bytes in proptest::collection::vec(any::<u8>(), 0..2 * REPORT_BYTES)) {
            Report::parse(&bytes);
        }
    }
}
