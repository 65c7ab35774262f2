// SPDX-License-Identifier: Apache-2.0

//! HTTP/2 on the stream to the host.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::Service;

use crate::agent::{Agent, FILE_CALLS, MAX_PROCESSES};
use crate::bounds::MAX_REQUEST_BYTES;
use crate::io::{NonBlocking, Stream};
use crate::proto::agent_server::AgentServer;
use crate::responses::{Past, Responses};
use crate::service::Calls;

/// Calls at a time: one for each process and each worker, and room for those that signal, resize and shut down, so that processes cannot
/// lock them out.
const MAX_STREAMS: u32 = (MAX_PROCESSES + FILE_CALLS) as u32 + 64;
/// What the host's messages of stdin have on the wire: 64 KiB, gRPC's prefix, a tag, a length.
const STDIN_MESSAGE_BYTES: u32 = (64 << 10) + 5 + 1 + 3;
/// The largest HTTP/2 frame that the host may send: such a message, since each frame costs both sides about the same. Its
/// bytes come in the buffers that the socket's driver has, so this costs no memory in one piece, as what is sent does
/// (`chunk`).
const RECEIVED_FRAME_BYTES: u32 = STDIN_MESSAGE_BYTES;
/// Unread stdin that the agent holds for a process that does not read. It is no part of the budget of `budget`: who waits for
/// others' stdin to be read might wait for ever, so each process has its own. What came is taken from it when the process's
/// pipe has room, and what the pipe then has no room for is part of the budget (`process::feed`). Two messages: one is under
/// way while the other is written. With one alone, host and guest wait for each other in turn; and `start`, which takes of
/// the first window, has each message come in two parts from then on. Calls that write files have the same window. It counts
/// bytes, and each frame that waits costs some 250 more: the host makes none much smaller than 1 KiB (`padding` of
/// RunProcessRequest, and parts of files together), so these are at most a quarter of it.
const STREAM_WINDOW: u32 = 2 * STDIN_MESSAGE_BYTES;
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
            .max_frame_size(RECEIVED_FRAME_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // Cancelling many calls at once is the host's right, not an attack.
            .max_pending_accept_reset_streams(MAX_STREAMS as usize)
            .max_local_error_reset_streams(None)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request: Request<Incoming>| {
                    let answer = service.clone().call(with_body_at_hand(request));
                    async move { answer.await.map(with_own_body) }
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

/// A request whose body a call may take from its extensions, and read itself.
fn with_body_at_hand(request: Request<Incoming>) -> Request<Past<Incoming>> {
    let (mut head, body) = request.into_parts();
    let body = Past::new(body);
    head.extensions.insert(body.clone());
    Request::from_parts(head, body)
}

/// A response whose body tonic has not made where a call has one of its own.
fn with_own_body(mut response: Response<Body>) -> Response<Body> {
    match response.extensions_mut().remove::<Past<Responses>>().and_then(|past| past.take()) {
        Some(responses) => response.map(|_| Body::new(responses)),
        None => response,
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
