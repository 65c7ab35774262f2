// SPDX-License-Identifier: Apache-2.0

//! A program that is root in a sandbox and tries to get out of its bounds, with the system calls that any program could
//! use. It prints "ATTEMPT: OUTCOME" for each attempt, each made in a process of its own, so that none changes what the next
//! one finds. An outcome is the name of the error that the kernel gave, or what was got; `HostileWorkloadTest` knows what it
//! must be.
//!
//!   hostile            every attempt that ends by itself
//!   hostile watch      looks for processes of the agent's that can be looked into, until its stdin ends
//!   hostile NAME       one of the attempts below that are made alone

use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chroot};
use std::path::Path;
use std::{env, hint, process, ptr};

unsafe extern "C" {
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn alarm(seconds: c_uint) -> c_uint;
    fn syscall(number: c_long, ...) -> c_long;
    fn mount(source: *const c_char, target: *const c_char, kind: *const c_char, flags: c_ulong, data: *const c_void)
    -> c_int;
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn mknod(path: *const c_char, mode: c_uint, device: u64) -> c_int;
    fn fchdir(fd: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn shmget(key: c_int, size: usize, flags: c_int) -> c_int;
    fn shmat(id: c_int, address: *const c_void, flags: c_int) -> *mut c_void;
    fn mmap(address: *mut c_void, length: usize, access: c_int, flags: c_int, fd: c_int, offset: i64) -> *mut c_void;
}

// System calls of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
mod sys {
    use std::ffi::c_long;
    pub const SOCKET: c_long = 41;
    pub const CONNECT: c_long = 42;
    pub const PTRACE: c_long = 101;
    pub const SYSLOG: c_long = 103;
    pub const SETPRIORITY: c_long = 141;
    pub const SCHED_SETSCHEDULER: c_long = 144;
    pub const PIVOT_ROOT: c_long = 155;
    pub const SETRLIMIT: c_long = 160;
    pub const ACCT: c_long = 163;
    pub const SWAPON: c_long = 167;
    pub const REBOOT: c_long = 169;
    pub const SETHOSTNAME: c_long = 170;
    pub const IOPL: c_long = 172;
    pub const IOPERM: c_long = 173;
    pub const INIT_MODULE: c_long = 175;
    pub const QUOTACTL: c_long = 179;
    pub const CLOCK_SETTIME: c_long = 227;
    pub const KEXEC_LOAD: c_long = 246;
    pub const KEYCTL: c_long = 250;
    pub const PERF_EVENT_OPEN: c_long = 298;
    pub const OPEN_BY_HANDLE_AT: c_long = 304;
    pub const SETNS: c_long = 308;
    pub const PROCESS_VM_READV: c_long = 310;
    pub const FINIT_MODULE: c_long = 313;
    pub const BPF: c_long = 321;
    pub const PIDFD_OPEN: c_long = 434;
    pub const PIDFD_GETFD: c_long = 438;
    pub const OPEN_TREE: c_long = 428;
    pub const FSOPEN: c_long = 430;
}

const NEWNS: c_int = 0x0002_0000;
const NEWCGROUP: c_int = 0x0200_0000;
const NEWUSER: c_int = 0x1000_0000;
const NEWPID: c_int = 0x2000_0000;
const NEWNET: c_int = 0x4000_0000;

const MS_REMOUNT: c_ulong = 32;
const MS_BIND: c_ulong = 4096;

const SIGKILL: c_int = 9;
const SIGSTOP: c_int = 19;

const AF_NETLINK: c_int = 16;
const AF_VSOCK: c_int = 40;
const SOCK_STREAM: c_int = 1;
const SOCK_RAW: c_int = 3;
const CID_HOST: u32 = 2;

type Outcome = io::Result<String>;

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn check(result: impl Into<i64>) -> Outcome {
    match result.into() {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok("ALLOWED".into()),
    }
}

macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {
        // SAFETY: integers, and pointers to what lives across the call; a test that provokes the kernel.
        check(unsafe { syscall($number $(, $argument as c_long)*) })
    };
}

fn write_to(path: &str, text: &str) -> Outcome {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())?;
    Ok("ALLOWED".into())
}

fn open_for_reading(path: impl AsRef<Path>) -> Outcome {
    File::open(path)?;
    Ok("ALLOWED".into())
}

fn mounting(kind: &str, source: &str, target: &str, flags: c_ulong) -> Outcome {
    let (source, target, kind) = (c(source), c(target), c(kind));
    // SAFETY: strings that live across the call.
    check(unsafe { mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, ptr::null()) })
}

fn directory(path: &str) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Namespaces in which it has every capability.
fn in_namespaces(flags: c_int) -> io::Result<()> {
    // SAFETY: this process has one thread.
    check(unsafe { unshare(NEWUSER | flags) })?;
    write_to("/proc/self/setgroups", "deny")?;
    write_to("/proc/self/uid_map", "0 0 1")?;
    write_to("/proc/self/gid_map", "0 0 1")?;
    Ok(())
}

/// Goes on in a child, which is the first of a new PID namespace.
fn in_child(body: impl FnOnce() -> Outcome) -> Outcome {
    // SAFETY: one thread, so the child may do anything.
    match unsafe { fork() } {
        0 => {
            println!("{}", told(body()));
            let _ = io::stdout().flush();
            process::exit(0)
        }
        child => {
            wait_for(child);
            process::exit(0)
        }
    }
}

fn wait_for(child: c_int) -> c_int {
    let mut status = 0;
    // SAFETY: writes an int that lives across the call.
    unsafe { waitpid(child, &raw mut status, 0) };
    status
}

fn device(path: &str, mode: c_uint, major: u64, minor: u64) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let name = c(path);
    // SAFETY: a string that lives across the call.
    check(unsafe { mknod(name.as_ptr(), mode | 0o600, major << 8 | minor) }).map(|_| ())
}

const BLOCK: c_uint = 0o060000;
const CHARACTER: c_uint = 0o020000;

/// Opens every disk that /proc/partitions tells of, by a device file of its own; the first that opens is the outcome.
fn open_disks() -> Outcome {
    let mut last = Err(io::Error::other("no disk in /proc/partitions"));
    for line in fs::read_to_string("/proc/partitions")?.lines().skip(2) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        device("/tmp/disk", BLOCK, fields[0].parse().unwrap(), fields[1].parse().unwrap())?;
        last = open_for_reading("/tmp/disk");
        if last.is_ok() {
            break;
        }
    }
    last
}

/// chroot(2) below a directory that one has open, and up from there: where one comes to is the sandbox's own root.
fn climb_out() -> Outcome {
    directory("/tmp/below")?;
    let root = fs::metadata("/")?;
    let outside = File::open("/")?;
    chroot("/tmp/below")?;
    // SAFETY: a descriptor that is open.
    check(unsafe { fchdir(outside.as_raw_fd()) })?;
    for _ in 0..64 {
        env::set_current_dir("..")?;
    }
    chroot(".")?;
    let found = fs::metadata("/")?;
    let same = (found.dev(), found.ino()) == (root.dev(), root.ino());
    Ok(if same && !Path::new("/nacelle").exists() { "OWN ROOT".into() } else { "ELSEWHERE".into() })
}

#[repr(C)]
struct SockaddrVm {
    family: u16,
    reserved: u16,
    port: u32,
    cid: u32,
    zero: [u8; 4],
}

fn dial(cid: u32, port: u32) -> Outcome {
    let address = SockaddrVm { family: AF_VSOCK as u16, reserved: 0, port, cid, zero: [0; 4] };
    // SAFETY: a system call on integers.
    let socket = unsafe { syscall(sys::SOCKET, AF_VSOCK, SOCK_STREAM, 0) };
    check(socket)?;
    call!(sys::CONNECT, socket, &raw const address, size_of::<SockaddrVm>())
}

/// Every port that a host could have something behind, and some.
fn dial_everywhere() -> Outcome {
    let mut outcomes: Vec<String> = (0..=64)
        .chain([1023, 1024, 1025, 2048, 5000, 8080, 9000, 0x7fff_ffff, 0xffff_fffe])
        .map(|port| told(dial(CID_HOST, port)))
        .collect();
    outcomes.sort();
    outcomes.dedup();
    Ok(outcomes.join(" "))
}

/// What can be done to the agent through the kernel's first process of this namespace, and by numbers that it might have.
fn look_into(pid: u32) -> Vec<(&'static str, Outcome)> {
    let path = |name: &str| format!("/proc/{pid}/{name}");
    vec![
        ("mem", open_for_reading(path("mem"))),
        ("environ", fs::read(path("environ")).map(|_| "ALLOWED".into())),
        ("exe", fs::read_link(path("exe")).map(|_| "ALLOWED".into())),
        ("root", fs::read_link(path("root")).map(|_| "ALLOWED".into())),
        ("cwd", fs::read_link(path("cwd")).map(|_| "ALLOWED".into())),
        ("fd", fs::read_dir(path("fd")).map(|names| format!("{} NAMES", names.count()))),
        ("maps", fs::read_to_string(path("maps")).map(|_| "ALLOWED".into())),
        ("ns/mnt", open_for_reading(path("ns/mnt"))),
    ]
}

fn into_the_first_process() -> Outcome {
    // SAFETY: the kernel returns a descriptor or an error.
    let pidfd = unsafe { syscall(sys::PIDFD_OPEN, 1, 0) };
    let mut vector = [ptr::null_mut::<c_void>() as usize, 0];
    let mut outcomes: Vec<String> = look_into(1).into_iter().map(|(name, outcome)| format!("{name} {}", told(outcome))).collect();
    outcomes.push(format!("ptrace {}", told(call!(sys::PTRACE, 16, 1, 0, 0))));
    outcomes.push(format!("getfd {}", told(call!(sys::PIDFD_GETFD, pidfd, 0, 0))));
    vector[1] = 8;
    outcomes.push(format!(
        "readv {}",
        told(call!(sys::PROCESS_VM_READV, 1, vector.as_mut_ptr(), 1, vector.as_mut_ptr(), 1, 0))
    ));
    outcomes.push(format!("setns {}", told(call!(sys::SETNS, pidfd, NEWNS))));
    Ok(outcomes.join(", "))
}

/// The kernel lets nobody of a namespace kill its first process by a signal that it does not handle.
fn kill_the_first_process() -> Outcome {
    // SAFETY: signals.
    unsafe {
        check(kill(1, SIGKILL))?;
        check(kill(1, SIGSTOP))?;
    }
    let stat = fs::read_to_string("/proc/1/stat")?;
    let state = stat.rsplit(") ").next().unwrap_or_default().chars().next().unwrap_or('?');
    Ok(if "RSD".contains(state) { "NO EFFECT".into() } else { format!("STATE {state}") })
}

fn cgroup_of_its_own() -> io::Result<()> {
    in_namespaces(NEWNS | NEWCGROUP)?;
    directory("/tmp/cgroup")?;
    mounting("cgroup2", "none", "/tmp/cgroup", 0)?;
    Ok(())
}

const ATTEMPTS: &[(&str, fn() -> Outcome)] = &[
    // Out of the root.
    ("climbing out of the root", climb_out),
    ("opening the disks", open_disks),
    ("opening the kernel's memory", || {
        device("/tmp/mem", CHARACTER, 1, 1)?;
        open_for_reading("/tmp/mem")
    }),
    ("opening the kernel's log", || {
        device("/tmp/kmsg", CHARACTER, 1, 11)?;
        open_for_reading("/tmp/kmsg")
    }),
    ("opening the console", || {
        device("/tmp/console", CHARACTER, 5, 1)?;
        open_for_reading("/tmp/console")
    }),
    ("opening by handle", || {
        let mut handle = [8u32, 1, 2, 0];
        call!(sys::OPEN_BY_HANDLE_AT, File::open("/")?.as_raw_fd(), handle.as_mut_ptr(), 0)
    }),
    ("mounting proc", || mounting("proc", "none", "/tmp", 0)),
    ("mounting devtmpfs", || mounting("devtmpfs", "none", "/tmp", 0)),
    ("mounting the root again", || mounting("none", "none", "/", MS_REMOUNT)),
    ("making /proc/sys writable", || mounting("none", "none", "/proc/sys", MS_REMOUNT | MS_BIND)),
    ("unmounting a mask", || {
        let path = c("/sys/firmware");
        // SAFETY: a string that lives across the call.
        check(unsafe { umount2(path.as_ptr(), 2) })
    }),
    ("opening a tree of mounts", || call!(sys::OPEN_TREE, -100, c("/").as_ptr(), 1)),
    ("opening a filesystem", || call!(sys::FSOPEN, c("proc").as_ptr(), 0)),
    ("pivoting the root", || call!(sys::PIVOT_ROOT, c("/tmp").as_ptr(), c("/tmp").as_ptr())),
    // The same with every capability, in namespaces of its own.
    ("mounting devtmpfs in namespaces", || {
        in_namespaces(NEWNS)?;
        mounting("devtmpfs", "none", "/tmp", 0)
    }),
    ("mounting a disk in namespaces", || {
        in_namespaces(NEWNS)?;
        mounting("ext4", "/dev/vda", "/tmp", 0)
    }),
    ("making /proc/sys writable in namespaces", || {
        in_namespaces(NEWNS)?;
        mounting("none", "none", "/proc/sys", MS_REMOUNT | MS_BIND)
    }),
    ("unmounting a mask in namespaces", || {
        in_namespaces(NEWNS)?;
        let path = c("/sys/firmware");
        // SAFETY: a string that lives across the call.
        check(unsafe { umount2(path.as_ptr(), 2) })
    }),
    ("mounting an unmasked proc in namespaces", || {
        in_namespaces(NEWNS | NEWPID)?;
        in_child(|| mounting("proc", "none", "/tmp", 0))
    }),
    ("mounting an unmasked sysfs in namespaces", || {
        in_namespaces(NEWNS | NEWNET)?;
        mounting("sysfs", "none", "/tmp", 0)
    }),
    ("reaching a device file in namespaces", || {
        in_namespaces(NEWNS)?;
        mounting("tmpfs", "none", "/tmp", 0)?;
        device("/tmp/disk", BLOCK, 254, 0)?;
        open_for_reading("/tmp/disk")
    }),
    // Out of its limits.
    ("lifting its limit of memory", || {
        cgroup_of_its_own()?;
        write_to("/tmp/cgroup/memory.max", "max")
    }),
    ("lifting its limit of processes", || {
        cgroup_of_its_own()?;
        write_to("/tmp/cgroup/pids.max", "max")
    }),
    ("making cgroups below its own", || {
        cgroup_of_its_own()?;
        fs::create_dir("/tmp/cgroup/below")?;
        fs::create_dir("/tmp/cgroup/below/deeper")?;
        Ok("ALLOWED".into())
    }),
    ("leaving its cgroup by number", || {
        cgroup_of_its_own()?;
        write_to("/tmp/cgroup/../cgroup.procs", "0")
    }),
    ("writing to the cgroups", || write_to("/sys/fs/cgroup/cgroup.procs", "0")),
    ("raising its hard limit of files", || {
        let limit = [1u64 << 22, 1 << 22];
        call!(sys::SETRLIMIT, 7, limit.as_ptr())
    }),
    ("raising its priority", || call!(sys::SETPRIORITY, 0, 0, -20)),
    ("becoming a real-time process", || call!(sys::SCHED_SETSCHEDULER, 0, 1, [50u32].as_ptr())),
    ("hiding from the OOM killer", || write_to("/proc/self/oom_score_adj", "-1000")),
    // At the kernel.
    ("rebooting", || call!(sys::REBOOT, 0xfee1_deadu32, 672_274_793, 0x4321_fedc, 0)),
    ("asking for a reboot by SysRq", || write_to("/proc/sysrq-trigger", "b")),
    ("setting the core pattern", || write_to("/proc/sys/kernel/core_pattern", "|/tmp/x")),
    ("setting the modules' loader", || write_to("/proc/sys/kernel/modprobe", "/tmp/x")),
    ("setting the hotplug helper", || write_to("/sys/kernel/uevent_helper", "/tmp/x")),
    ("setting panic on OOM", || write_to("/proc/sys/vm/panic_on_oom", "1")),
    ("unbinding a driver", || write_to("/sys/bus/virtio/drivers/virtio_blk/unbind", "virtio0")),
    ("loading a module", || call!(sys::INIT_MODULE, [0u8; 64].as_ptr(), 64, c("").as_ptr())),
    ("loading a module's file", || call!(sys::FINIT_MODULE, File::open("/bin/busybox")?.as_raw_fd(), c("").as_ptr(), 0)),
    ("loading another kernel", || call!(sys::KEXEC_LOAD, 0, 0, 0, 0)),
    ("loading a BPF program", || {
        let attributes = [0u8; 128];
        call!(sys::BPF, 5, attributes.as_ptr(), attributes.len())
    }),
    ("counting the kernel's events", || {
        let mut attributes = [0u32; 32];
        attributes[1] = 128;
        call!(sys::PERF_EVENT_OPEN, attributes.as_ptr(), -1, 0, -1, 0)
    }),
    ("reading the kernel's memory by its file", || {
        let mut bytes = [0; 1];
        match File::open("/proc/kcore")?.read(&mut bytes)? {
            0 => Ok("EMPTY".into()),
            _ => Ok("ALLOWED".into()),
        }
    }),
    ("clearing the kernel's log", || call!(sys::SYSLOG, 5, 0, 0)),
    ("all ports", || call!(sys::IOPL, 3)),
    ("a port", || call!(sys::IOPERM, 0x604, 4, 1)),
    ("setting the clock", || call!(sys::CLOCK_SETTIME, 0, [1_000_000_000i64, 0].as_ptr())),
    ("setting the host name", || call!(sys::SETHOSTNAME, c("x").as_ptr(), 1)),
    ("swapping", || call!(sys::SWAPON, c("/tmp").as_ptr(), 0)),
    ("accounting", || call!(sys::ACCT, c("/bin/busybox").as_ptr())),
    ("quotas", || call!(sys::QUOTACTL, 0x80_0002u32 << 8, c("/dev/vda").as_ptr(), 0, 0)),
    ("setting up the audit", || {
        // SAFETY: a system call on integers.
        let audit = unsafe { syscall(sys::SOCKET, AF_NETLINK, SOCK_RAW, 9) };
        check(audit)?;
        // AUDIT_SET, to ourselves.
        let message = [16u32 + 40, 1001 | 5 << 16, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        call!(1, audit, message.as_ptr(), size_of_val(&message))?;
        let mut answer = [0i32; 16];
        // SAFETY: reads into an array of that size.
        check(unsafe { syscall(0, audit, answer.as_mut_ptr(), size_of_val(&answer)) })?;
        if answer[4] < 0 { Err(io::Error::from_raw_os_error(-answer[4])) } else { Ok("ALLOWED".into()) }
    }),
    // At the agent and its host.
    ("the first process", into_the_first_process),
    ("killing the first process", kill_the_first_process),
    ("the agent's keys", || {
        // KEYCTL_READ of the session's keyring: root's own, with root's user keyring in it, which has nothing of the agent's.
        let mut text = [0u8; 256];
        // SAFETY: it writes at most that many bytes.
        let length = unsafe { syscall(sys::KEYCTL, 11, -3i64, text.as_mut_ptr(), text.len()) };
        check(length)?;
        Ok(format!("{} KEYS", length / 4))
    }),
    ("typing on the terminal", || {
        let terminal = OpenOptions::new().read(true).write(true).custom_flags(0o400).open("/dev/tty")?;
        // SAFETY: TIOCSTI reads one byte.
        check(unsafe { ioctl(terminal.as_raw_fd(), 0x5412, c("x").as_ptr()) })
    }),
    ("dialling the host", dial_everywhere),
    ("dialling the agent", || {
        let mut outcomes: Vec<String> = [1u32, 3].into_iter().flat_map(|cid| [1024, 1023, 9000].map(|port| told(dial(cid, port)))).collect();
        outcomes.sort();
        outcomes.dedup();
        Ok(outcomes.join(" "))
    }),
];

fn told(outcome: Outcome) -> String {
    match outcome {
        Ok(text) => text,
        Err(error) => match error.raw_os_error() {
            Some(1) => "EPERM".into(),
            Some(2) => "ENOENT".into(),
            Some(3) => "ESRCH".into(),
            Some(6) => "ENXIO".into(),
            Some(11) => "EAGAIN".into(),
            Some(12) => "ENOMEM".into(),
            Some(13) => "EACCES".into(),
            Some(16) => "EBUSY".into(),
            Some(19) => "ENODEV".into(),
            Some(22) => "EINVAL".into(),
            Some(24) => "EMFILE".into(),
            Some(28) => "ENOSPC".into(),
            Some(30) => "EROFS".into(),
            Some(38) => "ENOSYS".into(),
            Some(93) => "EPROTONOSUPPORT".into(),
            Some(101) => "ENETUNREACH".into(),
            Some(104) => "ECONNRESET".into(),
            Some(110) => "ETIMEDOUT".into(),
            Some(111) => "ECONNREFUSED".into(),
            _ => error.to_string(),
        },
    }
}

fn attempt_all() {
    for (name, attempt) in ATTEMPTS {
        print!("{name}: ");
        io::stdout().flush().unwrap();
        // SAFETY: one thread, so the child may do anything.
        match unsafe { fork() } {
            0 => {
                // SAFETY: sets a timer.
                unsafe { alarm(60) };
                println!("{}", told(attempt()));
                io::stdout().flush().unwrap();
                process::exit(0);
            }
            -1 => println!("cannot fork"),
            child => {
                let status = wait_for(child);
                if status != 0 {
                    println!("ended by {status}");
                }
            }
        }
    }
}

/// Looks at every process again and again: one that is still the agent's, on its way to its command, must not be open.
fn watch() {
    let own = fs::metadata("/").unwrap();
    let ended = std::thread::spawn(|| io::stdin().read_to_end(&mut Vec::new()));
    let mut seen = 0u64;
    while !ended.is_finished() {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            seen += 1;
            let at = |name: &str| format!("/proc/{pid}/{name}");
            // A process whose root is another, or whose program is none of the image's, is the agent's.
            if let Ok(root) = fs::metadata(at("root")) {
                if (root.dev(), root.ino()) != (own.dev(), own.ino()) {
                    println!("root of {pid}");
                }
            }
            if let Ok(program) = fs::read_link(at("exe")) {
                if !program.starts_with("/bin") {
                    println!("{} of {pid}", program.display());
                }
            }
            if pid == process::id() {
                continue;
            }
            for file in fs::read_dir(at("fd")).into_iter().flatten().flatten() {
                if let Ok(target) = fs::read_link(file.path()) {
                    let target = target.to_string_lossy().into_owned();
                    if !target.starts_with("pipe:") && target != "/dev/null" {
                        println!("{target} of {pid}");
                    }
                }
            }
        }
    }
    println!("{}", if seen > 0 { "watched" } else { "saw nothing" });
}

/// Opens a file until that fails, and leaves a process behind that keeps all of them open, and nothing else.
fn open_all(path: &str) -> Outcome {
    let mut open = Vec::new();
    let error = loop {
        match File::open(path) {
            Ok(file) => open.push(file),
            Err(error) => break error,
        }
    };
    // SAFETY: one thread, so the child may do anything; it has no use for the three.
    match unsafe { fork() } {
        0 => unsafe {
            (0..3).for_each(|stream| drop(File::from_raw_fd(stream)));
            loop {
                std::thread::park();
            }
        },
        -1 => Err(io::Error::last_os_error()),
        _ => {
            drop(open);
            Err(error)
        }
    }
}

fn flood(name: &str) {
    let outcome: Outcome = match name {
        "processes" => loop {
            // SAFETY: the child does nothing but wait for its end.
            match unsafe { fork() } {
                0 => loop {
                    std::thread::park();
                },
                -1 => break Err(io::Error::last_os_error()),
                _ => {}
            }
        },
        "memory" => loop {
            // What nobody could see, the compiler would leave out.
            hint::black_box(Box::leak(vec![1u8; 1 << 20].into_boxed_slice()));
        },
        "files" => open_all("/dev/null"),
        "terminals" => open_all("/dev/ptmx"),
        "connections" => {
            let mut sockets = Vec::new();
            loop {
                // SAFETY: a system call on integers.
                let socket = unsafe { syscall(sys::SOCKET, AF_VSOCK, SOCK_STREAM, 0) };
                if socket < 0 || sockets.len() > 900 {
                    break Ok(dial_everywhere().unwrap_or_default());
                }
                sockets.push(socket);
            }
        }
        "shared-memory" => loop {
            // SAFETY: System V shared memory, mapped where the kernel likes, and filled.
            unsafe {
                let id = shmget(0, 1 << 20, 0o1600);
                if id < 0 {
                    break Err(io::Error::last_os_error());
                }
                let memory = shmat(id, ptr::null(), 0);
                if memory as isize == -1 {
                    break Err(io::Error::last_os_error());
                }
                ptr::write_bytes(memory.cast::<u8>(), 1, 1 << 20);
            }
        },
        "locked-memory" => {
            // SAFETY: MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED of 64 MiB.
            let memory = unsafe { mmap(ptr::null_mut(), 64 << 20, 3, 0x2022, -1, 0) };
            if memory as isize == -1 { Err(io::Error::last_os_error()) } else { Ok("ALLOWED".into()) }
        }
        "bpf" => {
            // BPF_PROG_LOAD of a BPF_PROG_TYPE_SOCKET_FILTER: r0 = 0; exit.
            let program = [0xb7u64, 0x95];
            let license = c("Apache-2.0");
            let attributes = [1 | 2 << 32, program.as_ptr() as u64, license.as_ptr() as u64, 0, 0, 0];
            call!(sys::BPF, 5, attributes.as_ptr(), size_of_val(&attributes))
        }
        "stop" => {
            // SAFETY: a signal to all that this process may signal but itself.
            check(unsafe { kill(-1, SIGSTOP) })
        }
        "kill" => {
            // SAFETY: a signal to all that this process may signal but itself.
            check(unsafe { kill(-1, SIGKILL) })
        }
        _ => panic!("no such attempt: {name}"),
    };
    println!("{}", told(outcome));
}

fn main() {
    match env::args().nth(1).as_deref() {
        None => attempt_all(),
        Some("watch") => watch(),
        Some(name) => flood(name),
    }
}
