// SPDX-License-Identifier: Apache-2.0

//! Who processes run as, and images that would have the agent look elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nacelle_agent::proto::ProcessSpec;
use nacelle_agent::proto::start_failed::Reason;

use crate::image::Image;
use crate::support::{Guest, shell};

fn as_user(user: &str) -> ProcessSpec {
    ProcessSpec { user: user.into(), ..shell("id -u; id -g; id -G; echo $HOME") }
}

/// Says who it is without a look at the files of users, which may never answer.
const WHO: &str = "awk '/^[UG]id:/ { print $2 }' /proc/self/status";

#[tokio::test]
async fn users_and_groups_are_the_image_s() {
    let guest = Guest::busybox().await;
    for (user, expected) in [
        ("", "0\n0\n0\n/root\n"),
        ("app", "1000\n1000\n1000 29\n/home/app\n"),
        ("1000", "1000\n1000\n1000 29\n/home/app\n"),
        ("app:audio", "1000\n29\n29\n/home/app\n"),
        ("4711:4712", "4711\n4712\n4712\n/\n"),
    ] {
        assert_eq!(guest.run(as_user(user)).await.text(), expected, "{user}");
    }
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let guest = Guest::busybox().await;
    for (user, words) in [("nobody", "no user 'nobody'"), ("app:staff", "no group 'staff'")] {
        let failed = guest.run(as_user(user)).await.failure();
        assert_eq!((failed.reason(), failed.message.contains(words)), (Reason::UnknownUser, true), "{failed:?}");
    }
}

#[tokio::test]
async fn an_unprivileged_process_may_open_its_own_streams() {
    let guest = Guest::busybox().await;
    let specification =
        ProcessSpec { user: "app".into(), stdin: true, ..shell("cat /dev/stdin > /dev/stdout; echo e > /dev/stderr") };
    let call = guest.start(specification).await;
    call.stdin("through the paths");
    call.close_stdin();
    let outcome = call.finish().await;
    assert_eq!((&*outcome.stdout, &*outcome.stderr), (&b"through the paths"[..], &b"e\n"[..]));
}

/// An image whose /etc/passwd is made by `make`.
fn image_with_passwd(make: impl FnOnce(&Path)) -> Image {
    Image::customised(|root| {
        let passwd = root.join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        make(&passwd);
    })
}

#[tokio::test]
async fn a_link_out_of_the_root_stays_in_it() {
    // A user whom this machine knows, and the image does not.
    assert!(fs::read_to_string("/etc/passwd").unwrap().contains("\ndaemon:"));
    for target in ["/../../../../../../etc/passwd.outside", "../../../../../../../../../../etc/passwd.outside"] {
        let image = image_with_passwd(|passwd| symlink(target, passwd).unwrap());
        let guest = Guest::prepared(image).await;
        assert_eq!(guest.run(as_user("daemon")).await.failure().reason(), Reason::UnknownUser);
        assert_eq!(guest.sh("echo 'daemon:x:77:78::/inside:' > /etc/passwd.outside").await.code(), Some(0));
        assert_eq!(guest.run(as_user("daemon")).await.text(), "77\n78\n78\n/inside\n");
    }
}

#[tokio::test]
async fn what_is_no_file_of_users_is_refused_at_once() {
    let images: [fn(&Path); 5] = [
        |passwd| fs::create_dir(passwd).unwrap(),
        |passwd| symlink("/dev/zero", passwd).unwrap(),
        |passwd| symlink("/proc/kmsg", passwd).unwrap(),
        |passwd| symlink("passwd", passwd).unwrap(),
        |passwd| fs::File::create(passwd).unwrap().set_len(1 << 30).unwrap(),
    ];
    for make in images {
        let guest = Guest::prepared(image_with_passwd(make)).await;
        assert_eq!(guest.run(as_user("app")).await.failure().reason(), Reason::UnknownUser);
        let by_number = ProcessSpec { user: "1000:1000".into(), ..shell(WHO) };
        assert_eq!(guest.run(by_number).await.text(), "1000\n1000\n");
    }
}

#[tokio::test]
async fn nothing_that_a_workload_does_to_the_files_of_users_keeps_root_out() {
    let guest = Guest::busybox().await;
    for vandalism in [
        "rm /etc/passwd /etc/group && mkdir /etc/passwd /etc/group",
        "rmdir /etc/passwd /etc/group && mkfifo /etc/passwd /etc/group",
        "rm /etc/passwd /etc/group && ln -s passwd /etc/passwd && ln -s passwd /etc/group",
        "rm /etc/passwd /etc/group && truncate -s 1024G /etc/passwd && head -c 2000000 /dev/zero > /etc/group",
        "rm -r /etc && ln -s /proc/self/fd /etc",
    ] {
        assert_eq!(guest.sh(vandalism).await.text(), "");
        for (user, expected) in [("", "0\n0\n"), ("0", "0\n0\n"), ("1000", "1000\n0\n"), ("7:8", "7\n8\n")] {
            let specification = ProcessSpec { user: user.into(), ..shell(WHO) };
            assert_eq!(guest.run(specification).await.text(), expected, "{vandalism}");
        }
        let failed = guest.run(as_user("app")).await.failure();
        assert_eq!(failed.reason(), Reason::UnknownUser, "{failed:?}");
    }
}

#[tokio::test]
async fn the_primary_group_is_among_the_supplementary_ones() {
    let guest = Guest::busybox().await;
    for (user, groups) in [("", "0"), ("app", "29 1000"), ("app:audio", "29"), ("4711:4712", "4712"), ("4711", "0")] {
        let specification = ProcessSpec { user: user.into(), ..shell("grep Groups: /proc/self/status | tr -d '\\t'") };
        assert_eq!(guest.run(specification).await.text().trim_end(), format!("Groups:{groups}"), "{user}");
    }
}

#[tokio::test]
async fn numbers_go_up_to_the_kernel_s_last() {
    let guest = Guest::busybox().await;
    let text = guest.run(as_user("4294967294:4294967294")).await.text();
    assert_eq!(text, "4294967294\n4294967294\n4294967294\n/\n");
    assert_eq!(guest.run(as_user("4294967295")).await.failure().reason(), Reason::UnknownUser);
    let failed = guest.run(as_user("0:4294967295")).await.failure();
    assert_eq!(failed.reason(), Reason::UnknownUser);
}

#[tokio::test]
async fn a_pipe_in_place_of_users_does_not_block() {
    let guest = Guest::busybox().await;
    assert_eq!(guest.sh("rm /etc/passwd && mkfifo /etc/passwd").await.code(), Some(0));
    assert_eq!(guest.run(as_user("app")).await.failure().reason(), Reason::UnknownUser);
}

#[tokio::test]
async fn no_files_of_users_leave_numbers() {
    let image = Image::customised(|root| fs::remove_dir_all(root.join("etc")).unwrap());
    let guest = Guest::prepared(image).await;
    assert_eq!(guest.run(as_user("12:34")).await.text(), "12\n34\n34\n/\n");
    assert_eq!(guest.run(as_user("")).await.text(), "0\n0\n0\n/\n");
}
