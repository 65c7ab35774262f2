// SPDX-License-Identifier: Apache-2.0

//! A root that is furnished as the host asks for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use nacelle_agent::proto::device::Type;
use nacelle_agent::proto::mount::What;
use nacelle_agent::proto::{
    BindMount, Device, Filesystem, Furnishing, Mount, MountAttributes, MountPropagation, Paths, PrepareRequest,
    ProcessSpec, Remount,
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
    let what = What::Filesystem(Filesystem { r#type: filesystem.into(), source: "none".into(), parameters });
    Mount { destination: destination.into(), what: Some(what), ..Mount::default() }
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
        what: Some(What::Remount(Remount {})),
        attributes: set(RDONLY),
        propagation: MountPropagation::Unbindable.into(),
        ..Mount::default()
    };
    let guest = prepared(Image::busybox(), mounts(vec![new("/data", "tmpfs", &[]), remount])).await;
    assert!(guest.sh(&mounted("/data")).await.text().starts_with("tmpfs ro,nodev"));
    assert!(guest.sh("grep ' /data ' /proc/self/mountinfo").await.text().contains(" unbindable "));
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
