//! What a customer sees of an order: where it stands, and whether to cancel it. Everything works without script.

mod flows;
mod journey;
mod qr;
mod values;

pub(super) use values::version;

use std::sync::Arc;

use axum::{
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use minijinja::{Value, context};

use self::{
    flows::Flows,
    journey::{Journey, When},
};
use crate::{
    clock::Clock,
    domain::{CommandId, Flow, Timestamp},
    eventlog::EventLog,
    pages::{Pages, Reader, Site},
    store::orders::{HistoryEntry, OrderView},
    tracking::answer::{LineJson, StepJson},
};

/// The pages about one order, and the way back to it.
pub(super) struct TrackingPages {
    pages: Pages,
    site: Site,
    flows: Flows,
    clock: Clock,
}

/// What became of a cancellation that the reader asked for, as far as the page has to tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancellation {
    /// It is written down, and nobody knows yet.
    Pending,
    /// It came too late.
    Refused,
}

/// Why a cancellation could not be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It was not written down.
    Failed,
    /// Nobody can say whether it was.
    Unsure,
}

/// An order, and who looks at it.
pub(super) struct Look<'a> {
    pub(super) reader: &'a Reader,
    /// Under which name.
    pub(super) handle: &'a str,
    pub(super) view: &'a OrderView,
    pub(super) history: &'a [HistoryEntry],
}

impl TrackingPages {
    /// `flows`: the topic of the flows' versions.
    pub(super) fn new(site: Site, log: Arc<dyn EventLog>, clock: Clock, flows: String) -> Self {
        let templates = [
            ("track.html", include_str!("templates/track.html")),
            ("cancel.html", include_str!("templates/cancel.html")),
            ("lookup.html", include_str!("templates/lookup.html")),
            ("lookup-sent.html", include_str!("templates/lookup-sent.html")),
        ];
        let pages = Pages::new(&site, &templates);
        Self { pages, site, flows: Flows::new(log, clock.clone(), flows), clock }
    }

    /// The page of an order.
    pub(super) async fn order(&self, look: &Look<'_>, cancellation: Option<Cancellation>) -> Response {
        let (flow, now) = (self.flow(look.view).await, self.clock.now());
        self.render(look, flow.as_deref(), cancellation, now)
    }

    fn render(
        &self,
        look: &Look<'_>,
        flow: Option<&Flow>,
        cancellation: Option<Cancellation>,
        now: Timestamp,
    ) -> Response {
        let journey = Journey::of(look.view, look.history, flow, now);
        let of_order = values::of_order(look, &journey, &self.site, now);
        let notes = values::notes(look, &journey, cancellation, &self.site, now);
        let link = self.site.tracking.as_ref().map(|site| format!("{site}/track/{}", look.handle));
        let values = context! { notes, qr => link.and_then(|link| qr::code(&link)), ..of_order };
        self.pages.render("track.html", look.reader, values)
    }

    /// The same states and times for programs.
    pub(super) async fn line(&self, view: &OrderView, history: &[HistoryEntry]) -> LineJson {
        let flow = self.flow(view).await;
        let journey = Journey::of(view, history, flow.as_deref(), self.clock.now());
        let steps = journey.steps.into_iter().map(|step| {
            let (at, expected_at) = match step.when {
                When::At(at) => (Some(at), None),
                When::About(at) => (None, Some(at)),
                When::AnyMoment | When::Unknown | When::Never => (None, None),
            };
            StepJson { estado: step.state, place: step.place.name(), at, expected_at }
        });
        LineJson { steps: steps.collect(), expected_end_at: journey.ends }
    }

    /// The question whether to cancel, under a name of its own so that it is done once however often it is sent; or the
    /// order itself, if that is no question any more.
    pub(super) async fn question(&self, look: &Look<'_>, key: &CommandId, trouble: Option<Trouble>) -> Response {
        let (flow, now) = (self.flow(look.view).await, self.clock.now());
        let journey = Journey::of(look.view, look.history, flow.as_deref(), now);
        if !journey.may_cancel {
            return to_order(look.handle, None);
        }
        let (status, trouble) = match trouble {
            None => (StatusCode::OK, None),
            Some(Trouble::Failed) => (StatusCode::SERVICE_UNAVAILABLE, Some("failed")),
            Some(Trouble::Unsure) => (StatusCode::SERVICE_UNAVAILABLE, Some("unsure")),
        };
        let until = values::cancel_until(&journey, look.reader.lang, &self.site, now);
        let values = context! {
            key => key.as_str(), trouble, cancel_until => until, zone => self.site.zone.iana_name().unwrap_or("UTC"),
            ..values::of_order(look, &journey, &self.site, now)
        };
        let mut page = self.pages.render("cancel.html", look.reader, values);
        if page.status() == StatusCode::OK {
            *page.status_mut() = status;
        }
        page
    }

    /// Where somebody asks for the link to their order.
    pub(super) fn lookup(&self, reader: &Reader) -> Response {
        self.pages.render("lookup.html", reader, context! {})
    }

    /// The answer to everybody who asked for a link.
    pub(super) fn lookup_sent(&self, reader: &Reader) -> Response {
        self.pages.render("lookup-sent.html", reader, context! {})
    }

    async fn flow(&self, view: &OrderView) -> Option<Arc<Flow>> {
        self.flows.get(view.flow.as_deref()?).await
    }
}

/// Leads back to an order, after a form: loading the page again sends nothing again.
pub(super) fn to_order(handle: &str, command: Option<&CommandId>) -> Response {
    let query = command.map(|command| format!("?command={command}")).unwrap_or_default();
    // relative, since a proxy may have put the listener below a path of its own
    let place = HeaderValue::from_str(&format!("../{handle}{query}")).expect("handles and ids of commands are plain");
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

/// What `values` names for the template.
fn millis(at: Timestamp) -> Value {
    at.as_millis().into()
}

#[cfg(test)]
mod tests;
