use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use hyper::{Request, Response, StatusCode};
use opentelemetry_http::{HttpClient, HttpError};
use rustls::ClientConfig;

use crate::{reach, request::Client};

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Posts batches by the client that the rest of Encargo has, and remembers what the exporter does not tell: why one was not taken.
#[derive(Clone)]
pub(super) struct Post {
    client: Client,
    failure: Arc<Mutex<Option<Failure>>>,
}

/// Why, in words, and whether the same may be taken later (OTLP/HTTP, "Failures").
type Failure = (String, bool);

impl Post {
    pub(super) fn new(tls: ClientConfig) -> Self {
        Self { client: Client::new(tls), failure: Arc::default() }
    }

    /// That of the last batch, if it was not taken.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.send(request.map(Body::from), ANSWER_MAX).await;
        let failure = match &answer {
            Ok(answer) => refused(answer.status()),
            Err(error) => Some((reach::explain(error.as_ref(), "telemetry.otlp", "telemetry.ca"), true)),
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        answer
    }
}

fn refused(status: StatusCode) -> Option<Failure> {
    const LATER: [u16; 4] = [429, 502, 503, 504];
    let hint = match status.as_u16() {
        200..=299 => return None,
        401 | 403 => ": does OTEL_EXPORTER_OTLP_HEADERS have what it wants to know?",
        404 | 405 => ": is telemetry.otlp the address of OTLP over HTTP (port 4318)?",
        _ => "",
    };
    Some((format!("it answers {status}{hint}"), LATER.contains(&status.as_u16())))
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}
