// SPDX-License-Identifier: Apache-2.0

//! A workload with a network. What the network's thread does is tried in its own module; here, that workloads get it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use nacelle_agent::proto::{Namespaces, Network, PrepareRequest};

use crate::image::Image;
use crate::support::{Guest, prepare_request};

/// The next frame's kind and flow, and its payload.
fn receive(link: &mut UnixStream) -> (u8, u32, Vec<u8>) {
    loop {
        let mut header = [0; 12];
        link.read_exact(&mut header).unwrap();
        let number = |at: usize| u32::from_be_bytes(*header[at..].first_chunk().unwrap());
        if header[0] == 10 {
            continue; // Credit, whose length is an amount.
        }
        let mut payload = vec![0; number(8) as usize];
        link.read_exact(&mut payload).unwrap();
        return (header[0], number(4), payload);
    }
}

fn send(link: &mut UnixStream, kind: u8, flow: u32, payload: &[u8]) {
    let mut frame = vec![kind, 0, 0, 0];
    frame.extend(flow.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    link.write_all(&frame).unwrap();
}

/// Whether this machine's kernel has the device, without which there is nothing to try.
fn has_tun() -> bool {
    let tun = File::open("/dev/net/tun");
    if let Err(error) = &tun {
        eprintln!("SKIPPED: /dev/net/tun: {error}");
    }
    tun.is_ok()
}

#[tokio::test]
async fn a_workload_with_a_network_reaches_the_host_by_it() {
    if !has_tun() {
        return;
    }
    let mut guest = Guest::fresh(Image::busybox()).await;
    let listener = UnixListener::bind(guest.network_socket()).unwrap();
    // A web server, as far as this test's client needs one.
    let host = thread::spawn(move || {
        let (mut link, _) = listener.accept().unwrap();
        let (kind, _, hello) = receive(&mut link);
        assert_eq!(kind, 1);
        send(&mut link, 1, 0, &hello);
        let (kind, flow, place) = receive(&mut link);
        assert_eq!((kind, &place[..4], &place[8..12]), (2, &[4, 0, 0, 80][..], &[203, 0, 113, 7][..]));
        send(&mut link, 14, 0, b"203.0.113.8 port 80: no rule");
        send(&mut link, 3, flow, &65_536u32.to_be_bytes());
        let (kind, _, request) = receive(&mut link);
        assert_eq!(kind, 7);
        send(&mut link, 7, flow, b"HTTP/1.0 200 OK\r\n\r\nhello from the host\n");
        send(&mut link, 8, flow, &[]);
        assert_eq!(receive(&mut link).0, 8);
        (link, String::from_utf8(request).unwrap())
    });
    guest
        .client
        .prepare(PrepareRequest {
            network: Some(Network { ipv6: true }),
            namespaces: Some(Namespaces { network: true, ..Namespaces::default() }),
            ..prepare_request()
        })
        .await
        .unwrap();
    assert_eq!(guest.sh("wget -q -O - http://203.0.113.7/page").await.text(), "hello from the host\n");
    assert_eq!(guest.sh("cat /run/nacelle/network/denied").await.text(), "203.0.113.8 port 80: no rule\n");
    let (_link, request) = host.join().unwrap();
    assert!(request.starts_with("GET /page HTTP/1."), "{request}");
    assert_eq!(
        guest.sh("cat /etc/resolv.conf; tail -n 1 /etc/hosts; cat /sys/class/net/tun0/mtu").await.text(),
        "nameserver 198.18.0.1\n198.18.0.2\tnacelle-test\n1500\n"
    );
}

#[tokio::test]
async fn a_host_that_does_not_listen_fails_prepare() {
    if !has_tun() {
        return;
    }
    let mut guest = Guest::fresh(Image::busybox()).await;
    let request = PrepareRequest {
        network: Some(Network::default()),
        namespaces: Some(Namespaces { network: true, ..Namespaces::default() }),
        ..prepare_request()
    };
    let status = guest.client.prepare(request).await.unwrap_err();
    assert!(status.message().starts_with("opening the network's link to the host: "), "{status}");
}
