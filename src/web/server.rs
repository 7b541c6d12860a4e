use std::{
    convert::Infallible,
    future::{pending, ready},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{
    http::{Request, StatusCode},
    response::IntoResponse,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::join,
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Limits, Problem, Result, Routes,
    gate::{self, Gate},
    turn::Turn,
    wire::{End, Wire},
};
use crate::busy::Kind;

/// After an error that is not of one connection (no file descriptors left): time for others to end.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// Room for a request's line and headers; a longer head is answered 431.
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
    let gate = Gate::new(routes.into(), limits.clone(), stop.clone());
    let server = Arc::new(Server { gate, http: http(), limits, room: Arc::default(), stop });
    while let Some((stream, peer)) = server.accept(&listener).await {
        let Some(place) = server.place(&connections).await else { break };
        tasks.spawn(Kind::Http.count(server.clone().connection(stream, peer, place)));
    }
    drop(listener);
    tasks.close();
    tracing::debug!(%address, connections = tasks.len(), "finishing open connections");
    tasks.wait().await;
    Ok(())
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // the wire keeps the times; one buffer for head and body, and no more than one answer in it
    http.header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX).writev(false);
    // a client that has said all it has to say may end its side at once, and still wants its answer
    http.half_close(true);
    http
}

struct Server {
    gate: Arc<Gate>,
    http: http1::Builder,
    limits: Limits,
    /// Asks the connection that idles longest to end.
    room: Arc<Notify>,
    stop: CancellationToken,
}

impl Server {
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

    /// A place for one more connection, at the cost of an idle one if all are taken; none at a stop.
    async fn place(&self, connections: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = connections.clone().try_acquire_owned() {
            return Some(place);
        }
        self.room.notify_one(); // without an idle one, the next that would be
        let place = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            place = connections.clone().acquire_owned() => place.ok(),
        };
        // another may have ended meanwhile: takes the word back, if nobody has heard it
        pin!(self.room.notified()).as_mut().enable();
        place
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, _place: OwnedSemaphorePermit) {
        // without it an answer can wait 40 ms for the client's delayed acknowledgement; a failure costs only that
        let _ = stream.set_nodelay(true);
        let too_late = async {
            self.stop.cancelled().await;
            let _ = timeout(self.limits.drain_timeout, pending::<()>()).await;
        };
        tokio::select! {
            () = self.converse(stream, peer) => {}
            () = too_late => tracing::warn!(%peer, "a request did not finish before shutdown"),
        }
    }

    /// Answers requests until either side has enough, and closes.
    async fn converse(&self, stream: TcpStream, peer: SocketAddr) {
        let turn = Turn::default();
        let mut wire = Wire::new(stream, turn.clone(), &self.limits, self.room.clone());
        let service = service_fn(|request| {
            turn.begin();
            let (gate, turn) = (&self.gate, &turn);
            async move { Ok::<_, Infallible>(turn.ending(gate.answer(peer, request).await)) }
        });
        let mut was_idle = false;
        let result = {
            let mut connection = pin!(self.http.serve_connection(TokioIo::new(&mut wire), service));
            tokio::select! {
                result = connection.as_mut() => result,
                () = self.stop.cancelled() => {
                    was_idle = turn.is_clients();
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = result {
            // a client that went away or sent no HTTP: its business
            tracing::debug!(%peer, %error, "a connection ended early");
            if let Some(problem) = refusal(&error, &wire) {
                self.refuse(&mut wire, &turn, problem).await;
            }
        }
        if !was_idle {
            wire.close(self.limits.request_timeout).await;
        }
    }

    /// Answers what could not be read as a request: as if it had been the plainest one, so that the HTTP library writes
    /// this answer like any other.
    async fn refuse(&self, wire: &mut Wire, turn: &Turn, problem: Problem) {
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";
        let service = service_fn(|_: Request<Incoming>| {
            turn.begin();
            let answer = gate::finish(problem.clone().into_response());
            ready(Ok::<_, Infallible>(turn.ending(answer)))
        });
        let io = TokioIo::new(join(REQUEST, wire));
        // who does not take it, goes without
        let _ = self.http.serve_connection(io, service).await;
    }
}

/// The answer to what the HTTP library cannot read, for which it has only a status.
fn refusal(error: &hyper::Error, wire: &Wire) -> Option<Problem> {
    match wire.end() {
        Some(End::Idle | End::NotReading) => return None,
        Some(End::SlowHead) => {
            let detail = "the request's headers did not come in time";
            return Some(Problem::new(StatusCode::REQUEST_TIMEOUT, "head-timeout", "No headers in time", detail));
        }
        None => {}
    }
    if error.is_parse_version_h2() {
        let detail = "this server speaks HTTP/1.1";
        let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        return Some(Problem::new(status, "version", "HTTP version not supported", detail));
    }
    if error.is_incomplete_message() && wire.has_begun() {
        return Some(Problem::malformed("the request ended before its headers did"));
    }
    match wire.refused()? {
        431 => {
            let detail = format!("the request's line and headers may have {HEAD_BYTES_MAX} bytes and 100 lines");
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            Some(Problem::new(status, "head-too-long", "Headers too long", detail))
        }
        // the library's words name the part: method, URI, version, header
        _ => Some(Problem::malformed(format!("this is not HTTP: {error}"))),
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
