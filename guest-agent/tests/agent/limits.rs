// SPDX-License-Identifier: Apache-2.0

//! Limits of the workload: enforced where this kernel has the controllers on cgroup v2, refused where it has not.

use std::fs;

use nacelle_agent::proto::{PrepareRequest, WorkloadLimits};
use tonic::Code;

use crate::image::Image;
use crate::support::{Guest, prepare_request};

/// A guest with limits, unless the machine lacks the controller: then the answer says that.
async fn limited(controller: &str, limits: WorkloadLimits) -> Option<Guest> {
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
