// SPDX-License-Identifier: Apache-2.0

//! Processes that are PID 1, as an image's entrypoint is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nacelle_agent::proto::start_failed::Reason;
use nacelle_agent::proto::{ProcessSpec, SignalProcessRequest, Terminal};

use crate::image::Image;
use crate::support::{Guest, command, eventually, shell};

fn pid_one(specification: ProcessSpec) -> ProcessSpec {
    ProcessSpec { pid_one: true, ..specification }
}

/// As s6-overlay, runit and systemd do.
#[tokio::test]
async fn an_init_that_insists_on_being_pid_1_runs() {
    let image = Image::customised(|root| {
        let init = "#!/bin/sh\n[ $$ = 1 ] || { echo 'can only run as pid 1' >&2; exit 100; }\n\
                    echo pid $$; cat /proc/1/comm; echo /proc/[0-9]*; exec sh -c 'echo still $$; exit 7'\n";
        fs::write(root.join("init"), init).unwrap();
        fs::set_permissions(root.join("init"), PermissionsExt::from_mode(0o755)).unwrap();
    });
    let guest = Guest::prepared(image).await;
    let outcome = guest.run(command("/init")).await;
    assert_eq!((outcome.code(), &*outcome.stderr), (Some(100), &b"can only run as pid 1\n"[..]));
    // As often as it is started, and whatever ran before.
    for _ in 0..3 {
        let outcome = guest.run(pid_one(command("/init"))).await;
        assert_eq!(outcome.started.unwrap().pid, 1);
        let stdout = String::from_utf8_lossy(&outcome.stdout).into_owned();
        assert!(stdout.starts_with("pid 1\ninit\n/proc/1"), "{stdout}");
        assert!(stdout.ends_with("still 1\n"), "{stdout}");
        assert_eq!(outcome.code(), Some(7));
    }
    assert_eq!(guest.sh("cat /proc/1/comm").await.text(), "init\n");
}

#[tokio::test]
async fn what_is_started_meanwhile_joins_it() {
    let guest = Guest::busybox().await;
    let mut before = guest.start(shell("echo up; exec sleep 1000")).await;
    before.read_until("up").await;
    let mut entrypoint = guest.start(pid_one(shell("trap 'exit 3' USR1; echo up; while :; do sleep 0.01; done"))).await;
    entrypoint.read_until("up").await;
    // It sees the entrypoint, and itself, in one /proc, and nobody who was there before.
    let outcome = guest.sh("tr '\\0' ' ' < /proc/1/cmdline; pidof sleep | wc -w; [ $$ -gt 1 ] && kill -USR1 1").await;
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    assert!(text.starts_with("sh -c trap 'exit 3' USR1"), "{text}");
    assert_eq!(entrypoint.finish().await.code(), Some(3));
    // Nor does what was there before end with it.
    assert_eq!(guest.sh("pidof sleep | wc -w").await.text(), "1\n");
}

#[tokio::test]
async fn its_end_ends_what_joined_it() {
    let guest = Guest::busybox().await;
    let mut entrypoint = guest.start(pid_one(ProcessSpec { stdin: true, ..command("cat") })).await;
    entrypoint.started().await;
    let mut joined = guest.start(shell("(setsid sleep 1000 &); echo up; sleep 1000")).await;
    joined.read_until("up").await;
    entrypoint.close_stdin();
    assert_eq!(entrypoint.finish().await.code(), Some(0));
    assert_eq!(joined.finish().await.signal(), Some(9));
    // The sandbox goes on.
    assert_eq!(guest.sh("cat /proc/1/comm; pidof sleep | wc -w").await.text(), "init\n0\n");
    eventually("no cgroup is left", || guest.process_cgroups().is_empty().then_some(())).await;
}

/// The kernel refuses births while there is still much to end, and nobody knows of the end yet.
#[tokio::test]
async fn what_is_started_while_it_ends_starts() {
    let guest = Guest::busybox().await;
    for _ in 0..5 {
        let crowd = "for i in $(seq 500); do sleep 1000 & done; echo up; read line";
        let mut entrypoint = guest.start(pid_one(ProcessSpec { stdin: true, ..shell(crowd) })).await;
        entrypoint.read_until("up").await;
        entrypoint.close_stdin();
        let ended = entrypoint.finish();
        tokio::pin!(ended);
        let mut over = false;
        while !over {
            // Where it joined, it may have ended with the entrypoint.
            let outcome = guest.run(command("true")).await;
            if outcome.started.is_none() {
                assert_eq!(outcome.failure().message, "the process was killed before its first step");
            }
            over = tokio::select! {
                biased;
                _ = &mut ended => true,
                () = std::future::ready(()) => false,
            };
        }
        assert_eq!(guest.run(pid_one(command("true"))).await.started.unwrap().pid, 1);
    }
}

#[tokio::test]
async fn another_one_meanwhile_is_no_pid_1() {
    let guest = Guest::busybox().await;
    let mut first = guest.start(pid_one(ProcessSpec { stdin: true, ..command("cat") })).await;
    assert_eq!(first.started().await.pid, 1);
    let second = guest.run(pid_one(command("cat /proc/1/comm"))).await;
    assert_ne!(second.started.as_ref().unwrap().pid, 1);
    assert_eq!(second.text(), "cat\n");
    first.close_stdin();
    first.finish().await;
    assert_eq!(guest.run(pid_one(command("true"))).await.started.unwrap().pid, 1);
}

/// As with Docker: the kernel keeps from a PID 1 what it has no handler for.
#[tokio::test]
async fn a_signal_that_it_does_not_handle_is_lost_on_it() {
    let mut guest = Guest::busybox().await;
    let mut entrypoint = guest.start(pid_one(shell("echo up; while :; do sleep 0.01; done"))).await;
    entrypoint.read_until("up").await;
    let process_id = guest.process_cgroups().pop().unwrap().file_name().unwrap().to_string_lossy().parse().unwrap();
    let signal = |signal| SignalProcessRequest { process_id, signal, process_group: false, scope: 0 };
    guest.client.signal_process(signal(15)).await.unwrap();
    assert_eq!(guest.sh("kill -9 1; cat /proc/1/comm").await.text(), "sh\n");
    guest.client.signal_process(signal(9)).await.unwrap();
    assert_eq!(entrypoint.finish().await.signal(), Some(9));
}

#[tokio::test]
async fn it_has_what_every_process_has() {
    let guest = Guest::busybox().await;
    let script = "cat /proc/self/oom_score_adj; ls /proc/self/fd; grep -E 'Cap(Eff|Bnd)' /proc/self/status | tr -d '\\t\\n'; \
                  cat /proc/self/cgroup | tail -n 1 | cut -c 1-4; ls /sys/fs/cgroup/cgroup.procs; hostname; \
                  cut -d ' ' -f 2 /proc/mounts | sort";
    let ordinary = guest.sh(script).await.text();
    assert_eq!(guest.run(pid_one(shell(script))).await.text(), ordinary);
    for refused in [
        "echo b > /proc/sysrq-trigger",
        "echo 1 > /proc/sys/kernel/panic",
        "umount /proc",
        "head -c 1 /proc/kcore | grep -q .",
    ] {
        let outcome = guest.run(pid_one(shell(&format!("({refused}) 2> /dev/null && echo done")))).await;
        assert_eq!(outcome.stdout, b"", "{refused}");
    }
}

#[tokio::test]
async fn one_that_cannot_start_leaves_no_trace() {
    let guest = Guest::busybox().await;
    for _ in 0..3 {
        let failed = guest.run(pid_one(command("/nope"))).await.failure();
        assert_eq!(failed.reason(), Reason::CommandNotFound);
        assert_eq!(guest.sh("cat /proc/1/comm").await.text(), "init\n");
    }
    // Some of the last run's may be on their way to be closed; ten more runs that each left one would exceed them.
    let descriptors = guest.descriptors();
    for _ in 0..10 {
        guest.run(pid_one(command("true"))).await;
    }
    eventually("the descriptors are closed", || (guest.descriptors() <= descriptors).then_some(())).await;
}

#[tokio::test]
async fn its_terminal_is_the_console() {
    let guest = Guest::busybox().await;
    let on_terminal = |specification| ProcessSpec { terminal: Some(Terminal::default()), ..specification };
    let script = "echo on the console > /dev/console; stat -c %t:%T /dev/console; stat -c %t:%T $(tty)";
    let outcome = guest.run(pid_one(on_terminal(shell(script)))).await;
    let stdout = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!((lines[0], lines[1]), ("on the console", lines[2]), "{stdout}");
    // Elsewhere there is none.
    assert_ne!(guest.sh("echo x > /dev/console").await.code(), Some(0));
}
