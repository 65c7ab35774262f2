// SPDX-License-Identifier: Apache-2.0

//! GetInfo and Prepare as calls: what they take, and in which order.

use std::fs;
use std::os::unix::fs::symlink;

use nacelle_agent::proto::root_filesystem::{Disk, Scratch};
use nacelle_agent::proto::{GetInfoRequest, PrepareRequest, RootFilesystem, ScsiDisk, ShutdownRequest, Sysctl};
use tonic::Code;

use crate::image::Image;
use crate::support::{Guest, SERIAL, command, prepare_request, serial};

#[tokio::test]
async fn the_agent_tells_what_it_and_its_kernel_are() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let info = guest.client.get_info(GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.agent_version, env!("CARGO_PKG_VERSION"));
    let kernel = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap().trim().to_owned();
    assert_eq!((info.kernel_release, info.kernel_version), (kernel("osrelease"), kernel("version")));
    assert_eq!(info.kernel_machine, std::env::consts::ARCH);
    assert_eq!(info.cpus as usize, std::thread::available_parallelism().unwrap().get());
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024;
    assert_eq!(info.memory_bytes, total);
    // The contract's, of which a test of the service tells that none is missing.
    let contract = include_str!("../../../proto/src/main/protobuf/nacelle/agent/v1/agent.proto");
    for feature in &info.features {
        assert!(contract.contains(&format!("\n  //   {feature} ")), "{feature}");
    }
    assert!(info.features.iter().any(|feature| feature == "process-list"));
    // At any time, and before everything else.
    assert_eq!(guest.client.get_info(GetInfoRequest {}).await.unwrap().into_inner().features, info.features);
    guest.client.prepare(prepare_request()).await.unwrap();
    guest.client.get_info(GetInfoRequest {}).await.unwrap();
}

#[tokio::test]
async fn prepare_comes_before_processes() {
    let guest = Guest::fresh(Image::busybox()).await;
    let status = guest.try_run(command("true")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "Prepare comes first"));
}

#[tokio::test]
async fn prepare_comes_once() {
    let mut guest = Guest::busybox().await;
    let status = guest.client.prepare(prepare_request()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "Prepare was called before"));
    assert_eq!(guest.sh("echo still here").await.text(), "still here\n");
}

#[tokio::test]
async fn a_root_that_cannot_be_built_is_followed_by_nothing_but_shutdown() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let root = RootFilesystem { disk: serial("nonesuch"), ..RootFilesystem::default() };
    let status = guest.client.prepare(PrepareRequest { root: Some(root), ..prepare_request() }).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let again = guest.client.prepare(prepare_request()).await.unwrap_err();
    let process = guest.try_run(command("true")).await.unwrap_err();
    for status in [again, process] {
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    }
    guest.client.shutdown(ShutdownRequest::default()).await.unwrap();
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn each_step_is_timed() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let request = PrepareRequest { entropy: vec![7; 512].into(), ..prepare_request() };
    let steps = guest.client.prepare(request).await.unwrap().into_inner().steps;
    let names: Vec<_> = steps.iter().map(|step| &*step.name).collect();
    let expected = [
        "clock and entropy",
        "disk",
        "cgroup",
        "namespaces",
        "image",
        "overlay",
        "pivot_root",
        "devices",
        "init",
        "masks",
    ];
    assert_eq!(names, expected);
    assert!(steps.iter().all(|step| step.nanos > 0));
}

/// In its own mount namespace, where the workload is not.
#[tokio::test]
async fn the_agent_keeps_no_devices_and_no_switches() {
    let guest = Guest::busybox().await;
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", guest.agent_pid())).unwrap();
    let options = |target: &str| {
        let mounts = mounts.lines().map(|mount| mount.split(' ').collect::<Vec<_>>());
        mounts.filter(|fields| fields[1] == target).map(|fields| fields[3].to_owned()).last()
    };
    assert_eq!(options("/dev"), None);
    for target in ["/proc", "/sys"] {
        assert!(options(target).is_some_and(|options| options.starts_with("ro,")), "{mounts}");
    }
}

#[tokio::test]
async fn a_request_that_breaks_the_contract_is_not_counted() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let root = |disk: &str, filesystem: &str| {
        Some(RootFilesystem { disk: serial(disk), filesystem: filesystem.into(), ..RootFilesystem::default() })
    };
    let scratch = |serial: &str, writable_bytes| {
        let scratch = Some(Scratch::ScratchSerial(serial.into()));
        Some(RootFilesystem { scratch, writable_bytes, ..prepare_request().root.unwrap() })
    };
    let scsi = |controller: &str, lun| {
        let disk = Some(Disk::DiskScsi(ScsiDisk { controller: controller.into(), lun }));
        Some(RootFilesystem { disk, ..RootFilesystem::default() })
    };
    for request in [
        PrepareRequest { root: None, ..prepare_request() },
        PrepareRequest { root: Some(RootFilesystem::default()), ..prepare_request() },
        PrepareRequest { root: scsi("../../..", 0), ..prepare_request() },
        PrepareRequest { root: scsi("df6d0690-79e5-55b6-a5ec-c1e2f77f580a", 256), ..prepare_request() },
        PrepareRequest { root: root("", ""), ..prepare_request() },
        PrepareRequest { root: root("x".repeat(21).as_str(), ""), ..prepare_request() },
        PrepareRequest { root: root(SERIAL, "ext4,rw"), ..prepare_request() },
        PrepareRequest { root: root(SERIAL, &"x".repeat(33)), ..prepare_request() },
        PrepareRequest { root: scratch(SERIAL, 0), ..prepare_request() },
        PrepareRequest { root: scratch("x".repeat(21).as_str(), 0), ..prepare_request() },
        PrepareRequest { root: scratch("other", 1 << 20), ..prepare_request() },
        PrepareRequest { hostname: "".into(), ..prepare_request() },
        PrepareRequest { hostname: "x".repeat(65), ..prepare_request() },
        PrepareRequest { hostname: "a b\n".into(), ..prepare_request() },
        PrepareRequest { entropy: vec![0; 513].into(), ..prepare_request() },
    ] {
        let status = guest.client.prepare(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    guest.client.prepare(prepare_request()).await.unwrap();
    assert_eq!(guest.sh("echo prepared").await.text(), "prepared\n");
}

#[tokio::test]
async fn an_image_that_cannot_be_mounted_fails_with_the_step_and_the_reason() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let root = RootFilesystem { disk: serial(SERIAL), filesystem: "nonesuchfs".into(), ..RootFilesystem::default() };
    let status = guest.client.prepare(PrepareRequest { root: Some(root), ..prepare_request() }).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let expected =
        format!("mounting the image {} (nonesuchfs): No such device (os error 19)", guest.device().display());
    assert_eq!(status.message(), expected);

    // Nothing but Shutdown may follow.
    assert_eq!(guest.client.prepare(prepare_request()).await.unwrap_err().code(), Code::FailedPrecondition);
    let status = guest.try_run(command("true")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    guest.client.shutdown(ShutdownRequest::default()).await.unwrap();
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn a_link_where_a_mount_point_must_be_is_refused() {
    for name in ["proc", "sys", "dev"] {
        let image = Image::customised(|root| symlink("/etc", root.join(name)).unwrap());
        let mut guest = Guest::fresh(image).await;
        let status = guest.client.prepare(prepare_request()).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), format!("mounting on /{name}: Not a directory (os error 20)"));
    }
}

#[tokio::test]
async fn a_link_in_place_of_etc_is_left_alone() {
    let image = Image::customised(|root| {
        fs::rename(root.join("etc"), root.join("real")).unwrap();
        symlink("/real", root.join("etc")).unwrap();
    });
    let guest = Guest::prepared(image).await;
    assert_eq!(guest.sh("ls -A /etc/; id -u app").await.text(), "group\npasswd\n1000\n");
}

#[tokio::test]
async fn sysctls_hold_in_the_workload_s_namespaces() {
    let sysctl = |name: &str, value: &str| Sysctl { name: name.into(), value: value.into() };
    let shmmni = || fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    let before = shmmni();
    let mut guest = Guest::fresh(Image::busybox()).await;
    let sysctls = vec![
        sysctl("kernel.shmmni", "123"),
        sysctl("kernel.sem", "250\t32000 32 64"),
        sysctl("kernel.domainname", "example.com"),
    ];
    guest.client.prepare(PrepareRequest { sysctls, ..prepare_request() }).await.unwrap();
    let text = guest.sh("cd /proc/sys/kernel; cat shmmni sem domainname").await.text();
    assert_eq!(text, "123\n250\t32000\t32\t64\nexample.com\n");
    assert_eq!(shmmni(), before);
}

#[tokio::test]
async fn a_sysctl_that_the_kernel_refuses_fails_prepare_with_its_name_and_error() {
    for (name, value, message) in [
        ("kernel.shmmni", "many", "setting the sysctl kernel.shmmni to 'many': Invalid argument (os error 22)"),
        (
            "kernel.nope",
            "1",
            "setting the sysctl kernel.nope, which this kernel does not have: No such file or directory (os error 2)",
        ),
    ] {
        let mut guest = Guest::fresh(Image::busybox()).await;
        let sysctls = vec![Sysctl { name: name.into(), value: value.into() }];
        let status = guest.client.prepare(PrepareRequest { sysctls, ..prepare_request() }).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, message));
    }
}
