//! The listener without fulfilment: what it writes, how long it waits, and what it says when log or store do not answer.
//! Time is the test's own.

use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    response::Response,
};
use encargo::{
    clock::Clock,
    commands,
    domain::{
        CommandCopy, CommandId, CommandOutcome, DeadLetter, Flow, HandleKey, Order, OrderId, Product, Source,
        StateEvent, Timestamp,
        command::Verdict,
        lifecycle::{self, OrderState},
        wire,
    },
    env::Env,
    eventlog::{
        Error, EventLog, NewRecord, Record, TopicPartition, TopicSpec,
        memory::{self, MemoryLog},
        partitioner::partition_of,
    },
    faults::{Fault, FaultyLog},
    pages::Site,
    store::{
        Orders as _,
        memory::MemoryStore,
        orders::{Batch, Incoming},
    },
    tracking::{Api, ApiDeps, ApiOptions, Feed, Metrics},
};
use prometheus_client::registry::Registry;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::select;
use tower::ServiceExt as _;

use crate::{harness::eventually, support::faulty::Script};

const COMMANDS: &str = "encargo_commands";
const PARTITIONS: u32 = 4;
/// The first two that are sent about order 1.
const COPIES: [CommandCopy; 2] = [CommandCopy { partition: 3, offset: 0 }, CommandCopy { partition: 3, offset: 1 }];

struct Desk {
    router: Router,
    log: MemoryLog,
    store: MemoryStore,
    clock: Clock,
    faults: Arc<Script>,
}

impl Desk {
    /// With order 1 in partition 3, and order 2 from a time when nobody wrote partitions down.
    async fn open() -> Self {
        let desk = Self::without_topic().await;
        desk.log.create(&TopicSpec { name: COMMANDS.into(), partitions: PARTITIONS }).unwrap();
        desk
    }

    async fn without_topic() -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_764_000_000_000));
        let log = MemoryLog::new(clock.clone(), memory::Options::default());
        let store = MemoryStore::default();
        let faults = Script::of_appends_to(COMMANDS);
        let deps = ApiDeps {
            log: Arc::new(FaultyLog::new(Arc::new(log.another()), faults.clone(), clock.clone())),
            store: Arc::new(store.clone()),
            env: Env::simulated(clock.clone(), 7),
            handles: handles(),
            metrics: Metrics::new(&mut Registry::default()),
            feed: Feed::default(),
            mails: encargo::store::Handover::default(),
        };
        let options = ApiOptions {
            open: true,
            api_key: None,
            commands: commands::Options { topic: COMMANDS.into(), wait: Duration::from_secs(2) },
            allowed_origins: Vec::new(),
            flows: "flows".into(),
            site: Site::default(),
            streams_max: 1,
            lookup_rate_per_client: None,
            trusted_hops: 0,
            readers: vec![("fulfilment".into(), "orders".into())],
        };
        let router = Api::new(deps, options).router();
        let desk = Self { router, log, store, clock, faults };
        let events = [(1, Some(3)), (2, None)].map(|(id, partition)| incoming(placed(id, &desk.clock), partition));
        desk.apply(Batch { events: events.into(), ..Batch::default() }).await;
        desk
    }

    async fn apply(&self, batch: Batch) {
        self.store.apply(Arc::new(Batch { group: "tracking".into(), now: self.clock.now(), ..batch })).await.unwrap();
    }

    /// As the projection brings it: what became of a command, of which that copy was decided.
    async fn outcome(&self, order: u64, command: &str, copy: CommandCopy, verdict: Verdict) {
        let state = OrderState::after(&placed(order, &self.clock), &flow());
        let outcome = CommandOutcome {
            command: command.parse().unwrap(),
            order: OrderId::new(order).unwrap(),
            copy: Some(copy),
            verdict,
            status: Some(lifecycle::status(&state)),
            at: self.clock.now(),
        };
        self.apply(Batch { outcomes: vec![outcome], ..Batch::default() }).await;
    }

    fn request(&self, method: &str, path: &str, key: &str) -> impl Future<Output = Response> + use<> {
        let request = axum::http::Request::builder().method(method).uri(path).header("host", "localhost:5000");
        let request = if key.is_empty() { request } else { request.header("idempotency-key", key) };
        let request = request.body(Body::empty()).unwrap();
        let router = self.router.clone();
        async move { router.oneshot(request).await.unwrap() }
    }

    /// The answer, however long it takes by the test's clock.
    async fn answer(&self, method: &str, path: &str, key: &str) -> Response {
        let mut asking = pin!(self.request(method, path, key));
        loop {
            select! {
                biased;
                response = asking.as_mut() => return response,
                () = tokio::task::yield_now() => self.clock.advance(Duration::from_millis(10)),
            }
        }
    }

    fn commands(&self) -> Vec<(u32, Record)> {
        let mut all = Vec::new();
        for partition in 0..PARTITIONS {
            let tp = TopicPartition { topic: COMMANDS.into(), partition };
            let records = self.log.read(&tp, 0).unwrap().next(100).unwrap();
            all.extend(records.into_iter().map(|record| (partition, record)));
        }
        all
    }
}

fn handles() -> HandleKey {
    HandleKey::new([7; 16])
}

fn flow() -> Arc<Flow> {
    Arc::new(Flow::standard(Duration::from_secs(8)))
}

fn placed(id: u64, clock: &Clock) -> StateEvent {
    let order = Order {
        id: OrderId::new(id).unwrap(),
        product: Product::new("1010", "Linterna", "12.50").unwrap(),
        email: "ana@example.org".parse().unwrap(),
        lang: None,
        placed_at: clock.now(),
        handle: None,
        trace: None,
    };
    lifecycle::place(Arc::new(order), &flow(), clock.now())
}

fn incoming(event: StateEvent, partition: Option<u32>) -> Incoming {
    let source = Source { topic: "compra_confirmada".into(), partition: 0, offset: event.order.id.get() };
    let (reason, value, headers) = Default::default();
    let letter = DeadLetter { source, reason, attempts: 0, at: event.at, key: None, value, headers };
    Incoming { event, partition, letter }
}

async fn said(response: Response) -> Value {
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn an_order_that_nobody_has_read_is_told_what_is_before_it() {
    let desk = Desk::open().await;
    desk.log.create(&TopicSpec { name: "orders".into(), partitions: 1 }).unwrap();
    let path = |key: HandleKey| format!("/track/{}", key.seal(OrderId::new(3).unwrap()));
    let unknown = desk.answer("GET", &path(handles()), "").await;
    assert_eq!(said(unknown).await.get("waiting"), None, "nothing waits");

    let order = || NewRecord {
        topic: "orders".into(),
        partition: None,
        key: None,
        value: b"{}".to_vec(),
        headers: wire::Headers::default(),
        at: desk.clock.now(),
    };
    desk.log.append(vec![order(), order()]).await.unwrap();
    desk.clock.advance(Duration::from_secs(1));
    let waits = desk.answer("GET", &path(handles()), "").await;
    assert_eq!((waits.status(), header(&waits, "retry-after")), (StatusCode::NOT_FOUND, "5"));
    let waits = said(waits).await;
    assert_eq!((&waits["waiting"], waits.get("wait_s")), (&json!(2), None), "how long is unknown while nobody reads");
    let stranger = desk.answer("GET", &path(HandleKey::new([8; 16])), "").await;
    assert_eq!(said(stranger).await.get("waiting"), None, "who has no handle of ours is told nothing");
}

#[tokio::test]
async fn what_is_not_decided_in_time_is_looked_up_later() {
    let desk = Desk::open().await;
    let handle = handles().seal(OrderId::new(1).unwrap());
    let begun = desk.clock.monotonic();
    let response = desk.answer("POST", "/orders/1/hold", "k-1").await;
    let waited = desk.clock.monotonic().saturating_sub(begun);
    assert!((2_000..2_200).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!((response.status(), header(&response, "retry-after")), (StatusCode::ACCEPTED, "1"));
    let place = header(&response, "location").to_owned();
    assert_eq!(place, "/orders/1/commands/k-1?copy=3-0");
    assert_eq!(said(response).await, json!({ "orderid": 1, "command": "k-1", "result": "pending" }));

    let (partition, record) = desk.commands().remove(0);
    assert_eq!((partition, record.key.as_deref()), (3, Some(&b"1"[..])), "the order's own partition");
    assert!(record.headers.text("ce_id") == Some("k-1"), "{:?}", record.headers);
    let command = wire::decode_command(&record.value, &record.headers).unwrap();
    assert_eq!((command.id.as_str(), &*command.by), ("k-1", "shop"));

    let paths = [place, format!("/track/{handle}/commands/k-1"), format!("/track/{handle}/commands/k-1?copy=3-0")];
    for path in &paths {
        let response = desk.answer("GET", path, "").await;
        assert_eq!((response.status(), header(&response, "location")), (StatusCode::ACCEPTED, &**path));
    }
    desk.outcome(1, "k-1", COPIES[0], Verdict::Refused { code: "held".into(), detail: "the order is held".into() })
        .await;
    for path in &paths {
        let response = desk.answer("GET", path, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        let said = said(response).await;
        assert_eq!((&said["result"], &said["code"], &said["orderid"]), (&json!("refused"), &json!("held"), &json!(1)));
    }
    assert_eq!(desk.answer("GET", "/orders/2/commands/k-1", "").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_refusal_of_before_is_no_answer_to_the_next_try() {
    let desk = Desk::open().await;
    let not_held = || Verdict::Refused { code: "not-held".into(), detail: "the order is not held".into() };
    desk.outcome(1, "k-1", COPIES[0], not_held()).await;
    let mut asking = pin!(desk.request("POST", "/orders/1/resume", "k-1"));
    let mut looks = 0;
    let response = loop {
        select! {
            biased;
            response = asking.as_mut() => break response,
            () = tokio::task::yield_now() => desk.clock.advance(Duration::from_millis(10)),
        }
        looks += 1;
        if looks == 50 {
            desk.outcome(1, "k-1", COPIES[1], Verdict::Done).await;
        }
    };
    assert!(looks >= 50, "answered with what was there");
    assert_eq!(said(response).await["result"], "done");
    // done is done, and not sent again
    assert_eq!(desk.answer("POST", "/orders/1/resume", "k-1").await.status(), StatusCode::OK);
    assert_eq!(desk.commands().len(), 1);
    // another order's word is none of ours
    assert_eq!(desk.answer("POST", "/orders/2/resume", "k-1").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

/// While fulfilment stands still a client sends the same again, and every copy is decided. The refusal of one does not speak for
/// the next, which may do what was asked.
#[tokio::test]
async fn a_refusal_is_told_to_those_who_wait_for_that_copy_or_an_earlier_one() {
    let desk = Desk::open().await;
    let not_held = || Verdict::Refused { code: "not-held".into(), detail: "the order is not held".into() };
    let mut places = Vec::new();
    for _ in COPIES {
        let response = desk.answer("POST", "/orders/1/resume", "k-1").await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        places.push(header(&response, "location").to_owned());
    }
    let what = async || {
        let mut said = Vec::new();
        for place in &places {
            said.push(self::said(desk.answer("GET", place, "").await).await["result"].clone());
        }
        said
    };
    assert_eq!(what().await, ["pending", "pending"]);
    desk.outcome(1, "k-1", COPIES[0], not_held()).await;
    assert_eq!(what().await, ["refused", "pending"]);
    let elsewhere = CommandCopy { partition: 0, offset: 99 };
    desk.outcome(1, "k-1", elsewhere, Verdict::Unknown).await;
    assert_eq!(what().await, ["pending", "pending"], "another partition decides nothing of this one");
    desk.outcome(1, "k-1", COPIES[1], not_held()).await;
    assert_eq!(what().await, ["refused", "refused"]);
    // the next copy waits for its own, and not for what is there
    assert_eq!(desk.answer("POST", "/orders/1/resume", "k-1").await.status(), StatusCode::ACCEPTED);
    desk.outcome(1, "k-1", CommandCopy { partition: 3, offset: 2 }, Verdict::Done).await;
    assert_eq!(what().await, ["done", "done"]);

    let malformed = desk.answer("GET", "/orders/1/commands/k-1?copy=first", "").await;
    assert_eq!(malformed.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(said(malformed).await["errors"][0]["field"], "copy");
}

#[tokio::test]
async fn an_order_of_before_is_found_by_its_key() {
    let desk = Desk::open().await;
    desk.answer("POST", "/orders/2/hold", "k-1").await;
    let partitions: Vec<_> = desk.commands().into_iter().map(|(partition, _)| partition).collect();
    assert_eq!(partitions, [partition_of(b"2", PARTITIONS)]);
}

#[tokio::test]
async fn a_log_that_refuses_is_told_with_a_way_on() {
    let desk = Desk::open().await;
    let away = || Error::Unavailable("away".into());
    let silent = || Error::Unconfirmed("silent".into());
    for (fault, kind, retry) in [
        (Fault::Refused(away()), "unavailable", "2"),
        (Fault::Refused(Error::Overloaded(9)), "overloaded", "1"),
        (Fault::Refused(silent()), "unconfirmed", "5"),
        (Fault::Unanswered(silent()), "unconfirmed", "5"),
    ] {
        desk.faults.then(fault);
        let response = desk.answer("POST", "/orders/1/hold", "").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind}");
        assert_eq!(header(&response, "retry-after"), retry, "{kind}");
        let said = said(response).await;
        assert_eq!(said["type"], format!("urn:encargo:problem:{kind}"));
        // with which it can be tried again
        let id: CommandId = said["command"].as_str().unwrap().parse().unwrap();
        assert_eq!(id.as_str().len(), 32);
    }
    assert_eq!(desk.commands().len(), 1, "the one without an answer is there");
}

#[tokio::test]
async fn a_log_without_the_topic_is_told_with_the_command_that_makes_it() {
    let desk = Desk::without_topic().await;
    let response = desk.answer("POST", "/orders/1/hold", "").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(said(response).await["detail"].as_str().unwrap().contains("encargo log init"));
}

#[tokio::test]
async fn who_follows_an_order_and_does_not_read_is_dropped() {
    let desk = Desk::open().await;
    let path = format!("/track/{}/events", handles().seal(OrderId::new(1).unwrap()));
    let unread = desk.answer("GET", &path, "").await;
    assert_eq!((unread.status(), header(&unread, "content-type")), (StatusCode::OK, "text/event-stream"));
    let mut body = unread.into_body();
    let mut text = String::new();
    // the order is read beside the test's clock, so no time passes until it is told
    while !text.ends_with("}\n\n") {
        let frame = poll_fn(|cx| pin!(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        text.push_str(str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    assert!(text.starts_with("retry: 2000\n\nid: 1."), "{text}");
    // there is one place
    assert_eq!(desk.answer("GET", &path, "").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    eventually("the place", async || {
        desk.clock.advance(Duration::from_secs(10));
        let status = desk.answer("GET", &path, "").await.status();
        if status == StatusCode::OK { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let beats = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    assert_eq!(beats, "event: beat\ndata: \n\n".repeat(4), "what was not read when it was dropped");
}
