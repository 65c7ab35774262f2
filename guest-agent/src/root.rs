// SPDX-License-Identifier: Apache-2.0

//! The workload's root: a read-only image under a writable layer, a tmpfs or a scratch disk, furnished as container runtimes do, and made the root
//! of the calling thread's own mount namespace.
//!
//! The image is hostile. Nothing below is resolved through it before the thread's root *is* the image's, so no link in
//! it can lead out; and where a mount point must be, a link is an error.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, io};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_move, mount_remount,
    unmount,
};
use rustix::process::{chdir, chroot, pivot_root};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::error::{Step, StepError};
use crate::proto::Sysctl;

/// What the root is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The block device with the image.
    pub(crate) disk: PathBuf,
    /// Its filesystem's type.
    pub(crate) filesystem: String,
    /// Size of a writable layer in memory; 0 for half of the memory.
    pub(crate) writable_bytes: u64,
    /// The block device with an ext4 filesystem for the writable layer, if that is not to be in memory.
    pub(crate) scratch: Option<PathBuf>,
    pub(crate) hostname: String,
    /// A directory of the agent's to mount the parts on.
    pub(crate) staging: PathBuf,
    /// Which of [`DRIVERS`] the kernel has.
    pub(crate) drivers: Vec<Driver>,
    pub(crate) sysctls: Vec<Sysctl>,
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

/// Paths of /proc and /sys that tell about, or act on, the whole machine: runc's defaults.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Gives the calling thread mount, UTS and IPC namespaces of its own, and its future children a PID namespace.
pub(crate) fn enter_namespaces(hostname: &str) -> Result<(), StepError> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC | UnshareFlags::NEWPID;
    // SAFETY: no flag of these separates the thread's file descriptors from its process's.
    unsafe { unshare_unsafe(flags) }.step(|| "creating the workload's namespaces".into())?;
    rustix::system::sethostname(hostname.as_bytes()).step(|| "setting the host name".into())?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step(|| "making the mounts private".into())
}

/// Mounts the image and the writable layer over it, at `root` of the staging directory.
pub(crate) fn assemble(plan: &Plan, timeline: &mut Timeline) -> Result<(), StepError> {
    let staging = &plan.staging;
    make_directory(staging)?;
    let size = match plan.writable_bytes {
        0 => "mode=0755".into(), // tmpfs's default is half of the memory.
        bytes => format!("mode=0755,size={bytes}"),
    };
    mount_new("tmpfs", staging, MountFlags::empty(), &size)?;
    chdir(staging).step(|| format!("entering {}", staging.display()))?;
    for name in ["image", "writable", "root"] {
        make_directory(Path::new(name))?;
    }
    if let Some(scratch) = &plan.scratch {
        // Nothing of it is kept beyond this machine, so its flushes would protect nothing.
        let options = c"barrier=0,errors=remount-ro";
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
    // A device file works where `furnish` made it and nowhere else, as Docker has it with a filter on the cgroup: neither the
    // image nor root with mknod(2) opens the disks below this.
    mount_new("overlay", Path::new("root"), MountFlags::NODEV, LAYERS)?;
    timeline.mark("overlay");
    Ok(())
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
pub(crate) fn furnish(drivers: &[Driver]) -> Result<(), StepError> {
    for directory in ["/dev", "/proc", "/sys"] {
        make_directory(Path::new(directory))?;
    }
    mount_new("tmpfs", Path::new("/dev"), MountFlags::NOSUID | MountFlags::NOEXEC, "mode=0755,size=1m")?;
    for (name, major, minor) in DEVICES {
        make_device(name, makedev(major, minor))?;
    }
    for &(name, minor) in drivers {
        make_device(name, makedev(10, minor))?;
    }
    mount_remount("/dev", MountFlags::BIND | NO_PRIVILEGES, "").step(|| "closing /dev to other devices".into())?;
    for (name, target) in [
        ("core", "/proc/kcore"),
        ("fd", "/proc/self/fd"),
        ("ptmx", "pts/ptmx"),
        ("stderr", "/proc/self/fd/2"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
    ] {
        rustix::fs::symlink(target, format!("/dev/{name}")).step(|| format!("creating /dev/{name}"))?;
    }
    for directory in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        make_directory(Path::new(directory))?;
    }
    let terminals = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_new("devpts", Path::new("/dev/pts"), terminals, "newinstance,ptmxmode=0666,mode=0620,gid=5")?;
    mount_new("tmpfs", Path::new("/dev/shm"), NO_PRIVILEGES, "mode=1777")?;
    match mount_new("mqueue", Path::new("/dev/mqueue"), NO_PRIVILEGES, "") {
        // A kernel without POSIX message queues.
        Err(StepError { errno: Errno::NODEV, .. }) => {}
        other => other?,
    }
    mount_new("sysfs", Path::new("/sys"), NO_PRIVILEGES | MountFlags::RDONLY, "")
}

/// A character device that everybody may use, mounted on itself: so it works although /dev is to be mounted with nodev.
fn make_device(name: &str, device: u64) -> Result<(), StepError> {
    let path = Path::new("/dev").join(name);
    path.parent().map_or(Ok(()), make_directory)?;
    mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)
        .and_then(|()| mount_bind(&path, &path))
        .step(|| format!("creating {}", path.display()))
}

/// Hides and write-protects what acts on the whole machine.
pub(crate) fn mask() -> Result<(), StepError> {
    for path in MASKED {
        let masked = match fs::symlink_metadata(path) {
            Err(_) => continue, // This kernel has no such thing.
            Ok(metadata) if metadata.is_dir() => {
                mount("tmpfs", *path, "tmpfs", NO_PRIVILEGES | MountFlags::RDONLY, c"size=0")
            }
            Ok(_) => mount_bind("/dev/null", *path),
        };
        masked.step(|| format!("masking {path}"))?;
    }
    for path in READ_ONLY {
        match mount_bind(*path, *path) {
            Err(Errno::NOENT) => continue,
            bound => bound.step(|| format!("binding {path}"))?,
        }
        mount_remount(*path, MountFlags::BIND | MountFlags::RDONLY | NO_PRIVILEGES, "")
            .step(|| format!("making {path} read-only"))?;
    }
    Ok(())
}

/// Writes /etc/hostname and /etc/hosts, as every container runtime does: images leave them to it. An image where they
/// cannot be has other plans.
pub(crate) fn write_names(hostname: &str) {
    if make_directory(Path::new("/etc")).is_err() {
        return;
    }
    let _ = replace("/etc/hostname", &format!("{hostname}\n"));
    let hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n");
    let _ = replace("/etc/hosts", &hosts);
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

fn mount_new(filesystem: &str, target: &Path, flags: MountFlags, options: &str) -> Result<(), StepError> {
    mount(filesystem, target, filesystem, flags, &*c_string(options))
        .step(|| format!("mounting {filesystem} on {}", target.display()))
}

/// Mount options, all written in this file or numbers.
fn c_string(options: &str) -> std::ffi::CString {
    std::ffi::CString::new(options).unwrap_or_default()
}
