// SPDX-License-Identifier: Apache-2.0

//! The benchmark of isolation's probe, as programs of the host run it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

fn probe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isolation_probe")).args(arguments).output().expect("the probe starts")
}

fn samples(arguments: &[&str]) -> Vec<f64> {
    let output = probe(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
fn every_workload_prints_a_number_for_each_sample() {
    for (workload, count) in [
        ("getpid", "100"),
        ("read", "100"),
        ("open", "50"),
        ("futex", "50"),
        ("switch", "50"),
        ("fault", "50"),
        ("fork", "3"),
        ("sha256", "1000"),
        ("copy", "65536"),
        ("write", "1500000"),
        ("scan", "1500000"),
        ("random-write", "20"),
        ("random-read", "20"),
        ("files", "150"),
        ("fsync", "2"),
    ] {
        let values = samples(&[workload, "3", count]);
        assert_eq!(values.len(), 3, "{workload}");
        assert!(values.iter().all(|value| *value > 0.0 && value.is_finite()), "{workload}: {values:?}");
    }
}

#[test]
fn files_are_removed() {
    for workload in ["files", "write", "random-read"] {
        let output = Command::new("sh")
            .args(["-c", "\"$0\" \"$1\" 1 100 >/dev/null & wait $!; ls -d /tmp/isolation_probe.$! 2>/dev/null"])
            .args([env!("CARGO_BIN_EXE_isolation_probe"), workload])
            .output()
            .expect("a shell starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{workload}");
    }
}

#[test]
fn interface_is_raised_with_an_address() {
    let own = ["--user", "--map-root-user", "--net"];
    if !Command::new("unshare").args(own).arg("true").status().is_ok_and(|status| status.success()) {
        return; // Not permitted here.
    }
    let output = Command::new("unshare")
        .args(own)
        .args(["sh", "-euc", "\"$0\" interface lo 10.0.2.15 1400; ip -o address show lo; ip -o link show lo"])
        .arg(env!("CARGO_BIN_EXE_isolation_probe"))
        .output()
        .expect("unshare starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("10.0.2.15/24") && text.contains("mtu 1400") && text.contains(",UP"), "{output:?}");
    let absent = probe(&["interface", "absent0", "10.0.2.15", "1400"]);
    assert!(!absent.status.success() && !absent.stderr.is_empty());
}

/// What the other side of `tcp-*` is to do.
fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut role = [0; 1];
    stream.read_exact(&mut role)?;
    if &role == b"e" {
        while stream.read_exact(&mut role).is_ok() {
            stream.write_all(&role)?;
        }
        return Ok(());
    }
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![1; u64::from_le_bytes(length) as usize];
    if &role == b"d" {
        return stream.write_all(&bytes);
    }
    stream.read_exact(&mut bytes)?;
    stream.write_all(&[1])
}

#[test]
fn a_server_is_asked_for_its_latency_and_throughput() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    for workload in ["tcp-latency", "tcp-connect", "tcp-up", "tcp-up-8", "tcp-down", "tcp-down-8"] {
        assert_eq!(samples(&[workload, "2", "100", &address]).len(), 2, "{workload}");
    }
}

#[test]
fn what_fails_says_why() {
    let output = probe(&["tcp-up", "1", "1", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("tcp-up 1 1 127.0.0.1:1: Connection refused"), "{text}");
    assert_eq!(probe(&[]).status.code(), Some(1));
}
