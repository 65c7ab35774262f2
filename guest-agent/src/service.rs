// SPDX-License-Identifier: Apache-2.0

//! The calls of `nacelle.agent.v1.Agent`, and the state of the machine between them.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Signal;
use rustix::system::{sysinfo, uname};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::budget::{Budget, Grant};
use crate::cgroup::{Limits, Workload};
use crate::init::Init;
use crate::machine::Machine;
use crate::output::Outgoing;
use crate::proto::agent_server;
use crate::proto::{
    BootMarks, GetInfoRequest, GetInfoResponse, ListProcessesRequest, ListProcessesResponse, PrepareRequest,
    PrepareResponse, ResizeTerminalRequest, ResizeTerminalResponse, RootFilesystem, RunProcessRequest,
    RunProcessResponse, ShutdownRequest, ShutdownResponse, SignalProcessRequest, SignalProcessResponse, WindowSize,
    prepare_response, signal_process_request::Scope,
};
use crate::reaper::Children;
use crate::registry::Registry;
use crate::spawn::Spawner;
use crate::{bounds, clock, disk, entropy, log, process, root, sysctl};

/// Processes at a time; also calls whose process is not gone yet, or that have not said which to start.
pub(crate) const MAX_PROCESSES: usize = 1024;
/// Messages that wait for the connection: one for each output of a process, and room for the next.
const QUEUED_RESPONSES: usize = 4;
/// More than the name of any filesystem.
const MAX_FILESYSTEM_BYTES: usize = 32;
/// HOST_NAME_MAX of limits.h.
const MAX_HOSTNAME_BYTES: usize = 64;
/// What a host may use beyond the contract's first release; the contract says what each is.
const FEATURES: [&str; 8] = [
    "process-list",
    "signal-scope",
    "linger",
    "start-timeout",
    "own-memory",
    "pid-one",
    "shared-memory",
    "workload-ended",
];
/// How long killed processes may take to be gone; only one in an uninterruptible sleep takes that long.
const DEATH: Duration = Duration::from_secs(10);
/// How long a host may leave output unread when everything is to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Moments of the boot, as [`crate::boot_nanos`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) entered: u64,
    pub(crate) modules_loaded: u64,
    pub(crate) connected: u64,
}

/// What the boot leaves to tell.
#[derive(Clone, Debug, Default)]
pub struct Boot {
    pub(crate) marks: Marks,
    /// Why the workload cannot have what it was promised; Prepare fails with it.
    pub(crate) broken: Option<String>,
}

/// The agent; clones are the same one.
#[derive(Clone)]
pub struct Agent(Arc<Shared>);

/// What the calls share.
pub struct Shared {
    machine: Machine,
    boot: Boot,
    children: Children,
    state: Mutex<State>,
    last_process_id: AtomicU64,
    pub(crate) processes: Registry,
    /// Output on its way to the host.
    pub(crate) output: Budget,
    /// RunProcess calls that have not ended, counted.
    active: watch::Sender<usize>,
    shut_down: watch::Sender<bool>,
}

enum State {
    Fresh,
    Preparing,
    Ready(Arc<World>),
    /// Prepare failed, or the machine is shutting down.
    Closed,
    /// The workload's init ended, and how.
    InitEnded(String),
}

/// The prepared workload.
pub(crate) struct World {
    pub(crate) spawner: Spawner,
    pub(crate) workload: Arc<Workload>,
    pub(crate) init: Arc<Init>,
}

impl Deref for Agent {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Agent {
    /// An agent whose workload is not prepared yet, on the current tokio runtime, where it reaps children from now on.
    pub fn new(machine: Machine, boot: Boot) -> Self {
        let children = Children::default();
        let reaper = children.clone();
        tokio::spawn(async { log!("reaping: {}", reaper.reap().await) });
        Self(Arc::new(Shared {
            machine,
            boot,
            children,
            state: Mutex::new(State::Fresh),
            last_process_id: AtomicU64::new(0),
            processes: Registry::default(),
            output: Budget::default(),
            active: watch::Sender::new(0),
            shut_down: watch::Sender::new(false),
        }))
    }
}

impl Shared {
    /// The prepared workload, or why there is none.
    pub(crate) fn world(&self) -> Result<Arc<World>, Status> {
        match &*lock(&self.state) {
            State::Ready(world) => Ok(world.clone()),
            State::Fresh | State::Preparing => Err(Status::failed_precondition("Prepare comes first")),
            State::Closed => Err(Status::failed_precondition("Prepare failed, or the machine is shutting down")),
            State::InitEnded(how) => Err(Status::aborted(how)),
        }
    }

    pub(crate) fn next_process_id(&self) -> u64 {
        self.last_process_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a RunProcess call as long as the value lives, if there is room for one more.
    fn activity(self: &Arc<Self>) -> Result<Activity, Status> {
        let counted = self.active.send_if_modified(|count| {
            let room = *count < MAX_PROCESSES;
            *count += usize::from(room);
            room
        });
        // RESOURCE_EXHAUSTED is what a host's own gRPC makes of a message that is too large.
        let full = || Status::failed_precondition(format!("{MAX_PROCESSES} processes run already"));
        counted.then(|| Activity(self.clone())).ok_or_else(full)
    }

    /// Kills every process, and waits until they are gone and each call has had a moment to say so.
    async fn kill_all(&self) {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            // Again each time: a call may have started its process meanwhile.
            let all = self.processes.all();
            let alive = all.iter().map(|process| &process.cgroup).filter(|cgroup| cgroup.is_populated());
            let populated = alive.inspect(|cgroup| cgroup.kill()).count();
            // A call ends when the host has read the rest of its output, or is gone.
            let finished = *self.active.borrow() == 0 || start.elapsed() > LAST_WORDS;
            if populated == 0 && finished {
                break;
            }
            if start.elapsed() > DEATH {
                log!("processes outlived SIGKILL for {} s", DEATH.as_secs());
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        self.processes.sweep();
    }

    /// Asks every process to end, and waits until they have or the grace is over.
    async fn terminate_all(&self, grace: Duration) {
        let end = Instant::now() + grace;
        for process in self.processes.all() {
            match process.stop_signal {
                Some(signal) if !process.has_exited() => drop(self.children.signal(process.pid, signal, false)),
                _ => process.cgroup.signal(Signal::TERM),
            }
        }
        let mut pause = Duration::from_millis(1);
        while Instant::now() < end && self.processes.all().iter().any(|process| process.cgroup.is_populated()) {
            sleep(pause.min(end - Instant::now())).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Ends everything when the workload's init has ended: nothing can be started any more, so the host is to make another
    /// machine, and whoever still runs is told first.
    async fn end_with(self: Arc<Self>, init: Arc<Init>) {
        let how = init.end().await;
        let world = {
            let mut state = lock(&self.state);
            // Else the machine is shutting down, and the init ended with it.
            let State::Ready(world) = &*state else { return };
            let world = world.clone();
            *state = State::InitEnded(how.clone());
            world
        };
        log!("{how}");
        self.kill_all().await;
        drop(world);
        self.shut_down.send_replace(true);
    }

    /// Returns when everything has ended and the connection is to do so: Shutdown is about to answer, or the workload's init
    /// has ended.
    pub(crate) async fn shut_down(&self) {
        // The sender is a field of `self`: it is not dropped.
        let _ = self.shut_down.subscribe().wait_for(|&shut_down| shut_down).await;
    }

    async fn find_disk(&self, serial: &str) -> Result<PathBuf, String> {
        disk::find(&self.machine, serial)
            .await
            .map_err(|present| format!("no disk with the serial number '{serial}'; there are: {}", present.join(", ")))
    }

    /// Everything that Prepare does.
    async fn build(&self, request: PrepareRequest) -> Result<(World, PrepareResponse), String> {
        if let Some(broken) = &self.boot.broken {
            return Err(broken.clone());
        }
        let text = |error: crate::error::StepError| error.to_string();
        let start = Instant::now();
        if request.realtime_nanos != 0 {
            clock::set_realtime(request.realtime_nanos).map_err(text)?;
        }
        if !request.entropy.is_empty() {
            entropy::credit(Path::new("/dev/random"), &request.entropy).map_err(text)?;
        }
        let mut steps = vec![("clock and entropy", start.elapsed().as_nanos() as u64)];

        let start = Instant::now();
        let RootFilesystem { disk_serial, filesystem, writable_bytes, scratch_serial } =
            request.root.unwrap_or_default();
        let disk = self.find_disk(&disk_serial).await?;
        let scratch = if scratch_serial.is_empty() { None } else { Some(self.find_disk(&scratch_serial).await?) };
        steps.push(("disk", start.elapsed().as_nanos() as u64));

        let start = Instant::now();
        let limits = request.limits.unwrap_or_default();
        let limits = Limits { pids: limits.pids, memory_bytes: limits.memory_bytes };
        let workload = Arc::new(Workload::create(&self.machine.cgroup, limits).map_err(text)?);
        steps.push(("cgroup", start.elapsed().as_nanos() as u64));

        let filesystem = if filesystem.is_empty() { "ext4".into() } else { filesystem };
        let staging = self.machine.staging.clone();
        let drivers = root::drivers(&self.machine.devices);
        let memory = workload.memory_bytes().unwrap_or_else(memory_bytes);
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
        let prepared = Spawner::prepare(plan, workload.clone(), self.children.clone()).await;
        let (spawner, init, more) = prepared.map_err(text)?;
        steps.extend(more);
        self.machine.put_away().map_err(text)?;
        let steps =
            steps.into_iter().map(|(name, nanos)| prepare_response::Step { name: name.into(), nanos }).collect();
        Ok((World { spawner, workload, init: Arc::new(init) }, PrepareResponse { steps }))
    }

    async fn prepare(self: Arc<Self>, request: PrepareRequest) -> Result<PrepareResponse, Status> {
        check_prepare(&request)?;
        {
            let mut state = lock(&self.state);
            if !matches!(*state, State::Fresh) {
                return Err(Status::failed_precondition("Prepare was called before"));
            }
            *state = State::Preparing;
        }
        let built = self.build(request).await;
        let mut state = lock(&self.state);
        if !matches!(*state, State::Preparing) {
            return Err(Status::failed_precondition("the machine is shutting down"));
        }
        match built {
            Ok((world, response)) => {
                tokio::spawn(self.clone().end_with(world.init.clone()));
                *state = State::Ready(Arc::new(world));
                Ok(response)
            }
            Err(message) => {
                *state = State::Closed;
                Err(Status::failed_precondition(bounds::message(message)))
            }
        }
    }
}

/// A RunProcess call that has not ended.
pub(crate) struct Activity(pub(crate) Arc<Shared>);

impl Drop for Activity {
    fn drop(&mut self) {
        self.0.active.send_modify(|count| *count -= 1);
    }
}

/// What one RunProcess call answers. Dropping it is how the host's cancellation shows.
pub struct Responses {
    first: Option<RunProcessResponse>,
    rest: mpsc::Receiver<Result<Outgoing, Status>>,
    charges: Charges,
}

/// The memory of messages that were taken from a call's responses and are not in its body's next frame yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Charges(Arc<Mutex<Vec<Grant>>>);

impl Charges {
    pub(crate) fn take(&self) -> Vec<Grant> {
        std::mem::take(&mut *lock(&self.0))
    }
}

impl Responses {
    /// Waits for the first, so that it leaves together with the call's header: one packet less for each process.
    async fn begin(mut rest: mpsc::Receiver<Result<Outgoing, Status>>) -> Result<Self, Status> {
        let first = rest.recv().await.transpose()?.map(|outgoing| outgoing.response);
        Ok(Self { first, rest, charges: Charges::default() })
    }
}

impl Stream for Responses {
    type Item = Result<RunProcessResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.rest.poll_recv(context).map_ok(|Outgoing { response, grant }| {
            lock(&self.charges.0).extend(grant);
            response
        })
    }
}

#[tonic::async_trait]
impl agent_server::Agent for Agent {
    async fn get_info(&self, _: Request<GetInfoRequest>) -> Result<Response<GetInfoResponse>, Status> {
        let kernel = uname();
        let processors = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
        Ok(Response::new(GetInfoResponse {
            agent_version: env!("CARGO_PKG_VERSION").into(),
            kernel_release: kernel.release().to_string_lossy().into(),
            kernel_version: kernel.version().to_string_lossy().into(),
            kernel_machine: kernel.machine().to_string_lossy().into(),
            features: FEATURES.map(Into::into).into(),
            memory_bytes: memory_bytes(),
            cpus: processors,
            boot_marks: Some(BootMarks {
                agent_entered_nanos: self.boot.marks.entered,
                modules_loaded_nanos: self.boot.marks.modules_loaded,
                connected_nanos: self.boot.marks.connected,
            }),
        }))
    }

    async fn prepare(&self, request: Request<PrepareRequest>) -> Result<Response<PrepareResponse>, Status> {
        // Apart from the call: a host that stops waiting must not leave half a root.
        let prepared = tokio::spawn(self.0.clone().prepare(request.into_inner())).await;
        prepared.map_err(|error| Status::internal(error.to_string()))?.map(Response::new)
    }

    type RunProcessStream = Responses;

    async fn run_process(
        &self,
        request: Request<Streaming<RunProcessRequest>>,
    ) -> Result<Response<Self::RunProcessStream>, Status> {
        let activity = self.0.activity()?;
        let (responses, stream) = mpsc::channel(QUEUED_RESPONSES);
        tokio::spawn(process::run(activity, request.into_inner(), responses));
        let responses = Responses::begin(stream).await?;
        let charges = responses.charges.clone();
        let mut response = Response::new(responses);
        // For whoever puts the messages on the wire.
        response.extensions_mut().insert(charges);
        Ok(response)
    }

    async fn signal_process(
        &self,
        request: Request<SignalProcessRequest>,
    ) -> Result<Response<SignalProcessResponse>, Status> {
        let request = request.into_inner();
        let (process_id, signal, scope) = (request.process_id, signal_of(request.signal)?, scope_of(&request)?);
        let process = self.processes.find(process_id).ok_or_else(|| not_running(process_id))?;
        let sent = match scope {
            Scope::Tree if !process.cgroup.is_populated() => Err(Errno::SRCH),
            Scope::Tree => {
                process.cgroup.signal(signal);
                Ok(())
            }
            scope => self.children.signal(process.pid, signal, scope == Scope::Group),
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
        Ok(Response::new(self.processes.list(request.into_inner().after_process_id)))
    }

    async fn resize_terminal(
        &self,
        request: Request<ResizeTerminalRequest>,
    ) -> Result<Response<ResizeTerminalResponse>, Status> {
        let ResizeTerminalRequest { process_id, size } = request.into_inner();
        let size = window_size(size)?;
        let process = self.processes.find(process_id).filter(|process| !process.has_exited());
        let process = process.ok_or_else(|| not_running(process_id))?;
        let terminal = process
            .terminal
            .get()
            .and_then(Weak::upgrade)
            .ok_or_else(|| Status::failed_precondition("the process has no terminal"))?;
        tcsetwinsize(&*terminal, size).map_err(|errno| Status::internal(errno.to_string()))?;
        Ok(Response::new(ResizeTerminalResponse {}))
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        // Whoever was left behind ends with the world, so that must not end before them.
        let _world = std::mem::replace(&mut *lock(&self.state), State::Closed);
        let grace = Duration::from_nanos(request.into_inner().grace_nanos);
        if !grace.is_zero() {
            self.terminate_all(grace).await;
        }
        self.kill_all().await;
        self.shut_down.send_replace(true);
        Ok(Response::new(ShutdownResponse {}))
    }
}

/// MemTotal of /proc/meminfo.
fn memory_bytes() -> u64 {
    let memory = sysinfo();
    memory.totalram * u64::from(memory.mem_unit)
}

/// A signal by its number.
pub(crate) fn signal_of(number: u32) -> Result<Signal, Status> {
    let number = i32::try_from(number).ok().filter(|number| (1..=64).contains(number)).ok_or(number);
    let number = number.map_err(|number| Status::invalid_argument(format!("signal {number} is not in 1 to 64")))?;
    // SAFETY: the kernel defines these numbers; the two that the C library keeps for itself are never handled here.
    Ok(unsafe { Signal::from_raw_unchecked(number) })
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

fn check_prepare(request: &PrepareRequest) -> Result<(), Status> {
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

/// A terminal's size; 80 by 24 where it is not given.
pub(crate) fn window_size(size: Option<WindowSize>) -> Result<Winsize, Status> {
    let size = size.unwrap_or_default();
    let bounded = |number: u32, default: u16| match u16::try_from(number) {
        Ok(0) => Ok(default),
        Ok(number) => Ok(number),
        Err(_) => Err(Status::invalid_argument("a terminal has at most 65535 rows and columns")),
    };
    Ok(Winsize { ws_row: bounded(size.rows, 24)?, ws_col: bounded(size.columns, 80)?, ws_xpixel: 0, ws_ypixel: 0 })
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
    use crate::proto::agent_server::Agent as _;

    #[test]
    fn each_feature_is_in_the_contract_by_its_name() {
        let contract = include_str!("../../proto/src/main/protobuf/nacelle/agent/v1/agent.proto");
        let (_, names) = contract.split_once("Names of optional abilities").unwrap();
        let (names, _) = names.split_once("repeated string features").unwrap();
        let named: Vec<_> =
            names.lines().filter_map(|line| line.trim().strip_prefix("//   ")?.split_whitespace().next()).collect();
        assert_eq!(named, FEATURES);
    }

    #[tokio::test]
    async fn what_was_promised_and_is_not_there_fails_prepare() {
        let broken = Some("loading the module tun: No such device (os error 19)".into());
        let agent = Agent::new(Machine::default(), Boot { broken: broken.clone(), ..Boot::default() });
        let root = RootFilesystem { disk_serial: "root".into(), ..RootFilesystem::default() };
        let request = PrepareRequest { root: Some(root), hostname: "box".into(), ..PrepareRequest::default() };
        let status = agent.prepare(Request::new(request)).await.unwrap_err();
        assert_eq!((status.code(), Some(status.message().into())), (tonic::Code::FailedPrecondition, broken));
    }
}
