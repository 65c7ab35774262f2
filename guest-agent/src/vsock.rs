// SPDX-License-Identifier: Apache-2.0

//! The dial to the host. On KVM (virtio-vsock) and on Hyper-V (hv_sock) alike it is AF_VSOCK for the guest.

use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// VMADDR_CID_HOST
const HOST: u32 = 2;
/// Where the host listens for its agent.
pub(crate) const AGENT: u32 = 1024;
/// Where it listens for the workload's network.
pub(crate) const NETWORK: u32 = 1025;
/// Of linux/vm_sockets.h: how long a connect waits, as a `timeval`.
const CONNECT_TIMEOUT: libc::c_int = 6;

/// Dials a port of the host until the host answers or `patience` is over; then the error is the last attempt's.
///
/// An attempt that nobody has refused is not given up before: the host might take it later, and wait for what never comes.
///
/// The stream is called a `UnixStream` because that is the type that runtimes take; only read(2), write(2), shutdown(2)
/// and close(2) are ever called on it, which are the same for every stream socket.
pub(crate) fn dial(port: u32, patience: Duration) -> Result<UnixStream, Errno> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match connect(port, patience.saturating_sub(start.elapsed())) {
            Ok(socket) => return Ok(UnixStream::from(socket)),
            Err(errno) if start.elapsed() + pause >= patience => return Err(errno),
            // No device yet, or nobody listening yet.
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn connect(port: u32, patience: Duration) -> Result<OwnedFd, Errno> {
    // SAFETY: a system call on integers.
    let fd = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(last_error());
    }
    // SAFETY: socket(2) just made it, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let timeout =
        libc::timeval { tv_sec: patience.as_secs() as libc::time_t, tv_usec: patience.subsec_micros().into() };
    let size = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: the kernel reads `size` bytes of a timeval that lives across the call.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::AF_VSOCK, CONNECT_TIMEOUT, (&raw const timeout).cast(), size)
    };
    if set != 0 {
        return Err(last_error());
    }
    // SAFETY: all zeroes is a valid sockaddr_vm.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = HOST;
    address.svm_port = port;
    let length = size_of::<libc::sockaddr_vm>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of an address that lives across the call.
    match unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) } {
        0 => Ok(socket),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
