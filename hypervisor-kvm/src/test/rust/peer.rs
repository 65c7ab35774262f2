// SPDX-License-Identifier: Apache-2.0

//! PID 1 of the machines that test the virtio devices under Linux' own drivers: does what the host tells it over vsock,
//! one command a connection, with the system calls that any program would use.

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex};
use std::thread;

/// Where the host sends its commands, and where it waits to hear that this program runs.
const COMMANDS: u32 = 9000;
const READY: u32 = 9001;

const AF_VSOCK: c_int = 40;
const SOCK_STREAM: c_int = 1;
const CID_ANY: u32 = u32::MAX;
const CID_HOST: u32 = 2;
const SYS_FINIT_MODULE: c_long = 313;
const RB_POWER_OFF: c_int = 0x4321_fedc;

/// `struct sockaddr_vm` of linux/vm_sockets.h.
#[repr(C)]
struct SockaddrVm {
    family: u16,
    reserved: u16,
    port: u32,
    cid: u32,
    zero: [u8; 4],
}

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn bind(fd: c_int, address: *const SockaddrVm, length: u32) -> c_int;
    fn listen(fd: c_int, backlog: c_int) -> c_int;
    fn accept(fd: c_int, address: *mut c_void, length: *mut c_void) -> c_int;
    fn connect(fd: c_int, address: *const SockaddrVm, length: u32) -> c_int;
    fn mount(source: *const c_char, target: *const c_char, kind: *const c_char, flags: c_ulong, data: *const c_void)
    -> c_int;
    fn reboot(command: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn address(cid: u32, port: u32) -> SockaddrVm {
    SockaddrVm { family: AF_VSOCK as u16, reserved: 0, port, cid, zero: [0; 4] }
}

const ADDRESS_SIZE: u32 = size_of::<SockaddrVm>() as u32;

fn vsock() -> io::Result<OwnedFd> {
    // SAFETY: a system call on integers, then the descriptor it made, which nobody else has.
    unsafe { Ok(OwnedFd::from_raw_fd(check(socket(AF_VSOCK, SOCK_STREAM, 0))?)) }
}

fn dial(port: u32) -> io::Result<UnixStream> {
    let fd = vsock()?;
    // SAFETY: the kernel reads as many bytes of the address as it has.
    check(unsafe { connect(fd.as_raw_fd(), &address(CID_HOST, port), ADDRESS_SIZE) })?;
    Ok(UnixStream::from(fd))
}

/// One byte sequence for both directions of every transfer.
fn pattern(position: u64) -> u8 {
    (position.wrapping_mul(31) ^ (position >> 9)) as u8
}

static GO: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

fn serve(stream: UnixStream) -> io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    let mut line = String::new();
    input.read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |i: usize| words[i].parse::<u64>().expect("a number");
    match words[0] {
        "echo" => {
            io::copy(&mut input, &mut output)?;
        }
        "echo-after-end" => {
            let mut all = Vec::new();
            input.read_to_end(&mut all)?;
            output.write_all(&all)?;
        }
        "source" => {
            let bytes: Vec<u8> = (0..number(1)).map(pattern).collect();
            output.write_all(&bytes)?;
            output.shutdown(Shutdown::Write)?;
            io::copy(&mut input, &mut io::sink())?;
        }
        "sink" => sink(&mut input, &mut output)?,
        "sink-later" => {
            let gone = GO.1.wait_while(GO.0.lock().unwrap(), |go| !*go);
            drop(gone);
            sink(&mut input, &mut output)?;
        }
        "go" => {
            *GO.0.lock().unwrap() = true;
            GO.1.notify_all();
        }
        "read" => {
            let mut disk = File::open(disk(words[1])?)?;
            disk.seek(SeekFrom::Start(number(2)))?;
            io::copy(&mut disk.take(number(3)), &mut output)?;
        }
        "write" => {
            let mut disk = OpenOptions::new().write(true).open(disk(words[1])?)?;
            disk.seek(SeekFrom::Start(number(2)))?;
            io::copy(&mut input, &mut disk)?;
            disk.sync_all()?;
            writeln!(output, "written")?;
        }
        "random" => {
            io::copy(&mut File::open("/dev/hwrng")?.take(number(1)), &mut output)?;
        }
        "connect" => {
            // All open at once, then one word on each.
            let port = number(1) as u32;
            let mut open = (0..number(2)).map(|_| dial(port)).collect::<io::Result<Vec<_>>>()?;
            for stream in &mut open {
                stream.write_all(b"x")?;
                stream.read_exact(&mut [0])?;
            }
            writeln!(output, "all")?;
        }
        "leave" => {}
        "power-off" => {
            // SAFETY: ends this machine.
            check(unsafe { reboot(RB_POWER_OFF) })?;
        }
        other => panic!("no command: {other}"),
    }
    Ok(())
}

fn sink(input: &mut impl Read, output: &mut UnixStream) -> io::Result<()> {
    let mut all = Vec::new();
    input.read_to_end(&mut all)?;
    let right = all.iter().enumerate().all(|(i, &byte)| byte == pattern(i as u64));
    writeln!(output, "{} {}", all.len(), if right { "right" } else { "wrong" })
}

/// A disk by its serial number.
fn disk(serial: &str) -> io::Result<String> {
    for entry in fs::read_dir("/sys/block")? {
        let entry = entry?;
        let found = fs::read_to_string(entry.path().join("serial")).unwrap_or_default();
        if found.trim_end() == serial {
            return Ok(format!("/dev/{}", entry.file_name().to_string_lossy()));
        }
    }
    Err(io::Error::other(format!("no disk {serial}")))
}

fn mount_at(kind: &str, target: &str) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let (kind, target) = (CString::new(kind)?, CString::new(target)?);
    // SAFETY: the kernel reads strings that live across the call.
    check(unsafe { mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) })?;
    Ok(())
}

fn start() -> io::Result<()> {
    mount_at("devtmpfs", "/dev")?;
    mount_at("proc", "/proc")?;
    mount_at("sysfs", "/sys")?;
    for path in fs::read_to_string("/nacelle/modules")?.lines().filter(|line| !line.is_empty()) {
        let module = File::open(path)?;
        // SAFETY: the kernel reads an empty string.
        if unsafe { syscall(SYS_FINIT_MODULE, module.as_raw_fd(), c"".as_ptr(), 0) } < 0 {
            return Err(io::Error::other(format!("{path}: {}", io::Error::last_os_error())));
        }
    }
    let listener = vsock()?;
    // SAFETY: as in dial; listen is a system call on integers.
    unsafe {
        check(bind(listener.as_raw_fd(), &address(CID_ANY, COMMANDS), ADDRESS_SIZE))?;
        check(listen(listener.as_raw_fd(), 128))?;
    }
    let mut ready = dial(READY)?;
    write!(ready, "{}", fs::read_to_string("/proc/sys/kernel/osrelease")?)?;
    drop(ready);
    loop {
        // SAFETY: null is no address, which accept allows; the descriptor is nobody else's.
        let stream = unsafe {
            let fd = check(accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()))?;
            UnixStream::from(OwnedFd::from_raw_fd(fd))
        };
        thread::spawn(move || {
            if let Err(error) = serve(stream) {
                println!("peer: {error}");
            }
        });
    }
}

fn main() {
    // Only a failure gets here; the kernel's panic then has the reason before it.
    println!("peer: {}", start().unwrap_err());
}
