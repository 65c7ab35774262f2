// SPDX-License-Identifier: Apache-2.0

//! stdin, stdout and stderr: nothing lost, nothing out of order, nothing without bound.

use std::fs;
use std::time::Duration;

use nacelle_agent::proto::run_process_request::Request;
use nacelle_agent::proto::run_process_response::Response;
use nacelle_agent::proto::{CloseStdin, ProcessSpec, RunProcessRequest};
use tokio::sync::mpsc;
use tonic::Code;

use crate::support::{Guest, command, eventually, shell};

fn with_stdin(specification: ProcessSpec) -> ProcessSpec {
    ProcessSpec { stdin: true, ..specification }
}

#[tokio::test]
async fn a_fast_command_s_output_is_never_lost() {
    let guest = Guest::busybox().await;
    for number in 0..1000 {
        assert_eq!(guest.run(command(&format!("echo {number}"))).await.text(), format!("{number}\n"));
    }
}

#[tokio::test]
async fn both_outputs_arrive_apart_and_whole() {
    let guest = Guest::busybox().await;
    let script = "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let outcome = guest.sh(script).await;
    let lines = |word: &str| (0..2000).map(|number| format!("{word} {number}\n")).collect::<String>().into_bytes();
    assert!(outcome.stdout == lines("out") && outcome.stderr == lines("err"));
}

#[tokio::test]
async fn merged_outputs_arrive_in_the_order_in_which_they_were_written() {
    let guest = Guest::busybox().await;
    let script = "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let merged = |specification| ProcessSpec { merge_stderr: true, ..specification };
    let outcome = guest.run(merged(shell(script))).await;
    let lines = (0..2000).map(|number| format!("out {number}\nerr {number}\n")).collect::<String>();
    assert!(outcome.stdout == lines.into_bytes() && outcome.stderr.is_empty());
    // It is open to who has no rights, as apart.
    let own = ProcessSpec { user: "app".into(), ..shell("echo a > /dev/stdout; echo b > /dev/stderr") };
    assert_eq!(guest.run(merged(own)).await.text(), "a\nb\n");
}

#[tokio::test]
async fn output_that_nobody_wants_is_dropped_in_the_guest() {
    let guest = Guest::busybox().await;
    let owner = "stat -c '%u %a %t:%T' /dev/null";
    let null = guest.sh(owner).await.text();
    let both = ProcessSpec {
        discard_stdout: true,
        discard_stderr: true,
        user: "app".into(),
        ..shell("yes | head -n 1000000; yes >&2 & exit 3")
    };
    let outcome = guest.run(both).await;
    assert_eq!((outcome.code(), outcome.stdout.len(), outcome.stderr.len()), (Some(3), 0, 0));
    // Who was left behind holds nothing that anybody waits for.
    assert!(!outcome.exited.unwrap().outputs_abandoned);
    assert_eq!(guest.sh(owner).await.text(), null);
    let script = "readlink /proc/self/fd/1; readlink /proc/self/fd/2 >&2";
    let outcome = guest.run(ProcessSpec { discard_stderr: true, ..shell(script) }).await;
    assert!(outcome.text().starts_with("pipe:"));
    let outcome = guest.run(ProcessSpec { discard_stdout: true, ..shell(script) }).await;
    assert!(outcome.stdout.is_empty() && outcome.stderr.starts_with(b"pipe:"));
    // Merged output is stdout's.
    for (discard_stdout, expected) in [(false, "out\nerr\n"), (true, "")] {
        let spec = shell("echo out; echo err >&2");
        let spec = ProcessSpec { merge_stderr: true, discard_stdout, discard_stderr: true, ..spec };
        let outcome = guest.run(spec).await;
        assert_eq!((&*outcome.stdout, outcome.stderr.len()), (expected.as_bytes(), 0));
    }
}

#[tokio::test]
async fn output_waits_for_its_reader_and_blocks_nobody_else() {
    const BYTES: usize = 10 << 20;
    let guest = Guest::busybox().await;
    let mut flood = guest.start(shell(&format!("yes 0123456789abcde | head -c {BYTES}"))).await;
    flood.started().await;
    // Both ends of the shell's pipe come to rest: `yes` and `head` sleep in write(2), system call 1.
    let cgroup = guest.process_cgroups().pop().unwrap();
    eventually("the flood is dammed", || {
        let pids = fs::read_to_string(cgroup.join("cgroup.procs")).ok()?;
        let calls = pids.lines().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/syscall")).ok());
        (calls.filter(|call| call.starts_with("1 ")).count() == 2).then_some(())
    })
    .await;
    assert_eq!(guest.sh("echo meanwhile").await.text(), "meanwhile\n");
    let status = fs::read_to_string(format!("/proc/{}/status", guest.agent_pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    assert!(peak.strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024 < BYTES * 2, "{peak}");

    let outcome = flood.finish().await;
    assert_eq!((outcome.code(), outcome.stdout.len()), (Some(0), BYTES));
    assert!(outcome.stdout.chunks(16).all(|line| line == b"0123456789abcde\n"));
}

#[tokio::test]
async fn large_stdin_comes_back_from_cat() {
    let guest = Guest::busybox().await;
    let input: Vec<u8> = (0..10_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let call = guest.start(with_stdin(command("cat"))).await;
    for chunk in input.chunks(256 << 10) {
        call.stdin(chunk);
    }
    call.close_stdin();
    let outcome = call.finish().await;
    assert_eq!(outcome.code(), Some(0));
    assert!(outcome.stdout == input);
}

#[tokio::test]
async fn stdin_that_nobody_reads_blocks_nobody_else() {
    let guest = Guest::busybox().await;
    let mut deaf = Vec::new();
    for _ in 0..32 {
        let mut call = guest.start(with_stdin(command("sleep 1000"))).await;
        call.started().await;
        for _ in 0..4 {
            call.stdin(vec![0; 256 << 10]);
        }
        deaf.push(call);
    }
    let call = guest.start(with_stdin(command("cat"))).await;
    call.stdin(vec![b'x'; 256 << 10]);
    call.close_stdin();
    assert_eq!(call.finish().await.stdout.len(), 256 << 10);
}

#[tokio::test]
async fn the_agent_s_own_way_with_pipes_is_not_the_process_s() {
    let guest = Guest::busybox().await;
    let script = "for fd in 0 1 2; do sed -n 's/^flags:\t0*//p' /proc/$$/fdinfo/$fd; done";
    // O_RDONLY and O_WRONLY; O_NONBLOCK would be 4000.
    assert_eq!(guest.run(with_stdin(shell(script))).await.text(), "\n1\n1\n");
}

#[tokio::test]
async fn without_stdin_there_is_nothing_to_read() {
    let guest = Guest::busybox().await;
    assert_eq!(guest.sh("cat; readlink /proc/self/fd/0").await.text(), "/dev/null\n");
}

#[tokio::test]
async fn the_end_of_the_requests_is_the_end_of_stdin() {
    let guest = Guest::busybox().await;
    let (requests, stream) = mpsc::unbounded_channel();
    for request in [Request::Start(with_stdin(command("cat"))), Request::Stdin("last".into())] {
        requests.send(RunProcessRequest { request: Some(request), ..Default::default() }).unwrap();
    }
    let (unused, _) = mpsc::unbounded_channel();
    drop(requests);
    let outcome = guest.call(unused, stream).await.unwrap().finish().await;
    assert_eq!((outcome.code(), &*outcome.stdout), (Some(0), &b"last"[..]));
}

#[tokio::test]
async fn stdin_that_the_process_closed_is_dropped() {
    let guest = Guest::busybox().await;
    assert_eq!(guest.sh("mkfifo /tmp/go").await.code(), Some(0));
    let call = guest.start(with_stdin(shell("exec 0<&-; read line < /tmp/go"))).await;
    for _ in 0..8 {
        call.stdin(vec![0; 256 << 10]);
    }
    assert_eq!(guest.sh("echo on > /tmp/go").await.code(), Some(0));
    let outcome = call.finish().await;
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
}

#[tokio::test]
async fn requests_that_break_the_contract_end_the_call_and_the_process() {
    let guest = Guest::busybox().await;
    let start = |specification| Request::Start(specification);
    let sleep = || with_stdin(command("sleep 1000"));
    for requests in [
        vec![Request::Stdin("early".into())],
        vec![Request::CloseStdin(CloseStdin {})],
        vec![start(sleep()), start(sleep())],
        vec![start(sleep()), Request::Stdin(vec![0; (256 << 10) + 1].into())],
        vec![start(sleep()), Request::CloseStdin(CloseStdin {}), Request::Stdin("late".into())],
        vec![start(command("sleep 1000")), Request::Stdin("unasked".into())],
        // As a kind of message that a later contract has looks to this one.
        vec![],
        vec![start(sleep())],
    ] {
        let (sender, stream) = mpsc::unbounded_channel();
        for request in &requests {
            sender.send(RunProcessRequest { request: Some(request.clone()), ..Default::default() }).unwrap();
        }
        if requests.len() < 2 {
            sender.send(RunProcessRequest::default()).unwrap();
        }
        let answer = async { guest.call(sender, stream).await?.try_finish().await };
        let status = answer.await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{requests:?}: {status:?}");
        assert_eq!(guest.process_cgroups(), Vec::<std::path::PathBuf>::new());
    }
}

#[tokio::test]
async fn who_stays_behind_does_not_keep_the_call_and_does_not_die_of_it() {
    let guest = Guest::busybox().await;
    let script = "mkfifo /tmp/go; (read line < /tmp/go; echo to nobody; echo survived > /tmp/result) & echo first";
    let outcome = guest.run(ProcessSpec { linger_nanos: Some(0), ..shell(script) }).await;
    assert_eq!((outcome.code(), &*outcome.stdout), (Some(0), &b"first\n"[..]));
    assert!(outcome.exited.unwrap().outputs_abandoned);
    assert_eq!(guest.process_cgroups().len(), 1);
    let script = "echo go > /tmp/go; until [ -s /tmp/result ]; do :; done; cat /tmp/result";
    assert_eq!(guest.sh(script).await.text(), "survived\n");
}

#[tokio::test]
async fn who_stays_behind_and_never_stops_talking_does_not_keep_the_call() {
    let guest = Guest::busybox().await;
    let outcome = guest.sh("yes & exit 3").await;
    assert_eq!(outcome.code(), Some(3));
    assert!(outcome.exited.unwrap().outputs_abandoned);
}

#[tokio::test]
async fn who_stays_behind_and_talks_is_slowed_down() {
    let guest = Guest::busybox().await;
    let outcome = guest.run(ProcessSpec { linger_nanos: Some(0), ..shell("yes & exit 0") }).await;
    assert_eq!(outcome.code(), Some(0));
    let cgroup = guest.process_cgroups().pop().unwrap();
    let pid = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    // It is let go on, and made to wait: it goes to sleep by itself over and over.
    let sleeps = || {
        let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        sleeps.trim().parse::<u64>().unwrap()
    };
    let before = sleeps();
    eventually("it writes and waits", || (sleeps() > before + 3).then_some(())).await;
}

/// What is left of the exited process's own output is read by a process that it left behind.
fn filter(pause: &str) -> String {
    let filter = format!("while read l; do sleep {pause}; echo \"[$l]\"; done");
    format!("mkfifo /tmp/$$; ({filter}) < /tmp/$$ & exec > /tmp/$$; echo one; echo two")
}

#[tokio::test]
async fn a_filter_that_outlives_the_process_is_heard_to_its_end() {
    let guest = Guest::busybox().await;
    let outcome = guest.sh(&filter("0.01")).await;
    assert!(!outcome.exited.as_ref().unwrap().outputs_abandoned);
    assert_eq!(outcome.text(), "[one]\n[two]\n");
}

#[tokio::test]
async fn a_slow_filter_is_heard_for_as_long_as_the_host_says() {
    let guest = Guest::busybox().await;
    let minute = Duration::from_secs(60).as_nanos() as u64;
    let outcome = guest.run(ProcessSpec { linger_nanos: Some(minute), ..shell(&filter("1")) }).await;
    assert!(!outcome.exited.as_ref().unwrap().outputs_abandoned);
    assert_eq!(outcome.text(), "[one]\n[two]\n");
}

#[tokio::test]
async fn output_that_is_not_waited_for_is_told_of() {
    let guest = Guest::busybox().await;
    let outcome = guest.run(ProcessSpec { linger_nanos: Some(0), ..shell(&filter("1000")) }).await;
    assert!(outcome.exited.as_ref().unwrap().outputs_abandoned);
    assert_eq!(outcome.text(), "");
    // Nobody holds the outputs of this one.
    let script = "mkfifo /tmp/up; (echo > /tmp/up; sleep 1000) > /dev/null 2>&1 & read up < /tmp/up; echo x";
    let outcome = guest.run(ProcessSpec { linger_nanos: Some(0), ..shell(script) }).await;
    assert!(!outcome.exited.as_ref().unwrap().outputs_abandoned);
    assert_eq!(outcome.text(), "x\n");
}

#[tokio::test]
async fn the_outputs_are_heard_for_a_minute_at_most() {
    let guest = Guest::busybox().await;
    let longer = Duration::from_secs(60).as_nanos() as u64 + 1;
    let refused = guest.try_run(ProcessSpec { linger_nanos: Some(longer), ..command("true") }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn output_that_nobody_reads_takes_little_memory_however_many_write() {
    const WRITERS: usize = 64;
    let guest = Guest::busybox().await;
    assert_eq!(guest.sh("head -c 1000000 /dev/zero").await.stdout.len(), 1_000_000);
    let before = guest.agent_memory();
    let mut floods = Vec::new();
    for _ in 0..WRITERS {
        let mut flood = guest.start(command("yes")).await;
        flood.started().await;
        floods.push(flood);
    }
    // The host's windows fill, then what the agent may hold, then the pipes.
    guest.dammed(WRITERS).await;
    let grown = guest.agent_memory().saturating_sub(before);
    println!("{WRITERS} outputs that nobody reads: {} KiB", grown >> 10);
    assert!(grown < 10 << 20, "the agent took {grown} bytes");
    // Nobody else waits for that.
    assert_eq!(guest.sh("head -c 1000000 /dev/zero").await.stdout.len(), 1_000_000);
}

/// What its agent takes for the first call of this kind alone, it has.
async fn guest_that_had_stdin() -> Guest {
    let guest = Guest::busybox().await;
    let call = guest.start(with_stdin(command("cat"))).await;
    call.stdin(vec![0; 256 << 10]);
    call.close_stdin();
    assert_eq!(call.finish().await.stdout.len(), 256 << 10);
    guest
}

#[tokio::test]
async fn stdin_that_nobody_reads_takes_little_memory_for_each_process() {
    const DEAF: usize = 64;
    let guest = guest_that_had_stdin().await;
    let before = guest.agent_memory();
    let mut calls = Vec::new();
    for number in 0..DEAF {
        // Half of them begin to read, and so have the agent take a message that their pipe has no room for.
        let begin = if number % 2 == 0 { "" } else { "busybox dd bs=4096 count=1 of=/dev/null 2>/dev/null; " };
        let mut call = guest.start(with_stdin(shell(&format!("{begin}exec sleep 1000")))).await;
        call.started().await;
        for _ in 0..16 {
            call.stdin(vec![0; 64 << 10]);
        }
        calls.push(call);
    }
    // Their pipes fill, then what the agent may hold.
    eventually("every pipe is full", || {
        let is_full = |cgroup: &std::path::PathBuf| {
            let pid = fs::read_to_string(cgroup.join("cgroup.procs")).ok()?;
            let pipe = fs::File::open(format!("/proc/{}/fd/0", pid.trim())).ok()?;
            (rustix::io::ioctl_fionread(pipe).ok()? == 64 << 10).then_some(())
        };
        (guest.process_cgroups().iter().filter_map(is_full).count() == DEAF).then_some(())
    })
    .await;
    assert_eq!(guest.sh("echo others go on").await.text(), "others go on\n");
    let grown = guest.agent_memory().saturating_sub(before);
    println!("stdin of {DEAF} processes that do not read it: {} KiB", grown >> 10);
    assert!(grown < DEAF * (200 << 10), "the agent took {grown} bytes");
}

#[tokio::test]
async fn single_bytes_that_nobody_reads_take_no_more_and_do_not_end_the_connection() {
    const DEAF: usize = 32;
    let guest = guest_that_had_stdin().await;
    let before = guest.agent_memory();
    let mut calls = Vec::new();
    for _ in 0..DEAF {
        let mut call = guest.start(with_stdin(command("sleep 1000"))).await;
        call.started().await;
        // Its pipe, then what the agent may hold, of which a message's content is the least.
        call.stdin(vec![0; 64 << 10]);
        for _ in 0..1 << 10 {
            call.little_stdin(b"x").await;
        }
        calls.push(call);
    }
    assert_eq!(guest.sh("echo others go on").await.text(), "others go on\n");
    let grown = guest.agent_memory().saturating_sub(before);
    println!("single bytes for {DEAF} processes that do not read them: {} KiB", grown >> 10);
    assert!(grown < DEAF * (200 << 10), "the agent took {grown} bytes");
}

#[tokio::test]
async fn many_processes_run_at_a_time() {
    let guest = Guest::busybox().await;
    let mut calls = Vec::new();
    for number in 0..64 {
        let call = guest.start(with_stdin(shell(&format!("read line; echo {number} $line")))).await;
        calls.push(call);
    }
    for call in &mut calls {
        call.started().await;
    }
    for (number, call) in calls.into_iter().enumerate() {
        call.stdin("x\n");
        let mut output = Vec::new();
        let mut call = call;
        loop {
            match call.next().await.unwrap() {
                Some(Response::Stdout(bytes)) => output.extend_from_slice(&bytes),
                Some(_) => {}
                None => break,
            }
        }
        assert_eq!(String::from_utf8_lossy(&output), format!("{number} x\n"));
    }
}

#[tokio::test]
async fn nothing_is_left_of_processes_that_ended() {
    let guest = Guest::busybox().await;
    let script = || with_stdin(shell("true & sleep 0; false"));
    assert_eq!(guest.run(script()).await.code(), Some(1));
    let before = guest.descriptors();
    for round in 0..100 {
        match round % 3 {
            0 => assert_eq!(guest.run(script()).await.code(), Some(1)),
            1 => drop(guest.run(command("nope")).await.failure()),
            _ => {
                let mut call = guest.start(with_stdin(command("sleep 1000"))).await;
                call.started().await;
            }
        }
    }
    eventually("every cgroup is gone", || {
        let cgroups = guest.process_cgroups();
        cgroups
            .iter()
            .all(|cgroup| {
                fs::read_to_string(cgroup.join("cgroup.procs")).is_ok_and(|procs| procs.is_empty()) || !cgroup.exists()
            })
            .then_some(())
    })
    .await;
    eventually("every process is reaped", || (guest.zombies() == 0).then_some(())).await;
    // Whoever looks finds nobody, and nothing of them is kept.
    assert_eq!(guest.list().await, []);
    eventually("every descriptor is closed", || (guest.descriptors() <= before).then_some(())).await;
    assert_eq!(guest.process_cgroups(), Vec::<std::path::PathBuf>::new());
}

/// More than fits into any buffer on the way, in both directions at once, each byte looked at.
#[tokio::test]
async fn a_gibibyte_goes_each_way_whole() {
    const TOTAL: u64 = 1 << 30;
    const CHUNK: usize = 64 << 10;
    /// A prime, so that what is lost, doubled or out of order shows.
    const PERIOD: usize = 1_000_003;
    let mut state = 1u32;
    let mut pattern: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(PERIOD)
    .collect();
    pattern.extend_from_within(..CHUNK);
    let at = |offset: u64, length: usize| {
        let start = (offset % PERIOD as u64) as usize;
        &pattern[start..start + length]
    };
    let guest = Guest::busybox().await;
    let mut cat = guest.start(ProcessSpec { stdin: true, ..command("cat") }).await;
    cat.started().await;
    let (mut sent, mut received) = (0, 0);
    while received < TOTAL {
        while sent < TOTAL && sent - received < 1 << 20 {
            cat.stdin(at(sent, CHUNK));
            sent += CHUNK as u64;
            if sent == TOTAL {
                cat.close_stdin();
            }
        }
        match cat.next().await.unwrap() {
            Some(Response::Stdout(bytes)) => {
                assert!(at(received, bytes.len()) == bytes, "after {received} bytes");
                received += bytes.len() as u64;
            }
            other => panic!("after {received} bytes: {other:?}"),
        }
    }
    assert_eq!(cat.finish().await.code(), Some(0));
}
