// SPDX-License-Identifier: Apache-2.0

//! What a process of the workload finds around it.

use std::fs;
use std::path::Path;
use std::process::Command;

use nacelle_agent::proto::root_filesystem::Scratch;
use nacelle_agent::proto::{PrepareRequest, ProcessSpec, RootFilesystem, Sysctl};

use crate::image::{Image, ScratchDisk};
use crate::support::{Guest, SERIAL, prepare_request, serial, shell};

#[tokio::test]
async fn the_root_is_the_image_and_can_be_written() {
    let guest = Guest::busybox().await;
    assert_eq!(
        guest.sh("ls /; cat /etc/group; echo x > /new; echo y >> /etc/group; tail -n 1 /etc/group /new").await.text(),
        "bin\ndev\netc\nhome\nlost+found\nproc\nroot\nsys\ntmp\n\
         root:x:0:\napp:x:1000:\naudio:x:29:app\n\
         ==> /etc/group <==\ny\n\n==> /new <==\nx\n"
    );
}

#[tokio::test]
async fn an_empty_image_is_furnished() {
    let image = Image::customised(|root| {
        for name in ["etc", "home", "root", "tmp"] {
            fs::remove_dir_all(root.join(name)).unwrap();
        }
    });
    let guest = Guest::prepared(image).await;
    assert_eq!(
        guest.sh("ls -d /dev /etc /proc /sys; hostname").await.text(),
        "/dev\n/etc\n/proc\n/sys\nnacelle-test\n"
    );
}

#[tokio::test]
async fn the_host_s_name_is_everywhere() {
    let guest = Guest::busybox().await;
    let text = guest.sh("hostname; cat /etc/hostname /etc/hosts").await.text();
    assert_eq!(
        text,
        "nacelle-test\nnacelle-test\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tnacelle-test\n"
    );
}

#[tokio::test]
async fn files_that_are_whoever_runs_the_image_s_are_not_the_image_s() {
    let image = Image::customised(|root| {
        fs::write(root.join("etc/resolv.conf"), "nameserver 10.1.2.3\n").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("etc/hosts")).unwrap();
    });
    let guest = Guest::prepared(image).await;
    let text = guest.sh("grep -c nameserver /etc/resolv.conf; head -n 1 /etc/passwd; readlink /etc/mtab").await;
    assert_eq!(String::from_utf8_lossy(&text.stdout), "0\nroot:x:0:0:root:/root:/bin/sh\n/proc/mounts\n");
    let own = Image::customised(|root| fs::write(root.join("etc/mtab"), "own\n").unwrap());
    assert_eq!(Guest::prepared(own).await.sh("cat /etc/mtab").await.text(), "own\n");
}

#[tokio::test]
async fn the_root_has_the_image_s_owner_and_mode() {
    let image = Image::busybox();
    for change in ["set_inode_field / uid 7", "set_inode_field / mode 041751"] {
        let changed = Command::new("/sbin/debugfs").args(["-w", "-R", change]).arg(image.file()).output();
        assert!(changed.unwrap().status.success());
    }
    let guest = Guest::prepared(image).await;
    assert_eq!(guest.sh("stat -c '%u %a' /").await.text(), "7 1751\n");
}

#[tokio::test]
async fn only_the_workload_s_processes_are_visible() {
    let guest = Guest::busybox().await;
    let text =
        guest.sh("echo /proc/[0-9]*; cat /proc/1/comm; ls /proc/1/fd/; cat /proc/1/fd/0; exec cat /proc/1/exe").await;
    let started = text.started.unwrap();
    assert_eq!(String::from_utf8_lossy(&text.stdout), format!("/proc/1 /proc/{}\ninit\n0\n", started.pid));
    // Not even root may look into the init, a copy of the agent, or get hold of what it has open.
    assert_eq!(
        String::from_utf8_lossy(&text.stderr),
        "cat: can't open '/proc/1/fd/0': Permission denied\ncat: can't open '/proc/1/exe': Permission denied\n"
    );
}

#[tokio::test]
async fn only_the_workload_s_mounts_are_visible() {
    let guest = Guest::busybox().await;
    let text = guest.sh("cut -d ' ' -f 1-3 /proc/mounts").await.text();
    // Device files are mounted on themselves.
    let devices = ["null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun"];
    let is_device = |mount: &&str| devices.iter().any(|name| *mount == format!("tmpfs /dev/{name} tmpfs"));
    let mounts: Vec<_> = text.lines().filter(|mount| !is_device(mount)).collect();
    let expected = [
        "overlay / overlay",
        "tmpfs /dev tmpfs",
        "devpts /dev/pts devpts",
        "tmpfs /dev/shm tmpfs",
        "mqueue /dev/mqueue mqueue",
        "sysfs /sys sysfs",
        "proc /proc proc",
        "cgroup2 /sys/fs/cgroup cgroup2",
    ];
    assert_eq!(mounts[..expected.len()], expected);
    // What follows are masks.
    assert!(
        mounts[expected.len()..].iter().all(|mount| mount.contains(" /proc/") || mount.contains(" /sys/")),
        "{text}"
    );
}

#[tokio::test]
async fn the_machine_cannot_be_switched_by_accident() {
    let guest = Guest::busybox().await;
    for refused in [
        "echo b > /proc/sysrq-trigger",
        "echo 1 > /proc/sys/kernel/panic",
        "echo '|/bin/sh' > /proc/sys/kernel/core_pattern",
        "echo /bin/sh > /sys/kernel/uevent_helper",
        "mount -t binfmt_misc none /mnt",
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /sys",
        "umount /proc",
        "hostname other",
        "mkdir /sys/fs/cgroup/x",
        "head -c 1 /proc/kcore | grep -q .",
    ] {
        assert_eq!(
            guest.sh(&format!("mkdir -p /mnt; ({refused}) 2> /dev/null && echo done")).await.stdout,
            b"",
            "{refused}"
        );
    }
}

#[tokio::test]
async fn drivers_that_the_kernel_has_are_there_for_everybody() {
    let guest = Guest::busybox().await;
    for (name, number) in [("fuse", "a:e5"), ("net/tun", "a:c8")] {
        let outcome = guest.sh(&format!("stat -c '%a %t:%T' /dev/{name}")).await;
        if Path::new("/dev").join(name).exists() {
            assert_eq!(outcome.text(), format!("666 {number}\n"));
        } else {
            assert_ne!(outcome.code(), Some(0));
        }
    }
}

#[tokio::test]
async fn devices_work() {
    let guest = Guest::busybox().await;
    let script = "head -c 4 /dev/zero | od -An -tx1; head -c 9 /dev/urandom | wc -c; echo x > /dev/null; \
                  (echo x > /dev/full) 2>&1 | grep -o 'No space.*'; test -c /dev/ptmx && test -c /dev/tty; \
                  echo shared > /dev/shm/file; cat /dev/shm/file; ls -A /dev/mqueue; echo out > /dev/stdout";
    assert_eq!(guest.sh(script).await.text(), " 00 00 00 00\n9\nNo space left on device\nshared\nout\n");
}

#[tokio::test]
async fn only_the_agent_s_device_files_work() {
    // As of the image, and of root itself.
    let image = Image::customised(|root| {
        let made = Command::new("mknod").args(["-m", "666"]).arg(root.join("zero")).args(["c", "1", "5"]).status();
        assert!(made.unwrap().success());
    });
    let guest = Guest::prepared(image).await;
    assert_eq!(guest.sh("mknod /made c 1 5; mknod /dev/made c 1 5; mknod /dev/shm/made c 1 5").await.text(), "");
    for device in ["/zero", "/made", "/dev/made", "/dev/shm/made"] {
        let outcome = guest.sh(&format!("head -c 1 {device}")).await;
        let message = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert_eq!((outcome.code(), message), (Some(1), format!("head: {device}: Permission denied\n")));
    }
}

#[tokio::test]
async fn a_process_inherits_nothing_of_the_agent() {
    let guest = Guest::busybox().await;
    let script = "ls /proc/self/fd; grep -E 'Sig(Blk|Ign|Cgt)|NoNewPrivs' /proc/self/status; umask; cat /proc/self/oom_score_adj";
    assert_eq!(
        guest.sh(script).await.text(),
        "0\n1\n2\n3\n\
         SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\nNoNewPrivs:\t0\n\
         0022\n0\n"
    );
}

#[tokio::test]
async fn root_has_docker_s_default_capabilities() {
    let guest = Guest::busybox().await;
    let script = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | tr -d '\\t\\n'";
    let root = "CapInh:0000000000000000CapPrm:00000000a80425fbCapEff:00000000a80425fbCapBnd:00000000a80425fbCapAmb:0000000000000000";
    assert_eq!(guest.sh(script).await.text(), root);
    let user = root.replacen("a80425fb", "00000000", 2);
    assert_eq!(guest.run(ProcessSpec { user: "app".into(), ..shell(script) }).await.text(), user);
}

#[tokio::test]
async fn each_process_has_a_cgroup_and_sees_no_further() {
    let guest = Guest::busybox().await;
    let outcome = guest
        .sh("cat /proc/self/cgroup | tail -n 1; cat /proc/1/cgroup | tail -n 1; ls -d /sys/fs/cgroup/cgroup.procs")
        .await;
    let id = outcome.started.unwrap().process_id;
    assert_eq!(outcome.text(), format!("0::/{id}\n0::/init\n/sys/fs/cgroup/cgroup.procs\n"));
}

#[tokio::test]
async fn the_writable_layer_has_its_limit() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let root = RootFilesystem { disk: serial(SERIAL), writable_bytes: 1 << 20, ..RootFilesystem::default() };
    guest.client.prepare(PrepareRequest { root: Some(root), ..prepare_request() }).await.unwrap();
    let outcome = guest.sh("head -c 900000 /dev/zero > /fits && cat /fits > /not").await;
    assert_eq!(outcome.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&outcome.stderr), "cat: write error: No space left on device\n");
}

#[tokio::test]
async fn shared_memory_has_its_limit() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let request = PrepareRequest { shared_memory_bytes: 1 << 20, ..prepare_request() };
    guest.client.prepare(request).await.unwrap();
    let outcome = guest.sh("head -c 900000 /dev/zero > /dev/shm/fits && cat /dev/shm/fits > /dev/shm/not").await;
    assert_eq!(outcome.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&outcome.stderr), "cat: write error: No space left on device\n");
    // Docker's default, where there is room.
    assert_eq!(Guest::busybox().await.sh("df -k /dev/shm | awk 'END { print $2 }'").await.text(), "65536\n");
}

/// Nothing but a limit helps against what stays when its processes have ended.
#[tokio::test]
async fn system_v_shared_memory_is_limited_to_an_eighth_unless_the_caller_says_otherwise() {
    // The workload's is nearly all of the memory, whose pages of 4 KiB are asked for.
    let script = "awk '/^MemTotal/ { total = $2 / 4 } END { getline pages < \"/proc/sys/kernel/shmall\";
        print (pages > 0 && pages <= total / 8) }' /proc/meminfo";
    assert_eq!(Guest::busybox().await.sh(script).await.text(), "1\n");

    let mut guest = Guest::fresh(Image::busybox()).await;
    let sysctl = Sysctl { name: "kernel.shmall".into(), value: "12345".into() };
    guest.client.prepare(PrepareRequest { sysctls: vec![sysctl], ..prepare_request() }).await.unwrap();
    assert_eq!(guest.sh("cat /proc/sys/kernel/shmall").await.text(), "12345\n");
}

/// Which take none of the space, and memory of the kernel's all the same.
#[tokio::test]
async fn empty_files_in_memory_have_a_limit() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let root = RootFilesystem { disk: serial(SERIAL), writable_bytes: 4 << 20, ..RootFilesystem::default() };
    let request = PrepareRequest { root: Some(root), shared_memory_bytes: 1 << 20, ..prepare_request() };
    guest.client.prepare(request).await.unwrap();
    for (directory, most) in [("/dev/shm", 128), ("/dev", 128), ("/", 512)] {
        let script = format!(
            "cd {directory}; i=0; while true > file$i; do i=$((i+1)); done 2> /error; cat /error; rm file*; echo $i"
        );
        let text = guest.sh(&script).await.text();
        let (error, count) = text.trim_end().rsplit_once('\n').unwrap();
        assert!(error.ends_with("No space left on device"), "{directory}: {text}");
        let count: u32 = count.parse().unwrap();
        assert!((most / 2..=most).contains(&count), "{directory}: {text}");
    }
}

#[tokio::test]
async fn the_writable_layer_may_be_on_a_disk() {
    let disk = ScratchDisk::new(32 << 20);
    let mut guest = Guest::fresh(Image::busybox()).await;
    guest.attach(&disk.device, "scratch");
    let root =
        RootFilesystem { scratch: Some(Scratch::ScratchSerial("scratch".into())), ..prepare_request().root.unwrap() };
    let answer = guest.client.prepare(PrepareRequest { root: Some(root), ..prepare_request() }).await;
    assert!(answer.unwrap().into_inner().steps.iter().any(|step| step.name == "scratch"));
    assert_eq!(guest.sh("echo new > /etc/group && cat /etc/group && ls /").await.text().lines().next(), Some("new"));

    let outcome = guest.sh("head -c 24000000 /dev/zero > /fits && cat /fits > /not").await;
    assert_eq!(outcome.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&outcome.stderr),
        "cat: write error: No space left on device
"
    );
    assert_eq!(
        guest.sh("rm /fits /not && mkdir -p /tmp/a/b && mv /tmp/a /root && ls /root").await.text(),
        "a
"
    );
}

#[tokio::test]
async fn orphans_are_reaped() {
    let guest = Guest::busybox().await;
    // Each inner shell leaves a child behind; the init inherits it.
    let script = "i=0; while [ $i -lt 50 ]; do (true &); i=$((i+1)); done; \
                  left() { set -- /proc/[0-9]*; [ $# -gt 2 ]; }; while left; do :; done; echo clean";
    assert_eq!(guest.sh(script).await.text(), "clean\n");
}
