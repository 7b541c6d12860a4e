//! `POST /orders`.

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, LOCATION},
    },
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    once,
    place::{Desk, Refusal, Wish},
};
use crate::{
    domain::{EmailAddress, Lang, OrderId, TraceParent},
    web::{FieldError, Problem},
};

/// The listener allows less; this bounds the router when something else serves it.
const BODY_BYTES_MAX: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    product: Cow<'a, str>,
    #[serde(borrow)]
    email: Cow<'a, str>,
    lang: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Accepted<'a> {
    orderid: u64,
    handle: String,
    track: &'a str,
}

pub(super) async fn place(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let start = desk.clock.monotonic();
    let response = match run(&desk, request).await {
        Ok(id) => accepted(&desk, id),
        Err(problem) => problem.into_response(),
    };
    desk.metrics.seconds.observe(desk.clock.monotonic().saturating_sub(start).as_secs_f64());
    response
}

async fn run(desk: &Arc<Desk>, request: Request) -> Result<OrderId, Problem> {
    let refuse = |refusal| {
        desk.count(refusal);
        problem(refusal, desk.reservation.as_secs() as u32)
    };
    if !desk.admission.is_open() {
        return Err(refuse(Refusal::Overloaded));
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Problem::malformed("the body cannot be read"))?;
    let trace = desk.traces.of(&parts.headers);
    let read = check_type(&parts.headers)
        .and_then(|()| once::key(&parts.headers))
        .and_then(|key| Ok((key, wish(desk, &bytes, trace)?)));
    let (key, wish) = read.inspect_err(|_| _ = desk.metrics.refused_invalid.inc())?;
    let placed = match key {
        None => desk.place(wish).await.inspect(|_| _ = desk.metrics.accepted_by_json.inc()),
        Some(key) => desk.clone().place_once(key, wish).await,
    };
    placed.map_err(refuse)
}

/// The same for a repeated request: nothing in it depends on when it is asked.
fn accepted(desk: &Desk, id: OrderId) -> Response {
    let handle = desk.handles.seal(id).to_string();
    let track = format!("{}/track/{handle}", desk.tracking_url);
    let location = HeaderValue::from_str(&track).expect("the address was checked at the start, handles are hex");
    let json = serde_json::to_vec(&Accepted { orderid: id.get(), handle, track: &track });
    let mut response = (StatusCode::ACCEPTED, json.expect("strings and numbers always serialise")).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(LOCATION, location);
    response
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::unsupported_type("application/json"))
}

fn wish(desk: &Desk, bytes: &Bytes, trace: Option<TraceParent>) -> Result<Wish, Problem> {
    let body: Body = serde_json::from_slice(bytes).map_err(|error| explain(bytes, &error))?;
    let mut errors = Vec::new();
    let product = desk.catalog.by_id(&body.product);
    if product.is_none() {
        errors.push(error("product", "no such product: GET /products?q= finds them"));
    }
    let email: Option<EmailAddress> = read("email", &body.email, &mut errors);
    let lang: Option<Lang> = body.lang.and_then(|lang| read("lang", &lang, &mut errors));
    match (product, email) {
        (Some((_, product)), Some(email)) if errors.is_empty() => {
            Ok(Wish { product: product.clone(), email, lang, trace })
        }
        _ => Err(Problem::invalid(errors)),
    }
}

fn read<T>(field: &'static str, text: &str, errors: &mut Vec<FieldError>) -> Option<T>
where
    T: std::str::FromStr<Err = crate::domain::Invalid>,
{
    text.parse().map_err(|invalid: T::Err| errors.push(error(field, invalid.0))).ok()
}

fn error(field: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> FieldError {
    FieldError { field: field.into(), detail: detail.into() }
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
    if !matches!(fields.get("lang"), None | Some(Value::Null | Value::String(_))) {
        errors.push(error("lang", "must be a string"));
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

fn problem(refusal: Refusal, reservation_s: u32) -> Problem {
    match refusal {
        Refusal::Overloaded => Problem::overloaded("the order was not taken; please try again"),
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
        Refusal::Mismatch => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "Idempotency-Key of another request",
            "this Idempotency-Key was used with another body; a new order needs a new key",
        ),
        Refusal::Internal => Problem::internal(),
    }
}
