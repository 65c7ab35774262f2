// SPDX-License-Identifier: Apache-2.0

//! The guest of the hypervisor contract tests: an init that does what the host tells it, one line a command and one line
//! an answer, on a stream that it dials (vsock, CID 2, port 1024).
//!
//! | Command | Answer |
//! |---|---|
//! | `cpus`, `memory`, `release` | online processors; MemTotal in bytes; uname -r |
//! | `clock` | CLOCK_MONOTONIC in nanoseconds |
//! | `disks` | `DISK:BYTES:ro` or `DISK:BYTES:rw` of each, sorted |
//! | `hash DISK` | FNV-1a of the whole disk |
//! | `write DISK OFFSET BYTE LENGTH` | `ok` once it is on the disk, or `errno N` |
//! | `listen PORT ROLE` | `ok`; every connection to that port is then served in that role |
//! | `connect PORT ROLE` | `ok` once connected to that port of the host, or `errno N` |
//! | `heard PORT` | `COUNT HASH`, once a connection to that port in the role of a source has ended, of what came on it |
//! | `print TEXT` | `ok` once it is on the console |
//! | `panic`, `poweroff`, `reboot` | none |
//!
//! A disk is called `CONTROLLER/LUN` where it is one of Hyper-V's VMBus, or else by its virtio serial number.
//! Roles: `echo` sends back what comes, and ends when it ends; `sink` reads to the end and answers `COUNT HASH`;
//! `source:N` sends N bytes of the pattern, ends, and reads to the end, which is told to `heard`; `drop` closes at once; `hold` does nothing.
//! With `contract.silent` on the kernel's command line it neither dials nor ends.
//!
//! As a process of a sandbox, `contract-guest listen PORT ROLE` does the same on vsock, and says `listening` when it does.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem::size_of;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex};
use std::thread;

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};
use rustix::termios::tcdrain;
use rustix::time::{ClockId, clock_gettime};

const HOST: u32 = 2;
const CONTROL_PORT: u32 = 1024;
const CHUNK: usize = 64 * 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let ["listen", port, role] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        match number(port).and_then(|port| listen(port as u32, role)) {
            Ok(()) => println!("listening"),
            Err(error) => println!("contract guest: {error}"),
        }
        loop {
            thread::park();
        }
    }
    for (filesystem, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        let _ = fs::create_dir(target);
        let _ = mount(filesystem, target, filesystem, MountFlags::empty(), c"");
    }
    let modules = fs::read_to_string("/nacelle/modules").unwrap_or_default();
    for module in modules.lines().filter(|line| !line.is_empty()) {
        if let Err(error) = File::open(module).and_then(|file| Ok(finit_module(file, c"", 0)?)) {
            println!("contract guest: {module}: {error}");
        }
    }
    if fs::read_to_string("/proc/cmdline").unwrap_or_default().contains("contract.silent") {
        println!("contract guest: silent");
        loop {
            thread::park();
        }
    }
    if let Err(error) = obey() {
        println!("contract guest: {error}");
    }
    power(RebootCommand::PowerOff);
}

fn power(command: RebootCommand) -> ! {
    let _ = reboot(command);
    loop {
        thread::park();
    }
}

fn obey() -> io::Result<()> {
    let control = connect(CONTROL_PORT)?;
    let mut answers = control.try_clone()?;
    for line in BufReader::new(control).lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            // Linux panics when its init ends.
            ["panic"] => std::process::exit(1),
            ["poweroff"] => power(RebootCommand::PowerOff),
            ["reboot"] => power(RebootCommand::Restart),
            ["heard", port] => heard(number(port)? as u32),
            ["print", ..] => outcome(print(&line["print ".len()..])),
            ["cpus"] => count_cpus()?.to_string(),
            ["memory"] => memory()?,
            ["release"] => fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            ["clock"] => {
                let now = clock_gettime(ClockId::Monotonic);
                (now.tv_sec * 1_000_000_000 + now.tv_nsec).to_string()
            }
            ["disks"] => disks()?,
            ["hash", disk] => hash_disk(disk)?,
            ["write", disk, offset, byte, length] => {
                outcome(write_disk(disk, number(offset)?, number(byte)? as u8, number(length)? as usize))
            }
            ["listen", port, role] => outcome(listen(number(port)? as u32, role)),
            ["connect", port, role] => {
                let port = number(port)? as u32;
                outcome(connect(port).map(|stream| serve_apart(stream, port, role)))
            }
            _ => format!("unknown command: {line}"),
        };
        answers.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

/// Returns when the last character has left: a write is done when the driver has them all.
fn print(text: &str) -> io::Result<()> {
    let mut console = OpenOptions::new().write(true).open("/dev/console")?;
    console.write_all(format!("{text}\n").as_bytes())?;
    Ok(tcdrain(&console)?)
}

fn number(word: &str) -> io::Result<u64> {
    word.parse().map_err(io::Error::other)
}

fn outcome(result: io::Result<()>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("errno {}", error.raw_os_error().unwrap_or(-1)),
    }
}

fn count_cpus() -> io::Result<usize> {
    let stat = fs::read_to_string("/proc/stat")?;
    Ok(stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count())
}

fn memory() -> io::Result<String> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.split_whitespace().next()).unwrap_or("0");
    Ok((number(kibibytes)? * 1024).to_string())
}

/// FNV-1a, 64 bits: small enough to be written twice, in here and in the tests.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn attribute(disk: &str, name: &str) -> String {
    fs::read_to_string(format!("/sys/block/{disk}/{name}"))
        .unwrap_or_default()
        .trim_end_matches(['\0', '\n'])
        .to_owned()
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The disks' device names by what they are called.
fn disk_names() -> BTreeMap<String, String> {
    let disks = names("/sys/block").into_iter().filter(|name| name.starts_with("vd") || name.starts_with("sd"));
    let mut called: BTreeMap<String, String> = disks.map(|name| (name.clone(), attribute(&name, "serial"))).collect();
    for controller in names("/sys/bus/vmbus/devices") {
        let path = format!("/sys/bus/vmbus/devices/{controller}");
        for host in names(&path).iter().filter_map(|name| name.strip_prefix("host")) {
            let target = format!("{path}/host{host}/target{host}:0:0");
            for unit in names(&target) {
                let Some(lun) = unit.strip_prefix(&format!("{host}:0:0:")) else { continue };
                for name in names(&format!("{target}/{unit}/block")) {
                    called.insert(name, format!("{controller}/{lun}"));
                }
            }
        }
    }
    called.into_iter().map(|(name, called)| (called, name)).collect()
}

fn disks() -> io::Result<String> {
    let mut found = Vec::new();
    for (called, name) in disk_names() {
        let bytes = number(&attribute(&name, "size"))? * 512;
        let access = if attribute(&name, "ro") == "1" { "ro" } else { "rw" };
        found.push(format!("{called}:{bytes}:{access}"));
    }
    found.sort();
    Ok(found.join(" "))
}

fn device(disk: &str) -> io::Result<String> {
    let found = disk_names().remove(disk);
    found.map(|name| format!("/dev/{name}")).ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

fn hash_disk(disk: &str) -> io::Result<String> {
    let mut file = File::open(device(disk)?)?;
    let mut fnv = Fnv::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:016x}", fnv.0)),
            count => fnv.update(&buffer[..count]),
        }
    }
}

/// Also on a disk that says that it is read-only: BLKROSET asks the kernel to try all the same, so that it is the host
/// that refuses.
fn write_disk(disk: &str, offset: u64, byte: u8, length: usize) -> io::Result<()> {
    let path = device(disk)?;
    let writable: libc::c_int = 0;
    let any = File::open(&path)?;
    // SAFETY: BLKROSET (0x125d) reads an int that lives across the call.
    unsafe { libc::ioctl(any.as_raw_fd(), 0x125d, &raw const writable) };
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&vec![byte; length], offset)?;
    file.sync_all()
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: a system call on integers.
    let fd = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: socket(2) just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address(cid: u32, port: u32) -> libc::sockaddr_vm {
    // SAFETY: all zeroes is a valid sockaddr_vm.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = cid;
    address.svm_port = port;
    address
}

/// Of linux/vm_sockets.h
const CONNECT_TIMEOUT: libc::c_int = 6;

const ADDRESS_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_vm>() as libc::socklen_t;

/// Called a `UnixStream` because that reads, writes and shuts down any stream socket.
///
/// Waits longer than the two seconds that are usual: the host may have much else to do.
fn connect(port: u32) -> io::Result<UnixStream> {
    let socket = socket()?;
    let patience = libc::timeval { tv_sec: 60, tv_usec: 0 };
    let size = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: the kernel reads `size` bytes of a timeval that lives across the call.
    let set = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::AF_VSOCK, CONNECT_TIMEOUT, (&raw const patience).cast(), size)
    };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    let to = address(HOST, port);
    // SAFETY: the kernel reads an address that lives across the call.
    match unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), ADDRESS_LENGTH) } {
        0 => Ok(UnixStream::from(socket)),
        _ => Err(io::Error::last_os_error()),
    }
}

fn listen(port: u32, role: &str) -> io::Result<()> {
    let socket = socket()?;
    let at = address(libc::VMADDR_CID_ANY, port);
    // SAFETY: the kernel reads an address that lives across the call.
    if unsafe { libc::bind(socket.as_raw_fd(), (&raw const at).cast(), ADDRESS_LENGTH) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a system call on integers.
    if unsafe { libc::listen(socket.as_raw_fd(), 256) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let role = role.to_owned();
    thread::spawn(move || {
        loop {
            // SAFETY: the peer's address is not asked for.
            let fd = unsafe { libc::accept(socket.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()) };
            if fd >= 0 {
                // SAFETY: accept(2) just made it, and nobody else has it.
                serve_apart(UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) }), port, &role);
            }
        }
    });
    Ok(())
}

fn serve_apart(stream: UnixStream, port: u32, role: &str) {
    let role = role.to_owned();
    thread::spawn(move || serve(stream, port, &role));
}

/// What came on connections that had a source here, by their ports.
static HEARD: (Mutex<BTreeMap<u32, String>>, Condvar) = (Mutex::new(BTreeMap::new()), Condvar::new());

fn heard(port: u32) -> String {
    let (told, more) = &HEARD;
    let mut told = more.wait_while(told.lock().unwrap(), |told| !told.contains_key(&port)).unwrap();
    told.remove(&port).unwrap_or_default()
}

/// Reads to the end, and says what came.
fn hear(stream: &mut UnixStream, buffer: &mut [u8]) -> io::Result<String> {
    let (mut fnv, mut total) = (Fnv::new(), 0);
    loop {
        match stream.read(buffer)? {
            0 => return Ok(format!("{total} {:016x}", fnv.0)),
            count => {
                total += count;
                fnv.update(&buffer[..count]);
            }
        }
    }
}

/// Errors are the host's to notice: many tests break connections on purpose.
fn serve(mut stream: UnixStream, port: u32, role: &str) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    match role.split_once(':').unwrap_or((role, "")) {
        ("echo", _) => loop {
            match stream.read(&mut buffer)? {
                0 => return stream.shutdown(Shutdown::Write),
                count => stream.write_all(&buffer[..count])?,
            }
        },
        ("sink", _) => {
            let heard = hear(&mut stream, &mut buffer)?;
            stream.write_all(format!("{heard}\n").as_bytes())
        }
        ("source", length) => {
            let mut left = number(length)? as usize;
            let mut next = 0_u64;
            while left > 0 {
                let count = left.min(CHUNK);
                for byte in &mut buffer[..count] {
                    *byte = (next % 251) as u8;
                    next += 1;
                }
                stream.write_all(&buffer[..count])?;
                left -= count;
            }
            // The other direction stays open until the host ends it.
            stream.shutdown(Shutdown::Write)?;
            let heard = hear(&mut stream, &mut buffer).unwrap_or_else(|error| outcome(Err(error)));
            HEARD.0.lock().unwrap().insert(port, heard);
            HEARD.1.notify_all();
            Ok(())
        }
        ("drop", _) => Ok(()),
        _ => loop {
            thread::park();
        },
    }
}
