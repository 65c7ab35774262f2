// SPDX-License-Identifier: Apache-2.0

//! Pipes, terminals and the stream to the host without blocking.

use std::cell::RefCell;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread, read, retry_on_intr, write, writev};
use rustix::net::{Shutdown, shutdown};
use rustix::pipe::fcntl_setpipe_size;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// The most that one read returns.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// What a packet has at most where there is no memory for a larger one: with what is around it, 32 KiB.
const ALWAYS_FOUND: usize = 31 << 10;

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

    /// Reads at most [`CHUNK_BYTES`] without waiting: none when there is nothing yet, empty at the end.
    pub(crate) fn try_read(&self) -> Result<Option<Bytes>> {
        self.try_scratch(Bytes::copy_from_slice)
    }

    /// Reads without waiting, and returns how many bytes: none when there is nothing yet, 0 at the end.
    pub(crate) fn try_read_into(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        unless_blocked(self.0.try_io(Interest::READABLE, |fd| read_or_end(fd, buffer)))
    }

    /// The same, also where nobody has told yet that there is something: a read of a terminal waits for what is on its way
    /// through the kernel (tty_buffer_flush_work in n_tty_read).
    pub(crate) fn read_now_into(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        unless_blocked(read_or_end(self.0.get_ref(), buffer))
    }

    fn try_scratch<T>(&self, take: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        SCRATCH.with_borrow_mut(|scratch| Ok(self.try_read_into(scratch)?.map(|count| take(&scratch[..count]))))
    }

    /// Whether the other side has closed and nothing is left. A byte that is there instead is lost.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(read(&self.0, &mut [0]), Ok(0) | Err(Errno::IO))
    }

    /// Waits for bytes, and returns at most [`CHUNK_BYTES`]; empty at the end.
    pub(crate) async fn read(&self) -> Result<Bytes> {
        loop {
            self.readable().await?;
            if let Some(bytes) = self.try_read()? {
                return Ok(bytes);
            }
        }
    }

    /// Reads until the buffer is full; false where the other side closes before.
    pub(crate) async fn fill(&self, mut buffer: &mut [u8]) -> Result<bool> {
        while !buffer.is_empty() {
            self.readable().await?;
            match self.try_read_into(buffer)? {
                Some(0) => return Ok(false),
                Some(count) => buffer = &mut buffer[count..],
                None => {}
            }
        }
        Ok(true)
    }

    /// Waits for bytes, and drops at most [`CHUNK_BYTES`] of them; false at the end.
    pub(crate) async fn discard(&self) -> bool {
        loop {
            if self.readable().await.is_err() {
                return false;
            }
            match self.try_scratch(|bytes| !bytes.is_empty()) {
                Ok(None) => {}
                Ok(Some(more)) => return more,
                Err(_) => return false,
            }
        }
    }

    /// Waits until something can be written, or the reader is gone. What [`Self::write_all`] left is no sign of that: it does
    /// not try once more when all is written.
    pub(crate) async fn room(&self) -> Result<()> {
        loop {
            let mut ready = self.0.writable().await?;
            let attempt = ready.try_io(|fd| match has_room(fd.get_ref()) {
                true => Ok(()),
                false => Err(ErrorKind::WouldBlock.into()),
            });
            if let Ok(result) = attempt {
                return result;
            }
        }
    }

    /// Writes all, waiting for the reader as often as it takes.
    pub(crate) async fn write_all(&self, bytes: &[u8]) -> Result<()> {
        self.write_both(bytes, &[]).await
    }

    /// Writes all of the one and then of the other, as [`Self::write_all`] does.
    pub(crate) async fn write_both(&self, mut bytes: &[u8], mut more: &[u8]) -> Result<()> {
        while !bytes.is_empty() || !more.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|fd| Ok(writev(fd, &[IoSlice::new(bytes), IoSlice::new(more)])?)) {
                Ok(Ok(count)) => {
                    let of_first = count.min(bytes.len());
                    bytes = &bytes[of_first..];
                    more = &more[count - of_first..];
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }

    /// Gives a pipe room for so many bytes, where the kernel lets it; what is no pipe stays as it is.
    pub(crate) fn widen(&self, bytes: usize) {
        let _ = fcntl_setpipe_size(&self.0, bytes);
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

/// A stream socket for who takes one of tokio's. Those take a read that filled only a part of its buffer for the last one
/// before there is another event. A read from hv_sock returns the bytes of one of the host's packets, and where there are
/// more in the ring already, no event comes for them. So only a read that finds nothing waits here.
pub(crate) struct Stream(AsyncFd<OwnedFd>);

impl Stream {
    pub(crate) fn new(socket: OwnedFd) -> Result<Self> {
        ioctl_fionbio(&socket, true)?;
        // SAFETY: the value owns an open descriptor, which stays in it until it is dropped.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    fn poll_writing(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&OwnedFd, usize) -> rustix::io::Result<usize>,
    ) -> Poll<Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) = ready.try_io(|socket| Ok(in_one_piece(|limit| write(socket.get_ref(), limit))?)) {
                return Poll::Ready(result);
            }
        }
    }
}

/// Writes a packet. Linux 6.1, for one, wants memory for it in one piece (virtio_vsock_alloc_skb), which it may not have when
/// its free memory is in many: then less, for which it always finds some (PAGE_ALLOC_COSTLY_ORDER).
fn in_one_piece(write: impl Fn(usize) -> rustix::io::Result<usize>) -> rustix::io::Result<usize> {
    match retry_on_intr(|| write(usize::MAX)) {
        Err(Errno::NOMEM) => retry_on_intr(|| write(ALWAYS_FOUND)),
        result => result,
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let attempt = ready.try_io(|socket| {
                // SAFETY: nothing is written to it but what read(2) writes.
                let unfilled = unsafe { buffer.unfilled_mut() };
                Ok(retry_on_intr(|| read(socket, &mut *unfilled).map(|(filled, _)| filled.len()))?)
            });
            if let Ok(result) = attempt {
                return Poll::Ready(result.map(|count| {
                    // SAFETY: so many were written.
                    unsafe { buffer.assume_init(count) };
                    buffer.advance(count);
                }));
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.poll_writing(context, |socket, limit| write(socket, &bytes[..limit.min(bytes.len())]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.poll_writing(context, |socket, limit| match slices.iter().find(|slice| !slice.is_empty()) {
            Some(first) if limit < usize::MAX => write(socket, &first[..limit.min(first.len())]),
            _ => writev(socket, slices),
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(shutdown(&self.0, Shutdown::Write)?))
    }
}

fn read_or_end(fd: &OwnedFd, buffer: &mut [u8]) -> Result<usize> {
    match retry_on_intr(|| read(fd, &mut *buffer)) {
        // A terminal whose last process closed it.
        Err(Errno::IO) => Ok(0),
        result => Ok(result?),
    }
}

/// Whether a write would not wait: it would write something, or fail.
fn has_room(fd: &OwnedFd) -> bool {
    let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: the kernel reads and writes one pollfd, which lives across the call.
    unsafe { libc::poll(&raw mut polled, 1, 0) != 0 }
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn what_there_is_no_memory_for_is_written_in_parts() {
        let has_memory_for = |most| {
            in_one_piece(move |limit| match limit.min(62 << 10) {
                bytes if bytes > most => Err(Errno::NOMEM),
                bytes => Ok(bytes),
            })
        };
        assert_eq!(has_memory_for(64 << 10), Ok(62 << 10));
        assert_eq!(has_memory_for(32 << 10), Ok(31 << 10));
        assert_eq!(has_memory_for(0), Err(Errno::NOMEM));
    }

    #[tokio::test]
    async fn both_are_written_whole_wherever_a_write_ends_short() {
        // A pipe of a page has the first write end there: in the first, between both, in the second.
        const PAGE: usize = 4096;
        for (first, second) in [(PAGE + 1000, 2000), (3 * PAGE, 1), (PAGE, 500), (100, 2 * PAGE), (0, 2 * PAGE), (1, 1)]
        {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            let (reader, writer) = (NonBlocking::new(reader).unwrap(), NonBlocking::new(writer).unwrap());
            writer.widen(PAGE);
            let all: Vec<u8> = (0..first + second).map(|at| (at % 251) as u8).collect();
            let read = async {
                // Not before the pipe is full.
                while (reader.pending() as usize) < all.len().min(PAGE) {
                    tokio::task::yield_now().await;
                }
                let mut content = vec![0; all.len()];
                assert!(reader.fill(&mut content).await.unwrap());
                content
            };
            let (written, content) = tokio::join!(writer.write_both(&all[..first], &all[first..]), read);
            written.unwrap();
            assert!(content == all, "of {first} and {second} bytes came others");
            assert_eq!(reader.pending(), 0);
        }
    }

    #[tokio::test]
    async fn a_stream_of_packets_is_read_on_where_a_read_returns_one() {
        // As hv_sock: a read returns one packet, and all that are there are one event.
        let (host, guest) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let mut stream = Stream::new(guest).unwrap();
        for packet in [b"one  ", b"two  ", b"three"] {
            write(&host, packet).unwrap();
        }
        let mut all = Vec::new();
        for _ in 0..3 {
            let mut space = [0; 64];
            let mut buffer = ReadBuf::new(&mut space);
            let read = poll_fn(|context| Pin::new(&mut stream).poll_read(context, &mut buffer));
            timeout(Duration::from_secs(10), read).await.expect("no event, though there is more").unwrap();
            all.extend_from_slice(buffer.filled());
        }
        assert_eq!(all, b"one  two  three");
    }
}
