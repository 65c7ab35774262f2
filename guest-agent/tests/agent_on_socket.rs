// SPDX-License-Identifier: Apache-2.0

//! The agent on a Unix socket instead of vsock, for the tests: `agent_on_socket SOCKET BLOCK CGROUP STAGING
//! [EXECUTABLE]`; the last is what the agent may remove as its own.
//!
//! Everything but the boot and the dial is the agent that virtual machines run. It needs root, and a mount namespace of its
//! own keeps what it mounts from the machine it runs on. Nor does it set that machine's clock: it only believes so.

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
    leave_the_clock()?;

    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = || arguments.next().ok_or("usage: agent_on_socket SOCKET BLOCK CGROUP STAGING");
    let socket = next()?;
    let (block, cgroup, staging) = (next()?, next()?, next()?);
    let network = Some(socket.with_extension("network"));
    let machine = Machine { block, cgroup, staging, network, executable: next().ok(), ..Machine::default() };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let agent = runtime.block_on(async { Agent::new(machine, Default::default()) });
    runtime.block_on(serve(&agent, UnixStream::connect(&socket)?))?;
    Ok(())
}

/// Makes clock_settime(2) succeed without an effect, here and in what this starts.
fn leave_the_clock() -> std::io::Result<()> {
    let filter = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        // The number, at the beginning of seccomp_data.
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_clock_settime as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program lives until the call returns, and the kernel keeps a copy.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
