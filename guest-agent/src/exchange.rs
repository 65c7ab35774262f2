// SPDX-License-Identifier: Apache-2.0

//! What a worker and the agent say to each other: UseFiles's messages, each behind its length, on two pipes.

use std::mem::take;

use bytes::Bytes;
use prost::Message;
use rustix::io::{Errno, read, write};
use rustix::stdio::{stdin, stdout};

use crate::proto::file_part::Part;
use crate::proto::file_request::Request;
use crate::proto::file_response::Response;
use crate::proto::{FileEntry, FileMap, FilePart, FileParts, FileRequest, FileResponse};

/// The longest message between the agent and a worker, and of UseFiles.
pub(crate) const MAX_FRAME_BYTES: usize = 192 << 10;
/// What is read of a file at once, and sent with one message.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// About what an entry takes beside its names and attributes.
const ENTRY_BYTES: usize = 64;

/// Why an operation was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) doing: &'static str,
    pub(crate) path: Vec<u8>,
    pub(crate) errno: Errno,
}

impl Failure {
    pub(crate) fn new(doing: &'static str, path: &[u8], errno: Errno) -> Self {
        Self { doing, path: path.into(), errno }
    }

    /// Names the step that an error comes from.
    pub(crate) fn at(doing: &'static str, path: &[u8]) -> impl Fn(Errno) -> Self + use<> {
        let path = path.to_vec();
        move |errno| Self { doing, path: path.clone(), errno }
    }
}

/// What the host says, as the agent hands it on.
#[derive(Default)]
pub(crate) struct Requests {
    ended: bool,
}

impl Requests {
    pub(crate) fn next(&mut self) -> Result<Option<Request>, Failure> {
        let failed = Failure::at("reading the request", b"");
        let mut length = [0; 4];
        read_exact(&mut length).map_err(&failed)?;
        let length = u32::from_ne_bytes(length) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(failed(Errno::MSGSIZE));
        }
        let mut frame = vec![0; length];
        read_exact(&mut frame).map_err(&failed)?;
        let request = FileRequest::decode(Bytes::from(frame)).map_err(|_| failed(Errno::INVAL))?;
        Ok(request.request)
    }

    /// What comes next of the content; none when it is whole.
    pub(crate) fn parts(&mut self) -> Result<Option<Vec<FilePart>>, Failure> {
        if self.ended {
            return Ok(None);
        }
        match self.next()? {
            Some(Request::Parts(FileParts { parts })) => Ok(Some(parts)),
            Some(Request::End(_)) => {
                self.ended = true;
                Ok(None)
            }
            _ => Err(Failure::new("reading the request", b"", Errno::INVAL)),
        }
    }
}

/// What the worker answers: parts are gathered until they are worth a message.
#[derive(Default)]
pub(crate) struct Responses {
    parts: Vec<FilePart>,
    bytes: usize,
}

impl Responses {
    pub(crate) fn entry(&mut self, entry: FileEntry) -> Result<(), Failure> {
        let attributes = entry.extended_attributes.iter().map(|one| one.name.len() + one.value.len()).sum::<usize>();
        let bytes = ENTRY_BYTES + entry.path.len() + entry.link_target.len() + attributes;
        self.push(Part::Entry(entry), bytes)
    }

    /// Lengths of holes and data in turn.
    pub(crate) fn map(&mut self, runs: Vec<u64>) -> Result<(), Failure> {
        let bytes = ENTRY_BYTES + 10 * runs.len();
        self.push(Part::Map(FileMap { runs }), bytes)
    }

    fn push(&mut self, part: Part, bytes: usize) -> Result<(), Failure> {
        if self.bytes + bytes > CHUNK_BYTES {
            self.flush()?;
        }
        self.bytes += bytes;
        self.parts.push(FilePart { part: Some(part) });
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        match take(&mut self.parts) {
            parts if parts.is_empty() => Ok(()),
            parts => send(Response::Parts(FileParts { parts })),
        }
    }
}

/// Where a file's content goes, in order.
pub(crate) trait Content {
    fn data(&mut self, data: Bytes) -> Result<(), Failure>;

    fn hole(&mut self, bytes: u64) -> Result<(), Failure>;
}

impl Content for Responses {
    fn data(&mut self, data: Bytes) -> Result<(), Failure> {
        let bytes = data.len();
        self.push(Part::Data(data), bytes)
    }

    fn hole(&mut self, bytes: u64) -> Result<(), Failure> {
        self.push(Part::Hole(bytes), 16)
    }
}

pub(crate) fn send(response: Response) -> Result<(), Failure> {
    let response = FileResponse { response: Some(response) };
    let mut frame = Vec::with_capacity(4 + response.encoded_len());
    frame.extend_from_slice(&(response.encoded_len() as u32).to_ne_bytes());
    let failed = Failure::at("answering", b"");
    response.encode(&mut frame).map_err(|_| failed(Errno::NOMEM))?;
    let mut rest = &frame[..];
    while !rest.is_empty() {
        match write(stdout(), rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// ECANCELED at the end: who has nothing more to say says so.
fn read_exact(mut bytes: &mut [u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match read(stdin(), &mut *bytes) {
            Ok(0) => return Err(Errno::CANCELED),
            Ok(count) => bytes = &mut bytes[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
