//! The way back for whoever has lost the link to their order: number and address, and the link goes there by mail.
//!
//! Nobody is told whether an order exists, or whose it is. Known, unknown, foreign and malformed get the same answer, and get it
//! when the same time has passed, which is more than the store needs for any of them.

use std::time::Duration;

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::get,
};
use tracing::info;

use super::{Api, unavailable};
use crate::{
    domain::{EmailAddress, OrderId},
    pages::Reader,
    store::links::LinkRequest,
    web::{self, Problem},
    words,
};

/// After so long everybody is answered.
const ANSWERED_AFTER: Duration = Duration::from_millis(400);
/// So long after one mail with its link an order gets no other: nobody can fill a mailbox with them.
const AGAIN_AFTER: Duration = Duration::from_mins(10);
/// Number and address are shorter.
const BODY_BYTES_MAX: usize = 4 << 10;

/// The routes.
pub(super) fn routes() -> Router<Api> {
    Router::new().route("/lookup", get(ask).post(look_up)).route("/lookup/sent", get(sent))
}

async fn ask(State(api): State<Api>, reader: Reader) -> Response {
    api.0.pages.lookup(&reader)
}

async fn sent(State(api): State<Api>, reader: Reader) -> Response {
    api.0.pages.lookup_sent(&reader)
}

async fn look_up(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let client = web::client(&request, api.0.options.trusted_hops);
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX).await;
    let body = body.map_err(|_| Problem::malformed("the body cannot be read"))?;
    // before anything else, so that a refusal tells no more than an answer
    if let (Some(clients), Some(client)) = (&api.0.lookups, client) {
        clients.take(api.0.env.clock.monotonic(), web::network(client)).map_err(too_many)?;
    }
    let (asked, ()) = tokio::join!(api.ask_link(&body), api.0.env.clock.sleep(ANSWERED_AFTER));
    asked?;
    // relative, since a proxy may have put the listener below a path of its own
    Ok((StatusCode::SEE_OTHER, [(LOCATION, HeaderValue::from_static("lookup/sent"))]).into_response())
}

fn too_many(wait_s: u32) -> Problem {
    let detail = words::both("api_lookups", &[]);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many look-ups", detail).retry_after(wait_s)
}

/// What a form says; `None` when it names no order, or no address.
fn read(body: &[u8]) -> Option<(OrderId, EmailAddress)> {
    let field = |wanted: &str| {
        let found = form_urlencoded::parse(body).find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.trim().to_owned())
    };
    Some((field("order")?.parse().ok()?, field("email")?.parse().ok()?))
}

/// An order that is never given out, and its address.
fn nobodys() -> (OrderId, EmailAddress) {
    let order = OrderId::new(OrderId::MAX).expect("it is the greatest number of an order");
    (order, "nobody@invalid.example".parse().expect("a plain address"))
}

impl Api {
    async fn ask_link(&self, body: &[u8]) -> Result<(), Problem> {
        let at = self.0.env.clock.now();
        // what can fit nothing asks the store as well, and hears the same of it when it is away
        let (order, email) = read(body).unwrap_or_else(nobodys);
        let request = LinkRequest { order, email, at, unless_since: at - AGAIN_AFTER };
        let is_made = self.0.store.ask_link(request).await.map_err(unavailable)?;
        self.0.metrics.link_asked(is_made);
        if is_made {
            info!(order.id = %order, "the link to an order was requested and will be mailed");
            self.0.mails.call();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_people_fill_it_in() {
        let read = |body: &str| read(body.as_bytes()).map(|(order, email)| (order.get(), email.as_str().to_owned()));
        assert_eq!(read("order=+17+&email=Ana%40example.org%0d%0a"), Some((17, "Ana@example.org".into())));
        assert_eq!(read("email=ana%40example.org&order=017&order=18&x=y").map(|(order, _)| order), Some(17));
        for none in [
            "",
            "order=17",
            "order=&email=a%40b.example",
            "order=x&email=a%40b.example",
            "order=0&email=a%40b.example",
            "order=99999999999999999999&email=a%40b.example",
            "order=17&email=ana",
            "order=17&email=a%40b.example%0d%0aBcc:x",
            "\0",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
        nobodys();
    }
}
