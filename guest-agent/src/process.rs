// SPDX-License-Identifier: Apache-2.0

//! One RunProcess call: a process, its streams, its end.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Status;

use crate::agent::{Activity, Agent, World};
use crate::bounds;
use crate::budget::Share;
use crate::chunk::message;
use crate::exec::{self, Report, Step};
use crate::io::NonBlocking;
use crate::output::{Ends, Linger, internal, type_end_of_file};
use crate::proto::run_process_request::Request;
use crate::proto::run_process_response::Response;
use crate::proto::{
    Created, Exited, ProcessSpec, RunProcessResponse, StartFailed, Started, exited, start_failed::Reason,
};
use crate::reaper::{Exit, ExitStatus, Exiting};
use crate::registry::{Process, Told, command_line};
use crate::requests::{MAX_STDIN_BYTES, Requests};
use crate::responses::Sender;
use crate::security::Security;
use crate::spawn::{Launch, LaunchError, Launched, Outputs};
use crate::wire::{signal_of, window_size};

/// From `start` to the execution of the command, where the host does not say, and at most.
const START: Duration = Duration::from_secs(30);
const MAX_START: Duration = Duration::from_secs(600);
/// How often it is looked whether a process has read all that its pipe held, where nothing more can be held for it.
const EXHAUSTED: Duration = Duration::from_millis(10);
/// The longest that outputs are heard after the exit.
const MAX_LINGER: Duration = Duration::from_secs(60);
/// How long a process that was killed before its command may take to be gone before the host is answered all the same;
/// only one in an uninterruptible sleep takes that long.
const DEATH: Duration = Duration::from_secs(1);

/// Serves one call. The receiver of `responses` is dropped when the host cancels it.
pub(crate) async fn run(activity: Activity, mut requests: Requests, responses: Sender) {
    let agent = &*activity.0;
    let answer = tokio::select! {
        biased;
        () = responses.closed() => return,
        order = first_request(agent, &mut requests) => match order {
            Ok(order) => carry(agent, order, requests, &responses).await,
            Err(status) => Err(status),
        },
    };
    if let Err(status) = answer {
        let _ = responses.send(Err(status)).await;
    }
}

/// What the first request asks for.
struct Order {
    launch: Launch,
    /// How long it may run.
    timeout: Option<Duration>,
    start: Duration,
    began: Instant,
    linger: Linger,
}

/// Reads the `start` that comes first; the deadlines count from here.
async fn first_request(agent: &Agent, requests: &mut Requests) -> Result<Order, Status> {
    match requests.message().await?.and_then(|message| message.request) {
        Some(Request::Start(specification)) => order(agent.next_process_id(), specification),
        _ => Err(Status::invalid_argument("the first message must be `start`")),
    }
}

fn order(id: u64, specification: ProcessSpec) -> Result<Order, Status> {
    let timeout = Duration::from_nanos(specification.timeout_nanos);
    let start = match specification.start_timeout_nanos {
        0 => START,
        nanos => Duration::from_nanos(nanos),
    };
    if start > MAX_START {
        return Err(Status::invalid_argument("start_timeout_nanos is at most 10 minutes"));
    }
    let linger = specification.linger_nanos.map(Duration::from_nanos);
    if linger.is_some_and(|linger| linger > MAX_LINGER) {
        return Err(Status::invalid_argument("linger_nanos is at most 60 s"));
    }
    Ok(Order {
        launch: launch(id, specification)?,
        timeout: Some(timeout).filter(|timeout| !timeout.is_zero()),
        start,
        began: Instant::now(),
        linger: Linger::of(linger),
    })
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
        executable: match specification.executable {
            file if file.is_empty() => None,
            file if file.starts_with('/') => Some(string("executable")(file)?),
            _ => return Err(Status::invalid_argument("executable is not absolute")),
        },
        environment: specification.environment.into_iter().map(string("environment")).collect::<Result<_, _>>()?,
        working_directory: string("working_directory")(directory)?,
        user: specification.user,
        terminal: specification.terminal.map(|terminal| window_size(terminal.size)).transpose()?,
        stdin: specification.stdin,
        outputs: Outputs {
            merge: specification.merge_stderr,
            discard_stdout: specification.discard_stdout,
            discard_stderr: specification.discard_stderr,
        },
        pid_one: specification.pid_one,
        hold: specification.hold,
        security: Security::check(specification.security.unwrap_or_default())
            .map_err(|message| Status::invalid_argument(bounds::message(message)))?,
        stop_signal: match specification.stop_signal {
            0 => None,
            number => Some(signal_of(number)?),
        },
    })
}

/// Starts the process and stays with it to the end; afterwards nothing of it is left, unless it exited and left others
/// behind.
async fn carry(agent: &Agent, order: Order, mut requests: Requests, responses: &Sender) -> Result<(), Status> {
    let world = agent.world()?;
    let Order { launch, timeout: limit, start, began, linger } = order;
    let (id, stdin, stop_signal, command) =
        (launch.id, launch.stdin, launch.stop_signal, command_line(&launch.arguments));
    let oom_kills = world.workload.oom_kills();
    let launched = match timeout_at(began + start, world.spawner.launch(launch)).await {
        Ok(Ok(launched)) => launched,
        Ok(Err(error)) => return conclude(&world, responses, Response::StartFailed(not_born(error))).await,
        Err(_) => {
            let failed = not_in_time(start, "it could not be born");
            return conclude(&world, responses, Response::StartFailed(failed)).await;
        }
    };
    let Launched { pid, newborn, report, hold, streams, candidates, working_directory } = launched;
    let (exit, cgroup) = newborn.take();
    let process = agent.processes.add(
        id,
        Process {
            pid,
            exit: exit.clone(),
            stop_signal,
            cgroup,
            terminal: OnceLock::new(),
            pid_inside: AtomicU32::new(0),
            command,
            started: Instant::now(),
            told: Told::default(),
        },
    );
    let call = Ended { agent, id };
    let mut began = began;
    let unheard = match hold {
        None => None,
        Some(hold) => {
            let held = async {
                let created = timeout_at(began + start, await_hold(hold)).await;
                let Ok(held) = created else { return Ok(Some(Err(not_in_time(start, STOPPED)))) };
                // Else it has failed, and its report tells how, or it was killed.
                let Some((pid_inside, hold)) = held? else { return Ok(None) };
                process.pid_inside.store(pid_inside, Ordering::Relaxed);
                respond(responses, Response::Created(Created { process_id: id, pid: pid_inside })).await?;
                tokio::select! {
                    biased;
                    _ = exited(exit.clone()) => Ok(Some(Ok(false))),
                    released = release(&hold, &mut requests) => released.map(|()| None),
                }
            };
            let unheard = tokio::select! {
                biased;
                () = responses.closed() => Err(cancelled()),
                held = held => held,
            };
            began = Instant::now();
            unheard.transpose()
        }
    };
    let start_deadline = began + start;
    let deadline = limit.and_then(|limit| began.checked_add(limit));
    let life = async {
        if let Some(unheard) = unheard {
            return unheard;
        }
        let await_start = await_start(report, &candidates, &working_directory);
        let pid_inside = match timeout_at(start_deadline, await_start).await {
            Ok(Ok(Ok(pid))) => pid,
            Ok(Ok(Err(failed))) => return Ok(Err(failed)),
            Ok(Err(status)) => return Err(status),
            Err(_) => return Ok(Err(not_in_time(start, STOPPED))),
        };
        let mut streams = Ends::new(streams, stdin)?;
        let (input, is_terminal) = (streams.input.take(), streams.is_terminal);
        if let Some(terminal) = streams.terminal() {
            let _ = process.terminal.set(Arc::downgrade(&terminal));
        }
        process.tell_started(&agent.events, id, pid_inside);
        respond(responses, Response::Started(Started { process_id: id, pid: pid_inside })).await?;
        let share = agent.output.share();
        // Apart: what waits to be read must not keep the output from leaving whose process would then read on.
        let input_share = agent.output.share();
        tokio::select! {
            biased;
            (_, abandoned) = async { tokio::join!(told_exit(agent, id, &process), streams.pump(responses, &share, &exit, linger)) } => {
                streams.abandon();
                Ok(Ok(abandoned))
            }
            violated = feed(input, is_terminal, requests, &input_share) => match violated {
                Err(status) => Err(status),
                Ok(never) => match never {},
            },
        }
    };
    let timed_out = AtomicBool::new(false);
    let supervised = tokio::select! {
        biased;
        () = responses.closed() => Err(cancelled()),
        supervised = life => supervised,
        never = enforce(deadline, &process, &timed_out) => match never {},
    };
    let outputs_abandoned = match supervised {
        Ok(Ok(abandoned)) => abandoned,
        Ok(Err(failed)) => {
            // Of one that failed by itself nothing is there to be killed.
            process.cgroup.kill();
            let _ = timeout(DEATH, exited(exit)).await;
            return conclude(&world, responses, Response::StartFailed(failed)).await;
        }
        Err(status) => {
            process.cgroup.kill();
            told_exit(agent, id, &process).await;
            return Err(status);
        }
    };
    let exit = exited(exit).await;
    let own_kills = process.cgroup.oom_kills();
    let response = Response::Exited(Exited {
        status: Some(match exit.status {
            ExitStatus::Code(code) => exited::Status::ExitCode(code),
            ExitStatus::Signal(signal) => exited::Status::Signal(signal),
        }),
        timed_out: timed_out.into_inner(),
        oom_killed: own_kills > 0,
        user_cpu_nanos: exit.user_nanos,
        system_cpu_nanos: exit.system_nanos,
        peak_memory_bytes: exit.peak_memory_bytes,
        outputs_abandoned,
        oom_killed_elsewhere: world.workload.oom_kills().saturating_sub(oom_kills) > own_kills,
        tree_peak_memory_bytes: process.cgroup.peak_memory_bytes(),
    });
    drop(call);
    conclude(&world, responses, response).await
}

/// Sends a call's last message; or tells of the end of the workload's init, where that is what became of the process.
async fn conclude(world: &World, responses: &Sender, last: Response) -> Result<(), Status> {
    let was_killed = match &last {
        Response::Exited(end) => !end.timed_out && end.status == Some(exited::Status::Signal(libc::SIGKILL as u32)),
        _ => true,
    };
    if was_killed && world.init.is_ending() {
        return Err(Status::aborted(world.init.end().await));
    }
    respond(responses, last).await
}

/// Ends a process's call in the registry when it is dropped.
struct Ended<'a> {
    agent: &'a Agent,
    id: u64,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.agent.processes.end(self.id);
    }
}

async fn respond(responses: &Sender, response: Response) -> Result<(), Status> {
    let message = message(&RunProcessResponse { response: Some(response) });
    responses.send(Ok(message)).await.map_err(|_| cancelled())
}

/// What becomes of a call that the host cancelled; nobody sees it.
fn cancelled() -> Status {
    Status::cancelled("the host cancelled the call")
}

/// Waits for the exit, which the reaper always hands out.
async fn exited(mut exit: Exiting) -> Exit {
    match exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit) {
        Some(exit) => exit,
        None => pending().await,
    }
}

/// Waits for the exit, and tells those who want to know as soon as it is there; before that, whom the OOM killer has ended
/// by then, which may be why.
async fn told_exit(agent: &Agent, id: u64, process: &Process) {
    let exit = exited(process.exit.clone()).await;
    if agent.events.are_wanted() {
        process.tell_oom_kills(&agent.events, id, process.cgroup.oom_kills());
        process.tell_exit(&agent.events, id, &exit);
    }
}

/// Kills what has not exited at its deadline, and says so.
async fn enforce(deadline: Option<Instant>, process: &Process, timed_out: &AtomicBool) -> Infallible {
    if let Some(deadline) = deadline {
        if timeout_at(deadline, exited(process.exit.clone())).await.is_err() {
            timed_out.store(true, Ordering::Relaxed);
            process.cgroup.kill();
        }
    }
    pending().await
}

/// Why a process is not in time, of all that is known.
const STOPPED: &str = "it was stopped, or its working directory or file does not answer";

/// Waits until the process is held, and returns its PID as it sees it; none when it has ended instead.
async fn await_hold(hold: OwnedFd) -> Result<Option<(u32, NonBlocking)>, Status> {
    let hold = NonBlocking::new(hold).map_err(internal)?;
    // Four bytes that it has written at once.
    let pid = hold.read().await.unwrap_or_default();
    Ok(pid.first_chunk().map(|pid| (u32::from_ne_bytes(*pid), hold)))
}

/// Waits until the host lets it go, and does.
async fn release(hold: &NonBlocking, requests: &mut Requests) -> Result<(), Status> {
    match requests.message().await?.and_then(|message| message.request) {
        // Where it has just ended, its exit tells that.
        Some(Request::Release(_)) => drop(hold.write_all(&[1]).await),
        _ => return Err(Status::invalid_argument("a process that is held has to be released first")),
    }
    Ok(())
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

fn not_in_time(limit: Duration, why: &str) -> StartFailed {
    let message = format!("the command was not executed within {limit:?}: {why}");
    StartFailed { reason: Reason::TimedOut.into(), message, errno: 0 }
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
                Step::Namespace => "joining its namespaces",
                Step::Proc => "mounting the /proc of its PID namespace",
                Step::Limits => "setting resource limits",
                Step::Scheduling => "setting how it is scheduled",
                Step::Filter => "installing its seccomp filter",
                Step::Streams => "setting up stdin, stdout and stderr",
                Step::Terminal => "taking the terminal",
                Step::Hold => "being held",
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

/// Waits until the next message of stdin may be taken: until then it is where HTTP/2's window bounds it. That is when there
/// is room for a part of it, and for all of it where processes hold all that they may. Returns also where the reader is gone,
/// which shows when it is written.
async fn await_room(input: &NonBlocking, is_terminal: bool, share: &Share) {
    // How much waits to be read from a terminal nobody tells.
    while input.room().await.is_ok() && !is_terminal && share.is_exhausted() && input.pending() > 0 {
        sleep(EXHAUSTED).await;
    }
}

/// Writes stdin; returns only on a violation of the contract, or when the host is gone.
async fn feed(
    mut input: Option<Arc<NonBlocking>>,
    is_terminal: bool,
    mut requests: Requests,
    share: &Arc<Share>,
) -> Result<Infallible, Status> {
    let mut open = input.is_some();
    let mut unfinished = false;
    loop {
        if let Some(input) = &input {
            await_room(input, is_terminal, share).await;
        }
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
                // The end of a message and the beginning of the next come together.
                let more = requests.stdin().unwrap_or_default();
                let last = more.last().or(bytes.last());
                unfinished = last.map_or(unfinished, |last| !matches!(last, b'\n' | b'\r'));
                let _held = share.hold(bytes.len() + more.len());
                let written = match &input {
                    Some(input) => input.write_both(&bytes, &more).await,
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
                    Some(terminal) if is_terminal => type_end_of_file(&terminal, unfinished).await,
                    pipe => drop(pipe),
                }
            }
            Some(Some(Request::Start(_) | Request::Release(_)) | None) => {
                return Err(Status::invalid_argument(
                    "`start` comes once and first, `release` once and to what is held",
                ));
            }
        }
        if ended {
            return pending().await;
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
