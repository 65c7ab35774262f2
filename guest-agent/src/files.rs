// SPDX-License-Identifier: Apache-2.0

//! One UseFiles call: what the host says goes to a worker, and what the worker answers to the host.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message;
use rustix::io::Errno;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};

use crate::agent::{Agent, FILE_CALLS};
use crate::bounds;
use crate::budget::Share;
use crate::cgroup::Cgroup;
use crate::chunk::{Encoded, content, message};
use crate::exchange::MAX_FRAME_BYTES;
use crate::io::NonBlocking;
use crate::proto::file_request::Request;
use crate::proto::file_response::Response;
use crate::proto::{FileFailure, FileRequest, FileResponse};
use crate::reaper::Exiting;
use crate::responses::Sender;
use crate::spawn::Worker;

/// How long a worker whose call is over may take to end by itself, so that it leaves nothing half-made.
const FAREWELL: Duration = Duration::from_secs(1);

/// The right to serve one call, and to have a worker, which may be there longer.
pub(crate) struct Place {
    _call: OwnedSemaphorePermit,
    process: OwnedSemaphorePermit,
}

impl Place {
    pub(crate) fn take(agent: &Agent) -> Result<Self, Status> {
        let workers = &agent.workers;
        let call = workers.calls.clone().try_acquire_owned();
        let call = call.map_err(|_| Status::failed_precondition(format!("{FILE_CALLS} calls use files already")))?;
        let process = workers.processes.clone().try_acquire_owned().map_err(|_| {
            Status::failed_precondition(
                "too many workers cannot be killed, for the filesystem that they use does not answer",
            )
        })?;
        Ok(Self { _call: call, process })
    }
}

/// Serves one call. The receiver of `responses` is dropped when the host cancels it.
pub(crate) async fn run(agent: Arc<Agent>, place: Place, mut requests: Streaming<FileRequest>, responses: Sender) {
    let answer = tokio::select! {
        biased;
        () = responses.closed() => return,
        answer = carry(&agent, place, &mut requests, &responses) => answer,
    };
    if let Err(status) = answer {
        let _ = responses.send(Err(status)).await;
    }
}

async fn carry(
    agent: &Agent,
    place: Place,
    requests: &mut Streaming<FileRequest>,
    responses: &Sender,
) -> Result<(), Status> {
    let start = requests.message().await?;
    let timeout = match start.as_ref().and_then(|start| start.request.as_ref()) {
        Some(Request::Start(operation)) => Duration::from_nanos(operation.timeout_nanos),
        _ => return Err(Status::invalid_argument("the first message must be `start`")),
    };
    let deadline = Instant::now().checked_add(timeout).filter(|_| !timeout.is_zero());
    let world = agent.world()?;
    let worker = world.spawner.worker(agent.next_process_id()).await;
    let Worker { newborn, requests: to_worker, responses: from_worker } =
        worker.map_err(|error| Status::failed_precondition(error.to_string()))?;
    let (exit, cgroup) = newborn.take();
    let running = Running(Some((exit, cgroup, place.process)));
    let to_worker = NonBlocking::new(to_worker).map_err(internal)?;
    let from_worker = NonBlocking::new(from_worker).map_err(internal)?;

    // Apart: what waits for the worker must not keep what it answers from leaving.
    let (output, input) = (agent.output.share(), agent.output.share());
    let over = || failed(Errno::TIMEDOUT, "the time that the call had is over");
    let last = tokio::select! {
        biased;
        last = forward(&from_worker, responses, &output) => match last? {
            Some(last) => last,
            None if running.was_killed_for_memory() => failed(Errno::NOMEM, "the worker was killed by the OOM killer"),
            None => failed(Errno::IO, "the worker ended before it had done what it was asked for"),
        },
        violated = feed(start, requests, to_worker, &input) => return Err(violated),
        () = until(deadline) => over(),
    };
    // The worker is on its way out, or is to be.
    drop((from_worker, running));
    let _ = responses.send(Ok(message(&last))).await;
    Ok(())
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn failed(errno: Errno, message: &str) -> FileResponse {
    let failure = FileFailure { errno: errno.raw_os_error(), path: Bytes::new(), message: message.into() };
    FileResponse { response: Some(Response::Failure(failure)) }
}

fn internal(error: std::io::Error) -> Status {
    Status::internal(error.to_string())
}

/// Hands on what the host says; returns when it breaks the contract.
async fn feed(
    start: Option<FileRequest>,
    requests: &mut Streaming<FileRequest>,
    worker: NonBlocking,
    share: &Arc<Share>,
) -> Status {
    let mut next = start;
    while let Some(request) = next {
        let length = request.encoded_len();
        if length > MAX_FRAME_BYTES {
            return Status::invalid_argument(format!("a message of {length} bytes"));
        }
        let mut frame = BytesMut::with_capacity(4 + length);
        frame.extend_from_slice(&(length as u32).to_ne_bytes());
        let encoded = request.encode(&mut frame);
        drop(request);
        let _held = share.hold(frame.len());
        if encoded.is_err() || worker.write_all(&frame).await.is_err() {
            // The worker has ended, and said why.
            return pending().await;
        }
        next = match requests.message().await {
            Ok(next) => next,
            Err(status) => return status,
        };
    }
    // The worker sees the end.
    drop(worker);
    pending().await
}

/// Hands on what the worker answers, up to the last message; none where it ended without one. It reads only what it can
/// send, so a host that does not read makes the worker wait.
async fn forward(worker: &NonBlocking, responses: &Sender, share: &Arc<Share>) -> Result<Option<FileResponse>, Status> {
    loop {
        let room = responses.reserve().await.map_err(|_| Status::cancelled("the host cancelled the call"))?;
        let mut length = [0; 4];
        if !worker.fill(&mut length).await.map_err(internal)? {
            return Ok(None);
        }
        let length = u32::from_ne_bytes(length) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(Status::internal(format!("a worker's message of {length} bytes")));
        }
        let mut encoded = Encoded::take(share, length).await;
        if !worker.fill(encoded.room()).await.map_err(internal)? {
            return Ok(None);
        }
        let message = encoded.message();
        let response = FileResponse::decode(content(&message)).map_err(|error| Status::internal(error.to_string()))?;
        match response.response {
            Some(Response::Parts(_)) => room.send(Ok(message)),
            Some(Response::Failure(failure)) => return Ok(Some(explained(failure))),
            _ => return Ok(Some(response)),
        }
    }
}

/// With what the errno means: a worker is a fork of this process, where strerror(3) may wait for a lock that another thread
/// had.
fn explained(failure: FileFailure) -> FileResponse {
    let meaning = std::io::Error::from_raw_os_error(failure.errno);
    let message = bounds::message(format!("{}: {meaning}", failure.message));
    FileResponse { response: Some(Response::Failure(FileFailure { message, ..failure })) }
}

/// A worker, which is to end when this is dropped, by itself or killed; its place is free when it has.
struct Running(Option<(Exiting, Cgroup, OwnedSemaphorePermit)>);

impl Running {
    fn was_killed_for_memory(&self) -> bool {
        self.0.as_ref().is_some_and(|(_, cgroup, _)| cgroup.oom_kills() > 0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((mut exit, cgroup, place)) = self.0.take() else { return };
        tokio::spawn(async move {
            if timeout(FAREWELL, exit.wait_for(Option::is_some)).await.is_err() {
                cgroup.kill();
                let _ = exit.wait_for(Option::is_some).await;
            }
            cgroup.try_remove();
            drop(place);
        });
    }
}
