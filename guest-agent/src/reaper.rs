// SPDX-License-Identifier: Apache-2.0

//! Exit statuses. PID 1 is everybody's last parent, so it waits for any child, on each SIGCHLD until none is left.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How a process ended, and what it used: wait4(2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    pub(crate) status: ExitStatus,
    pub(crate) user_nanos: u64,
    pub(crate) system_nanos: u64,
    pub(crate) peak_memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ExitStatus {
    /// WEXITSTATUS
    Code(u32),
    /// WTERMSIG
    Signal(u32),
}

/// Where a child's exit is handed out.
pub(crate) type Exiting = watch::Receiver<Option<Exit>>;

/// The children that somebody waits for.
///
/// A child is in the table from before anybody can reap it until it is reaped, both under the one lock. So its exit
/// cannot be missed, and while it is in the table its PID is its own: a signal cannot hit another process.
#[derive(Clone, Default)]
pub(crate) struct Children {
    table: Arc<Mutex<HashMap<Pid, watch::Sender<Option<Exit>>>>>,
}

impl Children {
    /// Runs `create`, which starts a child and returns its PID, and then hands out that child's exit.
    pub(crate) fn adopt(&self, create: impl FnOnce() -> rustix::io::Result<Pid>) -> rustix::io::Result<(Pid, Exiting)> {
        let mut table = self.lock();
        let pid = create()?;
        let (sender, receiver) = watch::channel(None);
        table.insert(pid, sender);
        Ok((pid, receiver))
    }

    /// Signals a child, or its process group; ESRCH once it is reaped.
    pub(crate) fn signal(&self, pid: Pid, signal: Signal, group: bool) -> rustix::io::Result<()> {
        let table = self.lock();
        if !table.contains_key(&pid) {
            return Err(Errno::SRCH);
        }
        if group { kill_process_group(pid, signal) } else { kill_process(pid, signal) }
    }

    /// Reaps for ever.
    pub(crate) async fn reap(self) -> std::io::Error {
        let mut signals = match signal(SignalKind::child()) {
            Ok(signals) => signals,
            Err(error) => return error,
        };
        loop {
            self.reap_all();
            signals.recv().await;
        }
    }

    fn reap_all(&self) {
        let mut table = self.lock();
        while let Some((pid, exit)) = wait_any() {
            if let Some(waiting) = table.remove(&pid) {
                waiting.send_replace(Some(exit));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pid, watch::Sender<Option<Exit>>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reaps one child that has ended, if there is one.
fn wait_any() -> Option<(Pid, Exit)> {
    let mut status = 0;
    // SAFETY: all zeroes is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the types that wait4(2) writes.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage) };
    // 0: none has ended; -1: there is none (ECHILD).
    let pid = Pid::from_raw(pid.max(0))?;
    let status = if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status) as u32)
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status) as u32)
    };
    let exit = Exit {
        status,
        user_nanos: nanos(usage.ru_utime),
        system_nanos: nanos(usage.ru_stime),
        peak_memory_bytes: usage.ru_maxrss as u64 * 1024,
    };
    Some((pid, exit))
}

fn nanos(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000
}
