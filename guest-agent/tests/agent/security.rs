// SPDX-License-Identifier: Apache-2.0

//! What a process may do.

use nacelle_agent::proto::start_failed::Reason;
use nacelle_agent::proto::{Capabilities, ProcessSpec, ResourceLimit, Scheduler, Seccomp, Security};
use tonic::Code;

use crate::support::{Guest, Outcome, shell};

const CHOWN: u64 = 1 << 0;
const NET_BIND_SERVICE: u64 = 1 << 10;
const SYS_ADMIN: u64 = 1 << 21;
const ALL: u64 = u64::MAX;

fn with(security: Security, user: &str, script: &str) -> ProcessSpec {
    ProcessSpec { security: Some(security), user: user.into(), ..shell(script) }
}

async fn run(security: Security, user: &str, script: &str) -> Outcome {
    Guest::busybox().await.run(with(security, user, script)).await
}

/// Inheritable, permitted, effective, bounding, ambient.
const SETS: &str = "sed -n 's/^Cap...:.0*\\([0-9a-f]\\)/\\1/p' /proc/self/status | tr '\\n' ' '";

#[tokio::test]
async fn the_five_sets_are_as_they_are_asked_for() {
    let capabilities = Some(Capabilities {
        bounding: CHOWN | NET_BIND_SERVICE | SYS_ADMIN,
        effective: CHOWN,
        permitted: CHOWN | NET_BIND_SERVICE,
        inheritable: NET_BIND_SERVICE,
        ambient: NET_BIND_SERVICE,
        root_only: false,
    });
    let security = Security { capabilities, ..Security::default() };
    // As execve(2) has it: a user keeps what is ambient; root has what is bounding.
    assert_eq!(run(security.clone(), "app", SETS).await.text(), "400 400 400 200401 400 ");
    assert_eq!(run(security, "", SETS).await.text(), "400 200401 200401 200401 400 ");
}

#[tokio::test]
async fn a_set_that_is_root_s_alone_is_no_user_s() {
    let set = CHOWN | SYS_ADMIN;
    let capabilities =
        Some(Capabilities { bounding: set, effective: set, permitted: set, root_only: true, ..Default::default() });
    let security = Security { capabilities, ..Security::default() };
    assert_eq!(run(security.clone(), "", SETS).await.text(), "0 200001 200001 200001 0 ");
    assert_eq!(run(security, "app", SETS).await.text(), "0 0 0 200001 0 ");
}

#[tokio::test]
async fn what_the_kernel_does_not_have_is_left_out() {
    let capabilities =
        Some(Capabilities { bounding: ALL, effective: ALL, permitted: ALL, root_only: true, ..Default::default() });
    let guest = Guest::busybox().await;
    // All that the agent has, as this process.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).unwrap();
    let all = own.trim_start_matches('0');
    let security = Security { capabilities, ..Security::default() };
    let sets = guest.run(with(security, "", SETS)).await.text();
    assert_eq!(sets, format!("0 {all} {all} {all} 0 "));
    // Another process has no more for it.
    assert_eq!(guest.sh(SETS).await.text(), "0 a80425fb a80425fb a80425fb 0 ");
}

#[tokio::test]
async fn none_at_all_is_none() {
    let security = Security { capabilities: Some(Capabilities::default()), ..Security::default() };
    assert_eq!(run(security.clone(), "", SETS).await.text(), "0 0 0 0 0 ");
    let outcome = run(security, "", "chown 7 /etc/group").await;
    assert_eq!(String::from_utf8_lossy(&outcome.stderr), "chown: /etc/group: Operation not permitted\n");
}

#[tokio::test]
async fn sets_that_the_kernel_refuses_fail_the_start() {
    let capabilities = Some(Capabilities { effective: CHOWN, ..Capabilities::default() });
    let failure = run(Security { capabilities, ..Security::default() }, "", "true").await.failure();
    assert_eq!(failure.reason(), Reason::Other);
    assert_eq!(failure.message, "setting capabilities: Operation not permitted (os error 1)");
}

#[tokio::test]
async fn no_new_privileges_are_none() {
    let security = Security { no_new_privileges: true, ..Security::default() };
    assert_eq!(run(security, "", "grep NoNewPrivs /proc/self/status").await.text(), "NoNewPrivs:\t1\n");
}

#[tokio::test]
async fn limits_priorities_and_the_mask_are_as_they_are_asked_for() {
    let limit = |resource, soft, hard| ResourceLimit { resource, soft, hard };
    let security = Security {
        resource_limits: vec![limit(libc::RLIMIT_NOFILE, 77, 88), limit(libc::RLIMIT_CORE, 0, u64::MAX)],
        oom_score_adj: 500,
        umask: Some(0o077),
        additional_gids: vec![29, 4242],
        scheduler: Some(Scheduler { policy: libc::SCHED_BATCH as u32, nice: 5, ..Scheduler::default() }),
        // The idle class.
        io_priority: Some(3 << 13),
        // PER_LINUX32
        personality: Some(8),
        cpu_affinity: vec![1].into(),
        ..Security::default()
    };
    let script = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; cat /proc/self/oom_score_adj; umask; id -G; \
                  ionice -p $$; uname -m; grep Cpus_allowed_list /proc/self/status; cut -d ' ' -f 19,41 /proc/self/stat";
    assert_eq!(
        run(security, "app", script).await.text(),
        "77\n88\n0\nunlimited\n500\n0077\n1000 29 4242\nidle\ni686\nCpus_allowed_list:\t0\n5 3\n"
    );
}

#[tokio::test]
async fn a_limit_that_there_is_not_fails_the_start() {
    let resource_limits = vec![ResourceLimit { resource: 99, soft: 1, hard: 1 }];
    let failure = run(Security { resource_limits, ..Security::default() }, "", "true").await.failure();
    assert_eq!(failure.message, "setting resource limits: Invalid argument (os error 22)");
    let scheduler = Some(Scheduler { policy: 99, ..Scheduler::default() });
    let failure = run(Security { scheduler, ..Security::default() }, "", "true").await.failure();
    assert_eq!(failure.message, "setting how it is scheduled: Invalid argument (os error 22)");
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Vec<u8> {
    [&code.to_le_bytes()[..], &[jt, jf], &k.to_le_bytes()].concat()
}

/// Answers one system call with an error, and lets all others be.
fn refusing(system_call: libc::c_long, errno: i32) -> Option<Seccomp> {
    let filter = [
        instruction(0x20, 0, 0, 0), // its number
        instruction(0x15, 0, 1, system_call as u32),
        instruction(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        instruction(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    Some(Seccomp { filter: filter.concat().into(), flags: 0 })
}

#[tokio::test]
async fn a_filter_holds_for_the_process_and_what_it_starts() {
    for no_new_privileges in [false, true] {
        let security =
            Security { seccomp: refusing(libc::SYS_mkdir, libc::EDOM), no_new_privileges, ..Security::default() };
        for user in ["", "app"] {
            let outcome = run(security.clone(), user, "grep Seccomp: /proc/self/status; sh -c 'mkdir /tmp/x'").await;
            assert_eq!(String::from_utf8_lossy(&outcome.stdout), "Seccomp:\t2\n");
            let message = String::from_utf8_lossy(&outcome.stderr).into_owned();
            assert!(message.contains("Numerical argument out of domain"), "{message}");
        }
    }
}

#[tokio::test]
async fn with_no_new_privileges_a_filter_comes_last() {
    // Which becoming the user and setting capabilities take.
    for system_call in [libc::SYS_setresuid, libc::SYS_capset] {
        let seccomp = refusing(system_call, libc::EPERM);
        let security = Security { seccomp, no_new_privileges: true, ..Security::default() };
        assert_eq!(run(security, "app", "id -u").await.text(), "1000\n");
    }
    // Executing the command comes after it in any case.
    let security = Security { seccomp: refusing(libc::SYS_execve, libc::EDOM), ..Security::default() };
    let failure = run(security, "", "true").await.failure();
    assert!(failure.message.starts_with("executing /bin/sh: Numerical argument out of domain"), "{failure:?}");
}

#[tokio::test]
async fn a_filter_that_the_kernel_refuses_fails_the_start() {
    let filter = instruction(0x20, 0, 0, 0).into();
    let security = Security { seccomp: Some(Seccomp { filter, flags: 0 }), ..Security::default() };
    let failure = run(security, "", "true").await.failure();
    assert_eq!(failure.message, "installing its seccomp filter: Invalid argument (os error 22)");
}

#[tokio::test]
async fn a_request_that_breaks_the_contract_is_refused() {
    let guest = Guest::busybox().await;
    for security in [
        Security { umask: Some(0o1000), ..Security::default() },
        Security { oom_score_adj: -1001, ..Security::default() },
        Security { seccomp: Some(Seccomp::default()), ..Security::default() },
    ] {
        let status = guest.try_run(with(security, "", "true")).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
}
