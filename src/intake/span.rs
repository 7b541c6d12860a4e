//! Requests for orders as spans.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method},
    middleware::Next,
    response::Response,
};

use super::{
    place::OrderService,
    trace::{HEADER, given},
};
use crate::{
    domain::TraceParent,
    spans::{Kind, Span},
};

/// Around the routes by which orders come, where spans are exported: a span of the request.
pub(super) async fn traced(State(service): State<Arc<OrderService>>, mut request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let given = given(request.headers());
    let Some(own) = service.traces.own(given) else { return next.run(request).await };
    let value = HeaderValue::from_str(&own.to_string()).expect("digits and dashes are visible");
    request.headers_mut().insert(HEADER, value); // read where an order is made
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (path, begun, start) = (request.uri().path().to_owned(), service.clock.exactly(), service.clock.monotonic());
    let response = next.run(request).await;
    service.traces.spans.add(Some(own), |trace| {
        let route = route.as_ref().map_or("", MatchedPath::as_str).to_owned();
        let status = response.status();
        Span {
            id: trace.request(),
            parent: given.map(TraceParent::span),
            kind: Kind::Server,
            name: format!("POST {route}").into(),
            begun,
            took: service.clock.monotonic().saturating_sub(start),
            attributes: vec![
                ("http.request.method", "POST".into()),
                ("http.route", route.into()),
                ("http.response.status_code", u32::from(status.as_u16()).into()),
                ("url.scheme", "http".into()),
                ("url.path", path.into()),
            ],
            // what a client does wrong is no failure of the server
            failure: status.is_server_error().then(|| status.as_str().to_owned().into()),
        }
    });
    response
}
