// SPDX-License-Identifier: Apache-2.0

//! How processes end before their time, and the machine with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use nacelle_agent::proto::mount::What;
use nacelle_agent::proto::run_process_response::Response;
use nacelle_agent::proto::signal_process_request::Scope;
use nacelle_agent::proto::start_failed::Reason;
use nacelle_agent::proto::{
    Filesystem, Furnishing, Mount, PrepareRequest, ProcessSpec, ShutdownRequest, SignalProcessRequest,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Code;

use crate::image::Image;
use crate::support::{Guest, Running, command, eventually, prepare_request, shell};

/// Starts children in sessions of their own, whose parents are gone, and says when all of them run.
const TREE: &str = "for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1000; done' &); done; \
                    until [ $(grep -l setsid /proc/[0-9]*/comm 2> /dev/null | wc -l) = 0 ] && [ $(pidof sleep | wc -w) -ge 3 ]; do :; done; \
                    echo grown; sleep 1000";

/// The processes of a cgroup that exists.
fn population(cgroup: &Path) -> usize {
    fs::read_to_string(cgroup.join("cgroup.procs")).map_or(0, |procs| procs.lines().count())
}

async fn dead(cgroup: &Path) {
    eventually("everything in the cgroup is dead", || (population(cgroup) == 0).then_some(())).await;
}

#[tokio::test]
async fn cancelling_kills_everything_that_the_process_started() {
    let guest = Guest::busybox().await;
    let mut call = guest.start(shell(TREE)).await;
    call.read_until("grown").await;
    let cgroup = guest.process_cgroups().pop().unwrap();
    assert!(population(&cgroup) >= 7);
    drop(call);
    dead(&cgroup).await;
    assert_eq!(guest.sh("pidof sleep").await.code(), Some(1));
}

#[tokio::test]
async fn cancelling_kills_a_fork_bomb() {
    let guest = Guest::busybox().await;
    let mut call = guest
        .start(shell(
            "bomb() { while :; do (:) & (:) & wait; done; }; for i in 1 2 3 4; do bomb & done; echo lit; wait",
        ))
        .await;
    call.read_until("lit").await;
    let cgroup = guest.process_cgroups().pop().unwrap();
    drop(call);
    dead(&cgroup).await;
}

#[tokio::test]
async fn cancelling_one_process_leaves_the_others() {
    let guest = Guest::busybox().await;
    let mut other = guest.start(ProcessSpec { stdin: true, ..command("cat") }).await;
    other.started().await;
    let mut call = guest.start(command("sleep 1000")).await;
    call.started().await;
    drop(call);
    other.stdin("alive");
    other.close_stdin();
    assert_eq!(other.finish().await.stdout, b"alive");
}

#[tokio::test]
async fn a_time_limit_kills_everything_that_the_process_started() {
    let guest = Guest::busybox().await;
    // Long enough for the tree to grow or not: whatever is there is killed.
    let specification = ProcessSpec { timeout_nanos: 500_000_000, ..shell(TREE) };
    let outcome = guest.run(specification).await;
    assert_eq!((outcome.signal(), outcome.exited.unwrap().timed_out), (Some(9), true));
    assert_eq!(guest.sh("pidof sleep").await.code(), Some(1));
}

#[tokio::test]
async fn a_process_within_its_time_limit_did_not_time_out() {
    let guest = Guest::busybox().await;
    let hour = Duration::from_secs(3600).as_nanos() as u64;
    let outcome = guest.run(ProcessSpec { timeout_nanos: hour, ..shell("kill -9 $$") }).await;
    assert_eq!((outcome.signal(), outcome.exited.unwrap().timed_out), (Some(9), false));
}

/// A process with a FUSE mount whose server never answers, and its path in the workload.
async fn start_silent_mount(guest: &Guest) -> (Running, String) {
    let script = "mkdir /silent; \
                  exec unshare -rm sh -c 'exec 3<> /dev/fuse; mount -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none /silent && \
                  echo $$ mounted; exec sleep 1000'";
    let mut call = guest.start(shell(script)).await;
    let pid = call.read_until("mounted").await.split(' ').next().unwrap().to_owned();
    (call, format!("/proc/{pid}/root/silent"))
}

#[tokio::test]
async fn a_working_directory_that_never_answers_holds_up_its_own_process_only() {
    let guest = Guest::busybox().await;
    let (_server, path) = start_silent_mount(&guest).await;
    let stuck = ProcessSpec { working_directory: format!("{path}/x"), ..command("true") };
    // The time limit counts from the request, not from the command's first step.
    let outcome = guest.run(ProcessSpec { timeout_nanos: 100_000_000, ..stuck.clone() }).await;
    assert_eq!((outcome.signal(), outcome.exited.unwrap().timed_out), (Some(9), true));
    tokio::select! {
        biased;
        running = guest.start(stuck) => panic!("it started: {:?}", running.finish().await),
        outcome = guest.sh("echo others run") => assert_eq!(outcome.text(), "others run\n"),
    }
    eventually("what cannot start is killed", || (guest.process_cgroups().len() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_process_that_cannot_start_keeps_no_other_s_streams() {
    let guest = Guest::busybox().await;
    let (_server, path) = start_silent_mount(&guest).await;
    let mut reader = guest.start(ProcessSpec { stdin: true, ..command("cat") }).await;
    reader.started().await;
    let stuck = ProcessSpec { working_directory: format!("{path}/x"), ..command("true") };
    let ending = async {
        // Of the server, the reader, and what cannot start.
        eventually("it is born", || (guest.process_cgroups().len() == 3).then_some(())).await;
        reader.stdin("to the end");
        reader.close_stdin();
        reader.finish().await
    };
    tokio::select! {
        biased;
        running = guest.start(stuck) => panic!("it started: {:?}", running.finish().await),
        outcome = ending => assert_eq!(outcome.stdout, b"to the end"),
    }
}

#[tokio::test]
async fn what_does_not_execute_its_command_in_time_is_killed() {
    let guest = Guest::busybox().await;
    let (_server, path) = start_silent_mount(&guest).await;
    let stuck =
        ProcessSpec { working_directory: format!("{path}/x"), start_timeout_nanos: 100_000_000, ..command("true") };
    let failed = guest.run(stuck.clone()).await.failure();
    assert_eq!(failed.reason(), Reason::TimedOut, "{failed:?}");
    assert!(failed.message.starts_with("the command was not executed within 100ms"), "{failed:?}");
    eventually("it is dead", || (guest.process_cgroups().len() == 1).then_some(())).await;
    // It may be stopped by who shares its machine, too.
    let (requests, stream) = tokio::sync::mpsc::unbounded_channel();
    let start = ProcessSpec { start_timeout_nanos: Duration::from_secs(2).as_nanos() as u64, ..stuck };
    let start = nacelle_agent::proto::run_process_request::Request::Start(start);
    requests.send(nacelle_agent::proto::RunProcessRequest { request: Some(start), ..Default::default() }).unwrap();
    let stop = async {
        let info = loop {
            match guest.list().await.pop() {
                Some(info) if info.command == "true" => break info,
                _ => tokio::task::yield_now().await,
            }
        };
        assert_eq!((info.pid, info.running), (0, true));
        guest.signal(info.process_id, libc::SIGSTOP, Scope::Process).await.unwrap();
    };
    let (call, ()) = tokio::join!(guest.call(requests, stream), stop);
    assert_eq!(call.unwrap().finish().await.failure().reason(), Reason::TimedOut);
}

#[tokio::test]
async fn a_start_takes_ten_minutes_at_most() {
    let guest = Guest::busybox().await;
    let longer = Duration::from_secs(600).as_nanos() as u64 + 1;
    let refused = guest.try_run(ProcessSpec { start_timeout_nanos: longer, ..command("true") }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_a_process_leaves_behind_can_be_seen_and_killed() {
    let guest = Guest::busybox().await;
    let mut running = guest.start(ProcessSpec { stdin: true, ..command("cat") }).await;
    let running_id = running.started().await.process_id;
    let script = "(setsid sleep 1000 &); (sleep 1000 &); true";
    let outcome = guest.run(ProcessSpec { linger_nanos: Some(0), ..shell(script) }).await;
    let left_id = outcome.started.unwrap().process_id;
    let list = guest.list().await;
    assert_eq!(list.iter().map(|info| info.process_id).collect::<Vec<_>>(), [running_id, left_id]);
    assert_eq!((list[0].running, list[0].tree_size, &*list[0].command), (true, 1, "cat"));
    assert_eq!((list[1].running, list[1].tree_size, &*list[1].command), (false, 2, &*format!("sh -c {script}")));
    assert!(list[0].pid > 1 && list[0].age_nanos > list[1].age_nanos);

    // The process itself is not there any more.
    for scope in [Scope::Process, Scope::Group] {
        assert_eq!(guest.signal(left_id, libc::SIGKILL, scope).await.unwrap_err().code(), Code::NotFound);
    }
    guest.signal(left_id, libc::SIGKILL, Scope::Tree).await.unwrap();
    eventually("it is dead", || {
        (guest.process_cgroups().iter().map(|cgroup| population(cgroup)).sum::<usize>() == 1).then_some(())
    })
    .await;
    assert_eq!(guest.signal(left_id, libc::SIGKILL, Scope::Tree).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(guest.list().await.len(), 1);
    running.close_stdin();
    assert_eq!(running.finish().await.code(), Some(0));
    assert_eq!(guest.list().await, []);
}

#[tokio::test]
async fn many_are_listed_page_by_page() {
    let guest = Guest::busybox().await;
    let mut ids = Vec::new();
    for _ in 0..520 {
        let outcome = guest.run(ProcessSpec { linger_nanos: Some(0), ..shell("sleep 1000 > /dev/null 2>&1 &") }).await;
        ids.push(outcome.started.unwrap().process_id);
    }
    assert_eq!(guest.list().await.iter().map(|info| info.process_id).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn a_tree_is_killed_and_its_real_end_told() {
    let guest = Guest::busybox().await;
    let mut call = guest.start(shell(TREE)).await;
    let process_id = call.started().await.process_id;
    call.read_until("grown").await;
    let cgroup = guest.process_cgroups().pop().unwrap();
    guest.signal(process_id, libc::SIGKILL, Scope::Tree).await.unwrap();
    let outcome = call.finish().await;
    assert_eq!((outcome.signal(), outcome.exited.unwrap().timed_out), (Some(9), false));
    dead(&cgroup).await;
}

#[tokio::test]
async fn a_signal_reaches_a_whole_tree_in_whatever_sessions() {
    let guest = Guest::busybox().await;
    let member = "trap 'echo $0; exit 0' USR1; echo up; while :; do sleep 0.01; done";
    let inner = member.replace('$', "\\$");
    let script = format!("for name in a b c; do (setsid sh -c \"{inner}\" $name &); done; {member}");
    let mut call = guest.start(shell(&script)).await;
    let process_id = call.started().await.process_id;
    let mut up = String::new();
    while up.matches("up").count() < 4 {
        up += &call.read_until("up").await;
    }
    guest.signal(process_id, libc::SIGUSR1, Scope::Tree).await.unwrap();
    let outcome = call.finish().await;
    let mut names: Vec<_> = std::str::from_utf8(&outcome.stdout).unwrap().lines().collect();
    names.sort_unstable();
    assert_eq!((outcome.code(), names), (Some(0), vec!["a", "b", "c", "sh"]));
}

#[tokio::test]
async fn signal_scopes_that_are_unknown_or_in_doubt_are_refused() {
    let mut guest = Guest::busybox().await;
    let mut call = guest.start(command("sleep 1000")).await;
    let process_id = call.started().await.process_id;
    for (process_group, scope) in [(true, Scope::Process.into()), (false, 1000), (false, -1)] {
        let request = SignalProcessRequest { process_id, signal: 9, process_group, scope };
        assert_eq!(guest.client.signal_process(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    guest.signal(process_id, libc::SIGKILL, Scope::Group).await.unwrap();
    assert_eq!(call.finish().await.signal(), Some(9));
}

#[tokio::test]
async fn users_that_never_answer_hold_up_nobody() {
    let guest = Guest::busybox().await;
    let (_server, path) = start_silent_mount(&guest).await;
    assert_eq!(guest.sh(&format!("ln -sf {path}/passwd /etc/passwd")).await.code(), Some(0));
    let app = ProcessSpec { user: "app".into(), ..command("true") };
    assert_eq!(guest.run(app).await.failure().reason(), Reason::UnknownUser);
    assert_eq!(guest.run(command("echo by number")).await.text(), "by number\n");
}

#[tokio::test]
async fn processes_do_not_lock_out_what_ends_them() {
    let mut guest = Guest::busybox().await;
    let mut calls = JoinSet::new();
    for _ in 0..1025 {
        let mut client = guest.client.clone();
        calls.spawn(async move { client.run_process(tokio_stream::pending()).await.map(drop) });
    }
    // The others wait for `start`.
    let refused = calls.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "1024 processes run already"));
    let signal = SignalProcessRequest { process_id: 1, signal: 15, process_group: false, scope: 0 };
    assert_eq!(guest.client.signal_process(signal).await.unwrap_err().code(), Code::NotFound);
    guest.client.shutdown(ShutdownRequest::default()).await.unwrap();
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn a_process_has_no_cgroups_to_hide_in() {
    let guest = Guest::busybox().await;
    let mut call = guest.start(shell("echo up; sleep 1000")).await;
    call.read_until("up").await;
    let nested = guest.process_cgroups().pop().unwrap().join("nested");
    assert_eq!(fs::create_dir(nested).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
}

/// As a container engine in a privileged sandbox leaves them.
#[tokio::test]
async fn cgroups_that_a_process_made_below_its_own_end_with_it() {
    let what = What::Filesystem(Filesystem {
        r#type: "cgroup2".into(),
        source: "cgroup2".into(),
        parameters: Vec::new(),
        ..Default::default()
    });
    let mount = Mount { destination: "/sys/fs/cgroup".into(), what: Some(what), ..Mount::default() };
    let furnishing = Some(Furnishing { mounts: vec![mount], ..Furnishing::default() });
    let mut guest = Guest::fresh(Image::busybox()).await;
    guest.client.prepare(PrepareRequest { furnishing, ..prepare_request() }).await.unwrap();
    let script = "set -e; cd /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup); mkdir -p a/b c; \
                  for i in a/b c; do sh -c \"echo 0 > $i/cgroup.procs; exec sleep 1000\" > /dev/null 2>&1 & done; \
                  until grep -q . a/b/cgroup.procs && grep -q . c/cgroup.procs; do :; done; echo";
    assert_eq!(guest.sh(script).await.text(), "\n");
    let left = guest.list().await;
    assert_eq!((left.len(), left[0].running, left[0].tree_size), (1, false, 2));
    guest.signal(left[0].process_id, libc::SIGTERM, Scope::Tree).await.unwrap();
    let events = guest.process_cgroups().pop().unwrap().join("cgroup.events");
    let is_empty = || fs::read_to_string(&events).unwrap().contains("populated 0").then_some(());
    eventually("they end", is_empty).await;
    assert!(guest.list().await.is_empty());
    assert_eq!(guest.process_cgroups(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn signals_reach_the_process_or_its_group() {
    let mut guest = Guest::busybox().await;
    for (process_group, expected) in [(false, "parent\n"), (true, "child\nparent\n")] {
        let script = "(trap 'echo child; exit' USR1; echo > /tmp/up; while :; do sleep 0.01; done) & \
                      trap 'wait; echo parent; exit' USR1; [ GROUP = true ] || trap 'echo parent; kill -9 $!; exit' USR1; \
                      mkfifo /tmp/up 2> /dev/null; read up < /tmp/up; echo ready; wait";
        let script = format!("mkfifo /tmp/up 2> /dev/null; {}", script.replace("GROUP", &process_group.to_string()));
        let mut call = guest.start(shell(&script)).await;
        let process_id = call.started().await.process_id;
        call.read_until("ready").await;
        let signal = SignalProcessRequest { process_id, signal: libc::SIGUSR1 as u32, process_group, scope: 0 };
        guest.client.signal_process(signal).await.unwrap();
        let outcome = call.finish().await;
        assert_eq!(String::from_utf8_lossy(&outcome.stdout), expected);
    }
}

#[tokio::test]
async fn a_signal_needs_a_process_and_a_number() {
    let mut guest = Guest::busybox().await;
    let process_id = guest.sh("true").await.started.unwrap().process_id;
    for (process_id, signal, code) in [
        (process_id, 15, Code::NotFound),
        (process_id + 100, 15, Code::NotFound),
        (process_id, 0, Code::InvalidArgument),
        (process_id, 65, Code::InvalidArgument),
        (process_id, u32::MAX, Code::InvalidArgument),
    ] {
        let request = SignalProcessRequest { process_id, signal, process_group: false, scope: 0 };
        assert_eq!(guest.client.signal_process(request).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn the_end_of_the_connection_ends_the_agent_and_everything_else() {
    let mut guest = Guest::busybox().await;
    let left = ProcessSpec { linger_nanos: Some(0), ..shell("sleep 1000 & true") };
    assert_eq!(guest.run(left).await.code(), Some(0));
    let mut call = guest.start(shell(TREE)).await;
    call.read_until("grown").await;
    let cgroups = guest.process_cgroups();
    assert_eq!(cgroups.len(), 2);
    drop(call);
    guest.hang_up();
    assert!(guest.wait().await.success());
    for cgroup in cgroups {
        dead(&cgroup).await;
    }
}

/// As nothing but the kernel, short of memory or faulty, can do it.
fn kill_init(guest: &Guest) {
    let init = fs::read_to_string(guest.workload().join("init/cgroup.procs")).unwrap();
    kill(init.trim().parse().unwrap(), libc::SIGKILL);
    // It dies when it has a processor: until then its namespace takes processes.
    let stat = format!("/proc/{}/stat", init.trim());
    let lives = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
    while lives() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: integers only.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

#[tokio::test]
async fn the_end_of_the_workload_s_init_is_told_to_everybody_and_ends_the_agent() {
    let mut guest = Guest::busybox().await;
    let mut calls = Vec::new();
    let on_terminal = ProcessSpec { terminal: Some(Default::default()), ..command("sleep 1000") };
    // One of them in a PID namespace of its own, which another joins: they do not end by themselves.
    let entrypoint = ProcessSpec { pid_one: true, ..command("sleep 1000") };
    for specification in [shell(TREE), on_terminal, entrypoint, command("sleep 1000")] {
        let mut call = guest.start(specification).await;
        call.started().await;
        calls.push(call);
    }
    let cgroups = guest.process_cgroups();
    kill_init(&guest);
    let expected =
        "the workload's init was killed by signal 9, and with it everything else; the machine is of no use any more";
    for call in calls {
        let status = call.try_finish().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Aborted, expected));
    }
    assert!(guest.wait().await.success());
    for cgroup in cgroups {
        dead(&cgroup).await;
    }
}

#[tokio::test]
async fn what_is_started_while_the_workload_s_init_ends_is_told_why_it_cannot_be() {
    let guest = Guest::busybox().await;
    // So that it finds the end and the calls at once.
    kill(guest.agent_pid() as i32, libc::SIGSTOP);
    kill_init(&guest);
    let resume = async {
        tokio::task::yield_now().await;
        kill(guest.agent_pid() as i32, libc::SIGCONT);
    };
    let (first, second, ()) = tokio::join!(guest.try_run(command("true")), guest.try_run(shell("sleep 1000")), resume);
    for refused in [first.unwrap_err(), second.unwrap_err()] {
        assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
        assert!(refused.message().starts_with("the workload's init was killed by signal 9"), "{refused:?}");
    }
}

#[tokio::test]
async fn no_process_ends_the_workload_s_init() {
    let guest = Guest::busybox().await;
    for attempt in ["kill -9 1", "kill -9 -1", "kill -SEGV 1; kill -STOP 1"] {
        guest.sh(attempt).await;
        assert_eq!(guest.sh("cat /proc/1/comm").await.text(), "init\n", "{attempt}");
    }
}

#[tokio::test]
async fn shutdown_ends_the_agent_after_its_answer() {
    let mut guest = Guest::busybox().await;
    guest.client.shutdown(ShutdownRequest::default()).await.unwrap();
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn shutdown_before_prepare_is_allowed() {
    let mut guest = Guest::fresh(crate::image::Image::busybox()).await;
    guest.client.shutdown(ShutdownRequest::default()).await.unwrap();
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn shutdown_lets_processes_end_by_themselves() {
    let mut guest = Guest::busybox().await;
    let mut call =
        guest.start(shell("trap 'echo cleaned up; exit 7' TERM; echo ready; while :; do sleep 0.01; done")).await;
    call.read_until("ready").await;
    let grace_nanos = Duration::from_secs(3600).as_nanos() as u64;
    let (answer, outcome) = tokio::join!(guest.client.shutdown(ShutdownRequest { grace_nanos }), call.finish());
    answer.unwrap();
    assert_eq!((outcome.code(), &*outcome.stdout), (Some(7), &b"cleaned up\n"[..]));
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn shutdown_lets_those_that_were_left_behind_end_by_themselves() {
    let mut guest = Guest::busybox().await;
    // The network is this machine's own here.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "mkfifo /up; (trap 'seq 100000; echo last words | nc 127.0.0.1 {port}; exit' TERM; echo > /up; \
         while :; do sleep 0.01; done) > /dev/null 2>&1 & read up < /up"
    );
    assert_eq!(guest.sh(&script).await.code(), Some(0));
    let grace_nanos = Duration::from_secs(3600).as_nanos() as u64;
    let mut shutdown = pin!(guest.client.shutdown(ShutdownRequest { grace_nanos }));
    let connection = tokio::select! {
        biased;
        connection = listener.accept() => connection.unwrap().0.into_std().unwrap(),
        answer = &mut shutdown => panic!("without last words: {answer:?}"),
    };
    connection.set_nonblocking(false).unwrap();
    assert_eq!(std::io::read_to_string(connection).unwrap(), "last words\n");
    shutdown.await.unwrap();
}

#[tokio::test]
async fn shutdown_sends_a_stop_signal_to_the_process_alone() {
    let mut guest = Guest::busybox().await;
    let script = "(trap 'echo wrong' TERM USR1; echo ready; while kill -0 $$; do sleep 0.01; done) 2>/dev/null & \
                  trap 'echo stopped; exit 7' USR1; trap 'echo wrong' TERM; while :; do sleep 0.01; done";
    let mut call = guest.start(ProcessSpec { stop_signal: 10, ..shell(script) }).await;
    let mut other = guest.start(shell("trap 'exit 8' TERM; echo ready; while :; do sleep 0.01; done")).await;
    call.read_until("ready").await;
    other.read_until("ready").await;
    let grace_nanos = Duration::from_secs(3600).as_nanos() as u64;
    let (answer, outcome, other) =
        tokio::join!(guest.client.shutdown(ShutdownRequest { grace_nanos }), call.finish(), other.finish());
    answer.unwrap();
    assert_eq!((outcome.code(), &*outcome.stdout), (Some(7), &b"stopped\n"[..]));
    assert_eq!(other.code(), Some(8));
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn shutdown_kills_who_does_not_end() {
    let mut guest = Guest::busybox().await;
    let mut call = guest.start(shell("trap '' TERM; echo ready; while :; do sleep 0.01; done")).await;
    call.read_until("ready").await;
    let (answer, outcome) = tokio::join!(guest.client.shutdown(ShutdownRequest { grace_nanos: 1 }), call.finish());
    answer.unwrap();
    assert_eq!(outcome.signal(), Some(9));
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_output_that_nobody_reads() {
    let mut guest = Guest::busybox().await;
    let mut call = guest.start(command("yes")).await;
    assert!(matches!(call.next().await.unwrap(), Some(Response::Started(_))));
    guest.client.shutdown(ShutdownRequest::default()).await.unwrap();
    drop(call);
    assert!(guest.wait().await.success());
}
