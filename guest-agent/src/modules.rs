// SPDX-License-Identifier: Apache-2.0

//! Kernel modules from the initramfs, in the order that the host worked out.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::system::finit_module;

/// A module that could not be loaded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    path: PathBuf,
    errno: Errno,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loading the module {}: {}", self.path.display(), std::io::Error::from(self.errno))
    }
}

/// What the host listed: one path a line, in the order of loading. Behind an empty line are those that the dial does
/// without.
#[derive(Default)]
pub(crate) struct Modules {
    list: String,
    unreadable: Option<Failure>,
}

/// Reads the list. None means that the kernel needs no modules.
pub(crate) fn listed(list: &Path) -> Modules {
    match fs::read_to_string(list) {
        Ok(list) => Modules { list, unreadable: None },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Modules::default(),
        Err(error) => Modules { list: String::new(), unreadable: Some(failure(list, &error)) },
    }
}

impl Modules {
    /// Returns what failed: a module may be needless on this machine (no such device), and only what comes next can tell.
    pub(crate) fn load_for_the_dial(&self) -> Vec<Failure> {
        self.unreadable.iter().cloned().chain(load_all(self.for_the_dial())).collect()
    }

    /// Likewise.
    pub(crate) fn load_the_rest(&self) -> Vec<Failure> {
        load_all(self.rest()).collect()
    }

    fn for_the_dial(&self) -> impl Iterator<Item = &Path> {
        self.list.lines().take_while(|line| !line.is_empty()).map(Path::new)
    }

    fn rest(&self) -> impl Iterator<Item = &Path> {
        self.list.lines().skip_while(|line| !line.is_empty()).filter(|line| !line.is_empty()).map(Path::new)
    }
}

fn load_all<'a>(paths: impl Iterator<Item = &'a Path>) -> impl Iterator<Item = Failure> {
    paths.filter_map(|path| load(path).err())
}

fn load(path: &Path) -> Result<(), Failure> {
    let file = File::open(path).map_err(|error| failure(path, &error))?;
    match finit_module(&file, c"", 0) {
        // Loaded already, or built into this kernel.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Failure { path: path.into(), errno }),
    }
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure { path: path.into(), errno: Errno::from_io_error(error).unwrap_or(Errno::IO) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(list: &str) -> (Vec<String>, Vec<String>) {
        let modules = Modules { list: list.into(), unreadable: None };
        let names = |paths: &mut dyn Iterator<Item = &Path>| paths.map(|path| path.display().to_string()).collect();
        (names(&mut modules.for_the_dial()), names(&mut modules.rest()))
    }

    #[test]
    fn a_list_is_one_path_a_line_and_an_empty_line_ends_what_the_dial_needs() {
        let (dial, rest) = split("/m/00-virtio.ko\n/m/01-vsock.ko\n\n/m/02-ext4.ko\n");
        assert_eq!(dial, ["/m/00-virtio.ko", "/m/01-vsock.ko"]);
        assert_eq!(rest, ["/m/02-ext4.ko"]);
    }

    #[test]
    fn the_dial_may_need_all_modules_or_none() {
        let (dial, rest) = split("/m/00-virtio.ko\n");
        assert_eq!((dial.len(), rest.len()), (1, 0));
        let (dial, rest) = split("\n/m/00-ext4.ko\n");
        assert_eq!((dial.len(), rest.len()), (0, 1));
    }

    #[test]
    fn no_list_means_no_modules() {
        let modules = listed(Path::new("/nonexistent/modules"));
        assert_eq!(modules.load_for_the_dial(), []);
        assert_eq!(modules.load_the_rest(), []);
    }

    #[test]
    fn a_failure_names_the_module_and_the_error() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("modules");
        fs::write(&list, "/nonexistent/vsock.ko\n").unwrap();
        let failures = listed(&list).load_for_the_dial();
        assert_eq!(failures.len(), 1);
        assert_eq!(
            failures[0].to_string(),
            "loading the module /nonexistent/vsock.ko: No such file or directory (os error 2)"
        );
    }
}
