// SPDX-License-Identifier: Apache-2.0

//! The workload's root: a read-only image under a writable layer, a tmpfs or a scratch disk, furnished as container runtimes do, and made the root
//! of the calling thread's own mount namespace.
//!
//! The image is hostile. Nothing below is resolved through it before the thread's root *is* the image's, so no link in
//! it can lead out; and where a mount point must be, a link is an error.

use std::ffi::{CStr, CString};
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, io};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, StatVfsMountFlags, chmod, chown, lstat, makedev, mknodat, openat, statvfs,
};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_move,
    mount_remount, unmount,
};
use rustix::process::{Gid, Uid, chdir, chroot, pivot_root};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::error::{Step, StepError};
use crate::furnishing::{Furnishing, Options, Usual};
use crate::proto::{MountPropagation, Namespaces, Network, Sysctl};
use crate::{data, mounts, network, tun};

/// What the root is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The block device with the image.
    pub(crate) disk: PathBuf,
    /// Its filesystem's type.
    pub(crate) filesystem: String,
    /// Size of a writable layer in memory.
    pub(crate) writable_bytes: u64,
    /// The block device with an ext4 filesystem for the writable layer, if that is not to be in memory.
    pub(crate) scratch: Option<PathBuf>,
    /// Size of /dev/shm.
    pub(crate) shared_memory_bytes: u64,
    /// How much System V shared memory there may be.
    pub(crate) system_v_bytes: u64,
    pub(crate) hostname: String,
    /// A directory of the agent's to mount the parts on.
    pub(crate) staging: PathBuf,
    /// Which of [`DRIVERS`] the kernel has.
    pub(crate) drivers: Vec<Driver>,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) furnishing: Furnishing,
    pub(crate) namespaces: Namespaces,
    pub(crate) data: Vec<data::Disk>,
    /// Its network, if it is to have one.
    pub(crate) network: Option<Network>,
}

/// How much of the workload's memory may go to what outlives its processes.
#[derive(Debug, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) writable: u64,
    pub(crate) shared_memory: u64,
    pub(crate) system_v: u64,
}

/// Docker's default for /dev/shm.
const SHARED_MEMORY: u64 = 64 << 20;

/// The sizes of the tmpfs for the root and of that on /dev/shm, from what was asked for (0 for the default) and the
/// workload's limit of memory. Both are charged to the workload, so together they leave a quarter of the limit to its
/// processes, of which System V shared memory may have half: who fills them gets ENOSPC, where otherwise the OOM killer
/// would come, and there is still room to clean up.
pub(crate) fn sizes(memory: u64, writable: u64, is_on_disk: bool, shared_memory: u64) -> Sizes {
    let room = memory - memory / 4;
    let shared_memory = match shared_memory {
        0 => SHARED_MEMORY.min(room / 4),
        bytes => bytes.min(room / 2),
    };
    let writable = match writable {
        // Only the mount points are in it then.
        _ if is_on_disk => STAGING,
        0 => room - shared_memory,
        bytes => bytes.min(room - shared_memory),
    };
    // 0 would be no limit.
    Sizes { writable: writable.max(1), shared_memory: shared_memory.max(1), system_v: memory / 8 }
}

/// Enough for the directories that parts are mounted on.
const STAGING: u64 = 1 << 20;

/// One file for so much of a tmpfs's size. A file takes 1 KiB of the kernel's memory besides its content (BOGO_INODE_SIZE
/// of mm/shmem.c), so all of them together an eighth of the size. By default the kernel allows as many for the machine's
/// memory, in each tmpfs, however small that is.
const BYTES_PER_FILE: u64 = 8 << 10;
/// For the smallest: the agent's own directories and overlay's.
const MIN_FILES: u64 = 64;

/// Options of a tmpfs: what is in it is bounded in size and in number.
fn bounded(mode: &str, bytes: u64) -> String {
    format!("mode={mode},size={bytes},nr_inodes={}", (bytes / BYTES_PER_FILE).max(MIN_FILES))
}

/// Names below /dev, major and minor numbers of what every program may count on
/// (Documentation/admin-guide/devices.txt).
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The device file of a driver that is there for programs: its name below /dev, and its minor number with the major
/// number 10.
pub(crate) type Driver = (&'static str, u32);

const DRIVERS: [Driver; 2] = [("fuse", 229), ("net/tun", 200)];

/// The drivers that the kernel has made device files for, in a devtmpfs.
pub(crate) fn drivers(devices: &Path) -> Vec<Driver> {
    DRIVERS.into_iter().filter(|(name, _)| devices.join(name).exists()).collect()
}

/// Names of steps and how many nanoseconds each took, in order.
pub(crate) type Steps = Vec<(&'static str, u64)>;

/// Takes the time of steps.
#[derive(Debug)]
pub(crate) struct Timeline {
    last: Instant,
    pub(crate) steps: Steps,
}

impl Timeline {
    pub(crate) fn start() -> Self {
        Self { last: Instant::now(), steps: Vec::new() }
    }

    /// Ends a step.
    pub(crate) fn mark(&mut self, name: &'static str) {
        let now = Instant::now();
        self.steps.push((name, now.duration_since(self.last).as_nanos() as u64));
        self.last = now;
    }
}

const NO_PRIVILEGES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// overlay's options.
const LAYERS: &str = "lowerdir=image,upperdir=writable/upper,workdir=writable/work";

/// Gives the calling thread mount, UTS and IPC namespaces of its own, and its future children a PID namespace.
pub(crate) fn enter_namespaces(hostname: &str, domainname: &str, network: bool) -> Result<(), StepError> {
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC | UnshareFlags::NEWPID;
    if network {
        flags |= UnshareFlags::NEWNET;
    }
    // SAFETY: no flag of these separates the thread's file descriptors from its process's.
    unsafe { unshare_unsafe(flags) }.step(|| "creating the workload's namespaces".into())?;
    if network {
        network::set_up()?;
    }
    rustix::system::sethostname(hostname.as_bytes()).step(|| "setting the host name".into())?;
    if !domainname.is_empty() {
        rustix::system::setdomainname(domainname.as_bytes()).step(|| "setting the domain name".into())?;
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step(|| "making the mounts private".into())
}

/// Mounts the image and the writable layer over it, at `root` of the staging directory.
pub(crate) fn assemble(plan: &Plan, timeline: &mut Timeline) -> Result<(), StepError> {
    let staging = &plan.staging;
    make_directory(staging)?;
    mount_new("tmpfs", staging, MountFlags::empty(), &bounded("0755", plan.writable_bytes))?;
    chdir(staging).step(|| format!("entering {}", staging.display()))?;
    for name in ["image", "writable", "root"] {
        make_directory(Path::new(name))?;
    }
    if let Some(scratch) = &plan.scratch {
        // Nothing of it is kept beyond this machine, so its flushes would protect nothing.
        // What is deleted is the host's again at once.
        let options = c"barrier=0,discard,errors=remount-ro";
        mount(scratch, "writable", c"ext4", MountFlags::NOATIME, options)
            .step(|| format!("mounting the scratch disk {}", scratch.display()))?;
        timeline.mark("scratch");
    }
    for name in ["writable/upper", "writable/work"] {
        make_directory(Path::new(name))?;
    }
    let options = match plan.filesystem.as_str() {
        // The disk is read-only, so a journal cannot be replayed; and what to do about a damaged image is not the image's
        // choice (its superblock could ask for a kernel panic).
        "ext4" => "noload,errors=remount-ro",
        _ => "",
    };
    mount(&plan.disk, "image", &*plan.filesystem, MountFlags::RDONLY | MountFlags::NOATIME, &*c_string(options))
        .step(|| format!("mounting the image {} ({})", plan.disk.display(), plan.filesystem))?;
    timeline.mark("image");
    take_after_image()?;
    // A device file works where `furnish` made it and nowhere else, as Docker has it with a filter on the cgroup: neither the
    // image nor root with mknod(2) opens the disks below this.
    // Without `volatile`: on a disk it would keep from fsync(2) that the host's own disk is full, in memory it changes nothing.
    let flags = if plan.furnishing.all_devices { MountFlags::empty() } else { MountFlags::NODEV };
    mount_new("overlay", Path::new("root"), flags, LAYERS)?;
    timeline.mark("overlay");
    Ok(())
}

/// Gives the writable layer's root, which is the root that the workload sees, the owner and the mode of the image's.
fn take_after_image() -> Result<(), StepError> {
    let image = rustix::fs::stat("image").step(|| "looking at the image's root".into())?;
    let (owner, group) = (Uid::from_raw(image.st_uid), Gid::from_raw(image.st_gid));
    chown("writable/upper", Some(owner), Some(group))
        .and_then(|()| chmod("writable/upper", Mode::from_raw_mode(image.st_mode & 0o7777)))
        .step(|| "giving the root its owner and mode".into())
}

/// Makes the assembled root the thread's root, and drops everything else from its mount namespace.
pub(crate) fn pivot(staging: &Path) -> Result<(), StepError> {
    // What is mounted for the agent has no business in the workload's namespace, reachable or not.
    for agents in ["/proc", "/sys", "/dev"] {
        let _ = unmount(agents, UnmountFlags::DETACH);
    }
    // pivot_root(2) refuses to leave the kernel's first root, which an initramfs is. So the staging tmpfs goes on top of
    // it and is left instead: then the workload's root lies on the first root's own root, and ".." from there, even with
    // chroot(2) played on it, comes back to the workload's root.
    chdir(staging).step(|| format!("entering {}", staging.display()))?;
    mount_move(".", "/").step(|| "moving the root's parts onto the first root".into())?;
    chroot(".").step(|| "leaving the first root".into())?;
    chdir("root").step(|| "entering the root".into())?;
    pivot_root(".", ".").step(|| "pivot_root".into())?;
    unmount(".", UnmountFlags::DETACH).step(|| "detaching the old root".into())?;
    chdir("/").step(|| "entering the root".into())
}

/// Mounts /dev and /sys. /proc belongs to a process of the PID namespace, the workload's init.
pub(crate) fn furnish(plan: &Plan) -> Result<(), StepError> {
    for directory in ["/dev", "/proc", "/sys"] {
        make_directory(Path::new(directory))?;
    }
    let usual = |which, filesystem, flags, data: &str| {
        let default = || Options::new(filesystem, flags, data);
        plan.furnishing.usual(which).cloned().unwrap_or_else(default)
    };
    let dev = usual(Usual::Devices, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, &bounded("0755", 1 << 20));
    // It is closed to other devices once all are made.
    let closed = if plan.furnishing.all_devices { dev.flags } else { dev.flags | MountFlags::NODEV };
    mount_usual(&Options { flags: dev.flags - MountFlags::NODEV - MountFlags::RDONLY, ..dev }, "/dev")?;
    for (name, major, minor) in DEVICES {
        make_device(name, makedev(major, minor))?;
    }
    for &(name, minor) in &plan.drivers {
        make_device(name, makedev(10, minor))?;
    }
    mounts::make_devices(&plan.furnishing.devices)?;
    for (name, target) in [
        ("core", "/proc/kcore"),
        ("fd", "/proc/self/fd"),
        ("ptmx", "pts/ptmx"),
        ("stderr", "/proc/self/fd/2"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
    ] {
        match rustix::fs::symlink(target, format!("/dev/{name}")) {
            // The kernel's own devtmpfs has some of them.
            Err(Errno::EXIST) => {}
            linked => linked.step(|| format!("creating /dev/{name}"))?,
        }
    }
    for directory in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        make_directory(Path::new(directory))?;
    }
    mount_remount("/dev", MountFlags::BIND | closed, "").step(|| "closing /dev to other devices".into())?;
    let terminals = MountFlags::NOSUID | MountFlags::NOEXEC;
    let devpts = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount_usual(&usual(Usual::Terminals, "devpts", terminals, devpts), "/dev/pts")?;
    let shared = bounded("1777", plan.shared_memory_bytes);
    mount_usual(&usual(Usual::SharedMemory, "tmpfs", NO_PRIVILEGES, &shared), "/dev/shm")?;
    match mount_usual(&usual(Usual::Queues, "mqueue", NO_PRIVILEGES, ""), "/dev/mqueue") {
        // A kernel without POSIX message queues.
        Err(StepError { errno: Errno::NODEV, .. }) if plan.furnishing.usual(Usual::Queues).is_none() => {}
        other => other?,
    }
    mount_usual(&usual(Usual::Sys, "sysfs", NO_PRIVILEGES | MountFlags::RDONLY, ""), "/sys")
}

/// A character device that everybody may use, mounted on itself: so it works although /dev is to be mounted with nodev.
fn make_device(name: &str, device: u64) -> Result<(), StepError> {
    let path = Path::new("/dev").join(name);
    path.parent().map_or(Ok(()), make_directory)?;
    match mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device) {
        // The kernel's own devtmpfs has them.
        Err(Errno::EXIST) => Ok(()),
        made => made.and_then(|()| mount_bind(&path, &path)),
    }
    .step(|| format!("creating {}", path.display()))
}

/// What only a member of the workload's namespaces can mount, prepared. What it does runs in new processes, and allocates
/// nothing.
#[derive(Debug)]
pub(crate) struct Members {
    proc: Options,
    cgroup: Options,
    after_proc: Vec<CString>,
    is_shared: bool,
    unbindable: Vec<CString>,
    masked: Vec<CString>,
    read_only: Vec<CString>,
}

/// The mount point in a line of /proc/self/mountinfo, where it is unbindable (proc(5)).
fn unbindable(line: &[u8]) -> Option<CString> {
    let mut fields = line.split(|&byte| byte == b' ').skip(4);
    let path = fields.next()?;
    fields.skip(1).take_while(|&field| field != b"-").find(|&field| field == b"unbindable")?;
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, more)) = rest.split_first() {
        let escaped = more.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => (plain.push(code), rest = &more[3..]),
            None => (plain.push(byte), rest = more),
        };
    }
    CString::new(plain).ok()
}

impl Members {
    pub(crate) fn of(furnishing: &Furnishing) -> Self {
        let usual = |which, filesystem, flags| {
            furnishing.usual(which).cloned().unwrap_or_else(|| Options::new(filesystem, flags, ""))
        };
        Self {
            proc: usual(Usual::Proc, "proc", NO_PRIVILEGES),
            cgroup: usual(Usual::Cgroup, "cgroup2", NO_PRIVILEGES | MountFlags::RDONLY),
            after_proc: furnishing.after_proc.clone(),
            is_shared: furnishing.root_propagation == MountPropagation::Shared,
            unbindable: Vec::new(),
            masked: furnishing.masked.clone(),
            read_only: furnishing.read_only.clone(),
        }
    }

    /// Remembers which of the calling thread's mounts are unbindable, since Linux 6.18 forgets it in a copy of their namespace.
    /// `proc` is the /proc of this thread's PID namespace.
    pub(crate) fn remember_unbindable(&mut self, proc: BorrowedFd<'_>) -> Result<(), StepError> {
        let mut list = Vec::new();
        openat(proc, c"thread-self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|file| fs::File::from(file).read_to_end(&mut list))
            .step(|| "reading the list of mounts".into())?;
        self.unbindable = list.split(|&byte| byte == b'\n').filter_map(unbindable).collect();
        Ok(())
    }

    /// Mounts the /proc of the calling process's PID namespace.
    pub(crate) fn mount_proc(&self) -> rustix::io::Result<()> {
        let Options { filesystem, source, flags, data } = &self.proc;
        mount(&**source, c"/proc", &**filesystem, *flags, &**data)
    }

    /// Mounts the calling process's cgroup namespace.
    pub(crate) fn mount_cgroup(&self) -> rustix::io::Result<()> {
        let Options { filesystem, source, flags, data } = &self.cgroup;
        mount(&**source, c"/sys/fs/cgroup", &**filesystem, *flags, &**data)
    }

    /// Puts the /proc of the calling process's PID namespace in the place of another's, for a mount namespace of its own; and
    /// what the host has mounted after it, after it.
    pub(crate) fn renew_proc(&self) -> rustix::io::Result<()> {
        if self.is_shared {
            // With itself alone, and no longer with the mount namespace that this is a copy of.
            mount_change(c"/", MountPropagationFlags::PRIVATE)?;
        }
        unmount(c"/proc", UnmountFlags::DETACH)?;
        self.mount_proc()?;
        self.mask(b"/proc/").map_err(|(_, errno)| errno)?;
        self.after_proc.iter().try_for_each(|path| mounts::mount_again(path))?;
        if self.is_shared {
            mount_change(c"/", MountPropagationFlags::SHARED)?;
        }
        for path in &self.unbindable {
            match mount_change(&**path, MountPropagationFlags::UNBINDABLE) {
                // Something is over it, or the workload has made something else of it.
                Ok(()) | Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Hides and write-protects what there is of the paths that begin so; says which of them it could not.
    pub(crate) fn mask(&self, prefix: &[u8]) -> Result<(), (&CStr, Errno)> {
        let begins = |path: &&CString| path.to_bytes().starts_with(prefix);
        for path in self.masked.iter().filter(begins) {
            let masked = match lstat(&**path) {
                Err(_) => continue, // This kernel, or this image, has no such thing.
                Ok(found) if FileType::from_raw_mode(found.st_mode).is_dir() => {
                    mount(c"tmpfs", &**path, c"tmpfs", NO_PRIVILEGES | MountFlags::RDONLY, c"size=0")
                }
                Ok(_) => mount_bind(c"/dev/null", &**path),
            };
            masked.map_err(|errno| (&**path, errno))?;
        }
        for path in self.read_only.iter().filter(begins) {
            match mount_bind_recursive(&**path, &**path) {
                Err(Errno::NOENT) => continue,
                bound => bound.map_err(|errno| (&**path, errno))?,
            }
            write_protect(path).map_err(|errno| (&**path, errno))?;
        }
        Ok(())
    }
}

/// Makes the mount at a path read-only, and leaves what else it is without: in a user namespace that is not to be had back.
fn write_protect(path: &CStr) -> rustix::io::Result<()> {
    let flags = statvfs(path)?.f_flag;
    let kept = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ];
    let kept = kept.iter().filter(|(has, _)| flags.contains(*has)).fold(MountFlags::RDONLY, |all, (_, one)| all | *one);
    mount_remount(path, MountFlags::BIND | kept, c"")
}

/// What is to come after all else is there.
pub(crate) fn close(furnishing: &Furnishing) -> Result<(), StepError> {
    if furnishing.root_propagation != MountPropagation::Unspecified {
        let flags = match furnishing.root_propagation {
            MountPropagation::Shared => MountPropagationFlags::SHARED,
            MountPropagation::Slave => MountPropagationFlags::DOWNSTREAM,
            MountPropagation::Unbindable => MountPropagationFlags::UNBINDABLE,
            MountPropagation::Private | MountPropagation::Unspecified => MountPropagationFlags::PRIVATE,
        };
        mount_change("/", flags).step(|| "setting the root's mount propagation".into())?;
    }
    if furnishing.read_only_root {
        write_protect(c"/").step(|| "making the root read-only".into())?;
    }
    Ok(())
}

/// Makes a terminal /dev/console, as Docker does for a container's first process. Elsewhere the file that this leaves
/// behind cannot be opened.
pub(crate) fn bind_console(terminal: &CStr) -> rustix::io::Result<()> {
    match mknodat(CWD, c"/dev/console", FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(5, 1)) {
        Ok(()) | Err(Errno::EXIST) => mount_bind(terminal, c"/dev/console"),
        Err(errno) => Err(errno),
    }
}

/// Writes the files below /etc that images leave to whoever runs them, as every container runtime does. An image where
/// they cannot be has other plans.
pub(crate) fn write_names(hostname: &str, has_network: bool) {
    if make_directory(Path::new("/etc")).is_err() {
        return;
    }
    let _ = replace("/etc/hostname", &format!("{hostname}\n"));
    let own = if has_network { tun::GUEST_V4.to_string() } else { "127.0.1.1".into() };
    let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}\t{hostname}\n");
    let _ = replace("/etc/hosts", &hosts);
    // Rather than the one of the machine that the image was built on.
    let servers = match has_network {
        true => format!("nameserver {}\n", tun::HOST_V4),
        false => "# No name servers: there is no network.\n".into(),
    };
    let _ = replace("/etc/resolv.conf", &servers);
    // Where the image has none.
    let _ = rustix::fs::symlink("/proc/mounts", "/etc/mtab");
}

/// Makes the file in which the workload reads what the host denies it, in memory of its own. An image where it cannot be has
/// other plans.
pub(crate) fn make_denials() -> Result<fs::File, StepError> {
    for path in ["/run", "/run/nacelle", "/run/nacelle/network"] {
        make_directory(Path::new(path))?;
    }
    let place = Path::new("/run/nacelle/network");
    mount_new("tmpfs", place, NO_PRIVILEGES, "size=64k,mode=755,nr_inodes=4")?;
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o444).open(place.join("denied"));
    made.step(|| "making the file of what is denied".into())
}

fn replace(path: &str, content: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?.write_all(content.as_bytes())
}

/// Makes a directory where there is none; anything else there, a link too, is an error.
fn make_directory(path: &Path) -> Result<(), StepError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Errno::NOTDIR).step(|| format!("mounting on {}", path.display())),
        Err(_) => fs::DirBuilder::new().mode(0o755).create(path).step(|| format!("creating {}", path.display())),
    }
}

fn mount_usual(Options { filesystem, source, flags, data }: &Options, target: &str) -> Result<(), StepError> {
    mount(&**source, target, &**filesystem, *flags, &**data)
        .step(|| format!("mounting {} on {target}", filesystem.to_string_lossy()))
}

fn mount_new(filesystem: &str, target: &Path, flags: MountFlags, options: &str) -> Result<(), StepError> {
    mount(filesystem, target, filesystem, flags, &*c_string(options))
        .step(|| format!("mounting {filesystem} on {}", target.display()))
}

/// Mount options, all written in this file or numbers.
fn c_string(options: &str) -> std::ffi::CString {
    std::ffi::CString::new(options).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn files_in_memory_leave_a_quarter_of_it_to_processes() {
        for memory in [1, 16, 87, 256, 1024, 1 << 20].map(|memory| memory * MIB) {
            for asked in [0, 1, 64, 512, 1 << 30].map(|bytes| bytes * MIB) {
                let Sizes { writable, shared_memory, system_v } = sizes(memory, asked, false, asked);
                assert!(writable > 0 && shared_memory > 0);
                assert!(writable + shared_memory <= memory - memory / 4, "{memory} {asked}");
                assert!(system_v <= memory / 8, "{memory}");
                assert!(asked == 0 || (writable <= asked && shared_memory <= asked));
            }
        }
    }

    #[test]
    fn shared_memory_is_docker_s_64_mib_where_there_is_room() {
        let files = |memory, writable, is_on_disk, shared_memory| {
            let sizes = sizes(memory, writable, is_on_disk, shared_memory);
            (sizes.writable, sizes.shared_memory)
        };
        assert_eq!(files(1024 * MIB, 0, false, 0), (704 * MIB, 64 * MIB));
        assert_eq!(files(128 * MIB, 0, false, 0), (72 * MIB, 24 * MIB));
        assert_eq!(files(128 * MIB, 16 * MIB, false, 32 * MIB), (16 * MIB, 32 * MIB));
        assert_eq!(files(128 * MIB, 0, true, 256 * MIB), (STAGING, 48 * MIB));
        assert_eq!(files(u64::MAX, 0, true, 0), (STAGING, 64 * MIB));
    }
}
