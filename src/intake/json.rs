//! `POST /orders`.

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, LOCATION},
    },
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    idempotency::{self, Once},
    place::{OrderRequest, OrderService, Placed, Refusal},
    shares::Queue,
};
use crate::{
    domain::{EmailAddress, Invalid, Lang, TraceParent},
    web::{self, FieldError, Problem},
};

/// The listener allows less; this bounds the router when something else serves it.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// What is ordered, and by whom.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Order")]
pub(super) struct Body<'a> {
    /// The product, as `GET /products` calls it.
    #[serde(borrow)]
    #[schemars(example = &"1010")]
    product: Cow<'a, str>,
    /// Where mails about the order go.
    #[serde(borrow)]
    #[schemars(example = &"ana@example.org")]
    email: Cow<'a, str>,
    /// The customer's language: a tag, or several in order of preference. Whatever a shop front calls one: none is a reason to
    /// refuse an order.
    #[schemars(example = &"es")]
    lang: Option<Value>,
}

/// An order that is taken, and will not be lost.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Accepted")]
pub(super) struct Accepted<'a> {
    /// The order's number.
    #[schemars(example = 1)]
    orderid: u64,
    /// What opens the order to who knows it.
    #[schemars(example = &"974e8b36e1e372932a18cc4c7d46e37f")]
    handle: String,
    /// The address where it can be followed.
    track: &'a str,
}

pub(super) async fn place(State(service): State<Arc<OrderService>>, request: Request) -> Response {
    let start = service.clock.monotonic();
    let response = match run(&service, request).await {
        Ok(placed) => accepted(&service, &placed),
        Err(problem) => problem.into_response(),
    };
    service.metrics.seconds.observe(service.clock.monotonic().saturating_sub(start).as_secs_f64());
    response
}

async fn run(service: &Arc<OrderService>, request: Request) -> Result<Placed, Problem> {
    let refuse = |refusal| {
        service.count(refusal);
        problem(refusal, service.reservation.as_secs() as u32)
    };
    let invalid = |problem| {
        service.metrics.refused_invalid.inc();
        problem
    };
    let client = web::client(&request, service.rates.trusted_hops);
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Problem::malformed("the body cannot be read"))?;
    let trace = service.traces.of(&parts.headers);
    let read = check_type(&parts.headers)
        .and_then(|()| idempotency::key(&parts.headers))
        .and_then(|key| Ok((key, read(&bytes)?)));
    let (key, body) = read.map_err(invalid)?;
    let lang = body.lang.as_ref().map(tags).unwrap_or_default();
    // before anything is asked of the present: an answer that was given does not change
    let request = idempotency::hash(&body.product, &body.email, &lang);
    let once = key.map(|key| Once { key, request, accepted: service.metrics.accepted_by_json.clone() });
    if let Some(once) = &once
        && let Some(placed) = service.earlier(once, trace).await.map_err(refuse)?
    {
        return Ok(placed);
    }
    let order_request = order_request(service, &body, Lang::meant_by(&lang), trace).map_err(invalid)?;
    service.admit(client, &order_request.email).map_err(refuse)?;
    match once {
        Some(once) => service.clone().place_once(once, order_request).await.map_err(refuse),
        None => {
            let id = service.place(order_request).await.map_err(refuse)?;
            service.metrics.accepted_by_json.inc();
            Ok(Placed { id, track: None })
        }
    }
}

/// The same for a repeated request: nothing in it depends on when it is asked.
fn accepted(service: &OrderService, placed: &Placed) -> Response {
    let handle = service.handles.seal(placed.id).to_string();
    let track = service.address_of(placed);
    let location = HeaderValue::from_str(&track).expect("the address was checked at the start, handles are hex");
    let json = serde_json::to_vec(&Accepted { orderid: placed.id.get(), handle, track: &track });
    let mut response = (StatusCode::ACCEPTED, json.expect("strings and numbers always serialise")).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(LOCATION, location);
    response
}

/// Language tags as one text: a tag, or several in order of preference.
fn tags(lang: &Value) -> Cow<'_, str> {
    match lang {
        Value::String(tag) => tag.into(),
        Value::Array(tags) => tags.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",").into(),
        _ => "".into(),
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::unsupported_type("application/json"))
}

fn order_request(
    service: &OrderService,
    body: &Body,
    lang: Option<Lang>,
    trace: Option<TraceParent>,
) -> Result<OrderRequest, Problem> {
    let mut errors = Vec::new();
    let product = service.catalog.by_id(&body.product);
    if product.is_none() {
        errors.push(error("product", "no such product: GET /products?q= finds them"));
    }
    let email: Option<EmailAddress> =
        body.email.parse().map_err(|invalid: Invalid| errors.push(error("email", invalid.rule))).ok();
    match (product, email) {
        (Some((_, product)), Some(email)) => Ok(OrderRequest { product: product.clone(), email, lang, trace }),
        _ => Err(Problem::invalid(errors)),
    }
}

fn error(field: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> FieldError {
    FieldError { field: field.into(), detail: detail.into() }
}

/// A body's fields. serde would also take a list, as the fields in their order.
fn read(bytes: &[u8]) -> Result<Body<'_>, Problem> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::malformed("the body must be a JSON object with product and email"));
    }
    serde_json::from_slice(bytes).map_err(|error| explain(bytes, &error))
}

/// Why a body does not fit: reads it once more, without hurry, to name every field.
fn explain(bytes: &[u8], reason: &serde_json::Error) -> Problem {
    let fields: Map<String, Value> = match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Problem::malformed("the body must be a JSON object with product and email"),
        Err(error) => return Problem::malformed(format!("the body is not valid JSON: {error}")),
    };
    let mut errors = Vec::new();
    for name in ["product", "email"] {
        match fields.get(name) {
            None => errors.push(error(name, "must be there")),
            Some(Value::String(_)) => {}
            Some(_) => errors.push(error(name, "must be a string")),
        }
    }
    for name in fields.keys().filter(|name| !["product", "email", "lang"].contains(&name.as_str())) {
        let short: String = name.chars().take(64).collect();
        errors.push(error(short, "is not a field of an order: these are product, email and lang"));
    }
    if errors.is_empty() {
        // a field that is there twice, for one
        return Problem::malformed(format!("the body does not fit: {reason}"));
    }
    Problem::invalid(errors)
}

/// With what an order would have to wait for, and until when.
fn queued(problem: Problem, Queue { waiting, own, wait_s }: Queue) -> Problem {
    let problem = problem.with("waiting", waiting).with("waiting_yours", own).retry_after(wait_s.unwrap_or(1));
    match wait_s {
        Some(wait_s) => problem.with("wait_s", wait_s),
        None => problem,
    }
}

pub(super) fn problem(refusal: Refusal, reservation_s: u32) -> Problem {
    match refusal {
        Refusal::Overloaded => Problem::overloaded("the order was not taken; please try again"),
        Refusal::Full(queue) => queued(Problem::overloaded("too many orders wait; this one was not taken"), queue),
        Refusal::Share(queue) => {
            let detail = "as many orders of this client wait as may while others order, too; this one was not taken";
            let title = "Too many orders wait";
            queued(Problem::new(StatusCode::TOO_MANY_REQUESTS, "over-share", title, detail), queue)
        }
        Refusal::TooMany(seconds) => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many",
            "Too many orders",
            "there were too many orders for this address or from this client; this one was not taken",
        )
        .retry_after(seconds),
        Refusal::Unavailable => Problem::unavailable("the order cannot be stored now and was not taken"),
        Refusal::Unconfirmed => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unconfirmed",
            "Not confirmed",
            "the order may have been taken or not; a retry with the same Idempotency-Key is safe",
        )
        .retry_after(reservation_s),
        Refusal::Running => Problem::new(
            StatusCode::CONFLICT,
            "still-running",
            "Still running",
            "an earlier request with this Idempotency-Key still runs",
        )
        .retry_after(1),
        Refusal::Mismatch { .. } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "Idempotency-Key of another request",
            "this Idempotency-Key was used with another body; a new order needs a new key",
        ),
        Refusal::Internal => Problem::internal(),
    }
}
