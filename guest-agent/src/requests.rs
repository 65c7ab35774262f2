// SPDX-License-Identifier: Apache-2.0

//! What the host says in a RunProcess call, read from the body of its HTTP/2 request. tonic would copy each message to memory
//! of its own, twice. And it would have stdin wait for the rest of its message: HTTP/2's window is as large as two, but what
//! came before the first is in it, too, so a message may come as the end of one frame and the beginning of the next.
//! Where the host gives the call up, no end of stdin is seen, as it would be with tonic: the process is killed.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;

use crate::bounds::MAX_REQUEST_BYTES;
use crate::proto::RunProcessRequest;
use crate::proto::run_process_request::Request;

/// What one message of stdin carries at most.
pub(crate) const MAX_STDIN_BYTES: usize = 256 << 10;
/// What gRPC has before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The prefix, the field's tag, and its length as it is written.
const HEADER_BYTES: usize = PREFIX_BYTES + 1 + 3;
/// Of `stdin` in RunProcessRequest.
const STDIN: u32 = 2;
/// Less than that is copied to memory of its own size: it would keep all that came with it, also for other calls.
const WORTH_KEEPING: usize = 16 << 10;

/// The messages of a call. Those of stdin come in the parts that they came in, each as a message; its bytes are those that
/// came from the host.
pub(crate) struct Requests<B = Incoming> {
    body: B,
    /// What came and was not taken.
    bytes: Bytes,
    /// Bytes of stdin that are still to come of a message that was begun.
    left: usize,
}

impl<B: Body<Data = Bytes> + Unpin> Requests<B> {
    pub(crate) fn new(body: B) -> Self {
        Self { body, bytes: Bytes::new(), left: 0 }
    }

    /// Waits for the next message; none when the host has said all.
    pub(crate) async fn message(&mut self) -> Result<Option<RunProcessRequest>, Status> {
        loop {
            if let Some(stdin) = self.stdin() {
                let request = Some(Request::Stdin(stdin));
                return Ok(Some(RunProcessRequest { request, ..Default::default() }));
            }
            if self.left == 0
                && let Some(message) = take(&mut self.bytes)?
            {
                let message = RunProcessRequest::decode(alone(message));
                return message.map(Some).map_err(|error| Status::internal(error.to_string()));
            }
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                Some(Ok(frame)) => self.add(frame),
                Some(Err(_)) => return Err(Status::cancelled("the host gave the call up")),
                None if self.bytes.is_empty() && self.left == 0 => return Ok(None),
                None => return Err(Status::internal("the last message is cut off")),
            }
        }
    }

    /// What is there already of stdin, of one message, where that is next.
    pub(crate) fn stdin(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            let (header, count) = stdin_header(&self.bytes)?;
            drop(self.bytes.split_to(header));
            self.left = count;
        }
        if self.bytes.is_empty() {
            return None;
        }
        let part = self.bytes.split_to(self.left.min(self.bytes.len()));
        self.left -= part.len();
        Some(alone(part))
    }

    fn add(&mut self, frame: Frame<Bytes>) {
        // Trailers say nothing here.
        let Ok(mut data) = frame.into_data() else { return };
        if self.bytes.is_empty() {
            self.bytes = data;
        } else if let Some((header, count)) = header_of_both(&self.bytes, &data) {
            drop(data.split_to(header - self.bytes.len()));
            self.bytes = data;
            self.left = count;
        } else {
            let mut bytes = BytesMut::from(std::mem::take(&mut self.bytes));
            bytes.extend_from_slice(&data);
            self.bytes = bytes.freeze();
        }
    }
}

fn alone(bytes: Bytes) -> Bytes {
    if bytes.len() < WORTH_KEEPING { Bytes::copy_from_slice(&bytes) } else { bytes }
}

/// What [`stdin_header`] says where a frame ended in the header: the next is not to be copied for its sake.
fn header_of_both(begun: &[u8], next: &[u8]) -> Option<(usize, usize)> {
    let mut header = [0; HEADER_BYTES];
    let (first, rest) = header.split_at_mut_checked(begun.len())?;
    first.copy_from_slice(begun);
    let count = rest.len().min(next.len());
    rest[..count].copy_from_slice(&next[..count]);
    stdin_header(&header[..begun.len() + count])
}

/// How many bytes are before the content of a message of nothing but stdin, and how many are in it. None for all others, for
/// one without content or with more than it may have, and where that does not show yet.
fn stdin_header(bytes: &[u8]) -> Option<(usize, usize)> {
    let (&[0, ref length @ ..], content) = bytes.split_first_chunk::<PREFIX_BYTES>()? else { return None };
    let mut rest = content;
    if !matches!(decode_key(&mut rest), Ok((STDIN, WireType::LengthDelimited))) {
        return None;
    }
    let count = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let header = content.len() - rest.len();
    let is_all = (1..=MAX_STDIN_BYTES).contains(&count) && header + count == u32::from_be_bytes(*length) as usize;
    is_all.then_some((PREFIX_BYTES + header, count))
}

/// Takes a message without its prefix; none when it is not all there.
fn take(bytes: &mut Bytes) -> Result<Option<Bytes>, Status> {
    let Some((&[compressed, ref length @ ..], content)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    // By no compression that the call named: with one, tonic has refused it.
    if compressed != 0 {
        return Err(Status::internal("a message is compressed, and the call does not say how"));
    }
    if length > MAX_REQUEST_BYTES {
        return Err(Status::out_of_range(format!("a message of {length} bytes: at most {MAX_REQUEST_BYTES}")));
    }
    if content.len() < length {
        return Ok(None);
    }
    // Where that is all, what it came in is not kept.
    drop(bytes.split_to(PREFIX_BYTES));
    Ok(Some(bytes.split_to(length)))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::{Context, Poll};

    use tonic::Code;

    use super::*;
    use crate::chunk;

    #[derive(Debug)]
    struct GivenUp;

    /// A body of these frames.
    struct Frames(VecDeque<Result<Frame<Bytes>, GivenUp>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = GivenUp;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    fn requests(frames: impl IntoIterator<Item = Bytes>) -> Requests<Frames> {
        Requests::new(Frames(frames.into_iter().map(|data| Ok(Frame::data(data))).collect()))
    }

    fn stdin(bytes: &[u8]) -> RunProcessRequest {
        RunProcessRequest { request: Some(Request::Stdin(bytes.to_vec().into())), ..Default::default() }
    }

    #[tokio::test]
    async fn messages_come_however_they_are_cut() {
        let sent = [stdin(b""), stdin(&[7; 300]), RunProcessRequest::default(), stdin(b"x"), stdin(&[8; 20])];
        let all: Vec<u8> = sent.iter().flat_map(|message| chunk::message(message).to_vec()).collect();
        for size in 1..=all.len() {
            let mut requests = requests(all.chunks(size).map(Bytes::copy_from_slice));
            let (mut others, mut content) = (0, Vec::new());
            while let Some(message) = requests.message().await.unwrap() {
                match message.request {
                    Some(Request::Stdin(bytes)) => content.extend_from_slice(&bytes),
                    other => {
                        assert_eq!((other, content.len()), (None, 300), "in pieces of {size}");
                        others += 1;
                    }
                }
            }
            assert_eq!((others, content), (1, [&[7; 300][..], b"x", &[8; 20]].concat()), "in pieces of {size}");
            assert_eq!(requests.message().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn stdin_does_not_wait_for_the_rest_of_its_message() {
        let (first, second) = (chunk::message(&stdin(&[7; 40_000])), chunk::message(&stdin(&[8; 40_000])));
        let both = Bytes::from([&first[..], &second[..]].concat());
        let mut requests = requests([both.slice(..60_000), both.slice(60_000..)]);
        let mut next = async || match requests.message().await.unwrap().unwrap().request {
            Some(Request::Stdin(bytes)) => bytes,
            other => panic!("{other:?}"),
        };
        assert_eq!(next().await, [7; 40_000][..]);
        let begun = next().await;
        assert_eq!(begun, [8; 60_000 - 40_000 - 2 * 9][..]);
        assert!(both.as_ptr_range().contains(&begun.as_ptr()), "it was copied");
        assert_eq!(next().await, [8; 40_000 - (60_000 - 40_000 - 2 * 9)][..]);
        let mut cut_off = super::tests::requests([first.slice(..30_000)]);
        assert!(cut_off.message().await.is_ok());
        assert_eq!(cut_off.message().await.unwrap_err().code(), Code::Internal);
    }

    #[tokio::test]
    async fn a_little_is_copied() {
        for (count, is_copied) in [(1, true), (WORTH_KEEPING - 1, true), (WORTH_KEEPING, false), (64 << 10, false)] {
            let frame = chunk::message(&stdin(&vec![7; count]));
            let bytes = requests([frame.clone()]).message().await.unwrap().unwrap();
            let Some(Request::Stdin(bytes)) = bytes.request else { panic!("{bytes:?}") };
            assert_eq!(!frame.as_ptr_range().contains(&bytes.as_ptr()), is_copied, "{count}");
        }
    }

    #[tokio::test]
    async fn more_than_stdin_may_have_comes_whole_to_be_refused() {
        let frame = chunk::message(&stdin(&vec![7; MAX_STDIN_BYTES + 1]));
        let mut requests = requests([frame.slice(..100_000), frame.slice(100_000..)]);
        let Some(Request::Stdin(bytes)) = requests.message().await.unwrap().unwrap().request else { panic!() };
        assert_eq!(bytes.len(), MAX_STDIN_BYTES + 1);
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        let refusal =
            async |frame: &[u8]| requests([Bytes::copy_from_slice(frame)]).message().await.unwrap_err().code();
        assert_eq!(refusal(&[0]).await, Code::Internal);
        assert_eq!(refusal(&[0, 0, 0, 0, 2, 8]).await, Code::Internal);
        assert_eq!(refusal(&[0, 0, 0, 0, 1, 0xff]).await, Code::Internal);
        assert_eq!(refusal(&[1, 0, 0, 0, 0]).await, Code::Internal);
        assert_eq!(refusal(&[0, 0xff, 0xff, 0xff, 0xff]).await, Code::OutOfRange);
        // Also where stdin came before it, of which a part was taken.
        for (refused, code) in [([1, 0, 0, 0, 0], Code::Internal), ([0, 0xff, 0xff, 0xff, 0xff], Code::OutOfRange)] {
            let all = Bytes::from([&chunk::message(&stdin(&[7; 100]))[..], &refused].concat());
            let mut requests = requests([all.slice(..50), all.slice(50..)]);
            let mut taken = 0;
            let refusal = loop {
                match requests.message().await {
                    Ok(Some(RunProcessRequest { request: Some(Request::Stdin(bytes)), .. })) => taken += bytes.len(),
                    Ok(other) => panic!("{other:?}"),
                    Err(refusal) => break refusal,
                }
            };
            assert_eq!((taken, refusal.code()), (100, code));
        }
    }

    #[tokio::test]
    async fn a_header_that_a_frame_ends_in_has_nothing_copied() {
        let message = chunk::message(&stdin(&[7; 64 << 10]));
        let header = message.len() - (64 << 10);
        for at in 1..=header {
            let rest = Bytes::copy_from_slice(&message[at..]);
            let mut requests = requests([message.slice(..at), rest.clone()]);
            let Some(Request::Stdin(bytes)) = requests.message().await.unwrap().unwrap().request else { panic!() };
            assert_eq!(bytes, [7; 64 << 10][..], "{at}");
            assert_eq!(bytes.as_ptr(), rest[header - at..].as_ptr(), "after {at} bytes it was copied");
            assert_eq!(requests.message().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn padding_is_dropped() {
        let padded = RunProcessRequest { padding: vec![0; 1000].into(), ..stdin(b"x") };
        let message = chunk::message(&padded);
        for frames in [vec![message.clone()], vec![message.slice(..8), message.slice(8..)]] {
            let mut requests = requests(frames);
            assert_eq!(requests.message().await.unwrap().unwrap().request, stdin(b"x").request);
            assert_eq!(requests.message().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn trailers_say_nothing() {
        let message = chunk::message(&stdin(b"x"));
        let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(http::HeaderMap::new()))];
        let mut requests = Requests::new(Frames(frames.into()));
        assert_eq!(requests.message().await.unwrap(), Some(stdin(b"x")));
        assert_eq!(requests.message().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_is_no_end_of_stdin() {
        let message = chunk::message(&stdin(&[7; 100]));
        for came in [message.slice(..0), message.slice(..5), message.slice(..50), message] {
            let mut requests = Requests::new(Frames([Ok(Frame::data(came.clone())), Err(GivenUp)].into()));
            let refusal = loop {
                match requests.message().await {
                    Ok(Some(RunProcessRequest { request: Some(Request::Stdin(_)), .. })) => {}
                    Ok(other) => panic!("after {} bytes: {other:?}", came.len()),
                    Err(refusal) => break refusal,
                }
            };
            assert_eq!(refusal.code(), Code::Cancelled, "after {} bytes", came.len());
        }
    }
}
