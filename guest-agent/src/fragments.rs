// SPDX-License-Identifier: Apache-2.0

//! Packets that come in parts, put together again (RFC 791, section 3.2; RFC 8200, section 4.5).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::packets::Fragment;

/// Packets of which parts are missing. Of more, the oldest is given up.
const MAX_PACKETS: usize = 64;
/// What all parts that wait take together.
const MAX_BYTES: usize = 1 << 20;
/// After that, the rest of a packet is not expected any more.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST: usize = 65_535;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    target: IpAddr,
    protocol: u8,
    packet: u32,
}

#[derive(Debug)]
struct Partial {
    key: Key,
    since: Instant,
    bytes: Vec<u8>,
    /// What is there, in order, from byte to byte.
    parts: Vec<(usize, usize)>,
    length: Option<usize>,
}

/// Oldest first.
#[derive(Debug, Default)]
pub(crate) struct Fragments(Vec<Partial>);

impl Fragments {
    /// Takes a part; the whole where it was the last that was missing. Parts that overlap are no packet: nobody sends such
    /// who means well (RFC 5722).
    pub(crate) fn add(
        &mut self,
        target: IpAddr,
        protocol: u8,
        fragment: Fragment,
        bytes: &[u8],
        now: Instant,
    ) -> Option<Vec<u8>> {
        self.0.retain(|partial| now.duration_since(partial.since) < PATIENCE);
        let end = fragment.offset + bytes.len();
        // All but the last are multiples of eight bytes.
        if bytes.is_empty() || end > LONGEST || !(fragment.is_last || bytes.len() % 8 == 0) {
            return None;
        }
        let key = Key { target, protocol, packet: fragment.packet };
        let index = self.0.iter().position(|partial| partial.key == key).unwrap_or_else(|| {
            if self.0.len() == MAX_PACKETS {
                self.0.remove(0);
            }
            self.0.push(Partial { key, since: now, bytes: Vec::new(), parts: Vec::new(), length: None });
            self.0.len() - 1
        });
        let grows = end.saturating_sub(self.0[index].bytes.len());
        let held: usize = self.0.iter().map(|partial| partial.bytes.len()).sum();
        if held + grows > MAX_BYTES || !self.0[index].put(fragment, bytes) {
            self.0.remove(index);
            return None;
        }
        self.0[index].is_whole().then(|| self.0.remove(index).bytes)
    }
}

impl Partial {
    /// Whether it fits with what is there.
    fn put(&mut self, fragment: Fragment, bytes: &[u8]) -> bool {
        let (start, end) = (fragment.offset, fragment.offset + bytes.len());
        let at = self.parts.partition_point(|part| part.0 < start);
        let is_apart =
            (at == 0 || self.parts[at - 1].1 <= start) && self.parts.get(at).is_none_or(|next| end <= next.0);
        let ends_right = match self.length {
            Some(length) => !fragment.is_last && end <= length,
            None => !fragment.is_last || self.parts.last().is_none_or(|last| last.1 <= end),
        };
        if !is_apart || !ends_right {
            return false;
        }
        if fragment.is_last {
            self.length = Some(end);
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(bytes);
        // Neighbours become one, so that there are few.
        self.parts.insert(at, (start, end));
        if at + 1 < self.parts.len() && self.parts[at].1 == self.parts[at + 1].0 {
            self.parts[at].1 = self.parts.remove(at + 1).1;
        }
        if at > 0 && self.parts[at - 1].1 == self.parts[at].0 {
            self.parts[at - 1].1 = self.parts.remove(at).1;
        }
        true
    }

    fn is_whole(&self) -> bool {
        self.length.is_some_and(|length| self.parts == [(0, length)])
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn part(packet: u32, offset: usize, is_last: bool) -> Fragment {
        Fragment { packet, offset, is_last }
    }

    fn add(fragments: &mut Fragments, fragment: Fragment, bytes: &[u8]) -> Option<Vec<u8>> {
        fragments.add(Ipv4Addr::LOCALHOST.into(), 17, fragment, bytes, Instant::now())
    }

    #[test]
    fn parts_come_in_any_order() {
        let whole: Vec<u8> = (0..43).collect();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut fragments = Fragments::default();
            let mut results = order.iter().map(|&index| {
                let start = index * 16;
                let end = (start + 16).min(whole.len());
                add(&mut fragments, part(7, start, index == 2), &whole[start..end])
            });
            assert_eq!(
                (results.next(), results.next(), results.next()),
                (Some(None), Some(None), Some(Some(whole.clone())))
            );
            drop(results);
            assert!(fragments.0.is_empty());
        }
    }

    #[test]
    fn what_is_no_packet_is_given_up() {
        for (second, bytes) in
            [(part(1, 8, true), 16), (part(1, 16, false), 12), (part(1, 65_528, true), 16), (part(1, 16, true), 0)]
        {
            let mut fragments = Fragments::default();
            assert_eq!(add(&mut fragments, part(1, 0, false), &[0; 16]), None);
            assert_eq!(add(&mut fragments, second, &vec![0; bytes]), None, "{second:?}");
        }
        // A last part before what is there; one beyond the last; two that are the last.
        for (first, second) in [
            (part(1, 32, false), part(1, 16, true)),
            (part(1, 16, true), part(1, 32, false)),
            (part(1, 16, true), part(1, 0, true)),
        ] {
            let mut fragments = Fragments::default();
            assert_eq!(add(&mut fragments, first, &[0; 16]), None);
            assert_eq!(add(&mut fragments, second, &[0; 16]), None);
            assert!(fragments.0.is_empty(), "{first:?} {second:?}");
        }
    }

    #[test]
    fn what_waits_has_bounds() {
        let mut fragments = Fragments::default();
        for packet in 0..1000 {
            assert_eq!(add(&mut fragments, part(packet, 0, false), &[0; 8]), None);
        }
        assert_eq!(fragments.0.len(), MAX_PACKETS);
        assert_eq!(add(&mut fragments, part(999, 8, true), &[1]).map(|whole| whole.len()), Some(9));
        assert_eq!(add(&mut fragments, part(1, 8, true), &[1]), None);
        let mut fragments = Fragments::default();
        for packet in 0..64 {
            add(&mut fragments, part(packet, 65_000, false), &[0; 8]);
        }
        assert!(fragments.0.iter().map(|partial| partial.bytes.len()).sum::<usize>() <= MAX_BYTES);
    }

    #[test]
    fn the_rest_is_not_expected_for_ever() {
        let mut fragments = Fragments::default();
        let target = Ipv4Addr::LOCALHOST.into();
        let now = Instant::now();
        assert_eq!(fragments.add(target, 17, part(1, 0, false), &[0; 8], now), None);
        assert_eq!(fragments.add(target, 17, part(1, 8, true), &[0; 8], now + PATIENCE), None);
    }
}
