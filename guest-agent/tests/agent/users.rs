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
    }
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
