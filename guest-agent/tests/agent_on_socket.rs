// SPDX-License-Identifier: Apache-2.0

//! The agent on a Unix socket instead of vsock, for the tests: `agent_on_socket SOCKET BLOCK CGROUP STAGING
//! [EXECUTABLE]`; the last is what the agent may remove as its own.
//!
//! Everything but the boot and the dial is the agent that virtual machines run. It needs root, and a mount namespace of its
//! own keeps what it mounts from the machine it runs on.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nacelle_agent::{Agent, Machine, serve};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // SAFETY: no thread exists yet, and the flag separates no file descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;

    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = || arguments.next().ok_or("usage: agent_on_socket SOCKET BLOCK CGROUP STAGING");
    let socket = next()?;
    let (block, cgroup, staging) = (next()?, next()?, next()?);
    let machine = Machine { block, cgroup, staging, executable: next().ok(), ..Machine::default() };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let agent = runtime.block_on(async { Agent::new(machine, Default::default()) });
    runtime.block_on(serve(&agent, UnixStream::connect(&socket)?))?;
    Ok(())
}
