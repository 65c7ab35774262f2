// SPDX-License-Identifier: Apache-2.0

//! The Prepare call: from what the host asks for to the workload's world.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use rustix::fs::{major, minor};
use rustix::mount::MountFlags;
use tokio::time::Instant;
use tonic::Status;

use crate::agent::{Agent, World};
use crate::cgroup::{self, Limits, Workload};
use crate::disk::{self, Location};
use crate::error::StepError;
use crate::furnishing::{Furnishing, Usual};
use crate::machine::{self, Machine};
use crate::proto::{PrepareRequest, PrepareResponse, RootFilesystem, prepare_response, root_filesystem};
use crate::spawn::Spawner;
use crate::statistics;
use crate::watch::Sources;
use crate::{bounds, clock, data, entropy, namespaces, relay, root, sysctl};

/// More than the name of any filesystem.
const MAX_FILESYSTEM_BYTES: usize = 32;
/// HOST_NAME_MAX of limits.h.
const MAX_HOSTNAME_BYTES: usize = 64;

/// Serves the call.
pub(crate) async fn prepare(agent: Arc<Agent>, request: PrepareRequest) -> Result<PrepareResponse, Status> {
    let disks = check(&request)?;
    let data =
        data::check(&request.data_disks).map_err(|message| Status::invalid_argument(bounds::message(message)))?;
    let furnishing = Furnishing::check(request.furnishing.clone().unwrap_or_default())
        .map_err(|message| Status::invalid_argument(bounds::message(message)))?;
    agent.begin_preparing()?;
    let mut steps = Vec::new();
    let built = build(&agent, request, (disks, data), furnishing, &mut steps).await;
    agent.end_preparing(built)?;
    let steps = steps.into_iter().map(|(name, nanos)| prepare_response::Step { name: name.into(), nanos }).collect();
    Ok(PrepareResponse { steps })
}

/// The disks of the workload's root.
struct Disks {
    image: Location,
    scratch: Option<Location>,
}

impl Disks {
    fn of(root: &RootFilesystem) -> Result<Self, String> {
        let image = match &root.disk {
            None => return Err("no disk".into()),
            Some(root_filesystem::Disk::DiskSerial(serial)) => Location::serial(serial)?,
            Some(root_filesystem::Disk::DiskScsi(scsi)) => Location::scsi(scsi)?,
        };
        let scratch = match &root.scratch {
            None => None,
            Some(root_filesystem::Scratch::ScratchSerial(serial)) if serial.is_empty() => None,
            Some(root_filesystem::Scratch::ScratchSerial(serial)) => Some(Location::serial(serial)?),
            Some(root_filesystem::Scratch::ScratchScsi(scsi)) => Some(Location::scsi(scsi)?),
        };
        if scratch.as_ref() == Some(&image) {
            return Err("the scratch disk is the image's".into());
        }
        Ok(Self { image, scratch })
    }
}

/// Checks what the host asked for, and tells its disks.
fn check(request: &PrepareRequest) -> Result<Disks, Status> {
    let invalid = |message: &str| Err(Status::invalid_argument(message));
    let Some(root) = &request.root else { return invalid("no root") };
    let disks = Disks::of(root).map_err(Status::invalid_argument)?;
    if disks.scratch.is_some() && root.writable_bytes != 0 {
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
    if let Some(namespaces) = &request.namespaces {
        namespaces::check(namespaces).map_err(|message| Status::invalid_argument(bounds::message(message)))?;
    }
    cgroup::check(&request.cgroup_settings).map_err(|message| Status::invalid_argument(bounds::message(message)))?;
    sysctl::check(&request.sysctls).map_err(|message| Status::invalid_argument(bounds::message(message)))?;
    Ok(disks)
}

/// Builds the workload's world, and says what took how long.
async fn build(
    agent: &Agent,
    request: PrepareRequest,
    (disks, wanted): (Disks, Vec<data::Wanted>),
    furnishing: Furnishing,
    steps: &mut root::Steps,
) -> Result<World, String> {
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
    let RootFilesystem { filesystem, writable_bytes, .. } = request.root.unwrap_or_default();
    let disk = find_disk(&agent.machine, &disks.image).await?;
    let scratch = match &disks.scratch {
        None => None,
        Some(scratch) => Some(find_disk(&agent.machine, scratch).await?),
    };
    let mut data = Vec::with_capacity(wanted.len());
    for disk in wanted {
        let device = find_disk(&agent.machine, &disk.location).await?;
        data.push(disk.found(device));
    }
    steps.push(("disk", start.elapsed().as_nanos() as u64));

    let start = Instant::now();
    let limits = request.limits.unwrap_or_default();
    let nested = furnishing.usual(Usual::Cgroup).is_some_and(|options| !options.flags.contains(MountFlags::RDONLY));
    let limits = Limits { pids: limits.pids, memory_bytes: limits.memory_bytes, nested };
    let workload = Arc::new(Workload::create(&agent.machine.cgroup, limits).map_err(text)?);
    workload.set(&agent.machine.cgroup, &request.cgroup_settings).map_err(text)?;
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
        furnishing,
        namespaces: request.namespaces.unwrap_or_default(),
        data,
        network: request.network,
    };
    let disks = statistics::Disks { image: device(&plan.disk), scratch: plan.scratch.as_deref().and_then(device) };
    let prepared = Spawner::prepare(plan, workload.clone(), agent.children.clone()).await;
    let (spawner, init, mut sights, more) = prepared.map_err(text)?;
    let kept = std::mem::take(&mut sights.filesystems.data.kept);
    steps.extend(more);
    let network = match sights.tun.take() {
        Some(tun) => Some(relay::start(tun, sights.denials.take(), agent.machine.network.clone()).await.map_err(text)?),
        None => None,
    };
    let sources = Sources::open(&agent.machine.devices, sights.filesystems);
    agent.machine.put_away().map_err(text)?;
    Ok(World {
        spawner,
        workload,
        init: Arc::new(init),
        counters: OnceLock::new(),
        disks,
        interfaces: sights.interfaces,
        sources: Mutex::new(Some(sources)),
        kept,
        _network: network,
    })
}

/// The numbers by which the kernel counts what is read and written.
fn device(disk: &Path) -> Option<statistics::Device> {
    let status = rustix::fs::stat(disk).ok()?;
    Some((major(status.st_rdev), minor(status.st_rdev)))
}

async fn find_disk(machine: &Machine, disk: &Location) -> Result<PathBuf, String> {
    disk::find(machine, disk).await.map_err(|present| {
        let present: Vec<_> = present.iter().map(Location::to_string).collect();
        format!("the disk with {disk} is not there; there are: {}", present.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Boot;

    #[tokio::test]
    async fn what_was_promised_and_is_not_there_fails_prepare() {
        let broken = Some("loading the module tun: No such device (os error 19)".into());
        let agent = Agent::new(Machine::default(), Boot { broken: broken.clone(), ..Boot::default() });
        let disk = Some(root_filesystem::Disk::DiskSerial("root".into()));
        let root = RootFilesystem { disk, ..RootFilesystem::default() };
        let request = PrepareRequest { root: Some(root), hostname: "box".into(), ..PrepareRequest::default() };
        let status = prepare(agent, request).await.unwrap_err();
        assert_eq!((status.code(), Some(status.message().into())), (tonic::Code::FailedPrecondition, broken));
    }
}
