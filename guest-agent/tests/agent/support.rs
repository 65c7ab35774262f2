// SPDX-License-Identifier: Apache-2.0

//! An agent in a process of its own on this machine's kernel, and a host that talks to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use nacelle_agent::proto::agent_client::AgentClient;
use nacelle_agent::proto::root_filesystem::Disk;
use nacelle_agent::proto::run_process_request::Request;
use nacelle_agent::proto::run_process_response::Response;
use nacelle_agent::proto::signal_process_request::Scope;
use nacelle_agent::proto::{
    Exited, ListProcessesRequest, PrepareRequest, ProcessInfo, ProcessSpec, RootFilesystem, RunProcessRequest,
    RunProcessResponse, SignalProcessRequest, StartFailed, Started, exited,
};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::image::Image;

/// The serial number of the image's disk.
pub const SERIAL: &str = "nacelle-root";

/// What ends a test that would hang; no test comes near it.
pub const HANG: Duration = Duration::from_secs(120);

/// As the host's: what a process may have on its way; and the connection's is as large as those of all processes.
const STREAM_WINDOW: u32 = 256 << 10;

/// An agent whose workload may be prepared.
pub struct Guest {
    pub client: AgentClient<Channel>,
    process: Child,
    cgroup: PathBuf,
    image: Image,
    directory: TempDir,
}

impl Guest {
    /// An agent that nobody has asked for anything yet.
    pub async fn fresh(image: Image) -> Self {
        Self::of(image, false).await
    }

    /// An agent that has its executable for itself, as in a virtual machine.
    pub async fn with_own_executable(image: Image) -> Self {
        Self::of(image, true).await
    }

    async fn of(image: Image, own_executable: bool) -> Self {
        assert!(rustix::process::getuid().is_root(), "the agent's tests mount and make namespaces: run them as root");
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let disk = path("block").join(image.device.file_name().unwrap());
        fs::create_dir_all(&disk).unwrap();
        fs::write(disk.join("serial"), SERIAL).unwrap();
        fs::create_dir(path("staging")).unwrap();
        let cgroup = cgroup_hierarchy().join(directory.path().file_name().unwrap());
        fs::create_dir(&cgroup).unwrap();

        let listener = UnixListener::bind(path("socket")).unwrap();
        let mut executable = PathBuf::from(env!("CARGO_BIN_EXE_agent_on_socket"));
        let mut arguments = vec![path("socket"), path("block"), cgroup.clone(), path("staging")];
        if own_executable {
            // Not by this process: while it has the copy open to write, also in a child that another test forks, nobody can
            // execute it.
            assert!(Command::new("cp").arg(&executable).arg(path("agent")).status().unwrap().success());
            executable = path("agent");
            arguments.push(executable.clone());
        }
        let process = Command::new(executable).args(arguments).spawn().unwrap();
        let client = accept(&listener).await;
        Self { client, process, cgroup, image, directory }
    }

    /// Where the agent looks for the host of its workload's network.
    pub fn network_socket(&self) -> PathBuf {
        self.directory.path().join("socket.network")
    }

    /// Shows the agent another disk.
    pub fn attach(&self, device: &Path, serial: &str) {
        let disk = self.directory.path().join("block").join(device.file_name().unwrap());
        fs::create_dir(&disk).unwrap();
        fs::write(disk.join("serial"), serial).unwrap();
    }

    /// An agent with a prepared workload of the busybox image.
    pub async fn busybox() -> Self {
        Self::prepared(Image::busybox()).await
    }

    pub async fn prepared(image: Image) -> Self {
        let mut guest = Self::fresh(image).await;
        guest.client.prepare(prepare_request()).await.unwrap();
        guest
    }

    /// Ends the connection to the agent.
    pub fn hang_up(&mut self) {
        // Dropping the channel closes its connection.
        self.client = AgentClient::new(Endpoint::from_static("http://nowhere").connect_lazy());
    }

    /// Runs a shell script to its end.
    pub async fn sh(&self, script: &str) -> Outcome {
        self.run(shell(script)).await
    }

    /// Runs a process without stdin to its end.
    pub async fn run(&self, specification: ProcessSpec) -> Outcome {
        self.start(specification).await.finish().await
    }

    /// Runs a process to its end, or to why the call was refused.
    pub async fn try_run(&self, specification: ProcessSpec) -> Result<Outcome, Status> {
        let (requests, stream) = mpsc::unbounded_channel();
        assert!(Self::send(&requests, Request::Start(specification)));
        self.call(requests, stream).await?.try_finish().await
    }

    /// Starts a process.
    pub async fn start(&self, specification: ProcessSpec) -> Running {
        let (requests, stream) = mpsc::unbounded_channel();
        assert!(Self::send(&requests, Request::Start(specification)));
        self.call(requests, stream).await.unwrap()
    }

    /// Opens a RunProcess call whose requests are sent by hand.
    pub async fn call(
        &self,
        requests: mpsc::UnboundedSender<RunProcessRequest>,
        stream: mpsc::UnboundedReceiver<RunProcessRequest>,
    ) -> Result<Running, Status> {
        let responses = self.client.clone().run_process(UnboundedReceiverStream::new(stream)).await?.into_inner();
        Ok(Running { requests, responses: Mutex::new(responses).into_inner().unwrap() })
    }

    /// Tells whether the call still takes requests.
    fn send(requests: &mpsc::UnboundedSender<RunProcessRequest>, request: Request) -> bool {
        requests.send(RunProcessRequest { request: Some(request), ..Default::default() }).is_ok()
    }

    pub fn agent_pid(&self) -> u32 {
        self.process.id()
    }

    pub fn device(&self) -> &Path {
        &self.image.device
    }

    /// The workload's cgroup.
    pub fn workload(&self) -> PathBuf {
        self.cgroup.join("workload")
    }

    /// Cgroups of single processes that exist.
    pub fn process_cgroups(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.workload()).unwrap().flatten();
        entries
            .filter(|entry| entry.file_type().unwrap().is_dir() && entry.file_name() != "init")
            .map(|entry| entry.path())
            .collect()
    }

    /// The agent's memory that is not a file's, in bytes.
    pub fn agent_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent_pid())).unwrap();
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap().trim();
        anonymous.strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Waits until as many processes, each of a call of its own, sleep in write(2), system call 1.
    pub async fn dammed(&self, count: usize) {
        let dammed = |cgroup: &PathBuf| {
            let pid = fs::read_to_string(cgroup.join("cgroup.procs")).ok()?;
            let call = fs::read_to_string(format!("/proc/{}/syscall", pid.trim())).ok()?;
            call.starts_with("1 ").then_some(())
        };
        eventually("every flood is dammed", || {
            (self.process_cgroups().iter().filter_map(dammed).count() == count).then_some(())
        })
        .await;
    }

    /// What the agent says of processes that are left.
    pub async fn list(&self) -> Vec<ProcessInfo> {
        let mut all: Vec<ProcessInfo> = Vec::new();
        loop {
            let after_process_id = all.last().map_or(0, |last| last.process_id);
            let page = self.client.clone().list_processes(ListProcessesRequest { after_process_id }).await.unwrap();
            let page = page.into_inner();
            assert!(page.processes.len() <= 512);
            all.extend(page.processes);
            if !page.more {
                return all;
            }
        }
    }

    pub async fn signal(&self, process_id: u64, signal: i32, scope: Scope) -> Result<(), Status> {
        let request =
            SignalProcessRequest { process_id, signal: signal as u32, process_group: false, scope: scope.into() };
        self.client.clone().signal_process(request).await.map(drop)
    }

    /// The agent's children that have ended and were not reaped.
    pub fn zombies(&self) -> usize {
        let stats = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        let parent = self.agent_pid().to_string();
        stats
            .filter(|stat| {
                let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
                fields.next() == Some("Z") && fields.next() == Some(&parent)
            })
            .count()
    }

    /// The agent's open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.agent_pid())).unwrap().count()
    }

    /// Waits until the agent has ended.
    pub async fn wait(&mut self) -> ExitStatus {
        eventually("the agent ends", || self.process.try_wait().unwrap()).await
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // The workload's init dies with the agent, and everything else with that.
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        for _ in 0..1000 {
            if remove_cgroups(&self.cgroup).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

fn remove_cgroups(cgroup: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(cgroup)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_cgroups(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

/// Waits for a condition, whatever makes it true, without caring when.
pub async fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(HANG, wait).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn accept(listener: &UnixListener) -> AgentClient<Channel> {
    let accepted = tokio::time::timeout(HANG, listener.accept()).await.expect("the agent does not dial");
    let stream = Mutex::new(Some(accepted.unwrap().0));
    let connector = tower::service_fn(move |_| {
        let stream = stream.lock().unwrap().take();
        async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("the agent dials, not we")) }
    });
    let endpoint = Endpoint::from_static("http://agent").timeout(HANG).initial_stream_window_size(STREAM_WINDOW);
    let endpoint = endpoint.initial_connection_window_size(STREAM_WINDOW << 10);
    AgentClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

/// Where cgroup v2 is mounted on this machine.
fn cgroup_hierarchy() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let target = fields.next()?;
        (fields.next()? == "cgroup2").then(|| target.into())
    });
    found.expect("these tests need a cgroup v2 hierarchy")
}

/// The disk with that serial number, as Prepare names it.
pub fn serial(serial: &str) -> Option<Disk> {
    Some(Disk::DiskSerial(serial.into()))
}

pub fn prepare_request() -> PrepareRequest {
    PrepareRequest {
        root: Some(RootFilesystem { disk: serial(SERIAL), ..RootFilesystem::default() }),
        hostname: "nacelle-test".into(),
        ..PrepareRequest::default()
    }
}

/// A command without arguments that need quoting.
pub fn command(line: &str) -> ProcessSpec {
    ProcessSpec {
        arguments: line.split(' ').map(Into::into).collect(),
        environment: vec!["PATH=/bin".into()],
        ..ProcessSpec::default()
    }
}

pub fn shell(script: &str) -> ProcessSpec {
    let arguments = ["sh", "-c", script].map(String::from).into();
    ProcessSpec { arguments, environment: vec!["PATH=/bin".into()], ..ProcessSpec::default() }
}

/// A call that runs.
pub struct Running {
    requests: mpsc::UnboundedSender<RunProcessRequest>,
    responses: Streaming<RunProcessResponse>,
}

impl Running {
    /// That the call has ended, its responses tell.
    pub fn send(&self, request: Request) {
        let _ = Guest::send(&self.requests, request);
    }

    pub fn stdin(&self, bytes: impl Into<Vec<u8>>) {
        self.send(Request::Stdin(bytes.into().into()));
    }

    /// A message of its own of little stdin, as the contract wants those.
    pub async fn little_stdin(&self, bytes: &'static [u8]) {
        let padding = vec![0; 1 << 10].into();
        let _ = self.requests.send(RunProcessRequest { request: Some(Request::Stdin(bytes.into())), padding });
        // Has it sent before there is another, with which it would share a frame.
        tokio::task::yield_now().await;
    }

    pub fn close_stdin(&self) {
        self.send(Request::CloseStdin(Default::default()));
    }

    pub async fn next(&mut self) -> Result<Option<Response>, Status> {
        let message = tokio::time::timeout(HANG, self.responses.message()).await.expect("the call hangs");
        Ok(message?.map(|message| message.response.expect("a response of a known kind")))
    }

    pub async fn started(&mut self) -> Started {
        match self.next().await.unwrap() {
            Some(Response::Started(started)) => started,
            other => panic!("instead of `started`: {other:?}"),
        }
    }

    /// Reads stdout until it holds `text`.
    pub async fn read_until(&mut self, text: &str) -> String {
        let mut output = Vec::new();
        loop {
            match self.next().await.unwrap() {
                Some(Response::Stdout(bytes)) => output.extend_from_slice(&bytes),
                Some(Response::Started(_) | Response::Stderr(_)) => {}
                other => panic!("before '{text}' came {other:?}, after {:?}", String::from_utf8_lossy(&output)),
            }
            let output = String::from_utf8_lossy(&output);
            if output.contains(text) {
                return output.into_owned();
            }
        }
    }

    /// Reads to the end, and checks the order that the contract promises.
    pub async fn try_finish(mut self) -> Result<Outcome, Status> {
        let mut outcome = Outcome::default();
        while let Some(response) = self.next().await? {
            assert!(outcome.exited.is_none() && outcome.failed.is_none(), "after the last message: {response:?}");
            match response {
                Response::Started(started) => {
                    assert!(outcome.started.is_none() && outcome.stdout.is_empty() && outcome.stderr.is_empty());
                    outcome.started = Some(started);
                }
                Response::StartFailed(failed) => outcome.failed = Some(failed),
                Response::Stdout(bytes) => {
                    assert!(bytes.len() <= 64 << 10);
                    outcome.stdout.extend_from_slice(&bytes);
                }
                Response::Stderr(bytes) => {
                    assert!(bytes.len() <= 64 << 10);
                    outcome.stderr.extend_from_slice(&bytes);
                }
                Response::Exited(exited) => outcome.exited = Some(exited),
                Response::Created(_) => assert!(outcome.started.is_none(), "after it has started: {response:?}"),
            }
        }
        Ok(outcome)
    }

    pub async fn finish(self) -> Outcome {
        self.try_finish().await.unwrap()
    }
}

/// All that a call answered.
#[derive(Debug, Default)]
pub struct Outcome {
    pub started: Option<Started>,
    pub failed: Option<StartFailed>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exited: Option<Exited>,
}

impl Outcome {
    /// The output of a process that must have succeeded without a word on stderr.
    pub fn text(self) -> String {
        let stderr = String::from_utf8_lossy(&self.stderr).into_owned();
        assert_eq!((self.code(), &*stderr), (Some(0), ""), "{:?}", self.failed);
        String::from_utf8(self.stdout).unwrap()
    }

    pub fn code(&self) -> Option<u32> {
        match self.exited.as_ref()?.status? {
            exited::Status::ExitCode(code) => Some(code),
            exited::Status::Signal(_) => None,
        }
    }

    pub fn signal(&self) -> Option<u32> {
        match self.exited.as_ref()?.status? {
            exited::Status::ExitCode(_) => None,
            exited::Status::Signal(signal) => Some(signal),
        }
    }

    pub fn failure(self) -> StartFailed {
        assert!(self.started.is_none(), "{self:?}");
        self.failed.expect("`start_failed`")
    }
}
