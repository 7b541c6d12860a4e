//! Pages that stay as they are on the server: asked for as `text/event-stream`, the address of a page with a clock answers
//! with the page, and again whenever it has become another one.
//!
//! Each time the page is asked for as by a request, so that a stream shows nothing that its reader might not see at that
//! moment, and ends when a session does. What pages are made of is shared by all who look (`src/ops/desk/watch.rs`): a
//! second stream costs the store nothing, and while there is none, nothing is looked at.

use std::{future::Future, hash::Hasher as _, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderValue, Method, StatusCode,
        header::{ACCEPT_ENCODING, CONTENT_TYPE},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use siphasher::sip::SipHasher13;
use tokio::time::timeout;

use crate::{
    clock::Clock,
    web::{self, Events, Problem, Stopping, Streams},
};

/// Most pages that are followed at the same time: each is made once a second.
const STREAMS_MAX: usize = 100;
/// How often a page is looked at, and the part of the time that this may take at most.
const EVERY: Duration = Duration::from_secs(1);
const PART: u32 = 20;
/// How long a page may take: one that does not come is not what there is.
const PAGE_MAX: Duration = Duration::from_secs(10);
/// The longest page.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// What pages are followed with.
#[derive(Debug, Clone)]
pub struct Live {
    streams: Streams,
    pace: Clock,
}

impl Live {
    /// At most `max` streams, and a hundred.
    pub fn new(max: usize, pace: Clock) -> Self {
        Self { streams: Streams::new(max.min(STREAMS_MAX), pace.clone()), pace }
    }
}

/// A page as it was at one moment.
struct Page {
    html: String,
    /// Tells it from what it was.
    version: String,
}

/// Answers who wants events with a stream of the page, and all else as ever.
pub(super) async fn follow(State(live): State<Live>, stop: Stopping, request: Request, next: Next) -> Response {
    if request.method() != Method::GET || !web::accepts_events(request.headers()) {
        return next.run(request).await;
    }
    let (mut parts, _) = request.into_parts();
    parts.headers.remove(ACCEPT_ENCODING);
    let seen = web::last_event_id(&parts.headers);
    let ask = move || page_of(next.clone().run(Request::from_parts(parts.clone(), Body::empty())));
    match ask().await {
        Ok(page) => live.streams.open(stop, |events| tell(events, seen, page, ask, live.pace)).into_response(),
        Err(answer) => answer,
    }
}

/// Writes the page as often as it is another one, until it cannot be had: whoever asks for it then is told why.
async fn tell<F>(events: Events, mut seen: Option<String>, mut page: Page, ask: impl Fn() -> F, pace: Clock)
where
    F: Future<Output = Result<Page, Response>>,
{
    let mut took = Duration::ZERO;
    loop {
        if seen.as_ref() != Some(&page.version) {
            let html = serde_json::to_string(&page.html).expect("a text always serialises");
            if !events.send("change", Some(&page.version), &html) {
                return;
            }
            seen = Some(page.version);
        }
        pace.sleep(EVERY.max(took * PART)).await;
        let begun = pace.monotonic();
        let Ok(Ok(next)) = timeout(PAGE_MAX, ask()).await else { return };
        took = pace.monotonic().saturating_sub(begun);
        page = next;
    }
}

/// What an answer shows, or the answer, if it is no page that can be followed.
async fn page_of(answer: impl Future<Output = Response>) -> Result<Page, Response> {
    let answer = answer.await;
    let kind = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if answer.status() != StatusCode::OK || !kind.starts_with(b"text/html") {
        return Err(answer);
    }
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, PAGE_BYTES_MAX).await.map_err(|_| Problem::internal().into_response())?;
    let html = String::from_utf8_lossy(&bytes);
    match version(&html) {
        Some(version) => Ok(Page { version, html: html.into_owned() }),
        None => Err(Response::from_parts(parts, bytes.into())),
    }
}

/// Equal for pages that differ in nothing but the time on their clock. A page without one is not to be followed.
fn version(html: &str) -> Option<String> {
    let (before, clock) = html.split_once("<span id=\"clock\"")?;
    let (_, after) = clock.split_once("</span>")?;
    let mut hasher = SipHasher13::new();
    hasher.write(before.as_bytes());
    hasher.write(after.as_bytes());
    Some(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_alone_makes_no_other_page() {
        let page = |time: &str, text: &str| version(&format!("<p><span id=\"clock\">{time}</span> UTC</p>{text}"));
        assert_eq!(page("21:07:00", "1 order"), page("21:07:01", "1 order"));
        assert_ne!(page("21:07:00", "1 order"), page("21:07:00", "2 orders"));
        assert_eq!(version("<p>no clock</p>"), None);
    }
}
