use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Limits, Result, Routes, gate::Gate};

/// After an error that is not of one connection (no file descriptors left): time for others to end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// Room for a request's line and headers; a longer head is answered 431 by the HTTP library.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Serves routes until `stop`, then finishes what has begun, and returns within the drain time.
pub async fn serve(
    listener: TcpListener,
    routes: impl Into<Routes>,
    limits: Limits,
    stop: CancellationToken,
) -> Result<()> {
    let address = listener.local_addr()?;
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let tasks = TaskTracker::new();
    let server = Arc::new(Server { gate: Gate::new(routes.into(), limits.clone()), http: http(&limits), limits, stop });
    while let Some(permit) = server.permit(&connections).await {
        let Some((stream, peer)) = server.accept(&listener).await else { break };
        tasks.spawn(server.clone().connection(stream, peer, permit));
    }
    drop(listener);
    tasks.close();
    tracing::debug!(%address, connections = tasks.len(), "finishing open connections");
    tasks.wait().await;
    Ok(())
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(HEAD_BYTES_MAX);
    // answers to pipelined requests go out in one write
    http.pipeline_flush(true);
    http
}

struct Server {
    gate: Arc<Gate>,
    http: http1::Builder,
    limits: Limits,
    stop: CancellationToken,
}

impl Server {
    /// Room for one more connection; none at a stop.
    async fn permit(&self, connections: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            permit = connections.clone().acquire_owned() => permit.ok(),
        }
    }

    /// The next connection; none at a stop. Errors are waited out: a server that ends because others hold all file
    /// descriptors helps nobody.
    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(connection) => return Some(connection),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection, trying again");
                    // waits for either, and the loop finds out for which
                    let _ = timeout(ACCEPT_BACKOFF, self.stop.cancelled()).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, _permit: OwnedSemaphorePermit) {
        // without it an answer can wait 40 ms for the client's delayed acknowledgement; a failure costs only that
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| self.gate.clone().answer(peer, request));
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                match timeout(self.limits.drain_timeout, connection).await {
                    Ok(result) => result,
                    Err(_) => return tracing::warn!(%peer, "a request did not finish in time for the stop"),
                }
            }
        };
        if let Err(error) = result {
            // a client that went away or sent no HTTP: its business
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
