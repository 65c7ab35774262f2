// SPDX-License-Identifier: Apache-2.0

//! What users of other runtimes reported, and the test here that would have found it. A test that is in no better place is
//! in this file.

use std::fs;
use std::path::Path;

use nacelle_agent::proto::{ProcessSpec, WorkloadLimits};

use crate::image::Image;
use crate::limits::limited;
use crate::support::{Guest, command, shell};

/// Where it was reported, what, in which file the test is, and what it is called.
const REPORTS: [(&str, &str, &str, &str); 24] = [
    ("containerd#2439", "exec with a stdin never ends", AGENT, "the_end_of_the_requests_is_the_end_of_stdin"),
    ("containerd#2659", "the end of stdin is not told", REPORTED, "stdin_that_is_over_at_once_is_over_for_the_process"),
    ("containerd#4489", "nor where it comes early", REPORTED, "stdin_that_is_over_at_once_is_over_for_the_process"),
    ("containerd#13934", "of 500 MiB 192 KiB arrive", REPORTED, "much_stdin_reaches_a_process_without_outputs"),
    ("containerd#3738", "the end of a terminal's output is cut", TERMINAL, "much_output_passes_a_terminal"),
    ("runc#1302", "what ends at once has failed", AGENT, "a_fast_command_s_output_is_never_lost"),
    ("kata-containers#9071", "exec > >(tee) says nothing", REPORTED, "what_a_shell_s_own_filter_says_is_heard"),
    ("moby#45795", "126 and 127 are confused", START, "a_missing_command_is_not_found"),
    ("moby#45795", "likewise", START, "what_is_there_and_cannot_run_is_not_executable"),
    ("moby#45795", "likewise", START, "exit_codes_are_the_process_s_own"),
    ("moby#35703", "exec outlives its client", ENDING, "cancelling_kills_everything_that_the_process_started"),
    ("s6-overlay#634", "an init has to be PID 1", ENTRYPOINT, "an_init_that_insists_on_being_pid_1_runs"),
    ("kata-containers#1111", "the agent is killed for memory", HOSTILE, "memoryThatItTakesIsItsOwn"),
    ("kata-containers#1111", "likewise", AGENT, "output_that_nobody_reads_takes_little_memory_however_many_write"),
    ("kata-containers#1369", "an end is told as one for memory", REPORTED, "what_ends_by_itself_was_not_out_of_memory"),
    ("kata-containers#1369", "likewise", LIMITS, "an_out_of_memory_kill_is_told_of_the_process_that_it_hit"),
    ("kata-runtime#2467", "streams do not block", AGENT, "the_agent_s_own_way_with_pipes_is_not_the_process_s"),
    (
        "firecracker-containerd#427",
        "one reader stalls all",
        AGENT,
        "output_waits_for_its_reader_and_blocks_nobody_else",
    ),
    ("testcontainers-java#4453", "ten silent minutes end an exec", CLIENT, "processThatSaysNothingIsNotGivenUp"),
    ("microsandbox#937", "a hung guest is not noticed", CLIENT, "guestThatFallsSilentIsDisconnected"),
    ("microsandbox#937", "or one that works is ended", CLIENT, "guestThatAnswersIsNotSilentHoweverLittleItSays"),
    (
        "CVE-2024-21626",
        "a working directory leads out",
        START,
        "no_working_directory_leads_through_a_descriptor_of_the_agent_s",
    ),
    ("CVE-2024-21626", "likewise", HOSTILE, "noWorkingDirectoryLeadsOut"),
    ("CVE-2022-36109", "the primary group is missing", USERS, "the_primary_group_is_among_the_supplementary_ones"),
];

const REPORTED: &str = "tests/agent/reports.rs";
const AGENT: &str = "tests/agent/streams.rs";
const TERMINAL: &str = "tests/agent/terminal.rs";
const START: &str = "tests/agent/start.rs";
const ENDING: &str = "tests/agent/ending.rs";
const ENTRYPOINT: &str = "tests/agent/entrypoint.rs";
const LIMITS: &str = "tests/agent/limits.rs";
const USERS: &str = "tests/agent/users.rs";
const CLIENT: &str = "../core/src/test/java/dev/nacelle/agent/AgentClientTest.java";
const HOSTILE: &str = "../hypervisor-kvm/src/test/java/dev/nacelle/kvm/HostileWorkloadTest.java";

#[test]
fn every_report_has_its_test() {
    for (report, what, file, test) in REPORTS {
        let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let definitions = [format!("\nasync fn {test}() {{"), format!("  void {test}(")];
        assert!(definitions.iter().any(|one| source.contains(one)), "{report}, {what}: {file} has no {test}");
    }
}

fn with_stdin(specification: ProcessSpec) -> ProcessSpec {
    ProcessSpec { stdin: true, ..specification }
}

#[tokio::test]
async fn stdin_that_is_over_at_once_is_over_for_the_process() {
    let guest = Guest::busybox().await;
    for round in 0..300 {
        let call = guest.start(with_stdin(command("cat"))).await;
        let input = if round % 2 == 0 { "" } else { "hi\n" };
        if !input.is_empty() {
            call.stdin(input);
        }
        call.close_stdin();
        let outcome = call.finish().await;
        assert_eq!((outcome.code(), &*outcome.stdout), (Some(0), input.as_bytes()));
    }
}

/// The end of its outputs comes long before that of its stdin.
#[tokio::test]
async fn much_stdin_reaches_a_process_without_outputs() {
    const CHUNK: usize = 256 << 10;
    const CHUNKS: usize = 2000;
    let guest = Guest::busybox().await;
    let call = guest.start(with_stdin(shell("exec > /tmp/count 2>&1; exec wc -c"))).await;
    for _ in 0..CHUNKS {
        call.stdin(vec![b'x'; CHUNK]);
    }
    call.close_stdin();
    assert_eq!(call.finish().await.code(), Some(0));
    assert_eq!(guest.sh("cat /tmp/count").await.text(), format!("{}\n", CHUNK * CHUNKS));
}

/// By bash itself: its substitution is a process that nobody waits for.
#[tokio::test]
async fn what_a_shell_s_own_filter_says_is_heard() {
    let image = Image::customised(|root| {
        let copy = |file: &Path| {
            let to = root.join(file.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(file, to).unwrap();
        };
        let libraries = std::process::Command::new("ldd").arg("/bin/bash").output().unwrap();
        let libraries = String::from_utf8(libraries.stdout).unwrap();
        libraries.split_whitespace().filter(|word| word.starts_with('/')).for_each(|file| copy(Path::new(file)));
        copy(Path::new("/bin/bash"));
    });
    let guest = Guest::prepared(image).await;
    let script = "exec > >(while read l; do sleep 0.01; echo \"[$l]\"; done) 2>&1; echo one; echo two >&2";
    let arguments = ["bash", "-c", script].map(String::from).into();
    let outcome = guest.run(ProcessSpec { arguments, ..command("bash") }).await;
    assert!(!outcome.exited.as_ref().unwrap().outputs_abandoned);
    assert_eq!(outcome.text(), "[one]\n[two]\n");
}

#[tokio::test]
async fn what_ends_by_itself_was_not_out_of_memory() {
    let limits = WorkloadLimits { memory_bytes: 64 << 20, ..WorkloadLimits::default() };
    // Without such a limit the kernel has nobody to kill for it.
    let limited = limited("memory", limits).await;
    let guest = match limited {
        Some(guest) => guest,
        None => Guest::busybox().await,
    };
    // SIGKILL is what the OOM killer sends, too.
    for script in ["exit 1", "exit 137", "kill -9 $$", "sleep 1000 & kill -9 $!; wait"] {
        let exited = guest.sh(script).await.exited.unwrap();
        assert!(!exited.oom_killed && !exited.oom_killed_elsewhere, "{script}: {exited:?}");
    }
}
