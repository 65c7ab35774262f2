// SPDX-License-Identifier: Apache-2.0

//! One RunProcess call: a process, its streams, its end.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use crate::bounds;
use crate::cgroup::Cgroup;
use crate::exec::{self, Report, Step};
use crate::io::NonBlocking;
use crate::proto::run_process_request::Request;
use crate::proto::run_process_response::Response;
use crate::proto::{
    Exited, ProcessSpec, RunProcessRequest, RunProcessResponse, StartFailed, Started, exited, start_failed::Reason,
};
use crate::reaper::{Exit, ExitStatus};
use crate::service::{Activity, Process, Shared, signal_of, window_size};
use crate::spawn::{Launch, LaunchError, Launched, Streams};

/// The most that one `stdin` message carries.
const MAX_STDIN_BYTES: usize = 256 << 10;
/// How long outputs that others hold open may be silent after the process's end, and how long they are read at all.
const QUIET: Duration = Duration::from_millis(100);
const AFTERMATH: Duration = Duration::from_secs(1);

type Responses = mpsc::Sender<Result<RunProcessResponse, Status>>;
type Exiting = watch::Receiver<Option<Exit>>;

/// Serves one call. The receiver of `responses` is dropped when the host cancels it.
pub(crate) async fn run(activity: Activity, mut requests: Streaming<RunProcessRequest>, responses: Responses) {
    let agent = &*activity.0;
    let answer = tokio::select! {
        biased;
        () = responses.closed() => return,
        launch = first_request(agent, &mut requests) => match launch {
            Ok((launch, deadline)) => carry(agent, launch, deadline, requests, &responses).await,
            Err(status) => Err(status),
        },
    };
    if let Err(status) = answer {
        let _ = responses.send(Err(status)).await;
    }
}

/// Reads the `start` that comes first; the deadline counts from here.
async fn first_request(
    agent: &Shared,
    requests: &mut Streaming<RunProcessRequest>,
) -> Result<(Launch, Option<Instant>), Status> {
    match requests.message().await?.and_then(|message| message.request) {
        Some(Request::Start(specification)) => {
            let timeout = Duration::from_nanos(specification.timeout_nanos);
            let deadline = Instant::now().checked_add(timeout).filter(|_| !timeout.is_zero());
            Ok((launch(agent.next_process_id(), specification)?, deadline))
        }
        _ => Err(Status::invalid_argument("the first message must be `start`")),
    }
}

/// What the host asked for, checked.
fn launch(id: u64, specification: ProcessSpec) -> Result<Launch, Status> {
    let string = |what: &'static str| {
        move |text: String| CString::new(text).map_err(|_| Status::invalid_argument(format!("{what} holds a NUL")))
    };
    bounds::check(&specification).map_err(Status::invalid_argument)?;
    if let Some(entry) = specification.environment.iter().find(|entry| !entry.contains('=')) {
        let message = format!("environment entry '{entry}' is not NAME=value");
        return Err(Status::invalid_argument(bounds::message(message)));
    }
    let directory = match specification.working_directory {
        directory if directory.is_empty() => "/".into(),
        directory if directory.starts_with('/') => directory,
        directory => {
            let message = format!("working_directory '{directory}' is not absolute");
            return Err(Status::invalid_argument(bounds::message(message)));
        }
    };
    Ok(Launch {
        id,
        arguments: specification.arguments.into_iter().map(string("arguments")).collect::<Result<_, _>>()?,
        environment: specification.environment.into_iter().map(string("environment")).collect::<Result<_, _>>()?,
        working_directory: string("working_directory")(directory)?,
        user: specification.user,
        terminal: specification.terminal.map(|terminal| window_size(terminal.size)).transpose()?,
        stdin: specification.stdin,
        pid_one: specification.pid_one,
        stop_signal: match specification.stop_signal {
            0 => None,
            number => Some(signal_of(number)?),
        },
    })
}

/// Starts the process and stays with it to the end; afterwards nothing of it is left, unless it exited and left others
/// behind.
async fn carry(
    agent: &Shared,
    launch: Launch,
    deadline: Option<Instant>,
    requests: Streaming<RunProcessRequest>,
    responses: &Responses,
) -> Result<(), Status> {
    let world = agent.world()?;
    let (id, stdin, stop_signal) = (launch.id, launch.stdin, launch.stop_signal);
    let oom_kills = world.workload.oom_kills();
    let launched = match world.spawner.launch(launch).await {
        Ok(launched) => launched,
        Err(error) => return respond(responses, Response::StartFailed(not_born(error))).await,
    };
    let Launched { pid, exit, cgroup, report, streams, candidates, working_directory } = launched;
    let cgroup = Arc::new(cgroup);
    let life = async {
        let pid_inside = match await_start(report, &candidates, &working_directory).await? {
            Ok(pid) => pid,
            Err(failed) => return Ok(Err(failed)),
        };
        let mut streams = Ends::new(streams, stdin)?;
        let (input, is_terminal) = (streams.input.take(), streams.is_terminal);
        agent.add_process(id, Process { pid, stop_signal, cgroup: cgroup.clone(), terminal: streams.terminal() });
        respond(responses, Response::Started(Started { process_id: id, pid: pid_inside })).await?;
        tokio::select! {
            biased;
            _ = async { tokio::join!(exited(exit.clone()), streams.pump(responses, &exit)) } => {
                streams.abandon();
                Ok(Ok(()))
            }
            violated = feed(input, is_terminal, requests) => match violated {
                Err(status) => Err(status),
                Ok(never) => match never {},
            },
        }
    };
    let supervised = async {
        let supervised = tokio::select! {
            biased;
            () = responses.closed() => Err(cancelled()),
            supervised = life => supervised,
        };
        if supervised.is_err() {
            cgroup.kill();
        }
        supervised
    };
    let (timed_out, supervised) = tokio::join!(enforce(deadline, exit.clone(), &cgroup), supervised);
    // Also after a failed start, so that no zombie outlives the call.
    let exit = exited(exit).await;
    agent.remove_process(id);
    agent.retire(cgroup);
    let response = match supervised? {
        Err(failed) => Response::StartFailed(failed),
        Ok(()) => Response::Exited(Exited {
            status: Some(match exit.status {
                ExitStatus::Code(code) => exited::Status::ExitCode(code),
                ExitStatus::Signal(signal) => exited::Status::Signal(signal),
            }),
            timed_out,
            oom_killed: world.workload.oom_kills() > oom_kills,
            user_cpu_nanos: exit.user_nanos,
            system_cpu_nanos: exit.system_nanos,
            peak_memory_bytes: exit.peak_memory_bytes,
        }),
    };
    respond(responses, response).await
}

async fn respond(responses: &Responses, response: Response) -> Result<(), Status> {
    let message = RunProcessResponse { response: Some(response) };
    responses.send(Ok(message)).await.map_err(|_| cancelled())
}

/// What becomes of a call that the host cancelled; nobody sees it.
fn cancelled() -> Status {
    Status::cancelled("the host cancelled the call")
}

fn internal(error: std::io::Error) -> Status {
    Status::internal(format!("the process's streams: {error}"))
}

/// Waits for the exit, which the reaper always hands out.
async fn exited(mut exit: Exiting) -> Exit {
    match exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit) {
        Some(exit) => exit,
        None => std::future::pending().await,
    }
}

/// Kills what has not exited at its deadline; true if it did.
async fn enforce(deadline: Option<Instant>, exit: Exiting, cgroup: &Cgroup) -> bool {
    let Some(deadline) = deadline else { return false };
    let late = timeout_at(deadline, exited(exit)).await.is_err();
    if late {
        cgroup.kill();
    }
    late
}

/// Waits until the process executes its command, and returns its PID as it sees it; or why it does not.
async fn await_start(
    report: OwnedFd,
    candidates: &[CString],
    working_directory: &CStr,
) -> Result<Result<u32, StartFailed>, Status> {
    let report = NonBlocking::new(report).map_err(internal)?;
    let report = report.read_to_end(exec::REPORT_BYTES).await.map_err(internal)?;
    Ok(match Report::parse(&report) {
        Report::Started(pid) => Ok(pid),
        Report::Failed(failure) => Err(explain(&failure, candidates, working_directory)),
        Report::Died => Err(StartFailed {
            reason: Reason::Other.into(),
            message: "the process was killed before its first step".into(),
            errno: 0,
        }),
    })
}

fn not_born(error: LaunchError) -> StartFailed {
    let (reason, message, errno) = match error {
        LaunchError::UnknownUser(message) => (Reason::UnknownUser, message, 0),
        LaunchError::Other(error) => (Reason::Other, error.to_string(), error.errno.raw_os_error()),
    };
    StartFailed { reason: reason.into(), message: bounds::message(message), errno }
}

/// Says in words why a command was not executed.
fn explain(failure: &exec::Failure, candidates: &[CString], working_directory: &CStr) -> StartFailed {
    let file = candidates.get(failure.candidate).map(|file| file.to_string_lossy()).unwrap_or_default();
    let text = std::io::Error::from(failure.errno);
    let (reason, message) = match (failure.step, failure.errno) {
        (Step::Execute, Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) if candidates.len() > 1 => {
            let command = file.rsplit('/').next().unwrap_or_default();
            let directories: Vec<_> =
                candidates.iter().map(|file| file.to_string_lossy().trim_end_matches(command).to_owned()).collect();
            (Reason::CommandNotFound, format!("no command '{command}' in {}", directories.join(", ")))
        }
        (Step::Execute, Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) => {
            (Reason::CommandNotFound, format!("{file}: {text}"))
        }
        (Step::Interpreter, _) => {
            let what = match interpreter(&failure.head) {
                Some(interpreter) => format!("its interpreter '{interpreter}' does not exist"),
                None => "the dynamic loader that it names does not exist".into(),
            };
            (Reason::CommandNotExecutable, format!("{file}: {what}"))
        }
        // Of the file, not of the machine.
        (
            Step::Execute,
            Errno::ACCESS | Errno::PERM | Errno::NOEXEC | Errno::ISDIR | Errno::TXTBSY | Errno::INVAL | Errno::LIBBAD,
        ) => (Reason::CommandNotExecutable, format!("{file}: {text}")),
        (Step::Execute, _) => (Reason::Other, format!("executing {file}: {text}")),
        (Step::WorkingDirectory, _) => {
            let directory = working_directory.to_string_lossy();
            (Reason::BadWorkingDirectory, format!("making or entering the working directory {directory}: {text}"))
        }
        (Step::OutsideRoot, _) => {
            let directory = working_directory.to_string_lossy();
            let message = format!("the working directory {directory} is outside of the workload's root");
            (Reason::BadWorkingDirectory, message)
        }
        (step, _) => {
            let name = match step {
                Step::Cgroup => "joining the cgroup",
                Step::Namespace => "joining the cgroup namespace",
                Step::Proc => "mounting the /proc of its PID namespace",
                Step::Limits => "setting limits",
                Step::Streams => "setting up stdin, stdout and stderr",
                Step::Terminal => "taking the terminal",
                Step::Capabilities => "setting capabilities",
                _ => "becoming the user",
            };
            (Reason::Other, format!("{name}: {text}"))
        }
    };
    StartFailed { reason: reason.into(), message: bounds::message(message), errno: failure.errno.raw_os_error() }
}

/// The program that a script's first line names.
fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let program = line.trim_ascii().split(u8::is_ascii_whitespace).next()?;
    Some(String::from_utf8_lossy(program).into_owned())
}

/// The agent's ends of a process's streams.
struct Ends {
    input: Option<Arc<NonBlocking>>,
    output: Arc<NonBlocking>,
    error: Option<Arc<NonBlocking>>,
    is_terminal: bool,
}

impl Ends {
    fn new(streams: Streams, stdin: bool) -> Result<Self, Status> {
        let end = |fd| NonBlocking::new(fd).map(Arc::new).map_err(internal);
        Ok(match streams {
            Streams::Terminal(terminal) => {
                let output = end(terminal)?;
                Self { input: stdin.then(|| output.clone()), output, error: None, is_terminal: true }
            }
            Streams::Pipes { stdin, stdout, stderr } => Self {
                input: stdin.map(end).transpose()?,
                output: end(stdout)?,
                error: Some(end(stderr)?),
                is_terminal: false,
            },
        })
    }

    fn terminal(&self) -> Option<Arc<NonBlocking>> {
        self.is_terminal.then(|| self.output.clone())
    }

    /// Sends what comes until both ends, or until the aftermath of the exit is over.
    async fn pump(&self, responses: &Responses, exit: &Exiting) {
        let output = pump(&self.output, Response::Stdout, responses, exit.clone());
        let error = async {
            if let Some(error) = &self.error {
                pump(error, Response::Stderr, responses, exit.clone()).await;
            }
        };
        tokio::join!(output, error);
    }

    /// Lets go of what may still be open: a terminal hangs up; into a pipe, whoever was left behind may write on, to
    /// nobody, rather than die of SIGPIPE.
    fn abandon(&self) {
        if self.is_terminal {
            return;
        }
        for end in [Some(&self.output), self.error.as_ref()].into_iter().flatten() {
            let end = end.clone();
            tokio::spawn(async move { while end.read().await.is_ok_and(|bytes| !bytes.is_empty()) {} });
        }
    }
}

/// Sends one output. It reads only what it can send, so a host that does not read makes the process wait.
async fn pump(source: &NonBlocking, wrap: fn(Bytes) -> Response, responses: &Responses, mut exit: Exiting) {
    let mut aftermath: Option<Aftermath> = None;
    loop {
        let Ok(permit) = responses.reserve().await else { return };
        let bytes = match &mut aftermath {
            None => tokio::select! {
                biased;
                bytes = source.read() => bytes,
                _ = exit.wait_for(Option::is_some) => {
                    aftermath = Some(Aftermath::new(source.pending()));
                    continue;
                }
            },
            Some(aftermath) => match aftermath.next(source).await {
                Some(bytes) => bytes,
                None => return,
            },
        };
        match bytes {
            Ok(bytes) if !bytes.is_empty() => permit.send(Ok(RunProcessResponse { response: Some(wrap(bytes)) })),
            _ => return,
        }
    }
}

/// An output after the process's exit. What it wrote itself is in the pipe by then, and is always read; others that hold
/// the pipe open have a moment for their last words.
struct Aftermath {
    /// Bytes in the pipe at the exit that are not read yet.
    left: u64,
    end: Option<Instant>,
}

impl Aftermath {
    fn new(left: u64) -> Self {
        Self { left, end: None }
    }

    async fn next(&mut self, source: &NonBlocking) -> Option<std::io::Result<Bytes>> {
        if self.left > 0 {
            let bytes = source.read().await;
            self.left = self.left.saturating_sub(bytes.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64));
            return Some(bytes);
        }
        let now = Instant::now();
        let end = *self.end.get_or_insert(now + AFTERMATH);
        if now >= end {
            return None;
        }
        timeout_at(end.min(now + QUIET), source.read()).await.ok()
    }
}

/// Writes stdin; returns only on a violation of the contract, or when the host is gone.
async fn feed(
    mut input: Option<Arc<NonBlocking>>,
    is_terminal: bool,
    mut requests: Streaming<RunProcessRequest>,
) -> Result<Infallible, Status> {
    let mut open = input.is_some();
    loop {
        let message = requests.message().await?;
        let ended = message.is_none();
        match message.map(|message| message.request) {
            Some(Some(Request::Stdin(_))) if !open => {
                return Err(Status::invalid_argument("stdin is closed, or `start` did not ask for it"));
            }
            Some(Some(Request::Stdin(bytes))) if bytes.len() > MAX_STDIN_BYTES => {
                return Err(Status::invalid_argument("a stdin message has at most 256 KiB"));
            }
            Some(Some(Request::Stdin(bytes))) => {
                let written = match &input {
                    Some(input) => input.write_all(&bytes).await,
                    None => Ok(()),
                };
                if written.is_err() {
                    // The process closed it: the rest goes nowhere.
                    input = None;
                }
            }
            None | Some(Some(Request::CloseStdin(_))) => {
                open = false;
                match input.take() {
                    Some(terminal) if is_terminal => type_end_of_file(&terminal).await,
                    pipe => drop(pipe),
                }
            }
            Some(Some(Request::Start(_)) | None) => {
                return Err(Status::invalid_argument("`start` comes once, and first"));
            }
        }
        if ended {
            return std::future::pending().await;
        }
    }
}

/// Types the terminal's end-of-file character (Ctrl-D, unless it was changed), where the terminal still takes one.
async fn type_end_of_file(terminal: &NonBlocking) {
    if let Ok(attributes) = tcgetattr(terminal) {
        if attributes.local_modes.contains(LocalModes::ICANON) {
            let _ = terminal.write_all(&[attributes.special_codes[SpecialCodeIndex::VEOF]]).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(step: Step, errno: Errno, head: &[u8]) -> exec::Failure {
        exec::Failure { step, errno, candidate: 0, head: head.into() }
    }

    fn explained(step: Step, errno: Errno, head: &[u8], candidates: &[&str]) -> (Reason, String, i32) {
        let candidates: Vec<_> = candidates.iter().map(|file| CString::new(*file).unwrap()).collect();
        let failed = explain(&failure(step, errno, head), &candidates, c"/");
        (failed.reason(), failed.message, failed.errno)
    }

    #[test]
    fn a_missing_command_names_where_it_was_looked_for() {
        assert_eq!(
            explained(Step::Execute, Errno::NOENT, b"", &["/usr/bin/nope", "/bin/nope"]),
            (Reason::CommandNotFound, "no command 'nope' in /usr/bin/, /bin/".into(), 2)
        );
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let (reason, message, _) = explained(Step::Execute, Errno::NOENT, b"", &["/opt/nope"]);
        assert_eq!((reason, &*message), (Reason::CommandNotFound, "/opt/nope: No such file or directory (os error 2)"));
        assert_eq!(explained(Step::Execute, Errno::NOTDIR, b"", &["/etc/passwd/x"]).0, Reason::CommandNotFound);
    }

    #[test]
    fn a_file_whose_interpreter_is_missing_is_there() {
        let (reason, message, _) =
            explained(Step::Interpreter, Errno::NOENT, b"#! /usr/bin/env python9\nprint()", &["/app/main.py"]);
        assert_eq!(reason, Reason::CommandNotExecutable);
        assert_eq!(message, "/app/main.py: its interpreter '/usr/bin/env' does not exist");
        let (reason, message, _) = explained(Step::Interpreter, Errno::NOENT, b"\x7fELF", &["/app/main"]);
        assert_eq!(reason, Reason::CommandNotExecutable);
        assert_eq!(message, "/app/main: the dynamic loader that it names does not exist");
    }

    #[test]
    fn what_is_there_and_cannot_be_executed_is_not_executable() {
        for errno in [Errno::ACCESS, Errno::NOEXEC, Errno::ISDIR, Errno::PERM] {
            assert_eq!(explained(Step::Execute, errno, b"", &["/x"]).0, Reason::CommandNotExecutable, "{errno}");
        }
    }

    #[test]
    fn what_the_machine_lacks_is_neither() {
        assert_eq!(explained(Step::Execute, Errno::NOMEM, b"", &["/x"]).0, Reason::Other);
        assert_eq!(explained(Step::Execute, Errno::TOOBIG, b"", &["/x"]).0, Reason::Other);
        assert_eq!(explained(Step::Identity, Errno::AGAIN, b"", &["/x"]).0, Reason::Other);
    }

    fn specification() -> ProcessSpec {
        ProcessSpec { arguments: vec!["true".into()], ..ProcessSpec::default() }
    }

    fn refusal(specification: ProcessSpec) -> String {
        launch(1, specification).unwrap_err().message().into()
    }

    #[test]
    fn a_specification_is_checked_before_anything_is_started() {
        assert!(launch(1, specification()).is_ok());
        assert!(refusal(ProcessSpec::default()).contains("no arguments"));
        assert!(refusal(ProcessSpec { arguments: vec!["a\0b".into()], ..specification() }).contains("NUL"));
        assert!(refusal(ProcessSpec { environment: vec!["A".into()], ..specification() }).contains("NAME=value"));
        assert!(refusal(ProcessSpec { environment: vec!["A=\0".into()], ..specification() }).contains("NUL"));
        assert!(refusal(ProcessSpec { working_directory: "tmp".into(), ..specification() }).contains("absolute"));
    }
}
