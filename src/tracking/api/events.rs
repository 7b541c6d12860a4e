//! `GET /track/{handle}/events`: changes of an order as server-sent events. Each says the whole order as it is then, so
//! that whoever comes back with the last id hears of the latest change only.

use std::{ops::Range, time::Duration};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::Response,
};

use super::Api;
use crate::{
    domain::OrderId,
    env::Backoff,
    store::{
        ledger::MailStatus,
        orders::{HistoryEntry, OrderView},
    },
    tracking::{OrderJson, feed::Watcher, pages::version},
    web::{self, Events, Problem, Stopping},
};

/// How long a change can be missed that nothing tells of.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Pauses between looks at what becomes of mails, which no event tells.
const MAILS: Range<Duration> = Duration::from_millis(200)..Duration::from_secs(5);

/// The stream of one order; `?since=` and `Last-Event-ID` tell what the client has seen.
pub(super) async fn follow(
    State(api): State<Api>,
    Path(handle): Path<String>,
    stop: Stopping,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (view, _) = api.by_handle(&handle).await?;
    let seen = web::last_event_id(&headers).or_else(|| web::query_field(&uri, "since"));
    let (watcher, id) = (api.0.feed.watch(view.order.id), view.order.id);
    let streams = api.0.streams.clone();
    streams.open(stop, |events| Stream { api, id, watcher, seen, events }.run())
}

struct Stream {
    api: Api,
    id: OrderId,
    watcher: Watcher,
    /// The id of the last event.
    seen: Option<String>,
    events: Events,
}

impl Stream {
    /// Until the client reads too slowly, or nothing can change any more.
    async fn run(mut self) {
        let pace = self.api.0.env.pace.clone();
        let mut looks = Backoff::new(MAILS);
        loop {
            let mut wait = LOOK_EVERY;
            // without the store there is no news
            if let Ok(Some((view, history))) = self.api.0.store.order(self.id).await {
                if !self.tell(&view, &history).await {
                    return;
                }
                let waits_for_mail = history.iter().any(|entry| entry.mail.is_some_and(MailStatus::is_unsettled));
                if waits_for_mail {
                    wait = looks.pause();
                } else if view.closes().is_some() {
                    self.events.send("end", None, "");
                    return;
                }
            }
            tokio::select! {
                () = self.watcher.changed() => looks.reset(),
                () = pace.sleep(wait) => {}
            }
        }
    }

    /// Writes an event if there is something new; whether the client still takes what is written.
    async fn tell(&mut self, view: &OrderView, history: &[HistoryEntry]) -> bool {
        let version = version(view.seq, history);
        if self.seen.as_deref() == Some(&version) {
            return true;
        }
        let line = self.api.0.pages.line(view, history).await;
        let order = OrderJson::new(view, history).with_line(line);
        let order = serde_json::to_string(&order).expect("texts and numbers always serialise");
        self.seen = Some(version);
        self.events.send("change", self.seen.as_deref(), &order)
    }
}
