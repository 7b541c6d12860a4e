//! What became of a command, as the client reads it.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    domain::{
        Closing, CommandId, CommandOutcome, Exits, Lang, OrderId, Timestamp, Waits, command::Verdict, flow::Party,
    },
    store::orders::OrderView,
    tracking::answer::{allowed, waits_word},
    web::{FieldError, Problem},
    words,
};

/// What became of a command, and where that leaves its order.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Outcome")]
pub(super) struct OutcomeJson<'a> {
    /// The order's number.
    orderid: u64,
    /// The command's name: the client's `Idempotency-Key`, or one that was given to it.
    command: &'a str,
    /// `done`; `repeated`: it had been done already; `refused`; `unknown`: the order is not in flight.
    result: &'a str,
    /// Why it was refused, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The state of the order then.
    estado: Option<&'a str>,
    /// Number of the order's latest event then.
    seq: Option<u8>,
    /// When its next state is due.
    next_at: Option<Timestamp>,
    /// What it waits for: its `timer`, a `command`, or to be let go on (`held`).
    waits: Option<&'static str>,
    /// How its life ended, if it did: `finished`, `cancelled`, `refused`.
    closes: Option<&'static str>,
    /// When somebody is expected to have moved it on.
    expect_at: Option<Timestamp>,
    /// What whoever asked may do to it now.
    allowed: Vec<&'static str>,
}

/// A command that is written down; `Location` says where to look what becomes of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Pending")]
pub(super) struct PendingJson<'a> {
    /// The order's number.
    orderid: u64,
    /// The command's name: the client's `Idempotency-Key`, or one that was given to it.
    command: &'a str,
    /// `pending`.
    result: &'static str,
}

/// 200: what was decided, whatever that is.
pub(super) fn told(outcome: &CommandOutcome, party: Party) -> Response {
    let (code, detail) = match &outcome.verdict {
        Verdict::Refused { code, detail } => (Some(&**code), Some(&**detail)),
        Verdict::Done | Verdict::Repeated | Verdict::Unknown => (None, None),
    };
    let status = outcome.status.as_ref();
    let (waits, exits) = status.map_or((Waits::Untold, Exits::default()), |it| (it.waits, it.exits));
    Json(OutcomeJson {
        orderid: outcome.order.get(),
        command: outcome.command.as_str(),
        result: outcome.verdict.name(),
        code,
        detail,
        estado: status.map(|status| &*status.estado),
        seq: status.map(|status| status.seq),
        next_at: waits.next_at(),
        waits: waits_word(waits),
        closes: waits.closes().map(Closing::name),
        expect_at: exits.expect_at,
        allowed: allowed(waits, exits, party),
    })
    .into_response()
}

/// 202: it is written down, and not known yet what becomes of it.
pub(super) fn pending(order: OrderId, command: &CommandId, place: &str) -> Response {
    let answer = PendingJson { orderid: order.get(), command: command.as_str(), result: "pending" };
    let mut response = (StatusCode::ACCEPTED, Json(answer)).into_response();
    let look = HeaderValue::from_str(place).expect("numbers, handles and ids of commands are plain");
    response.headers_mut().insert(header::LOCATION, look);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// 409: it changes nothing. Says where the order stands, and what would be allowed.
pub(super) fn refused(outcome: &CommandOutcome, party: Party) -> Problem {
    let (code, english) = match &outcome.verdict {
        Verdict::Refused { code, detail } => (&**code, &**detail),
        Verdict::Done | Verdict::Repeated | Verdict::Unknown => ("not-in-flight", "the order is not in flight"),
    };
    let status = outcome.status.as_ref();
    let closing = status.and_then(|status| status.waits.closes()).filter(|_| code == "closed");
    let key = closing.map_or_else(|| code.to_owned(), |closing| format!("{code}-{}", closing.name()));
    let detail = Lang::ALL.map(|lang| words::refusal(lang, &key, english)).join("\n");
    let can = status.map(|it| allowed(it.waits, it.exits, party)).unwrap_or_default();
    Problem::new(StatusCode::CONFLICT, "refused", "Not possible for this order", detail)
        .with("code", code)
        .with("orderid", outcome.order.get())
        .with("command", outcome.command.as_str())
        .with("estado", status.map(|status| &*status.estado))
        .with("allowed", can)
}

/// 422: a client's own name for a command stands for another one already.
pub(super) fn key_reused() -> Problem {
    let detail = words::both("api_key_reused", &[]);
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "Idempotency-Key of another command", detail)
}

/// 422: a customer is to say it twice.
pub(super) fn unconfirmed(view: &OrderView) -> Problem {
    let (product, state, id) = (&view.order.product, &view.estado, view.order.id);
    let what = format!("{}, {}", product.name, product.price.as_str());
    let places = [("id", &*id.to_string()), ("what", &what), ("state", state)];
    let detail = words::both("api_confirm", &places);
    let field = FieldError { field: "confirm".into(), detail: "must be true".into() };
    Problem::invalid(vec![field]).saying(detail).with("orderid", id.get()).with("estado", &*view.estado)
}
