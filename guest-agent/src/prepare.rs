// SPDX-License-Identifier: Apache-2.0

//! The Prepare call: from what the host asks for to the workload's world.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;
use tonic::Status;

use crate::agent::{Agent, World};
use crate::cgroup::{Limits, Workload};
use crate::error::StepError;
use crate::machine::{self, Machine};
use crate::proto::{PrepareRequest, PrepareResponse, RootFilesystem, prepare_response};
use crate::spawn::Spawner;
use crate::{bounds, clock, disk, entropy, root, sysctl};

/// More than the name of any filesystem.
const MAX_FILESYSTEM_BYTES: usize = 32;
/// HOST_NAME_MAX of limits.h.
const MAX_HOSTNAME_BYTES: usize = 64;

/// Serves the call.
pub(crate) async fn prepare(agent: Arc<Agent>, request: PrepareRequest) -> Result<PrepareResponse, Status> {
    check(&request)?;
    agent.begin_preparing()?;
    let mut steps = Vec::new();
    let built = build(&agent, request, &mut steps).await;
    agent.end_preparing(built)?;
    let steps = steps.into_iter().map(|(name, nanos)| prepare_response::Step { name: name.into(), nanos }).collect();
    Ok(PrepareResponse { steps })
}

/// What the host asked for, checked.
fn check(request: &PrepareRequest) -> Result<(), Status> {
    let invalid = |message: &str| Err(Status::invalid_argument(message));
    let Some(root) = &request.root else { return invalid("no root") };
    if root.disk_serial.is_empty() || root.disk_serial.len() > disk::MAX_SERIAL_BYTES {
        return invalid("disk_serial must have 1 to 20 bytes");
    }
    if root.scratch_serial.len() > disk::MAX_SERIAL_BYTES {
        return invalid("scratch_serial must have at most 20 bytes");
    }
    if root.scratch_serial == root.disk_serial {
        return invalid("the scratch disk is the image's");
    }
    if !root.scratch_serial.is_empty() && root.writable_bytes != 0 {
        return invalid("writable_bytes is the size of a tmpfs, and there is a scratch disk");
    }
    let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if root.filesystem.len() > MAX_FILESYSTEM_BYTES || !root.filesystem.bytes().all(named) {
        return invalid("filesystem is no filesystem's name");
    }
    if request.hostname.is_empty() || request.hostname.len() > MAX_HOSTNAME_BYTES {
        return invalid("hostname must have 1 to 64 bytes");
    }
    // It is written to /etc/hosts as it is.
    if request.hostname.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
        return invalid("hostname must not hold white space or control characters");
    }
    if request.entropy.len() > entropy::MAX_BYTES {
        return invalid("entropy must have at most 512 bytes");
    }
    sysctl::check(&request.sysctls).map_err(|message| Status::invalid_argument(bounds::message(message)))
}

/// Builds the workload's world, and says what took how long.
async fn build(agent: &Agent, request: PrepareRequest, steps: &mut root::Steps) -> Result<World, String> {
    if let Some(broken) = &agent.boot.broken {
        return Err(broken.clone());
    }
    let text = |error: StepError| error.to_string();
    let start = Instant::now();
    if request.realtime_nanos != 0 {
        clock::set_realtime(request.realtime_nanos).map_err(text)?;
    }
    if !request.entropy.is_empty() {
        entropy::credit(Path::new("/dev/random"), &request.entropy).map_err(text)?;
    }
    steps.push(("clock and entropy", start.elapsed().as_nanos() as u64));

    let start = Instant::now();
    let RootFilesystem { disk_serial, filesystem, writable_bytes, scratch_serial } = request.root.unwrap_or_default();
    let disk = find_disk(&agent.machine, &disk_serial).await?;
    let scratch =
        if scratch_serial.is_empty() { None } else { Some(find_disk(&agent.machine, &scratch_serial).await?) };
    steps.push(("disk", start.elapsed().as_nanos() as u64));

    let start = Instant::now();
    let limits = request.limits.unwrap_or_default();
    let limits = Limits { pids: limits.pids, memory_bytes: limits.memory_bytes };
    let workload = Arc::new(Workload::create(&agent.machine.cgroup, limits).map_err(text)?);
    steps.push(("cgroup", start.elapsed().as_nanos() as u64));

    let filesystem = if filesystem.is_empty() { "ext4".into() } else { filesystem };
    let staging = agent.machine.staging.clone();
    let drivers = root::drivers(&agent.machine.devices);
    let memory = workload.memory_bytes().unwrap_or_else(machine::memory_bytes);
    let sizes = root::sizes(memory, writable_bytes, scratch.is_some(), request.shared_memory_bytes);
    let plan = root::Plan {
        disk,
        filesystem,
        writable_bytes: sizes.writable,
        scratch,
        shared_memory_bytes: sizes.shared_memory,
        system_v_bytes: sizes.system_v,
        hostname: request.hostname,
        staging,
        drivers,
        sysctls: request.sysctls,
    };
    let prepared = Spawner::prepare(plan, workload.clone(), agent.children.clone()).await;
    let (spawner, init, more) = prepared.map_err(text)?;
    steps.extend(more);
    agent.machine.put_away().map_err(text)?;
    Ok(World { spawner, workload, init: Arc::new(init) })
}

async fn find_disk(machine: &Machine, serial: &str) -> Result<PathBuf, String> {
    disk::find(machine, serial)
        .await
        .map_err(|present| format!("no disk with the serial number '{serial}'; there are: {}", present.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Boot;

    #[tokio::test]
    async fn what_was_promised_and_is_not_there_fails_prepare() {
        let broken = Some("loading the module tun: No such device (os error 19)".into());
        let agent = Agent::new(Machine::default(), Boot { broken: broken.clone(), ..Boot::default() });
        let root = RootFilesystem { disk_serial: "root".into(), ..RootFilesystem::default() };
        let request = PrepareRequest { root: Some(root), hostname: "box".into(), ..PrepareRequest::default() };
        let status = prepare(agent, request).await.unwrap_err();
        assert_eq!((status.code(), Some(status.message().into())), (tonic::Code::FailedPrecondition, broken));
    }
}
