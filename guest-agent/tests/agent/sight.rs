// SPDX-License-Identifier: Apache-2.0

//! What the agent tells of the workload: what it uses, and what happens to it. What the kernel does not count here, for
//! want of a controller or of pressure stall information, must be absent.

use std::collections::BTreeMap;
use std::time::Duration;

use nacelle_agent::proto::event::{Filesystem, Kind};
use nacelle_agent::proto::limit_reached::Limit;
use nacelle_agent::proto::signal_process_request::Scope;
use nacelle_agent::proto::{
    Event, GetStatisticsRequest, Namespaces, PrepareRequest, ProcessExited, RootFilesystem, ShutdownRequest,
    Statistics, WatchEventsRequest, WatchStatisticsRequest, WorkloadLimits, process_exited,
};
use tokio::time::timeout;
use tonic::{Code, Streaming};

use crate::image::Image;
use crate::limits::limited;
use crate::support::{Guest, HANG, SERIAL, command, eventually, prepare_request, serial};

impl Guest {
    async fn statistics(&self) -> Statistics {
        self.client.clone().get_statistics(GetStatisticsRequest {}).await.unwrap().into_inner()
    }

    async fn events(&self) -> Events {
        Events(self.client.clone().watch_events(WatchEventsRequest {}).await.unwrap().into_inner())
    }
}

struct Events(Streaming<Event>);

impl Events {
    async fn next(&mut self) -> Kind {
        let event = timeout(HANG, self.0.message()).await.expect("no event comes").unwrap().unwrap();
        assert!(event.age_nanos < HANG.as_nanos() as u64, "{event:?}");
        event.kind.expect("an event of a known kind")
    }

    /// Passes over what the kernel of the machine that these tests run on tells, of whatever.
    async fn of_processes(&mut self) -> Kind {
        self.until(|kind| (!matches!(kind, Kind::KernelWarning(_) | Kind::PressureRose(_))).then(|| kind.clone())).await
    }

    /// Passes over what comes before.
    async fn until<T>(&mut self, wanted: impl Fn(&Kind) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.next().await) {
                return found;
            }
        }
    }
}

#[tokio::test]
async fn what_the_kernel_counts_is_told_and_what_it_does_not_is_absent() {
    let guest = Guest::busybox().await;
    guest.sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done").await;
    let now = guest.statistics().await;
    let is_counted = |file: &str| guest.workload().join(file).exists();
    let told: BTreeMap<&str, bool> = [
        ("memory.current", now.memory_bytes.is_some()),
        ("memory.peak", now.memory_peak_bytes.is_some()),
        ("memory.stat", now.memory_anonymous_bytes.is_some() && now.memory_file_bytes.is_some()),
        ("memory.events", now.oom_kills == Some(0)),
        ("cpu.stat", now.cpu_nanos > Some(0) && now.cpu_user_nanos.is_some() && now.cpu_system_nanos.is_some()),
        ("pids.current", now.processes == Some(1)),
        ("pids.max", now.processes_limit.is_some()),
        ("cpu.pressure", now.cpu_pressure.is_some()),
        ("memory.pressure", now.memory_pressure.is_some()),
        ("io.pressure", now.io_pressure.is_some()),
    ]
    .into();
    let counted: BTreeMap<_, _> = told.keys().map(|&file| (file, is_counted(file))).collect();
    assert_eq!(told, counted, "{now:?}");
    assert!(now.boottime_nanos > 0 && now.machine_memory_available_bytes > Some(0), "{now:?}");
    assert!(now.machine_load_hundredths.is_some());
}

/// In a network namespace of its own, and in the agent's.
#[tokio::test]
async fn what_goes_through_its_loopback_is_counted() {
    for network in [false, true] {
        let mut guest = Guest::fresh(Image::busybox()).await;
        let namespaces = Some(Namespaces { network, ..Namespaces::default() });
        guest.client.prepare(PrepareRequest { namespaces, ..prepare_request() }).await.unwrap();
        let loopback = |statistics: Statistics| {
            let found = statistics.interfaces.into_iter().find(|interface| interface.name == "lo");
            found.and_then(|interface| Some((interface.received?, interface.sent?))).expect("a loopback")
        };
        let (before, _) = loopback(guest.statistics().await);
        guest.sh("ping -c 2 -s 1000 127.0.0.1").await;
        let now = guest.statistics().await;
        let open = (now.open_files.unwrap(), now.open_files_limit.unwrap());
        assert!(open.0 > 0 && open.0 <= open.1, "{open:?}");
        let (received, sent) = loopback(now);
        assert!(received.packets >= before.packets + 4, "{before:?} {received:?}");
        assert!(received.bytes >= before.bytes + 4 * 1000, "{before:?} {received:?}");
        assert_eq!((sent.packets, sent.errors, sent.dropped), (received.packets, 0, 0));
    }
}

#[tokio::test]
async fn statistics_come_after_prepare() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let refused = guest.client.get_statistics(GetStatisticsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let request = WatchStatisticsRequest { interval_nanos: 1_000_000_000 };
    assert_eq!(guest.client.watch_statistics(request).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(guest.client.watch_events(WatchEventsRequest {}).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn statistics_come_again_and_again() {
    let mut guest = Guest::busybox().await;
    for interval_nanos in [0, 99_999_999, 3_600_000_000_001] {
        let refused = guest.client.watch_statistics(WatchStatisticsRequest { interval_nanos }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let every = Duration::from_millis(100);
    let request = WatchStatisticsRequest { interval_nanos: every.as_nanos() as u64 };
    let mut readings = guest.client.watch_statistics(request).await.unwrap().into_inner();
    let mut at = Vec::new();
    for _ in 0..4 {
        at.push(timeout(HANG, readings.message()).await.unwrap().unwrap().unwrap().boottime_nanos);
    }
    // The first at once, the others no sooner than they are wanted; each may be late, the first among them.
    assert!(at[3] - at[0] > 2 * every.as_nanos() as u64, "{at:?}");
}

#[tokio::test]
async fn those_who_watch_have_a_limit_and_do_not_hold_up_the_end() {
    let mut guest = Guest::busybox().await;
    let mut watching = Vec::new();
    for _ in 0..16 {
        watching.push(guest.events().await);
    }
    let refused = guest.client.watch_events(WatchEventsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    watching.pop();
    // It hears of that a moment later.
    let mut again = None;
    while again.is_none() {
        again = guest.client.watch_events(WatchEventsRequest {}).await.ok();
    }
    guest.client.shutdown(ShutdownRequest { grace_nanos: 0 }).await.unwrap();
    for mut call in watching {
        assert!(timeout(HANG, call.0.message()).await.unwrap().unwrap().is_none());
    }
    assert!(guest.wait().await.success());
}

#[tokio::test]
async fn a_process_is_told_of_from_its_start_to_the_end_of_its_tree() {
    let guest = Guest::busybox().await;
    let mut events = guest.events().await;
    let outcome = guest.sh("exit 3").await;
    let started = outcome.started.unwrap();
    match events.of_processes().await {
        Kind::ProcessStarted(told) => {
            assert_eq!((told.process_id, told.pid), (started.process_id, started.pid));
            assert_eq!(told.command, "sh -c exit 3");
        }
        other => panic!("{other:?}"),
    }
    let status = Some(process_exited::Status::ExitCode(3));
    assert_eq!(
        events.of_processes().await,
        Kind::ProcessExited(ProcessExited { process_id: started.process_id, status })
    );
    assert_eq!(events.of_processes().await, Kind::TreeEnded(started.process_id));
}

#[tokio::test]
async fn a_tree_that_is_left_behind_ends_when_its_last_process_does() {
    let guest = Guest::busybox().await;
    let mut events = guest.events().await;
    let left = guest.sh("sleep 1000 > /dev/null 2>&1 & exit 0").await.started.unwrap().process_id;
    events.until(|kind| matches!(kind, Kind::ProcessExited(told) if told.process_id == left).then_some(())).await;
    guest.signal(left, libc::SIGKILL, Scope::Tree).await.unwrap();
    assert_eq!(events.of_processes().await, Kind::TreeEnded(left));
}

#[tokio::test]
async fn a_process_whose_call_is_cancelled_is_told_of_and_one_that_never_was_is_not() {
    let guest = Guest::busybox().await;
    let mut events = guest.events().await;
    guest.run(command("no-such-command")).await.failure();
    let mut call = guest.start(command("sleep 1000")).await;
    let id = call.started().await.process_id;
    drop(call);
    assert!(matches!(events.of_processes().await, Kind::ProcessStarted(told) if told.process_id == id));
    let status = Some(process_exited::Status::Signal(libc::SIGKILL as u32));
    assert_eq!(events.of_processes().await, Kind::ProcessExited(ProcessExited { process_id: id, status }));
    assert_eq!(events.of_processes().await, Kind::TreeEnded(id));
}

/// Whoever watches and does not read has no part in what becomes of processes.
#[tokio::test]
async fn a_host_that_does_not_read_is_told_how_much_it_missed() {
    let guest = Guest::busybox().await;
    let mut slow = guest.events().await;
    let mut numbers = Vec::new();
    // More than the connection's window and the ring hold: a command line has 256 bytes of each event's.
    let long = "x".repeat(300);
    for _ in 0..1500 {
        numbers.push(guest.run(command(&format!("true {long}"))).await.started.unwrap().process_id);
    }
    let last = *numbers.last().unwrap();
    let (mut seen, mut lost) = (0, 0);
    loop {
        match slow.next().await {
            Kind::Lost(count) => lost += count,
            Kind::TreeEnded(id) if id == last => break,
            Kind::KernelWarning(_) | Kind::PressureRose(_) => {}
            _ => seen += 1,
        }
    }
    assert!(lost > 0);
    assert!(seen + 1 + lost >= numbers.len() as u64 * 3, "{seen} {lost}");
}

#[tokio::test]
async fn full_filesystems_are_told_of_once() {
    let mut guest = Guest::fresh(Image::busybox()).await;
    let root = RootFilesystem { disk: serial(SERIAL), writable_bytes: 1 << 20, ..RootFilesystem::default() };
    let request = PrepareRequest { root: Some(root), shared_memory_bytes: 1 << 20, ..prepare_request() };
    guest.client.prepare(request).await.unwrap();
    let mut events = guest.events().await;
    let full = |kind: &Kind| match kind {
        Kind::FilesystemFull(which) => Filesystem::try_from(*which).ok(),
        _ => None,
    };
    guest.sh("cat /dev/zero > /dev/shm/fill").await;
    assert_eq!(events.until(full).await, Filesystem::SharedMemory);
    guest.sh("cat /dev/zero > /fill").await;
    assert_eq!(events.until(full).await, Filesystem::Root);
    guest.sh("rm /dev/shm/fill; sleep 4; cat /dev/zero > /dev/shm/fill").await;
    assert_eq!(events.until(full).await, Filesystem::SharedMemory);
}

#[tokio::test]
async fn the_limit_of_processes_is_told_of() {
    let limits = WorkloadLimits { pids: 8, ..WorkloadLimits::default() };
    let Some(guest) = limited("pids", limits).await else { return };
    let mut events = guest.events().await;
    guest.sh("i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done").await;
    let reached = events.until(|kind| match kind {
        Kind::LimitReached(reached) => Some(*reached),
        _ => None,
    });
    let reached = reached.await;
    assert!(reached.limit() == Limit::Pids && reached.times > 0, "{reached:?}");
}

#[tokio::test]
async fn an_oom_kill_is_told_of_the_process_that_it_hit() {
    let limits = WorkloadLimits { memory_bytes: 32 << 20, ..WorkloadLimits::default() };
    let Some(guest) = limited("memory", limits).await else { return };
    let mut bystander = guest.start(command("sleep 1000")).await;
    bystander.started().await;
    let mut events = guest.events().await;
    let hit = guest.sh("tail /dev/zero; true").await.started.unwrap().process_id;
    let told = events.until(|kind| match kind {
        Kind::OomKill(told) => Some(*told),
        _ => None,
    });
    let told = told.await;
    assert_eq!((told.process_id, told.kills), (hit, 1));
    assert_eq!(guest.statistics().await.oom_kills, Some(1));
}

/// The counters' files are open for good, and those who watch leave nothing.
#[tokio::test]
async fn watching_leaves_no_descriptors() {
    let guest = Guest::busybox().await;
    let _events = guest.events().await;
    guest.statistics().await;
    let before = guest.descriptors();
    for _ in 0..20 {
        drop(guest.events().await);
        guest.statistics().await;
    }
    eventually("no more descriptors than before", || (guest.descriptors() <= before).then_some(())).await;
}
