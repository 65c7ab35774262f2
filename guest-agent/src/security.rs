// SPDX-License-Identifier: Apache-2.0

//! What a process may do: capabilities, limits, the filter of its system calls. Checked before anything is made of it, and
//! applied in the new process, where nothing may allocate.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, write};
use rustix::process::umask;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::proto;

const MAX_LIMITS: usize = 16;
const MAX_GIDS: usize = 1024;
/// BPF_MAXINSNS of linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;
/// Processors that there may be in a set: 1024.
const MAX_AFFINITY_BYTES: usize = 128;
/// (gid_t) -1 means none.
const MAX_ID: u32 = u32::MAX - 1;

/// The capabilities that images are written for: Docker's default. The machine is the boundary; these keep a workload from
/// pulling its own machine from under itself by accident (reboot, mounts over /proc, loading modules).
pub(crate) const CAPABILITIES: CapabilitySet = CapabilitySet::AUDIT_WRITE
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// systemd's defaults, which programs are tested with: select(2) works below the soft limit, who needs more raises it.
const OPEN_FILES: libc::rlimit64 = libc::rlimit64 { rlim_cur: 1024, rlim_max: 524_288 };
/// pids.max is the limit.
const PROCESSES: libc::rlimit64 = libc::rlimit64 { rlim_cur: libc::RLIM64_INFINITY, rlim_max: libc::RLIM64_INFINITY };

/// struct sched_attr of linux/sched/types.h, in its first version.
#[repr(C)]
#[derive(Debug)]
struct SchedulerAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// What was asked for, checked.
#[derive(Debug)]
pub(crate) struct Security {
    capabilities: proto::Capabilities,
    no_new_privileges: bool,
    filter: Vec<libc::sock_filter>,
    filter_flags: u32,
    limits: Vec<Limit>,
    oom_score_adj: String,
    umask: Mode,
    pub(crate) additional_gids: Vec<u32>,
    scheduler: Option<SchedulerAttributes>,
    io_priority: Option<u32>,
    personality: Option<u32>,
    cpu_affinity: Vec<u8>,
}

/// A resource's limit.
#[derive(Debug)]
struct Limit {
    resource: u32,
    values: libc::rlimit64,
    /// Whether the host asked for it. Others are conveniences: without the privilege to raise them, the inherited ones do.
    asked: bool,
}

/// The step that failed, of those here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refused {
    Limits,
    Scheduling,
    Capabilities,
    Filter,
}

type Applied = Result<(), (Refused, Errno)>;

fn at(step: Refused) -> impl Fn(Errno) -> (Refused, Errno) {
    move |errno| (step, errno)
}

impl Security {
    /// Says what breaks the contract.
    pub(crate) fn check(request: proto::Security) -> Result<Self, String> {
        let seccomp = request.seccomp;
        let filter = match &seccomp {
            None => Vec::new(),
            Some(seccomp) => instructions(&seccomp.filter)?,
        };
        let (given, gids) = (&request.resource_limits, &request.additional_gids);
        if given.len() > MAX_LIMITS {
            return Err(format!("{} resource limits are more than {MAX_LIMITS}", given.len()));
        }
        if let Some(limit) = given.iter().enumerate().find_map(|(index, limit)| {
            let twice = given[..index].iter().any(|before| before.resource == limit.resource);
            (twice || limit.soft > limit.hard).then_some(limit)
        }) {
            return Err(format!("a limit of resource {} that is there twice, or beyond its hard one", limit.resource));
        }
        if gids.len() > MAX_GIDS || gids.iter().any(|&gid| gid > MAX_ID) {
            return Err(format!("additional_gids are more than {MAX_GIDS}, or one is no group's number"));
        }
        if !(-1000..=1000).contains(&request.oom_score_adj) {
            return Err(format!("oom_score_adj is not between -1000 and 1000: {}", request.oom_score_adj));
        }
        if request.umask.is_some_and(|mask| mask > 0o777) {
            return Err("umask is more than 0777".into());
        }
        if request.cpu_affinity.len() > MAX_AFFINITY_BYTES {
            return Err(format!("cpu_affinity has more than {MAX_AFFINITY_BYTES} bytes"));
        }
        let usual = |resource, values| Limit { resource, values, asked: false };
        let mut limits = vec![usual(libc::RLIMIT_NOFILE, OPEN_FILES), usual(libc::RLIMIT_NPROC, PROCESSES)];
        limits.retain(|usual| !given.iter().any(|limit| limit.resource == usual.resource));
        limits.extend(given.iter().map(|limit| Limit {
            resource: limit.resource,
            values: libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard },
            asked: true,
        }));
        let docker = CAPABILITIES.bits();
        Ok(Self {
            capabilities: request.capabilities.unwrap_or(proto::Capabilities {
                bounding: docker,
                effective: docker,
                permitted: docker,
                inheritable: 0,
                ambient: 0,
                root_only: true,
            }),
            no_new_privileges: request.no_new_privileges,
            filter,
            filter_flags: seccomp.map_or(0, |seccomp| seccomp.flags),
            limits,
            oom_score_adj: request.oom_score_adj.to_string(),
            umask: Mode::from_raw_mode(request.umask.unwrap_or(0o022)),
            additional_gids: request.additional_gids,
            scheduler: request.scheduler.map(|scheduler| SchedulerAttributes {
                size: size_of::<SchedulerAttributes>() as u32,
                policy: scheduler.policy,
                flags: scheduler.flags,
                nice: scheduler.nice,
                priority: scheduler.priority,
                runtime: scheduler.runtime_nanos,
                deadline: scheduler.deadline_nanos,
                period: scheduler.period_nanos,
            }),
            io_priority: request.io_priority,
            personality: request.personality,
            cpu_affinity: request.cpu_affinity.into(),
        })
    }

    /// What needs the agent's own privileges and takes none away but those of others to come.
    pub(crate) fn limit(&self) -> Applied {
        // The agent's own, which it inherited, would save it from the OOM killer.
        openat(CWD, c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|file| write(&file, self.oom_score_adj.as_bytes()))
            .map_err(at(Refused::Limits))?;
        for Limit { resource, values, asked } in &self.limits {
            let none = std::ptr::null::<libc::rlimit64>();
            // SAFETY: the kernel reads a limit that lives across the call, and writes none.
            let set = done(unsafe { libc::syscall(libc::SYS_prlimit64, 0, *resource, &raw const *values, none) });
            if *asked {
                set.map_err(at(Refused::Limits))?;
            }
        }
        umask(self.umask);
        self.schedule().map_err(at(Refused::Scheduling))
    }

    fn schedule(&self) -> Result<(), Errno> {
        const WHO_PROCESS: i32 = 1; // IOPRIO_WHO_PROCESS
        if let Some(attributes) = &self.scheduler {
            // SAFETY: the kernel reads as many bytes as the structure says of itself.
            done(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *attributes, 0) })?;
        }
        if let Some(priority) = self.io_priority {
            // SAFETY: integers only.
            done(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) })?;
        }
        if let Some(persona) = self.personality {
            // SAFETY: integers only.
            done(unsafe { libc::syscall(libc::SYS_personality, persona) })?;
        }
        if !self.cpu_affinity.is_empty() {
            let (set, bytes) = (self.cpu_affinity.as_ptr(), self.cpu_affinity.len());
            // SAFETY: the kernel reads that many bytes, which live across the call.
            done(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, bytes, set) })?;
        }
        Ok(())
    }

    /// Bounds what execve(2) can give; of all that the kernel has.
    pub(crate) fn bound(&self, all: CapabilitySet) -> Applied {
        let dropped = all.difference(CapabilitySet::from_bits_retain(self.capabilities.bounding));
        for capability in dropped.iter() {
            remove_capability_from_bounding_set(capability).map_err(at(Refused::Capabilities))?;
        }
        Ok(())
    }

    /// Leaves the process what it is to have, once it is whom it is to be, and filters its system calls. It has all
    /// capabilities until then.
    pub(crate) fn restrict(&self, all: CapabilitySet, is_root: bool) -> Applied {
        // Without no_new_privs the kernel wants a privilege for it, which is to be gone afterwards.
        if !self.no_new_privileges {
            self.filter().map_err(at(Refused::Filter))?;
        }
        let sets = &self.capabilities;
        let granted = |set: u64| CapabilitySet::from_bits_retain(set) & all;
        let of_root = |set: u64| if sets.root_only && !is_root { CapabilitySet::empty() } else { granted(set) };
        let capabilities = CapabilitySets {
            effective: of_root(sets.effective),
            permitted: of_root(sets.permitted),
            inheritable: granted(sets.inheritable),
        };
        set_capabilities(None, capabilities).map_err(at(Refused::Capabilities))?;
        for capability in granted(sets.ambient).iter() {
            configure_capability_in_ambient_set(capability, true).map_err(at(Refused::Capabilities))?;
        }
        if self.no_new_privileges {
            set_no_new_privs(true).map_err(at(Refused::Filter))?;
            self.filter().map_err(at(Refused::Filter))?;
        }
        Ok(())
    }

    fn filter(&self) -> Result<(), Errno> {
        if self.filter.is_empty() {
            return Ok(());
        }
        // The kernel only reads it.
        let program = libc::sock_fprog { len: self.filter.len() as u16, filter: self.filter.as_ptr().cast_mut() };
        // SAFETY: the program and its instructions live across the call.
        done(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, self.filter_flags, &raw const program)
        })
    }
}

/// All capabilities that there are for a process of the agent's.
pub(crate) fn all_capabilities() -> rustix::io::Result<CapabilitySet> {
    capabilities(None).map(|sets| sets.permitted)
}

/// Has `effective`, and all to have again.
pub(crate) fn use_only(effective: CapabilitySet, all: CapabilitySet) -> Result<(), Errno> {
    set_capabilities(None, CapabilitySets { effective, permitted: all, inheritable: CapabilitySet::empty() })
}

fn instructions(filter: &[u8]) -> Result<Vec<libc::sock_filter>, String> {
    const BYTES: usize = size_of::<libc::sock_filter>();
    if filter.is_empty() || filter.len() % BYTES != 0 || filter.len() > MAX_INSTRUCTIONS * BYTES {
        return Err(format!(
            "a seccomp filter of {} bytes is none of 1 to {MAX_INSTRUCTIONS} instructions",
            filter.len()
        ));
    }
    let instruction = |bytes: &[u8]| libc::sock_filter {
        code: u16::from_le_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    Ok(filter.chunks_exact(BYTES).map(instruction).collect())
}

fn done(result: libc::c_long) -> Result<(), Errno> {
    match result {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ResourceLimit, Seccomp};

    fn refusal(request: proto::Security) -> String {
        Security::check(request).unwrap_err()
    }

    #[test]
    fn nothing_is_docker_s_default() {
        let security = Security::check(proto::Security::default()).unwrap();
        assert_eq!(security.capabilities.bounding, 0xa804_25fb);
        assert!(security.capabilities.root_only && security.filter.is_empty() && !security.no_new_privileges);
        assert_eq!((security.oom_score_adj.as_str(), security.umask), ("0", Mode::from_raw_mode(0o022)));
    }

    #[test]
    fn a_given_limit_is_in_place_of_the_default() {
        let limit = ResourceLimit { resource: libc::RLIMIT_NOFILE, soft: 1, hard: u64::MAX };
        let security = Security::check(proto::Security { resource_limits: vec![limit], ..Default::default() }).unwrap();
        let limits: Vec<_> = security.limits.iter().map(|limit| (limit.resource, limit.values.rlim_cur)).collect();
        assert_eq!(limits, [(libc::RLIMIT_NPROC, u64::MAX), (libc::RLIMIT_NOFILE, 1)]);
    }

    #[test]
    fn instructions_are_read_as_they_are_written() {
        let bytes = [0x15, 0, 1, 2, 0x3e, 0, 0, 0xc0];
        let read = instructions(&bytes).unwrap();
        assert_eq!((read[0].code, read[0].jt, read[0].jf, read[0].k), (0x15, 1, 2, 0xc000_003e));
        for bytes in [&[][..], &[0; 7], &[0; 8 * 4097]] {
            assert!(instructions(bytes).is_err());
        }
    }

    #[test]
    fn what_breaks_the_contract_is_named() {
        let limit = |soft, hard| ResourceLimit { resource: 7, soft, hard };
        let limits = |resource_limits| proto::Security { resource_limits, ..Default::default() };
        assert!(refusal(limits(vec![limit(1, 1); 2])).contains("resource 7"));
        assert!(refusal(limits(vec![limit(2, 1)])).contains("resource 7"));
        assert!(refusal(limits(vec![limit(1, 1); 17])).contains("17 resource limits"));
        let gids = |additional_gids| proto::Security { additional_gids, ..Default::default() };
        assert!(Security::check(gids(vec![MAX_ID; 1024])).is_ok());
        assert!(refusal(gids(vec![1; 1025])).contains("additional_gids"));
        assert!(refusal(gids(vec![u32::MAX])).contains("additional_gids"));
        assert!(refusal(proto::Security { oom_score_adj: 1001, ..Default::default() }).contains("1001"));
        assert!(refusal(proto::Security { umask: Some(0o1000), ..Default::default() }).contains("umask"));
        let affinity = vec![0; 129].into();
        assert!(refusal(proto::Security { cpu_affinity: affinity, ..Default::default() }).contains("cpu_affinity"));
        let seccomp = Some(Seccomp::default());
        assert!(refusal(proto::Security { seccomp, ..Default::default() }).contains("seccomp"));
    }
}
