// SPDX-License-Identifier: Apache-2.0

//! Namespaces that a workload has beside the usual ones, and what its cgroup is set to.

use nacelle_agent::proto::start_failed::Reason;
use nacelle_agent::proto::{
    CgroupSetting, IdMapping, Namespaces, PrepareRequest, ProcessSpec, TimeNamespace, TimeOffset, UserNamespace,
};
use tonic::{Code, Status};

use crate::image::Image;
use crate::support::{Guest, command, prepare_request, shell};

async fn prepared(namespaces: Namespaces) -> Guest {
    let mut guest = Guest::fresh(Image::busybox()).await;
    guest.client.prepare(PrepareRequest { namespaces: Some(namespaces), ..prepare_request() }).await.unwrap();
    guest
}

#[tokio::test]
async fn a_network_of_its_own_has_a_loopback_alone() {
    let guest = prepared(Namespaces { network: true, ..Namespaces::default() }).await;
    let script = "ls /sys/class/net; grep -c : /proc/net/dev; ifconfig lo | grep -o UP; \
                  cat /proc/sys/net/ipv4/ip_unprivileged_port_start; readlink /proc/self/ns/net";
    let text = guest.sh(script).await.text();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let (rest, namespace) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(rest, "lo\n1\nUP\n0");
    assert_ne!(namespace, own.to_str().unwrap());
    let entrypoint = guest.run(ProcessSpec { pid_one: true, ..shell("readlink /proc/self/ns/net") }).await;
    assert_eq!(entrypoint.text().trim_end(), namespace);
}

#[tokio::test]
async fn clocks_are_offset() {
    let monotonic = Some(TimeOffset { seconds: 10_000_000, nanos: 500_000_000 });
    let boottime = Some(TimeOffset { seconds: 20_000_000, nanos: 0 });
    let guest =
        prepared(Namespaces { time: Some(TimeNamespace { monotonic, boottime }), ..Namespaces::default() }).await;
    let script = "cut -d . -f 1 /proc/uptime; tr -s ' ' < /proc/self/timens_offsets";
    for pid_one in [false, true] {
        let text = guest.run(ProcessSpec { pid_one, ..shell(script) }).await.text();
        let (uptime, offsets) = text.split_once('\n').unwrap();
        assert!(uptime.parse::<u64>().unwrap() > 20_000_000, "{text}");
        assert_eq!(offsets, "monotonic 10000000 500000000\nboottime 20000000 0\n");
    }
}

fn mapping(container_id: u32, host_id: u32, size: u32) -> IdMapping {
    IdMapping { container_id, host_id, size }
}

/// Root inside is 0 outside, so that the image's files are its own; others are far away.
fn users() -> Namespaces {
    let mappings = vec![mapping(0, 0, 1), mapping(1, 100_001, 2000)];
    let user = Some(UserNamespace { uid_mappings: mappings.clone(), gid_mappings: mappings });
    Namespaces { user, ..Namespaces::default() }
}

#[tokio::test]
async fn users_are_numbered_anew() {
    let guest = prepared(users()).await;
    let script = "id -u; tr -s ' ' < /proc/self/uid_map; echo x > /dev/stdout; grep CapEff /proc/self/status";
    for pid_one in [false, true] {
        assert_eq!(
            guest.run(ProcessSpec { pid_one, ..shell(script) }).await.text(),
            "0\n 0 0 1\n 1 100001 2000\nx\nCapEff:\t00000000a80425fb\n"
        );
    }
    let app = ProcessSpec {
        user: "app".into(),
        working_directory: "/tmp/made".into(),
        ..shell("id -u; echo x > /dev/stdout; true > file; stat -c %u . file")
    };
    assert_eq!(guest.run(app).await.text(), "1000\nx\n1000\n1000\n");
}

#[tokio::test]
async fn root_inside_has_no_privilege_outside() {
    let guest = prepared(users()).await;
    let script =
        "hostname other; mount -t tmpfs none /mnt; true > /proc/sys/kernel/shmmni; chroot / true && echo chroot";
    let outcome = guest.sh(script).await;
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "chroot\n");
}

#[tokio::test]
async fn a_user_that_is_not_mapped_is_unknown() {
    let guest = prepared(users()).await;
    let failure = guest.run(ProcessSpec { user: "5000".into(), ..command("true") }).await.failure();
    assert_eq!(failure.reason(), Reason::UnknownUser);
    assert_eq!(failure.message, "5000:0 is not mapped in the user namespace");
}

#[tokio::test]
async fn mappings_that_there_are_not_are_refused() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let namespaces = Some(Namespaces { user: Some(UserNamespace::default()), ..Namespaces::default() });
    let status = guest.client.prepare(PrepareRequest { namespaces, ..prepare_request() }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

async fn set(file: &str, value: &str) -> Result<Guest, Status> {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let cgroup_settings = vec![CgroupSetting { file: file.into(), value: value.into() }];
    guest.client.prepare(PrepareRequest { cgroup_settings, ..prepare_request() }).await.map(|_| guest)
}

#[tokio::test]
async fn the_cgroup_is_set_as_the_host_says() {
    // Which needs no controller: the machine that runs these tests need not have any to give.
    let guest = set("cgroup.max.descendants", "500").await.unwrap();
    assert_eq!(guest.sh("cat /sys/fs/cgroup/cgroup.max.descendants").await.text(), "500\n");
}

#[tokio::test]
async fn what_the_kernel_does_not_have_or_refuses_fails_prepare() {
    let message = |refused: Result<Guest, Status>| refused.err().unwrap().message().to_owned();
    let unknown = message(set("nonesuch.max", "1").await);
    assert!(unknown.starts_with("setting nonesuch.max, whose controller this kernel may not have: "), "{unknown}");
    let refused = message(set("cgroup.max.descendants", "many").await);
    assert_eq!(refused, "setting cgroup.max.descendants to 'many': Invalid argument (os error 22)");
    for (file, value) in [("../x", "1"), ("pids", "1"), (".max", "1"), ("pids.max", &*"1".repeat(4097))] {
        assert_eq!(set(file, value).await.err().unwrap().code(), Code::InvalidArgument, "{file}");
    }
}

#[tokio::test]
async fn a_file_is_executed_by_another_name() {
    let guest = Guest::busybox().await;
    let named = ProcessSpec { executable: "/bin/busybox".into(), ..command("cat /etc/hostname") };
    assert_eq!(guest.run(named).await.text(), "nacelle-test\n");
    let missing = ProcessSpec { executable: "/bin/none".into(), ..command("cat") };
    assert_eq!(guest.run(missing).await.failure().message, "/bin/none: No such file or directory (os error 2)");
    let relative = ProcessSpec { executable: "bin/cat".into(), ..command("cat") };
    assert_eq!(guest.try_run(relative).await.unwrap_err().code(), Code::InvalidArgument);
}
