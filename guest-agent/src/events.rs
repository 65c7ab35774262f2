// SPDX-License-Identifier: Apache-2.0

//! What happened, for hosts that want to know. Nobody waits for one: the last events are kept, and a host that is too slow
//! for them is told how many it missed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::clock::boot_nanos;
use crate::proto::Event;
use crate::proto::event::Kind;

/// How many events are kept.
const KEPT: usize = 256;

/// The last events. Empty until somebody asks for them, so that those whom nobody wants cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Events {
    wanted: AtomicBool,
    ring: Mutex<Ring>,
    /// How many there have been.
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    /// When each happened, as [`boot_nanos`].
    events: VecDeque<(u64, Kind)>,
    /// How many came before the first of those.
    dropped: u64,
}

impl Events {
    /// Whether somebody has asked for events.
    pub(crate) fn are_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// From now on events are kept; true for the first who asks.
    pub(crate) fn want(&self) -> bool {
        !self.wanted.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn push(&self, kind: Kind) {
        if !self.are_wanted() {
            return;
        }
        let mut ring = self.lock();
        if ring.events.len() == KEPT {
            ring.events.pop_front();
            ring.dropped += 1;
        }
        ring.events.push_back((boot_nanos(), kind));
        let count = ring.dropped + ring.events.len() as u64;
        drop(ring);
        self.count.send_replace(count);
    }

    /// Reads events from now on.
    pub(crate) fn reader(&self) -> Reader {
        let mut count = self.count.subscribe();
        let next = *count.borrow_and_update();
        Reader { count, next }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where somebody is in the events.
#[derive(Debug)]
pub(crate) struct Reader {
    count: watch::Receiver<u64>,
    next: u64,
}

impl Reader {
    /// Waits for the next event, or for how many were missed.
    pub(crate) async fn next(&mut self, events: &Events) -> Event {
        // The sender is in `events`: it is not dropped.
        let _ = self.count.wait_for(|&count| count > self.next).await;
        let ring = events.lock();
        let now = boot_nanos();
        let lost = ring.dropped.saturating_sub(self.next);
        if lost > 0 {
            self.next = ring.dropped;
            let oldest = ring.events.front().map_or(now, |&(at, _)| at);
            return Event { age_nanos: now.saturating_sub(oldest), kind: Some(Kind::Lost(lost)) };
        }
        let (at, kind) = ring.events[(self.next - ring.dropped) as usize].clone();
        self.next += 1;
        Event { age_nanos: now.saturating_sub(at), kind: Some(kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: u64) -> Kind {
        Kind::TreeEnded(number)
    }

    #[tokio::test]
    async fn events_are_read_in_order_from_when_they_are_asked_for() {
        let events = Events::default();
        events.push(numbered(1));
        assert!(events.want() && !events.want());
        events.push(numbered(2));
        let mut reader = events.reader();
        events.push(numbered(3));
        events.push(numbered(4));
        for number in [3, 4] {
            assert_eq!(reader.next(&events).await.kind, Some(numbered(number)));
        }
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_how_many_were_missed() {
        let events = Events::default();
        events.want();
        let (mut slow, mut quick) = (events.reader(), events.reader());
        for number in 1..=KEPT as u64 + 10 {
            events.push(numbered(number));
            assert_eq!(quick.next(&events).await.kind, Some(numbered(number)));
        }
        assert_eq!(slow.next(&events).await.kind, Some(Kind::Lost(10)));
        for number in 11..=KEPT as u64 + 10 {
            assert_eq!(slow.next(&events).await.kind, Some(numbered(number)));
        }
        events.push(numbered(0));
        assert_eq!(slow.next(&events).await.kind, Some(numbered(0)));
    }

    #[tokio::test]
    async fn a_reader_waits_for_the_next() {
        let events = Events::default();
        events.want();
        let mut reader = events.reader();
        let (event, ()) = tokio::join!(reader.next(&events), async {
            tokio::task::yield_now().await;
            events.push(numbered(7));
        });
        assert_eq!(event.kind, Some(numbered(7)));
    }
}
