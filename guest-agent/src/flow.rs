// SPDX-License-Identifier: Apache-2.0

//! One flow of TCP: the workload's end of it is a connection to smoltcp's socket here, the other is the host's.
//!
//! Each has its own set of sockets, since smoltcp looks through all of a set for each packet.

use smoltcp::iface::{Interface, PollResult, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};

use crate::frames::{MAX_PAYLOAD, Outgoing, Place, Refusal};
use crate::packets;
use crate::tun::{self, Port, Tun};

/// What all flows' buffers take together, but for the smallest.
const BUDGET: usize = 16 << 20;
/// A direction's buffer at most: what makes a segment of 64 KiB wait for none before it.
const LARGEST: usize = 256 << 10;
const SMALLEST: usize = 8 << 10;
/// Frames that wait for the host at most, before flows wait with theirs.
pub(crate) const MAX_WAITING: usize = 256 << 10;
/// Segments at a time, so that others get their turn.
const SEGMENTS: usize = 64;

/// What a flow is served with.
pub(crate) struct Means<'a> {
    pub(crate) tun: &'a Tun,
    pub(crate) iface: &'a mut Interface,
    pub(crate) scratch: &'a mut [u8],
    pub(crate) out: &'a mut Outgoing,
    pub(crate) now: Instant,
}

/// Where a flow is in its life.
#[derive(Debug)]
enum Stage {
    /// The host has been asked, and the workload's SYN waits for what it says.
    Asked(Vec<u8>),
    /// The host has connected, and the workload is to hear of it.
    Answered,
    /// The host asks whether the workload accepts.
    Dialling,
    Open,
}

/// What becomes of a flow that was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// It waits for one end or the other.
    Waits,
    /// It has more for the host than may wait.
    Stalled,
    Over,
}

#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) id: u32,
    pub(crate) place: Place,
    stage: Stage,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    /// The longest segment that the workload's end takes.
    mss: u16,
    capacity: usize,
    /// How many bytes the host takes at once.
    credit: usize,
    /// Of what the host has sent: bytes in all, and those for which it has credit again.
    taken: u64,
    returned: u64,
    /// What the host has sent before the workload's end had its answer.
    early: Vec<u8>,
    /// Whether the host was told that the workload's end sends no more, and whether it has said so of its own.
    told_fin: bool,
    host_fin: bool,
    host_reset: bool,
    /// Whether it is to be served.
    pub(crate) is_due: bool,
    /// When to serve it, whatever comes.
    pub(crate) deadline: Option<Instant>,
}

/// How large a flow's buffers are when those of others take so much.
pub(crate) fn capacity(taken: usize) -> usize {
    let share = BUDGET.saturating_sub(taken) / 32;
    (1 << share.max(1).ilog2()).clamp(SMALLEST, LARGEST)
}

impl Flow {
    fn new(id: u32, place: Place, stage: Stage, mss: u16, capacity: usize) -> Self {
        // Allocated as zeroes, which take no memory before they are written.
        let mut socket = Socket::new(SocketBuffer::new(vec![0; capacity]), SocketBuffer::new(vec![0; capacity]));
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let mut sockets = SocketSet::new(vec![SocketStorage::EMPTY]);
        let socket = sockets.add(socket);
        Self {
            id,
            place,
            stage,
            sockets,
            socket,
            mss,
            capacity,
            credit: 0,
            taken: 0,
            returned: 0,
            early: Vec::new(),
            told_fin: false,
            host_fin: false,
            host_reset: false,
            is_due: false,
            deadline: None,
        }
    }

    /// One that the workload opens by a SYN; the host is asked.
    pub(crate) fn asked(id: u32, place: Place, syn: &[u8], capacity: usize, out: &mut Outgoing) -> Self {
        let mut syn = syn.to_vec();
        let mss = packets::raise_mss(&mut syn);
        out.open(id, &place, capacity);
        Self::new(id, place, Stage::Asked(syn), mss, capacity)
    }

    /// One that the host opens to a port of the workload; none where that is not to be, as the place is taken.
    pub(crate) fn dialling(id: u32, place: Place, window: u32, capacity: usize, iface: &mut Interface) -> Option<Self> {
        let mut flow = Self::new(id, place, Stage::Dialling, packets::DEFAULT_MSS, capacity);
        flow.credit = window as usize;
        let to = IpEndpoint::new(tun::guest(place.remote).into(), place.local_port);
        let from = IpEndpoint::new(place.remote.into(), place.remote_port);
        flow.socket().connect(iface.context(), to, from).ok()?;
        Some(flow)
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    /// What its buffers take.
    pub(crate) fn bytes(&self) -> usize {
        2 * self.capacity
    }

    /// The packet that waits for the host's answer.
    pub(crate) fn syn(&self) -> Option<&[u8]> {
        match &self.stage {
            Stage::Asked(syn) => Some(syn),
            _ => None,
        }
    }

    /// Takes a packet of the workload's. One that comes before the host has answered is one more SYN.
    pub(crate) fn receive(&mut self, packet: &mut [u8], means: &mut Means<'_>) {
        if matches!(self.stage, Stage::Asked(_)) {
            return;
        }
        // The answer to the agent's own SYN is one too: it says what the workload's end takes.
        if matches!(self.stage, Stage::Dialling) {
            self.mss = packets::raise_mss(packet);
        }
        let mut port = Port { tun: means.tun, packet: Some(packet), scratch: means.scratch, mss: self.mss };
        means.iface.poll_ingress_single(means.now, &mut port, &mut self.sockets);
    }

    /// The host has connected.
    pub(crate) fn opened(&mut self, window: u32, means: &mut Means<'_>) {
        let Stage::Asked(mut syn) = std::mem::replace(&mut self.stage, Stage::Answered) else { return };
        self.credit = window as usize;
        let here = IpListenEndpoint { addr: Some(self.place.remote.into()), port: self.place.remote_port };
        // Of a port that is not 0, and a socket that is new.
        let _ = self.socket().listen(here);
        self.receive(&mut syn, means);
    }

    /// Takes what the host sends; false where that is more than it has credit for.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> bool {
        if self.host_fin || self.taken - self.returned + bytes.len() as u64 > self.capacity as u64 {
            return false;
        }
        self.taken += bytes.len() as u64;
        if !self.early.is_empty() || self.socket().state() == State::SynReceived {
            self.early.extend_from_slice(bytes);
            return true;
        }
        // Nothing is sent to who has gone.
        let socket = self.socket();
        !socket.may_send() || socket.send_slice(bytes) == Ok(bytes.len())
    }

    pub(crate) fn credit(&mut self, amount: u32) {
        self.credit = self.credit.saturating_add(amount as usize);
    }

    /// The host sends no more.
    pub(crate) fn fin(&mut self) {
        self.host_fin = true;
        if self.early.is_empty() {
            self.socket().close();
        }
    }

    /// The host has ended it.
    pub(crate) fn reset(&mut self) {
        self.host_reset = true;
        self.socket().abort();
    }

    /// Carries what waits, both ways.
    pub(crate) fn serve(&mut self, means: &mut Means<'_>) -> Served {
        if matches!(self.stage, Stage::Asked(_)) {
            return if self.host_reset { Served::Over } else { Served::Waits };
        }
        let (id, capacity) = (self.id, self.capacity);
        let socket = self.sockets.get_mut::<Socket>(self.socket);
        if !self.early.is_empty() && socket.state() != State::SynReceived {
            let _ = socket.send_slice(&self.early);
            self.early = Vec::new();
            if self.host_fin {
                socket.close();
            }
        }
        // Before packets are sent, so that one of them tells the workload's end both what was taken and what there is room for.
        let mut stalled = false;
        while self.credit > 0 && socket.can_recv() {
            if means.out.waiting().len() >= MAX_WAITING {
                stalled = true;
                break;
            }
            let most = self.credit.min(MAX_PAYLOAD);
            let count = socket.recv(|bytes| {
                let count = bytes.len().min(most);
                means.out.data(id, &bytes[..count]);
                (count, count)
            });
            self.credit -= count.unwrap_or(0);
        }
        let left = self.taken - (socket.send_queue() + self.early.len()) as u64;
        // Less than the longest frame, so that for each of those there is credit once it has gone.
        if left - self.returned >= (capacity / 5) as u64 {
            means.out.credit(id, (left - self.returned) as usize);
            self.returned = left;
        }
        let mut port = Port { tun: means.tun, packet: None, scratch: means.scratch, mss: self.mss };
        for _ in 0..SEGMENTS {
            if means.iface.poll_egress(means.now, &mut port, &mut self.sockets) == PollResult::None {
                break;
            }
        }
        let state = self.sockets.get::<Socket>(self.socket).state();
        if self.is_over(state, means.out) {
            return Served::Over;
        }
        self.deadline = means.iface.poll_at(means.now, &self.sockets);
        if stalled { Served::Stalled } else { Served::Waits }
    }

    /// Goes by the state that the socket has come to; the host is told what it does not know.
    fn is_over(&mut self, state: State, out: &mut Outgoing) -> bool {
        if self.host_reset {
            return true;
        }
        match (&self.stage, state) {
            (Stage::Dialling, State::SynSent | State::SynReceived) | (Stage::Answered, State::SynReceived) => {
                return false;
            }
            (Stage::Dialling, State::Closed) => {
                out.refused(self.id, Refusal::Refused);
                return true;
            }
            (Stage::Dialling, _) => {
                self.stage = Stage::Open;
                out.accepted(self.id, self.capacity);
            }
            // A socket that listens again has had a RST for its answer.
            (Stage::Answered, State::Listen) => {
                out.reset(self.id);
                return true;
            }
            (Stage::Answered, _) => self.stage = Stage::Open,
            _ => {}
        }
        let has_sent_all = matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        if has_sent_all && !self.told_fin && self.sockets.get::<Socket>(self.socket).recv_queue() == 0 {
            self.told_fin = true;
            out.fin(self.id);
        }
        let is_done = self.told_fin && self.host_fin;
        if state == State::Closed && !is_done {
            out.reset(self.id);
        }
        // No packet is on its way any more that TIME-WAIT would be for.
        state == State::Closed || (state == State::TimeWait && is_done)
    }
}
