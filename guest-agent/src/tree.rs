// SPDX-License-Identifier: Apache-2.0

//! Directories with all that is in them: told, made and removed. Others may change them meanwhile; every step goes from an
//! open directory to a name in it, and follows no link.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, XattrFlags, fgetxattr, flistxattr, flistxattr_query, fsetxattr,
    fstat, linkat, makedev, mkdirat, mknodat, openat, seek, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::exchange::{Failure, Requests, Responses};
use crate::file::{
    DIRECTORY, MAX_DEPTH, MAX_PATH_BYTES, Sink, apply, apply_to_link, content, entry, entry_of, has_holes, map,
    open_regular,
};
use crate::proto::file_entry::Type;
use crate::proto::file_part::Part;
use crate::proto::{ExtendedAttribute, FileAttributes, FileEntry, FileTime, ReadTree, WriteTree};

/// Of the paths of files that have several names.
const MAX_LINKED_BYTES: usize = 16 << 20;
/// What a path takes there beside its bytes.
const LINKED_BYTES: usize = 64;
/// Extended attributes of a file: XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h, together.
const MAX_ATTRIBUTE_BYTES: usize = 64 << 10;
/// NAME_MAX of linux/limits.h.
const MAX_NAME_BYTES: usize = 255;

pub(crate) fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    match above.is_empty() || above.ends_with(b"/") {
        true => [above, name].concat(),
        false => [above, b"/", name].concat(),
    }
}

/// Removes a directory that is not empty. `path` is for messages.
pub(crate) fn remove(above: OwnedFd, name: &[u8], path: &[u8]) -> Result<(), Failure> {
    let open = |at: &OwnedFd, name: &[u8]| openat(at, name, DIRECTORY, Mode::empty());
    let device = |directory: &OwnedFd| fstat(directory).map(|stat| stat.st_dev);
    let failed = Failure::at("removing", path);
    let top = open(&above, name).map_err(&failed)?;
    let own = device(&top).map_err(&failed)?;
    // Directories that are being emptied, and the names that they have in those before.
    let mut open_ones = vec![(top, name.to_vec())];
    while let Some((directory, name)) = open_ones.pop() {
        match empty(&directory).map_err(&failed)? {
            None => {
                let above = open_ones.last().map_or(&above, |(above, _)| above);
                match unlinkat(above, &*name, AtFlags::REMOVEDIR) {
                    // Something has come meanwhile.
                    Err(Errno::NOTEMPTY) => open_ones.push((directory, name)),
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
            Some(below) => {
                if open_ones.len() == MAX_DEPTH {
                    return Err(failed(Errno::NAMETOOLONG));
                }
                match open(&directory, &below) {
                    Ok(opened) if device(&opened).map_err(&failed)? != own => return Err(failed(Errno::XDEV)),
                    Ok(opened) => open_ones.extend([(directory, name), (opened, below)]),
                    // Removed or replaced meanwhile.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => open_ones.push((directory, name)),
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
    }
    Ok(())
}

/// Removes what can be removed at once, up to a directory that is not empty, whose name it tells.
fn empty(directory: &OwnedFd) -> Result<Option<Vec<u8>>, Errno> {
    seek(directory, SeekFrom::Start(0))?;
    let mut names = Dir::read_from(directory)?;
    while let Some(name) = names.read() {
        let name = name?;
        let name = name.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let removed = match unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(directory, name, AtFlags::REMOVEDIR),
            removed => removed,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY) => return Ok(Some(name.to_bytes().into())),
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

/// A directory that is being told.
struct Level {
    directory: OwnedFd,
    names: Dir,
    path: Vec<u8>,
}

/// Tells a directory and what is below it. `whole` is its path, for messages.
pub(crate) fn read(top: OwnedFd, whole: &[u8], order: ReadTree, responses: &mut Responses) -> Result<(), Failure> {
    let at = |path: &[u8]| Failure::at("reading", &join(whole, path));
    let own = fstat(&top).map_err(at(b""))?;
    let mut linked = Linked::default();
    let mut told = entry_of(&own, Vec::new(), Vec::new());
    told.extended_attributes = extended_attributes(&top);
    responses.entry(told)?;
    let names = Dir::read_from(&top).map_err(at(b""))?;
    let mut levels = vec![Level { directory: top, names, path: Vec::new() }];
    while let Some(level) = levels.last_mut() {
        let Some(found) = level.names.read() else {
            levels.pop();
            continue;
        };
        let found = found.map_err(at(&level.path))?;
        let name = found.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let path = join(&level.path, name.to_bytes());
        if path.len() > MAX_PATH_BYTES {
            return Err(at(&path)(Errno::NAMETOOLONG));
        }
        let failed = at(&path);
        let mut told = match entry(&level.directory, name, path.clone()) {
            Err(Errno::NOENT) => continue,
            told => told.map_err(&failed)?,
        };
        match told.r#type() {
            Type::Directory => {
                let opened = openat(&level.directory, name, DIRECTORY, Mode::empty());
                let Some(directory) = unless_replaced(opened).map_err(&failed)? else { continue };
                let stat = fstat(&directory).map_err(&failed)?;
                told.extended_attributes = extended_attributes(&directory);
                responses.entry(told)?;
                if stat.st_dev != own.st_dev {
                    continue;
                }
                if levels.len() == MAX_DEPTH {
                    return Err(failed(Errno::NAMETOOLONG));
                }
                let names = Dir::read_from(&directory).map_err(failed)?;
                levels.push(Level { directory, names, path });
            }
            Type::Regular => {
                let opened = open_regular(&level.directory, name.to_bytes());
                let Some(file) = unless_replaced(opened).map_err(&failed)? else { continue };
                // Of the file that is open, whatever the name stands for by now.
                let stat = fstat(&file).map_err(&failed)?;
                let mut told = entry_of(&stat, path.clone(), Vec::new());
                if let Some(first) = linked.first(&stat, &path) {
                    told.set_type(Type::HardLink);
                    told.link_target = first.into();
                    told.size = 0;
                    responses.entry(told)?;
                    continue;
                }
                let whole = join(whole, &path);
                if order.maps && has_holes(&stat) {
                    map(&file, &stat, &whole, responses)?;
                }
                told.extended_attributes = extended_attributes(&file);
                responses.entry(told)?;
                if stat.st_size > 0 {
                    content(&file, &stat, &whole, responses)?;
                }
            }
            Type::Socket | Type::Unspecified => {}
            _ => responses.entry(told)?,
        }
    }
    Ok(())
}

/// None where the name stands for something else by now, or for nothing.
fn unless_replaced(opened: Result<OwnedFd, Errno>) -> Result<Option<OwnedFd>, Errno> {
    match opened {
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::ISDIR) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Files with several names, and the first that was told.
#[derive(Default)]
pub(crate) struct Linked {
    paths: BTreeMap<(u64, u64), Vec<u8>>,
    bytes: usize,
}

impl Linked {
    /// The name that the file was told by before.
    pub(crate) fn first(&mut self, stat: &rustix::fs::Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let file = (stat.st_dev, stat.st_ino);
        let first = self.paths.get(&file).cloned();
        if first.is_none() && self.bytes < MAX_LINKED_BYTES {
            self.bytes += path.len() + LINKED_BYTES;
            self.paths.insert(file, path.into());
        }
        first
    }
}

/// Those that a file may be given by others than the kernel. A filesystem without any has none.
pub(crate) fn extended_attributes(file: &OwnedFd) -> Vec<ExtendedAttribute> {
    if !matches!(flistxattr_query(file), Ok(1..)) {
        return Vec::new();
    }
    let mut names = vec![0; MAX_ATTRIBUTE_BYTES];
    let Ok(length) = flistxattr(file, &mut *names) else { return Vec::new() };
    let mut room = MAX_ATTRIBUTE_BYTES;
    let mut attributes = Vec::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| is_portable(name)) {
        let mut value = vec![0; MAX_ATTRIBUTE_BYTES];
        let Ok(length) = fgetxattr(file, name, &mut *value) else { continue };
        let Some(left) = room.checked_sub(name.len() + length) else { continue };
        room = left;
        value.truncate(length);
        attributes.push(ExtendedAttribute { name: name.to_vec().into(), value: value.into() });
    }
    attributes
}

fn is_portable(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_") || name == b"security.capability"
}

/// A directory that files are being made in.
struct Open {
    name: Vec<u8>,
    directory: OwnedFd,
    /// What it gets when nothing more comes into it.
    modified: Option<FileTime>,
}

/// Makes the files of a tree.
pub(crate) struct Writer {
    top: OwnedFd,
    whole: Vec<u8>,
    order: WriteTree,
    /// The way to the last file's directory.
    open: Vec<Open>,
    top_modified: Option<FileTime>,
}

impl Writer {
    pub(crate) fn new(top: OwnedFd, whole: &[u8], order: WriteTree) -> Self {
        Self { top, whole: whole.into(), order, open: Vec::new(), top_modified: None }
    }

    pub(crate) fn write(mut self, requests: &mut Requests) -> Result<(), Failure> {
        let mut parts = Vec::new().into_iter();
        let mut next = || loop {
            if let Some(part) = parts.next() {
                return Ok(Some(part));
            }
            match requests.parts()? {
                Some(more) => parts = more.into_iter(),
                None => return Ok(None),
            }
        };
        let mut part = next()?;
        while let Some(current) = part {
            let Some(Part::Entry(entry)) = current.part else {
                return Err(Failure::new("writing", &self.whole, Errno::INVAL));
            };
            let path = join(&self.whole, &entry.path);
            let failed = Failure::at("writing", &path);
            let file = self.make(&entry).map_err(&failed)?;
            part = next()?;
            let Some(file) = file else { continue };
            let mut sink = Sink::new(&file);
            loop {
                match part.as_ref().and_then(|part| part.part.as_ref()) {
                    Some(Part::Data(data)) => sink.data(data),
                    Some(Part::Hole(bytes)) => sink.hole(*bytes),
                    Some(Part::Map(_)) => Err(Errno::INVAL),
                    Some(Part::Entry(_)) | None => break,
                }
                .map_err(&failed)?;
                part = next()?;
            }
            sink.finish().and_then(|()| self.finish(&file, &entry)).map_err(&failed)?;
        }
        self.leave(0)
            .and_then(|()| match self.top_modified.take() {
                Some(modified) => openat(&self.top, c".", DIRECTORY, Mode::empty())
                    .and_then(|directory| set_modified(&directory, modified)),
                None => Ok(()),
            })
            .map_err(Failure::at("writing", &self.whole))
    }

    /// Makes what an entry is of; a regular file is yet to get its content and its attributes.
    fn make(&mut self, entry: &FileEntry) -> Result<Option<OwnedFd>, Errno> {
        if entry.path.len() > MAX_PATH_BYTES {
            return Err(Errno::NAMETOOLONG);
        }
        if entry.path.is_empty() {
            if entry.r#type() != Type::Directory {
                return Err(Errno::INVAL);
            }
            let top = openat(&self.top, c".", DIRECTORY, Mode::empty())?;
            self.finish(&top, &FileEntry { modified: None, ..entry.clone() })?;
            self.top_modified = entry.modified;
            return Ok(None);
        }
        if entry.path.starts_with(b"/") {
            return Err(Errno::INVAL);
        }
        let (above, name) = match entry.path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&entry.path[..slash], &entry.path[slash + 1..]),
            None => (&entry.path[..0], &*entry.path),
        };
        check_name(name)?;
        self.enter(above)?;
        let at = self.open.last().map_or(&self.top, |open| &open.directory);
        if entry.r#type() == Type::Directory {
            let directory = make_directory(at, name)?;
            self.finish(&directory, &FileEntry { modified: None, ..entry.clone() })?;
            self.open.push(Open { name: name.into(), directory, modified: entry.modified });
            return Ok(None);
        }
        match unlinkat(at, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let special = |kind| {
            let device = makedev(entry.major, entry.minor);
            mknodat(at, name, kind, Mode::from_raw_mode(entry.permissions & 0o7777), device)
        };
        match entry.r#type() {
            Type::Regular => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                return openat(at, name, flags, Mode::RUSR | Mode::WUSR).map(Some);
            }
            Type::HardLink => {
                let (from, existing) = self.find(&entry.link_target)?;
                linkat(&from, existing, at, name, AtFlags::empty())?;
                return Ok(None);
            }
            Type::SymbolicLink => symlinkat(&*entry.link_target, at, name)?,
            Type::CharacterDevice => special(FileType::CharacterDevice)?,
            Type::BlockDevice => special(FileType::BlockDevice)?,
            Type::Fifo => special(FileType::Fifo)?,
            Type::Directory | Type::Socket | Type::Unspecified => return Err(Errno::INVAL),
        }
        // None of these can be opened for it.
        apply_to_link(at, name, &FileAttributes { permissions: None, ..self.attributes(entry) }).map(|()| None)
    }

    /// Gives a file that is open what its entry says of it.
    fn finish(&self, file: &OwnedFd, entry: &FileEntry) -> Result<(), Errno> {
        let attributes = self.attributes(entry);
        apply(file, &FileAttributes { modified: None, ..attributes })?;
        for ExtendedAttribute { name, value } in &entry.extended_attributes {
            if !is_portable(name) {
                return Err(Errno::INVAL);
            }
            let name = CString::new(name.to_vec()).map_err(|_| Errno::INVAL)?;
            fsetxattr(file, name, value, XattrFlags::empty())?;
        }
        apply(file, &FileAttributes { modified: entry.modified, ..FileAttributes::default() })
    }

    fn attributes(&self, entry: &FileEntry) -> FileAttributes {
        FileAttributes {
            permissions: Some(entry.permissions),
            uid: self.order.uid.or(Some(entry.uid)),
            gid: self.order.gid.or(Some(entry.gid)),
            modified: entry.modified,
        }
    }

    /// Goes to a directory below the top, and makes what is not there.
    fn enter(&mut self, path: &[u8]) -> Result<(), Errno> {
        let names: Vec<_> = path.split(|&byte| byte == b'/').filter(|_| !path.is_empty()).collect();
        let common = names.iter().zip(&self.open).take_while(|(name, open)| **name == open.name).count();
        self.leave(common)?;
        for name in &names[common..] {
            check_name(name)?;
            if self.open.len() == MAX_DEPTH {
                return Err(Errno::NAMETOOLONG);
            }
            let at = self.open.last().map_or(&self.top, |open| &open.directory);
            let directory = make_directory(at, name)?;
            self.open.push(Open { name: name.to_vec(), directory, modified: None });
        }
        Ok(())
    }

    /// Leaves the directories beyond some, which are whole then.
    fn leave(&mut self, kept: usize) -> Result<(), Errno> {
        for Open { directory, modified, .. } in self.open.drain(kept..).rev() {
            modified.map_or(Ok(()), |modified| set_modified(&directory, modified))?;
        }
        Ok(())
    }

    /// A file of the tree that was made before: its directory, and its name in it.
    fn find<'a>(&self, path: &'a [u8]) -> Result<(OwnedFd, &'a [u8]), Errno> {
        let mut at = openat(&self.top, c".", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        let mut names: Vec<_> = path.split(|&byte| byte == b'/').collect();
        let last = names.pop().ok_or(Errno::INVAL)?;
        for name in names {
            check_name(name)?;
            at = openat(&at, name, OFlags::PATH | DIRECTORY, Mode::empty())?;
        }
        check_name(last)?;
        match FileType::from_raw_mode(statat(&at, last, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
            FileType::Directory => Err(Errno::ISDIR),
            _ => Ok((at, last)),
        }
    }
}

fn set_modified(directory: &OwnedFd, modified: FileTime) -> Result<(), Errno> {
    apply(directory, &FileAttributes { modified: Some(modified), ..FileAttributes::default() })
}

/// Opens a directory, and makes it first where there is none.
fn make_directory(at: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    match openat(at, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {
            mkdirat(at, name, Mode::from_raw_mode(0o755))?;
            openat(at, name, DIRECTORY, Mode::empty())
        }
        opened => opened,
    }
}

fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"" | b"." | b".." => Err(Errno::INVAL),
        name if name.contains(&0) || name.contains(&b'/') => Err(Errno::INVAL),
        name if name.len() > MAX_NAME_BYTES => Err(Errno::NAMETOOLONG),
        _ => Ok(()),
    }
}
