// SPDX-License-Identifier: Apache-2.0

//! The state of the machine between the calls, and its end.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::bounds;
use crate::budget::Budget;
use crate::cgroup::Workload;
use crate::data::Kept;
use crate::events::Events;
use crate::init::Init;
use crate::log;
use crate::machine::Machine;
use crate::proto::Statistics;
use crate::reaper::Children;
use crate::registry::Registry;
use crate::spawn::Spawner;
use crate::statistics::{Counters, Disks, File};
use crate::watch::Sources;

/// Processes at a time; also calls whose process is not gone yet, or that have not said which to start.
pub(crate) const MAX_PROCESSES: usize = 1024;
/// Calls at a time that watch statistics or events.
const MAX_WATCHING: usize = 16;
/// UseFiles calls at a time. Each may have a message on its way to the host, however little is left of the budget.
pub(crate) const FILE_CALLS: usize = 16;
/// Their workers, with those of calls before that cannot be killed.
const FILE_WORKERS: usize = 64;
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

/// The agent: what the calls share.
pub struct Agent {
    pub(crate) machine: Machine,
    pub(crate) boot: Boot,
    pub(crate) children: Children,
    state: Mutex<State>,
    last_process_id: AtomicU64,
    pub(crate) processes: Registry,
    pub(crate) events: Arc<Events>,
    /// Output on its way to the host.
    pub(crate) output: Budget,
    pub(crate) workers: Workers,
    /// RunProcess calls that have not ended, counted.
    active: watch::Sender<usize>,
    shut_down: watch::Sender<bool>,
    watching: Arc<Semaphore>,
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
    pub(crate) counters: OnceLock<Counters>,
    pub(crate) disks: Disks,
    /// Its network interfaces.
    pub(crate) interfaces: File,
    /// Until somebody watches them.
    pub(crate) sources: Mutex<Option<Sources>>,
    pub(crate) kept: Kept,
    /// While this is held, its network is carried.
    pub(crate) _network: Option<OwnedFd>,
}

impl World {
    /// What the workload has used so far.
    pub(crate) fn statistics(&self) -> Statistics {
        self.counters.get_or_init(|| Counters::open(&self.workload, self.disks)).read(&self.interfaces)
    }
}

impl Agent {
    /// An agent whose workload is not prepared yet, on the current tokio runtime, where it reaps children from now on.
    pub fn new(machine: Machine, boot: Boot) -> Arc<Self> {
        let children = Children::default();
        let reaper = children.clone();
        tokio::spawn(async { log!("reaping: {}", reaper.reap().await) });
        let events = Arc::new(Events::default());
        Arc::new(Self {
            machine,
            boot,
            children,
            state: Mutex::new(State::Fresh),
            last_process_id: AtomicU64::new(0),
            processes: Registry::new(events.clone()),
            events,
            output: Budget::default(),
            workers: Workers::default(),
            active: watch::Sender::new(0),
            shut_down: watch::Sender::new(false),
            watching: Arc::new(Semaphore::new(MAX_WATCHING)),
        })
    }

    /// The one call that prepares the workload begins; `end_preparing` follows.
    pub(crate) fn begin_preparing(&self) -> Result<(), Status> {
        let mut state = self.state();
        if !matches!(*state, State::Fresh) {
            return Err(Status::failed_precondition("Prepare was called before"));
        }
        *state = State::Preparing;
        Ok(())
    }

    /// Takes the prepared workload, unless the machine is shutting down by now, or why there is none.
    pub(crate) fn end_preparing(self: &Arc<Self>, built: Result<World, String>) -> Result<(), Status> {
        let mut state = self.state();
        if !matches!(*state, State::Preparing) {
            return Err(Status::failed_precondition("the machine is shutting down"));
        }
        match built {
            Ok(world) => {
                tokio::spawn(self.clone().end_with(world.init.clone()));
                *state = State::Ready(Arc::new(world));
                Ok(())
            }
            Err(message) => {
                *state = State::Closed;
                Err(Status::failed_precondition(bounds::message(message)))
            }
        }
    }

    /// The prepared workload, or why there is none.
    pub(crate) fn world(&self) -> Result<Arc<World>, Status> {
        match &*self.state() {
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
    pub(crate) fn activity(self: &Arc<Self>) -> Result<Activity, Status> {
        let counted = self.active.send_if_modified(|count| {
            let room = *count < MAX_PROCESSES;
            *count += usize::from(room);
            room
        });
        // RESOURCE_EXHAUSTED is what a host's own gRPC makes of a message that is too large.
        let full = || Status::failed_precondition(format!("{MAX_PROCESSES} processes run already"));
        counted.then(|| Activity(self.clone())).ok_or_else(full)
    }

    /// Counts a call that watches as long as the value lives, if there is room for one more.
    pub(crate) fn watching(&self) -> Result<OwnedSemaphorePermit, Status> {
        let full = |_| Status::failed_precondition(format!("{MAX_WATCHING} calls watch already"));
        self.watching.clone().try_acquire_owned().map_err(full)
    }

    /// Ends everything: processes have the grace to do so themselves.
    pub(crate) async fn shut_down(&self, grace: Duration) {
        // Whoever was left behind ends with the world, so that must not end before them.
        let state = std::mem::replace(&mut *self.state(), State::Closed);
        if !grace.is_zero() {
            self.terminate_all(grace).await;
        }
        self.kill_all().await;
        if let State::Ready(world) = state {
            close_disks(world).await;
        }
        self.shut_down.send_replace(true);
    }

    /// Returns when everything has ended and the connection is to do so: Shutdown is about to answer, or the workload's init
    /// has ended.
    pub(crate) async fn ended(&self) {
        // The sender is a field of `self`: it is not dropped.
        let _ = self.shut_down.subscribe().wait_for(|&shut_down| shut_down).await;
    }

    /// Ends everything when the workload's init has ended: nothing can be started any more, so the host is to make another
    /// machine, and whoever still runs is told first.
    async fn end_with(self: Arc<Self>, init: Arc<Init>) {
        let how = init.end().await;
        let world = {
            let mut state = self.state();
            // Else the machine is shutting down, and the init ended with it.
            let State::Ready(world) = &*state else { return };
            let world = world.clone();
            *state = State::InitEnded(how.clone());
            world
        };
        log!("{how}");
        self.kill_all().await;
        close_disks(world).await;
        self.shut_down.send_replace(true);
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves disks clean that outlive the machine; on a thread, for that takes as long as they take.
async fn close_disks(world: Arc<World>) {
    if world.kept.is_empty() {
        return;
    }
    let (sender, closed) = oneshot::channel();
    let body = move || {
        world.kept.close();
        drop(world);
        let _ = sender.send(());
    };
    match std::thread::Builder::new().name("disks".into()).spawn(body) {
        Ok(_) => drop(closed.await),
        Err(error) => log!("closing the disks: {error}"),
    }
}

/// Places for UseFiles calls, and for their workers, of which some may be there longer.
#[derive(Clone)]
pub(crate) struct Workers {
    pub(crate) calls: Arc<Semaphore>,
    pub(crate) processes: Arc<Semaphore>,
}

impl Default for Workers {
    fn default() -> Self {
        Self { calls: Arc::new(Semaphore::new(FILE_CALLS)), processes: Arc::new(Semaphore::new(FILE_WORKERS)) }
    }
}

/// A RunProcess call that has not ended.
pub(crate) struct Activity(pub(crate) Arc<Agent>);

impl Drop for Activity {
    fn drop(&mut self) {
        self.0.active.send_modify(|count| *count -= 1);
    }
}
