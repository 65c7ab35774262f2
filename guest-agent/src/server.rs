// SPDX-License-Identifier: Apache-2.0

//! HTTP/2 on the stream to the host.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::agent::{Agent, FILE_CALLS, MAX_PROCESSES};
use crate::bounds::MAX_REQUEST_BYTES;
use crate::budget::Grant;
use crate::io::{NonBlocking, Stream};
use crate::proto::agent_server::AgentServer;
use crate::service::{Calls, Charges};

/// Calls at a time: one for each process and each worker, and room for those that signal, resize and shut down, so that processes cannot
/// lock them out.
const MAX_STREAMS: u32 = (MAX_PROCESSES + FILE_CALLS) as u32 + 64;
/// Unread stdin that the agent holds for a process, besides one message. It is no part of the budget of `budget`: who waits
/// for others' stdin to be read might wait for ever, so each process has its own. Half of it is as slow again for a process
/// that reads; twice as much is no quicker.
const STREAM_WINDOW: u32 = 32 << 10;
/// Every stream's window together, so that processes which do not read their stdin cannot block other calls.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW + (1 << 20);
/// How long the host may take to close its side after Shutdown was answered.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves the host until it has its answer to Shutdown, or is gone. What still runs is to end with the caller.
pub async fn serve(agent: &Arc<Agent>, stream: UnixStream) -> std::io::Result<()> {
    let kept = stream.try_clone()?;
    let stream = Stream::new(stream.into())?;
    let service = AgentServer::new(Calls::new(agent.clone())).max_decoding_message_size(MAX_REQUEST_BYTES);
    let mut connection = pin!(
        http2::Builder::new(Tasks)
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // Cancelling many calls at once is the host's right, not an attack.
            .max_pending_accept_reset_streams(MAX_STREAMS as usize)
            .max_local_error_reset_streams(None)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request: Request<Incoming>| {
                    let answer = service.clone().call(request);
                    async move { answer.await.map(Charged::response) }
                })
            )
    );
    tokio::select! {
        // However it ended: there is no other host.
        _ = connection.as_mut() => {}
        () = agent.ended() => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(FAREWELL, connection).await;
            // The last bytes may still be in this machine; the host closes when it has them.
            let kept = NonBlocking::new(kept.into())?;
            let _ = timeout(FAREWELL, async { while kept.read().await.is_ok_and(|bytes| !bytes.is_empty()) {} }).await;
        }
    }
    Ok(())
}

/// A response's body whose frames hold the memory of the output in them until they are written to the stream.
struct Charged {
    body: Body,
    charges: Option<Charges>,
}

impl Charged {
    fn response(response: Response<Body>) -> Response<Self> {
        let charges = response.extensions().get().cloned();
        response.map(|body| Self { body, charges })
    }
}

impl hyper::body::Body for Charged {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // What it takes of the call's messages is in the frame that it returns.
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let grants = self.charges.as_ref().map(Charges::take).unwrap_or_default();
        Poll::Ready(
            frame.map(|frame| {
                frame.map(|frame| frame.map_data(|bytes| Bytes::from_owner(Held { bytes, _grants: grants })))
            }),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes, and the memory that they hold.
struct Held {
    bytes: Bytes,
    _grants: Vec<Grant>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Runs a connection's streams on the current runtime.
#[derive(Clone)]
struct Tasks;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}
