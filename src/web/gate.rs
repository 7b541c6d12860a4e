use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    http::{
        HeaderValue, Request, StatusCode,
        header::{CACHE_CONTROL, CONNECTION, ORIGIN, X_CONTENT_TYPE_OPTIONS},
    },
    response::Response,
};
use hyper::{body::Incoming, service::Service};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Browser, Limits, Problem, Routes, Stopping, accepts_html, head};
use crate::words;

/// What stands between the connections and the router: bounds, and the headers of every answer.
pub(super) struct Gate {
    routes: Routes,
    limits: Limits,
    stop: CancellationToken,
    running: AtomicUsize,
}

impl Gate {
    pub(super) fn new(routes: Routes, limits: Limits, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { routes, limits, stop, running: AtomicUsize::new(0) })
    }

    /// Answers one request; never fails, so a connection ends only by its peer, its time, or a stop.
    pub(super) async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response {
        let origin = request.headers().get(ORIGIN).cloned();
        let browser = accepts_html(request.headers()).then(|| {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            Browser { method, uri, headers: request.headers().clone() }
        });
        let answer = match self.read(peer, request).await {
            Ok(request) => match self.run(request).await {
                Ok(answer) => answer,
                Err(problem) => self.routes.refuse(origin, problem).await,
            },
            Err(problem) => {
                let mut answer = self.routes.refuse(origin, problem).await;
                // what of the request is still on its way is not the next one
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                answer
            }
        };
        finish(match browser {
            Some(browser) => self.routes.dress(&browser, answer),
            None => answer,
        })
    }

    /// The request as handlers see it: checked, and with its body.
    async fn read(&self, peer: SocketAddr, request: Request<Incoming>) -> Result<Request<Body>, Problem> {
        let (mut parts, mut incoming) = request.into_parts();
        head::check(&mut parts)?;
        let body = if incoming.is_end_stream() {
            Body::empty()
        } else {
            let read = read(&mut incoming, self.limits.body_bytes_max);
            Body::from(timeout(self.limits.request_timeout, read).await.map_err(|_| body_timeout())??)
        };
        parts.extensions.insert(ConnectInfo(peer));
        parts.extensions.insert(Stopping(self.stop.clone()));
        Ok(Request::from_parts(parts, body))
    }

    async fn run(&self, request: Request<Body>) -> Result<Response, Problem> {
        // only now: a slow sender holds a connection, but no place among the requests that run
        let _running = self.enter()?;
        let answer = self.routes.get().ok_or_else(starting)?.call(request);
        match timeout(self.limits.request_timeout, answer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(_) => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "timeout",
                "No answer in time",
                "the request took too long; what it asked for may or may not have been done",
            )
            .retry_after(2)),
        }
    }

    fn enter(&self) -> Result<Running<'_>, Problem> {
        let running = Running(&self.running);
        if self.running.fetch_add(1, Ordering::Relaxed) < self.limits.requests_max {
            return Ok(running); // else dropped, which counts it out again
        }
        Err(Problem::overloaded("too many requests run at this moment"))
    }
}

/// Counts a request out, also when its client is gone and it is dropped half-way.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The headers that every answer has.
pub(super) fn finish(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

async fn read(incoming: &mut Incoming, limit: usize) -> Result<Bytes, Problem> {
    if incoming.size_hint().lower() > limit as u64 {
        return Err(too_long(limit));
    }
    let mut whole = Bytes::new();
    let mut joined = Vec::new();
    while let Some(data) = next(incoming).await? {
        if whole.len() + joined.len() + data.len() > limit {
            return Err(too_long(limit));
        }
        if whole.is_empty() && joined.is_empty() {
            whole = data; // nearly always the only piece, passed on without a copy
        } else {
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { whole } else { joined.into() })
}

/// The next piece of data; trailers are passed over.
async fn next(incoming: &mut Incoming) -> Result<Option<Bytes>, Problem> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Problem::malformed("the body ended early or is not well-formed")),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

// In both languages, like what else meets the users of the old form.
fn starting() -> Problem {
    let detail = "El servicio está arrancando y aún no puede atender; inténtelo de nuevo en un momento.\n\
                  The service is starting and cannot do this yet; please try again in a moment.";
    Problem::unavailable(detail).shown_as("starting")
}

// In both languages, as these also meet the users of the old form.
fn too_long(limit: usize) -> Problem {
    let detail = words::both("api_too_long", &[("limit", &limit.to_string())]);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "Body too long", detail)
}

fn body_timeout() -> Problem {
    let detail = words::both("api_body_late", &[]);
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "No body in time", detail)
}
