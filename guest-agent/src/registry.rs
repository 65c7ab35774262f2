// SPDX-License-Identifier: Apache-2.0

//! What RunProcess started and what is left of it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustix::process::{Pid, Signal};
use tokio::time::Instant;

use crate::cgroup::Cgroup;
use crate::events::Events;
use crate::io::NonBlocking;
use crate::proto::event::Kind;
use crate::proto::{ListProcessesResponse, OomKill, ProcessExited, ProcessInfo, ProcessStarted, process_exited};
use crate::reaper::{Exit, ExitStatus, Exiting};

/// What one answer lists.
const PAGE: usize = 512;
const MAX_COMMAND_BYTES: usize = 256;
/// How many of those that were left behind are looked after when another process ends. More than one, so that there are
/// never more than live; and few, because each costs every exec.
const SWEEP: usize = 4;

/// A process that was born.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) exit: Exiting,
    /// What asks it to end, where that is not SIGTERM to everything in its cgroup.
    pub(crate) stop_signal: Option<Signal>,
    pub(crate) cgroup: Cgroup,
    /// Set when it executes its command. Its call alone keeps it open.
    pub(crate) terminal: OnceLock<Weak<NonBlocking>>,
    /// Its PID as it sees it; 0 until it is held, or executes its command.
    pub(crate) pid_inside: AtomicU32,
    pub(crate) command: String,
    pub(crate) started: Instant,
    pub(crate) told: Told,
}

/// What events have told of a process.
#[derive(Debug, Default)]
pub(crate) struct Told {
    start: AtomicBool,
    exit: AtomicBool,
    oom_kills: AtomicU64,
}

impl Process {
    /// Tells that it executes its command, which it does as that PID.
    pub(crate) fn tell_started(&self, events: &Events, process_id: u64, pid: u32) {
        self.pid_inside.store(pid, Ordering::Relaxed);
        self.told.start.store(true, Ordering::Relaxed);
        if events.are_wanted() {
            events.push(Kind::ProcessStarted(ProcessStarted { process_id, pid, command: self.command.clone() }));
        }
    }

    /// Tells once of the end of one that has executed its command.
    pub(crate) fn tell_exit(&self, events: &Events, process_id: u64, exit: &Exit) {
        if self.has_executed() && !self.told.exit.swap(true, Ordering::Relaxed) {
            let status = Some(match exit.status {
                ExitStatus::Code(code) => process_exited::Status::ExitCode(code),
                ExitStatus::Signal(signal) => process_exited::Status::Signal(signal),
            });
            events.push(Kind::ProcessExited(ProcessExited { process_id, status }));
        }
    }

    /// Tells of what the OOM killer has ended of it since the last time.
    pub(crate) fn tell_oom_kills(&self, events: &Events, process_id: u64, kills: u64) {
        let kills = kills.saturating_sub(self.told.oom_kills.fetch_max(kills, Ordering::Relaxed));
        if kills > 0 {
            events.push(Kind::OomKill(OomKill { process_id, kills }));
        }
    }

    fn has_executed(&self) -> bool {
        self.told.start.load(Ordering::Relaxed)
    }

    /// Removes what its cgroup was, when it is empty; false when it is not.
    fn try_remove(&self, events: &Events, process_id: u64) -> bool {
        if events.are_wanted() && !self.cgroup.is_populated() {
            self.tell_oom_kills(events, process_id, self.cgroup.oom_kills());
        }
        let removed = self.cgroup.try_remove();
        if removed && self.has_executed() {
            events.push(Kind::TreeEnded(process_id));
        }
        removed
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.exit.borrow().is_some()
    }

    fn info(&self, process_id: u64) -> Option<ProcessInfo> {
        let (running, tree_size) = (!self.has_exited(), self.cgroup.size());
        // One that has ended alone, and whose output the host is yet to read.
        (running || tree_size > 0).then(|| ProcessInfo {
            process_id,
            pid: self.pid_inside.load(Ordering::Relaxed),
            running,
            command: self.command.clone(),
            age_nanos: self.started.elapsed().as_nanos() as u64,
            tree_size: tree_size as u32,
        })
    }
}

/// A command line for people: the arguments with spaces between them.
pub(crate) fn command_line(arguments: &[CString]) -> String {
    let mut line = String::new();
    for argument in arguments {
        if line.len() > MAX_COMMAND_BYTES {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        let end = argument.as_bytes().len().min(MAX_COMMAND_BYTES + 1);
        line += &String::from_utf8_lossy(&argument.as_bytes()[..end]);
    }
    let cut = (0..=MAX_COMMAND_BYTES.min(line.len())).rev().find(|&end| line.is_char_boundary(end));
    line.truncate(cut.unwrap_or(0));
    line
}

#[derive(Debug)]
pub(crate) struct Registry {
    table: Mutex<Table>,
    events: Arc<Events>,
}

#[derive(Debug, Default)]
struct Table {
    /// Those whose call has not ended.
    called: BTreeMap<u64, Arc<Process>>,
    /// Those whose call has ended, and whose cgroup was not empty then.
    left_behind: BTreeMap<u64, Arc<Process>>,
    /// Where the next sweep begins.
    swept: u64,
}

impl Table {
    /// Forgets at most `count` of those that were left behind and are gone, from where the last sweep ended.
    fn sweep(&mut self, count: usize, events: &Events) {
        let next: Vec<u64> = self
            .left_behind
            .range(self.swept..)
            .chain(self.left_behind.range(..self.swept))
            .map(|(&id, _)| id)
            .take(count)
            .collect();
        for id in next {
            self.swept = id + 1;
            if self.left_behind[&id].try_remove(events, id) {
                self.left_behind.remove(&id);
            }
        }
    }
}

impl Registry {
    pub(crate) fn new(events: Arc<Events>) -> Self {
        Self { table: Mutex::default(), events }
    }

    pub(crate) fn add(&self, id: u64, process: Process) -> Arc<Process> {
        let process = Arc::new(process);
        self.lock().called.insert(id, process.clone());
        process
    }

    /// Ends a process's call. What is left of it stays known until it is gone.
    pub(crate) fn end(&self, id: u64) {
        let mut table = self.lock();
        if let Some(process) = table.called.remove(&id) {
            if !process.try_remove(&self.events, id) {
                table.left_behind.insert(id, process);
            }
        }
        table.sweep(SWEEP, &self.events);
    }

    /// One of which something may be left.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Process>> {
        let table = self.lock();
        table.called.get(&id).or_else(|| table.left_behind.get(&id)).cloned()
    }

    /// All of which something may be left.
    pub(crate) fn all(&self) -> Vec<Arc<Process>> {
        let table = self.lock();
        table.called.values().chain(table.left_behind.values()).cloned().collect()
    }

    /// Tells of what the OOM killer has ended, and of whom.
    pub(crate) fn tell_oom_kills(&self) {
        let known: Vec<_> = {
            let table = self.lock();
            table.called.iter().chain(&table.left_behind).map(|(&id, process)| (id, process.clone())).collect()
        };
        for (id, process) in known {
            process.tell_oom_kills(&self.events, id, process.cgroup.oom_kills());
        }
    }

    /// Forgets all that are gone.
    pub(crate) fn sweep(&self) {
        self.lock().sweep(usize::MAX, &self.events);
    }

    /// Those after a process, a page of them.
    pub(crate) fn list(&self, after: u64) -> ListProcessesResponse {
        self.sweep();
        let known: BTreeMap<u64, Arc<Process>> = {
            let table = self.lock();
            let later = (Bound::Excluded(after), Bound::Unbounded);
            let known = table.called.range(later).chain(table.left_behind.range(later));
            known.map(|(&id, process)| (id, process.clone())).collect()
        };
        let mut infos = known.iter().filter_map(|(&id, process)| process.info(id));
        let processes: Vec<_> = infos.by_ref().take(PAGE).collect();
        ListProcessesResponse { processes, more: infos.next().is_some() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> String {
        command_line(&arguments.iter().map(|argument| CString::new(*argument).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_line_is_cut_between_characters() {
        assert_eq!(line(&["sh", "-c", "echo é"]), "sh -c echo é");
        assert_eq!(line(&[&"é".repeat(200)]), "é".repeat(128));
        assert_eq!(line(&["a", &"é".repeat(200)]), format!("a {}", "é".repeat(127)));
        assert_eq!(line(&["x"; 10_000]).len(), 256);
    }
}
