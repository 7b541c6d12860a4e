//! What the HTTP listeners share: the server with its limits, errors as problem details, and which
//! language and which kind of answer a request wants.
//!
//! [`serve`] owns everything that must hold whatever a handler does: connections, headers, bodies, requests and times
//! are bounded (`axum::serve` bounds none of them), a request beyond a bound is answered and not dropped, and a stop
//! finishes what has begun. Handlers see whole bodies of bounded size and the peer as axum's `ConnectInfo`.
//!
//! [`Streams`] are answers that go on, within bounds of their own.
//!
//! [`Guard`] keeps foreign web pages out, on every listener.
//!
//! Deliberately absent: TLS and HTTP/2, which a reverse proxy in front does better.

mod accept;
mod gate;
mod guard;
mod head;
mod language;
pub mod openapi;
mod problem;
mod rate;
mod request;
mod routes;
mod server;
mod stream;
mod turn;
mod wire;

use std::time::Duration;

pub use accept::{accepts_events, accepts_gzip, accepts_html};
pub use guard::{Guard, HostName, Origin, ParseName, cors, is_cross_origin, is_from_here, is_loopback_name};
pub use language::{LANG_COOKIE, language};
pub use problem::{FieldError, Problem, with_fallbacks};
pub use rate::{Limiter, ParseRate, Rate, network};
pub use request::{Fields, Stopping, bearer, client, cookie, is_tls, query_field, query_fields};
pub use routes::{Browser, Dress, Routes};
pub use server::serve;
pub use stream::{Events, Pieces, Streams, last_event_id, pour};

/// What can go wrong with a server; accepting and serving single connections never ends it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listening socket cannot be used.
    #[error("cannot serve on the listening socket")]
    Listener(#[from] std::io::Error),
}

/// Result with this module's error.
pub type Result<T> = std::result::Result<T, Error>;

/// The bounds of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at a time. For one more the one that idles longest is closed; if none idles, it waits.
    pub connections_max: usize,
    /// Most requests in handlers at a time; more are answered 503 with `Retry-After`.
    pub requests_max: usize,
    /// Longest body of a request in bytes; a longer one is answered 413.
    pub body_bytes_max: usize,
    /// Longest time for which a connection is kept without a request.
    pub idle_timeout: Duration,
    /// Longest time for a request's headers to come in, once they have begun to (else 408).
    pub header_timeout: Duration,
    /// Longest time for a request's body to come in (else 408), then for the handler to answer (else 503), and then for
    /// the client to take a part of the answer (else its connection is closed).
    pub request_timeout: Duration,
    /// At a stop, longest time for what has begun to finish.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            requests_max: 2_048,
            body_bytes_max: 16 << 10,
            idle_timeout: Duration::from_secs(75),
            header_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
