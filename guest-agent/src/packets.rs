// SPDX-License-Identifier: Apache-2.0

//! Packets of the workload's, as far as the agent reads them, and those that it answers with.

use std::net::{IpAddr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv6DstUnreachable, Icmpv6Packet, Icmpv6Repr, IpProtocol, IpRepr,
    Ipv4Packet, Ipv4Repr, Ipv6FragmentHeader, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    UdpPacket, UdpRepr,
};

use crate::frames::{MAX_ECHO, Place};
use crate::tun::{self, GUEST_V4, GUEST_V6, HOST_V4, HOST_V6, Tun};

const HOP_LIMIT: u8 = 64;
/// What a host that says nothing of it takes (RFC 9293, section 3.7.1).
pub(crate) const DEFAULT_MSS: u16 = 536;
/// The longest segment of the largest packet.
const LONGEST_MSS: u16 = 65_495;
/// The shortest to cut segments to, whatever a workload says: below it, there are more headers than content.
const SHORTEST_MSS: u16 = 88;

/// A packet of the workload's to elsewhere, checked as far as its own header goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outbound<'a> {
    pub(crate) target: IpAddr,
    pub(crate) protocol: IpProtocol,
    pub(crate) payload: &'a [u8],
    pub(crate) fragment: Option<Fragment>,
}

/// Which part of a larger packet one is. Of those of one packet, all have its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) packet: u32,
    pub(crate) offset: usize,
    pub(crate) is_last: bool,
}

/// None where it is no packet, or one that nobody here has an answer to: of another source, or to many.
pub(crate) fn parse(packet: &[u8]) -> Option<Outbound<'_>> {
    let outbound = match packet.first()? >> 4 {
        4 => parse_v4(packet)?,
        6 => parse_v6(packet)?,
        _ => return None,
    };
    let is_to_one = match outbound.target {
        IpAddr::V4(address) => !address.is_multicast() && !address.is_broadcast() && !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_multicast() && !address.is_unspecified(),
    };
    is_to_one.then_some(outbound)
}

fn parse_v4(packet: &[u8]) -> Option<Outbound<'_>> {
    let packet = Ipv4Packet::new_checked(packet).ok()?;
    let offset = usize::from(packet.frag_offset());
    let is_whole = offset == 0 && !packet.more_frags();
    (packet.src_addr() == GUEST_V4).then(|| Outbound {
        target: packet.dst_addr().into(),
        protocol: packet.next_header(),
        payload: packet.payload(),
        fragment: (!is_whole).then(|| Fragment {
            packet: packet.ident().into(),
            offset,
            is_last: !packet.more_frags(),
        }),
    })
}

fn parse_v6(packet: &[u8]) -> Option<Outbound<'_>> {
    let packet = Ipv6Packet::new_checked(packet).ok()?;
    let (mut protocol, mut payload, mut fragment) = (packet.next_header(), packet.payload(), None);
    if protocol == IpProtocol::Ipv6Frag {
        // The header's first two bytes are those of each extension header: what follows, and a reserved one here.
        let (&[next, _], rest) = payload.split_first_chunk::<2>()?;
        let header = Ipv6FragmentHeader::new_checked(rest).ok()?;
        let (offset, is_last) = (usize::from(header.frag_offset()) * 8, !header.more_frags());
        fragment = Some(Fragment { packet: header.ident(), offset, is_last });
        (protocol, payload) = (next.into(), payload.get(8..)?);
    }
    (packet.src_addr() == GUEST_V6).then(|| Outbound { target: packet.dst_addr().into(), protocol, payload, fragment })
}

/// What a segment of TCP says of its flow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) place: Place,
    pub(crate) is_syn: bool,
    pub(crate) is_reset: bool,
}

/// None where the segment is none.
pub(crate) fn segment(target: IpAddr, payload: &[u8]) -> Option<Segment> {
    let packet = TcpPacket::new_checked(payload).ok()?;
    let place = Place { remote: target, remote_port: packet.dst_port(), local_port: packet.src_port() };
    let is_possible = place.remote_port != 0 && place.local_port != 0;
    is_possible.then(|| Segment { place, is_syn: packet.syn() && !packet.ack(), is_reset: packet.rst() })
}

/// The longest segment that the sender of a SYN takes. In its packet, it takes segments as long as any from now on: the
/// kernel cuts what is sent to it (`Tun::write`).
pub(crate) fn raise_mss(packet: &mut [u8]) -> u16 {
    let Some(ip) = packet.first().map(|first| if first >> 4 == 4 { usize::from(first & 15) * 4 } else { 40 }) else {
        return DEFAULT_MSS;
    };
    let Some(segment) = packet.get_mut(ip..) else { return DEFAULT_MSS };
    let Some(&offset) = segment.get(12) else { return DEFAULT_MSS };
    let Some(options) = segment.get_mut(20..usize::from(offset >> 4) * 4) else { return DEFAULT_MSS };
    let mut at = 0;
    loop {
        match options.get(at..) {
            Some([2, 4, first, second, ..]) => {
                let said = u16::from_be_bytes([*first, *second]);
                options[at + 2..at + 4].copy_from_slice(&LONGEST_MSS.to_be_bytes());
                return said.clamp(SHORTEST_MSS, LONGEST_MSS);
            }
            Some([1, ..]) => at += 1,
            Some([kind, length, ..]) if *kind != 0 && *length >= 2 => at += usize::from(*length),
            _ => return DEFAULT_MSS,
        }
    }
}

/// A datagram's ports and content.
pub(crate) fn datagram(target: IpAddr, payload: &[u8]) -> Option<(Place, &[u8])> {
    let packet = UdpPacket::new_checked(payload).ok()?;
    let place = Place { remote: target, remote_port: packet.dst_port(), local_port: packet.src_port() };
    (place.remote_port != 0 && place.local_port != 0).then(|| (place, packet.payload()))
}

/// A ping's identifier and number, in place of ports, and content.
pub(crate) fn echo(target: IpAddr, protocol: IpProtocol, payload: &[u8]) -> Option<(Place, &[u8])> {
    let ignored = ChecksumCapabilities::ignored();
    let (ident, number, content) = match protocol {
        IpProtocol::Icmp => {
            let packet = Icmpv4Packet::new_checked(payload).ok()?;
            match Icmpv4Repr::parse(&packet, &ignored).ok()? {
                Icmpv4Repr::EchoRequest { ident, seq_no, data } => (ident, seq_no, data),
                _ => return None,
            }
        }
        IpProtocol::Icmpv6 => {
            let packet = Icmpv6Packet::new_checked(payload).ok()?;
            match Icmpv6Repr::parse(&GUEST_V6, &Ipv6Addr::UNSPECIFIED, &packet, &ignored).ok()? {
                Icmpv6Repr::EchoRequest { ident, seq_no, data } => (ident, seq_no, data),
                _ => return None,
            }
        }
        _ => return None,
    };
    let place = Place { remote: target, remote_port: number, local_port: ident };
    (content.len() <= MAX_ECHO).then_some((place, content))
}

/// Why nothing gets to where a packet was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreachable {
    Net,
    Host,
    Port,
    Prohibited,
}

/// As much of a packet that could not be delivered as an error has: its source finds who sent it by that.
const QUOTED: usize = 64;

/// Tells the guest that a packet of its was not delivered; `payload` is what follows the packet's own header.
pub(crate) fn unreachable(
    tun: &Tun,
    scratch: &mut [u8],
    target: IpAddr,
    protocol: IpProtocol,
    payload: &[u8],
    why: Unreachable,
) {
    let data = &payload[..payload.len().min(QUOTED)];
    match target {
        IpAddr::V4(target) => {
            let reason = match why {
                Unreachable::Net => Icmpv4DstUnreachable::NetUnreachable,
                Unreachable::Host => Icmpv4DstUnreachable::HostUnreachable,
                Unreachable::Port => Icmpv4DstUnreachable::PortUnreachable,
                Unreachable::Prohibited => Icmpv4DstUnreachable::CommProhibited,
            };
            let header = Ipv4Repr {
                src_addr: GUEST_V4,
                dst_addr: target,
                next_header: protocol,
                payload_len: payload.len(),
                hop_limit: HOP_LIMIT,
            };
            send_icmp_v4(tun, scratch, HOST_V4.into(), &Icmpv4Repr::DstUnreachable { reason, header, data });
        }
        IpAddr::V6(target) => {
            let reason = match why {
                Unreachable::Net => Icmpv6DstUnreachable::NoRoute,
                Unreachable::Host => Icmpv6DstUnreachable::AddrUnreachable,
                Unreachable::Port => Icmpv6DstUnreachable::PortUnreachable,
                Unreachable::Prohibited => Icmpv6DstUnreachable::AdminProhibit,
            };
            let header = Ipv6Repr {
                src_addr: GUEST_V6,
                dst_addr: target,
                next_header: protocol,
                payload_len: payload.len(),
                hop_limit: HOP_LIMIT,
            };
            send_icmp_v6(tun, scratch, HOST_V6, &Icmpv6Repr::DstUnreachable { reason, header, data });
        }
    }
}

/// The same of a datagram, of which only the place is known any more.
pub(crate) fn datagram_unreachable(tun: &Tun, scratch: &mut [u8], place: &Place) {
    let mut header = [0; 8];
    header[..2].copy_from_slice(&place.local_port.to_be_bytes());
    header[2..4].copy_from_slice(&place.remote_port.to_be_bytes());
    header[5] = 8;
    unreachable(tun, scratch, place.remote, IpProtocol::Udp, &header, Unreachable::Port);
}

/// The same of a ping.
pub(crate) fn echo_unreachable(tun: &Tun, scratch: &mut [u8], place: &Place) {
    let protocol = if place.remote.is_ipv4() { IpProtocol::Icmp } else { IpProtocol::Icmpv6 };
    let mut header = [0; 8];
    header[0] = if place.remote.is_ipv4() { 8 } else { 128 };
    header[4..6].copy_from_slice(&place.local_port.to_be_bytes());
    header[6..].copy_from_slice(&place.remote_port.to_be_bytes());
    unreachable(tun, scratch, place.remote, protocol, &header, Unreachable::Prohibited);
}

/// A datagram to the guest.
pub(crate) fn send_datagram(tun: &Tun, scratch: &mut [u8], place: &Place, bytes: &[u8]) {
    let udp = UdpRepr { src_port: place.remote_port, dst_port: place.local_port };
    send(tun, scratch, place.remote, IpProtocol::Udp, 8 + bytes.len(), |payload, source, target| {
        let fill = |to: &mut [u8]| to.copy_from_slice(bytes);
        let ignored = ChecksumCapabilities::ignored();
        udp.emit(&mut UdpPacket::new_unchecked(payload), &source.into(), &target.into(), bytes.len(), fill, &ignored);
    });
}

/// The answer to a ping.
pub(crate) fn send_echo(tun: &Tun, scratch: &mut [u8], place: &Place, data: &[u8]) {
    let (ident, seq_no) = (place.local_port, place.remote_port);
    match place.remote {
        IpAddr::V4(_) => send_icmp_v4(tun, scratch, place.remote, &Icmpv4Repr::EchoReply { ident, seq_no, data }),
        IpAddr::V6(source) => send_icmp_v6(tun, scratch, source, &Icmpv6Repr::EchoReply { ident, seq_no, data }),
    }
}

/// The answer to a segment of no flow (RFC 9293, section 3.10.7.1).
pub(crate) fn send_reset(tun: &Tun, scratch: &mut [u8], target: IpAddr, payload: &[u8]) {
    let Ok(packet) = TcpPacket::new_checked(payload) else { return };
    if packet.rst() {
        return;
    }
    let reset = TcpRepr {
        src_port: packet.dst_port(),
        dst_port: packet.src_port(),
        control: TcpControl::Rst,
        seq_number: if packet.ack() { packet.ack_number() } else { TcpSeqNumber(0) },
        ack_number: (!packet.ack()).then(|| packet.seq_number() + packet.segment_len()),
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    send(tun, scratch, target, IpProtocol::Tcp, reset.buffer_len(), |payload, source, target| {
        let ignored = ChecksumCapabilities::ignored();
        reset.emit(&mut TcpPacket::new_unchecked(payload), &source.into(), &target.into(), &ignored);
    });
}

fn send_icmp_v4(tun: &Tun, scratch: &mut [u8], from: IpAddr, icmp: &Icmpv4Repr<'_>) {
    send(tun, scratch, from, IpProtocol::Icmp, icmp.buffer_len(), |payload, _, _| {
        icmp.emit(&mut Icmpv4Packet::new_unchecked(payload), &ChecksumCapabilities::default());
    });
}

fn send_icmp_v6(tun: &Tun, scratch: &mut [u8], from: Ipv6Addr, icmp: &Icmpv6Repr<'_>) {
    send(tun, scratch, from.into(), IpProtocol::Icmpv6, icmp.buffer_len(), |payload, _, _| {
        let checksums = ChecksumCapabilities::default();
        icmp.emit(&from, &GUEST_V6, &mut Icmpv6Packet::new_unchecked(payload), &checksums);
    });
}

/// A packet to the guest from an address; `fill` writes what follows its header.
fn send(
    tun: &Tun,
    scratch: &mut [u8],
    from: IpAddr,
    protocol: IpProtocol,
    length: usize,
    fill: impl FnOnce(&mut [u8], IpAddr, IpAddr),
) {
    let guest = tun::guest(from);
    let header = IpRepr::new(from.into(), guest.into(), protocol, length, HOP_LIMIT);
    tun.write(scratch, header.buffer_len(), u16::MAX, |packet| {
        header.emit(&mut *packet, &ChecksumCapabilities::default());
        fill(&mut packet[header.header_len()..], from, guest);
    });
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const TARGET: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

    /// A packet of TCP's with these options.
    fn syn(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 40 + options.len() as u8, 0, 0, 0x40, 0, 64, 6, 0, 0];
        packet.extend(GUEST_V4.octets());
        packet.extend(TARGET.octets());
        packet.extend([0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, ((20 + options.len()) as u8 / 4) << 4, 2, 255, 255]);
        packet.extend([0; 4]);
        packet.extend(options);
        packet
    }

    #[test]
    fn the_longest_segment_is_found_and_raised() {
        for (options, expected) in [
            (&[2, 4, 5, 180][..], 1460),
            (&[1, 1, 4, 2, 2, 4, 5, 180, 0, 0, 0, 0], 1460),
            (&[2, 4, 0, 1], SHORTEST_MSS),
            (&[2, 4, 255, 255], LONGEST_MSS),
        ] {
            let mut packet = syn(options);
            assert_eq!(raise_mss(&mut packet), expected, "{options:?}");
            let at = packet.windows(2).rposition(|pair| pair == LONGEST_MSS.to_be_bytes()).unwrap();
            assert_eq!(packet[at - 2..at], [2, 4], "{options:?}");
        }
        for options in [&[][..], &[0, 2, 4, 5], &[3, 0, 0, 0], &[3, 99, 2, 4], &[1, 1, 1, 2], &[2, 3, 5, 0]] {
            let mut packet = syn(options);
            let before = packet.clone();
            assert_eq!((raise_mss(&mut packet), packet), (DEFAULT_MSS, before), "{options:?}");
        }
        assert_eq!(raise_mss(&mut []), DEFAULT_MSS);
        assert_eq!(raise_mss(&mut [0x45]), DEFAULT_MSS);
    }

    #[test]
    fn packets_of_others_and_to_many_are_none() {
        let packet = syn(&[]);
        let outbound = parse(&packet).unwrap();
        assert_eq!((outbound.target, outbound.protocol), (TARGET.into(), IpProtocol::Tcp));
        assert!(segment(outbound.target, outbound.payload).is_some_and(|segment| segment.is_syn));
        for (at, octet) in [(12, 10), (16, 224), (16, 255), (0, 0x55), (3, 200)] {
            let mut packet = packet.clone();
            packet[at] = octet;
            if (at, octet) == (16, 255) {
                packet[16..20].fill(255);
            }
            assert_eq!(parse(&packet), None, "{at} {octet}");
        }
        let mut to_none = packet;
        to_none[16..20].fill(0);
        assert_eq!(parse(&to_none), None);
    }

    #[test]
    fn a_fragment_says_where_it_belongs() {
        let mut packet = syn(&[]);
        packet[4..8].copy_from_slice(&[0, 7, 0x20, 2]);
        let fragment = parse(&packet).unwrap().fragment;
        assert_eq!(fragment, Some(Fragment { packet: 7, offset: 16, is_last: false }));
    }
}
