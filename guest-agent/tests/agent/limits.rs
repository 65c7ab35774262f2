// SPDX-License-Identifier: Apache-2.0

//! Limits of the workload: enforced where this kernel has the controllers on cgroup v2, refused where it has not.

use std::fs;

use nacelle_agent::proto::signal_process_request::Scope;
use nacelle_agent::proto::{PrepareRequest, ProcessSpec, ShutdownRequest, WorkloadLimits};
use tonic::Code;

use crate::image::Image;
use crate::support::{Guest, command, prepare_request};

/// A guest with limits, unless the machine lacks the controller: then the answer says that.
pub async fn limited(controller: &str, limits: WorkloadLimits) -> Option<Guest> {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let answer = guest.client.prepare(PrepareRequest { limits: Some(limits), ..prepare_request() }).await;
    let controllers = guest.workload().parent().unwrap().join("cgroup.controllers");
    if fs::read_to_string(controllers).unwrap().split_whitespace().any(|name| name == controller) {
        answer.unwrap();
        return Some(guest);
    }
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains(&format!("limiting the workload ({controller}.max")), "{status:?}");
    None
}

#[tokio::test]
async fn processes_are_limited() {
    let limits = WorkloadLimits { pids: 8, ..WorkloadLimits::default() };
    let Some(guest) = limited("pids", limits).await else { return };
    let outcome = guest.sh("i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done; echo done").await;
    assert!(String::from_utf8_lossy(&outcome.stderr).contains("can't fork"), "{outcome:?}");
}

#[tokio::test]
async fn a_workload_full_of_processes_locks_out_neither_execs_nor_their_end() {
    let limits = WorkloadLimits { pids: 8, ..WorkloadLimits::default() };
    let Some(mut guest) = limited("pids", limits).await else { return };
    let mut sleeps = Vec::new();
    for _ in 0..12 {
        let mut call = guest.start(command("sleep 1000")).await;
        sleeps.push((call.started().await.process_id, call));
    }
    assert_eq!(guest.run(command("echo in")).await.text(), "in\n");
    let outcome = guest.sh("(true); echo more").await;
    assert!(String::from_utf8_lossy(&outcome.stderr).contains("can't fork"), "{outcome:?}");
    for (process_id, call) in sleeps {
        guest.signal(process_id, libc::SIGKILL, Scope::Tree).await.unwrap();
        assert_eq!(call.finish().await.signal(), Some(9));
    }
    assert_eq!(guest.sh("(true); (true); echo room").await.text(), "room\n");
    let mut call = guest.start(command("sleep 1000")).await;
    call.started().await;
    guest.client.shutdown(ShutdownRequest { grace_nanos: 1 }).await.unwrap();
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn an_out_of_memory_kill_is_told_of_the_process_that_it_hit() {
    let limits = WorkloadLimits { memory_bytes: 32 << 20, ..WorkloadLimits::default() };
    let Some(guest) = limited("memory", limits).await else { return };
    let mut bystander = guest.start(ProcessSpec { stdin: true, ..command("cat") }).await;
    bystander.started().await;
    let outcome = guest.sh("tail /dev/zero; echo survived").await;
    let exited = outcome.exited.as_ref().unwrap();
    // One that it started, and not itself.
    assert_eq!((outcome.code(), &*outcome.stdout), (Some(0), &b"survived\n"[..]));
    assert!(exited.oom_killed && !exited.oom_killed_elsewhere, "{exited:?}");
    bystander.close_stdin();
    let exited = bystander.finish().await.exited.unwrap();
    assert!(!exited.oom_killed && exited.oom_killed_elsewhere, "{exited:?}");
    let exited = guest.sh("true").await.exited.unwrap();
    assert!(!exited.oom_killed && !exited.oom_killed_elsewhere, "{exited:?}");
}

#[tokio::test]
async fn memory_of_a_tree_is_counted_where_the_kernel_can() {
    let limits = WorkloadLimits { memory_bytes: 64 << 20, ..WorkloadLimits::default() };
    let Some(guest) = limited("memory", limits).await else { return };
    let counted = guest.workload().join("memory.peak").exists();
    let grown = guest.sh("head -c 20000000 /dev/zero | tail -c 20000000 | wc -c").await;
    let peak = grown.exited.unwrap().tree_peak_memory_bytes;
    assert_eq!(peak > 20_000_000, counted, "{peak}");
}

#[tokio::test]
async fn memory_is_limited_and_the_kill_is_told() {
    let limits = WorkloadLimits { memory_bytes: 32 << 20, ..WorkloadLimits::default() };
    let Some(guest) = limited("memory", limits).await else { return };
    let outcome = guest.sh("tail /dev/zero").await;
    let exited = outcome.exited.unwrap();
    assert!(exited.oom_killed, "{exited:?}");
    let outcome = guest.sh("echo fine").await;
    assert!(!outcome.exited.unwrap().oom_killed);
    assert_eq!(outcome.text(), "fine\n");
}
