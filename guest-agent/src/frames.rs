// SPDX-License-Identifier: Apache-2.0

//! The network link's frames, as they are on its stream: a header of 12 bytes, u8 kind | u8 flags | u16 zero | u32 flow |
//! u32 length, and that many bytes; of CREDIT none, whose length is an amount. Numbers are big-endian. The host's
//! dev.nacelle.net.Frames has the payload of each kind.
//!
//! Flows opened in the guest have odd numbers, those that the host opens have even ones. A number is never used again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const HEADER: usize = 12;
/// What one frame carries at most.
pub(crate) const MAX_PAYLOAD: usize = 64 << 10;
/// What the host is to send of a flow in one frame: what one segment carries, so that none is followed by a tiny one. The
/// longest packet, of 65,535 bytes, less the headers of IPv6 and TCP.
const MAX_SEGMENT: usize = 65_475;
pub(crate) const VERSION: u32 = 1;
/// A datagram of IPv4 carries no more: 65,535 less the headers of IP and UDP.
pub(crate) const MAX_DATAGRAM: usize = 65_507;
/// What an echo carries at most: an MTU of 1,500 less the headers of IP and ICMP.
pub(crate) const MAX_ECHO: usize = 1_472;

const HELLO: u8 = 1;
const OPEN: u8 = 2;
const OPENED: u8 = 3;
const REFUSED: u8 = 4;
const ACCEPT: u8 = 5;
const ACCEPTED: u8 = 6;
const DATA: u8 = 7;
const FIN: u8 = 8;
const RESET: u8 = 9;
const CREDIT: u8 = 10;
const DGRAM: u8 = 11;
const ECHO: u8 = 12;
const RESET_ALL: u8 = 13;
const DENIAL: u8 = 14;

/// Of DGRAM and ECHO from the host: there is no answer, as policy forbids the destination.
const DENIED: u8 = 1;

/// A line for people.
const MAX_LINE: usize = 512;
const EPOCH: usize = 16;
const HELLO_BYTES: usize = 16 + EPOCH;
const PLACE: usize = 24;

/// Of RESET: the workload broke it off.
const ABORTED: u32 = 1;

/// Why a flow is not opened. Numbers are the link's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Refusal {
    Policy = 1,
    Refused = 2,
    NetUnreachable = 3,
    HostUnreachable = 4,
    Timeout = 5,
    Limit = 6,
}

impl Refusal {
    fn of(code: u32) -> Option<Self> {
        use Refusal::*;
        [Policy, Refused, NetUnreachable, HostUnreachable, Timeout, Limit].into_iter().find(|it| *it as u32 == code)
    }
}

/// The other end of a flow, datagram or echo, and the port of the guest. Of an echo, these ports are its number and identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) remote: IpAddr,
    pub(crate) remote_port: u16,
    pub(crate) local_port: u16,
}

/// What the host sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Hello,
    Opened { flow: u32, window: u32 },
    Refused { flow: u32, why: Refusal },
    Accept { flow: u32, place: Place, window: u32 },
    Data { flow: u32, bytes: &'a [u8] },
    Fin { flow: u32 },
    Reset { flow: u32 },
    Credit { flow: u32, amount: u32 },
    Datagram { place: Place, bytes: &'a [u8] },
    DatagramDenied { place: Place },
    Echo { place: Place, bytes: &'a [u8] },
    EchoDenied { place: Place },
    ResetAll,
    Denial { line: &'a [u8] },
}

/// What is no frame; the link is of no use any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) &'static str);

/// The first frame of what was received, and how many bytes it takes; none where more must be received first.
pub(crate) fn parse(received: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Violation> {
    let Some((header, rest)) = received.split_first_chunk::<HEADER>() else { return Ok(None) };
    let [kind, flags, zero @ ..] = *header;
    let (flow, length) = (u32_at(header, 4), u32_at(header, 8));
    if zero[..2] != [0, 0] || flags & !DENIED != 0 {
        return Err(Violation("reserved bits of a frame are set"));
    }
    if kind == CREDIT {
        return Ok(Some((Frame::Credit { flow, amount: length }, HEADER)));
    }
    let length = length as usize;
    if length > MAX_PAYLOAD {
        return Err(Violation("a frame is longer than 64 KiB"));
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let denied = flags == DENIED;
    let frame = match (kind, length) {
        (HELLO, HELLO_BYTES) if u32_at(payload, 0) == VERSION => Frame::Hello,
        (HELLO, _) => return Err(Violation("the other side speaks another version")),
        (OPENED, 4) => Frame::Opened { flow, window: u32_at(payload, 0) },
        (REFUSED, 4) => {
            let why = Refusal::of(u32_at(payload, 0)).ok_or(Violation("a refusal has an unknown reason"))?;
            Frame::Refused { flow, why }
        }
        (ACCEPT, n) if n == PLACE + 4 => Frame::Accept { flow, place: place(payload)?, window: u32_at(payload, PLACE) },
        (DATA, 1..) => Frame::Data { flow, bytes: payload },
        (FIN, 0) => Frame::Fin { flow },
        (RESET, 4) => Frame::Reset { flow },
        (DGRAM, n) if n == PLACE && denied => Frame::DatagramDenied { place: place(payload)? },
        (DGRAM, PLACE..) if length <= PLACE + MAX_DATAGRAM && !denied => {
            Frame::Datagram { place: place(payload)?, bytes: &payload[PLACE..] }
        }
        (ECHO, n) if n == PLACE && denied => Frame::EchoDenied { place: place(payload)? },
        (ECHO, PLACE..) if length <= PLACE + MAX_ECHO && !denied => {
            Frame::Echo { place: place(payload)?, bytes: &payload[PLACE..] }
        }
        (RESET_ALL, EPOCH) => Frame::ResetAll,
        (DENIAL, 1..=MAX_LINE) if payload.iter().all(|byte| (b' '..=b'~').contains(byte)) => {
            Frame::Denial { line: payload }
        }
        (DENIAL, 1..=MAX_LINE) => return Err(Violation("a line holds other than printable ASCII")),
        (HELLO..=DENIAL, _) => return Err(Violation("a frame's length is not its kind's")),
        _ => return Err(Violation("a frame is of an unknown kind")),
    };
    Ok(Some((frame, HEADER + length)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*bytes[at..].first_chunk().unwrap())
}

fn place(payload: &[u8]) -> Result<Place, Violation> {
    let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    let address: [u8; 16] = *payload[8..].first_chunk().unwrap();
    let remote = match payload[0] {
        4 => Ipv4Addr::new(address[0], address[1], address[2], address[3]).into(),
        6 => Ipv6Addr::from(address).into(),
        _ => return Err(Violation("an address is of an unknown family")),
    };
    Ok(Place { remote, remote_port: port(2), local_port: port(4) })
}

/// Frames to the host that have not left yet.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// So many of the first that wait have left.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent > MAX_PAYLOAD {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn header(&mut self, kind: u8, flow: u32, length: usize) {
        self.bytes.extend_from_slice(&[kind, 0, 0, 0]);
        self.bytes.extend_from_slice(&flow.to_be_bytes());
        self.bytes.extend_from_slice(&(length as u32).to_be_bytes());
    }

    fn place(&mut self, place: &Place) {
        let mut bytes = [0; PLACE];
        bytes[2..4].copy_from_slice(&place.remote_port.to_be_bytes());
        bytes[4..6].copy_from_slice(&place.local_port.to_be_bytes());
        match place.remote {
            IpAddr::V4(address) => {
                bytes[0] = 4;
                bytes[8..12].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                bytes[0] = 6;
                bytes[8..].copy_from_slice(&address.octets());
            }
        }
        self.bytes.extend_from_slice(&bytes);
    }

    pub(crate) fn hello(&mut self, window: usize, epoch: [u8; EPOCH]) {
        self.header(HELLO, 0, HELLO_BYTES);
        for number in [VERSION, MAX_SEGMENT as u32, window as u32, window as u32] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        self.bytes.extend_from_slice(&epoch);
    }

    pub(crate) fn open(&mut self, flow: u32, place: &Place, window: usize) {
        self.header(OPEN, flow, PLACE + 4);
        self.place(place);
        self.bytes.extend_from_slice(&(window as u32).to_be_bytes());
    }

    pub(crate) fn accepted(&mut self, flow: u32, window: usize) {
        self.header(ACCEPTED, flow, 4);
        self.bytes.extend_from_slice(&(window as u32).to_be_bytes());
    }

    pub(crate) fn refused(&mut self, flow: u32, why: Refusal) {
        self.header(REFUSED, flow, 4);
        self.bytes.extend_from_slice(&(why as u32).to_be_bytes());
    }

    pub(crate) fn data(&mut self, flow: u32, bytes: &[u8]) {
        self.header(DATA, flow, bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn fin(&mut self, flow: u32) {
        self.header(FIN, flow, 0);
    }

    pub(crate) fn reset(&mut self, flow: u32) {
        self.header(RESET, flow, 4);
        self.bytes.extend_from_slice(&ABORTED.to_be_bytes());
    }

    pub(crate) fn credit(&mut self, flow: u32, amount: usize) {
        self.header(CREDIT, flow, amount);
    }

    pub(crate) fn datagram(&mut self, place: &Place, bytes: &[u8]) {
        self.header(DGRAM, 0, PLACE + bytes.len());
        self.place(place);
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn echo(&mut self, place: &Place, bytes: &[u8]) {
        self.header(ECHO, 0, PLACE + bytes.len());
        self.place(place);
        self.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, flow: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, flags, 0, 0];
        frame.extend(flow.to_be_bytes());
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(payload);
        frame
    }

    #[test]
    fn what_the_agent_sends_is_read_as_it_was_meant() {
        let place = Place { remote: Ipv6Addr::LOCALHOST.into(), remote_port: 80, local_port: 40_000 };
        let mut out = Outgoing::default();
        out.refused(2, Refusal::Limit);
        out.data(3, b"content");
        out.fin(3);
        out.reset(3);
        out.credit(5, 100_000);
        out.datagram(&place, b"question");
        out.echo(&place, b"");
        let mut rest = out.waiting();
        let mut frames = Vec::new();
        while let Some((frame, length)) = parse(rest).unwrap() {
            frames.push(frame);
            rest = &rest[length..];
        }
        assert_eq!(
            frames,
            [
                Frame::Refused { flow: 2, why: Refusal::Limit },
                Frame::Data { flow: 3, bytes: b"content" },
                Frame::Fin { flow: 3 },
                Frame::Reset { flow: 3 },
                Frame::Credit { flow: 5, amount: 100_000 },
                Frame::Datagram { place, bytes: b"question" },
                Frame::Echo { place, bytes: b"" },
            ]
        );
    }

    #[test]
    fn a_frame_is_read_when_it_is_whole() {
        let whole = frame(DATA, 0, 1, b"bytes");
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), Ok(None));
        }
        assert_eq!(parse(&whole), Ok(Some((Frame::Data { flow: 1, bytes: b"bytes" }, whole.len()))));
    }

    #[test]
    fn what_is_no_frame_is_a_violation() {
        let place = |family| {
            let mut place = [0; PLACE];
            place[0] = family;
            place
        };
        let mut long = frame(DATA, 0, 1, &[]);
        long[9] = 2;
        for wrong in [
            frame(0, 0, 0, &[]),
            frame(15, 0, 0, &[]),
            frame(DENIAL, 0, 0, &[]),
            frame(DENIAL, 0, 0, b"two\nlines"),
            frame(DENIAL, 0, 0, &[b'x'; MAX_LINE + 1]),
            frame(HELLO, 0, 0, &[0; HELLO_BYTES]),
            frame(HELLO, 0, 0, &[0; 5]),
            frame(OPENED, 0, 1, &[0; 3]),
            frame(REFUSED, 0, 1, &7u32.to_be_bytes()),
            frame(ACCEPT, 0, 2, &[0; PLACE]),
            frame(DATA, 0, 1, &[]),
            frame(DATA, 2, 1, b"flags"),
            frame(FIN, 0, 1, b"more"),
            frame(RESET, 0, 1, &[]),
            frame(DGRAM, 0, 0, &place(5)),
            frame(DGRAM, 0, 0, &[0; PLACE - 1]),
            frame(DGRAM, 1, 0, &[&place(4)[..], b"more"].concat()),
            frame(ECHO, 0, 0, &[&place(4)[..], &[0; MAX_ECHO + 1]].concat()),
            frame(RESET_ALL, 0, 0, &[0; 15]),
            long,
        ] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}
