// SPDX-License-Identifier: Apache-2.0

//! PID 1 of the workload's PID namespace: the namespace lives as long as it does.
//!
//! It is a copy of the agent that never executes anything else, so it does as little as it can: it mounts what only a
//! member of the namespaces can mount, says so, and then waits to be killed. Orphans are reaped by the kernel itself,
//! because it ignores SIGCHLD.
//!
//! The OOM killer spares it, as it spares the agent, and no process of the workload can signal it. Should it end all the
//! same, the kernel kills everything in the namespace and lets nobody in any more: the agent is to say that, and not that
//! a command was killed or a fork failed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid};
use rustix::stdio::dup2_stdin;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space, set_name};
use tokio::time::timeout;

use crate::cgroup::Workload;
use crate::error::StepError;
use crate::io::NonBlocking;
use crate::reaper::{ExitStatus, Exiting};
use crate::{exec, root};

const STEPS: [&str; 4] = [
    "joining the workload's cgroup",
    "joining the workload's cgroup namespace",
    "mounting proc on /proc",
    "mounting cgroup2 on /sys/fs/cgroup",
];
const READY: u8 = STEPS.len() as u8;

/// What the new process is to do. It is the child of a process with several threads: nothing here may allocate or lock.
///
/// `namespace` is the workload's cgroup namespace, `cgroup` the init's cgroup.procs when the process is not in that cgroup
/// yet.
pub(crate) fn run(report: &OwnedFd, namespace: &OwnedFd, cgroup: Option<BorrowedFd<'_>>, mounts: &root::Members) -> ! {
    let (step, errno) = match set_up(namespace, cgroup, mounts) {
        Ok(()) => (READY, 0),
        Err((step, errno)) => (step, errno.raw_os_error() as u8),
    };
    let _ = rustix::io::write(report, &[step, errno]);
    if step != READY || dup2_stdin(report).is_err() {
        // SAFETY: ends this process without running what the agent registered for its own exit.
        unsafe { libc::_exit(1) }
    }
    // SAFETY: nothing in this process uses a descriptor from here on. Any one left open would keep alive what the agent
    // closes, its connection to the host first of all; but for the pipe, by whose end the agent sees that this one ends.
    unsafe { exec::close_from(1) };
    loop {
        // SAFETY: waits for a signal, of which only those that nobody can catch get through.
        unsafe { libc::pause() };
    }
}

fn set_up(namespace: &OwnedFd, cgroup: Option<BorrowedFd<'_>>, mounts: &root::Members) -> Result<(), (u8, Errno)> {
    // SAFETY: from here on the kernel reaps every child of this process.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let _ = setsid();
    let _ = set_name(c"init");
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // The agent's memory and executable are behind /proc/1.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Some(procs) = cgroup {
        rustix::io::write(procs, b"0").map_err(|errno| (0, errno))?;
    }
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::ControlGroup)).map_err(|errno| (1, errno))?;
    mounts.mount_proc().map_err(|errno| (2, errno))?;
    mounts.mount_cgroup().map_err(|errno| (3, errno))
}

/// How many bytes the new process reports.
pub(crate) const REPORT_BYTES: u64 = 2;

/// The agent's view of the init.
#[derive(Debug)]
pub(crate) struct Init {
    /// The other end of a pipe that the init alone holds.
    lifeline: NonBlocking,
    exit: Exiting,
    workload: Arc<Workload>,
}

/// How long an init that ends may take to be gone; longer where a process of the namespace cannot be killed at once.
const DEATH: Duration = Duration::from_secs(1);

impl Init {
    pub(crate) fn new(lifeline: OwnedFd, exit: Exiting, workload: Arc<Workload>) -> std::io::Result<Self> {
        Ok(Self { lifeline: NonBlocking::new(lifeline)?, exit, workload })
    }

    /// Whether it ends or has ended. The kernel closes its descriptors before it kills what is in the namespace (do_exit
    /// of kernel/exit.c), so whoever was killed for that finds this true.
    pub(crate) fn is_ending(&self) -> bool {
        self.lifeline.has_ended()
    }

    /// Waits for its end, and says how it came.
    pub(crate) async fn end(&self) -> String {
        // It writes nothing.
        let _ = self.lifeline.read().await;
        let mut exit = self.exit.clone();
        let exit = timeout(DEATH, exit.wait_for(Option::is_some)).await;
        let how = match exit.ok().and_then(Result::ok).and_then(|exit| *exit).map(|exit| exit.status) {
            Some(_) if self.workload.init_oom_kills() > 0 => "was killed by the OOM killer".into(),
            Some(ExitStatus::Signal(signal)) => format!("was killed by signal {signal}"),
            Some(ExitStatus::Code(code)) => format!("ended with exit code {code}"),
            None => "is ending".into(),
        };
        format!("the workload's init {how}, and with it everything else; the machine is of no use any more")
    }
}

/// What the new process reported.
pub(crate) fn check(report: &[u8]) -> Result<(), StepError> {
    match *report {
        [READY, 0] => Ok(()),
        [step, errno] if step < READY => {
            Err(StepError { step: STEPS[step as usize].into(), errno: Errno::from_raw_os_error(errno.into()) })
        }
        _ => Err(StepError { step: "starting the workload's init".into(), errno: Errno::SRCH }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_step_and_the_error() {
        assert!(check(&[READY, 0]).is_ok());
        assert_eq!(
            check(&[3, 19]).unwrap_err().to_string(),
            "mounting cgroup2 on /sys/fs/cgroup: No such device (os error 19)"
        );
    }

    #[test]
    fn no_report_is_a_failure() {
        for report in [&[][..], &[READY], &[READY, 1], &[9, 0], &[READY, 0, 0]] {
            assert!(check(report).is_err(), "{report:?}");
        }
    }
}
