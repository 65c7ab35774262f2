// SPDX-License-Identifier: Apache-2.0

//! Output on its way to the host: read from the process into the memory that it leaves the machine from, behind the bytes
//! that go before it on the wire.

use std::cell::RefCell;
use std::mem::take;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint};
use prost::{Message, length_delimiter_len};

use crate::budget::{GRANT_BYTES, Grant, Share};

/// The largest HTTP/2 frame, where the host takes such (SETTINGS_MAX_FRAME_SIZE): each costs both sides about the same,
/// however much is in it, so a message of output is one. Each is one packet of the socket, which has 64 KiB at most: with
/// what is around it, its memory is one piece of 64 KiB where a kernel wants one piece (`io::Stream` goes on without).
const FRAME_BYTES: usize = 62 << 10;
/// What gRPC has before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
const TAG_BYTES: usize = 1;
/// The prefix, the field's tag, and its length in at most three bytes.
const HEADROOM: usize = PREFIX_BYTES + TAG_BYTES + 3;
/// The most that one read of output returns, and one message carries: it fills a frame.
pub(crate) const CHUNK_BYTES: usize = BUFFER_BYTES - HEADROOM;
const BUFFER_BYTES: usize = FRAME_BYTES;
const _: () = assert!(BUFFER_BYTES <= GRANT_BYTES);
/// Less than that is copied to memory of its own size.
const WORTH_KEEPING: usize = CHUNK_BYTES / 4;
/// Buffers that are kept for the next output.
const KEPT: usize = 8;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A field of RunProcessResponse.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    Stdout = 3,
    Stderr = 4,
}

/// Memory for a message of output.
pub(crate) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(crate) fn take() -> Self {
        let kept = FREE.with_borrow_mut(Vec::pop);
        Self(kept.unwrap_or_else(|| vec![0; BUFFER_BYTES].into()))
    }

    /// Where to read at most `limit` bytes to.
    pub(crate) fn room(&mut self, limit: usize) -> &mut [u8] {
        &mut self.0[HEADROOM..][..limit.min(CHUNK_BYTES)]
    }

    /// The gRPC message that carries the first `count` bytes. It holds the grant, of which it gives back what it does not
    /// need, until it is dropped.
    pub(crate) fn message(mut self, field: Field, count: usize, mut grant: Grant) -> Bytes {
        let end = HEADROOM + count;
        let start = self.write_header(field, count);
        if count < WORTH_KEEPING || grant.bytes() < BUFFER_BYTES {
            grant.shrink(count);
            let bytes: Box<[u8]> = self.0[start..end].into();
            return Bytes::from_owner(Held { bytes, _grant: grant });
        }
        grant.shrink(BUFFER_BYTES);
        Bytes::from_owner(Held { bytes: Part { buffer: self, start, end }, _grant: grant })
    }

    /// Writes what comes before the content, and returns where that begins.
    fn write_header(&mut self, field: Field, count: usize) -> usize {
        let length = length_delimiter_len(count);
        let start = HEADROOM - PREFIX_BYTES - TAG_BYTES - length;
        let mut header = &mut self.0[start..HEADROOM];
        header.put_u8(0);
        header.put_u32((TAG_BYTES + length + count) as u32);
        encode_key(field as u32, WireType::LengthDelimited, &mut header);
        encode_varint(count as u64, &mut header);
        start
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        FREE.with_borrow_mut(|free| {
            if free.len() < KEPT {
                free.push(take(&mut self.0));
            }
        });
    }
}

/// The bytes of a buffer that are a message.
struct Part {
    buffer: Buffer,
    start: usize,
    end: usize,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.0[self.start..self.end]
    }
}

/// A message, and the right to the memory that it takes.
struct Held<T> {
    bytes: T,
    _grant: Grant,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// Memory for a message that comes encoded, of a length that is known.
pub(crate) struct Encoded(Held<Box<[u8]>>);

impl Encoded {
    /// Waits until the share may hold it.
    pub(crate) async fn take(share: &Arc<Share>, length: usize) -> Self {
        let grant = share.grant_whole(PREFIX_BYTES + length).await;
        let mut bytes: Box<[u8]> = vec![0; PREFIX_BYTES + length].into();
        bytes[1..PREFIX_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
        Self(Held { bytes, _grant: grant })
    }

    /// Where the message is to be read to.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.0.bytes[PREFIX_BYTES..]
    }

    /// The message, as gRPC has it on the wire. It holds its memory until it is dropped.
    pub(crate) fn message(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

/// What a message of gRPC carries.
pub(crate) fn content(message: &Bytes) -> Bytes {
    message.slice(PREFIX_BYTES..)
}

/// The gRPC message of anything else.
pub(crate) fn message(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    bytes.put_u32(length as u32);
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::proto::RunProcessResponse;
    use crate::proto::run_process_response::Response;

    #[tokio::test]
    async fn output_is_the_message_that_it_would_be_encoded_to() {
        let share = Budget::default().share();
        for count in [1, 127, 128, WORTH_KEEPING - 1, WORTH_KEEPING, (1 << 14) - 1, 1 << 14, CHUNK_BYTES] {
            let content: Vec<u8> = (0..count).map(|index| index as u8).collect();
            for field in [Field::Stdout, Field::Stderr] {
                let mut buffer = Buffer::take();
                buffer.room(CHUNK_BYTES)[..count].copy_from_slice(&content);
                let bytes = Bytes::from(content.clone());
                let response = match field {
                    Field::Stdout => Response::Stdout(bytes),
                    Field::Stderr => Response::Stderr(bytes),
                };
                let expected = message(&RunProcessResponse { response: Some(response) });
                assert!(buffer.message(field, count, share.grant().await) == expected, "{count} of {field:?}");
                assert!(expected.len() <= BUFFER_BYTES);
            }
        }
    }

    #[tokio::test]
    async fn output_holds_its_memory_until_it_has_left() {
        let budget = Budget::default();
        let share = budget.share();
        for (count, held) in [(1, 1), (WORTH_KEEPING, BUFFER_BYTES), (CHUNK_BYTES, BUFFER_BYTES)] {
            let message = Buffer::take().message(Field::Stdout, count, share.grant().await);
            let part = message.slice(1..);
            drop(message);
            assert_eq!(budget.used(), held);
            drop(part);
            assert_eq!(budget.used(), 0);
        }
    }

    #[tokio::test]
    async fn output_holds_no_more_than_it_was_granted() {
        let budget = Budget::default();
        let share = budget.share();
        let mut grants = Vec::new();
        let grant = loop {
            match share.grant().await {
                grant if grant.bytes() < GRANT_BYTES => break grant,
                grant => grants.push(grant),
            }
        };
        let (granted, before) = (grant.bytes(), budget.used());
        let message = Buffer::take().message(Field::Stdout, granted, grant);
        assert_eq!(FREE.with_borrow(Vec::len), 1);
        assert_eq!(budget.used(), before);
        drop(message);
        assert_eq!(budget.used(), before - granted);
    }

    #[tokio::test]
    async fn what_comes_encoded_holds_its_memory_until_it_has_left() {
        let budget = Budget::default();
        let response = RunProcessResponse { response: Some(Response::Stdout(Bytes::from(vec![7; 100_000]))) };
        let (expected, encoded) = (message(&response), response.encode_to_vec());
        let mut whole = Encoded::take(&budget.share(), encoded.len()).await;
        whole.room().copy_from_slice(&encoded);
        let whole = whole.message();
        assert_eq!((&whole, content(&whole)), (&expected, Bytes::from(encoded)));
        assert_eq!(budget.used(), expected.len());
        let part = whole.slice(1..);
        drop(whole);
        assert_eq!(budget.used(), expected.len());
        drop(part);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn buffers_are_used_again_and_not_hoarded() {
        let buffers: Vec<_> = (0..2 * KEPT).map(|_| Buffer::take()).collect();
        drop(buffers);
        assert_eq!(FREE.with_borrow(Vec::len), KEPT);
        let _buffer = Buffer::take();
        assert_eq!(FREE.with_borrow(Vec::len), KEPT - 1);
    }
}
