// SPDX-License-Identifier: Apache-2.0

//! What a new process does between its birth and execve(2).
//!
//! It is the child of a process with several threads, so until execve(2) it may call only what is safe in a signal
//! handler: system calls on what was prepared before. No allocation, no lock, no panic.
//!
//! It is born with a copy of every descriptor of the agent's: the cgroups above the workload's, other processes' pipes, the
//! connection to the host. It closes them before it resolves a path that is not this file's own, because a path may lead
//! through them (/proc/self/fd/N) and may never end (a FUSE mount). Root of the workload sees it from its birth and may stop
//! it before that: then other processes' stdin ends only when the start's time is over, and it is killed. Nobody gets at
//! the descriptors, for it is not dumpable.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::fs::{Mode, OFlags, fchown, mkdir, open, stat};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::process::{Gid, Uid, chdir, getpid, ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, move_into_link_name_space, set_keep_capabilities, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::namespaces::Apart;
use crate::root;
use crate::security::{self, CAPABILITIES, Refused, Security};

/// Bytes of a file that may tell why it cannot be executed.
const HEAD_BYTES: usize = 128;
/// step, errno, candidate, bytes of the head, each 4 bytes, and the head.
const FAILURE_BYTES: usize = 16 + HEAD_BYTES;
/// The longest that a process may report: its PID, and a failure.
pub(crate) const REPORT_BYTES: usize = 4 + FAILURE_BYTES;

/// All that the new process needs, prepared.
pub(crate) struct Plan<'a> {
    pub(crate) report: &'a OwnedFd,
    /// Where it tells that it waits, and is told to go on, if it is to be held before its command.
    pub(crate) hold: Option<&'a OwnedFd>,
    /// The process's cgroup.procs, when it is not born into that cgroup.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    pub(crate) cgroup_namespace: &'a OwnedFd,
    pub(crate) stdin: BorrowedFd<'a>,
    pub(crate) stdout: BorrowedFd<'a>,
    pub(crate) stderr: BorrowedFd<'a>,
    /// Which of the three are the process's own, rather than the shared /dev/null.
    pub(crate) owns: [bool; 3],
    /// Whether the three are a terminal.
    pub(crate) terminal: bool,
    /// Whether it is PID 1 of its namespace, in a mount namespace whose /proc is not that namespace's yet.
    pub(crate) pid_one: bool,
    pub(crate) mounts: &'a root::Members,
    /// Path of the terminal that is to be its /dev/console.
    pub(crate) console: Option<&'a CStr>,
    pub(crate) working_directory: &'a CStr,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) groups: &'a [Gid],
    /// The same user and group as they are numbered outside of the user namespace.
    pub(crate) outer_uid: Uid,
    pub(crate) outer_gid: Gid,
    pub(crate) apart: &'a Apart,
    pub(crate) security: &'a Security,
    /// All that the kernel has.
    pub(crate) capabilities: CapabilitySet,
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
    Proc,
    Limits,
    Scheduling,
    Streams,
    Terminal,
    WorkingDirectory,
    /// The working directory is there, and not below the root.
    OutsideRoot,
    Capabilities,
    Identity,
    Hold,
    Filter,
    /// No file could be executed.
    Execute,
    /// A file is there, and what should run it is not: the interpreter of a script, the loader of a program.
    Interpreter,
}

impl Step {
    fn from(number: u32) -> Option<Self> {
        use Step::*;
        [
            Cgroup,
            Namespace,
            Proc,
            Limits,
            Scheduling,
            Streams,
            Terminal,
            WorkingDirectory,
            OutsideRoot,
            Capabilities,
            Identity,
            Hold,
            Filter,
            Execute,
            Interpreter,
        ]
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

/// Where the report goes once the agent's descriptors are closed.
const REPORT: RawFd = 3;
/// Where [`Plan::hold`] is then, if at all.
const HOLD: RawFd = 4;

/// Where the user namespace is then, until it is entered.
fn users_descriptor(plan: &Plan<'_>) -> RawFd {
    if plan.hold.is_some() { HOLD + 1 } else { REPORT + 1 }
}

/// Becomes the process.
pub(crate) fn run(plan: &Plan<'_>) -> ! {
    let pid = getpid().as_raw_nonzero().get();
    let _ = write(plan.report, &pid.to_ne_bytes());
    if let Err((step, errno)) = leave_agent(plan) {
        fail(plan, plan.report.as_fd(), step, errno, 0);
    }
    // SAFETY: `leave_agent` put it there, and nothing closes it.
    let report = unsafe { BorrowedFd::borrow_raw(REPORT) };
    let (step, errno, candidate) = match prepare(plan) {
        Err((step, errno)) => (step, errno, 0),
        Ok(()) => execute(plan),
    };
    fail(plan, report, step, errno, candidate)
}

/// Tells why, and ends.
fn fail(plan: &Plan<'_>, report: BorrowedFd<'_>, step: Step, errno: Errno, candidate: usize) -> ! {
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
    let _ = write(report, &failure);
    // SAFETY: ends this process without running what the agent registered for its own exit.
    unsafe { libc::_exit(127) }
}

fn at(step: Step) -> impl Fn(Errno) -> (Step, Errno) {
    move |errno| (step, errno)
}

/// All that needs a descriptor of the agent's. Afterwards 0 to 2, [`REPORT`], [`HOLD`] and [`users_descriptor`] are open,
/// nothing else.
fn leave_agent(plan: &Plan<'_>) -> Result<(), (Step, Errno)> {
    let _ = setsid(); // Cannot fail: a new process leads no group.
    if let Some(procs) = plan.cgroup {
        write(procs, b"0").map_err(at(Step::Cgroup))?;
    }
    move_into_link_name_space(plan.cgroup_namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup))
        .map_err(at(Step::Namespace))?;
    if let Some(clocks) = &plan.apart.clocks {
        enter(clocks.as_raw_fd()).map_err(at(Step::Namespace))?;
    }
    if plan.pid_one {
        plan.mounts.renew_proc().map_err(at(Step::Proc))?;
    }
    streams(plan).map_err(at(Step::Streams))?;
    // First to where nothing is, for each may have another's number.
    let aside = |descriptor: &OwnedFd| fcntl_dupfd_cloexec(descriptor, HOLD + 2).map_err(at(Step::Streams));
    let hold = plan.hold.map(aside).transpose()?;
    let users = plan.apart.users.as_ref().map(aside).transpose()?;
    keep_as(plan.report.as_raw_fd(), REPORT).map_err(at(Step::Streams))?;
    let mut kept = REPORT;
    for (descriptor, number) in [(hold, HOLD), (users, users_descriptor(plan))] {
        if let Some(descriptor) = descriptor {
            keep_as(descriptor.into_raw_fd(), number).map_err(at(Step::Streams))?;
            kept = number;
        }
    }
    // SAFETY: nothing of what is closed is used from here on.
    unsafe { close_from(kept + 1) };
    Ok(())
}

/// Gives a descriptor a number. Whatever was at that number is a copy of the agent's, and not used from here on.
fn keep_as(descriptor: RawFd, number: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only.
    if descriptor != number && unsafe { libc::dup3(descriptor, number, libc::O_CLOEXEC) } < 0 {
        return Err(last_errno());
    }
    Ok(())
}

/// Enters the namespace that a descriptor is of, whatever its kind.
fn enter(namespace: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only; the process has one thread.
    if unsafe { libc::setns(namespace, 0) } != 0 { Err(last_errno()) } else { Ok(()) }
}

fn prepare(plan: &Plan<'_>) -> Result<(), (Step, Errno)> {
    // Before there is a limit of open files.
    let held = match plan.hold {
        Some(_) => Some(open_signals().map_err(at(Step::Hold))?),
        None => None,
    };
    plan.security.limit().map_err(refused)?;
    if plan.terminal {
        ioctl_tiocsctty(stdin()).map_err(at(Step::Terminal))?;
    }
    if let Some(terminal) = plan.console {
        // The workload may have something of its own there, and then keeps it.
        let _ = root::bind_console(terminal);
    }
    let mut all = plan.capabilities;
    // Root of a container is who enters the working directory; with more it would get through what is closed to that.
    security::use_only(CAPABILITIES, all).map_err(at(Step::Capabilities))?;
    // Still as root: an image's working directory may be closed to its own user, and Docker enters it all the same.
    working_directory(plan)?;
    if plan.apart.users.is_some() {
        let users = users_descriptor(plan);
        enter(users).map_err(at(Step::Namespace))?;
        // All in there, which is none outside.
        all = security::all_capabilities().map_err(at(Step::Capabilities))?;
        // SAFETY: nothing uses it any more.
        unsafe { libc::close(users) };
    }
    // With a privilege that `restrict` may take.
    plan.security.bound(all).map_err(refused)?;
    set_keep_capabilities(true).map_err(at(Step::Capabilities))?;
    // By the bare system calls: the C library's would look for the threads that this process is a copy without.
    set_thread_groups(plan.groups)
        .and_then(|()| set_thread_res_gid(plan.gid, plan.gid, plan.gid))
        .and_then(|()| set_thread_res_uid(plan.uid, plan.uid, plan.uid))
        .map_err(at(Step::Identity))?;
    // Before the filter, which may forbid what it takes.
    if let Some(signals) = held {
        wait_for_release(plan, signals).map_err(at(Step::Hold))?;
    }
    reset_signals(plan.ignored_signals);
    security::use_only(all, all).map_err(at(Step::Capabilities))?;
    plan.security.restrict(all, plan.uid.is_root()).map_err(refused)
}

/// A descriptor from which the signals are read that the process has blocked, which are all.
fn open_signals() -> Result<RawFd, Errno> {
    let all = u64::MAX;
    // SAFETY: the kernel reads a mask that lives across the call.
    match unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const all, MASK_BYTES, libc::SFD_CLOEXEC) } {
        -1 => Err(last_errno()),
        descriptor => Ok(descriptor as RawFd),
    }
}

/// Says its PID, and waits until it is told to go on. A signal that would end a process ends it, PID 1, which the kernel
/// would keep it from, as well.
fn wait_for_release(plan: &Plan<'_>, signals: RawFd) -> Result<(), Errno> {
    // SAFETY: `leave_agent` put the one there, `open_signals` made the other, and nothing closes them.
    let (hold, signals) = unsafe { (BorrowedFd::borrow_raw(HOLD), BorrowedFd::borrow_raw(signals)) };
    write(hold, &getpid().as_raw_nonzero().get().to_ne_bytes())?;
    loop {
        let wanted = |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut ready = [wanted(signals), wanted(hold)];
        // SAFETY: the kernel writes to two structures that live across the call.
        if unsafe { libc::poll(ready.as_mut_ptr(), 2, -1) } < 0 {
            match last_errno() {
                Errno::INTR => continue,
                errno => return Err(errno),
            }
        }
        if ready[0].revents != 0 {
            // signalfd_siginfo of linux/signalfd.h, which begins with the signal's number.
            let mut signal = [0; 128];
            read(signals, &mut signal)?;
            let number = i32::from_ne_bytes([signal[0], signal[1], signal[2], signal[3]]);
            if ends_by_default(number) {
                end_by(plan, number);
            }
        } else if ready[1].revents != 0 {
            return match read(hold, &mut [0])? {
                // The agent has gone.
                0 => Err(Errno::PIPE),
                _ => Ok(()),
            };
        }
    }
}

/// Whether a signal's default action is to end the process: signal(7).
fn ends_by_default(signal: i32) -> bool {
    !matches!(
        signal,
        libc::SIGCHLD
            | libc::SIGCONT
            | libc::SIGSTOP
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
            | libc::SIGURG
            | libc::SIGWINCH
    )
}

/// Ends as the signal does, or with a shell's exit code where the kernel keeps it from a PID 1.
fn end_by(plan: &Plan<'_>, signal: i32) -> ! {
    reset_signals(plan.ignored_signals);
    // SAFETY: integers only; ends this process without running what the agent registered for its own exit.
    unsafe {
        libc::kill(getpid().as_raw_nonzero().get(), signal);
        libc::_exit(128 + signal)
    }
}

fn refused((step, errno): (Refused, Errno)) -> (Step, Errno) {
    let step = match step {
        Refused::Limits => Step::Limits,
        Refused::Scheduling => Step::Scheduling,
        Refused::Capabilities => Step::Capabilities,
        Refused::Filter => Step::Filter,
    };
    (step, errno)
}

/// PATH_MAX of linux/limits.h, the NUL included.
const PATH_MAX: usize = 4096;

/// Enters the working directory, and makes it first where it is not. Here, and not on the spawner's thread, because it may
/// lead into a FUSE mount of the workload's, whose server need not answer: only this process waits for that, and can be
/// killed.
fn working_directory(plan: &Plan<'_>) -> Result<(), (Step, Errno)> {
    match chdir(plan.working_directory) {
        Err(Errno::NOENT) => make_directories(plan).and_then(|()| chdir(plan.working_directory)),
        entered => entered,
    }
    .map_err(at(Step::WorkingDirectory))?;
    // It may be a link through /proc to a directory of another mount namespace. The bare system call: the C library's
    // would look for a name of it.
    let mut path = [0u8; PATH_MAX];
    // SAFETY: the kernel writes at most the bytes that `path` has.
    if unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) } < 0 {
        return Err((Step::WorkingDirectory, last_errno()));
    }
    // Else "(unreachable)": getcwd(2).
    if path[0] == b'/' { Ok(()) } else { Err((Step::OutsideRoot, Errno::XDEV)) }
}

/// Makes the working directory and those above it, as the user's own from the start: chown(2) could be led astray by a
/// process of the workload's that puts something else in its place meanwhile.
fn make_directories(plan: &Plan<'_>) -> Result<(), Errno> {
    // SAFETY: integers only. They cannot fail with these capabilities.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, plan.outer_gid.as_raw());
        libc::syscall(libc::SYS_setfsuid, plan.outer_uid.as_raw());
    }
    // Which setfsuid(2) takes away: whose directory it is to be in is not the user's to decide.
    security::use_only(CAPABILITIES, plan.capabilities)?;
    let mut path = [0u8; PATH_MAX];
    let bytes = plan.working_directory.to_bytes();
    path.get_mut(..bytes.len()).filter(|_| bytes.len() < PATH_MAX).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(bytes);
    for end in 1..=bytes.len() {
        if path[end] != b'/' && path[end] != 0 {
            continue;
        }
        let after = std::mem::replace(&mut path[end], 0);
        let directory = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::INVAL)?;
        match mkdir(directory, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => path[end] = after,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn streams(plan: &Plan<'_>) -> Result<(), Errno> {
    dup2_stdin(plan.stdin)?;
    dup2_stdout(plan.stdout)?;
    dup2_stderr(plan.stderr)?;
    // So that an unprivileged process can open /dev/stdout.
    let group = if plan.terminal { None } else { Some(plan.outer_gid) };
    for (stream, _) in [stdin(), stdout(), stderr()].into_iter().zip(plan.owns).filter(|(_, own)| *own) {
        fchown(stream, Some(plan.outer_uid), group)?;
    }
    Ok(())
}

/// Closes every descriptor from this one on. Allocates nothing.
///
/// # Safety
/// Nothing may use one of them afterwards.
pub(crate) unsafe fn close_from(first: RawFd) {
    // SAFETY: integers only; the caller answers for the descriptors. Linux 5.9 and later.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } != 0 {
        // SAFETY: as above.
        unsafe { close_each_from(first) };
    }
}

/// # Safety
/// As [`close_from`].
unsafe fn close_each_from(first: RawFd) {
    // The agent has only ever raised its limit, so it has no descriptor beyond.
    // SAFETY: all zeroes is a valid rlimit, which getrlimit(2) writes; the rest are integers.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        for fd in first..limit.rlim_cur.min(1 << 20) as RawFd {
            libc::close(fd);
        }
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
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
        let errno = last_errno();
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
    fn most_signals_end_a_process() {
        let spared: Vec<i32> = (1..=64).filter(|&signal| !ends_by_default(signal)).collect();
        assert_eq!(spared, [17, 18, 19, 20, 21, 22, 23, 28]);
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

    /// As before Linux 5.9.
    #[test]
    fn descriptors_are_closed_one_by_one_where_there_is_no_other_way() {
        let kept = std::fs::File::open("/dev/null").unwrap();
        let first = kept.as_raw_fd() + 1;
        // SAFETY: the child makes system calls on integers only, and does not return.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            unsafe {
                libc::dup2(kept.as_raw_fd(), first + 5);
                close_each_from(first);
                let open = |fd| libc::fcntl(fd, libc::F_GETFD) != -1;
                libc::_exit(if open(first - 1) && !(first..first + 32).any(open) { 7 } else { 1 });
            }
        }
        let mut status = 0;
        // Fails where the agent of another test, in this process, was quicker: it reaps whatever ends.
        // SAFETY: the pointer is to a live variable of the type that waitpid(2) writes.
        if unsafe { libc::waitpid(child, &raw mut status, 0) } == child {
            assert_eq!(libc::WEXITSTATUS(status), 7);
        }
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
