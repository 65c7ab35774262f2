// SPDX-License-Identifier: Apache-2.0

//! What the benchmark of isolation runs inside whatever it measures: one static program that any image takes. It does one
//! workload, times itself with CLOCK_MONOTONIC, and prints a number for each sample.
//!
//! | Command | What a sample is |
//! |---|---|
//! | `getpid SAMPLES N` | ns of one getpid(2), mean of N |
//! | `read SAMPLES N` | ns of reading one byte of /dev/zero |
//! | `open SAMPLES N` | ns of opening and closing a file |
//! | `futex SAMPLES N` | ns of waking a thread by a futex and being woken by it |
//! | `switch SAMPLES N` | ns of a byte through a pipe to another process and one back |
//! | `fault SAMPLES N` | ns of the first write to a page of 4 KiB, of N new ones |
//! | `fork SAMPLES N` | ns of a fork, the child's end and the wait for it |
//! | `sha256 SAMPLES N` | bytes a second, hashed N at once |
//! | `copy SAMPLES N` | bytes a second, copied N at once in memory |
//! | `write SAMPLES N`, `scan SAMPLES N` | bytes a second, written to and read from a file of N in pieces of 1 MiB |
//! | `random-write SAMPLES N`, `random-read SAMPLES N` | ns of 4 KiB anywhere in a file of 16 MiB |
//! | `files SAMPLES N` | ns of making a file of 4 KiB, reading it and removing it, N of them in directories of 100 |
//! | `fsync SAMPLES N` | ns of writing 4 KiB and fsync(2) |
//! | `tcp-latency SAMPLES N ADDRESS` | ns of one byte to a server that echoes and back |
//! | `tcp-connect SAMPLES N ADDRESS` | ns of a connection to it and a byte there and back |
//! | `tcp-up SAMPLES N ADDRESS`, `tcp-down ...` | bytes a second, N sent and told to be there, or N received |
//! | `tcp-up-8 SAMPLES N ADDRESS`, `tcp-down-8 ...` | likewise, by eight connections at once, N together |
//! | `idle` | none: it waits for its end |
//! | `interface NAME ADDRESS MTU` | none: it gives a network interface an IPv4 address, in a network of 24 bits, and raises it |
//! | `enter ROOT DIRECTORY UID GID PROGRAM ...` | none: it becomes that program, with another root directory; exit code 127 where there is none |
//!
//! The server of `tcp-*` does what the first byte of a connection says: `e` echoes; `u` reads a length of 8 bytes, little
//! endian, and so many bytes, then answers one; `d` reads a length and sends so many.
//!
//! Files are made in the first of /tmp, /var/tmp, /dev/shm and / that can be written to, and removed.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::mem::zeroed;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

const PAGE: usize = 4096;
const PIECE: usize = 1 << 20;
const RANDOM_FILE: usize = 16 << 20;
const FILES_OF_A_DIRECTORY: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["idle"] => loop {
            thread::park();
        },
        ["enter", root, directory, uid, gid, program, ..] => enter(root, directory, uid, gid, program, &words[6..]),
        ["interface", name, address, mtu] => interface(name, address, mtu),
        [workload, samples, count] => measure(workload, samples, count, ""),
        [workload, samples, count, address] => measure(workload, samples, count, address),
        _ => Err(io::Error::other(
            "usage: WORKLOAD SAMPLES N [ADDRESS] | idle | interface NAME ADDRESS MTU | enter ROOT DIRECTORY UID GID PROGRAM ...",
        )),
    };
    if let Err(error) = outcome {
        eprintln!("isolation_probe: {}: {error}", words.join(" "));
        std::process::exit(if words.first() == Some(&"enter") { 127 } else { 1 });
    }
}

/// netdevice(7)
fn interface(name: &str, address: &str, mtu: &str) -> io::Result<()> {
    let address: Ipv4Addr = number(address)?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let set = |what, request: &mut libc::ifreq| {
        // SAFETY: the kernel reads one structure, which lives across the call.
        checked(unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut *request) }).map(drop)
    };
    request.ifr_ifru.ifru_mtu = number(mtu)?;
    set(libc::SIOCSIFMTU, &mut request)?;
    request.ifr_ifru.ifru_addr = socket_address(address);
    set(libc::SIOCSIFADDR, &mut request)?;
    request.ifr_ifru.ifru_netmask = socket_address(Ipv4Addr::new(255, 255, 255, 0));
    set(libc::SIOCSIFNETMASK, &mut request)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    set(libc::SIOCSIFFLAGS, &mut request)
}

/// ip(7), without a port
fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: all zeroes is a valid sockaddr.
    let mut socket_address: libc::sockaddr = unsafe { zeroed() };
    socket_address.sa_family = libc::AF_INET as libc::sa_family_t;
    for (to, from) in socket_address.sa_data[2..].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    socket_address
}

fn enter(root: &str, directory: &str, uid: &str, gid: &str, program: &str, arguments: &[&str]) -> io::Result<()> {
    std::os::unix::fs::chroot(root)?;
    std::env::set_current_dir(directory)?;
    let (uid, gid) = (number(uid)?, number(gid)?);
    // SAFETY: a system call on integers and an empty list.
    if unsafe { libc::setgroups(0, std::ptr::null()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The standard library would try its own ways to start a program; this process becomes it.
    Err(Command::new(program).args(arguments).gid(gid).uid(uid).exec())
}

fn number<N: std::str::FromStr<Err: std::fmt::Display>>(word: &str) -> io::Result<N> {
    word.parse().map_err(|error| io::Error::other(format!("{word}: {error}")))
}

fn measure(workload: &str, samples: &str, count: &str, address: &str) -> io::Result<()> {
    let samples: usize = number(samples)?;
    let count: usize = number(count)?;
    if samples == 0 || count == 0 {
        return Err(io::Error::other("nothing to do"));
    }
    let mut values = Vec::with_capacity(samples);
    match workload {
        "getpid" => each(&mut values, samples, count, || {
            // SAFETY: a system call without arguments. Not by the library, which might remember.
            black_box(unsafe { libc::syscall(libc::SYS_getpid) });
            Ok(())
        }),
        "read" => {
            let file = File::open("/dev/zero")?;
            let mut byte = [0; 1];
            each(&mut values, samples, count, || (&file).read_exact(black_box(&mut byte)))
        }
        "open" => {
            let scratch = Scratch::new()?;
            let path = CString::new(scratch.file("open")?.0.into_os_string().into_encoded_bytes())?;
            each(&mut values, samples, count, || {
                // SAFETY: the path lives across the call.
                let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
                checked(file)?;
                // SAFETY: open(2) just made it, and nobody else has it.
                checked(unsafe { libc::close(file) }).map(drop)
            })
        }
        "futex" => futex(&mut values, samples, count),
        "switch" => switch(&mut values, samples, count),
        "fault" => faults(&mut values, samples, count),
        "fork" => each(&mut values, samples, count, fork),
        "sha256" => {
            let bytes = vec![0x5a; count];
            rate(&mut values, samples, count, || {
                black_box(sha256(black_box(&bytes)));
                Ok(())
            })
        }
        "copy" => {
            let from = vec![0x5a_u8; count];
            let mut to = vec![0_u8; count];
            rate(&mut values, samples, count, || {
                black_box(&mut to).copy_from_slice(black_box(&from));
                Ok(())
            })
        }
        "write" | "scan" => sequential(workload, &mut values, samples, count),
        "random-write" | "random-read" => random(workload, &mut values, samples, count),
        "files" => files(&mut values, samples, count),
        "fsync" => {
            let scratch = Scratch::new()?;
            let (_, file) = scratch.file("fsync")?;
            let page = [0x5a; PAGE];
            each(&mut values, samples, count, || {
                file.write_all_at(&page, 0)?;
                file.sync_all()
            })
        }
        "tcp-latency" => {
            let mut stream = connect(address, b'e')?;
            let mut byte = [0; 1];
            each(&mut values, samples, count, || {
                stream.write_all(&byte)?;
                stream.read_exact(&mut byte)
            })
        }
        "tcp-connect" => {
            let mut byte = [0; 1];
            each(&mut values, samples, count, || {
                let mut stream = connect(address, b'e')?;
                stream.write_all(&byte)?;
                stream.read_exact(&mut byte)
            })
        }
        "tcp-up" => transfer(1, true, &mut values, samples, count, address),
        "tcp-up-8" => transfer(8, true, &mut values, samples, count, address),
        "tcp-down" => transfer(1, false, &mut values, samples, count, address),
        "tcp-down-8" => transfer(8, false, &mut values, samples, count, address),
        _ => Err(io::Error::other("no such workload")),
    }?;
    let mut text = String::new();
    for value in values {
        text += &format!("{value:.1}\n");
    }
    io::stdout().write_all(text.as_bytes())
}

/// Adds a mean time in nanoseconds for each sample of `count` turns.
fn each(
    values: &mut Vec<f64>,
    samples: usize,
    count: usize,
    mut turn: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    for _ in 0..samples {
        let start = Instant::now();
        for _ in 0..count {
            turn()?;
        }
        values.push(start.elapsed().as_nanos() as f64 / count as f64);
    }
    Ok(())
}

/// Adds a rate in bytes a second for each sample.
fn rate(
    values: &mut Vec<f64>,
    samples: usize,
    bytes: usize,
    mut turn: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    for _ in 0..samples {
        let start = Instant::now();
        turn()?;
        values.push(bytes as f64 / start.elapsed().as_secs_f64().max(1e-9));
    }
    Ok(())
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A new directory for files, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let name = format!("isolation_probe.{}", std::process::id());
        let mut last = None;
        for parent in ["/tmp", "/var/tmp", "/dev/shm", "/"] {
            let path = Path::new(parent).join(&name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(error) => last = Some(error),
            }
        }
        Err(io::Error::other(format!("no directory for files: {}", last.expect("one was tried"))))
    }

    fn file(&self, name: &str) -> io::Result<(PathBuf, File)> {
        let path = self.0.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits until the word is no more what it was.
fn await_change(word: &AtomicU32, old: u32) {
    while word.load(Ordering::Acquire) == old {
        // SAFETY: the word lives across the call; without a timeout it reads nothing else.
        unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, old, 0_usize);
        }
    }
}

fn change(word: &AtomicU32, new: u32) {
    word.store(new, Ordering::Release);
    // SAFETY: the word lives across the call.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1, 0_usize);
    }
}

fn futex(values: &mut Vec<f64>, samples: usize, count: usize) -> io::Result<()> {
    let (there, back) = (AtomicU32::new(0), AtomicU32::new(0));
    let turns = (samples * count) as u32;
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..turns {
                await_change(&there, turn);
                change(&back, turn + 1);
            }
        });
        let mut turn = 0;
        each(values, samples, count, || {
            change(&there, turn + 1);
            await_change(&back, turn);
            turn += 1;
            Ok(())
        })
    })
}

fn pipe() -> io::Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors to an array of two.
    checked(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: pipe2(2) just made them, and nobody else has them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]).into(), OwnedFd::from_raw_fd(ends[1]).into()) })
}

/// Goes on in this process with the child's id, and in the child with 0. No other thread may be there.
fn fork_process() -> io::Result<libc::pid_t> {
    // SAFETY: there is one thread, so that the child finds no lock held.
    checked(unsafe { libc::fork() })
}

fn wait(child: libc::pid_t) -> io::Result<()> {
    // SAFETY: no status is asked for.
    checked(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }).map(drop)
}

fn exit_at_once() -> ! {
    // SAFETY: never returns, and runs nothing of this program's.
    unsafe { libc::_exit(0) }
}

fn fork() -> io::Result<()> {
    match fork_process()? {
        0 => exit_at_once(),
        child => wait(child),
    }
}

fn switch(values: &mut Vec<f64>, samples: usize, count: usize) -> io::Result<()> {
    let (mut child_in, mut parent_out) = pipe()?;
    let (mut parent_in, mut child_out) = pipe()?;
    let mut byte = [0; 1];
    let child = fork_process()?;
    if child == 0 {
        drop((parent_in, parent_out));
        while child_in.read_exact(&mut byte).is_ok() && child_out.write_all(&byte).is_ok() {}
        exit_at_once();
    }
    drop((child_in, child_out));
    let outcome = each(values, samples, count, || {
        parent_out.write_all(&byte)?;
        parent_in.read_exact(&mut byte)
    });
    drop(parent_out);
    wait(child)?;
    outcome
}

fn faults(values: &mut Vec<f64>, samples: usize, pages: usize) -> io::Result<()> {
    let length = pages * PAGE;
    for _ in 0..samples {
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let memory = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // Each page by itself. A kernel without huge pages does not know the advice.
        // SAFETY: advice on a mapping of our own.
        unsafe { libc::madvise(memory, length, libc::MADV_NOHUGEPAGE) };
        let start = Instant::now();
        for page in 0..pages {
            // SAFETY: within the mapping, which nobody else has.
            unsafe { memory.cast::<u8>().add(page * PAGE).write_volatile(1) };
        }
        values.push(start.elapsed().as_nanos() as f64 / pages as f64);
        // SAFETY: nobody has a reference into it.
        checked(unsafe { libc::munmap(memory, length) })?;
    }
    Ok(())
}

fn sequential(workload: &str, values: &mut Vec<f64>, samples: usize, length: usize) -> io::Result<()> {
    let scratch = Scratch::new()?;
    let (_, mut file) = scratch.file("sequential")?;
    let mut piece = vec![0x5a; PIECE];
    let whole = |file: &mut File, piece: &mut [u8], is_write: bool| -> io::Result<()> {
        for offset in (0..length).step_by(PIECE) {
            let part = &mut piece[..PIECE.min(length - offset)];
            if is_write {
                file.write_all_at(part, offset as u64)?;
            } else {
                file.read_exact_at(part, offset as u64)?;
            }
        }
        Ok(())
    };
    if workload == "scan" {
        whole(&mut file, &mut piece, true)?;
    }
    for _ in 0..samples {
        if workload == "write" {
            file.set_len(0)?;
        }
        rate(values, 1, length, || whole(&mut file, &mut piece, workload == "write"))?;
    }
    Ok(())
}

/// Numbers that look random, the same each time: the xorshift of Marsaglia (2003) with 64 bits.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn random(workload: &str, values: &mut Vec<f64>, samples: usize, count: usize) -> io::Result<()> {
    let scratch = Scratch::new()?;
    let (_, file) = scratch.file("random")?;
    let piece = vec![0x5a; PIECE];
    for offset in (0..RANDOM_FILE).step_by(PIECE) {
        file.write_all_at(&piece, offset as u64)?;
    }
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut page = [0x5a; PAGE];
    each(values, samples, count, || {
        let offset = random.next() % (RANDOM_FILE / PAGE) as u64 * PAGE as u64;
        match workload {
            "random-write" => file.write_all_at(&page, offset),
            _ => file.read_exact_at(&mut page, offset),
        }
    })
}

fn files(values: &mut Vec<f64>, samples: usize, count: usize) -> io::Result<()> {
    let scratch = Scratch::new()?;
    let page = [0x5a; PAGE];
    let paths: Vec<PathBuf> =
        (0..count).map(|i| scratch.0.join((i / FILES_OF_A_DIRECTORY).to_string()).join(i.to_string())).collect();
    for _ in 0..samples {
        let start = Instant::now();
        for path in paths.iter().step_by(FILES_OF_A_DIRECTORY) {
            fs::create_dir(path.parent().expect("it has one"))?;
        }
        for path in &paths {
            fs::write(path, page)?;
        }
        for path in &paths {
            black_box(fs::read(path)?);
        }
        for path in &paths {
            fs::remove_file(path)?;
        }
        for path in paths.iter().step_by(FILES_OF_A_DIRECTORY) {
            fs::remove_dir(path.parent().expect("it has one"))?;
        }
        values.push(start.elapsed().as_nanos() as f64 / count as f64);
    }
    Ok(())
}

fn connect(address: &str, role: u8) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(&[role])?;
    Ok(stream)
}

/// Adds rates of `flows` connections that carry `count` bytes together.
fn transfer(
    flows: usize,
    up: bool,
    values: &mut Vec<f64>,
    samples: usize,
    count: usize,
    address: &str,
) -> io::Result<()> {
    let mut buffers = vec![vec![0x5a; 64 * 1024]; flows];
    for _ in 0..samples {
        let mut streams = Vec::new();
        for _ in 0..flows {
            streams.push(connect(address, if up { b'u' } else { b'd' })?);
        }
        rate(values, 1, count, || {
            let mut ends = streams.iter_mut().zip(&mut buffers);
            thread::scope(|scope| {
                let (stream, buffer) = ends.next().expect("one at least");
                let others: Vec<_> = ends
                    .map(|(stream, buffer)| scope.spawn(move || carry(stream, up, count / flows, buffer)))
                    .collect();
                carry(stream, up, count / flows, buffer)?;
                others.into_iter().try_for_each(|other| other.join().expect("it does not panic"))
            })
        })?;
    }
    Ok(())
}

fn carry(stream: &mut TcpStream, up: bool, count: usize, buffer: &mut [u8]) -> io::Result<()> {
    stream.write_all(&(count as u64).to_le_bytes())?;
    let mut left = count;
    while left > 0 {
        let part = left.min(buffer.len());
        left -= if up {
            stream.write_all(&buffer[..part])?;
            part
        } else {
            match stream.read(&mut buffer[..part])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => read,
            }
        };
    }
    if up {
        stream.read_exact(&mut buffer[..1])?;
    }
    Ok(())
}

/// SHA-256 (FIPS 180-4, sections 4.1.2, 4.2.2, 5 and 6.2): work for a processor, in a way that every one has.
fn sha256(message: &[u8]) -> [u8; 32] {
    let (state_start, constants) = sha256_constants();
    let mut state = state_start;
    let mut blocks = message.chunks_exact(64);
    for block in &mut blocks {
        sha256_block(&mut state, block, &constants);
    }
    let rest = blocks.remainder();
    let mut last = [0; 128];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    let end = if rest.len() < 56 { 64 } else { 128 };
    last[end - 8..end].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in last[..end].chunks_exact(64) {
        sha256_block(&mut state, block, &constants);
    }
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// The first 32 bits of the fractional parts of the square roots of the first 8 primes, and of the cube roots of the
/// first 64: computed, as the standard defines them.
fn sha256_constants() -> ([u32; 8], [u32; 64]) {
    let primes: Vec<u128> =
        (2..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)).take(64).collect();
    // The root of n with 32 bits behind the point: the greatest r with r^k <= n * 2^(32k).
    let root = |n: u128, power: u32| {
        let (mut low, mut high) = (0_u128, 1_u128 << 37);
        while high - low > 1 {
            let middle = (low + high) / 2;
            if middle.pow(power) <= n << (32 * power) { low = middle } else { high = middle }
        }
        low as u32
    };
    (std::array::from_fn(|i| root(primes[i], 2)), std::array::from_fn(|i| root(primes[i], 3)))
}

fn sha256_block(state: &mut [u32; 8], block: &[u8], constants: &[u32; 64]) {
    let mut words = [0_u32; 64];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    }
    for t in 16..64 {
        let (near, far) = (words[t - 2], words[t - 15]);
        let sigma0 = far.rotate_right(7) ^ far.rotate_right(18) ^ (far >> 3);
        let sigma1 = near.rotate_right(17) ^ near.rotate_right(19) ^ (near >> 10);
        words[t] = sigma1.wrapping_add(words[t - 7]).wrapping_add(sigma0).wrapping_add(words[t - 16]);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for t in 0..64 {
        let sum1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let one = h.wrapping_add(sum1).wrapping_add(choice).wrapping_add(constants[t]).wrapping_add(words[t]);
        let sum0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let two = sum0.wrapping_add(majority);
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(one), c, b, a, one.wrapping_add(two));
    }
    for (word, value) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(value);
    }
}

#[cfg(test)]
mod tests {
    use super::{measure, sha256};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Examples of FIPS 180-4 by NIST, and lengths about a block's end by sha256sum(1).
    #[test]
    fn hashes_as_the_standard_has_it() {
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex(&sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(
            hex(&sha256(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        );
    }

    #[test]
    fn what_is_no_workload_is_refused() {
        assert!(measure("dance", "1", "1", "").is_err());
        assert!(measure("getpid", "0", "1", "").is_err());
        assert!(measure("getpid", "1", "-1", "").is_err());
        assert!(measure("tcp-latency", "1", "1", "").is_err());
    }
}
