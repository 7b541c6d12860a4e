//! The shop window: the catalogue and the checkout as pages, on the addresses of the listener for orders.
//!
//! `GET /` is a page for whoever names HTML, and for others what it always was. An order from a page is placed like any
//! other with an `Idempotency-Key`: the key is made of the page's address and a secret of the browser, and stands in the form
//! alone, so that whatever is sent twice is ordered once (`checkout`).

mod asked;
mod checkout;
mod form;
mod results;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::Method,
    middleware::Next,
    response::Response,
    routing::{MethodRouter, get},
};

use super::place::OrderService;
use crate::{
    domain::Flow,
    pages::{Pages, Site},
    web::accepts_html,
};

macro_rules! templates {
    ($($name:literal)*) => { [$(($name, include_str!(concat!("templates/", $name)))),*] };
}

/// What the pages are made of.
pub(super) struct Shop {
    service: Arc<OrderService>,
    pages: Pages,
    currency: String,
    /// What happens to new orders.
    flow: Arc<Flow>,
    /// Whether customers can reach where orders are followed.
    has_tracking: bool,
}

impl Shop {
    pub(super) fn new(service: Arc<OrderService>, site: &Site, flow: Arc<Flow>) -> Self {
        let templates = templates! { "search.html" "checkout.html" "gone.html" "placed.html" };
        let pages = Pages::new(site, &templates);
        Self { service, pages, currency: site.currency.clone(), flow, has_tracking: site.tracking.is_some() }
    }

    pub(super) fn checkout(self: Arc<Self>) -> MethodRouter {
        get(checkout::show).post(checkout::order).with_state(self)
    }
}

/// Shows the shop to browsers at an address that others know as that of the old form alone.
pub(super) async fn window(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    if reads && request.uri().path() == "/" && accepts_html(request.headers()) {
        return results::show(&shop, &request);
    }
    next.run(request).await
}
