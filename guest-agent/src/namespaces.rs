// SPDX-License-Identifier: Apache-2.0

//! Namespaces that are made apart from the thread that lives in the others, because a process with several threads can
//! enter none of them: those of users and of clocks. A process of the agent's makes them, and ends; what is kept is a
//! descriptor for each, through which each new process enters.

use std::fs;
use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::error::{Step, StepError};
use crate::fork::{fork_into, pipe};
use crate::proto::{IdMapping, MountIds, Namespaces, TimeOffset};

/// CLONE_NEWTIME of linux/sched.h.
const NEW_TIME: i32 = 0x80;
/// Lines of a map (UID_GID_MAP_MAX_EXTENTS of linux/user_namespace.h).
const MAX_MAPPINGS: usize = 340;

/// The namespaces that a new process enters, and how users are numbered in them.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    pub(crate) users: Option<OwnedFd>,
    pub(crate) clocks: Option<OwnedFd>,
    uids: Vec<IdMapping>,
    gids: Vec<IdMapping>,
}

impl Apart {
    /// The number outside of a user inside; the same without a namespace of users.
    pub(crate) fn outer_uid(&self, uid: u32) -> Option<u32> {
        self.users.as_ref().map_or(Some(uid), |_| outer(&self.uids, uid))
    }

    /// The same of a group.
    pub(crate) fn outer_gid(&self, gid: u32) -> Option<u32> {
        self.users.as_ref().map_or(Some(gid), |_| outer(&self.gids, gid))
    }
}

fn outer(mappings: &[IdMapping], inner: u32) -> Option<u32> {
    mappings.iter().find_map(|mapping| {
        let at = inner.checked_sub(mapping.container_id).filter(|at| *at < mapping.size)?;
        mapping.host_id.checked_add(at)
    })
}

/// Says what breaks the contract.
pub(crate) fn check(namespaces: &Namespaces) -> Result<(), String> {
    if let Some(user) = &namespaces.user {
        check_mappings([&user.uid_mappings, &user.gid_mappings])?;
    }
    let offsets = namespaces.time.as_ref().map(|time| [&time.monotonic, &time.boottime]);
    match offsets.into_iter().flatten().flatten().find(|offset| offset.nanos >= 1_000_000_000) {
        Some(offset) => Err(format!("{} ns are no part of a second", offset.nanos)),
        None => Ok(()),
    }
}

/// The same of the mappings of users and of groups.
pub(crate) fn check_mappings(both: [&Vec<IdMapping>; 2]) -> Result<(), String> {
    for mappings in both {
        let fits = |mapping: &IdMapping| {
            mapping.size > 0
                && mapping.container_id.checked_add(mapping.size - 1).is_some()
                && mapping.host_id.checked_add(mapping.size - 1).is_some()
        };
        if mappings.is_empty() || mappings.len() > MAX_MAPPINGS || !mappings.iter().all(fits) {
            return Err(format!("not 1 to {MAX_MAPPINGS} mappings of numbers that there are"));
        }
    }
    Ok(())
}

/// Makes the namespaces that are asked for. The calling thread's /proc is of its own PID namespace, and its children are
/// born in that.
pub(crate) fn make(namespaces: &Namespaces, cgroup: BorrowedFd<'_>) -> Result<Apart, StepError> {
    let flags =
        namespaces.user.as_ref().map_or(0, |_| libc::CLONE_NEWUSER) | namespaces.time.as_ref().map_or(0, |_| NEW_TIME);
    if flags == 0 {
        return Ok(Apart::default());
    }
    let maker = Maker::start(flags, cgroup)?;
    let mut apart = Apart::default();
    if let Some(user) = &namespaces.user {
        apart.users = Some(maker.map(&user.uid_mappings, &user.gid_mappings)?);
        apart.uids.clone_from(&user.uid_mappings);
        apart.gids.clone_from(&user.gid_mappings);
    }
    if let Some(time) = &namespaces.time {
        let line = |name: &str, offset: &Option<TimeOffset>| {
            offset.map_or(String::new(), |offset| format!("{name} {} {}\n", offset.seconds, offset.nanos))
        };
        let offsets = line("monotonic", &time.monotonic) + &line("boottime", &time.boottime);
        if !offsets.is_empty() {
            maker.put("timens_offsets", &offsets)?;
        }
        apart.clocks = Some(maker.open("time_for_children")?);
    }
    Ok(apart)
}

/// Makes a namespace of users that only says how a mount's are numbered; like [`make`].
pub(crate) fn users_of_mount(ids: &MountIds, cgroup: BorrowedFd<'_>) -> Result<OwnedFd, StepError> {
    Maker::start(libc::CLONE_NEWUSER, cgroup)?.map(&ids.uid_mappings, &ids.gid_mappings)
}

fn lines(mappings: &[IdMapping]) -> String {
    mappings.iter().map(|mapping| format!("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.size)).collect()
}

/// A process in namespaces of its own, until it is dropped.
struct Maker(Pid);

impl Maker {
    fn start(flags: i32, cgroup: BorrowedFd<'_>) -> Result<Self, StepError> {
        const STEP: &str = "creating the namespaces of users and clocks";
        let (report, writer) = pipe()?;
        let pid = fork_into(cgroup, |procs| {
            let joined = procs.map_or(Ok(1), |procs| write(procs, b"0"));
            // SAFETY: integers only; this process has one thread, and opens nothing.
            let made = joined.and_then(|_| match unsafe { libc::unshare(flags) } {
                0 => Ok(()),
                _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
            });
            let _ = write(&writer, &[made.map_or_else(|errno| errno.raw_os_error() as u8, |()| 0)]);
            loop {
                // SAFETY: waits for a signal, which is SIGKILL.
                unsafe { libc::pause() };
            }
        })
        .step(|| STEP.into())?;
        let maker = Self(pid);
        drop(writer);
        let mut made = [0];
        fs::File::from(report).read_exact(&mut made).step(|| STEP.into())?;
        match made {
            [0] => Ok(maker),
            // INVAL of a kernel without one of them.
            [errno] => Err(StepError {
                step: format!("{STEP}, which this kernel may not have"),
                errno: Errno::from_raw_os_error(errno.into()),
            }),
        }
    }

    /// Numbers its users and groups, and opens their namespace.
    fn map(&self, uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd, StepError> {
        self.put("uid_map", &lines(uids))?;
        self.put("gid_map", &lines(gids))?;
        self.open("user")
    }

    fn put(&self, file: &str, text: &str) -> Result<(), StepError> {
        fs::write(self.path(file), text).step(|| format!("writing {file} of the new namespaces"))
    }

    fn open(&self, namespace: &str) -> Result<OwnedFd, StepError> {
        open(self.path(&format!("ns/{namespace}")), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .step(|| format!("opening the namespace {namespace}"))
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0.as_raw_nonzero())
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        // Where the reaper is another thread and was quicker, it is gone as well.
        let _ = kill_process(self.0, Signal::KILL).and_then(|()| waitpid(Some(self.0), WaitOptions::empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{TimeNamespace, UserNamespace};

    fn mapping(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn numbers_are_mapped_by_the_range_that_has_them() {
        let mappings = [mapping(0, 1000, 1), mapping(1, 100_000, 65_535)];
        let expected = [(0, Some(1000)), (1, Some(100_000)), (65_535, Some(165_534)), (65_536, None), (u32::MAX, None)];
        for (inner, found) in expected {
            assert_eq!(outer(&mappings, inner), found, "{inner}");
        }
        assert_eq!(Apart::default().outer_uid(7), Some(7));
    }

    #[test]
    fn mappings_and_offsets_have_bounds() {
        let user = |uid_mappings: Vec<IdMapping>| Namespaces {
            user: Some(UserNamespace { uid_mappings, gid_mappings: vec![mapping(0, 0, 1)] }),
            ..Namespaces::default()
        };
        assert_eq!(check(&Namespaces::default()), Ok(()));
        assert_eq!(check(&user(vec![mapping(0, 0, u32::MAX); 340])), Ok(()));
        assert_eq!(check(&user(vec![mapping(1, 1, u32::MAX)])), Ok(()));
        for refused in [vec![], vec![mapping(0, 0, 1); 341], vec![mapping(0, 0, 0)], vec![mapping(2, 0, u32::MAX)]] {
            assert!(check(&user(refused)).is_err());
        }
        let monotonic = Some(TimeOffset { seconds: -1, nanos: 1_000_000_000 });
        let time = Some(TimeNamespace { monotonic, boottime: None });
        assert!(check(&Namespaces { time, ..Namespaces::default() }).is_err());
    }
}
