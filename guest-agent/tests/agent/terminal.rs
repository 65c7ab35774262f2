// SPDX-License-Identifier: Apache-2.0

//! Processes with a terminal.

use nacelle_agent::proto::{ProcessSpec, ResizeTerminalRequest, Terminal, WindowSize};
use tonic::Code;

use crate::support::{Guest, command, shell};

fn on_terminal(specification: ProcessSpec) -> ProcessSpec {
    ProcessSpec { terminal: Some(Terminal { size: None }), stdin: true, ..specification }
}

fn size(rows: u32, columns: u32) -> Option<WindowSize> {
    Some(WindowSize { rows, columns })
}

#[tokio::test]
async fn a_terminal_is_all_three_streams_and_controls_the_process() {
    let guest = Guest::busybox().await;
    let script = "tty; test -t 0 && test -t 1 && test -t 2 && echo streams; echo opened > /dev/tty; echo $TERM; echo e >&2; \
                  stat -c '%U %a' $(tty)";
    let outcome = guest.run(on_terminal(ProcessSpec { user: "app".into(), ..shell(script) })).await;
    assert_eq!(outcome.text(), "/dev/pts/0\r\nstreams\r\nopened\r\nxterm\r\ne\r\napp 620\r\n");
}

#[tokio::test]
async fn a_terminal_whose_output_nobody_wants_is_a_terminal_all_the_same() {
    let guest = Guest::busybox().await;
    let script = "test -t 1 && test -t 2 && yes | head -n 100000 && exit 7";
    let unwanted = |specification| ProcessSpec { discard_stdout: true, ..on_terminal(specification) };
    let outcome = guest.run(unwanted(shell(script))).await;
    assert_eq!((outcome.code(), outcome.stdout.len()), (Some(7), 0));
    let call = guest.start(unwanted(shell("read line; test $line = typed"))).await;
    call.stdin("typed\n");
    assert_eq!(call.finish().await.code(), Some(0));
}

#[tokio::test]
async fn a_terminal_has_the_size_it_is_given() {
    let guest = Guest::busybox().await;
    assert_eq!(guest.run(on_terminal(command("stty size"))).await.text(), "24 80\r\n");
    let given = ProcessSpec { terminal: Some(Terminal { size: size(50, 132) }), ..command("stty size") };
    assert_eq!(guest.run(given).await.text(), "50 132\r\n");
}

#[tokio::test]
async fn resizing_tells_the_process() {
    let mut guest = Guest::busybox().await;
    let mut call =
        guest.start(on_terminal(shell("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done"))).await;
    let process_id = call.started().await.process_id;
    call.read_until("ready").await;
    let resize = |size| ResizeTerminalRequest { process_id, size };
    let status = guest.client.resize_terminal(resize(size(70_000, 80))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    guest.client.resize_terminal(resize(size(33, 111))).await.unwrap();
    assert_eq!(call.finish().await.stdout, b"33 111\r\n");
    let status = guest.client.resize_terminal(resize(size(1, 1))).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn without_a_terminal_there_is_nothing_to_resize() {
    let mut guest = Guest::busybox().await;
    let mut call = guest.start(command("sleep 1000")).await;
    let process_id = call.started().await.process_id;
    let status =
        guest.client.resize_terminal(ResizeTerminalRequest { process_id, size: size(1, 1) }).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn what_is_typed_is_read_and_echoed() {
    let guest = Guest::busybox().await;
    let mut call = guest.start(on_terminal(shell("echo ready; read line; echo got $line"))).await;
    call.read_until("ready").await;
    call.stdin("words\n");
    let outcome = call.finish().await;
    assert_eq!((outcome.code(), String::from_utf8_lossy(&outcome.stdout)), (Some(0), "words\r\ngot words\r\n".into()));
}

#[tokio::test]
async fn control_c_interrupts_the_foreground() {
    let guest = Guest::busybox().await;
    let mut call = guest.start(on_terminal(shell("echo ready; sleep 1000"))).await;
    call.read_until("ready").await;
    call.stdin("\x03");
    assert_eq!(call.finish().await.signal(), Some(2));
}

#[tokio::test]
async fn the_end_of_stdin_is_typed() {
    let guest = Guest::busybox().await;
    let mut call = guest.start(on_terminal(shell("echo ready; cat; echo over"))).await;
    call.read_until("ready").await;
    call.stdin("line\n");
    call.close_stdin();
    let outcome = call.finish().await;
    assert_eq!(
        (outcome.code(), String::from_utf8_lossy(&outcome.stdout)),
        (Some(0), "line\r\nline\r\nover\r\n".into())
    );
}

#[tokio::test]
async fn the_end_of_stdin_ends_an_unfinished_line_too() {
    let guest = Guest::busybox().await;
    let mut call = guest.start(on_terminal(shell("echo ready; cat; echo over"))).await;
    call.read_until("ready").await;
    call.stdin("no newline");
    call.close_stdin();
    let outcome = call.finish().await;
    assert_eq!(
        (outcome.code(), String::from_utf8_lossy(&outcome.stdout)),
        (Some(0), "no newlineno newlineover\r\n".into())
    );
}

#[tokio::test]
async fn much_output_passes_a_terminal() {
    let guest = Guest::busybox().await;
    // The last one is still on its way when nobody is listened to beyond the exit.
    for (linger_nanos, times) in [(None, 1), (Some(0), 20)] {
        for _ in 0..times {
            let specification = ProcessSpec { linger_nanos, ..shell("yes 0123456789abcde | head -n 20000") };
            let outcome = guest.run(on_terminal(specification)).await;
            assert_eq!((outcome.code(), outcome.stdout.len()), (Some(0), 20_000 * 17), "{linger_nanos:?}");
        }
    }
}

#[tokio::test]
async fn who_stays_behind_is_hung_up_on() {
    let guest = Guest::busybox().await;
    let script = "(trap '' HUP; echo > /tmp/left; while echo x 2> /dev/null; do sleep 0.01; done; echo gone > /tmp/result) & until [ -e /tmp/left ]; do sleep 0.01; done; echo first";
    let outcome = guest.run(on_terminal(ProcessSpec { linger_nanos: Some(0), ..shell(script) })).await;
    assert_eq!(outcome.code(), Some(0));
    assert_eq!(guest.sh("until [ -s /tmp/result ]; do sleep 0.01; done; cat /tmp/result").await.text(), "gone\n");
}
