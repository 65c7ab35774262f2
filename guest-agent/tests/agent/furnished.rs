// SPDX-License-Identifier: Apache-2.0

//! A root that is furnished as the host asks for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use nacelle_agent::proto::device::Type;
use nacelle_agent::proto::mount::What;
use nacelle_agent::proto::{
    BindMount, Device, Filesystem, Furnishing, IdMapping, Mount, MountAttributes, MountIds, MountPropagation, Paths,
    PrepareRequest, ProcessSpec, Remount,
};
use tonic::Code;

use crate::image::Image;
use crate::support::{Guest, prepare_request, shell};

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;

async fn prepared(image: Image, furnishing: Furnishing) -> Guest {
    let mut guest = Guest::fresh(image).await;
    guest.client.prepare(PrepareRequest { furnishing: Some(furnishing), ..prepare_request() }).await.unwrap();
    guest
}

async fn refused(image: Image, furnishing: Furnishing) -> String {
    let mut guest = Guest::fresh(image).await;
    let request = PrepareRequest { furnishing: Some(furnishing), ..prepare_request() };
    let status = guest.client.prepare(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    status.message().into()
}

fn set(set: u64) -> Option<MountAttributes> {
    Some(MountAttributes { set, clear: 0 })
}

fn new(destination: &str, filesystem: &str, parameters: &[&str]) -> Mount {
    let parameters = parameters.iter().map(|&parameter| parameter.into()).collect();
    let what = Filesystem { r#type: filesystem.into(), source: "none".into(), parameters, ..Filesystem::default() };
    Mount { destination: destination.into(), what: Some(What::Filesystem(what)), ..Mount::default() }
}

/// The same with something else in it.
fn new_with(mount: Mount, change: impl FnOnce(&mut Filesystem)) -> Mount {
    let Some(What::Filesystem(mut filesystem)) = mount.what else { panic!("no new filesystem: {mount:?}") };
    change(&mut filesystem);
    Mount { what: Some(What::Filesystem(filesystem)), ..mount }
}

fn bind(source: &str, destination: &str) -> Mount {
    let what = What::Bind(BindMount { source: source.into(), recursive: false });
    Mount { destination: destination.into(), what: Some(what), ..Mount::default() }
}

fn mounts(mounts: Vec<Mount>) -> Furnishing {
    Furnishing { mounts, ..Furnishing::default() }
}

fn mounted(destination: &str) -> String {
    // Without what depends on how a kernel was built.
    format!(
        "awk '$2 == \"{destination}\" {{ line = $3 \" \" $4 }} END {{ print line }}' /proc/mounts |
         sed 's/,\\(inode64\\|nsdelegate\\|memory_recursiveprot\\)//g'"
    )
}

#[tokio::test]
async fn a_new_filesystem_is_mounted_where_the_image_has_nothing() {
    let tmpfs = Mount { attributes: set(NOSUID | NOEXEC), ..new("/srv/a/b", "tmpfs", &["size=64k", "mode=0750"]) };
    let guest = prepared(Image::busybox(), mounts(vec![tmpfs])).await;
    let script = format!("{}; stat -c %a /srv /srv/a/b; echo x > /srv/a/b/file", mounted("/srv/a/b"));
    assert_eq!(guest.sh(&script).await.text(), "tmpfs rw,nosuid,nodev,noexec,relatime,size=64k,mode=750\n755\n750\n");
}

#[tokio::test]
async fn what_the_kernel_says_of_a_parameter_is_told() {
    let message = refused(Image::busybox(), mounts(vec![new("/x", "tmpfs", &["colour=red"])])).await;
    assert!(message.starts_with("mounting tmpfs on /x: colour=red: tmpfs: Unknown parameter 'colour'"), "{message}");
    let message = refused(Image::busybox(), mounts(vec![new("/x", "nonesuchfs", &[])])).await;
    assert_eq!(message, "mounting on /x: this kernel has no filesystem 'nonesuchfs': No such device (os error 19)");
}

#[tokio::test]
async fn a_link_of_the_image_stays_below_the_root() {
    let image = Image::customised(|root| symlink("/../../home", root.join("link")).unwrap());
    let guest = prepared(image, mounts(vec![new("/link/x", "tmpfs", &["size=4k"])])).await;
    assert!(guest.sh(&mounted("/home/x")).await.text().starts_with("tmpfs rw,nodev,relatime,size=4k"));
}

#[tokio::test]
async fn no_link_of_proc_is_followed() {
    for link in ["/proc/1/root", "/proc/1/cwd", "/proc/1/fd/0"] {
        let image = || Image::customised(|root| symlink(link, root.join("evil")).unwrap());
        for mount in [new("/evil/x", "tmpfs", &[]), bind("/evil", "/mnt")] {
            let message = refused(image(), mounts(vec![mount])).await;
            assert!(message.ends_with("Too many levels of symbolic links (os error 40)"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_bind_mount_shows_a_directory_or_a_file_once_more() {
    let directory = Mount { attributes: set(RDONLY), ..bind("/home", "/data/home") };
    let guest = prepared(Image::busybox(), mounts(vec![directory, bind("/etc/group", "/data/group")])).await;
    let script = "ls /data/home; (true > /data/home/x) 2>&1; true > /home/x && ls /data/home; \
                  echo new > /data/group; cat /etc/group";
    assert_eq!(
        guest.sh(script).await.text(),
        "app\nsh: can't create /data/home/x: Read-only file system\napp\nx\nnew\n"
    );
}

#[tokio::test]
async fn mounts_come_one_after_the_other() {
    let view = What::Bind(BindMount { source: "/a".into(), recursive: true });
    let recursive =
        Mount { destination: "/all".into(), what: Some(view), recursive_attributes: set(RDONLY), ..Mount::default() };
    let list = vec![new("/a", "tmpfs", &[]), new("/a/b", "tmpfs", &[]), bind("/a", "/one"), recursive];
    let guest = prepared(Image::busybox(), mounts(list)).await;
    let script = "true > /a/b/inner; ls /all/b; ls /one/b; (true > /all/b/x) 2>&1; true > /one/b/x && echo written";
    assert_eq!(guest.sh(script).await.text(), "inner\nsh: can't create /all/b/x: Read-only file system\nwritten\n");
}

#[tokio::test]
async fn what_is_mounted_can_be_changed() {
    let remount = Mount {
        destination: "/data".into(),
        what: Some(What::Remount(Remount::default())),
        attributes: set(RDONLY),
        propagation: MountPropagation::Unbindable.into(),
        ..Mount::default()
    };
    let guest = prepared(Image::busybox(), mounts(vec![new("/data", "tmpfs", &[]), remount])).await;
    assert!(guest.sh(&mounted("/data")).await.text().starts_with("tmpfs ro,nodev"));
    assert!(guest.sh("grep ' /data ' /proc/self/mountinfo").await.text().contains(" unbindable "));
}

/// Linux 6.18 has no unbindable mount in a copy of a mount namespace, which an entrypoint has.
#[tokio::test]
async fn what_is_unbindable_is_so_for_an_entrypoint() {
    let mount = Mount { propagation: MountPropagation::Unbindable.into(), ..new("/a b", "tmpfs", &[]) };
    let furnishing = Furnishing {
        root_propagation: MountPropagation::Unbindable.into(),
        ..mounts(vec![mount, new("/data", "tmpfs", &[])])
    };
    let guest = prepared(Image::busybox(), furnishing).await;
    let list = "grep ' unbindable ' /proc/self/mountinfo | cut -d ' ' -f 5";
    for pid_one in [true, false] {
        let outcome = guest.run(ProcessSpec { pid_one, ..shell(list) }).await;
        assert_eq!(outcome.text(), "/\n/a\\040b\n");
    }
}

#[tokio::test]
async fn a_filesystem_s_own_parameters_can_be_changed_where_it_is_mounted() {
    let remount = |parameters: &[&str]| {
        let parameters = parameters.iter().map(|&parameter| parameter.into()).collect();
        let what = Some(What::Remount(Remount { parameters }));
        Mount { destination: "/data".into(), what, ..Mount::default() }
    };
    let guest =
        prepared(Image::busybox(), mounts(vec![new("/data", "tmpfs", &["size=64k"]), remount(&["size=8k"])])).await;
    assert_eq!(guest.sh(&mounted("/data")).await.text(), "tmpfs rw,nodev,relatime,size=8k\n");
    let list = vec![new("/data", "tmpfs", &[]), remount(&["colour=red"])];
    let message = refused(Image::busybox(), mounts(list)).await;
    assert!(message.starts_with("remounting /data: colour=red: tmpfs: Unknown parameter 'colour'"), "{message}");
}

fn numbered(mount: Mount) -> Mount {
    let mapping = IdMapping { container_id: 0, host_id: 5000, size: 2000 };
    let ids = MountIds { uid_mappings: vec![mapping.clone()], gid_mappings: vec![mapping], recursive: true };
    Mount { ids: Some(ids), ..mount }
}

#[tokio::test]
async fn owners_are_numbered_anew_by_a_mount() {
    let shared = numbered(new("/dev/shm", "tmpfs", &["uid=7", "gid=8", "mode=700"]));
    let view = bind("/dev/shm", "/same");
    let outside = numbered(bind("/data", "/all"));
    let list = vec![shared, view, new("/data", "tmpfs", &["uid=9", "mode=1777"]), outside];
    let guest = prepared(Image::busybox(), mounts(list)).await;
    let owners =
        guest.sh("stat -c %u:%g /dev/shm /same /data /all; (true > /all/unmapped) 2> /dev/null || echo no").await;
    assert_eq!(owners.text(), "5007:5008\n5007:5008\n9:0\n5009:5000\nno\n");
    let made =
        ProcessSpec { user: "5003:5004".into(), ..shell("true > /all/file && stat -c %u:%g /data/file /all/file") };
    assert_eq!(guest.run(made).await.text(), "3:4\n5003:5004\n");
}

#[tokio::test]
async fn a_filesystem_that_cannot_number_owners_anew_is_named() {
    for mount in [numbered(new("/p", "proc", &[])), numbered(bind("/home", "/p"))] {
        let message = refused(Image::busybox(), mounts(vec![mount])).await;
        assert_eq!(
            message,
            "numbering the owners on /p: with this kernel its filesystem does not have that: Invalid argument (os error 22)"
        );
    }
}

#[tokio::test]
async fn a_filesystem_can_count_the_changes_of_its_files() {
    let counting = |mount| new_with(mount, |filesystem| filesystem.i_version = true);
    let data = Mount { attributes: set(NOEXEC), ..counting(new("/data", "tmpfs", &["size=64k"])) };
    let list = vec![
        data,
        counting(new("/dev/shm", "tmpfs", &["size=32k"])),
        new("/data/inner", "tmpfs", &["size=4k"]),
        numbered(counting(new("/numbered", "tmpfs", &[]))),
    ];
    let guest = prepared(Image::busybox(), mounts(list)).await;
    let script = ["/data", "/dev/shm", "/data/inner"].map(mounted).join("; ");
    let expected = "tmpfs rw,nodev,noexec,relatime,size=64k\n\
                    tmpfs rw,nodev,relatime,size=32k\ntmpfs rw,nodev,relatime,size=4k\n";
    assert_eq!(guest.sh(&script).await.text(), expected);
    assert_eq!(guest.sh("grep -c ' /data ' /proc/mounts; grep -c ' /dev/shm ' /proc/mounts").await.text(), "1\n1\n");
}

/// "copy up the contents to a tmpfs"
#[tokio::test]
async fn a_tmpfs_is_filled_with_what_is_there() {
    let image = Image::customised(|root| {
        let script = "mkdir -p srv/deep/er; cd srv; echo one > file; chown 7:8 file; chmod 4751 file; ln file deep/hard; \
                      ln -s /etc/passwd link; chown -h 9:9 link; mkfifo fifo; truncate -s 1G sparse; printf x >> sparse; \
                      mknod device c 1 5; setfattr -n user.a -v b file; chmod 2770 deep; chown 5:6 deep .; chmod 1711 .; \
                      touch -h -d @1000 link file deep/er; touch -d @2000 deep; touch -d @3000 .";
        assert!(Command::new("sh").args(["-c", script]).current_dir(root).status().unwrap().success());
    });
    let filled = |path, parameters| new_with(new(path, "tmpfs", parameters), |filesystem| filesystem.copy_up = true);
    let protected = Mount { recursive_attributes: set(RDONLY), ..filled("/home", &["size=8k"]) };
    let list = vec![filled("/srv", &["size=1m"]), filled("/empty", &["size=4k", "mode=700"]), protected];
    let guest = prepared(image, mounts(list)).await;
    let script = "cd /srv; stat -c '%n %F %a %u:%g %Y' . deep deep/er file link fifo device; cat file deep/hard; readlink link; \
                  stat -c '%h %s' file sparse; tail -c 1 sparse; echo; [ $(stat -c %b sparse) -lt 64 ] && echo sparse; \
                  stat -c %a /empty; ls -A /empty; echo more > new && ls -A | wc -l";
    let expected = ". directory 1711 5:6 3000\ndeep directory 2770 5:6 2000\ndeep/er directory 755 0:0 1000\n\
                    file regular file 4751 7:8 1000\nlink symbolic link 777 9:9 1000\nfifo fifo 644 0:0";
    let text = guest.sh(script).await.text();
    assert!(text.starts_with(expected), "{text}");
    let rest = "one\none\n/etc/passwd\n2 4\n1 1073741825\nx\nsparse\n700\n7\n";
    assert!(text.ends_with(rest), "{text}");
    assert_eq!(guest.sh(&mounted("/srv")).await.text(), "tmpfs rw,nodev,relatime,size=1024k\n");
    assert_eq!(guest.sh("ls /home; (true > /home/x) 2> /dev/null || echo read-only").await.text(), "app\nread-only\n");
}

#[tokio::test]
async fn what_has_no_room_in_a_tmpfs_is_named() {
    let image = Image::customised(|root| {
        fs::create_dir(root.join("srv")).unwrap();
        fs::write(root.join("srv/large"), [1; 20_000]).unwrap();
    });
    let mount = new_with(new("/srv", "tmpfs", &["size=16k"]), |filesystem| filesystem.copy_up = true);
    let message = refused(image, mounts(vec![mount])).await;
    assert_eq!(message, "mounting on /srv: copying what is there, large: No space left on device (os error 28)");
}

#[tokio::test]
async fn a_read_only_root_leaves_the_other_mounts_alone() {
    let furnishing = Furnishing {
        read_only_root: true,
        root_propagation: MountPropagation::Shared.into(),
        ..mounts(vec![new("/tmp", "tmpfs", &[])])
    };
    let guest = prepared(Image::busybox(), furnishing).await;
    let script = "(true > /x) 2>&1; true > /tmp/x; true > /dev/shm/x; grep ' / / ' /proc/self/mountinfo | cut -d ' ' -f 6,7; hostname > /dev/null";
    let text = guest.sh(script).await.text();
    assert!(text.starts_with("sh: can't create /x: Read-only file system\nro,nodev,relatime shared:"), "{text}");
    // Nor does another PID 1 have it otherwise.
    let outcome = guest.run(ProcessSpec { pid_one: true, ..shell("true > /x || cat /etc/hostname") }).await;
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "nacelle-test\n");
}

#[tokio::test]
async fn paths_are_hidden_and_write_protected() {
    let paths = |paths: &[&str]| Some(Paths { paths: paths.iter().map(|&path| path.into()).collect() });
    let furnishing = Furnishing {
        masked_paths: paths(&["/root", "/etc/group", "/proc/version", "/no/such"]),
        read_only_paths: paths(&["/home", "/proc/sys", "/no/such"]),
        ..Furnishing::default()
    };
    let guest = prepared(Image::busybox(), furnishing).await;
    let script = "echo /root/*; cat /etc/group /proc/version; (true > /home/x) 2>&1; true > /tmp/x; \
                  (echo 1 > /proc/sys/kernel/shmmni) 2>&1; grep -q CPU /proc/interrupts && echo seen";
    let text = "/root/*\nsh: can't create /home/x: Read-only file system\n\
                sh: can't create /proc/sys/kernel/shmmni: Read-only file system\nseen\n";
    assert_eq!(guest.sh(script).await.text(), text);
    assert_eq!(guest.run(ProcessSpec { pid_one: true, ..shell(script) }).await.text(), text);
}

#[tokio::test]
async fn usual_filesystems_are_mounted_as_the_host_says() {
    let furnishing = mounts(vec![
        Mount { attributes: set(NOSUID), ..new("/proc", "proc", &["hidepid=2"]) },
        Mount { attributes: set(NOSUID), ..new("/dev", "tmpfs", &["mode=755", "size=64k"]) },
        Mount { attributes: set(NOEXEC), ..new("/dev/shm", "tmpfs", &["size=32k", "mode=1777"]) },
        Mount { attributes: set(NOEXEC), ..new("/sys", "sysfs", &[]) },
        Mount { attributes: set(NOEXEC), ..new("/sys/fs/cgroup", "cgroup2", &[]) },
    ]);
    let guest = prepared(Image::busybox(), furnishing).await;
    let script = ["/proc", "/dev", "/dev/shm", "/sys", "/sys/fs/cgroup", "/dev/pts"].map(mounted).join("; ");
    let expected = "proc rw,nosuid,nodev,relatime,hidepid=invisible\n\
                    tmpfs rw,nosuid,nodev,relatime,size=64k,mode=755\n\
                    tmpfs rw,nodev,noexec,relatime,size=32k\n\
                    sysfs rw,nodev,noexec,relatime\n\
                    cgroup2 rw,nodev,noexec,relatime\n\
                    devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666\n";
    assert_eq!(guest.sh(&script).await.text(), expected);
    assert_eq!(guest.run(ProcessSpec { pid_one: true, ..shell(&script) }).await.text(), expected);
    assert_eq!(guest.sh("head -c 2 /dev/zero | wc -c; readlink /dev/ptmx").await.text(), "2\npts/ptmx\n");
}

/// As "in the listed order" is judged by those who read the list of mounts.
#[tokio::test]
async fn an_entrypoint_s_mounts_are_listed_in_the_host_s_order() {
    let source = |mount, source: &str| new_with(mount, |filesystem| filesystem.source = source.into());
    let list = || {
        mounts(vec![
            source(new("/proc", "proc", &[]), "proc"),
            source(new("/dev", "tmpfs", &["mode=755"]), "own"),
            source(new("/dev/pts", "devpts", &[]), "terminals"),
            source(new("/dev/shm", "tmpfs", &["mode=1777"]), "shm"),
            source(new("/sys", "sysfs", &[]), "sysfs"),
            source(new("/data", "tmpfs", &[]), "data"),
        ])
    };
    let shared = Furnishing { root_propagation: MountPropagation::Shared.into(), ..list() };
    for furnishing in [list(), shared] {
        let guest = prepared(Image::busybox(), furnishing).await;
        let script = "awk '{ print $1 \"=\" $2 }' /proc/mounts | grep -E '=/(proc|dev|dev/pts|dev/shm|sys|data)$'; \
                      echo x > /dev/null && echo $$ > /dev/shm/file && cat /dev/shm/file && head -c 1 /dev/zero | wc -c; \
                      grep -c ' /proc ' /proc/mounts; ls -d /proc/1";
        let expected =
            "proc=/proc\nown=/dev\nterminals=/dev/pts\nshm=/dev/shm\nsysfs=/sys\ndata=/data\n1\n1\n1\n/proc/1\n";
        for _ in 0..2 {
            let outcome = guest.run(ProcessSpec { pid_one: true, ..shell(script) }).await;
            assert_eq!(outcome.text(), expected);
        }
        // What was there before has it as it was.
        assert_eq!(
            guest.sh("grep -c ' /proc ' /proc/mounts; cat /proc/1/comm; ls /dev/shm").await.text(),
            "1\ninit\nfile\n"
        );
    }
}

/// The agent's descriptors are open while an entrypoint's mounts are put in order.
#[tokio::test]
async fn no_link_of_the_workload_s_is_followed_for_that() {
    let list = vec![new("/proc", "proc", &[]), new("/data/x", "tmpfs", &[])];
    let guest = prepared(Image::busybox(), mounts(list)).await;
    let lead = "umount /data/x 2> /dev/null; mv /data /other; ln -s /proc/self/fd /data && echo led";
    assert_eq!(guest.sh(lead).await.text(), "led\n");
    let outcome =
        guest.run(ProcessSpec { pid_one: true, ..shell("grep -c ' tmpfs ' /proc/mounts; readlink /data") }).await;
    assert!(outcome.text().ends_with("/proc/self/fd\n"));
}

fn device(path: &str, r#type: Type, major: u32, minor: u32) -> Device {
    Device { path: path.into(), r#type: r#type.into(), major, minor, mode: 0o640, uid: 1000, gid: 29 }
}

#[tokio::test]
async fn devices_are_made_and_work_wherever_they_are() {
    let devices = vec![
        device("/dev/other", Type::Character, 1, 5),
        device("/srv/zero", Type::Character, 1, 5),
        device("/dev/pipe", Type::Fifo, 0, 0),
        // Which is there already.
        device("/dev/null", Type::Character, 1, 3),
    ];
    let guest = prepared(Image::busybox(), Furnishing { devices, ..Furnishing::default() }).await;
    let script = "for file in /dev/other /srv/zero /dev/pipe /dev/null; do stat -c '%a %u %g %F %t:%T' $file; done; \
                  head -c 1 /dev/other | wc -c; head -c 1 /srv/zero | wc -c; ls -a /dev | grep new || echo none";
    assert_eq!(
        guest.sh(script).await.text(),
        "640 1000 29 character special file 1:5\n640 1000 29 character special file 1:5\n640 1000 29 fifo 0:0\n\
         666 0 0 character special file 1:3\n1\n1\nnone\n"
    );
    assert_eq!(guest.sh("mknod /own c 1 5; head -c 1 /own").await.code(), Some(1));
}

#[tokio::test]
async fn another_file_in_a_device_s_place_is_an_error() {
    for path in ["/etc/group", "/dev/zero"] {
        let devices = vec![device(path, Type::Character, 1, 3)];
        let message = refused(Image::busybox(), Furnishing { devices, ..Furnishing::default() }).await;
        assert_eq!(message, format!("creating {path}: File exists (os error 17)"));
    }
}

#[tokio::test]
async fn device_files_of_the_workload_s_own_work_where_all_do() {
    let image = Image::customised(|root| {
        let made = Command::new("mknod").args(["-m", "666"]).arg(root.join("zero")).args(["c", "1", "5"]).status();
        assert!(made.unwrap().success());
    });
    let furnishing = Furnishing { all_devices: true, ..mounts(vec![new("/data", "tmpfs", &[])]) };
    let guest = prepared(image, furnishing).await;
    let script = "mknod /dev/own c 1 5; mknod /data/own c 1 5; \
                  for file in /zero /dev/own /data/own; do head -c 1 $file | wc -c; done";
    assert_eq!(guest.sh(script).await.text(), "1\n1\n1\n");
}

#[tokio::test]
async fn names_are_the_host_s_or_the_image_s() {
    let image = Image::customised(|root| fs::write(root.join("etc/hosts"), "the image's\n").unwrap());
    let furnishing = Furnishing { domainname: "example.com".into(), image_names: true, ..Furnishing::default() };
    let guest = prepared(image, furnishing).await;
    let script = "cat /proc/sys/kernel/domainname; hostname; cat /etc/hosts; ls /etc";
    assert_eq!(guest.sh(script).await.text(), "example.com\nnacelle-test\nthe image's\ngroup\nhosts\npasswd\n");
}

#[tokio::test]
async fn a_request_that_breaks_the_contract_is_not_counted() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let clearing = Mount { attributes: Some(MountAttributes { set: 0, clear: NODEV }), ..bind("/", "/again") };
    for mount in [new("relative", "tmpfs", &[]), new("/proc/x", "tmpfs", &[]), bind("/a/../b", "/c"), clearing] {
        let request = PrepareRequest { furnishing: Some(mounts(vec![mount])), ..prepare_request() };
        assert_eq!(guest.client.prepare(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    guest.client.prepare(prepare_request()).await.unwrap();
}
