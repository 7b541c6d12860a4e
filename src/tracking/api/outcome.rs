//! What became of a command, as the client reads it.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use crate::{
    domain::{
        Closing, CommandId, CommandOutcome, Exits, OrderId, Timestamp, Waits,
        command::{OrderStatus, Verdict},
        flow::Party,
    },
    store::orders::OrderView,
    tracking::answer::{allowed, waits_word},
    web::{FieldError, Problem},
};

/// What became of a command, and where that leaves its order.
#[derive(Serialize)]
struct OutcomeJson<'a> {
    orderid: u64,
    command: &'a str,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    estado: Option<&'a str>,
    seq: Option<u8>,
    next_at: Option<Timestamp>,
    waits: Option<&'static str>,
    closes: Option<&'static str>,
    expect_at: Option<Timestamp>,
    allowed: Vec<&'static str>,
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
    let answer = serde_json::json!({ "orderid": order.get(), "command": command.as_str(), "result": "pending" });
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
    let detail = format!("{}\n{}", spanish(code, status), sentence(english));
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
    let detail = "Esta Idempotency-Key se usó con otro pedido o para otra cosa; una orden nueva necesita otra.\n\
                  This Idempotency-Key was used for another order or for something else; a new command needs a new one.";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "Idempotency-Key of another command", detail)
}

/// 422: a customer is to say it twice.
pub(super) fn unconfirmed(view: &OrderView) -> Problem {
    let (product, state, id) = (&view.order.product, &view.estado, view.order.id);
    let what = format!("{}, {}", product.name, product.price.as_str());
    let detail = format!(
        "Esto cancelaría el pedido {id} ({what}), que está en {state}. Para hacerlo, repita la petición con confirm=true.\n\
         This would cancel order {id} ({what}), which is in {state}. To do it, repeat the request with confirm=true."
    );
    let field = FieldError { field: "confirm".into(), detail: "must be true".into() };
    Problem::invalid(vec![field]).saying(detail).with("orderid", id.get()).with("estado", &*view.estado)
}

/// A refusal in Spanish, by its code.
fn spanish(code: &str, status: Option<&OrderStatus>) -> &'static str {
    match code {
        "closed" => match status.map(|status| status.waits) {
            Some(Waits::Closed(Closing::Cancelled)) => "El pedido ya está cancelado.",
            Some(Waits::Closed(Closing::Refused)) => "El pedido ya está rechazado.",
            _ => "El pedido ya ha terminado.",
        },
        "too-late" => "El cliente ya no puede cancelar el pedido; la tienda sí.",
        "not-yours" => "Los clientes solo pueden cancelar; eso lo puede hacer la tienda.",
        "only-by-timer" => {
            "El pedido deja su estado cuando pasa su tiempo, y con ninguna orden; delay cambia ese tiempo."
        }
        "no-such-end" => "El flujo del pedido no tiene un final para pedidos rechazados; se puede cancelar.",
        "held" => "El pedido está detenido; primero hay que reanudarlo (resume).",
        "not-held" => "El pedido no está detenido.",
        "no-timer" => "El pedido espera una orden y no una hora; hágalo avanzar (advance).",
        "time" => "La nueva hora debe ser posterior a la actual, y como mucho dentro de diez años.",
        "same-address" => "El pedido ya tiene esa dirección.",
        "too-many" => "El pedido se ha cambiado demasiadas veces; solo puede seguir o cancelarse.",
        "not-in-flight" => "El pedido no está en curso.",
        _ => "No es posible para este pedido.",
    }
}

/// A message as a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
