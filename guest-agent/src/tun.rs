// SPDX-License-Identifier: Apache-2.0

//! The workload's network interface, a TUN device: packets without a link layer, each behind a virtio-net header, so that
//! segments of TCP pass whole, with up to 64 KiB, whatever the interface's MTU is (linux/if_tun.h, linux/virtio_net.h).

use std::fs::OpenOptions;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpProtocol, TcpPacket};

use crate::error::{Step, StepError};
use crate::network::{control, interface};

/// The same in every sandbox: nobody else is in its networks. RFC 2544 set 198.18.0.0/15 apart for benchmarks.
pub(crate) const GUEST_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
pub(crate) const HOST_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd6e, 0x6163, 0x656c, 0, 0, 0, 0, 2);
pub(crate) const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd6e, 0x6163, 0x656c, 0, 0, 0, 0, 1);
const PREFIX_V4: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 252);
const PREFIX_V6: u32 = 64;
const NAME: &[u8] = b"tun0";
/// For an address that the kernel has been given: it takes a moment.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of every network that programs were ever tried in.
const MTU: i32 = 1500;

/// struct virtio_net_hdr, in the machine's byte order.
const NET_HEADER: usize = 10;
/// What IP can say of a packet's length.
const LONGEST: usize = 65_535;
/// A packet with its header, of any length.
pub(crate) const BUFFER: usize = NET_HEADER + LONGEST;

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;

/// The workload's address of a family: that of who it speaks with.
pub(crate) fn guest(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => GUEST_V4.into(),
        IpAddr::V6(_) => GUEST_V6.into(),
    }
}

/// linux/in6.h
#[repr(C)]
struct In6Ifreq {
    address: [u8; 16],
    prefix: u32,
    interface: i32,
}

/// linux/route.h and linux/ipv6_route.h; the libc crate lacks the second.
#[repr(C)]
struct In6Rtmsg {
    destination: [u8; 16],
    source: [u8; 16],
    gateway: [u8; 16],
    kind: u32,
    destination_length: u16,
    source_length: u16,
    metric: u32,
    info: libc::c_ulong,
    flags: u32,
    interface: i32,
}

#[derive(Debug)]
pub(crate) struct Tun(OwnedFd);

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Tun {
    /// Makes it in the calling thread's network namespace, with its addresses and with all routes by it.
    pub(crate) fn make(with_ipv6: bool) -> Result<Self, StepError> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .step(|| "opening /dev/net/tun (is the kernel's module tun there?)".into())?;
        let device = OwnedFd::from(device);
        let mut request = interface(NAME);
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
        control(device.as_fd(), libc::TUNSETIFF, &mut request).step(|| "making the interface tun0".into())?;
        // Absent, segments are 1,460 bytes long: slower, and as right.
        let offloads = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        // SAFETY: TUNSETOFFLOAD takes a number.
        unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETOFFLOAD as _, libc::c_ulong::from(offloads)) };
        configure().step(|| "giving tun0 its address".into())?;
        if with_ipv6 {
            configure_v6().step(|| "giving tun0 its IPv6 address".into())?;
            await_v6().step(|| "waiting until tun0's IPv6 address may be used".into())?;
        }
        Ok(Self(device))
    }

    /// The next packet, without its header; none where none waits.
    pub(crate) fn read<'a>(&self, buffer: &'a mut [u8]) -> Result<Option<&'a mut [u8]>, Errno> {
        match rustix::io::read(&self.0, &mut *buffer) {
            Ok(count) => Ok(Some(buffer.get_mut(NET_HEADER..count).unwrap_or_default())),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Hands the guest a packet that `fill` writes. One that the guest's kernel does not take is lost, as on any network.
    pub(crate) fn write<R>(&self, buffer: &mut [u8], length: usize, mss: u16, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let (header, packet) = buffer[..NET_HEADER + length].split_first_chunk_mut::<NET_HEADER>().unwrap();
        let result = fill(packet);
        *header = leave_to_kernel(packet, mss).unwrap_or_default();
        let _ = rustix::io::write(&self.0, &buffer[..NET_HEADER + length]);
        result
    }
}

/// Prepares a segment of TCP or a datagram, so that the kernel computes its checksum should anybody need it, and cuts it
/// into what the receiver said it takes. None where a packet is neither.
fn leave_to_kernel(packet: &mut [u8], mss: u16) -> Option<[u8; NET_HEADER]> {
    let (ip, protocol, source, target): (usize, u8, IpAddress, IpAddress) = match packet.first()? >> 4 {
        4 => {
            let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?).into());
            (usize::from(packet[0] & 15) * 4, *packet.get(9)?, address(12)?, address(16)?)
        }
        _ => {
            let address = |at: usize| Some(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?).into());
            (40, *packet.get(6)?, address(8)?, address(24)?)
        }
    };
    let is_v4 = matches!(source, IpAddress::Ipv4(_));
    let segment = packet.get_mut(ip..)?;
    let protocol = IpProtocol::from(protocol);
    let (at, payload) = match protocol {
        IpProtocol::Tcp => {
            let headers = usize::from(TcpPacket::new_checked(&*segment).ok()?.header_len());
            (16, headers)
        }
        IpProtocol::Udp => (6, 8),
        _ => return None,
    };
    let sum = pseudo_header(&source, &target, protocol, segment.len() as u32);
    segment.get_mut(at..at + 2)?.copy_from_slice(&sum.to_be_bytes());
    let mut header = [0; NET_HEADER];
    header[0] = NEEDS_CSUM;
    header[6..8].copy_from_slice(&(ip as u16).to_ne_bytes());
    header[8..].copy_from_slice(&(at as u16).to_ne_bytes());
    if protocol == IpProtocol::Tcp && segment.len() - payload > usize::from(mss) {
        header[1] = if is_v4 { GSO_TCPV4 } else { GSO_TCPV6 };
        header[2..4].copy_from_slice(&((ip + payload) as u16).to_ne_bytes());
        header[4..6].copy_from_slice(&mss.to_ne_bytes());
    }
    Some(header)
}

/// The sum that a checksum begins with (RFC 9293, section 3.1; RFC 8200, section 8.1), not complemented.
fn pseudo_header(source: &IpAddress, target: &IpAddress, protocol: IpProtocol, length: u32) -> u16 {
    let mut sum = u32::from(u8::from(protocol)) + (length >> 16) + (length & 0xffff);
    let mut add = |bytes: &[u8]| {
        for pair in bytes.chunks_exact(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
    };
    for address in [source, target] {
        match address {
            IpAddress::Ipv4(address) => add(&address.octets()),
            IpAddress::Ipv6(address) => add(&address.octets()),
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The interface as smoltcp sees it: it has at most one packet, which was read already, and takes any number.
pub(crate) struct Port<'a> {
    pub(crate) tun: &'a Tun,
    pub(crate) packet: Option<&'a [u8]>,
    pub(crate) scratch: &'a mut [u8],
    /// The longest segment that the flow's receiver takes.
    pub(crate) mss: u16,
}

pub(crate) struct Packet<'a>(&'a [u8]);

pub(crate) struct Sender<'a> {
    tun: &'a Tun,
    scratch: &'a mut [u8],
    mss: u16,
}

/// What smoltcp is to know of the interface. Checksums of what comes are the kernel's own, whose packets cross no wire.
pub(crate) fn capabilities() -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = LONGEST;
    let mut checksum = ChecksumCapabilities::ignored();
    checksum.ipv4 = Checksum::Tx;
    capabilities.checksum = checksum;
    capabilities
}

impl Device for Port<'_> {
    type RxToken<'a>
        = Packet<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sender<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Packet<'_>, Sender<'_>)> {
        let packet = self.packet.take()?;
        Some((Packet(packet), Sender { tun: self.tun, scratch: self.scratch, mss: self.mss }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sender<'_>> {
        Some(Sender { tun: self.tun, scratch: self.scratch, mss: self.mss })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities()
    }
}

impl phy::RxToken for Packet<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl phy::TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        self.tun.write(self.scratch, length, self.mss, f)
    }
}

/// An address, a netmask, an MTU, and the way to everywhere: netdevice(7), rtnetlink's older sibling.
fn configure() -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let socket = socket.as_fd();
    let mut request = interface(NAME);
    request.ifr_ifru.ifru_mtu = MTU;
    control(socket, libc::SIOCSIFMTU, &mut request)?;
    let mut request = interface(NAME);
    request.ifr_ifru.ifru_addr = address(GUEST_V4);
    control(socket, libc::SIOCSIFADDR, &mut request)?;
    let mut request = interface(NAME);
    request.ifr_ifru.ifru_netmask = address(PREFIX_V4);
    control(socket, libc::SIOCSIFNETMASK, &mut request)?;
    let mut request = interface(NAME);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    control(socket, libc::SIOCSIFFLAGS, &mut request)?;
    // SAFETY: all zeroes is a valid rtentry: of the destination 0.0.0.0/0.
    let mut route: libc::rtentry = unsafe { zeroed() };
    route.rt_dst = address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = address(HOST_V4);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    control(socket, libc::SIOCADDRT, &mut route)
}

fn configure_v6() -> Result<(), Errno> {
    // No duplicate can be: the kernel need not ask for one.
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/tun0/accept_dad", "0");
    let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let socket = socket.as_fd();
    let mut request = interface(NAME);
    control(socket, libc::SIOCGIFINDEX, &mut request)?;
    // SAFETY: SIOCGIFINDEX has written it.
    let interface = unsafe { request.ifr_ifru.ifru_ifindex };
    let mut address = In6Ifreq { address: GUEST_V6.octets(), prefix: PREFIX_V6, interface };
    control(socket, libc::SIOCSIFADDR, &mut address)?;
    // SAFETY: all zeroes is a valid in6_rtmsg: of the destination ::/0.
    let mut route: In6Rtmsg = unsafe { zeroed() };
    route.gateway = HOST_V6.octets();
    route.flags = (libc::RTF_UP | libc::RTF_GATEWAY).into();
    route.metric = 1;
    route.interface = interface;
    control(socket, libc::SIOCADDRT, &mut route)
}

/// The kernel has a new address tentative until a thread of its own has looked at it. What a workload
/// connects before would come from another address, the loopback's, and be answered by nobody.
fn await_v6() -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match bind(&socket, &SocketAddrV6::new(GUEST_V6, 0, 0, 0)) {
            Err(Errno::ADDRNOTAVAIL) if std::time::Instant::now() < deadline => sleep(Duration::from_micros(100)),
            outcome => return outcome,
        }
    }
}

fn address(address: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: all zeroes is a valid sockaddr.
    let mut result: libc::sockaddr = unsafe { zeroed() };
    result.sa_family = libc::AF_INET as libc::sa_family_t;
    // A sockaddr_in has the port in the first two bytes.
    for (to, from) in result.sa_data[2..].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    result
}
