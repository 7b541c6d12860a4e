use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::OrderJson;
use crate::{
    domain::{Handle, HandleKey, OrderId},
    store::{
        self, Store,
        orders::{HistoryEntry, OrderView},
    },
    web::{self, FieldError, Problem},
};

/// What the old service answers for an order that it does not know.
const UNKNOWN: &str = "ERROR: No existe ninguna transaccion con ese numero ID";

/// What the listener is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether whoever reaches the listener may look orders up by number, which shows an address. Otherwise the API
    /// key is wanted.
    pub open: bool,
    /// The key for lookups by number, if one is configured.
    pub api_key: Option<String>,
}

/// The tracking listener: where is my order?
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    handles: HandleKey,
    options: Options,
}

impl Api {
    /// Answers from `store`; `handles` opens tracking handles.
    pub fn new(store: Arc<dyn Store>, handles: HandleKey, options: Options) -> Self {
        Self(Arc::new(Inner { store, handles, options }))
    }

    /// The routes.
    pub fn router(self) -> Router {
        let routes = Router::new()
            .route("/", get(by_value))
            .route("/orders/{id}", get(by_id))
            .route("/track/{handle}", get(by_handle))
            .with_state(self);
        web::with_fallbacks(routes)
    }

    async fn find(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>, Problem> {
        self.0.store.order(id).await.map_err(unavailable)
    }

    /// A number can be guessed and its answer shows an address, so only the shop itself may ask by number.
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Options { open, api_key } = &self.0.options;
        if *open {
            return Ok(());
        }
        let Some(key) = api_key else {
            let detail =
                "this listener is not on loopback and has no API key: set tracking.api_key, or use /track/{handle}";
            return Err(Problem::new(StatusCode::FORBIDDEN, "closed", "Lookup by number is closed", detail));
        };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer "));
        if given.is_some_and(|given| same(given.as_bytes(), key.as_bytes())) {
            return Ok(());
        }
        let detail = "send the header Authorization: Bearer <tracking.api_key>, or use /track/{handle}";
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "API key wanted", detail))
    }
}

/// Compares without telling by its time where two keys begin to differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn unavailable(error: store::Error) -> Problem {
    tracing::warn!(%error, "a lookup failed");
    Problem::unavailable("the store does not answer; nothing is lost, ask again in a moment")
}

#[derive(Deserialize)]
struct ByValue {
    value: Option<String>,
}

/// The answer of the old service, keys in its order.
#[derive(Serialize)]
struct OldAnswer<'a> {
    estado: &'a str,
    gameid: &'a str,
    name: &'a str,
    orderid: u64,
    price: &'a str,
    usermail: &'a str,
}

/// `GET /?value=ID`, as the old service answers it, but with status 404 when there is no such order.
async fn by_value(
    State(api): State<Api>,
    headers: HeaderMap,
    query: Result<Query<ByValue>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    api.authorize(&headers)?;
    let value = query.ok().and_then(|Query(query)| query.value);
    let Some(value) = value else {
        let detail = "ask with /?value=NUMBER, for example /?value=1 · pregunte con /?value=NÚMERO";
        return Err(Problem::invalid(vec![FieldError { field: "value".into(), detail: detail.into() }]));
    };
    let found = match value.trim().parse() {
        Ok(id) => api.find(id).await?,
        Err(_) => None,
    };
    let Some((view, _)) = found else {
        return Ok((StatusCode::NOT_FOUND, UNKNOWN).into_response());
    };
    let order = &view.order;
    let answer = OldAnswer {
        estado: &view.estado,
        gameid: &order.product.id,
        name: &order.product.name,
        orderid: order.id.get(),
        price: order.product.price.as_str(),
        usermail: order.email.as_str(),
    };
    Ok(Json(answer).into_response())
}

fn no_such_order() -> Problem {
    Problem::not_found("there is no order under this address")
}

/// `GET /orders/{id}`: everything about an order, for the shop.
async fn by_id(State(api): State<Api>, headers: HeaderMap, Path(id): Path<String>) -> Result<Response, Problem> {
    api.authorize(&headers)?;
    let id: OrderId = id.parse().map_err(|_| no_such_order())?;
    let (view, history) = api.find(id).await?.ok_or_else(no_such_order)?;
    let handle = api.0.handles.seal(id);
    Ok(Json(OrderJson::for_shop(&view, &history, Some(handle))).into_response())
}

/// `GET /track/{handle}`: the same for the customer, without the address. A handle that is malformed, of another
/// deployment or of no order gets the same answer.
async fn by_handle(State(api): State<Api>, Path(handle): Path<String>) -> Result<Response, Problem> {
    let id = handle.parse::<Handle>().ok().and_then(|handle| api.0.handles.open(handle)).ok_or_else(no_such_order)?;
    let (view, history) = api.find(id).await?.ok_or_else(no_such_order)?;
    Ok(Json(OrderJson::new(&view, &history)).into_response())
}
