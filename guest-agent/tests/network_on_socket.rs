// SPDX-License-Identifier: Apache-2.0

//! A sandbox's network without a machine, for tests of the host's side: `network_on_socket SOCKET PROGRAM [ARGUMENT...]` runs
//! a program of this machine in a network namespace of its own, whose interface's other end is at a Unix socket. It needs
//! root. The exit code is the program's.

use std::fs;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode};

use nacelle_agent::carry_network;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let usage = "usage: network_on_socket SOCKET PROGRAM [ARGUMENT...]";
    let mut arguments = std::env::args_os().skip(1);
    let socket = arguments.next().ok_or(usage)?;
    let program = arguments.next().ok_or(usage)?;

    set_parent_process_death_signal(Some(Signal::KILL))?;
    // SAFETY: no thread exists yet, and no flag of these separates file descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let names = std::env::temp_dir().join(format!("resolv.conf.{}", std::process::id()));
    fs::write(&names, "nameserver 198.18.0.1\n")?;
    let mounted = mount_bind(&names, "/etc/resolv.conf");
    fs::remove_file(&names)?;
    mounted?;

    let _network = carry_network(UnixStream::connect(socket)?, true)?;
    let status = Command::new(program).args(arguments).status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255)))
}
