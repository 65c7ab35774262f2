// SPDX-License-Identifier: Apache-2.0

//! Mounts and device files below the calling thread's root, as the host asks for them.
//!
//! The image is hostile: a path is resolved below the root, and through no link of /proc, once, to a descriptor that the
//! mount is then moved on. Nothing of the workload's runs yet.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Uid, chmodat, chownat, makedev, mkdirat, mknodat,
    open, openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick,
    mount as mount2, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir};

use crate::error::{Step, StepError};
use crate::furnishing::flags_of;
use crate::proto::device::Type;
use crate::proto::mount::What;
use crate::proto::{BindMount, Device, Filesystem, Mount, MountAttributes, MountPropagation};
use crate::{copy_up, namespaces};

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// AT_RECURSIVE of linux/fcntl.h.
const RECURSIVE: u32 = 0x8000;
/// MOUNT_ATTR_RDONLY of linux/mount.h.
const RDONLY: u64 = 0x1;

/// The namespaces of users by which mounts number theirs, in the mounts' order.
pub(crate) type Users = Vec<Option<OwnedFd>>;

/// Makes the namespaces of users that mounts ask for; like [`namespaces::make`].
pub(crate) fn make_users(mounts: &[Mount], cgroup: BorrowedFd<'_>) -> Result<Users, StepError> {
    let make = |mount: &Mount| mount.ids.as_ref().map(|ids| namespaces::users_of_mount(ids, cgroup)).transpose();
    mounts.iter().map(make).collect()
}

/// Mounts one thing after the other. What is copied is charged to the cgroup.
pub(crate) fn mount_all(mounts: &[Mount], users: &Users, cgroup: BorrowedFd<'_>) -> Result<(), StepError> {
    if mounts.is_empty() {
        return Ok(());
    }
    let root = Root::of_thread()?;
    mounts.iter().zip(users).try_for_each(|(mount, users)| mount_one(&root, mount, users.as_ref(), cgroup))
}

fn mount_one(root: &Root, mount: &Mount, users: Option<&OwnedFd>, cgroup: BorrowedFd<'_>) -> Result<(), StepError> {
    let on = || format!("mounting on {}", mount.destination);
    let tree = match &mount.what {
        Some(What::Filesystem(filesystem)) => {
            let target = root.directory(&mount.destination).step(on)?;
            // What is to be filled is write-protected afterwards.
            let late = if filesystem.copy_up { set_of(mount) & RDONLY } else { 0 };
            let set = set_of(mount) & !late;
            let tree = match filesystem.i_version {
                true => create_with_versions(filesystem, mount, set, root, &target)?,
                false => create_with(filesystem, mount, set)?,
            };
            if filesystem.copy_up {
                copy_up::fill(&target, &tree, &filesystem.parameters, cgroup).map_err(
                    |StepError { step, errno }| StepError {
                        step: format!("mounting on {}: {step}", mount.destination),
                        errno,
                    },
                )?;
            }
            set_attributes(tree.as_fd(), 0, MountAttributes { set: late, clear: 0 }, MountPropagation::Unspecified)
                .step(|| format!("write-protecting the mount on {}", mount.destination))?;
            number(&tree, mount, users)?;
            place(&tree, &target).step(on)?;
            tree
        }
        Some(What::Bind(bind)) => {
            let source = root.open(&bind.source, PATH).step(|| format!("looking for {}", bind.source))?;
            let target = match is_directory(&source).step(on)? {
                true => root.directory(&mount.destination),
                false => root.file(&mount.destination),
            }
            .step(on)?;
            let tree = view(&source, bind).step(|| format!("binding {}", bind.source))?;
            number(&tree, mount, users)?;
            place(&tree, &target).step(on)?;
            tree
        }
        // A descriptor of what is mounted there, and not of what that hides.
        Some(What::Remount(remount)) => {
            let there = root.open(&mount.destination, PATH).step(on)?;
            reconfigure(&there, &remount.parameters, &mount.destination)?;
            there
        }
        None => return Err(Errno::INVAL).step(on),
    };
    change(&tree, mount).step(|| format!("changing the mount on {}", mount.destination))
}

/// Mounts a tree on a directory, which is made where there is none.
pub(crate) fn place_directory(tree: &OwnedFd, destination: &str) -> Result<(), StepError> {
    let on = || format!("mounting on {destination}");
    let target = Root::of_thread()?.directory(destination).step(on)?;
    place(tree, &target).step(on)
}

/// Puts what is mounted on a directory, with all below it, after what was mounted since: what reads the list of mounts may go by
/// its order. For a new process: nothing is allocated. Where the workload has made something else of the path, nothing is done.
pub(crate) fn mount_again(path: &CStr) -> rustix::io::Result<()> {
    let flags = PATH | OFlags::DIRECTORY;
    let open = || openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let Ok(there) = open() else { return Ok(()) };
    // It may be one that cannot be copied.
    let Ok(tree) = view(&there, &BindMount { source: String::new(), recursive: true }) else { return Ok(()) };
    fchdir(&there)?;
    let gone = unmount(c".", UnmountFlags::DETACH);
    chdir(c"/")?;
    match gone {
        Ok(()) => place(&tree, &open()?),
        // It is no mount.
        Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// A filesystem's new instance, mounted nowhere yet.
pub(crate) fn create(filesystem: &Filesystem, mount: &Mount) -> Result<OwnedFd, StepError> {
    create_with(filesystem, mount, set_of(mount))
}

/// The same, whatever attributes of the mount are to be set.
fn create_with(filesystem: &Filesystem, mount: &Mount, set: u64) -> Result<OwnedFd, StepError> {
    let name = &filesystem.r#type;
    let on = &mount.destination;
    let context = fsopen(name.as_str(), FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| match errno {
        Errno::NODEV => StepError { step: format!("mounting on {on}: this kernel has no filesystem '{name}'"), errno },
        errno => too_old(errno, on, "fsopen(2), Linux 5.2"),
    })?;
    let refused = |what: &str, errno| refusal(&context, &format!("mounting {name} on {on}: {what}"), errno);
    if !filesystem.source.is_empty() {
        fsconfig_set_string(&context, "source", filesystem.source.as_str())
            .map_err(|errno| refused("its source", errno))?;
    }
    for parameter in &filesystem.parameters {
        configure(&context, parameter).map_err(|errno| refused(parameter, errno))?;
    }
    fsconfig_create(&context).map_err(|errno| refused("its creation", errno))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(set as u32))
        .map_err(|errno| refused("its mount", errno))
}

/// What a new mount is to be without from the start.
fn set_of(mount: &Mount) -> u64 {
    let attributes = [&mount.attributes, &mount.recursive_attributes].into_iter().flatten();
    attributes.fold(0, |set, attributes| (set & !attributes.clear) | attributes.set)
}

fn configure(context: &OwnedFd, parameter: &str) -> rustix::io::Result<()> {
    match parameter.split_once('=') {
        Some((key, value)) => fsconfig_set_string(context, key, value),
        None => fsconfig_set_flag(context, parameter),
    }
}

/// What the kernel says beyond the errno, where it says something.
fn refusal(context: &OwnedFd, what: &str, errno: Errno) -> StepError {
    let said = message(context).map(|said| format!(": {said}")).unwrap_or_default();
    StepError { step: format!("{what}{said}"), errno }
}

/// The same with a flag that only mount(2) has, which mounts it somewhere at once.
fn create_with_versions(
    filesystem: &Filesystem,
    mount: &Mount,
    set: u64,
    root: &Root,
    target: &OwnedFd,
) -> Result<OwnedFd, StepError> {
    let (name, on) = (&filesystem.r#type, &mount.destination);
    let step = || format!("mounting {name} on {on} with iversion");
    let flags = MountFlags::from_bits_retain(libc::MS_I_VERSION as u32) | flags_of(set);
    let data = CString::new(filesystem.parameters.join(",")).map_err(|_| Errno::INVAL).step(step)?;
    let source = match &*filesystem.source {
        "" => name,
        source => source,
    };
    fchdir(target)
        .and_then(|()| mount2(source, c".", name.as_str(), flags, &*data))
        // A copy of the mount, which then goes: what it is of stays.
        .and_then(|()| root.open(on, PATH))
        .and_then(|there| view(&there, &BindMount::default()))
        .and_then(|tree| unmount_at(root, on).map(|()| tree))
        .step(step)
}

/// Takes away what was mounted last.
fn unmount_at(root: &Root, path: &str) -> rustix::io::Result<()> {
    fchdir(root.open(path, PATH | OFlags::DIRECTORY)?)?;
    let gone = unmount(c".", UnmountFlags::DETACH);
    fchdir(&root.0).and(gone)
}

/// Gives a filesystem that is mounted other parameters.
fn reconfigure(there: &OwnedFd, parameters: &[String], on: &str) -> Result<(), StepError> {
    if parameters.is_empty() {
        return Ok(());
    }
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = fspick(there, c"", flags).map_err(|errno| too_old(errno, on, "fspick(2), Linux 5.2"))?;
    let refused = |what: &str, errno| refusal(&context, &format!("remounting {on}: {what}"), errno);
    for parameter in parameters {
        configure(&context, parameter).map_err(|errno| refused(parameter, errno))?;
    }
    fsconfig_reconfigure(&context).map_err(|errno| refused("its change", errno))
}

/// Numbers the owners of files by a mount that is mounted nowhere yet as a namespace of users does.
fn number(tree: &OwnedFd, mount: &Mount, users: Option<&OwnedFd>) -> Result<(), StepError> {
    /// MOUNT_ATTR_IDMAP of linux/mount.h.
    const IDMAP: u64 = 0x10_0000;
    let (Some(users), Some(ids)) = (users, &mount.ids) else { return Ok(()) };
    let attributes = Attributes { set: IDMAP, user_namespace: users.as_raw_fd() as u64, ..Attributes::default() };
    set(tree.as_fd(), if ids.recursive { RECURSIVE } else { 0 }, &attributes).map_err(|errno| {
        let on = &mount.destination;
        let step = match errno {
            Errno::NOSYS => format!("numbering the owners on {on}: this kernel has no mount_setattr(2), Linux 5.12"),
            Errno::INVAL => format!("numbering the owners on {on}: with this kernel its filesystem does not have that"),
            _ => format!("numbering the owners on {on}"),
        };
        StepError { step, errno }
    })
}

/// The last message of a filesystem context: "e Unknown parameter".
fn message(context: &OwnedFd) -> Option<String> {
    let mut text = [0; 256];
    let length = rustix::io::read(context, &mut text).ok()?;
    let text = String::from_utf8_lossy(&text[..length]);
    Some(text.trim_end().trim_start_matches(['e', 'w', 'i']).trim_start().into())
}

/// A copy of what is mounted where a descriptor is, mounted nowhere yet.
fn view(source: &OwnedFd, bind: &BindMount) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if bind.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(source, c"", flags)
}

fn place(tree: &OwnedFd, target: &OwnedFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", flags)
}

/// Gives a mount its attributes and its propagation. What a new filesystem's has already takes no system call more, so that
/// needs no kernel with mount_setattr(2).
fn change(tree: &OwnedFd, mount: &Mount) -> Result<(), Errno> {
    let is_new = matches!(mount.what, Some(What::Filesystem(_)));
    for (attributes, propagation, flags) in [
        (mount.attributes, mount.propagation(), 0),
        (mount.recursive_attributes, mount.recursive_propagation(), RECURSIVE),
    ] {
        let attributes = if is_new { MountAttributes::default() } else { attributes.unwrap_or_default() };
        set_attributes(tree.as_fd(), flags, attributes, propagation)?;
    }
    Ok(())
}

/// mount_setattr(2); does nothing where there is nothing to do.
pub(crate) fn set_attributes(
    mount: BorrowedFd<'_>,
    flags: u32,
    MountAttributes { set, clear }: MountAttributes,
    propagation: MountPropagation,
) -> Result<(), Errno> {
    let propagation = match propagation {
        MountPropagation::Unspecified => 0,
        MountPropagation::Shared => libc::MS_SHARED,
        MountPropagation::Slave => libc::MS_SLAVE,
        MountPropagation::Private => libc::MS_PRIVATE,
        MountPropagation::Unbindable => libc::MS_UNBINDABLE,
    };
    if set | clear | propagation == 0 {
        return Ok(());
    }
    self::set(mount, flags, &Attributes { set, clear, propagation, user_namespace: 0 })
}

/// struct mount_attr of linux/mount.h.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

fn set(mount: BorrowedFd<'_>, flags: u32, attributes: &Attributes) -> Result<(), Errno> {
    // SAFETY: the kernel reads a structure and an empty path that live across the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags | libc::AT_EMPTY_PATH as u32,
            &raw const *attributes,
            size_of::<Attributes>(),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

fn too_old(errno: Errno, on: &str, needs: &str) -> StepError {
    let step = match errno {
        Errno::NOSYS => format!("mounting on {on}: this kernel has no {needs}"),
        _ => format!("mounting on {on}"),
    };
    StepError { step, errno }
}

/// Where a device file is made that is then mounted elsewhere: below /dev, whose mount lets device files be opened until all
/// are made.
const NEW_DEVICE: &CStr = c"/dev/.new";

/// Makes device files; each works wherever it is, for it is mounted on itself from a mount that lets it.
pub(crate) fn make_devices(devices: &[Device]) -> Result<(), StepError> {
    if devices.is_empty() {
        return Ok(());
    }
    let root = Root::of_thread()?;
    devices.iter().try_for_each(|device| make_device(&root, device).step(|| format!("creating {}", device.path)))
}

fn make_device(root: &Root, device: &Device) -> rustix::io::Result<()> {
    let (kind, number) = match device.r#type() {
        Type::Character => (FileType::CharacterDevice, makedev(device.major, device.minor)),
        Type::Block => (FileType::BlockDevice, makedev(device.major, device.minor)),
        Type::Fifo | Type::Unspecified => (FileType::Fifo, 0),
    };
    match root.open(&device.path, PATH | OFlags::NOFOLLOW) {
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
        Ok(there) => {
            let found = statat(&there, c"", AtFlags::EMPTY_PATH)?;
            let is_same = FileType::from_raw_mode(found.st_mode) == kind && (number == 0 || found.st_rdev == number);
            return if is_same { Ok(()) } else { Err(Errno::EXIST) };
        }
    }
    let mode = Mode::from_raw_mode(device.mode as RawMode);
    mknodat(CWD, NEW_DEVICE, kind, mode, number)?;
    // The thread's mask is none; but mknod(2) knows no bits beyond the permissions.
    let made =
        chownat(CWD, NEW_DEVICE, Some(Uid::from_raw(device.uid)), Some(Gid::from_raw(device.gid)), AtFlags::empty())
            .and_then(|()| chmodat(CWD, NEW_DEVICE, mode, AtFlags::empty()))
            .and_then(|()| root.file(&device.path))
            .and_then(|target| {
                let source = open(NEW_DEVICE, PATH | OFlags::NOFOLLOW, Mode::empty())?;
                let tree = view(&source, &BindMount::default())?;
                place(&tree, &target)
            });
    // The mount holds it.
    unlinkat(CWD, NEW_DEVICE, AtFlags::empty()).and(made)
}

/// The calling thread's root.
struct Root(OwnedFd);

impl Root {
    fn of_thread() -> Result<Self, StepError> {
        open("/", PATH | OFlags::DIRECTORY, Mode::empty()).step(|| "opening the root".into()).map(Self)
    }

    /// Opens what is at an absolute path below the root.
    fn open(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        openat2(&self.0, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// The directory at a path, made where there is none, with those above it.
    fn directory(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let mut made = self.open("/", PATH)?;
        let mut at = String::with_capacity(path.len());
        for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
            at.push('/');
            at.push_str(name);
            made = match self.open(&at, PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => {
                    mkdirat(&made, name, Mode::from_raw_mode(0o755))?;
                    self.open(&at, PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)?
                }
                opened => opened?,
            };
        }
        Ok(made)
    }

    /// The file at a path, made empty where there is none, with the directories above it.
    fn file(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        match self.open(path, PATH) {
            Err(Errno::NOENT) => {}
            opened => return opened,
        }
        let path = Path::new(path);
        let (Some(parent), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name()) else {
            return Err(Errno::ISDIR);
        };
        let directory = self.directory(parent)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(&directory, name, flags, Mode::from_raw_mode(0o644))?;
        openat(&directory, name, PATH | OFlags::NOFOLLOW, Mode::empty())
    }
}

fn is_directory(file: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(FileType::from_raw_mode(statat(file, c"", AtFlags::EMPTY_PATH)?.st_mode).is_dir())
}
