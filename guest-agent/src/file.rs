// SPDX-License-Identifier: Apache-2.0

//! A file that is open, or a name in an open directory: what there is to tell of it, its content, its attributes.

use std::mem::take;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchmod,
    fchown, fstat, ftruncate, futimens, openat, readlinkat, seek, statat, utimensat,
};
use rustix::io::{Errno, read, write};

use crate::exchange::{CHUNK_BYTES, Content, Failure, Responses};
use crate::proto::file_entry::Type;
use crate::proto::{FileAttributes, FileEntry, FileTime};

/// PATH_MAX of linux/limits.h, without the NUL.
pub(crate) const MAX_PATH_BYTES: usize = 4095;
/// Directories in each other that are gone through.
pub(crate) const MAX_DEPTH: usize = 1024;
/// Of data that a map tells, in all and in a part, where data and holes are two.
const MAX_RANGES: usize = 1 << 16;
const MAP_RUNS: usize = 2048;
/// The unit of st_blocks.
const BLOCK: u64 = 512;

pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Never waits for the other end of a FIFO, nor becomes anybody's terminal.
pub(crate) const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
pub(crate) const WRITE: OFlags = OFlags::WRONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

pub(crate) fn require_regular(stat: &Stat) -> Result<(), Errno> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR),
        // A device, a FIFO.
        _ => Err(Errno::NXIO),
    }
}

/// Opens a regular file to read, whatever a name stands for by now.
pub(crate) fn open_regular(above: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let file = openat(above, name, READ | OFlags::NOFOLLOW, Mode::empty())?;
    require_regular(&fstat(&file)?)?;
    Ok(file)
}

/// Tells a file's content, holes as such: as much as it has by its size, or all of a file that has none, as in /proc.
pub(crate) fn content(file: &OwnedFd, stat: &Stat, path: &[u8], to: &mut impl Content) -> Result<(), Failure> {
    let failed = Failure::at("reading", path);
    let size = match stat.st_size as u64 {
        0 => u64::MAX,
        size => size,
    };
    let (mut position, mut data_end) = (0, if has_holes(stat) { 0 } else { size });
    while position < size {
        if position == data_end {
            let (data, end) = next_data(file, position, size).map_err(&failed)?;
            if data > position {
                to.hole(data - position)?;
            }
            (position, data_end) = (data, end);
            seek(file, SeekFrom::Start(position)).map_err(&failed)?;
            continue;
        }
        let wanted = (data_end - position).min(CHUNK_BYTES as u64) as usize;
        let mut bytes = vec![0; wanted.min(if size == u64::MAX { 4096 } else { CHUNK_BYTES })];
        match read(file, &mut bytes) {
            // It has become shorter.
            Ok(0) => break,
            Ok(count) => {
                bytes.truncate(count);
                position += count as u64;
                to.data(Bytes::from(bytes))?;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

pub(crate) fn has_holes(stat: &Stat) -> bool {
    (stat.st_blocks as u64).saturating_mul(BLOCK) < stat.st_size as u64
}

/// Where data begins and ends, from a position on; where nothing but a hole follows, at the end.
fn next_data(file: &OwnedFd, position: u64, size: u64) -> Result<(u64, u64), Errno> {
    // A filesystem of the workload's own may say anything.
    let at = |to| match seek(file, to) {
        Err(Errno::NXIO) => Ok(size),
        found => found.map(|found| found.clamp(position, size)),
    };
    let data = at(SeekFrom::Data(position))?;
    Ok((data, if data < size { at(SeekFrom::Hole(data))?.max(data + 1) } else { size }))
}

/// Tells where a file has data.
pub(crate) fn map(file: &OwnedFd, stat: &Stat, path: &[u8], to: &mut Responses) -> Result<(), Failure> {
    let failed = Failure::at("reading", path);
    let size = stat.st_size as u64;
    runs(size, |position| next_data(file, position, size).map_err(&failed), |runs| to.map(runs))
}

/// Tells the lengths of holes and data in turn, by where data begins and ends next.
fn runs(
    size: u64,
    next: impl Fn(u64) -> Result<(u64, u64), Failure>,
    mut tell: impl FnMut(Vec<u64>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut position, mut runs) = (0, Vec::new());
    for range in 1..=MAX_RANGES {
        let (data, end) = next(position)?;
        if data == size {
            break;
        }
        let end = if range == MAX_RANGES { size } else { end };
        runs.extend([data - position, end - data]);
        position = end;
        if runs.len() == MAP_RUNS {
            tell(take(&mut runs))?;
        }
    }
    tell(runs)
}

/// A file that is written from its beginning, or at its end, with holes where there are some.
pub(crate) struct Sink<'a> {
    file: &'a OwnedFd,
    position: u64,
    /// Whether it ends with a hole, which only its size can tell.
    in_hole: bool,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(file: &'a OwnedFd) -> Self {
        Self { file, position: 0, in_hole: false }
    }

    pub(crate) fn data(&mut self, mut data: &[u8]) -> Result<(), Errno> {
        if take(&mut self.in_hole) {
            seek(self.file, SeekFrom::Start(self.position))?;
        }
        self.position += data.len() as u64;
        while !data.is_empty() {
            match write(self.file, data) {
                Ok(count) => data = &data[count..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    pub(crate) fn hole(&mut self, bytes: u64) -> Result<(), Errno> {
        let end = self.position.checked_add(bytes).filter(|&end| i64::try_from(end).is_ok());
        self.position = end.ok_or(Errno::FBIG)?;
        self.in_hole = true;
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), Errno> {
        if self.in_hole { ftruncate(self.file, self.position) } else { Ok(()) }
    }
}

/// What there is to tell of a file, not of what it leads to; of the descriptor itself where the name is empty.
pub(crate) fn entry(at: impl AsFd + Copy, name: &std::ffi::CStr, path: Vec<u8>) -> Result<FileEntry, Errno> {
    let stat = match name.is_empty() {
        true => fstat(at)?,
        false => statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?,
    };
    let target = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => readlinkat(at, name, Vec::new())?.into_bytes(),
        _ => Vec::new(),
    };
    Ok(entry_of(&stat, path, target))
}

pub(crate) fn entry_of(stat: &Stat, path: Vec<u8>, link_target: Vec<u8>) -> FileEntry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Type::Regular,
        FileType::Directory => Type::Directory,
        FileType::Symlink => Type::SymbolicLink,
        FileType::CharacterDevice => Type::CharacterDevice,
        FileType::BlockDevice => Type::BlockDevice,
        FileType::Fifo => Type::Fifo,
        FileType::Socket => Type::Socket,
        FileType::Unknown => Type::Unspecified,
    };
    let is_device = matches!(kind, Type::CharacterDevice | Type::BlockDevice);
    FileEntry {
        path: path.into(),
        r#type: kind.into(),
        permissions: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == Type::Regular { stat.st_size as u64 } else { 0 },
        modified: Some(FileTime { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 }),
        link_target: link_target.into(),
        allocated: (stat.st_blocks as u64).saturating_mul(BLOCK),
        links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        major: if is_device { rustix::fs::major(stat.st_rdev) } else { 0 },
        minor: if is_device { rustix::fs::minor(stat.st_rdev) } else { 0 },
        extended_attributes: Vec::new(),
    }
}

/// Gives an open file what is given of attributes.
pub(crate) fn apply(file: &OwnedFd, attributes: &FileAttributes) -> Result<(), Errno> {
    if attributes.uid.is_some() || attributes.gid.is_some() {
        fchown(file, owner(attributes.uid)?.map(Uid::from_raw), owner(attributes.gid)?.map(Gid::from_raw))?;
    }
    // Which a change of the owner takes bits from.
    if let Some(permissions) = attributes.permissions {
        fchmod(file, Mode::from_raw_mode(permissions & 0o7777))?;
    }
    attributes.modified.as_ref().map_or(Ok(()), |modified| futimens(file, &times(modified)?))
}

/// The same for a symbolic link, which has no permissions.
pub(crate) fn apply_to_link(above: &OwnedFd, name: &[u8], attributes: &FileAttributes) -> Result<(), Errno> {
    if attributes.uid.is_some() || attributes.gid.is_some() {
        let (uid, gid) = (owner(attributes.uid)?.map(Uid::from_raw), owner(attributes.gid)?.map(Gid::from_raw));
        chownat(above, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let modified = attributes.modified.as_ref();
    modified.map_or(Ok(()), |modified| utimensat(above, name, &times(modified)?, AtFlags::SYMLINK_NOFOLLOW))
}

/// (uid_t) -1 would mean "unchanged" to chown(2).
fn owner(id: Option<u32>) -> Result<Option<u32>, Errno> {
    if id == Some(u32::MAX) { Err(Errno::INVAL) } else { Ok(id) }
}

fn times(modified: &FileTime) -> Result<Timestamps, Errno> {
    if modified.nanos >= 1_000_000_000 {
        return Err(Errno::INVAL);
    }
    Ok(Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanos.into() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_more_than_it_may_tell_ends_with_the_file() {
        for ranges in [0, 1, 2, MAX_RANGES - 1, MAX_RANGES, MAX_RANGES + 1, 2 * MAX_RANGES] {
            let size = 10 * ranges as u64;
            let next = |position: u64| Ok((size.min(position + 3), position + 10));
            let mut told = Vec::new();
            runs(size, next, |runs| {
                assert!(runs.len() <= MAP_RUNS);
                told.extend(runs);
                Ok(())
            })
            .unwrap();
            assert_eq!(told.len(), 2 * ranges.min(MAX_RANGES));
            assert!(told.chunks(2).take(MAX_RANGES - 1).all(|run| run == [3, 7]), "{ranges}");
            assert_eq!(told.iter().sum::<u64>(), size);
        }
    }
}
