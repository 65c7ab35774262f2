// SPDX-License-Identifier: Apache-2.0

//! What RunProcess and UseFiles calls answer, as the body of their HTTP/2 response. tonic would encode each message once
//! more, to memory that it takes for each, and that the budget for output would know nothing of. And [`Past`], which
//! carries such a body, or a request's (`requests`), past tonic.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tonic::Status;

/// Messages on their way to the host, as gRPC has them on the wire; each holds its memory.
pub(crate) type Sender = mpsc::Sender<Result<Bytes, Status>>;
pub(crate) type Receiver = mpsc::Receiver<Result<Bytes, Status>>;

/// The messages, and then the status. Dropping it is how the host's cancellation shows.
#[derive(Debug)]
pub(crate) struct Responses {
    first: Option<Bytes>,
    rest: Receiver,
    ended: bool,
}

impl Responses {
    /// Waits for the first, so that it leaves together with the call's header: one packet less for each process.
    pub(crate) async fn begin(mut rest: Receiver) -> Result<Self, Status> {
        let first = rest.recv().await.transpose()?;
        Ok(Self { first, rest, ended: false })
    }

    /// The call's header leaves at once, for the host may wait for it before it says more.
    pub(crate) fn new(rest: Receiver) -> Self {
        Self { first: None, rest, ended: false }
    }
}

impl Body for Responses {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(self.rest.poll_recv(context)),
        };
        let status = match next {
            Some(Ok(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.ended = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

/// Carries the body of a call's request or response past tonic, in the extensions of that.
#[derive(Debug)]
pub(crate) struct Past<T>(Arc<Mutex<Option<T>>>);

impl<T> Past<T> {
    pub(crate) fn new(body: T) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.content().take()
    }

    fn content(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Past<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The body for tonic, unless it was taken: then nothing.
impl<T: Body + Unpin> Body for Past<T> {
    type Data = T::Data;
    type Error = T::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut *self.content() {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }
}
