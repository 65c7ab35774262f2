// SPDX-License-Identifier: Apache-2.0

//! Filesystem images for the workload, each on a loop device.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:\napp:x:1000:\naudio:x:29:app\n";

/// An ext4 image on a read-only loop device, which goes when it is dropped.
pub struct Image {
    pub device: PathBuf,
    directory: TempDir,
}

impl Image {
    /// An image with busybox and two users.
    pub fn busybox() -> Self {
        Self::customised(|_| {})
    }

    /// The same, changed by `change`, which gets the directory that becomes the root.
    pub fn customised(change: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        for name in ["bin", "etc", "home/app", "root", "tmp"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox"))
            .expect("these tests need Debian's busybox-static (.ci/install-packages)");
        for applet in output(Command::new("/bin/busybox").arg("--list")).lines().filter(|name| *name != "busybox") {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("etc/passwd"), PASSWD).unwrap();
        fs::write(root.join("etc/group"), GROUP).unwrap();
        change(&root);

        let file = directory.path().join("image");
        fs::File::create(&file).unwrap().set_len(16 << 20).unwrap();
        output(Command::new("/sbin/mkfs.ext4").args(["-q", "-F", "-O", "^has_journal", "-d"]).arg(&root).arg(&file));
        let device = output(Command::new("/sbin/losetup").args(["--find", "--show", "--read-only"]).arg(&file));
        Self { device: device.trim().into(), directory }
    }

    /// The image itself.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("image")
    }
}

/// An empty ext4 filesystem on a writable loop device, which goes when it is dropped.
pub struct ScratchDisk {
    pub device: PathBuf,
    _directory: TempDir,
}

impl ScratchDisk {
    pub fn new(bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("disk");
        fs::File::create(&file).unwrap().set_len(bytes).unwrap();
        output(Command::new("/sbin/mkfs.ext4").args(["-q", "-F", "-m", "0", "-O", "^has_journal"]).arg(&file));
        let device = output(Command::new("/sbin/losetup").args(["--find", "--show"]).arg(&file));
        Self { device: device.trim().into(), _directory: directory }
    }
}

impl Drop for ScratchDisk {
    fn drop(&mut self) {
        detach(&self.device);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        detach(&self.device);
    }
}

fn detach(device: &Path) {
    // Takes effect when the last mount is gone.
    let _ = Command::new("/sbin/losetup").arg("--detach").arg(device).status();
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
