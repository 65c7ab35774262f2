// SPDX-License-Identifier: Apache-2.0

//! The calls of `nacelle.agent.v1.Agent`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::body::Incoming;
use rustix::io::Errno;
use rustix::system::uname;
use rustix::termios::tcsetwinsize;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::agent::Agent;
use crate::machine::memory_bytes;
use crate::proto::agent_server;
use crate::proto::{
    BootMarks, Event, FileRequest, FileResponse, GetInfoRequest, GetInfoResponse, GetStatisticsRequest,
    ListProcessesRequest, ListProcessesResponse, PrepareRequest, PrepareResponse, ResizeTerminalRequest,
    ResizeTerminalResponse, RunProcessRequest, RunProcessResponse, SetClockRequest, SetClockResponse, ShutdownRequest,
    ShutdownResponse, SignalProcessRequest, SignalProcessResponse, Statistics, WatchEventsRequest,
    WatchStatisticsRequest, signal_process_request::Scope,
};
use crate::requests::Requests;
use crate::responses::{Past, Responses};
use crate::wire::{signal_of, window_size};
use crate::{clock, files, prepare, process};

/// Messages that wait for the connection: one for each output of a process, and room for the next.
const QUEUED_RESPONSES: usize = 4;
/// How often statistics are read, at most and at least.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_secs(3600);
/// What a host may use beyond the contract's first release; the contract says what each is.
const FEATURES: &[&str] = &[
    "process-list",
    "signal-scope",
    "linger",
    "start-timeout",
    "own-memory",
    "pid-one",
    "shared-memory",
    "workload-ended",
    "merge-stderr",
    "discard-output",
    "scsi-disk",
    "data-disks",
    "furnishing",
    "statistics",
    "events",
    "security",
    "namespaces",
    "cgroup-settings",
    "executable",
    "set-clock",
    "files",
    "file-trees",
    "hold",
    "mount-options",
    "network",
];

/// The calls, served; clones serve the same agent.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Agent>);

impl Calls {
    pub(crate) fn new(agent: Arc<Agent>) -> Self {
        Self(agent)
    }
}

#[tonic::async_trait]
impl agent_server::Agent for Calls {
    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        let kernel = uname();
        let processors = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
        let marks = self.0.boot.marks;
        Ok(Response::new(GetInfoResponse {
            agent_version: env!("CARGO_PKG_VERSION").into(),
            kernel_release: kernel.release().to_string_lossy().into(),
            kernel_version: kernel.version().to_string_lossy().into(),
            kernel_machine: kernel.machine().to_string_lossy().into(),
            features: FEATURES.iter().copied().map(Into::into).collect(),
            memory_bytes: memory_bytes(),
            cpus: processors,
            boot_marks: Some(BootMarks {
                agent_entered_nanos: marks.entered,
                modules_loaded_nanos: marks.modules_loaded,
                connected_nanos: marks.connected,
            }),
        }))
    }

    async fn prepare(&self, request: Request<PrepareRequest>) -> Result<Response<PrepareResponse>, Status> {
        // Apart from the call: a host that stops waiting must not leave half a root.
        let prepared = tokio::spawn(prepare::prepare(self.0.clone(), request.into_inner())).await;
        prepared.map_err(|error| Status::internal(error.to_string()))?.map(Response::new)
    }

    type RunProcessStream = tokio_stream::Empty<Result<RunProcessResponse, Status>>;

    async fn run_process(
        &self,
        request: Request<Streaming<RunProcessRequest>>,
    ) -> Result<Response<Self::RunProcessStream>, Status> {
        let requests = requests_of(request)?;
        let activity = self.0.activity()?;
        let (responses, stream) = mpsc::channel(QUEUED_RESPONSES);
        tokio::spawn(process::run(activity, requests, responses));
        Ok(carried(Responses::begin(stream).await?))
    }

    async fn signal_process(
        &self,
        request: Request<SignalProcessRequest>,
    ) -> Result<Response<SignalProcessResponse>, Status> {
        let request = request.into_inner();
        let (process_id, signal, scope) = (request.process_id, signal_of(request.signal)?, scope_of(&request)?);
        let process = self.0.processes.find(process_id).ok_or_else(|| not_running(process_id))?;
        let sent = match scope {
            Scope::Tree if !process.cgroup.is_populated() => Err(Errno::SRCH),
            Scope::Tree => {
                process.cgroup.signal(signal);
                Ok(())
            }
            scope => self.0.children.signal(process.pid, signal, scope == Scope::Group),
        };
        match sent {
            Ok(()) => Ok(Response::new(SignalProcessResponse {})),
            Err(Errno::SRCH) => Err(not_running(process_id)),
            Err(errno) => Err(Status::internal(format!("signalling: {}", std::io::Error::from(errno)))),
        }
    }

    async fn list_processes(
        &self,
        request: Request<ListProcessesRequest>,
    ) -> Result<Response<ListProcessesResponse>, Status> {
        Ok(Response::new(self.0.processes.list(request.into_inner().after_process_id)))
    }

    async fn resize_terminal(
        &self,
        request: Request<ResizeTerminalRequest>,
    ) -> Result<Response<ResizeTerminalResponse>, Status> {
        let ResizeTerminalRequest { process_id, size } = request.into_inner();
        let size = window_size(size)?;
        let process = self.0.processes.find(process_id).filter(|process| !process.has_exited());
        let process = process.ok_or_else(|| not_running(process_id))?;
        let terminal = process
            .terminal
            .get()
            .and_then(Weak::upgrade)
            .ok_or_else(|| Status::failed_precondition("the process has no terminal"))?;
        tcsetwinsize(&*terminal, size).map_err(|errno| Status::internal(errno.to_string()))?;
        Ok(Response::new(ResizeTerminalResponse {}))
    }

    async fn get_statistics(&self, _: Request<GetStatisticsRequest>) -> Result<Response<Statistics>, Status> {
        Ok(Response::new(self.0.world()?.statistics()))
    }

    type WatchStatisticsStream = ReceiverStream<Result<Statistics, Status>>;

    async fn watch_statistics(
        &self,
        request: Request<WatchStatisticsRequest>,
    ) -> Result<Response<Self::WatchStatisticsStream>, Status> {
        let every = Duration::from_nanos(request.into_inner().interval_nanos);
        if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&every) {
            return Err(Status::invalid_argument("interval_nanos is 100 ms to 1 h"));
        }
        let (agent, world, watching) = (self.0.clone(), self.0.world()?, self.0.watching()?);
        let (sender, readings) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let read = async {
                while let Ok(room) = sender.reserve().await {
                    ticks.tick().await;
                    room.send(Ok(world.statistics()));
                }
            };
            answer(&agent, &sender, read).await;
            drop(watching);
        });
        Ok(Response::new(ReceiverStream::new(readings)))
    }

    type WatchEventsStream = ReceiverStream<Result<Event, Status>>;

    async fn watch_events(&self, _: Request<WatchEventsRequest>) -> Result<Response<Self::WatchEventsStream>, Status> {
        let (agent, world, watching) = (self.0.clone(), self.0.world()?, self.0.watching()?);
        if agent.events.want() {
            if let Some(sources) = lock(&world.sources).take() {
                let (agent, workload) = (agent.clone(), world.workload.clone());
                tokio::spawn(async move { sources.watch(&workload, &agent.processes, &agent.events).await });
            }
        }
        let mut reader = agent.events.reader();
        let (sender, told) = mpsc::channel(1);
        tokio::spawn(async move {
            let tell = async {
                while let Ok(room) = sender.reserve().await {
                    room.send(Ok(reader.next(&agent.events).await));
                }
            };
            answer(&agent, &sender, tell).await;
            drop(watching);
        });
        Ok(Response::new(ReceiverStream::new(told)))
    }

    async fn set_clock(&self, request: Request<SetClockRequest>) -> Result<Response<SetClockResponse>, Status> {
        clock::set_realtime(request.into_inner().realtime_nanos)
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(SetClockResponse {}))
    }

    type UseFilesStream = tokio_stream::Empty<Result<FileResponse, Status>>;

    async fn use_files(
        &self,
        request: Request<Streaming<FileRequest>>,
    ) -> Result<Response<Self::UseFilesStream>, Status> {
        let place = files::Place::take(&self.0)?;
        let (responses, stream) = mpsc::channel(1);
        tokio::spawn(files::run(self.0.clone(), place, request.into_inner(), responses));
        Ok(carried(Responses::new(stream)))
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        self.0.shut_down(Duration::from_nanos(request.into_inner().grace_nanos)).await;
        Ok(Response::new(ShutdownResponse {}))
    }
}

/// An empty response, which `server` puts these in the place of.
fn carried<T>(responses: Responses) -> Response<tokio_stream::Empty<T>> {
    let mut response = Response::new(tokio_stream::empty());
    response.extensions_mut().insert(Past::new(responses));
    response
}

/// What the host says in a call, past tonic: see `server`.
fn requests_of<M>(mut request: Request<Streaming<M>>) -> Result<Requests, Status> {
    let body = request.extensions_mut().remove::<Past<Incoming>>().and_then(|past| past.take());
    body.map(Requests::new).ok_or_else(|| Status::internal("a request without a body"))
}

/// Answers a call that goes on with what `work` sends, until the host or the machine has enough.
async fn answer<T>(agent: &Agent, sender: &mpsc::Sender<T>, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = sender.closed() => {}
        () = agent.ended() => {}
        () = work => {}
    }
}

/// Whom a signal is meant for.
fn scope_of(request: &SignalProcessRequest) -> Result<Scope, Status> {
    match (Scope::try_from(request.scope), request.process_group) {
        (Ok(Scope::Unspecified), true) => Ok(Scope::Group),
        (Ok(Scope::Unspecified), false) => Ok(Scope::Process),
        (Ok(scope), false) => Ok(scope),
        (Ok(_), true) => Err(Status::invalid_argument("process_group is superseded by scope, and both are given")),
        (Err(_), _) => Err(Status::invalid_argument(format!("there is no signal scope {}", request.scope))),
    }
}

fn not_running(process_id: u64) -> Status {
    Status::not_found(format!("process {process_id} is not running"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_is_in_the_contract_by_its_name() {
        let contract = include_str!("../../proto/src/main/protobuf/nacelle/agent/v1/agent.proto");
        let (_, names) = contract.split_once("Names of optional abilities").unwrap();
        let (names, _) = names.split_once("repeated string features").unwrap();
        let named: Vec<_> =
            names.lines().filter_map(|line| line.trim().strip_prefix("//   ")?.split_whitespace().next()).collect();
        assert_eq!(named, FEATURES);
    }
}
