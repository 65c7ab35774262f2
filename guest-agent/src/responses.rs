// SPDX-License-Identifier: Apache-2.0

//! What a RunProcess call answers, as the body of its HTTP/2 response. tonic would encode each message once more, to memory
//! that it takes for each, and that the budget for output would know nothing of.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tonic::Status;

use crate::chunk::message;
use crate::output::Outgoing;
use crate::proto::RunProcessResponse;

/// The messages, and then the status. Dropping it is how the host's cancellation shows.
#[derive(Debug)]
pub(crate) struct Responses {
    first: Option<Outgoing>,
    rest: mpsc::Receiver<Result<Outgoing, Status>>,
    ended: bool,
}

impl Responses {
    /// Waits for the first, so that it leaves together with the call's header: one packet less for each process.
    pub(crate) async fn begin(mut rest: mpsc::Receiver<Result<Outgoing, Status>>) -> Result<Self, Status> {
        let first = rest.recv().await.transpose()?;
        Ok(Self { first, rest, ended: false })
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
            Some(Ok(Outgoing::Output(bytes))) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Ok(Outgoing::Response(response))) => {
                let bytes = message(&RunProcessResponse { response: Some(response) });
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.ended = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

/// Carries the body of a call's response past tonic, in the response's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Past(Arc<Mutex<Option<Responses>>>);

impl Past {
    pub(crate) fn new(responses: Responses) -> Self {
        Self(Arc::new(Mutex::new(Some(responses))))
    }

    pub(crate) fn take(&self) -> Option<Responses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
