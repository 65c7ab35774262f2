// SPDX-License-Identifier: Apache-2.0

//! The network of a sandbox, as far as it is the machine's: a thread between the workload's interface and the host's link.
//!
//! TCP ends here, and its content goes on as frames; a SYN is answered when the host has connected. Datagrams and pings
//! pass as they are. What may be reached is the host's to decide. A thread of its own, so that a flood of packets delays
//! no call of the host's.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use smoltcp::iface::{Config, Interface};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpProtocol};
use tokio::sync::oneshot;

use crate::denials::Denials;
use crate::error::{Step, StepError};
use crate::flow::{Flow, MAX_WAITING, Means, Served, capacity};
use crate::fork::pipe;
use crate::fragments::Fragments;
use crate::frames::{self, Frame, HEADER, MAX_PAYLOAD, Outgoing, Place, Refusal, Violation};
use crate::packets::{self, Outbound, Unreachable};
use crate::tun::{BUFFER, HOST_V4, HOST_V6, Port, Tun};
use crate::vsock;

/// Flows at a time. The host has a bound of its own.
const MAX_FLOWS: usize = 4096;
/// Packets at a time, so that the host gets its turn.
const PACKETS: usize = 64;
/// What is received of the link at once.
const RECEIVED: usize = 4 * (HEADER + MAX_PAYLOAD);

/// The stream to the host.
struct Link {
    socket: UnixStream,
    received: Vec<u8>,
    start: usize,
    end: usize,
    out: Outgoing,
    greeted: bool,
}

/// The thread's state.
pub(crate) struct Relay {
    tun: Tun,
    link: Option<Link>,
    iface: Interface,
    flows: HashMap<u32, Flow>,
    places: HashMap<Place, u32>,
    /// Those to be served; and those that wait until the link takes more.
    due: VecDeque<u32>,
    stalled: VecDeque<u32>,
    /// When the first flow wants to be served whatever comes, or earlier.
    deadline: Option<smoltcp::time::Instant>,
    /// What the flows' buffers take.
    bytes: usize,
    next_flow: u32,
    fragments: Fragments,
    denials: Option<Denials>,
    scratch: Vec<u8>,
    begin: Instant,
}

/// How long the host may take to listen.
const DIAL: Duration = Duration::from_secs(10);

/// Opens the link, to the host's port or to a Unix socket in its place, and carries what comes from then on, for as long as
/// what this returns is held.
pub(crate) async fn start(tun: Tun, denials: Option<Denials>, socket: Option<PathBuf>) -> Result<OwnedFd, StepError> {
    let (until, held) = pipe()?;
    let (sender, opened) = oneshot::channel();
    let body = move || {
        let link = match socket {
            Some(path) => UnixStream::connect(path),
            None => vsock::dial(vsock::NETWORK, DIAL).map_err(io::Error::from),
        };
        match link.and_then(|link| Relay::new(tun, link, denials, random()?, u64::from_ne_bytes(random()?))) {
            Ok(relay) => {
                let _ = sender.send(Ok(()));
                if let Err(errno) = relay.run(&until) {
                    crate::log!("the network has ended: {errno}");
                }
            }
            Err(error) => {
                let _ = sender.send(Err(error));
            }
        }
    };
    let thread = std::thread::Builder::new().name("network".into()).spawn(body);
    thread.step(|| "starting the network's thread".into())?;
    let opened = opened.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
    opened.step(|| "opening the network's link to the host".into())?;
    Ok(held)
}

/// Gives the calling thread's network namespace the interface of a sandbox, whose other end is whoever the link leads to, for
/// as long as what this returns is held. The error is for people.
pub fn carry_network(link: UnixStream, ipv6: bool) -> Result<OwnedFd, String> {
    let text = |error: StepError| error.to_string();
    crate::network::set_up().map_err(text)?;
    let tun = Tun::make(ipv6).map_err(text)?;
    let relay = random().and_then(|epoch| Relay::new(tun, link, None, epoch, u64::from_ne_bytes(random()?)));
    let relay = relay.map_err(|error| error.to_string())?;
    let (until, held) = pipe().map_err(text)?;
    std::thread::spawn(move || relay.run(&until));
    Ok(held)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the kernel writes as many bytes as there are.
    match unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) } {
        count if count == N as isize => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Relay {
    /// The link is a stream on which nothing was sent yet. `epoch` is random: by it the host knows this link from others.
    pub(crate) fn new(
        tun: Tun,
        link: UnixStream,
        denials: Option<Denials>,
        epoch: [u8; 16],
        seed: u64,
    ) -> io::Result<Self> {
        link.set_nonblocking(true)?;
        let mut out = Outgoing::default();
        out.hello(capacity(0), epoch);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let begin = Instant::now();
        let mut scratch = vec![0; BUFFER];
        let mut port = Port { tun: &tun, packet: None, scratch: &mut scratch, mss: 0 };
        let mut iface = Interface::new(config, &mut port, smoltcp::time::Instant::ZERO);
        // It is whoever the workload speaks to.
        iface.set_any_ip(true);
        iface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(IpAddress::Ipv4(HOST_V4), 30));
            let _ = addresses.push(IpCidr::new(IpAddress::Ipv6(HOST_V6), 64));
        });
        let _ = iface.routes_mut().add_default_ipv4_route(HOST_V4);
        let _ = iface.routes_mut().add_default_ipv6_route(HOST_V6);
        Ok(Self {
            tun,
            link: Some(Link { socket: link, received: vec![0; RECEIVED], start: 0, end: 0, out, greeted: false }),
            iface,
            flows: HashMap::new(),
            places: HashMap::new(),
            due: VecDeque::new(),
            stalled: VecDeque::new(),
            deadline: None,
            bytes: 0,
            next_flow: 1,
            fragments: Fragments::default(),
            denials,
            scratch,
            begin,
        })
    }

    /// Runs until the other end of `until` is closed, or the interface is gone. A link that ends takes the flows with it;
    /// from then on nothing can be reached.
    pub(crate) fn run(mut self, until: &OwnedFd) -> Result<(), Errno> {
        let mut buffer = vec![0; BUFFER];
        loop {
            self.flush();
            let timeout = self.timeout();
            let wanted = PollFlags::IN;
            let [mut stop, mut packets, mut frames] = [PollFlags::empty(); 3];
            {
                let (link, out) = match &self.link {
                    Some(link) if link.out.waiting().is_empty() => (link.socket.as_fd(), PollFlags::empty()),
                    Some(link) => (link.socket.as_fd(), PollFlags::OUT),
                    None => (self.tun.as_fd(), PollFlags::empty()),
                };
                let mut polled = [
                    PollFd::new(until, wanted),
                    PollFd::new(&self.tun, wanted),
                    PollFd::from_borrowed_fd(link, wanted | out),
                ];
                match poll(&mut polled, timeout.as_ref()) {
                    Ok(_) => [stop, packets, frames] = polled.map(|polled| polled.revents()),
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            if !stop.is_empty() {
                return Ok(());
            }
            if !frames.is_empty() {
                self.receive();
            }
            if !packets.is_empty() {
                for _ in 0..PACKETS {
                    let Some(packet) = self.tun.read(&mut buffer)? else { break };
                    self.packet(packet);
                }
            }
            self.serve();
            if let Some(denials) = &mut self.denials {
                denials.write();
            }
        }
    }

    fn now(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(self.begin.elapsed().as_micros() as i64)
    }

    /// Until the first flow wants to be served whatever comes.
    fn timeout(&self) -> Option<Timespec> {
        let (deadline, now) = (self.deadline?, self.now());
        let wait = if deadline > now { deadline - now } else { smoltcp::time::Duration::ZERO };
        Timespec::try_from(Duration::from_micros(wait.total_micros())).ok()
    }

    /// Calls `then` with a flow that is there, and serves it soon.
    fn with(&mut self, id: u32, then: impl FnOnce(&mut Flow, &mut Means<'_>)) {
        let now = self.now();
        let (Some(flow), Some(link)) = (self.flows.get_mut(&id), &mut self.link) else { return };
        let mut means =
            Means { tun: &self.tun, iface: &mut self.iface, scratch: &mut self.scratch, out: &mut link.out, now };
        then(flow, &mut means);
        serve_soon(&mut self.due, flow);
    }

    fn serve(&mut self) {
        let now = self.now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            for flow in self.flows.values_mut() {
                if flow.deadline.is_some_and(|deadline| deadline <= now) {
                    serve_soon(&mut self.due, flow);
                }
            }
            let waiting = self.flows.values().filter(|flow| !flow.is_due);
            self.deadline = waiting.filter_map(|flow| flow.deadline).min();
        }
        if self.link.as_ref().is_some_and(|link| link.out.waiting().len() < MAX_WAITING) {
            for id in std::mem::take(&mut self.stalled) {
                self.with(id, |_, _| {});
            }
        }
        for _ in 0..self.due.len() {
            let Some(id) = self.due.pop_front() else { break };
            let (Some(flow), Some(link)) = (self.flows.get_mut(&id), &mut self.link) else { continue };
            flow.is_due = false;
            let mut means =
                Means { tun: &self.tun, iface: &mut self.iface, scratch: &mut self.scratch, out: &mut link.out, now };
            let served = flow.serve(&mut means);
            self.deadline = self.deadline.into_iter().chain(flow.deadline).min();
            match served {
                Served::Waits => {}
                Served::Stalled => self.stalled.push_back(id),
                Served::Over => self.forget(id),
            }
        }
    }

    fn forget(&mut self, id: u32) {
        if let Some(flow) = self.flows.remove(&id) {
            self.places.remove(&flow.place);
            self.bytes -= flow.bytes();
        }
    }

    fn keep(&mut self, flow: Flow) {
        let id = flow.id;
        self.bytes += flow.bytes();
        self.places.insert(flow.place, id);
        self.flows.insert(id, flow);
        self.with(id, |_, _| {});
    }

    // -- The workload's packets

    fn packet(&mut self, packet: &mut [u8]) {
        let Some(outbound) = packets::parse(packet) else { return };
        let (target, protocol) = (outbound.target, outbound.protocol);
        if let Some(fragment) = outbound.fragment {
            let whole = self.fragments.add(target, protocol.into(), fragment, outbound.payload, Instant::now());
            // TCP sends none: it asks how long a packet may be.
            if let Some(whole) = whole.filter(|_| protocol != IpProtocol::Tcp) {
                self.whole(&Outbound { target, protocol, payload: &whole, fragment: None });
            }
            return;
        }
        if protocol != IpProtocol::Tcp {
            return self.whole(&outbound);
        }
        let payload = outbound.payload;
        let Some(segment) = packets::segment(target, payload) else { return };
        if self.link.is_none() {
            return self.unreachable(target, protocol, payload, Unreachable::Net);
        }
        if let Some(&id) = self.places.get(&segment.place) {
            if segment.is_reset && self.flows.get(&id).is_some_and(|flow| flow.syn().is_some()) {
                // Who was to be connected does not want it any more.
                self.out(|out| out.reset(id));
                return self.forget(id);
            }
            self.with(id, |flow, means| flow.receive(packet, means));
        } else if !segment.is_syn {
            packets::send_reset(&self.tun, &mut self.scratch, target, payload);
        } else if self.flows.len() < MAX_FLOWS {
            let (id, capacity) = (self.next_flow, capacity(self.bytes));
            self.next_flow += 2;
            if let Some(link) = &mut self.link {
                let flow = Flow::asked(id, segment.place, packet, capacity, &mut link.out);
                self.keep(flow);
            }
        }
    }

    /// What has no flow.
    fn whole(&mut self, packet: &Outbound<'_>) {
        let Outbound { target, protocol, payload, .. } = *packet;
        match protocol {
            IpProtocol::Udp => {
                let Some((place, bytes)) = packets::datagram(target, payload) else { return };
                if self.link.is_none() {
                    self.unreachable(target, protocol, payload, Unreachable::Net);
                } else if bytes.len() <= frames::MAX_DATAGRAM {
                    self.out_unless_full(|out| out.datagram(&place, bytes));
                }
            }
            IpProtocol::Icmp | IpProtocol::Icmpv6 => {
                let Some((place, bytes)) = packets::echo(target, protocol, payload) else { return };
                if self.link.is_none() {
                    self.unreachable(target, protocol, payload, Unreachable::Net);
                } else {
                    self.out_unless_full(|out| out.echo(&place, bytes));
                }
            }
            // What the host has no way to carry is not to be waited for.
            _ => self.unreachable(target, protocol, payload, Unreachable::Prohibited),
        }
    }

    fn unreachable(&mut self, target: IpAddr, protocol: IpProtocol, payload: &[u8], why: Unreachable) {
        packets::unreachable(&self.tun, &mut self.scratch, target, protocol, payload, why);
    }

    // -- The host's frames

    fn out(&mut self, put: impl FnOnce(&mut Outgoing)) {
        if let Some(link) = &mut self.link {
            put(&mut link.out);
        }
    }

    /// What may be lost is, where too much waits.
    fn out_unless_full(&mut self, put: impl FnOnce(&mut Outgoing)) {
        self.out(|out| {
            if out.waiting().len() < 2 * MAX_WAITING {
                put(out);
            }
        });
    }

    /// Sends what the link takes.
    fn flush(&mut self) {
        while let Some(link) = &mut self.link {
            let waiting = link.out.waiting();
            if waiting.is_empty() {
                break;
            }
            match link.socket.write(waiting) {
                Ok(count) => link.out.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.lost(),
            }
        }
    }

    fn receive(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        if link.start > 0 {
            link.received.copy_within(link.start..link.end, 0);
            (link.start, link.end) = (0, link.end - link.start);
        }
        let end = match link.socket.read(&mut link.received[link.end..]) {
            Ok(0) => Err(Violation("the host has ended it")),
            Ok(count) => Ok(link.end + count),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(link.end)
            }
            Err(_) => Err(Violation("it cannot be read")),
        };
        // Taken out, so that frames may lie in it while they are acted upon.
        let received = std::mem::take(&mut link.received);
        let mut start = 0;
        self.link = Some(link);
        let result = end.and_then(|end| {
            while let Some((frame, length)) = frames::parse(&received[start..end])? {
                self.frame(frame)?;
                start += length;
            }
            Ok(end)
        });
        match (result, &mut self.link) {
            (Ok(end), Some(link)) => (link.received, link.start, link.end) = (received, start, end),
            (Err(Violation(why)), Some(_)) => {
                crate::log!("the network's link is lost: {why}");
                self.lost();
            }
            (_, None) => {}
        }
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<(), Violation> {
        let greeted = self.link.as_ref().is_some_and(|link| link.greeted);
        if greeted == matches!(frame, Frame::Hello) {
            return Err(Violation("its first frame, and no other, is a greeting"));
        }
        // Of a flow that has just ended here, the host may not know yet.
        match frame {
            Frame::Hello => {
                if let Some(link) = &mut self.link {
                    link.greeted = true;
                }
            }
            Frame::Opened { flow, window } => {
                self.with(flow, |flow, means| flow.opened(window, means));
            }
            Frame::Refused { flow, why } => self.refused(flow, why),
            Frame::Accept { flow, place, window } => self.accept(flow, place, window)?,
            Frame::Data { flow, bytes } => {
                let mut fits = true;
                self.with(flow, |flow, _| fits = flow.data(bytes));
                if !fits {
                    return Err(Violation("more data came than there was credit for"));
                }
            }
            Frame::Fin { flow } => {
                self.with(flow, |flow, _| flow.fin());
            }
            Frame::Reset { flow } => {
                self.with(flow, |flow, _| flow.reset());
            }
            Frame::Credit { flow, amount } => {
                self.with(flow, |flow, _| flow.credit(amount));
            }
            Frame::Datagram { place, bytes } => packets::send_datagram(&self.tun, &mut self.scratch, &place, bytes),
            Frame::DatagramDenied { place } => packets::datagram_unreachable(&self.tun, &mut self.scratch, &place),
            Frame::Echo { place, bytes } => packets::send_echo(&self.tun, &mut self.scratch, &place, bytes),
            Frame::EchoDenied { place } => packets::echo_unreachable(&self.tun, &mut self.scratch, &place),
            Frame::ResetAll => self.reset_all(),
            Frame::Denial { line } => {
                if let Some(denials) = &mut self.denials {
                    denials.add(line);
                }
            }
        }
        Ok(())
    }

    /// Lets the workload's connect(2) fail as the host's did.
    fn refused(&mut self, id: u32, why: Refusal) {
        let Some(flow) = self.flows.get(&id) else { return };
        if let Some(syn) = flow.syn() {
            deny(&self.tun, &mut self.scratch, syn, why);
            self.forget(id);
        }
    }

    fn accept(&mut self, id: u32, place: Place, window: u32) -> Result<(), Violation> {
        if id % 2 != 0 || self.flows.contains_key(&id) {
            return Err(Violation("the host opens a flow by a number that is not free"));
        }
        let is_free = place.remote_port != 0 && !self.places.contains_key(&place) && self.flows.len() < MAX_FLOWS;
        let capacity = capacity(self.bytes);
        match Some(id).filter(|_| is_free).and_then(|id| Flow::dialling(id, place, window, capacity, &mut self.iface)) {
            Some(flow) => self.keep(flow),
            None => self.out(|out| out.refused(id, Refusal::Limit)),
        }
        Ok(())
    }

    /// Ends every flow, so that the workload hears of it at once.
    fn reset_all(&mut self) {
        for id in self.flows.keys().copied().collect::<Vec<_>>() {
            if let Some(syn) = self.flows.get(&id).and_then(Flow::syn) {
                deny(&self.tun, &mut self.scratch, syn, Refusal::NetUnreachable);
            }
            self.with(id, |flow, means| {
                flow.reset();
                flow.serve(means);
            });
            self.forget(id);
        }
    }

    fn lost(&mut self) {
        self.reset_all();
        self.link = None;
    }
}

fn serve_soon(due: &mut VecDeque<u32>, flow: &mut Flow) {
    if !flow.is_due {
        flow.is_due = true;
        due.push_back(flow.id);
    }
}

/// Answers a SYN that is not to have an answer of its own.
fn deny(tun: &Tun, scratch: &mut [u8], syn: &[u8], why: Refusal) {
    let Some(Outbound { target, protocol, payload, .. }) = packets::parse(syn) else { return };
    let why = match why {
        Refusal::Policy => Unreachable::Prohibited,
        Refusal::NetUnreachable => Unreachable::Net,
        Refusal::HostUnreachable => Unreachable::Host,
        Refusal::Refused | Refusal::Limit => return packets::send_reset(tun, scratch, target, payload),
        // The workload's kernel sends its SYN again, and gives up in the end.
        Refusal::Timeout => return,
    };
    packets::unreachable(tun, scratch, target, protocol, payload, why);
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
    use std::sync::mpsc::channel;
    use std::thread;

    use rustix::thread::{UnshareFlags, unshare_unsafe};

    use super::*;
    use crate::network;
    use crate::tun::{GUEST_V4, GUEST_V6};

    const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

    /// What the agent sent, as its header and payload.
    #[derive(Debug, PartialEq, Eq)]
    struct Sent {
        kind: u8,
        flow: u32,
        length: u32,
        payload: Vec<u8>,
    }

    /// The test's end of the link.
    struct Host {
        link: UnixStream,
        /// What a frame of content is to have at most.
        longest: usize,
        _until: OwnedFd,
    }

    impl Host {
        fn send(&mut self, kind: u8, flow: u32, payload: &[u8]) {
            self.send_flagged(kind, 0, flow, payload);
        }

        fn send_flagged(&mut self, kind: u8, flags: u8, flow: u32, payload: &[u8]) {
            let mut frame = vec![kind, flags, 0, 0];
            frame.extend(flow.to_be_bytes());
            frame.extend((payload.len() as u32).to_be_bytes());
            frame.extend(payload);
            self.link.write_all(&frame).unwrap();
        }

        fn credit(&mut self, flow: u32, amount: u32) {
            let mut frame = vec![10, 0, 0, 0];
            frame.extend(flow.to_be_bytes());
            frame.extend(amount.to_be_bytes());
            self.link.write_all(&frame).unwrap();
        }

        fn next(&mut self) -> Sent {
            let mut header = [0; HEADER];
            self.link.read_exact(&mut header).unwrap();
            let number = |at: usize| u32::from_be_bytes(*header[at..].first_chunk().unwrap());
            assert_eq!(header[1..4], [0; 3]);
            let mut payload = vec![0; if header[0] == 10 { 0 } else { number(8) as usize }];
            self.link.read_exact(&mut payload).unwrap();
            Sent { kind: header[0], flow: number(4), length: number(8), payload }
        }

        /// The next that is no credit.
        fn told(&mut self) -> Sent {
            loop {
                let sent = self.next();
                if sent.kind != 10 {
                    return sent;
                }
            }
        }

        fn open(&mut self, window: u32) -> u32 {
            let sent = self.told();
            assert_eq!(sent.kind, 2);
            self.send(3, sent.flow, &window.to_be_bytes());
            sent.flow
        }
    }

    /// Whether this machine's kernel has the device, without which there is nothing to try.
    fn has_tun() -> bool {
        let tun = std::fs::File::open("/dev/net/tun");
        if let Err(error) = &tun {
            eprintln!("SKIPPED: /dev/net/tun: {error}");
        }
        tun.is_ok()
    }

    /// The calling thread's own from then on.
    fn enter_a_network() {
        // SAFETY: a network of its own takes no memory or files from other threads.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        network::set_up().unwrap();
    }

    /// Runs a test in a network of its own, and the relay beside it.
    fn in_a_network(test: impl FnOnce(Host) + Send + 'static) {
        if !has_tun() {
            return;
        }
        let run = move || {
            enter_a_network();
            let tun = Tun::make(true).unwrap();
            let (here, there) = UnixStream::pair().unwrap();
            here.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let (until, other) = rustix::pipe::pipe().unwrap();
            let relay = Relay::new(tun, there, None, [7; 16], 1).unwrap();
            let running = thread::spawn(move || relay.run(&until));
            let mut host = Host { link: here, longest: 0, _until: other };
            let hello = host.next();
            assert_eq!((hello.kind, hello.payload.len()), (1, 32));
            host.longest = u32::from_be_bytes(*hello.payload[4..].first_chunk().unwrap()) as usize;
            host.send(1, 0, &hello.payload);
            test(host);
            running.join().unwrap().unwrap();
        };
        thread::spawn(run).join().unwrap();
    }

    #[test]
    fn what_is_connected_at_once_comes_from_the_interface() {
        if !has_tun() {
            return;
        }
        let run = || {
            for _ in 0..20 {
                enter_a_network();
                let _tun = Tun::make(true).unwrap();
                for (any, server, ours) in [
                    ("0.0.0.0:0", "203.0.113.7:53", IpAddr::from(GUEST_V4)),
                    ("[::]:0", "[2001:db8::7]:53", IpAddr::from(GUEST_V6)),
                ] {
                    let socket = UdpSocket::bind(any).unwrap();
                    socket.connect(server).unwrap();
                    assert_eq!(socket.local_addr().unwrap().ip(), ours);
                }
            }
        };
        thread::spawn(run).join().unwrap();
    }

    #[test]
    fn connections_wait_for_the_host_and_carry_both_ways() {
        in_a_network(|mut host| {
            let guest = thread::spawn(|| {
                let mut stream = TcpStream::connect((SERVER, 443)).unwrap();
                stream.write_all(b"question").unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                answer
            });
            let sent = host.next();
            assert_eq!((sent.kind, sent.flow), (2, 1));
            assert_eq!(sent.payload[..4], [4, 0, 1, 187]);
            assert_eq!(sent.payload[8..12], SERVER.octets());
            assert!(!guest.is_finished());
            host.send(3, 1, &65_536u32.to_be_bytes());
            assert_eq!(host.told(), Sent { kind: 7, flow: 1, length: 8, payload: b"question".into() });
            assert_eq!(host.told().kind, 8);
            host.send(7, 1, b"answer");
            host.send(8, 1, &[]);
            assert_eq!(guest.join().unwrap(), b"answer");
        });
    }

    #[test]
    fn much_is_carried_within_the_windows() {
        in_a_network(|mut host| {
            const MUCH: usize = 8 << 20;
            let guest = thread::spawn(|| {
                let mut stream = TcpStream::connect((SERVER, 80)).unwrap();
                let mut other = stream.try_clone().unwrap();
                let writer = thread::spawn(move || {
                    let bytes: Vec<u8> = (0..MUCH).map(|index| (index % 251) as u8).collect();
                    other.write_all(&bytes).unwrap();
                });
                let mut total = 0;
                let mut buffer = vec![0; 100_000];
                while total < MUCH {
                    let count = stream.read(&mut buffer).unwrap();
                    assert!(count > 0);
                    let is_next = |(index, &byte): (usize, &u8)| byte == ((total + index) % 241) as u8;
                    assert!(buffer[..count].iter().enumerate().all(is_next));
                    total += count;
                }
                writer.join().unwrap();
            });
            let sent = host.told();
            let mut window = u32::from_be_bytes(*sent.payload[24..].first_chunk().unwrap()) as usize;
            host.send(3, sent.flow, &50_000u32.to_be_bytes());
            let (mut up, mut down, mut unreturned) = (0, 0, 0);
            while up < MUCH || down < MUCH {
                if down < MUCH && window > 0 {
                    let count = window.min(30_000).min(MUCH - down);
                    let bytes: Vec<u8> = (down..down + count).map(|index| (index % 241) as u8).collect();
                    host.send(7, sent.flow, &bytes);
                    (window, down) = (window - count, down + count);
                    if window > 0 {
                        continue;
                    }
                }
                let sent = host.next();
                match sent.kind {
                    7 => {
                        assert!(
                            sent.payload.iter().enumerate().all(|(index, &byte)| byte == ((up + index) % 251) as u8)
                        );
                        up += sent.payload.len();
                        unreturned += sent.payload.len();
                        assert!(unreturned <= 50_000);
                        if unreturned > 20_000 {
                            host.credit(sent.flow, std::mem::take(&mut unreturned) as u32);
                        }
                    }
                    10 => window += sent.length as usize,
                    kind => panic!("{kind}"),
                }
            }
            guest.join().unwrap();
        });
    }

    /// As long as the host was told that one may be, a frame is one packet: none that is tiny follows.
    #[test]
    fn a_frame_reaches_the_workload_as_one_packet() {
        in_a_network(|mut host| {
            let longest = host.longest;
            let (sender, has_read) = channel();
            let guest = thread::spawn(move || {
                let mut stream = TcpStream::connect((SERVER, 80)).unwrap();
                let mut buffer = vec![0; 2 * longest];
                stream.read_exact(&mut buffer).unwrap();
                sender.send(()).unwrap();
                stream.read_exact(&mut buffer[..longest]).unwrap();
                stream
            });
            let flow = host.open(1000);
            let bytes = vec![7; longest];
            // The workload's window, of which one frame is more at first, grows with what it reads.
            host.send(7, flow, &bytes);
            host.send(7, flow, &bytes);
            has_read.recv().unwrap();
            let before = packets_of_the_interface();
            host.send(7, flow, &bytes);
            let _stream = guest.join().unwrap();
            assert_eq!(packets_of_the_interface() - before, 1);
        });
    }

    /// How many the calling thread's network has been sent by its interface.
    fn packets_of_the_interface() -> u64 {
        let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let received = table.lines().find_map(|line| line.trim().strip_prefix("tun0:")).unwrap();
        received.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn connect_fails_as_the_hosts_did() {
        in_a_network(|mut host| {
            for (code, expected) in [
                (1, libc::EHOSTUNREACH),
                (2, libc::ECONNREFUSED),
                (3, libc::ENETUNREACH),
                (4, libc::EHOSTUNREACH),
                (6, libc::ECONNREFUSED),
            ] {
                let guest = thread::spawn(|| TcpStream::connect((SERVER, 80)).unwrap_err());
                let sent = host.told();
                host.send(4, sent.flow, &[0, 0, 0, code]);
                assert_eq!(guest.join().unwrap().raw_os_error(), Some(expected), "{code}");
            }
            let guest = thread::spawn(|| TcpStream::connect(("2001:db8::7", 80)).unwrap_err());
            let sent = host.told();
            assert_eq!(sent.payload[0], 6);
            host.send(4, sent.flow, &[0, 0, 0, 1]);
            assert_eq!(guest.join().unwrap().raw_os_error(), Some(libc::EACCES));
        });
    }

    #[test]
    fn the_hosts_callers_are_let_in() {
        in_a_network(|mut host| {
            let listener = TcpListener::bind("0.0.0.0:8000").unwrap();
            let mut place = [0; 28];
            place[..6].copy_from_slice(&[4, 0, 156, 64, 31, 64]);
            place[8..12].copy_from_slice(&HOST_V4.octets());
            place[24..].copy_from_slice(&65_536u32.to_be_bytes());
            host.send(5, 2, &place);
            let (mut stream, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), IpAddr::from(HOST_V4));
            assert_eq!(host.told().kind, 6);
            host.send(7, 2, b"hello");
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).unwrap();
            stream.write_all(&hello).unwrap();
            assert_eq!(host.told().payload, b"hello");
            drop(stream);
            assert_eq!(host.told().kind, 8);
            host.send(8, 2, &[]);
            // Nobody listens there.
            place[5] = 65;
            host.send(5, 4, &place);
            assert_eq!(host.told(), Sent { kind: 4, flow: 4, length: 4, payload: vec![0, 0, 0, 2] });
        });
    }

    #[test]
    fn datagrams_pass_as_they_are() {
        in_a_network(|mut host| {
            for bytes in [0, 1, 1400, 9000, 60_000] {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let content: Vec<u8> = (0..bytes).map(|index| (index % 253) as u8).collect();
                socket.send_to(&content, (SERVER, 53)).unwrap();
                let sent = host.told();
                assert_eq!(sent.kind, 11);
                assert!(sent.payload[24..] == content, "{bytes}");
                host.send(11, 0, &sent.payload);
                let mut answer = vec![0; 65_536];
                let (count, from) = socket.recv_from(&mut answer).unwrap();
                assert_eq!((count, from), (bytes, (SERVER, 53).into()));
                assert!(answer[..count] == content);
            }
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect((SERVER, 443)).unwrap();
            socket.send(b"quic").unwrap();
            let sent = host.told();
            host.send_flagged(11, 1, 0, &sent.payload[..24]);
            assert_eq!(socket.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn a_lost_link_ends_what_was_open() {
        in_a_network(|mut host| {
            let stream = thread::spawn(|| TcpStream::connect((SERVER, 80)).unwrap());
            host.open(1000);
            let mut stream = stream.join().unwrap();
            let waits = thread::spawn(|| TcpStream::connect((SERVER, 81)).unwrap_err());
            assert_eq!(host.told().kind, 2);
            // No such frame.
            host.send(99, 0, &[]);
            assert_eq!(stream.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(waits.join().unwrap().raw_os_error(), Some(libc::ENETUNREACH));
            assert_eq!(TcpStream::connect((SERVER, 80)).unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));
        });
    }

    /// A pseudo-random number generator (xorshift64*), by which a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u32) -> u32 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u32) % bound
        }

        fn bytes(&mut self, most: u32) -> Vec<u8> {
            (0..self.below(most)).map(|_| self.below(256) as u8).collect()
        }
    }

    /// A packet that looks like one of TCP's, UDP's or ICMP's, and may be anything.
    fn odd_packet(random: &mut Random) -> Vec<u8> {
        let protocol = [6, 6, 6, 6, 17, 1][random.below(6) as usize];
        let mut payload = match protocol {
            6 => {
                let options: &[u8] =
                    [&[][..], &[2, 4, 5, 180], &[2, 4, 0, 0, 1, 3, 3, 14], &[2, 0, 0, 0]][random.below(4) as usize];
                let flags = [2, 2, 2, 16, 16, 24, 17, 4, 20, 18][random.below(10) as usize];
                let mut payload = vec![0x9c, random.below(3) as u8, 0, [80, 81][random.below(2) as usize]];
                payload.extend((random.below(3) * 1000).to_be_bytes());
                payload.extend((random.below(3) * 1000).to_be_bytes());
                payload.extend([((20 + options.len()) as u8 / 4) << 4, flags]);
                payload.extend((random.below(4) as u16 * 20_000).to_be_bytes());
                payload.extend([0; 4]);
                payload.extend(options);
                payload
            }
            17 => vec![0x9c, 0, 0, 53, 0, 8 + random.below(8) as u8, 0, 0],
            _ => vec![8, 0, 0, 0, 0, 1, 0, 1],
        };
        payload.extend(random.bytes(64));
        let mut packet = vec![0x45, 0];
        packet.extend((20 + payload.len() as u16).to_be_bytes());
        packet.extend([
            0,
            random.below(3) as u8,
            [0x40, 0x40, 0x40, 0x20, 0][random.below(5) as usize],
            random.below(2) as u8,
        ]);
        packet.extend([64, protocol, 0, 0]);
        packet.extend(crate::tun::GUEST_V4.octets());
        packet.extend(SERVER.octets());
        packet.append(&mut payload);
        if random.below(4) == 0 {
            let at = random.below(packet.len() as u32) as usize;
            packet[at] = random.below(256) as u8;
        }
        packet
    }

    fn odd_frame<'a>(random: &mut Random, bytes: &'a [u8]) -> Frame<'a> {
        let flow = random.below(64);
        let remote_port = random.below(3) as u16;
        let place = Place { remote: SERVER.into(), remote_port, local_port: 40_000 };
        match random.below(12) {
            0..4 => Frame::Opened { flow, window: random.below(3) * 1000 },
            4 => Frame::Refused {
                flow,
                why: [Refusal::Policy, Refusal::Refused, Refusal::Timeout][random.below(3) as usize],
            },
            5 => Frame::Accept { flow: 2 * flow, place, window: 1000 },
            6 => Frame::Fin { flow },
            7 => Frame::Reset { flow },
            8 => Frame::Credit { flow, amount: random.below(1000) },
            9 => Frame::Datagram { place, bytes },
            10 => Frame::Echo { place, bytes },
            _ => Frame::Data { flow, bytes },
        }
    }

    #[test]
    fn nothing_that_a_workload_sends_brings_it_down() {
        if !has_tun() {
            return;
        }
        let test = || {
            enter_a_network();
            for seed in 1..=60 {
                let tun = Tun::make(false).unwrap();
                let (_here, there) = UnixStream::pair().unwrap();
                let mut relay = Relay::new(tun, there, None, [7; 16], seed).unwrap();
                relay.link.as_mut().unwrap().greeted = true;
                let mut random = Random(seed);
                let mut buffer = vec![0; BUFFER];
                for _ in 0..500 {
                    if random.below(2) == 0 {
                        let mut packet = if random.below(8) == 0 { random.bytes(80) } else { odd_packet(&mut random) };
                        relay.packet(&mut packet);
                    } else {
                        let bytes = vec![7; 1 + random.below(1000) as usize];
                        let frame = odd_frame(&mut random, &bytes);
                        // More data than there is credit for is the host's fault, and said so.
                        let _ = relay.frame(frame);
                    }
                    // What the kernel answers comes too.
                    while let Some(packet) = relay.tun.read(&mut buffer).unwrap() {
                        relay.packet(packet);
                    }
                    relay.serve();
                    if let Some(link) = &mut relay.link {
                        let count = link.out.waiting().len();
                        link.out.advance(count);
                    }
                }
                relay.reset_all();
                assert_eq!((relay.bytes, relay.flows.len(), relay.places.len()), (0, 0, 0), "seed {seed}");
            }
        };
        thread::spawn(test).join().unwrap();
    }
}
