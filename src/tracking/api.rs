mod commands;
mod contract;
mod events;
mod lookup;
mod outcome;
mod request;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use schemars::JsonSchema;
use serde::Serialize;
use subtle::ConstantTimeEq as _;

pub use contract::openapi;

use super::{
    Feed, Metrics, OrderJson,
    pages::{Look, TrackingPages},
    waiting::{Queue, Waiting},
};
use crate::{
    commands::{Commands, Options as CommandOptions},
    domain::{HandleKey, OrderId},
    env::Env,
    eventlog::EventLog,
    pages::{
        self, Reader, Site,
        docs::{Docs, Told},
    },
    store::{
        self, Handover, Store,
        orders::{HistoryEntry, OrderView},
    },
    telemetry::ThrottledLog,
    web::{self, FieldError, Limiter, Problem, Rate, Streams},
};

/// What the old service answers for an order that it does not know.
const UNKNOWN: &str = "ERROR: No existe ninguna transaccion con ese numero ID";

/// Longest pause after which the page of an order that waits is loaded again, in seconds.
const RELOAD_MAX_S: u32 = 5;

/// What the listener is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether whoever reaches the listener may look orders up by number, which shows an address. Otherwise the API
    /// key is wanted, as from whoever comes by a proxy.
    pub open: bool,
    /// The key for lookups by number, if one is configured.
    pub api_key: Option<String>,
    /// Where commands go, and how long their answers wait.
    pub commands: CommandOptions,
    /// Origins of pages whose scripts may follow orders.
    pub allowed_origins: Vec<web::Origin>,
    /// Topic of the versions of flows, which tell what is to come.
    pub flows: String,
    /// What all pages know of the shop.
    pub site: Site,
    /// Most clients that follow an order at the same time.
    pub streams_max: usize,
    /// How often a client may ask for the link to an order.
    pub lookup_rate_per_client: Option<Rate>,
    /// Proxies before the listener that say whom they serve.
    pub trusted_hops: usize,
    /// Group and topic of those who must read an order before it is shown, in the order in which it meets them.
    pub readers: Vec<(String, String)>,
}

/// What the listener works with.
pub struct Deps {
    /// Where commands go.
    pub log: Arc<dyn EventLog>,
    /// Where orders are, and what became of commands.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub env: Env,
    /// What opens tracking handles.
    pub handles: HandleKey,
    /// Where it counts.
    pub metrics: Metrics,
    /// What tells of changes.
    pub feed: Feed,
    /// Notified when there is a new mail.
    pub mails: Handover,
}

/// The tracking listener: where is my order, and what is to happen to it?
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    commands: Commands,
    store: Arc<dyn Store>,
    env: Env,
    handles: HandleKey,
    metrics: Metrics,
    feed: Feed,
    mails: Handover,
    /// Counts who asks for links.
    lookups: Option<Limiter>,
    streams: Streams,
    pages: TrackingPages,
    waiting: Waiting,
    options: Options,
    denials: ThrottledLog,
}

impl Api {
    /// A listener that answers from the store and writes commands to the log.
    pub fn new(deps: Deps, options: Options) -> Self {
        let Deps { log, store, env, handles, metrics, feed, mails } = deps;
        let streams = Streams::new(options.streams_max, env.pace.clone());
        let pages = TrackingPages::new(options.site.clone(), log.clone(), env.clock.clone(), options.flows.clone());
        let waiting = Waiting::new(log.clone(), env.clock.clone(), options.readers.clone());
        let commands = Commands::new(log, store.clone(), env.clone(), options.commands.clone());
        let lookups = options.lookup_rate_per_client.map(Limiter::new);
        let denials = ThrottledLog::default();
        let inner = Inner {
            commands,
            store,
            env,
            handles,
            metrics,
            feed,
            mails,
            lookups,
            streams,
            pages,
            waiting,
            options,
            denials,
        };
        Self(Arc::new(inner))
    }

    /// The routes.
    pub fn router(self) -> Router {
        let cors = web::cors(&self.0.options.allowed_origins);
        let mut routes = commands::of_shop(Router::new().route("/", get(by_value)).route("/orders/{id}", get(by_id)));
        let looks = [("/track/{handle}", get(by_handle)), ("/track/{handle}/events", get(events::follow))];
        for (path, mut route) in commands::of_customer().into_iter().chain(looks) {
            if let Some(cors) = &cors {
                route = route.options(StatusCode::NO_CONTENT).layer(cors.clone()); // which answers the preflights
            }
            routes = routes.route(path, route);
        }
        routes = routes.route("/openapi.json", get(|| async { Json(contract::openapi()) }));
        // where there are no mails, or no links in them, nobody is sent one
        if self.0.options.site.lookup.is_some() {
            routes = routes.merge(lookup::routes());
        }
        let docs = docs(&self.0.options);
        web::with_fallbacks(routes.with_state(self).merge(docs.router()).merge(pages::assets()))
    }

    async fn find(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>, Problem> {
        self.0.store.order(id).await.map_err(unavailable)
    }

    /// The order behind a handle. One that is malformed, of another deployment or of no order gets the same answer, at the
    /// same cost.
    async fn by_handle(&self, handle: &str) -> Result<(OrderView, Vec<HistoryEntry>), Problem> {
        let id = handle.parse().ok().and_then(|handle| self.0.handles.open(handle));
        let nobodys = || OrderId::new(OrderId::MAX).expect("it is a number of an order, which is never given out");
        let found = self.find(id.unwrap_or_else(nobodys)).await?;
        if found.is_none() && id.is_some() {
            // only who was given a handle has one that opens, so this tells strangers nothing
            return Err(self.0.waiting.queue().await.map_or_else(no_such_order, not_shown_yet));
        }
        found.filter(|_| id.is_some()).ok_or_else(no_such_order)
    }

    /// Who may look at an order may change it, but no page of another origin: a browser's user did not mean it.
    fn authorize_change(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        self.authorize(uri, headers)?;
        if web::is_cross_origin(uri, headers) {
            let detail = "Las páginas de otro sitio no pueden cambiar pedidos.\n\
                          Pages of another site cannot change orders.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "foreign-site", "Asked for by a foreign site", detail));
        }
        Ok(())
    }

    /// A number can be guessed and its answer shows an address, so only the shop itself may ask by number.
    fn authorize(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let Options { open, api_key, .. } = &self.0.options;
        let given = headers.get(header::AUTHORIZATION).map(web::bearer);
        if let (Some(key), Some(Some(given))) = (api_key, given)
            && bool::from(given.ct_eq(key.as_bytes()))
        {
            return Ok(());
        }
        if *open && web::is_from_here(uri, headers) {
            return Ok(());
        }
        self.0.metrics.denied(given.is_some());
        if api_key.is_none() {
            let detail = "orders by number are for this machine alone, since there is no API key: set tracking.api_key, \
                          or use /track/{handle}";
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "closed",
                "By number, orders are closed from here",
                detail,
            ));
        }
        if given.is_some() {
            self.0.denials.warn(&self.0.env.clock, |more| {
                tracing::warn!(more_before = more, "a lookup with a wrong API key (tracking.api_key) was refused");
            });
        }
        let detail = "send the header Authorization: Bearer <tracking.api_key>, or use /track/{handle}";
        // RFC 6750 §3: the error is told only to who has given a key
        let challenge = match given {
            Some(_) => "Bearer realm=\"encargo\", error=\"invalid_token\"",
            None => "Bearer realm=\"encargo\"",
        };
        Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "API key wanted", detail).challenge(challenge))
    }
}

/// What is answered here, for people.
fn docs(options: &Options) -> Docs {
    // of an order by number, which whoever tries the examples has
    let handle = r#"$(curl -s "{address}/orders/1"{key} | sed -n 's/.*"handle":"\([0-9a-f]*\)".*/\1/p')"#;
    let Site { shop, tracking, .. } = &options.site;
    let told = Told {
        name: "tracking",
        address: tracking.clone(),
        home: shop.clone(),
        others: shop.iter().map(|shop| ("intake", format!("{shop}/docs"))).collect(),
        has_key: options.api_key.is_some(),
        variable: Some(("HANDLE", handle)),
    };
    Docs::new(&options.site, contract::openapi(), told)
}

fn unavailable(error: store::Error) -> Problem {
    tracing::warn!(%error, "a lookup failed");
    Problem::unavailable("the store does not answer; nothing is lost, ask again in a moment")
}

/// The answer of the old service, its keys sorted.
#[derive(Serialize, JsonSchema)]
struct OldAnswer<'a> {
    /// The state.
    estado: &'a str,
    /// The product's key.
    gameid: &'a str,
    /// The product's name.
    name: &'a str,
    /// The order's number.
    orderid: u64,
    /// The price as text.
    price: &'a str,
    /// The customer's address.
    usermail: &'a str,
}

/// `GET /?value=ID`, as the old service answers it, but with status 404 when there is no such order.
async fn by_value(State(api): State<Api>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    api.authorize(&uri, &headers)?;
    let Some(value) = web::query_field(&uri, "value") else {
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
        usermail: view.recipient().as_str(),
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], as_flask_does(&answer)).into_response())
}

/// JSON as the old service's `jsonify` writes it in debug mode: indented by two, ASCII only, with a newline at the end.
fn as_flask_does(answer: &impl Serialize) -> String {
    let pretty = serde_json::to_string_pretty(answer).expect("strings and numbers always serialise");
    let mut text = String::with_capacity(pretty.len() + 1);
    for char in pretty.chars() {
        match char {
            '\n' | ' '..='~' => text.push(char),
            // only strings hold these, a pair of surrogates beyond the basic plane
            _ => text.extend(char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
    }
    text.push('\n');
    text
}

fn no_such_order() -> Problem {
    Problem::not_found("there is no order under this address").shown_as("unk")
}

/// What is said of an order that waits: nobody has read it yet.
fn not_shown_yet(Queue { orders, wait_s }: Queue) -> Problem {
    let problem = Problem::not_found("the order is taken, and waits for its turn").with("waiting", orders);
    let problem = problem.retry_after(wait_s.unwrap_or(RELOAD_MAX_S).clamp(1, RELOAD_MAX_S));
    match wait_s {
        Some(wait_s) => problem.with("wait_s", wait_s).shown_as("turn_known"),
        None => problem.shown_as("turn"),
    }
}

/// `GET /orders/{id}`: everything about an order, for the shop.
async fn by_id(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    api.authorize(&uri, &headers)?;
    let id: OrderId = id.parse().map_err(|_| no_such_order())?;
    let (view, history) = api.find(id).await?.ok_or_else(no_such_order)?;
    let handle = api.0.handles.seal(id);
    let line = api.0.pages.line(&view, &history).await;
    Ok(Json(OrderJson::for_shop(&view, &history, Some(handle)).with_line(line)).into_response())
}

/// `GET /track/{handle}`: the same for the customer, without the address; a page for browsers.
async fn by_handle(
    State(api): State<Api>,
    Path(handle): Path<String>,
    reader: Reader,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (view, history) = api.by_handle(&handle).await?;
    if !web::accepts_html(&headers) {
        let line = api.0.pages.line(&view, &history).await;
        return Ok(Json(OrderJson::new(&view, &history).with_line(line)).into_response());
    }
    let command = web::query_field(&uri, "command").and_then(|command| command.parse().ok());
    let cancellation = match command {
        Some(command) => api.cancellation(&view, &history, &command).await?,
        None => None,
    };
    let look = Look { reader: &reader, handle: &handle, view: &view, history: &history };
    Ok(api.0.pages.order(&look, cancellation).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_answer_is_flasks_to_the_byte() {
        let answer = OldAnswer {
            estado: "recibido",
            gameid: "1010",
            name: "Cafetera \"Mañana\" </é> 😀 & a\u{7f}\u{2028}\u{8}\t",
            orderid: 1,
            price: "12.5",
            usermail: "a@example.org",
        };
        // what Flask 2.2 to 3.1 answer for the same dictionary in debug mode
        let flask = "{\n  \"estado\": \"recibido\",\n  \"gameid\": \"1010\",\n  \
                     \"name\": \"Cafetera \\\"Ma\\u00f1ana\\\" </\\u00e9> \\ud83d\\ude00 & a\\u007f\\u2028\\b\\t\",\n  \
                     \"orderid\": 1,\n  \"price\": \"12.5\",\n  \"usermail\": \"a@example.org\"\n}\n";
        assert_eq!(as_flask_does(&answer), flask);
    }
}
