// SPDX-License-Identifier: Apache-2.0

//! The thread that lives in the workload's namespaces and root, and starts its processes.
//!
//! Namespaces and the root directory belong to threads, not to processes. So one thread of the agent builds the workload's
//! world around itself, and from then on what it forks is born there, and every path that it opens is resolved there: a
//! link in the image cannot lead to the agent's own files.
//!
//! Every process waits for this one thread, so it waits for nothing that the workload can hold up.
//!
//! The namespaces that Prepare makes live as long as the workload, with `init` as PID 1. A process that is to be PID 1 itself,
//! an image's entrypoint, gets a PID namespace of its own, beside that one, and the same mounts with the /proc of that
//! namespace. The thread stays there as long as it lives, so what is started meanwhile joins it, and returns afterwards.

use std::cell::RefCell;
use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Gid, Pid, Signal, Uid, umask};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::cgroup::{Cgroup, Workload};
use crate::denials::Denials;
use crate::error::{Step, StepError};
use crate::fork::{fork_into, pipe};
use crate::init::{self, Init};
use crate::namespaces::Apart;
use crate::reaper::{Children, Exiting};
use crate::security::Security;
use crate::statistics::File;
use crate::tun::Tun;
use crate::user::{self, Identity};
use crate::{data, exec, mounts, namespaces, root, security, sysctl, worker};

/// Where commands are looked up when the environment has no PATH: Docker's default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// More than any passwd(5) that people write, and little enough to read for each process: ten thousand users.
const MAX_USERS_BYTES: u64 = 1 << 20;

/// How often, and after which time each, it is tried to remove the cgroup of who was killed: what it began may need a moment.
const REMOVALS: usize = 100;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(10);

/// A process to start; checked by the service.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) id: u64,
    pub(crate) arguments: Vec<CString>,
    /// The file to execute, where it is not what the first argument names.
    pub(crate) executable: Option<CString>,
    pub(crate) environment: Vec<CString>,
    pub(crate) working_directory: CString,
    pub(crate) user: String,
    pub(crate) terminal: Option<Winsize>,
    pub(crate) stdin: bool,
    pub(crate) outputs: Outputs,
    /// Whether it is to be PID 1, unless one that was to be it lives.
    pub(crate) pid_one: bool,
    pub(crate) security: Security,
    /// Whether it is to wait before its command.
    pub(crate) hold: bool,
    /// What asks it, and it alone, to end.
    pub(crate) stop_signal: Option<Signal>,
}

/// What becomes of a process's outputs; of a terminal, which has one, only `discard_stdout` says something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outputs {
    /// Whether stderr is what stdout is.
    pub(crate) merge: bool,
    pub(crate) discard_stdout: bool,
    pub(crate) discard_stderr: bool,
}

/// A process that is about to execute its command: `report` tells, when it closes, whether it came to that.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: Pid,
    pub(crate) newborn: Newborn,
    pub(crate) report: OwnedFd,
    /// Where it says that it waits, and is told to go on, if it was to wait.
    pub(crate) hold: Option<OwnedFd>,
    pub(crate) streams: Streams,
    /// The files that the process tries to execute.
    pub(crate) candidates: Vec<CString>,
    pub(crate) working_directory: CString,
}

/// A child, and its end.
type Born = (Pid, Exiting);

/// The agent's ends of a process's streams, as far as it has a part in them.
#[derive(Debug)]
pub(crate) enum Streams {
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    },
    /// Whose output may be unwanted: then it is read and dropped.
    Terminal {
        master: OwnedFd,
        discards: bool,
    },
}

/// Why a process was not even born.
#[derive(Debug)]
pub(crate) enum LaunchError {
    UnknownUser(String),
    Other(StepError),
}

/// What the workload may fill, to be asked for its room.
#[derive(Debug)]
pub(crate) struct Filesystems {
    pub(crate) root: OwnedFd,
    pub(crate) shared_memory: OwnedFd,
    pub(crate) data: data::Written,
}

/// What the agent sees of the workload's world, in whose namespaces it is not.
#[derive(Debug)]
pub(crate) struct Sights {
    pub(crate) filesystems: Filesystems,
    /// /proc/net/dev of its network namespace.
    pub(crate) interfaces: File,
    /// Its interface to the host's network.
    pub(crate) tun: Option<Tun>,
    /// Where it reads what the host denies it.
    pub(crate) denials: Option<Denials>,
}

/// A process that serves one UseFiles call, and the agent's ends of its pipes.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) newborn: Newborn,
    pub(crate) requests: OwnedFd,
    pub(crate) responses: OwnedFd,
}

/// A process that nobody has taken over yet. Where nobody does, because the call that it is for has ended meanwhile, it is
/// killed with all that it began, and its cgroup goes with it.
#[derive(Debug)]
pub(crate) struct Newborn {
    life: Option<(Exiting, Cgroup)>,
    runtime: Handle,
}

impl Newborn {
    /// Whose cgroup is the caller's to remove from now on.
    pub(crate) fn take(mut self) -> (Exiting, Cgroup) {
        self.life.take().expect("who has it has not taken it before")
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        let Some((mut exit, cgroup)) = self.life.take() else { return };
        self.runtime.spawn(async move {
            cgroup.kill();
            let _ = exit.wait_for(Option::is_some).await;
            for _ in 0..REMOVALS {
                if cgroup.try_remove() {
                    break;
                }
                sleep(BETWEEN_REMOVALS).await;
            }
        });
    }
}

/// What is asked of the thread, and where it answers.
enum Command {
    Launch(Launch, oneshot::Sender<Result<Launched, LaunchError>>),
    /// By a number for its cgroup, which is no other's and no process's.
    Worker(u64, oneshot::Sender<Result<Worker, StepError>>),
}

/// The handle of the thread, which ends with it, and the workload's namespaces with the thread.
#[derive(Debug)]
pub(crate) struct Spawner {
    commands: mpsc::Sender<Command>,
}

impl Spawner {
    /// Builds the workload's world on a new thread. On failure the thread ends, and what it had built with it.
    pub(crate) async fn prepare(
        plan: root::Plan,
        workload: Arc<Workload>,
        children: Children,
    ) -> Result<(Self, Init, Sights, root::Steps), StepError> {
        let (commands, received) = mpsc::channel();
        let (sender, prepared) = oneshot::channel();
        let (same, runtime) = (workload.clone(), Handle::current());
        let body = move || match World::build(plan, same, children, runtime) {
            Ok((world, lifeline, exit, sights, steps)) => {
                let _ = sender.send(Ok((lifeline, exit, sights, steps)));
                world.serve(&received);
            }
            Err(error) => {
                let _ = sender.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("spawner".into()).spawn(body);
        thread.step(|| "starting the spawner thread".into())?;
        let (lifeline, exit, sights, steps) = prepared.await.unwrap_or_else(|_| Err(gone()))?;
        let init = Init::new(lifeline, exit, workload).step(|| "watching the workload's init".into())?;
        Ok((Self { commands }, init, sights, steps))
    }

    /// Starts a process.
    pub(crate) async fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        let (sender, launched) = oneshot::channel();
        // A thread that is gone drops the sender, too.
        let _ = self.commands.send(Command::Launch(launch, sender));
        launched.await.unwrap_or_else(|_| Err(LaunchError::Other(gone())))
    }

    /// Starts a worker.
    pub(crate) async fn worker(&self, id: u64) -> Result<Worker, StepError> {
        let (sender, started) = oneshot::channel();
        let _ = self.commands.send(Command::Worker(id, sender));
        started.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> StepError {
    StepError { step: "asking the spawner thread".into(), errno: Errno::SRCH }
}

/// What the thread holds of the world that it lives in.
struct World {
    workload: Arc<Workload>,
    children: Children,
    /// Where newborn processes end that nobody takes over.
    runtime: Handle,
    /// The workload's /dev/null, before the workload can replace it.
    null: OwnedFd,
    /// The workload's devpts.
    terminals: OwnedFd,
    members: root::Members,
    apart: Apart,
    hostname: String,
    /// The agent's own PID namespace, and a /proc of it.
    agents_pids: OwnedFd,
    agents_proc: OwnedFd,
    /// The namespaces that Prepare made.
    mounts: OwnedFd,
    pids: OwnedFd,
    /// The end of the PID 1 whose namespaces the thread is in, where it is not in those that Prepare made.
    pid_one: RefCell<Option<Exiting>>,
    /// Signals that the agent ignores, which execve(2) would pass on.
    ignored_signals: Vec<i32>,
    /// All that the kernel has.
    capabilities: CapabilitySet,
}

impl World {
    /// Also what tells of the init's end.
    fn build(
        plan: root::Plan,
        workload: Arc<Workload>,
        children: Children,
        runtime: Handle,
    ) -> Result<(Self, OwnedFd, Exiting, Sights, root::Steps), StepError> {
        block_signals();
        let mut timeline = root::Timeline::start();
        let agents_pids = open_read("/proc/thread-self/ns/pid")?;
        let apart = namespaces::make(&plan.namespaces, workload.init())?;
        let users = mounts::make_users(&plan.furnishing.mounts, workload.init())?;
        root::enter_namespaces(&plan.hostname, &plan.furnishing.domainname, plan.namespaces.network)?;
        // Of this thread's own mount, which no path leads to once the root is another.
        let agents_proc = open_read("/proc")?;
        let interfaces = File::open("/proc/thread-self/net/dev");
        timeline.mark("namespaces");
        let tun = plan.network.map(|network| Tun::make(network.ipv6)).transpose()?;
        if tun.is_some() {
            timeline.mark("network");
        }
        umask(Mode::empty());
        root::assemble(&plan, &mut timeline)?;
        let all_devices = plan.furnishing.all_devices;
        let disks = plan.data.iter().map(|disk| disk.open(all_devices)).collect::<Result<Vec<_>, _>>()?;
        root::pivot(&plan.staging)?;
        timeline.mark("pivot_root");
        root::furnish(&plan)?;
        timeline.mark("devices");
        let mut members = root::Members::of(&plan.furnishing);
        let (lifeline, exit) = start_init(&workload, &children, &members)?;
        // Members of the namespace see its first process as 1; this thread sees it through their /proc.
        let mounts = open_read("/proc/1/ns/mnt")?;
        let pids = open_read("/proc/1/ns/pid")?;
        timeline.mark("init");
        sysctl::limit_system_v(plan.system_v_bytes)?;
        if !plan.sysctls.is_empty() {
            sysctl::set(&plan.sysctls)?;
            timeline.mark("sysctls");
        }
        let data = if disks.is_empty() {
            data::Written::default()
        } else {
            let data = data::place(disks)?;
            timeline.mark("data disks");
            data
        };
        if !plan.furnishing.mounts.is_empty() {
            mounts::mount_all(&plan.furnishing.mounts, &users, workload.init())?;
            timeline.mark("mounts");
        }
        let masked = members.mask(b"/");
        masked.map_err(|(path, errno)| StepError { step: format!("masking {}", path.to_string_lossy()), errno })?;
        if !plan.furnishing.image_names {
            root::write_names(&plan.hostname, plan.network.is_some());
        }
        let denials = plan.network.and_then(|_| root::make_denials().ok()).map(Denials::new);
        root::close(&plan.furnishing)?;
        members.remember_unbindable(agents_proc.as_fd())?;
        timeline.mark("masks");
        umask(Mode::from_raw_mode(0o022));
        let null =
            open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).step(|| "opening /dev/null".into())?;
        let terminals = open_read("/dev/pts")?;
        let filesystems = Filesystems { root: open_path("/")?, shared_memory: open_path("/dev/shm")?, data };
        let capabilities = security::all_capabilities().step(|| "asking for capabilities".into())?;
        let ignored_signals = exec::ignored_signals();
        let world = Self {
            workload,
            children,
            runtime,
            null,
            terminals,
            members,
            apart,
            hostname: plan.hostname,
            agents_pids,
            agents_proc,
            mounts,
            pids,
            pid_one: RefCell::default(),
            ignored_signals,
            capabilities,
        };
        Ok((world, lifeline, exit, Sights { filesystems, interfaces, tun, denials }, timeline.steps))
    }

    fn serve(self, commands: &mpsc::Receiver<Command>) {
        for command in commands {
            match command {
                Command::Launch(launch, reply) => drop(reply.send(self.launch(launch))),
                Command::Worker(id, reply) => drop(reply.send(self.worker(id))),
            }
        }
    }

    fn newborn(&self, exit: Exiting, cgroup: Cgroup) -> Newborn {
        Newborn { life: Some((exit, cgroup)), runtime: self.runtime.clone() }
    }

    /// Forks a worker in the mount namespace where processes are started now, and in the agent's own PID namespace.
    fn worker(&self, id: u64) -> Result<Worker, StepError> {
        self.leave_ended_pid_one()?;
        let (own_requests, requests) = pipe()?;
        let (responses, own_responses) = pipe()?;
        let (cgroup, directory) = self.workload.create_child(id)?;
        // Of a PID 1 that is ending there is none left.
        let entrypoints_pids = self.pid_one.borrow().is_some().then(|| open_read("/proc/1/ns/pid").ok());
        if entrypoints_pids.as_ref().is_some_and(Option::is_none) {
            self.leave_pid_one()?;
        }
        let pids = entrypoints_pids.flatten();
        self.move_to(&self.agents_pids, LinkNameSpaceType::ProcessID)?;
        let born = self.children.adopt(|| {
            fork_into(directory.as_fd(), |cgroup| {
                let (requests, responses, proc) = (&own_requests, &own_responses, &self.agents_proc);
                worker::run(&worker::Inheritance { requests, responses, proc, cgroup })
            })
        });
        self.move_to(pids.as_ref().unwrap_or(&self.pids), LinkNameSpaceType::ProcessID)?;
        match born {
            Ok((_, exit)) => Ok(Worker { newborn: self.newborn(exit, cgroup), requests, responses }),
            Err(errno) => {
                cgroup.try_remove();
                Err(errno).step(|| "forking a worker".into())
            }
        }
    }

    fn launch(&self, launch: Launch) -> Result<Launched, LaunchError> {
        let identity = self.identify(&launch.user)?;
        let environment =
            complete_environment(launch.environment, &identity, &self.hostname, launch.terminal.is_some());
        let candidates = match launch.executable {
            Some(file) => vec![file],
            None => candidates(&launch.arguments, &environment),
        };
        let outer = (self.apart.outer_uid(identity.uid), self.apart.outer_gid(identity.gid));
        let (Some(outer_uid), Some(outer_gid)) = outer else {
            let message = format!("{}:{} is not mapped in the user namespace", identity.uid, identity.gid);
            return Err(LaunchError::UnknownUser(message));
        };
        let more = launch.security.additional_gids.iter().filter(|gid| !identity.groups.contains(gid));
        let groups: Vec<Gid> = identity.groups.iter().chain(more).map(|&gid| Gid::from_raw(gid)).collect();

        let other = LaunchError::Other;
        let (streams, own) = self.streams(launch.terminal, launch.stdin, launch.outputs).map_err(other)?;
        let (report, report_writer) = pipe().map_err(other)?;
        let (hold, own_hold) = match launch.hold {
            true => held().map(|(hold, own)| (Some(hold), Some(own))).map_err(other)?,
            false => (None, None),
        };
        self.leave_ended_pid_one().map_err(other)?;
        let console = match &streams {
            Streams::Terminal { master, .. } if launch.pid_one => ptsname(master, Vec::new()).ok(),
            _ => None,
        };
        let (cgroup, directory) = self.workload.create_child(launch.id).map_err(other)?;
        let plan = exec::Plan {
            report: &report_writer,
            hold: own_hold.as_ref(),
            cgroup: None,
            cgroup_namespace: self.workload.namespace(),
            stdin: own.stdin.as_ref().unwrap_or(&self.null).as_fd(),
            stdout: own.stdout.as_ref().unwrap_or(&self.null).as_fd(),
            stderr: own.stderr.as_ref().unwrap_or(&self.null).as_fd(),
            owns: [own.stdin.is_some(), own.stdout.is_some(), own.stderr.is_some()],
            terminal: launch.terminal.is_some(),
            pid_one: false,
            mounts: &self.members,
            console: None,
            working_directory: &launch.working_directory,
            uid: Uid::from_raw(identity.uid),
            gid: Gid::from_raw(identity.gid),
            groups: &groups,
            outer_uid: Uid::from_raw(outer_uid),
            outer_gid: Gid::from_raw(outer_gid),
            apart: &self.apart,
            security: &launch.security,
            capabilities: self.capabilities,
            ignored_signals: &self.ignored_signals,
            candidates: &candidates,
            arguments: &exec::Pointers::new(&launch.arguments),
            environment: &exec::Pointers::new(&environment),
        };
        let fork = |children: &Children, pid_one: bool| {
            let console = console.as_deref().filter(|_| pid_one);
            children.adopt(|| {
                fork_into(directory.as_fd(), |procs| exec::run(&exec::Plan { cgroup: procs, pid_one, console, ..plan }))
            })
        };
        match self.bear(launch.pid_one, fork) {
            Ok((pid, exit)) => {
                let working_directory = launch.working_directory;
                let newborn = self.newborn(exit, cgroup);
                Ok(Launched { pid, newborn, report, hold, streams, candidates, working_directory })
            }
            Err(error) => {
                cgroup.try_remove();
                Err(other(error))
            }
        }
    }

    /// Forks a process in the namespaces where it belongs; `fork` is told whether as PID 1 of its own.
    fn bear(
        &self,
        pid_one: bool,
        fork: impl Fn(&Children, bool) -> rustix::io::Result<Born>,
    ) -> Result<Born, StepError> {
        if self.pid_one.borrow().is_some() {
            match fork(&self.children, false) {
                // What alloc_pid of kernel/pid.c answers in a namespace whose PID 1 is ending, long before it can be reaped
                // where there is much to end with it.
                Err(Errno::NOMEM) => self.leave_pid_one()?,
                born => return born.step(|| "forking".into()),
            }
        }
        if !pid_one {
            return fork(&self.children, false).step(|| "forking".into());
        }
        let born = self.begin_pid_one(|children| fork(children, true))?;
        self.pid_one.replace(Some(born.1.clone()));
        Ok(born)
    }

    /// Starts a process as PID 1 of a new PID namespace, below the agent's own, and waits until its /proc is mounted; where
    /// that fails, the process ends with the reason in its report.
    fn begin_pid_one(&self, fork: impl FnOnce(&Children) -> rustix::io::Result<Born>) -> Result<Born, StepError> {
        let (furnished, writer) = pipe()?;
        // unshare(2) makes a PID namespace below the thread's own only, so that has to be its children's first.
        let begun = self
            .move_to(&self.agents_pids, LinkNameSpaceType::ProcessID)
            .and_then(|()| {
                // SAFETY: no flag of these separates the thread's file descriptors from its process's.
                unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWPID) }
                    .step(|| "creating the entrypoint's namespaces".into())
            })
            .and_then(|()| fork(&self.children).step(|| "forking".into()));
        drop(writer);
        match begun {
            Ok(born) => {
                // It closes its copy of the other end, with every descriptor of the agent's. Nobody of the workload sees it
                // yet, so nobody can keep it from that.
                let _ = fs::File::from(furnished).read(&mut [0]);
                Ok(born)
            }
            Err(error) => {
                self.return_to_prepared()?;
                Err(error)
            }
        }
    }

    fn leave_ended_pid_one(&self) -> Result<(), StepError> {
        let ended = self.pid_one.borrow().as_ref().is_some_and(|exit| exit.borrow().is_some());
        if ended { self.leave_pid_one() } else { Ok(()) }
    }

    fn leave_pid_one(&self) -> Result<(), StepError> {
        self.return_to_prepared()?;
        self.pid_one.replace(None);
        Ok(())
    }

    fn return_to_prepared(&self) -> Result<(), StepError> {
        self.move_to(&self.mounts, LinkNameSpaceType::Mount)?;
        self.move_to(&self.pids, LinkNameSpaceType::ProcessID)
    }

    fn move_to(&self, namespace: &OwnedFd, kind: LinkNameSpaceType) -> Result<(), StepError> {
        move_into_link_name_space(namespace.as_fd(), Some(kind)).step(|| "moving to the workload's namespaces".into())
    }

    fn identify(&self, user: &str) -> Result<Identity, LaunchError> {
        user::resolve(user, |name| read_users(name).map_err(|error| error.to_string()))
            .map_err(|unknown| LaunchError::UnknownUser(unknown.to_string()))
    }

    fn streams(
        &self,
        terminal: Option<Winsize>,
        stdin: bool,
        outputs: Outputs,
    ) -> Result<(Streams, OwnStreams), StepError> {
        if let Some(size) = terminal {
            let (master, terminal) = self.open_terminal(size).step(|| "opening a terminal".into())?;
            let another = || terminal.try_clone().map(Some).step(|| "opening a terminal".into());
            let (stdin, stderr) = (another()?, another()?);
            let discards = outputs.discard_stdout;
            return Ok((Streams::Terminal { master, discards }, OwnStreams { stdin, stdout: Some(terminal), stderr }));
        }
        let wanted = |wanted: bool| {
            if wanted { pipe().map(|(reader, writer)| (Some(reader), Some(writer))) } else { Ok((None, None)) }
        };
        let (own_stdin, stdin) = wanted(stdin)?;
        let (stdout, own_stdout) = wanted(!outputs.discard_stdout)?;
        let (stderr, own_stderr) = if outputs.merge {
            let same = own_stdout.as_ref().map(OwnedFd::try_clone).transpose();
            (None, same.step(|| "merging stderr with stdout".into())?)
        } else {
            wanted(!outputs.discard_stderr)?
        };
        Ok((
            Streams::Pipes { stdin, stdout, stderr },
            OwnStreams { stdin: own_stdin, stdout: own_stdout, stderr: own_stderr },
        ))
    }

    fn open_terminal(&self, size: Winsize) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = openat(&self.terminals, "ptmx", flags, Mode::empty())?;
        unlockpt(&master)?;
        tcsetwinsize(&master, size)?;
        let terminal = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        Ok((master, terminal))
    }
}

/// Both ends of what a process is held by.
fn held() -> Result<(OwnedFd, OwnedFd), StepError> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).step(|| "holding it".into())
}

/// The process's ends of its streams; /dev/null where there is none.
struct OwnStreams {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Starts the init of the PID namespace that this thread's children are born in, and waits until it is set up. What is
/// returned closes on the other side when the init ends.
fn start_init(
    workload: &Workload,
    children: &Children,
    mounts: &root::Members,
) -> Result<(OwnedFd, Exiting), StepError> {
    let (report, writer) = pipe()?;
    let (_, exit) = children
        .adopt(|| fork_into(workload.init(), |procs| init::run(&writer, workload.namespace(), procs, mounts)))
        .step(|| "forking the workload's init".into())?;
    drop(writer);
    let mut bytes = Vec::new();
    let mut report = fs::File::from(report);
    report
        .by_ref()
        .take(init::REPORT_BYTES)
        .read_to_end(&mut bytes)
        .step(|| "waiting for the workload's init".into())?;
    init::check(&bytes)?;
    Ok((report.into(), exit))
}

fn open_read(path: &str) -> Result<OwnedFd, StepError> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step(|| format!("opening {path}"))
}

fn open_path(path: &str) -> Result<OwnedFd, StepError> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).step(|| format!("opening {path}"))
}

/// No signal handler of the agent may run in a child before it resets them; children unblock them.
fn block_signals() {
    // SAFETY: a full set is valid, and the mask is this thread's alone.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
}

/// A file of users or groups below /etc; empty when there is none.
fn read_users(name: &str) -> Result<Vec<u8>, StepError> {
    let path = format!("/etc/{name}");
    let file = match open_users(name) {
        Ok(file) => fs::File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        Err(errno) => return Err(errno).step(|| format!("opening {path}")),
    };
    let metadata = file.metadata().step(|| format!("reading {path}"))?;
    if !metadata.is_file() || metadata.len() > MAX_USERS_BYTES {
        return Err(Errno::INVAL).step(|| format!("reading {path}: not a file of at most {MAX_USERS_BYTES} bytes"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_USERS_BYTES).read_to_end(&mut bytes).step(|| format!("reading {path}"))?;
    Ok(bytes)
}

/// The file is the image's, so it may be anything. A FIFO does not block. No link is followed out of the root's own
/// filesystem: /proc/PID/root may lead into a FUSE mount, and waiting for its server would stop this thread for good.
fn open_users(name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match openat2(CWD, format!("/etc/{name}"), flags, Mode::empty(), ResolveFlags::NO_XDEV) {
        // Before Linux 5.6: no link is followed at all.
        Err(Errno::NOSYS) => {
            let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(open("/etc", directory, Mode::empty())?, name, flags | OFlags::NOFOLLOW, Mode::empty())
        }
        opened => opened,
    }
}

/// What the contract adds to what the host gives.
fn complete_environment(
    mut environment: Vec<CString>,
    identity: &Identity,
    hostname: &str,
    terminal: bool,
) -> Vec<CString> {
    let mut add = |name: &[u8], value: &[u8]| {
        let prefix = [name, b"="].concat();
        if !environment.iter().any(|entry| entry.as_bytes().starts_with(&prefix)) {
            // A home with a NUL was not accepted as an entry.
            environment.extend(CString::new([&prefix, value].concat()));
        }
    };
    add(b"HOME", &identity.home);
    add(b"HOSTNAME", hostname.as_bytes());
    if terminal {
        add(b"TERM", b"xterm");
    }
    environment
}

/// The files to try for a command, as execvp(3) would: one when it holds a slash, else one for each entry of PATH.
fn candidates(arguments: &[CString], environment: &[CString]) -> Vec<CString> {
    let Some(command) = arguments.first() else { return Vec::new() };
    if command.as_bytes().contains(&b'/') || command.is_empty() {
        return vec![command.clone()];
    }
    let path = environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    path.unwrap_or(DEFAULT_PATH.as_bytes())
        .split(|&byte| byte == b':')
        .map(|directory| match directory {
            b"" => command.clone(), // The working directory.
            _ => CString::new([directory, b"/", command.as_bytes()].concat()).unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(strings: &[&str]) -> Vec<CString> {
        strings.iter().map(|string| CString::new(*string).unwrap()).collect()
    }

    fn identity(home: &str) -> Identity {
        Identity { uid: 0, gid: 0, groups: Vec::new(), home: home.into() }
    }

    #[test]
    fn a_command_is_looked_up_in_the_path_of_its_environment() {
        let found = candidates(&strings(&["ls", "-l"]), &strings(&["A=b", "PATH=/bin:/usr/bin", "PATH=/never"]));
        assert_eq!(found, strings(&["/bin/ls", "/usr/bin/ls"]));
    }

    #[test]
    fn a_command_with_a_slash_is_not_looked_up() {
        for command in ["/bin/ls", "./ls", "bin/ls"] {
            assert_eq!(candidates(&strings(&[command]), &strings(&["PATH=/bin"])), strings(&[command]));
        }
    }

    #[test]
    fn without_a_path_there_is_a_default() {
        let found = candidates(&strings(&["ls"]), &strings(&["XPATH=/x"]));
        assert_eq!(found.first(), Some(&c"/usr/local/sbin/ls".into()));
        assert_eq!(found.last(), Some(&c"/bin/ls".into()));
    }

    #[test]
    fn an_empty_entry_of_the_path_is_the_working_directory() {
        assert_eq!(candidates(&strings(&["ls"]), &strings(&["PATH=/bin:"])), strings(&["/bin/ls", "ls"]));
    }

    #[test]
    fn the_environment_gains_only_what_it_lacks() {
        let given = strings(&["HOMER=1", "PATH=/bin"]);
        assert_eq!(
            complete_environment(given.clone(), &identity("/root"), "box", false),
            strings(&["HOMER=1", "PATH=/bin", "HOME=/root", "HOSTNAME=box"])
        );
        assert_eq!(
            complete_environment(given, &identity("/root"), "box", true),
            strings(&["HOMER=1", "PATH=/bin", "HOME=/root", "HOSTNAME=box", "TERM=xterm"])
        );
        let full = strings(&["HOME=", "HOSTNAME=own", "TERM=dumb"]);
        assert_eq!(complete_environment(full.clone(), &identity("/root"), "box", true), full);
    }
}
