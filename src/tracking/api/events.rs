//! `GET /track/{handle}/events`: changes of an order as server-sent events. Each says the whole order as it is then, so
//! that whoever comes back with the last id hears of the latest change only.

use std::{
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Path, State},
    http::{HeaderMap, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Api;
use crate::{
    domain::OrderId,
    env::Backoff,
    store::{
        ledger::MailStatus,
        orders::{HistoryEntry, OrderView},
    },
    tracking::{OrderJson, feed::Watcher, pages::version},
    web::{self, Problem, Stopping},
};

/// How often something is written, so that proxies keep the connection and clients that are gone are noticed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What is written and not taken: one more, and the client is dropped.
const UNREAD_MAX: usize = 4;
/// Pauses between looks at what becomes of mails, which no event tells.
const MAILS: Range<Duration> = Duration::from_millis(200)..Duration::from_secs(5);

/// The stream of one order; `?since=` and `Last-Event-ID` tell what the client has seen.
pub(super) async fn follow(
    State(api): State<Api>,
    Path(handle): Path<String>,
    Stopping(stop): Stopping,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (view, _) = api.by_handle(&handle).await?;
    let place = api.0.streams.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::overloaded("too many follow orders at this moment").retry_after(5))?;
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let seen = header.or_else(|| web::query_field(&uri, "since"));
    let (out, unread) = mpsc::channel(UNREAD_MAX);
    let stream = Stream { watcher: api.0.feed.watch(view.order.id), id: view.order.id, seen, api, out, _place: place };
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = stream.run() => {}
        }
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (X_ACCEL_BUFFERING, "no")];
    Ok((headers, Body::new(Events(unread))).into_response())
}

/// Some proxies collect what they pass on unless they are told not to.
const X_ACCEL_BUFFERING: axum::http::HeaderName = axum::http::HeaderName::from_static("x-accel-buffering");

struct Stream {
    api: Api,
    id: OrderId,
    watcher: Watcher,
    /// The id of the last event.
    seen: Option<String>,
    out: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// Until the client is gone or reads too slowly, or nothing can change any more.
    async fn run(mut self) {
        let pace = self.api.0.env.pace.clone();
        let mut looks = Backoff::new(MAILS);
        let mut is_written = self.write("retry: 2000\n\n".into());
        while is_written {
            let mut wait = HEARTBEAT;
            // without the store there is no news, and the next heartbeat looks again
            if let Ok(Some((view, history))) = self.api.0.store.order(self.id).await {
                is_written = self.tell(&view, &history).await;
                let waits_for_mail = history.iter().any(|entry| entry.mail.is_some_and(MailStatus::is_unsettled));
                if waits_for_mail {
                    wait = looks.pause();
                } else if view.closes().is_some() {
                    self.write("event: end\ndata:\n\n".into());
                    return;
                }
            }
            let out = self.out.clone();
            tokio::select! {
                () = out.closed() => return,
                () = self.watcher.changed() => looks.reset(),
                () = pace.sleep(wait) => is_written = is_written && self.write(":\n\n".into()),
            }
        }
    }

    /// Writes an event if there is something new.
    async fn tell(&mut self, view: &OrderView, history: &[HistoryEntry]) -> bool {
        let version = version(view.seq, history);
        if self.seen.as_deref() == Some(&version) {
            return true;
        }
        let line = self.api.0.pages.line(view, history).await;
        let order = OrderJson::new(view, history).with_line(line);
        let order = serde_json::to_string(&order).expect("texts and numbers always serialise");
        let event = format!("id: {version}\nevent: change\ndata: {order}\n\n");
        self.seen = Some(version);
        self.write(event)
    }

    /// Whether the client still takes what is written.
    fn write(&self, text: String) -> bool {
        self.out.try_send(text.into()).is_ok()
    }
}

/// The body: what is written, until the writer ends.
struct Events(mpsc::Receiver<Bytes>);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
