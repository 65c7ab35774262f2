// SPDX-License-Identifier: Apache-2.0

//! Processes that are held before their command.

use std::fs;

use nacelle_agent::proto::run_process_request::Request;
use nacelle_agent::proto::run_process_response::Response;
use nacelle_agent::proto::signal_process_request::Scope;
use nacelle_agent::proto::start_failed::Reason;
use nacelle_agent::proto::{Created, Namespaces, PrepareRequest, ProcessSpec, ResourceLimit, Security, UserNamespace};
use tonic::Code;

use crate::image::Image;
use crate::support::{Guest, Running, command, eventually, prepare_request, shell};

fn held(specification: ProcessSpec) -> ProcessSpec {
    ProcessSpec { hold: true, ..specification }
}

async fn created(running: &mut Running) -> Created {
    match running.next().await.unwrap() {
        Some(Response::Created(created)) => created,
        other => panic!("instead of `created`: {other:?}"),
    }
}

#[tokio::test]
async fn it_waits_with_all_that_it_will_have_and_runs_when_it_is_released() {
    let guest = Guest::busybox().await;
    let script = shell("cat; echo $$ $(id -u); pwd");
    let specification = ProcessSpec {
        pid_one: true,
        user: "7:8".into(),
        working_directory: "/tmp".into(),
        stdin: true,
        timeout_nanos: 60_000_000_000,
        ..held(script)
    };
    let mut process = guest.start(specification).await;
    let created = created(&mut process).await;
    assert_eq!(created.pid, 1);
    let listed = guest.list().await;
    assert_eq!((listed.len(), listed[0].process_id, listed[0].pid), (1, created.process_id, 1));
    // What is run meanwhile joins its namespaces, and sees it as it will be.
    let seen = guest.sh("grep Uid /proc/1/status").await.text();
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["Uid:", "7", "7", "7", "7"]);
    process.send(Request::Release(Default::default()));
    let started = process.started().await;
    assert_eq!((started.process_id, started.pid), (created.process_id, 1));
    process.stdin("first\n");
    process.close_stdin();
    assert_eq!(process.finish().await.text(), "first\n1 7\n/tmp\n");
}

/// And so it has none of the agent's descriptors, whichever numbers those had.
#[tokio::test]
async fn it_may_have_few_descriptors_and_users_of_its_own() {
    let mappings = vec![nacelle_agent::proto::IdMapping { container_id: 0, host_id: 0, size: 1 }];
    let user = Some(UserNamespace { uid_mappings: mappings.clone(), gid_mappings: mappings });
    let namespaces = Some(Namespaces { user, ..Namespaces::default() });
    let mut guest = Guest::fresh(Image::busybox()).await;
    guest.client.prepare(PrepareRequest { namespaces, ..prepare_request() }).await.unwrap();
    let limit = ResourceLimit { resource: libc::RLIMIT_NOFILE, soft: 4, hard: 4 };
    let security = Some(Security { resource_limits: vec![limit], ..Security::default() });
    let mut process = guest.start(ProcessSpec { security, ..held(command("ls /proc/self/fd")) }).await;
    created(&mut process).await;
    process.send(Request::Release(Default::default()));
    process.started().await;
    assert_eq!(process.finish().await.text(), "0\n1\n2\n3\n");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told_when_it_is_released() {
    let guest = Guest::busybox().await;
    let mut process = guest.start(held(command("/nope"))).await;
    created(&mut process).await;
    process.send(Request::Release(Default::default()));
    let failure = process.finish().await.failure();
    assert_eq!(
        (failure.reason(), &*failure.message),
        (Reason::CommandNotFound, "/nope: No such file or directory (os error 2)")
    );
}

#[tokio::test]
async fn what_cannot_be_had_is_told_before_it_is_held() {
    let guest = Guest::busybox().await;
    let directory = ProcessSpec { working_directory: "/etc/passwd".into(), ..held(command("true")) };
    assert_eq!(guest.run(directory).await.failure().reason(), Reason::BadWorkingDirectory);
    let user = ProcessSpec { user: "nobody-at-all".into(), ..held(command("true")) };
    assert_eq!(guest.run(user).await.failure().reason(), Reason::UnknownUser);
}

#[tokio::test]
async fn a_signal_that_ends_a_process_ends_it() {
    let guest = Guest::busybox().await;
    for (pid_one, signal, code, by) in [
        (true, libc::SIGKILL, None, Some(9)),
        (true, libc::SIGTERM, Some(143), None),
        (false, libc::SIGTERM, None, Some(15)),
        (false, 40, None, Some(40)),
    ] {
        let mut process = guest.start(ProcessSpec { pid_one, ..held(command("true")) }).await;
        let id = created(&mut process).await.process_id;
        // These end nothing.
        guest.signal(id, libc::SIGWINCH, Scope::Process).await.unwrap();
        guest.signal(id, libc::SIGCHLD, Scope::Process).await.unwrap();
        guest.signal(id, signal, Scope::Process).await.unwrap();
        let outcome = process.finish().await;
        assert_eq!((outcome.code(), outcome.signal(), outcome.started), (code, by, None));
    }
    eventually("no cgroup is left", || guest.process_cgroups().is_empty().then_some(())).await;
    assert_eq!(guest.run(ProcessSpec { pid_one: true, ..command("true") }).await.started.unwrap().pid, 1);
}

#[tokio::test]
async fn the_end_of_its_call_ends_it() {
    let guest = Guest::busybox().await;
    let mut process = guest.start(held(command("sleep 1000"))).await;
    created(&mut process).await;
    let descriptors = guest.descriptors();
    drop(process);
    eventually("it is gone", || guest.process_cgroups().is_empty().then_some(())).await;
    eventually("and what it had open", || (guest.descriptors() < descriptors).then_some(())).await;
}

#[tokio::test]
async fn nothing_but_its_release_may_come() {
    let guest = Guest::busybox().await;
    for request in [Request::Stdin(vec![1].into()), Request::CloseStdin(Default::default())] {
        let mut process = guest.start(ProcessSpec { stdin: true, ..held(command("cat")) }).await;
        created(&mut process).await;
        process.send(request);
        assert_eq!(process.next().await.unwrap_err().code(), Code::InvalidArgument);
    }
    let mut twice = guest.start(held(command("sleep 1000"))).await;
    created(&mut twice).await;
    twice.send(Request::Release(Default::default()));
    twice.started().await;
    twice.send(Request::Release(Default::default()));
    assert_eq!(twice.next().await.unwrap_err().code(), Code::InvalidArgument);
    let mut never = guest.start(command("sleep 1000")).await;
    never.started().await;
    never.send(Request::Release(Default::default()));
    assert_eq!(never.next().await.unwrap_err().code(), Code::InvalidArgument);
    eventually("nothing is left", || guest.process_cgroups().is_empty().then_some(())).await;
}

/// The time of the start is that of its two parts, and the process's own begins with its release.
#[tokio::test]
async fn no_time_runs_out_while_it_is_held() {
    let guest = Guest::busybox().await;
    let times =
        ProcessSpec { timeout_nanos: 1_000_000, start_timeout_nanos: 600_000_000_000, ..held(command("sleep 1000")) };
    let mut process = guest.start(times).await;
    let id = created(&mut process).await.process_id;
    let cgroup = guest.workload().join(id.to_string());
    assert_eq!(guest.sh("sleep 0.1; echo later").await.text(), "later\n");
    assert!(fs::read_to_string(cgroup.join("cgroup.procs")).unwrap().lines().count() == 1);
    process.send(Request::Release(Default::default()));
    process.started().await;
    let exited = process.finish().await.exited.unwrap();
    assert!(exited.timed_out);
}
