// SPDX-License-Identifier: Apache-2.0

//! HTTP/2 on the stream to the host.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::codegen::Service;

use crate::io::NonBlocking;
use crate::proto::agent_server::AgentServer;
use crate::service::{Agent, MAX_PROCESSES};

/// Calls at a time: one for each process, and room for those that signal, resize and shut down, so that processes cannot
/// lock them out.
const MAX_STREAMS: u32 = MAX_PROCESSES as u32 + 64;
/// Unread stdin that the agent holds for a process. A vsock round trip is shorter than the time to fill it.
const STREAM_WINDOW: u32 = 64 << 10;
/// Every stream's window together, so that processes which do not read their stdin cannot block other calls.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW + (1 << 20);
/// The largest message: arguments and environment have no more room than that in execve(2) either (ARG_MAX).
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// How long the host may take to close its side after Shutdown was answered.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves the host until it has its answer to Shutdown, or is gone. What still runs is to end with the caller.
pub async fn serve(agent: &Agent, stream: UnixStream) -> std::io::Result<()> {
    let kept = stream.try_clone()?;
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let service = AgentServer::new(agent.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
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
                service_fn(move |request: Request<Incoming>| service.clone().call(request))
            )
    );
    tokio::select! {
        // However it ended: there is no other host.
        _ = connection.as_mut() => {}
        () = agent.shut_down() => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(FAREWELL, connection).await;
            // The last bytes may still be in this machine; the host closes when it has them.
            let kept = NonBlocking::new(kept.into())?;
            let _ = timeout(FAREWELL, async { while kept.read().await.is_ok_and(|bytes| !bytes.is_empty()) {} }).await;
        }
    }
    Ok(())
}

/// Runs a connection's streams on the current runtime.
#[derive(Clone)]
struct Tasks;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}
