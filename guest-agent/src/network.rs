// SPDX-License-Identifier: Apache-2.0

//! A network namespace's set-up.

use std::fs;
use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::{Step, StepError};

/// Sets up the calling thread's.
pub(crate) fn set_up() -> Result<(), StepError> {
    // As Docker does, so that images which listen below 1024 or ping need no privilege. Absent without IPv4.
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let _ = fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    raise_loopback().step(|| "raising the loopback interface".into())
}

/// netdevice(7)
fn raise_loopback() -> rustix::io::Result<()> {
    let socket = match socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None) {
        Err(Errno::AFNOSUPPORT) => return Ok(()), // A kernel without IPv4.
        socket => socket?,
    };
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq that lives across the call.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
