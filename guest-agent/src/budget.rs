// SPDX-License-Identifier: Apache-2.0

//! Memory for output that was read from processes and of files, and has not left the machine yet; and for stdin and content
//! of files on its way to who has begun to read it and has no room for more. A host, or processes, that do not read would
//! otherwise have the agent hold some for each process and each call that uses files, which no limit of the workload covers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The most that is granted at once.
pub(crate) const GRANT_BYTES: usize = 64 << 10;
/// For all processes and calls together. It is counted by what is in it: a part of stdin of 16 KiB and more is a part of what
/// it was read from the connection into, and keeps all of that while its process has no room for it.
const BUDGET: usize = 4 << 20;
/// What a process may hold of which nothing is held, however little is left: whose host reads goes on, whatever others do. Of
/// files it is a message.
const FLOOR: usize = 4 << 10;
/// A process or call takes at most this part of what is left, so that a few that are not read cannot take everything.
const PART: usize = 4;

/// What all hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// The part of one process or call, which holds nothing yet.
    pub(crate) fn share(&self) -> Arc<Share> {
        Arc::new(Share { used: self.0.clone(), held: AtomicUsize::new(0), released: Notify::new() })
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one process or call holds.
#[derive(Debug)]
pub(crate) struct Share {
    used: Arc<AtomicUsize>,
    held: AtomicUsize,
    released: Notify,
}

impl Share {
    /// Waits until some bytes may be read, at most [`GRANT_BYTES`].
    pub(crate) async fn grant(self: &Arc<Self>) -> Grant {
        loop {
            let released = self.released.notified();
            let held = self.held.load(Ordering::Relaxed);
            if let Some(bytes) = allowance(held, self.used.load(Ordering::Relaxed)) {
                return self.hold(bytes);
            }
            // Its own: of others' it might wait for ever.
            released.await;
        }
    }

    /// Waits until so many bytes may be read, which cannot be sent in parts.
    pub(crate) async fn grant_whole(self: &Arc<Self>, bytes: usize) -> Grant {
        loop {
            let released = self.released.notified();
            let left = BUDGET.saturating_sub(self.used.load(Ordering::Relaxed));
            if self.held.load(Ordering::Relaxed) == 0 || bytes <= left / PART {
                return self.hold(bytes);
            }
            // Its own, as above.
            released.await;
        }
    }

    /// Holds what is there already, whatever is left; before more comes, see [`Self::is_exhausted`].
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Grant {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Grant { share: self.clone(), bytes }
    }

    /// Whether all together hold what they may.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= BUDGET
    }
}

/// How many bytes may be read of a process that holds `held`, when all hold `used`.
fn allowance(held: usize, used: usize) -> Option<usize> {
    let part = (BUDGET.saturating_sub(used) / PART).min(GRANT_BYTES);
    match held {
        _ if part >= FLOOR => Some(part),
        0 => Some(FLOOR),
        _ => None,
    }
}

/// Memory that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Grant {
    share: Arc<Share>,
    bytes: usize,
}

impl Grant {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is not needed.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.release(self.bytes - bytes);
        self.bytes = bytes;
    }

    fn release(&self, bytes: usize) {
        self.share.held.fetch_sub(bytes, Ordering::Relaxed);
        self.share.used.fetch_sub(bytes, Ordering::Relaxed);
        self.share.released.notify_waiters();
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// As fast as it can, without anything being given back.
    async fn hoard(share: &Arc<Share>) -> Vec<Grant> {
        let mut grants = Vec::new();
        loop {
            tokio::select! {
                biased;
                grant = share.grant() => grants.push(grant),
                () = std::future::ready(()) => return grants,
            }
        }
    }

    #[tokio::test]
    async fn who_is_not_read_takes_no_more_than_the_budget() {
        let budget = Budget::default();
        let shares: Vec<_> = (0..64).map(|_| budget.share()).collect();
        let mut hoards = Vec::new();
        for share in &shares {
            hoards.push(hoard(share).await);
        }
        assert!(budget.0.load(Ordering::Relaxed) <= BUDGET + 64 * FLOOR);
        drop(hoards);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn who_is_read_goes_on_when_the_budget_is_taken() {
        let budget = Budget::default();
        let hoarder = budget.share();
        let _hoard = hoard(&hoarder).await;
        let read = budget.share();
        for _ in 0..1000 {
            assert_eq!(read.grant().await.bytes(), FLOOR);
        }
    }

    #[tokio::test]
    async fn what_is_given_back_lets_its_own_process_go_on() {
        let budget = Budget::default();
        let share = budget.share();
        let mut hoard = hoard(&share).await;
        let waits = tokio::spawn({
            let share = share.clone();
            async move { share.grant().await.bytes() }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        hoard.truncate(1);
        assert_eq!(waits.await.unwrap(), GRANT_BYTES);
    }

    #[tokio::test]
    async fn what_is_held_anyway_counts() {
        let budget = Budget::default();
        let share = budget.share();
        assert!(!share.is_exhausted());
        let held = budget.share().hold(BUDGET);
        assert!(share.is_exhausted());
        assert_eq!(share.grant().await.bytes(), FLOOR);
        drop(held);
        assert!(!share.is_exhausted());
        assert_eq!(share.grant().await.bytes(), GRANT_BYTES);
    }

    #[tokio::test]
    async fn who_cannot_be_sent_in_parts_holds_one_whole_when_the_budget_is_taken() {
        const WHOLE: usize = 3 * GRANT_BYTES;
        let budget = Budget::default();
        let hoarder = budget.share();
        let hoard = hoard(&hoarder).await;
        let before = budget.used();
        let share = budget.share();
        for _ in 0..1000 {
            assert_eq!(share.grant_whole(WHOLE).await.bytes(), WHOLE);
        }
        let first = share.grant_whole(WHOLE).await;
        let second = tokio::spawn({
            let share = share.clone();
            async move { share.grant_whole(1).await.bytes() }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert_eq!(budget.used(), before + WHOLE);
        // Another's is no reason to wait for this one's.
        assert_eq!(budget.share().grant().await.bytes(), FLOOR);
        assert_eq!(budget.share().grant_whole(WHOLE).await.bytes(), WHOLE);
        drop(first);
        assert_eq!(second.await.unwrap(), 1);
        drop(hoard);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn who_is_not_read_takes_no_more_than_the_budget_in_wholes() {
        let budget = Budget::default();
        let shares: Vec<_> = (0..64).map(|_| budget.share()).collect();
        let mut held = Vec::new();
        for share in &shares {
            while let Ok(grant) = timeout(Duration::ZERO, share.grant_whole(GRANT_BYTES)).await {
                held.push(grant);
            }
        }
        assert!(budget.used() <= BUDGET + 64 * GRANT_BYTES);
        assert!(held.len() > 64, "nobody took more than one");
    }

    #[test]
    fn a_grant_keeps_what_it_needs() {
        let budget = Budget::default();
        let share = budget.share();
        share.held.store(100, Ordering::Relaxed);
        budget.0.store(100, Ordering::Relaxed);
        let mut grant = Grant { share: share.clone(), bytes: 100 };
        grant.shrink(7);
        assert_eq!((share.held.load(Ordering::Relaxed), budget.0.load(Ordering::Relaxed)), (7, 7));
    }
}
