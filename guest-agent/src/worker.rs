// SPDX-License-Identifier: Apache-2.0

//! A worker: the process that reads or changes files of the workload for one UseFiles call.
//!
//! It is a fork of the agent in the workload's mount namespace, and never executes anything. It keeps two pipes of the
//! agent's, has memory of its own (`heap`), the capabilities of the workload's processes, and stays in the agent's PID
//! namespace: the workload can neither see nor stop it, and no /proc that the workload sees has files of it.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::{Errno, write};
use rustix::process::{Signal, set_parent_process_death_signal, setsid, umask};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_name};

use crate::exchange::{Failure, Requests, Responses, send};
use crate::file::MAX_PATH_BYTES;
use crate::proto::file_request::Request;
use crate::proto::file_response::Response;
use crate::proto::{FileDone, FileFailure};
use crate::resolve::Root;
use crate::{bounds, exec, heap, operate, security};

/// What the new process needs of the agent.
pub(crate) struct Inheritance<'a> {
    pub(crate) requests: &'a OwnedFd,
    pub(crate) responses: &'a OwnedFd,
    /// A /proc where the worker is seen.
    pub(crate) proc: &'a OwnedFd,
    /// Its cgroup.procs, when it is not born there.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
}

/// Becomes the worker.
pub(crate) fn run(inheritance: &Inheritance<'_>) -> ! {
    if separate(inheritance).is_ok() {
        serve();
    }
    // SAFETY: ends this process without running what the agent registered for its own exit.
    unsafe { libc::_exit(1) }
}

/// Leaves all of the agent's behind. Until then nothing may be allocated.
fn separate(inheritance: &Inheritance<'_>) -> Result<(), Errno> {
    let _ = setsid();
    let _ = set_name(c"files");
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if let Some(procs) = inheritance.cgroup {
        write(procs, b"0")?;
    }
    // The agent's own, which it inherited, would save it from the OOM killer.
    openat(inheritance.proc, c"self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|score| write(&score, b"0"))?;
    dup2_stdin(inheritance.requests)?;
    dup2_stdout(inheritance.responses)?;
    // SAFETY: nothing of what is closed is used from here on.
    unsafe { exec::close_from(2) };
    umask(Mode::empty());
    let capabilities = security::CAPABILITIES;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: capabilities, permitted: capabilities, inheritable })?;
    heap::separate()
}

/// Answers the call.
fn serve() {
    let mut requests = Requests::default();
    let mut responses = Responses::default();
    let last = match operate(&mut requests, &mut responses).and_then(|()| responses.flush()) {
        Ok(()) => Response::Done(FileDone {}),
        Err(Failure { errno, mut path, doing }) => {
            // What was found before is told as well.
            let _ = responses.flush();
            path.truncate(MAX_PATH_BYTES);
            // What the errno means the agent adds.
            let message = bounds::message(format!("{doing} {}", String::from_utf8_lossy(&path)));
            Response::Failure(FileFailure { errno: errno.raw_os_error(), path: path.into(), message })
        }
    };
    let _ = send(last);
}

fn operate(requests: &mut Requests, responses: &mut Responses) -> Result<(), Failure> {
    let root = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = Root::new(root.map_err(Failure::at("opening", b"/"))?);
    match requests.next()? {
        Some(Request::Start(operation)) => operate::run(&root, operation, requests, responses),
        _ => Err(Failure::new("reading the request", b"", Errno::INVAL)),
    }
}
