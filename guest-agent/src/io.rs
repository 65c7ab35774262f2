// SPDX-License-Identifier: Apache-2.0

//! Pipes and terminals without blocking.

use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread, read, write};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most that one read returns, and one message carries.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

thread_local! {
    // One for all: what was read is copied out at its own size, so that a quiet pipe holds no memory.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK_BYTES].into());
}

/// The agent's end of a pipe, or the master side of a terminal.
#[derive(Debug)]
pub(crate) struct NonBlocking(AsyncFd<OwnedFd>);

impl NonBlocking {
    pub(crate) fn new(fd: OwnedFd) -> Result<Self> {
        ioctl_fionbio(&fd, true)?;
        // SAFETY: the value owns an open descriptor, which stays in it until it is dropped.
        Ok(Self(unsafe { AsyncFd::register(fd) }?))
    }

    /// Waits until something can be read, or the end.
    pub(crate) async fn readable(&self) -> Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Reads at most `limit` bytes, and at most [`CHUNK_BYTES`], without waiting: none when there is nothing yet, empty at
    /// the end.
    pub(crate) fn try_read(&self, limit: usize) -> Result<Option<Bytes>> {
        self.try_scratch(limit, Bytes::copy_from_slice)
    }

    /// The same, also where nobody has told yet that there is something: a read of a terminal waits for what is on its way
    /// through the kernel (tty_buffer_flush_work in n_tty_read).
    pub(crate) fn read_now(&self, limit: usize) -> Result<Option<Bytes>> {
        unless_blocked(read_scratch(self.0.get_ref(), limit, Bytes::copy_from_slice))
    }

    fn try_scratch<T>(&self, limit: usize, take: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        unless_blocked(self.0.try_io(Interest::READABLE, |fd| read_scratch(fd, limit, take)))
    }

    /// Whether the other side has closed and nothing is left. A byte that is there instead is lost.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(read(&self.0, &mut [0]), Ok(0) | Err(Errno::IO))
    }

    /// Waits for bytes, and returns at most [`CHUNK_BYTES`]; empty at the end.
    pub(crate) async fn read(&self) -> Result<Bytes> {
        loop {
            self.readable().await?;
            if let Some(bytes) = self.try_read(CHUNK_BYTES)? {
                return Ok(bytes);
            }
        }
    }

    /// Waits for bytes, and drops at most [`CHUNK_BYTES`] of them; false at the end.
    pub(crate) async fn discard(&self) -> bool {
        loop {
            if self.readable().await.is_err() {
                return false;
            }
            match self.try_scratch(CHUNK_BYTES, |bytes| !bytes.is_empty()) {
                Ok(None) => {}
                Ok(Some(more)) => return more,
                Err(_) => return false,
            }
        }
    }

    /// Writes all, waiting for the reader as often as it takes.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|fd| Ok(write(fd, bytes)?)) {
                Ok(Ok(count)) => bytes = &bytes[count..],
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    /// How many bytes can be read now.
    pub(crate) fn pending(&self) -> u64 {
        ioctl_fionread(&self.0).unwrap_or(0)
    }

    /// Reads until `limit` bytes are exceeded or the other side closes.
    pub(crate) async fn read_to_end(&self, limit: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let bytes = self.read().await?;
            if bytes.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(&bytes);
            if all.len() > limit {
                return Err(Error::from(ErrorKind::InvalidData));
            }
        }
    }
}

fn read_scratch<T>(fd: &OwnedFd, limit: usize, take: impl FnOnce(&[u8]) -> T) -> Result<T> {
    SCRATCH.with_borrow_mut(|scratch| {
        let limit = limit.min(CHUNK_BYTES);
        loop {
            match read(fd, &mut scratch[..limit]) {
                Ok(count) => return Ok(take(&scratch[..count])),
                // A terminal whose last process closed it.
                Err(Errno::IO) => return Ok(take(&[])),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    })
}

fn unless_blocked<T>(attempt: Result<T>) -> Result<Option<T>> {
    match attempt {
        Ok(taken) => Ok(Some(taken)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl AsFd for NonBlocking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
