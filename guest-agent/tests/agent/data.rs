// SPDX-License-Identifier: Apache-2.0

//! Disks beside those of the root.

use std::path::Path;
use std::process::Command;

use nacelle_agent::proto::{
    BindMount, DataDisk, Furnishing, Mount, MountAttributes, PrepareRequest, ShutdownRequest, data_disk, mount::What,
};
use tonic::Code;

use crate::image::{Image, ScratchDisk};
use crate::support::{Guest, prepare_request};

fn disk(serial: &str, destination: &str, read_only: bool, kept: bool) -> DataDisk {
    let disk = Some(data_disk::Disk::Serial(serial.into()));
    DataDisk { disk, destination: destination.into(), read_only, kept }
}

fn state(device: &Path) -> String {
    let output = Command::new("/sbin/dumpe2fs").arg("-h").arg(device).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("Filesystem state:")).unwrap();
    line.split_once(':').unwrap().1.trim().into()
}

#[tokio::test]
async fn disks_are_mounted_where_they_are_to_be_and_left_clean() {
    let (kept, own, read) = (ScratchDisk::new(8 << 20), ScratchDisk::new(8 << 20), ScratchDisk::new(8 << 20));
    let image = Image::customised(|root| {
        // Paths are the container's, whatever links it has.
        std::os::unix::fs::symlink("/../../tmp", root.join("link")).unwrap();
    });
    let mut guest = Guest::fresh(image).await;
    for (disk, serial) in [(&kept, "data-0"), (&own, "data-1"), (&read, "data-2")] {
        guest.attach(&disk.device, serial);
    }
    let data_disks = vec![
        disk("data-0", "/new/kept", false, true),
        disk("data-1", "/link/own", false, false),
        disk("data-2", "/read", true, false),
    ];
    // What the container mounts comes later, and sees them.
    let what = Some(What::Bind(BindMount { source: "/new/kept".into(), recursive: false }));
    let attributes = Some(MountAttributes { set: 0x1, clear: 0 });
    let bind = Mount { destination: "/view".into(), what, attributes, ..Mount::default() };
    let furnishing = Some(Furnishing { mounts: vec![bind], ..Furnishing::default() });
    let steps = guest.client.prepare(PrepareRequest { data_disks, furnishing, ..prepare_request() }).await;
    assert!(steps.unwrap().into_inner().steps.iter().any(|step| step.name == "data disks"));
    let text = guest
        .sh("exec 2> /dev/null; echo one > /new/kept/f; cat /view/f; echo two > /tmp/own/f; touch /view/x /read/x; ls /read; \
             mknod /new/kept/null c 1 3; (echo > /new/kept/null) || echo closed; \
             grep -E ' /(new|tmp|read|view)' /proc/mounts | cut -d ' ' -f 2-4 | sort")
        .await
        .text();
    let (said, mounts) = text.split_once("closed\n").unwrap();
    assert_eq!(said, "one\nlost+found\n");
    let mounts: Vec<_> = mounts.lines().collect();
    for (mount, begins) in mounts.iter().zip([
        "/new/kept ext4 rw,nodev,noatime",
        "/read ext4 ro,nodev,noatime",
        "/tmp/own ext4 rw,nodev,noatime",
        "/view ext4 ro,nodev,noatime",
    ]) {
        assert!(mount.starts_with(begins), "{mount}");
    }
    assert!(mounts[2].contains("nobarrier") && !mounts[0].contains("nobarrier"), "{mounts:?}");
    assert_eq!(state(&kept.device), "not clean");
    let left = guest.start(crate::support::shell("exec 3> /new/kept/open; echo x >&3; exec sleep 1000")).await;
    guest.client.shutdown(ShutdownRequest::default()).await.unwrap();
    assert_eq!(state(&kept.device), "clean");
    drop(left);
    assert!(guest.wait().await.success());
    let checked = Command::new("/sbin/e2fsck").arg("-fn").arg(&kept.device).status().unwrap();
    assert!(checked.success());
}

#[tokio::test]
async fn what_cannot_be_mounted_is_named() {
    let broken = ScratchDisk::new(8 << 20);
    assert!(
        Command::new("dd")
            .args(["if=/dev/zero", "bs=4096", "count=1"])
            .arg(format!("of={}", broken.device.display()))
            .output()
            .unwrap()
            .status
            .success()
    );
    for (data, words) in [
        (disk("broken", "/data", false, false), "mounting ext4 on /data"),
        (disk("broken", "/etc/passwd/data", true, true), "mounting ext4 on /etc/passwd/data"),
    ] {
        let mut guest = Guest::fresh(Image::busybox()).await;
        guest.attach(&broken.device, "broken");
        let request = PrepareRequest { data_disks: vec![data], ..prepare_request() };
        let status = guest.client.prepare(request).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    }
    let mut guest = Guest::fresh(Image::busybox()).await;
    let request = PrepareRequest { data_disks: vec![disk("x", "/proc/x", false, false)], ..prepare_request() };
    assert_eq!(guest.client.prepare(request).await.unwrap_err().code(), Code::InvalidArgument);
}
