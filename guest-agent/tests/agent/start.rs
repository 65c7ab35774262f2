// SPDX-License-Identifier: Apache-2.0

//! Starting processes: exit statuses, and commands that cannot be started.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use nacelle_agent::proto::ProcessSpec;
use nacelle_agent::proto::start_failed::Reason;
use tonic::Code;

use crate::image::Image;
use crate::support::{Guest, command, prepare_request, shell};

#[tokio::test]
async fn exit_codes_are_the_process_s_own() {
    let guest = Guest::busybox().await;
    for code in [0, 1, 126, 127, 128, 255] {
        let outcome = guest.sh(&format!("exit {code}")).await;
        assert_eq!((outcome.code(), outcome.signal()), (Some(code), None));
    }
}

#[tokio::test]
async fn a_signal_is_no_exit_code() {
    let guest = Guest::busybox().await;
    for signal in [6, 9, 15] {
        let outcome = guest.sh(&format!("kill -{signal} $$")).await;
        assert_eq!((outcome.code(), outcome.signal()), (None, Some(signal)));
    }
}

#[tokio::test]
async fn the_exit_tells_what_was_used() {
    let guest = Guest::busybox().await;
    let exited = guest.sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").await.exited.unwrap();
    assert!(exited.user_cpu_nanos > 0);
    assert!(exited.peak_memory_bytes > 0);
    assert!(!exited.timed_out && !exited.oom_killed);
}

#[tokio::test]
async fn process_ids_are_never_reused_and_pids_are_the_namespace_s() {
    let guest = Guest::busybox().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let outcome = guest.sh("echo $$").await;
        let started = outcome.started.unwrap();
        assert_eq!(String::from_utf8_lossy(&outcome.stdout).trim(), started.pid.to_string());
        ids.push(started.process_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn arguments_arrive_as_they_are() {
    let guest = Guest::busybox().await;
    let arguments = ["printf", "[%s]", "a b", "", "c\nd", "é*$HOME", "--"].map(String::from).into();
    let text = guest.run(ProcessSpec { arguments, ..command("printf") }).await.text();
    assert_eq!(text, "[a b][][c\nd][é*$HOME][--]");
}

#[tokio::test]
async fn the_environment_is_what_was_given_a_home_and_the_host_s_name() {
    let guest = Guest::busybox().await;
    let environment = vec!["PATH=/bin".into(), "A=1 2".into(), "EMPTY=".into()];
    let text = guest.run(ProcessSpec { environment, ..command("env") }).await.text();
    assert_eq!(text, "PATH=/bin\nA=1 2\nEMPTY=\nHOME=/root\nHOSTNAME=nacelle-test\n");
}

#[tokio::test]
async fn without_a_path_commands_are_still_found() {
    let guest = Guest::busybox().await;
    let text = guest.run(ProcessSpec { environment: Vec::new(), ..command("env") }).await.text();
    assert_eq!(text, "HOME=/root\nHOSTNAME=nacelle-test\n");
}

#[tokio::test]
async fn a_missing_command_is_not_found() {
    let guest = Guest::busybox().await;
    for missing in ["nope", "/bin/nope", "./nope", "/bin/busybox/nope"] {
        let failed = guest.run(command(missing)).await.failure();
        assert_eq!(failed.reason(), Reason::CommandNotFound, "{missing}: {failed:?}");
        assert!(failed.message.contains("nope") && failed.errno != 0, "{failed:?}");
    }
}

#[tokio::test]
async fn what_is_there_and_cannot_run_is_not_executable() {
    let image = Image::customised(|root| {
        let write = |name: &str, content: &str, mode: u32| {
            fs::write(root.join(name), content).unwrap();
            fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        write("plain", "echo hello\n", 0o644);
        write("garbage", "no program", 0o755);
        write("script", "#!/usr/bin/python9 -u\n", 0o755);
    });
    let guest = Guest::prepared(image).await;
    for (file, words) in [
        ("/plain", "Permission denied"),
        ("/bin", "Permission denied"),
        ("/garbage", "Exec format error"),
        ("/script", "its interpreter '/usr/bin/python9' does not exist"),
    ] {
        let failed = guest.run(command(file)).await.failure();
        assert_eq!(failed.reason(), Reason::CommandNotExecutable, "{failed:?}");
        assert!(failed.message.contains(file) && failed.message.contains(words), "{failed:?}");
    }
    let unsearchable = ProcessSpec { environment: vec!["PATH=/:/nowhere".into()], ..command("plain") };
    assert_eq!(guest.run(unsearchable).await.failure().reason(), Reason::CommandNotExecutable);
}

#[tokio::test]
async fn a_program_whose_loader_is_missing_says_so() {
    // A dynamically linked program of this machine, without the machine's libraries.
    let image = Image::customised(|root| {
        fs::copy("/bin/ls", root.join("dynamic")).unwrap();
    });
    let guest = Guest::prepared(image).await;
    let failed = guest.run(command("/dynamic")).await.failure();
    assert_eq!(failed.reason(), Reason::CommandNotExecutable);
    assert_eq!(failed.message, "/dynamic: the dynamic loader that it names does not exist");
}

#[tokio::test]
async fn what_the_kernel_cannot_take_is_another_failure() {
    let guest = Guest::busybox().await;
    // MAX_ARG_STRLEN of linux/binfmts.h: 32 pages.
    let arguments = vec!["echo".into(), "x".repeat(128 << 10)];
    let failed = guest.run(ProcessSpec { arguments, ..command("echo") }).await.failure();
    assert_eq!((failed.reason(), failed.errno), (Reason::Other, libc::E2BIG), "{failed:?}");
}

#[tokio::test]
async fn the_working_directory_is_made_for_its_user() {
    let guest = Guest::busybox().await;
    let specification = ProcessSpec {
        working_directory: "/srv/a/b".into(),
        user: "app".into(),
        ..shell("pwd; stat -c '%u %g %a' . ..")
    };
    assert_eq!(guest.run(specification).await.text(), "/srv/a/b\n1000 1000 755\n1000 1000 755\n");
}

#[tokio::test]
async fn a_working_directory_that_its_user_may_not_enter_is_entered() {
    let image = Image::customised(|root| {
        fs::create_dir(root.join("closed")).unwrap();
        fs::set_permissions(root.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    });
    let guest = Guest::prepared(image).await;
    let specification =
        ProcessSpec { working_directory: "/closed".into(), user: "app".into(), ..command("readlink /proc/self/cwd") };
    assert_eq!(guest.run(specification).await.text(), "/closed\n");
}

#[tokio::test]
async fn a_working_directory_that_is_none_is_told() {
    let guest = Guest::busybox().await;
    for directory in ["/etc/passwd", "/etc/passwd/x", "/proc/nope"] {
        let failed = guest.run(ProcessSpec { working_directory: directory.into(), ..command("true") }).await.failure();
        assert_eq!(failed.reason(), Reason::BadWorkingDirectory, "{directory}: {failed:?}");
    }
}

/// The agent holds the cgroups above the workload's, disks' nodes and other processes' pipes, and what is born of it is
/// born with copies.
#[tokio::test]
async fn no_working_directory_leads_through_a_descriptor_of_the_agent_s() {
    let image = Image::customised(|root| {
        for number in 0..64 {
            symlink(format!("/proc/self/fd/{number}"), root.join(format!("link-{number}"))).unwrap();
        }
    });
    let guest = Guest::prepared(image).await;
    let agents = guest.descriptors();
    assert!((5..64).contains(&agents), "{agents}");
    for number in 0..64 {
        for path in
            [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/made"), format!("/link-{number}")]
        {
            let specification = ProcessSpec { working_directory: path.clone(), ..command("ls") };
            let failed = guest.run(specification).await.failure();
            assert_eq!(failed.reason(), Reason::BadWorkingDirectory, "{path}: {failed:?}");
        }
    }
    // What leads to the root is no way out.
    let specification = ProcessSpec { working_directory: "/proc/self/root/etc".into(), ..command("pwd") };
    assert_eq!(guest.run(specification).await.text(), "/etc\n");
}

#[tokio::test]
async fn a_working_directory_in_another_root_is_refused() {
    let guest = Guest::busybox().await;
    let script = "mkdir /m; exec unshare -rm sh -c 'mount -t tmpfs none /m; mkdir /m/d; echo $$ up; exec sleep 1000'";
    let mut call = guest.start(shell(script)).await;
    let pid = call.read_until("up").await.split(' ').next().unwrap().to_owned();
    let directory = format!("/proc/{pid}/root/m/d");
    let specification = ProcessSpec { working_directory: directory.clone(), ..command("true") };
    let failed = guest.run(specification).await.failure();
    assert_eq!(failed.reason(), Reason::BadWorkingDirectory);
    assert_eq!(failed.message, format!("the working directory {directory} is outside of the workload's root"));
}

#[tokio::test]
async fn a_working_directory_is_its_user_s_from_the_start() {
    // Made where its user may not make anything.
    let image = Image::customised(|root| {
        fs::create_dir(root.join("closed")).unwrap();
        fs::set_permissions(root.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    });
    let guest = Guest::prepared(image).await;
    let script = "stat -c '%u %g %a' . ..; grep -E 'CapEff|Uid' /proc/self/status | tr -d '\\t\\n'";
    let specification = |user: &str, directory: &str| ProcessSpec {
        user: user.into(),
        working_directory: directory.into(),
        ..shell(script)
    };
    let text = guest.run(specification("app:audio", "/closed/a/b")).await.text();
    assert_eq!(text, "1000 29 755\n1000 29 755\nUid:1000100010001000CapEff:0000000000000000");
    let text = guest.run(specification("0", "/closed/c")).await.text();
    assert_eq!(text, "0 0 755\n0 0 700\nUid:0000CapEff:00000000a80425fb");
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_costs_the_agent_nothing() {
    let guest = Guest::busybox().await;
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", guest.agent_pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    };
    let before = peak();
    let deep = "/x".repeat(12_000);
    for (specification, words) in [
        (ProcessSpec { working_directory: deep.clone(), ..command("true") }, "working_directory"),
        (ProcessSpec { arguments: vec![deep.clone()], ..command("true") }, "the command"),
        (ProcessSpec { environment: vec![format!("PATH={}", "/x:".repeat(8000))], ..command("true") }, "PATH"),
        (ProcessSpec { user: "x".repeat(24_000), ..command("true") }, "user"),
        (ProcessSpec { environment: vec!["x".repeat(24_000)], ..command("true") }, "environment entry"),
        (ProcessSpec { arguments: vec!["true".into(); 70_000], ..command("true") }, "arguments"),
    ] {
        let status = guest.try_run(specification).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{words}");
        assert!(status.message().contains(words) && status.message().len() <= 1024, "{}", status.message());
    }
    // As much as is taken.
    let deep = format!("/{}", "d/".repeat(2047));
    let specification = ProcessSpec { working_directory: deep.clone(), ..command("pwd") };
    assert_eq!(guest.run(specification).await.text().trim_end(), deep.trim_end_matches('/'));
    let failed = guest.run(ProcessSpec { working_directory: format!("{}/x", "/etc/passwd"), ..command("true") }).await;
    assert_eq!(failed.failure().reason(), Reason::BadWorkingDirectory);
    assert!(peak() < before + (64 << 20), "{} MiB, and {} MiB before", peak() >> 20, before >> 20);
}

#[tokio::test]
async fn the_largest_request_is_taken_and_a_larger_one_is_refused() {
    let guest = Guest::busybox().await;
    let strings = |bytes: usize| vec![format!("X={}", "x".repeat(bytes - 2)); (2 << 20) / (bytes + 9) - 2];
    let outcome = guest.run(ProcessSpec { environment: strings(1 << 10), ..command("/bin/true") }).await;
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    // What decoding would cost is not paid.
    let huge =
        ProcessSpec { environment: vec![format!("X={}", "x".repeat((2 << 20) + (64 << 10)))], ..command("true") };
    let status = guest.try_run(huge).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert_eq!(guest.run(command("echo on")).await.text(), "on\n");
}

#[tokio::test]
async fn a_failure_s_message_has_a_bound() {
    let guest = Guest::busybox().await;
    let path = vec!["/no/such/directory"; 256].join(":");
    let specification = ProcessSpec { environment: vec![format!("PATH={path}")], ..command("nope") };
    let failed = guest.run(specification).await.failure();
    assert_eq!((failed.reason(), failed.message.len() <= 1024), (Reason::CommandNotFound, true));
}

/// CVE-2019-5736's class.
#[tokio::test]
async fn the_agent_is_no_command() {
    let image = Image::customised(|root| {
        fs::write(root.join("script"), "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(root.join("script"), PermissionsExt::from_mode(0o755)).unwrap();
        symlink("/proc/self/exe", root.join("link")).unwrap();
    });
    let mut guest = Guest::with_own_executable(image).await;
    guest.client.prepare(prepare_request()).await.unwrap();
    for file in ["/proc/self/exe", "/proc/thread-self/exe", "/script", "/link"] {
        for pid_one in [false, true] {
            let failed = guest.run(ProcessSpec { pid_one, ..command(file) }).await.failure();
            assert_eq!((failed.reason(), failed.errno), (Reason::CommandNotExecutable, libc::EACCES), "{failed:?}");
        }
    }
}

#[tokio::test]
async fn no_command_leads_through_a_descriptor_of_the_agent_s() {
    let guest = Guest::busybox().await;
    for number in 3..32 {
        let file = format!("/proc/self/fd/{number}");
        assert!(guest.run(command(&file)).await.failed.is_some(), "{file}");
    }
}

#[tokio::test]
async fn a_specification_that_breaks_the_contract_is_refused() {
    let guest = Guest::busybox().await;
    for specification in [
        ProcessSpec::default(),
        ProcessSpec { working_directory: "relative".into(), ..command("true") },
        ProcessSpec { environment: vec!["NOVALUE".into()], ..command("true") },
        ProcessSpec { arguments: vec!["a\0b".into()], ..command("true") },
        ProcessSpec { stop_signal: 65, ..command("true") },
    ] {
        let status = guest.try_run(specification).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
