// SPDX-License-Identifier: Apache-2.0

//! Births, and the pipes on which the newborn reports.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::error::{Step, StepError};

/// Forks a process that is born in a cgroup; `child` runs in it, and joins through the descriptor of cgroup.procs it gets
/// where the kernel cannot do that (before Linux 5.7). Moving a living process waits for all others to pass a quiet
/// point, milliseconds on some machines.
///
/// It joins also where the workload's pids.max is reached, which forbids births and no moves: whoever filled the workload
/// with processes does not keep the host from running one more.
pub(crate) fn fork_into(cgroup: BorrowedFd<'_>, child: impl FnOnce(Option<BorrowedFd<'_>>)) -> rustix::io::Result<Pid> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: all zeroes is a valid clone_args.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: without CLONE_VM and with no stack given, it returns twice like fork(2). The child has one thread, a copy of
    // this one, and `child` calls only what is safe in such a process and does not return.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) } {
        0 => {
            child(None);
            exit_child()
        }
        -1 => match last_error() {
            Errno::NOSYS | Errno::INVAL | Errno::TOOBIG | Errno::AGAIN => {}
            errno => return Err(errno),
        },
        pid => return Pid::from_raw(pid as i32).ok_or(Errno::SRCH),
    }
    let procs = openat(cgroup, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: as above.
    match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
        0 => {
            child(Some(procs.as_fd()));
            exit_child()
        }
        -1 => Err(last_error()),
        pid => Pid::from_raw(pid as i32).ok_or(Errno::SRCH),
    }
}

/// Ends a child that came back.
fn exit_child() -> ! {
    // SAFETY: ends the process, nothing else.
    unsafe { libc::_exit(127) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Both ends close on exec, and block.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), StepError> {
    pipe_with(PipeFlags::CLOEXEC).step(|| "creating a pipe".into())
}
