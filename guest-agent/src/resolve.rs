// SPDX-License-Identifier: Apache-2.0

//! Paths in a root directory that others change at will: none leads out of it, and none through the links of /proc that
//! name what a process has open.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::{Errno, Result};

/// MAXSYMLINKS of the kernel.
const MAX_LINKS: usize = 40;
/// Attempts where others rename what is above: openat2(2), EAGAIN.
const ATTEMPTS: usize = 16;
const PATH: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory that paths are resolved in.
pub(crate) struct Root {
    directory: OwnedFd,
    has_openat2: Cell<bool>,
}

impl Root {
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory, has_openat2: Cell::new(true) }
    }

    /// Opens a path as open(2) would with this root.
    pub(crate) fn open(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if self.has_openat2.get() {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..ATTEMPTS {
                match openat2(&self.directory, path, flags, mode, resolve) {
                    Err(Errno::AGAIN) => {}
                    // Before Linux 5.6.
                    Err(Errno::NOSYS) => {
                        self.has_openat2.set(false);
                        break;
                    }
                    opened => return opened,
                }
            }
        }
        self.walk(path, flags, mode)
    }

    /// Opens the directory of a path, and tells the name in it.
    pub(crate) fn parent<'a>(&self, path: &'a [u8]) -> Result<(OwnedFd, &'a [u8])> {
        let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        let start = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let name = &path[start..end];
        match name {
            // Directories that cannot be moved, removed or made.
            b"" | b"." | b".." => Err(Errno::BUSY),
            _ => {
                let above = if start == 0 { b"/" } else { &path[..start] };
                Ok((self.open(above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?, name))
            }
        }
    }

    /// The same one component after the other, following links by their text.
    fn walk(&self, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        // Below the root; ".." goes back in it, whatever became of the directories meanwhile.
        let mut above: Vec<OwnedFd> = Vec::new();
        let mut rest = Vec::new();
        push(&mut rest, path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let at = above.last().map_or(self.directory.as_fd(), OwnedFd::as_fd);
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    above.pop();
                    continue;
                }
                _ => {}
            }
            let last = rest.is_empty();
            let found = match openat(at, &*name, PATH, Mode::empty()) {
                Err(Errno::NOENT) if last && flags.contains(OFlags::CREATE) => {
                    return openat(at, &*name, flags | OFlags::NOFOLLOW, mode);
                }
                found => found?,
            };
            let kind = FileType::from_raw_mode(fstat(&found)?.st_mode);
            let follows = !last || !flags.intersects(OFlags::NOFOLLOW | OFlags::EXCL);
            match kind {
                FileType::Symlink if follows => {
                    links += 1;
                    let target = readlinkat(&found, c"", Vec::new())?.into_bytes();
                    if links > MAX_LINKS || target.is_empty() {
                        return Err(Errno::LOOP);
                    }
                    if target.starts_with(b"/") {
                        above.clear();
                    }
                    push(&mut rest, &target);
                }
                _ if last => return openat(at, &*name, flags | OFlags::NOFOLLOW, mode),
                FileType::Directory => above.push(found),
                _ => return Err(Errno::NOTDIR),
            }
        }
        let at = above.last().map_or(self.directory.as_fd(), OwnedFd::as_fd);
        reopen(at, flags, mode)
    }
}

/// A directory that was named by what is above or below it.
fn reopen(directory: BorrowedFd<'_>, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    if flags.contains(OFlags::CREATE) {
        return Err(if flags.contains(OFlags::EXCL) { Errno::EXIST } else { Errno::ISDIR });
    }
    openat(directory, c".", flags, mode)
}

/// Puts components before those that are to come, the first at the end.
fn push(rest: &mut Vec<Vec<u8>>, path: &[u8]) {
    let is_last = rest.is_empty();
    let mut components: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    // A slash at the end wants a directory, which "." makes sure of.
    match components.last_mut() {
        Some(last) if last.is_empty() && is_last => *last = b".",
        _ => {}
    }
    rest.extend(components.into_iter().rev().filter(|name| !name.is_empty()).map(<[u8]>::to_vec));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;
    use rustix::fs::CWD;
    use tempfile::TempDir;

    use super::*;

    /// A root with a secret beside it.
    fn world() -> (TempDir, Root, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::write(directory.path().join("secret"), "secret").unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("file"), "file").unwrap();
        fs::write(root.join("a/b/file"), "deep").unwrap();
        for (target, link) in [
            ("/a", "absolute"),
            ("a/b", "relative"),
            ("../secret", "out"),
            ("/../../secret", "further"),
            ("../../secret", "a/out"),
            ("loop", "loop"),
            ("missing", "dangling"),
            ("../../file", "a/b/up"),
            ("/proc/self/root", "magic"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(directory.path().join("secret"), root.join("real")).unwrap();
        let open = || openat(CWD, &root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let (by_kernel, by_walk) = (Root::new(open()), Root::new(open()));
        by_walk.has_openat2.set(false);
        (directory, by_kernel, by_walk)
    }

    fn read(root: &Root, path: &str) -> Result<String> {
        let file = root.open(path.as_bytes(), OFlags::RDONLY, Mode::empty())?;
        std::io::read_to_string(fs::File::from(file)).map_err(|error| Errno::from_io_error(&error).unwrap())
    }

    #[test]
    fn no_path_and_no_link_leads_out_on_any_kernel() {
        let (_directory, by_kernel, by_walk) = world();
        for (path, expected) in [
            ("/file", Ok("file")),
            ("file", Ok("file")),
            ("//a/./b//file", Ok("deep")),
            ("/absolute/b/file", Ok("deep")),
            ("/relative/file", Ok("deep")),
            ("/relative/../b/file", Ok("deep")),
            ("/relative/up", Ok("file")),
            ("/../../file", Ok("file")),
            ("/a/../../../file", Ok("file")),
            ("/out", Err(Errno::NOENT)),
            ("/further", Err(Errno::NOENT)),
            ("/a/out", Err(Errno::NOENT)),
            ("/real", Err(Errno::NOENT)),
            ("/../secret", Err(Errno::NOENT)),
            ("/loop", Err(Errno::LOOP)),
            ("/dangling", Err(Errno::NOENT)),
            ("/file/", Err(Errno::NOTDIR)),
            ("/file/x", Err(Errno::NOTDIR)),
            ("/magic", Err(Errno::NOENT)),
            ("/", Err(Errno::ISDIR)),
            ("/a/b/..", Err(Errno::ISDIR)),
        ] {
            for (root, how) in [(&by_kernel, "openat2"), (&by_walk, "walk")] {
                assert_eq!(read(root, path).as_deref().map_err(|errno| *errno), expected, "{path} by {how}");
            }
        }
    }

    #[test]
    fn files_are_created_where_links_lead_and_not_outside() {
        let (directory, by_kernel, by_walk) = world();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        for (root, name) in [(&by_kernel, "one"), (&by_walk, "two")] {
            root.open(format!("/relative/{name}").as_bytes(), flags, Mode::RUSR).unwrap();
            assert!(directory.path().join("root/a/b").join(name).exists());
            root.open(b"/dangling", flags, Mode::RUSR).unwrap();
            fs::remove_file(directory.path().join("root/missing")).unwrap();
            root.open(b"/further", flags, Mode::RUSR).unwrap();
            fs::remove_file(directory.path().join("root/secret")).unwrap();
            let exclusive = flags | OFlags::EXCL;
            assert_eq!(root.open(b"/dangling", exclusive, Mode::RUSR).unwrap_err(), Errno::EXIST);
            assert_eq!(root.open(b"/a", flags, Mode::RUSR).unwrap_err(), Errno::ISDIR);
        }
        assert_eq!(fs::read(directory.path().join("secret")).unwrap(), b"secret");
    }

    /// As open files of a process, which lead out of any root.
    #[test]
    fn links_of_proc_to_open_files_are_not_followed() {
        let proc = || openat(CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let (by_kernel, by_walk) = (Root::new(proc()), Root::new(proc()));
        by_walk.has_openat2.set(false);
        for path in ["/self/root/etc", "/self/cwd", "/self/exe", "/self/fd/0"] {
            for root in [&by_kernel, &by_walk] {
                let opened = root.open(path.as_bytes(), OFlags::PATH, Mode::empty());
                assert!(matches!(opened, Err(Errno::LOOP | Errno::NOENT)), "{path}: {opened:?}");
            }
        }
    }

    #[test]
    fn a_path_is_split_before_its_last_name() {
        let (_directory, root, _) = world();
        for (path, name) in [("/a/b", "b"), ("/file", "file"), ("/a/b/", "b"), ("//x//", "x"), ("name", "name")] {
            assert_eq!(root.parent(path.as_bytes()).unwrap().1, name.as_bytes(), "{path}");
        }
        for path in ["/", "", "//", "/a/.", "/a/..", ".."] {
            assert_eq!(root.parent(path.as_bytes()).unwrap_err(), Errno::BUSY, "{path}");
        }
    }

    proptest! {
        /// Of all that can be composed of what is there.
        #[test]
        fn both_ways_agree(
            parts in proptest::collection::vec(
                prop::sample::select(vec![
                    "a", "b", "file", "..", ".", "", "absolute", "relative", "out", "up", "loop", "further", "real", "x",
                ]),
                1..8,
            ),
        ) {
            let (_directory, by_kernel, by_walk) = world();
            let path = parts.join("/");
            prop_assume!(!path.is_empty());
            let (one, two) = (read(&by_kernel, &path), read(&by_walk, &path));
            prop_assert!(one.as_deref() != Ok("secret") && two.as_deref() != Ok("secret"));
            prop_assert_eq!(one, two, "{}", path);
        }
    }
}
