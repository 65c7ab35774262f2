// SPDX-License-Identifier: Apache-2.0

//! What is in a directory of the image, copied into the tmpfs that is to hide it.
//!
//! A process of its own does it, in the workload's cgroup: so what is copied is charged to the workload, whose limit it does
//! not exceed. It goes from open directories to names in them, and follows no link.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, XattrFlags, fsetxattr, fstat, linkat, makedev, mkdirat, mknodat, openat,
    symlinkat,
};
use rustix::io::{Errno, write};

use crate::error::{Step, StepError};
use crate::exchange::{Content, Failure};
use crate::file::{
    DIRECTORY, MAX_DEPTH, MAX_PATH_BYTES, Sink, apply, apply_to_link, content, entry, entry_of, open_regular,
};
use crate::fork::{fork_into, pipe};
use crate::heap;
use crate::proto::file_entry::Type;
use crate::proto::{ExtendedAttribute, FileAttributes, FileEntry};
use crate::tree::{Linked, extended_attributes, join};

/// What is left of the path that could not be copied, in a report.
const MAX_REPORT_BYTES: usize = 1024;

/// Copies a directory into a filesystem that is mounted nowhere yet. `parameters` of its own stay as they are: what it says
/// of its root's mode and owner.
pub(crate) fn fill(
    directory: &OwnedFd,
    filesystem: &OwnedFd,
    parameters: &[String],
    cgroup: BorrowedFd<'_>,
) -> Result<(), StepError> {
    const STEP: &str = "copying what is there";
    let from = openat(directory, c".", DIRECTORY, Mode::empty()).step(|| STEP.into())?;
    let to = openat(filesystem, c".", DIRECTORY, Mode::empty()).step(|| STEP.into())?;
    let says = |key: &str| parameters.iter().any(|parameter| parameter.starts_with(key));
    let own = [!says("mode="), !says("uid="), !says("gid=")];
    let (report, writer) = pipe()?;
    fork_into(cgroup, |procs| {
        let joined = procs.map_or(Ok(1), |procs| write(procs, b"0"));
        let copied = joined
            .and_then(|_| heap::separate())
            .map_err(Failure::at("beginning", b""))
            .and_then(|()| copy(from.as_fd(), to.as_fd(), own));
        let (errno, path) =
            copied.map_or_else(|failure| (failure.errno.raw_os_error(), failure.path), |()| (0, Vec::new()));
        let _ = write(&writer, &errno.to_ne_bytes());
        let _ = write(&writer, &path[..path.len().min(MAX_REPORT_BYTES)]);
    })
    .step(|| STEP.into())?;
    drop(writer);
    let mut told = Vec::new();
    fs::File::from(report).read_to_end(&mut told).step(|| STEP.into())?;
    match told.split_first_chunk() {
        Some((&[0, 0, 0, 0], _)) => Ok(()),
        Some((errno, path)) => Err(StepError {
            step: format!("{STEP}, {}", String::from_utf8_lossy(path)),
            errno: Errno::from_raw_os_error(i32::from_ne_bytes(*errno)),
        }),
        // By the OOM killer, most likely.
        None => Err(StepError { step: format!("{STEP}: it was killed"), errno: Errno::NOMEM }),
    }
}

/// A directory that is being copied.
struct Level {
    from: OwnedFd,
    to: OwnedFd,
    names: Dir,
    entry: FileEntry,
}

impl Level {
    fn new(from: OwnedFd, to: OwnedFd, path: Vec<u8>) -> Result<Self, Errno> {
        let entry =
            FileEntry { extended_attributes: extended_attributes(&from), ..entry_of(&fstat(&from)?, path, Vec::new()) };
        Ok(Self { names: Dir::read_from(&from)?, from, to, entry })
    }
}

/// `own`: whether the mode, the user and the group of the directory itself are copied.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, own: [bool; 3]) -> Result<(), Failure> {
    let at = |path: &[u8]| Failure::at("copying", path);
    let open = |directory: BorrowedFd<'_>| openat(directory, c".", DIRECTORY, Mode::empty());
    let top = open(from).and_then(|from| Level::new(from, open(to)?, Vec::new())).map_err(at(b""))?;
    let device = fstat(&top.from).map_err(at(b""))?.st_dev;
    let top_to = open(to).map_err(at(b""))?;
    let mut linked = Linked::default();
    let mut levels = vec![top];
    while let Some(level) = levels.last_mut() {
        let Some(found) = level.names.read() else {
            let Some(Level { to, entry, .. }) = levels.pop() else { break };
            let whole = attributes(&entry);
            let given = match levels.is_empty() {
                true => FileAttributes {
                    permissions: whole.permissions.filter(|_| own[0]),
                    uid: whole.uid.filter(|_| own[1]),
                    gid: whole.gid.filter(|_| own[2]),
                    ..whole
                },
                false => whole,
            };
            finish(&to, &given, &entry.extended_attributes).map_err(at(&entry.path))?;
            continue;
        };
        let found = found.map_err(at(&level.entry.path))?;
        let name = found.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let path = join(&level.entry.path, name.to_bytes());
        if path.len() > MAX_PATH_BYTES {
            return Err(at(&path)(Errno::NAMETOOLONG));
        }
        let failed = at(&path);
        let told = entry(&level.from, name, path.clone()).map_err(&failed)?;
        let special = |kind| {
            let mode = Mode::from_raw_mode(told.permissions);
            mknodat(&level.to, name, kind, mode, makedev(told.major, told.minor))
        };
        match told.r#type() {
            Type::Directory => {
                if levels.len() == MAX_DEPTH {
                    return Err(failed(Errno::NAMETOOLONG));
                }
                let Some(level) = levels.last() else { break };
                let from = openat(&level.from, name, DIRECTORY, Mode::empty()).map_err(&failed)?;
                mkdirat(&level.to, name, Mode::RWXU).map_err(&failed)?;
                let to = openat(&level.to, name, DIRECTORY, Mode::empty()).map_err(&failed)?;
                // Of another filesystem that is mounted there, the directory alone.
                match fstat(&from).map_err(&failed)?.st_dev == device {
                    true => levels.push(Level::new(from, to, path).map_err(failed)?),
                    false => finish(&to, &attributes(&told), &[]).map_err(failed)?,
                }
                continue;
            }
            Type::Regular => {
                let file = open_regular(&level.from, name.to_bytes()).map_err(&failed)?;
                let stat = fstat(&file).map_err(&failed)?;
                if let Some(first) = linked.first(&stat, &path) {
                    linkat(&top_to, first, &level.to, name, AtFlags::empty()).map_err(failed)?;
                    continue;
                }
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let copy = openat(&level.to, name, flags, Mode::RUSR | Mode::WUSR).map_err(&failed)?;
                let mut written = Written { sink: Sink::new(&copy), path: &path };
                if stat.st_size > 0 {
                    content(&file, &stat, &path, &mut written)?;
                }
                written.sink.finish().map_err(&failed)?;
                finish(&copy, &attributes(&told), &extended_attributes(&file)).map_err(failed)?;
                continue;
            }
            Type::SymbolicLink => symlinkat(&*told.link_target, &level.to, name),
            Type::CharacterDevice => special(FileType::CharacterDevice),
            Type::BlockDevice => special(FileType::BlockDevice),
            Type::Fifo => special(FileType::Fifo),
            Type::Socket | Type::HardLink | Type::Unspecified => continue,
        }
        .and_then(|()| {
            let unopened = FileAttributes { permissions: None, ..attributes(&told) };
            apply_to_link(&level.to, name.to_bytes(), &unopened)
        })
        .map_err(failed)?;
    }
    Ok(())
}

fn attributes(entry: &FileEntry) -> FileAttributes {
    let FileEntry { permissions, uid, gid, modified, .. } = *entry;
    FileAttributes { permissions: Some(permissions), uid: Some(uid), gid: Some(gid), modified }
}

/// Gives a file its attributes, the time last, which the others change.
fn finish(file: &OwnedFd, given: &FileAttributes, extended: &[ExtendedAttribute]) -> Result<(), Errno> {
    apply(file, &FileAttributes { modified: None, ..*given })?;
    for ExtendedAttribute { name, value } in extended {
        match fsetxattr(file, &**name, value, XattrFlags::empty()) {
            // A tmpfs has those of users since Linux 6.6.
            Err(Errno::OPNOTSUPP) => {}
            set => set?,
        }
    }
    apply(file, &FileAttributes { modified: given.modified, ..FileAttributes::default() })
}

/// A copy that is being written.
struct Written<'a> {
    sink: Sink<'a>,
    path: &'a [u8],
}

impl Content for Written<'_> {
    fn data(&mut self, data: Bytes) -> Result<(), Failure> {
        self.sink.data(&data).map_err(Failure::at("copying", self.path))
    }

    fn hole(&mut self, bytes: u64) -> Result<(), Failure> {
        self.sink.hole(bytes).map_err(Failure::at("copying", self.path))
    }
}
