// SPDX-License-Identifier: Apache-2.0

//! What a worker does: one operation on files of the workload's root.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, fstat, fsync, linkat, mkdirat, openat, renameat, renameat_with,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::exchange::{Failure, Requests, Responses};
use crate::file::{
    DIRECTORY, MAX_PATH_BYTES, READ, Sink, WRITE, apply, apply_to_link, content, entry, entry_of, require_regular,
};
use crate::proto::file_operation::Operation;
use crate::proto::file_part::Part;
use crate::proto::write_file::Existing;
use crate::proto::{FileAttributes, FileOperation, LinkFile, MakeDirectory, MoveFile, SetAttributes, WriteFile};
use crate::resolve::Root;
use crate::tree;

/// Does it.
pub(crate) fn run(
    root: &Root,
    operation: FileOperation,
    requests: &mut Requests,
    responses: &mut Responses,
) -> Result<(), Failure> {
    let path = &*operation.path;
    check(path)?;
    let at = |doing| Failure::at(doing, path);
    match operation.operation {
        Some(Operation::Read(_)) => read_file(root, path, responses),
        Some(Operation::Write(write)) => write_file(root, path, write, requests),
        Some(Operation::Stat(stat)) => {
            let follow = if stat.no_follow { OFlags::NOFOLLOW } else { OFlags::empty() };
            let file = root.open(path, OFlags::PATH | follow, Mode::empty()).map_err(at("looking at"))?;
            responses.entry(entry(&file, c"", Vec::new()).map_err(at("looking at"))?)
        }
        Some(Operation::List(_)) => list(root, path, responses),
        Some(Operation::MakeDirectory(make)) => make_directory(root, path, make).map_err(at("making the directory")),
        Some(Operation::Move(to)) => move_file(root, path, &to).map_err(at("moving")),
        Some(Operation::Remove(remove)) => {
            let (above, name) = root.parent(path).map_err(at("removing"))?;
            match unlinkat(&above, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {}
                removed => return removed.map_err(at("removing")),
            }
            match unlinkat(&above, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY) if remove.recursive => tree::remove(above, name, path),
                removed => removed.map_err(at("removing")),
            }
        }
        Some(Operation::Link(link)) => link_file(root, path, &link).map_err(at("linking")),
        Some(Operation::SetAttributes(set)) => set_attributes(root, path, set).map_err(at("changing")),
        Some(Operation::ReadTree(order)) => {
            let flags = DIRECTORY - OFlags::NOFOLLOW;
            let directory = root.open(path, flags, Mode::empty()).map_err(at("opening"))?;
            tree::read(directory, path, order, responses)
        }
        Some(Operation::WriteTree(write)) => {
            let all = MakeDirectory { parents: true, attributes: None };
            make_directory(root, path, all).map_err(at("making the directory"))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let directory = root.open(path, flags, Mode::empty()).map_err(at("opening"))?;
            tree::Writer::new(directory, path, write).write(requests)
        }
        None => Err(at("reading the request for")(Errno::INVAL)),
    }
}

/// Whether it is a path of the contract.
fn check(path: &[u8]) -> Result<(), Failure> {
    if path.len() > MAX_PATH_BYTES {
        return Err(Failure::new("resolving", path, Errno::NAMETOOLONG));
    }
    if !path.starts_with(b"/") || path.contains(&0) {
        return Err(Failure::new("resolving", path, Errno::INVAL));
    }
    Ok(())
}

fn read_file(root: &Root, path: &[u8], responses: &mut Responses) -> Result<(), Failure> {
    let failed = Failure::at("reading", path);
    let file = root.open(path, READ, Mode::empty()).map_err(&failed)?;
    let stat = fstat(&file).map_err(&failed)?;
    require_regular(&stat).map_err(&failed)?;
    responses.entry(entry_of(&stat, Vec::new(), Vec::new()))?;
    content(&file, &stat, path, responses)
}

fn write_file(root: &Root, path: &[u8], order: WriteFile, requests: &mut Requests) -> Result<(), Failure> {
    let failed = Failure::at("writing", path);
    let existing = Existing::try_from(order.existing).map_err(|_| failed(Errno::INVAL))?;
    let attributes = order.attributes.unwrap_or_default();
    if order.atomic {
        if existing == Existing::Append {
            return Err(failed(Errno::INVAL));
        }
        return replace_file(root, path, existing, attributes, requests);
    }
    let how = match existing {
        Existing::Replace => OFlags::CREATE | OFlags::TRUNC,
        Existing::Fail => OFlags::CREATE | OFlags::EXCL,
        Existing::Append => OFlags::CREATE | OFlags::APPEND,
    };
    let file = root.open(path, WRITE | how, Mode::from_raw_mode(0o644)).map_err(&failed)?;
    require_regular(&fstat(&file).map_err(&failed)?).map_err(&failed)?;
    receive(&file, existing == Existing::Append, path, requests)?;
    apply(&file, &attributes).map_err(&failed)
}

/// Writes what comes to a file beside, which then takes the file's place.
fn replace_file(
    root: &Root,
    path: &[u8],
    existing: Existing,
    attributes: FileAttributes,
    requests: &mut Requests,
) -> Result<(), Failure> {
    let failed = Failure::at("writing", path);
    let (above, name) = root.parent(path).map_err(&failed)?;
    let replaced = match statat(&above, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) if existing == Existing::Fail => return Err(failed(Errno::EXIST)),
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Err(failed(Errno::ISDIR)),
            FileType::RegularFile => Some(stat),
            _ => None,
        },
        Err(Errno::NOENT) => None,
        Err(errno) => return Err(failed(errno)),
    };
    let attributes = FileAttributes {
        permissions: attributes.permissions.or(Some(replaced.map_or(0o644, |stat| stat.st_mode & 0o7777))),
        uid: attributes.uid.or(replaced.map(|stat| stat.st_uid)),
        gid: attributes.gid.or(replaced.map(|stat| stat.st_gid)),
        modified: attributes.modified,
    };
    let now = clock_gettime(ClockId::Monotonic);
    let temporary = format!(".nacelle-{:x}-{:x}", rustix::process::getpid().as_raw_nonzero(), now.tv_nsec);
    let flags = WRITE | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let file = openat(&above, &*temporary, flags, Mode::RUSR | Mode::WUSR).map_err(&failed)?;
    let written = receive(&file, false, path, requests).and_then(|()| {
        apply(&file, &attributes).and_then(|()| fsync(&file)).map_err(&failed)?;
        match existing {
            Existing::Fail => rename_to_free(&above, temporary.as_bytes(), &above, name),
            _ => renameat(&above, &*temporary, &above, name),
        }
        .map_err(&failed)
    });
    if written.is_err() {
        let _ = unlinkat(&above, &*temporary, AtFlags::empty());
    }
    written
}

/// Renames to a name that nobody has.
fn rename_to_free(from: &OwnedFd, name: &[u8], to: &OwnedFd, new_name: &[u8]) -> Result<(), Errno> {
    match renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE) {
        // A filesystem that cannot do it: a name that a hard link can get is free. Directories have none.
        Err(Errno::INVAL) => {
            linkat(from, name, to, new_name, AtFlags::empty()).and_then(|()| unlinkat(from, name, AtFlags::empty()))
        }
        renamed => renamed,
    }
}

/// Writes what comes, up to its end.
fn receive(file: &OwnedFd, append: bool, path: &[u8], requests: &mut Requests) -> Result<(), Failure> {
    let failed = Failure::at("writing", path);
    let mut sink = Sink::new(file);
    while let Some(parts) = requests.parts()? {
        for part in parts {
            match part.part {
                Some(Part::Data(data)) => sink.data(&data),
                Some(Part::Hole(bytes)) if !append => sink.hole(bytes),
                _ => Err(Errno::INVAL),
            }
            .map_err(&failed)?;
        }
    }
    sink.finish().map_err(failed)
}

fn list(root: &Root, path: &[u8], responses: &mut Responses) -> Result<(), Failure> {
    let failed = Failure::at("listing", path);
    let directory = root.open(path, DIRECTORY - OFlags::NOFOLLOW, Mode::empty()).map_err(&failed)?;
    let mut names = Dir::read_from(&directory).map_err(&failed)?;
    while let Some(name) = names.read() {
        let name = name.map_err(&failed)?;
        let name = name.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match entry(&directory, name, name.to_bytes().into()) {
            // Removed meanwhile.
            Err(Errno::NOENT) => {}
            found => responses.entry(found.map_err(&failed)?)?,
        }
    }
    Ok(())
}

fn make_directory(root: &Root, path: &[u8], order: MakeDirectory) -> Result<(), Errno> {
    let attributes = order.attributes.unwrap_or_default();
    let permissions = Mode::from_raw_mode(attributes.permissions.unwrap_or(0o755) & 0o7777);
    if order.parents {
        let slashes = (1..path.len()).filter(|&end| path[end] == b'/' && path[end - 1] != b'/');
        for end in slashes {
            match root.parent(&path[..end]) {
                Ok((above, name)) => match mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                },
                // "." and ".." are there.
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    let made = root.parent(path).and_then(|(above, name)| {
        mkdirat(&above, name, permissions)?;
        openat(&above, name, DIRECTORY, Mode::empty())
    });
    match made {
        Ok(directory) => apply(&directory, &FileAttributes { modified: None, ..attributes }),
        Err(Errno::EXIST | Errno::BUSY) if order.parents => {
            root.open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(drop)
        }
        Err(Errno::BUSY) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    }
}

fn move_file(root: &Root, path: &[u8], order: &MoveFile) -> Result<(), Errno> {
    check(&order.to).map_err(|failure| failure.errno)?;
    let (from, name) = root.parent(path)?;
    let (to, new_name) = root.parent(&order.to)?;
    match order.no_replace {
        true => rename_to_free(&from, name, &to, new_name),
        false => renameat(&from, name, &to, new_name),
    }
}

fn link_file(root: &Root, path: &[u8], order: &LinkFile) -> Result<(), Errno> {
    let (above, name) = root.parent(path)?;
    let target = &*order.symbolic_target;
    match (target.is_empty(), order.existing.is_empty()) {
        (false, true) if target.len() > MAX_PATH_BYTES => Err(Errno::NAMETOOLONG),
        (false, true) => symlinkat(target, &above, name),
        (true, false) => {
            check(&order.existing).map_err(|failure| failure.errno)?;
            let (from, existing) = root.parent(&order.existing)?;
            linkat(&from, existing, &above, name, AtFlags::empty())
        }
        _ => Err(Errno::INVAL),
    }
}

fn set_attributes(root: &Root, path: &[u8], order: SetAttributes) -> Result<(), Errno> {
    let attributes = order.attributes.unwrap_or_default();
    if order.no_follow {
        let (above, name) = root.parent(path)?;
        if FileType::from_raw_mode(statat(&above, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) == FileType::Symlink {
            if attributes.permissions.is_some() {
                return Err(Errno::OPNOTSUPP);
            }
            return apply_to_link(&above, name, &attributes);
        }
    }
    let follow = if order.no_follow { OFlags::NOFOLLOW } else { OFlags::empty() };
    apply(&root.open(path, READ | follow, Mode::empty())?, &attributes)
}
