// SPDX-License-Identifier: Apache-2.0

//! A network namespace's set-up.

use std::fs;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

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
    let mut request = interface(b"lo");
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    control(socket.as_fd(), libc::SIOCSIFFLAGS, &mut request)
}

/// A request about an interface.
pub(crate) fn interface(name: &[u8]) -> libc::ifreq {
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request
}

/// An ioctl(2) of netdevice(7)'s kind. `T` is the structure that the kernel documents for the request.
pub(crate) fn control<T>(
    descriptor: BorrowedFd<'_>,
    request: libc::c_ulong,
    argument: &mut T,
) -> rustix::io::Result<()> {
    // SAFETY: the kernel reads and writes one structure, which lives across the call.
    match unsafe { libc::ioctl(descriptor.as_raw_fd(), request as _, &raw mut *argument) } {
        0.. => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
