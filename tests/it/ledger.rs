//! The ledger for an operator: an address that bounced gets no mail, visibly, until it is released.

use std::time::Duration;

use encargo::{
    domain::{DeadLetter, Order, OrderId, Product, Source, StateEvent, wire::Headers},
    store::{
        ledger::{Class, Reason, Settlement, Verdict},
        orders::{Batch, Incoming},
    },
};
use serde_json::{Value, json};

use crate::{
    cli,
    harness::{app::TestApp, eventually},
    store::{PgSchema, Place as _},
};

/// The order behind the first refusal; beyond those that intake numbers here.
const REFUSED: u64 = 901;

/// An order's first state comes into the store, and a server refuses its address for good. The mailer does not take part:
/// by its clock, which stands still, the mail is not due.
pub(crate) async fn bounce(app: &TestApp, number: u64, email: &str, reason: &str) {
    let (store, at) = (app.app().store(), app.clock.now());
    let due = at + Duration::from_hours(1);
    let order = Order {
        id: OrderId::new(number).unwrap(),
        product: Product::new("3170", "King's Bounty", "7.99").unwrap(),
        email: email.parse().unwrap(),
        lang: None,
        placed_at: at,
        handle: None,
        trace: None,
    };
    let source = Source { topic: "compra_confirmada".into(), partition: 0, offset: number };
    let letter = DeadLetter {
        source,
        reason: String::new(),
        attempts: 0,
        at,
        key: None,
        value: vec![],
        headers: Headers::default(),
    };
    let event = StateEvent::of_version_1(order, 1, "recibido", at, Some(at));
    let incoming = Incoming { event, partition: None, letter };
    let batch = Batch { group: "test".into(), events: vec![incoming], mail: true, now: due, ..Batch::default() };
    store.apply(batch.into()).await.unwrap();
    let [mail] = &store.lease(due, due + Duration::from_mins(1), 10).await.unwrap()[..] else { panic!("one is due") };
    let reason = Reason::new(Class::Address, reason);
    let settlement = Settlement::new(mail, Verdict::Dead(reason));
    assert_eq!(store.settle(vec![settlement]).await.unwrap().count, 1);
}

async fn ledger(app: &TestApp) -> Value {
    app.http.get(app.ops("/ledger")).send().await.unwrap().json().await.unwrap()
}

/// The ledger, once so many mails are dead.
async fn dead(app: &TestApp, count: u64) -> Value {
    eventually(&format!("{count} dead mails"), async || {
        let ledger = ledger(app).await;
        if ledger["mails"]["dead"] == count { Ok(ledger) } else { Err(ledger.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_bounced_gets_no_mail_until_it_is_released() {
    bounce_and_release(&TestApp::start().await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_bounced_gets_no_mail_until_it_is_released_on_postgres() {
    let schema = PgSchema::new();
    drop(schema.open().await);
    let url = schema.url();
    let mut app = TestApp::start_with(&[("store.url", &url)]).await;
    bounce_and_release(&app, &["--store", &url]).await;
    app.stop().await; // before the schema goes
}

async fn bounce_and_release(app: &TestApp, store: &[&str]) {
    let beside = async |command: &[&str]| cli::beside(app, &[command, store].concat()).await;
    bounce(app, REFUSED, "Rosa@example.org", "550 5.1.1 no such user").await;
    let placed = app.place("1010", "rosa@Example.org").await["orderid"].as_u64().unwrap();
    app.place("1010", "ana@example.org").await;
    app.mails(1).await;
    let seen = dead(app, 2).await;
    let addresses = &seen["suppressed"]["addresses"];
    assert_eq!((&seen["suppressed"]["count"], &addresses[0]["address"]), (&json!(1), &json!("rosa@example.org")));
    assert!(seen["dead"][1]["reason"].as_str().unwrap().contains("550 5.1.1 no such user"), "{seen}");
    let mut classes: Vec<_> = seen["reasons"].as_array().unwrap().iter().map(|row| row["class"].clone()).collect();
    classes.sort_by_key(Value::to_string);
    assert_eq!(classes, ["address", "suppressed"]);
    assert_eq!(app.metric("encargo_suppressed_addresses").await, 1);
    assert_eq!(app.metric("encargo_ledger_failed_mails{status=\"dead\",class=\"suppressed\"}").await, 1);

    let listed = beside(&["mail", "suppressed", "list"]).await.ok();
    assert!(listed.contains("rosa@example.org") && listed.contains(&format!("mail:{REFUSED}.1")), "{listed}");
    let shown = beside(&["dead", "show", &format!("mail:{placed}.1")]).await.ok();
    assert!(shown.contains("about recibido, to r***@Example.org") && shown.contains("suppressed"), "{shown}");
    let redriven = beside(&["dead", "redrive", "--all", "--dry-run"]).await;
    assert!(redriven.err.starts_with("Would redrive 2 mails"), "{}", redriven.err);

    let release = ["mail", "suppressed", "release", "ROSA@example.org", "--redrive"];
    let tried = beside(&[&release[..], &["--dry-run"]].concat()).await;
    assert_eq!(tried.err, "Would release 1 address and redrive 2 mails; nothing was changed.\n");
    assert_eq!(ledger(app).await["suppressed"]["count"], 1);
    let released = beside(&release).await;
    assert_eq!(released.err, "Released 1 address; 2 mails will be tried again.\n", "{released:?}");
    // the command has decided at the real time
    app.clock.set_wall(crate::harness::real_clock().now());
    app.clock.advance(Duration::from_secs(4));
    let mails = app.mails(3).await;
    let rosa = mails.iter().filter(|mail| mail.to.eq_ignore_ascii_case("rosa@example.org")).count();
    assert_eq!(rosa, 2, "{mails:?}");
    assert_eq!(dead(app, 0).await["suppressed"], json!({ "count": 0, "addresses": [] }));
    let again = beside(&release).await;
    assert_eq!((again.status, again.err.contains("R***@example.org is not suppressed")), (1, true), "{again:?}");
    assert_eq!(beside(&["mail", "suppressed", "release"]).await.status, 2);
    assert_eq!(beside(&["mail", "suppressed", "list"]).await.err, "No suppressed addresses.\n");

    // an hour of wrong set-up under an earlier version, undone by its words
    bounce(app, REFUSED + 1, "leo@example.org", "RCPT TO: 550 relay not permitted").await;
    bounce(app, REFUSED + 2, "mia@example.org", "RCPT TO: 550 Relay not permitted").await;
    bounce(app, REFUSED + 3, "noa@example.org", "RCPT TO: 550 5.1.1 no such user").await;
    let listed = beside(&["mail", "suppressed", "list", "--reason", "RELAY not permitted"]).await.ok();
    assert!(listed.contains("leo@") && listed.contains("mia@") && !listed.contains("noa@"), "{listed}");
    let undo = ["mail", "suppressed", "release", "--reason", "relay not permitted", "--redrive"];
    let tried = beside(&[&undo[..], &["--dry-run"]].concat()).await;
    assert_eq!(tried.err, "Would release 2 addresses and redrive 2 mails; nothing was changed.\n");
    assert_eq!(beside(&undo).await.err, "Released 2 addresses; 2 mails will be tried again.\n");
    assert_eq!(beside(&undo).await.err, "Released 0 addresses; 0 mails will be tried again.\n");
    let left = ledger(app).await["suppressed"].clone();
    assert_eq!((&left["count"], &left["addresses"][0]["address"]), (&json!(1), &json!("noa@example.org")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_a_page_for_people_and_json_for_programs() {
    let app = TestApp::start_with(&[("mail.url", "smtp://127.0.0.1:1")]).await;
    bounce(&app, REFUSED, "rosa@example.org", "550 5.1.1 no such user").await;
    let placed = app.place("1010", "ana@example.org").await["orderid"].as_u64().unwrap();
    let seen = eventually("a failed attempt", async || {
        let ledger = ledger(&app).await;
        // counts, destination and list are read one after the other, and the attempt may end between them
        let waiting = &ledger["waiting"][0];
        let has_failed = waiting["attempts"] == 1 && waiting["status"] == "pending";
        let is_told = ledger["mails"]["pending"] == 1 && ledger["destination"]["state"] == "paused";
        if has_failed && is_told { Ok(ledger) } else { Err(ledger.to_string()) }
    })
    .await;
    let waiting = &seen["waiting"][0];
    assert_eq!((&waiting["order"], &waiting["class"]), (&json!(placed), &json!("unreachable")));
    assert_eq!(seen["mails"], json!({ "pending": 1, "sending": 0, "sent": 0, "dead": 1, "dropped": 0 }));
    let destination = &seen["destination"];
    assert_eq!((&destination["name"], &destination["state"]), (&json!("smtp://127.0.0.1:1"), &json!("paused")));
    assert!(destination["trouble"]["reason"].as_str().unwrap().contains("127.0.0.1:1"), "{destination}");
    let page = async |language: &str| {
        let request = app.http.get(app.ops("/ledger")).header("Accept", "text/html");
        let response = request.header("Accept-Language", language).send().await.unwrap();
        assert!(response.headers()["vary"].to_str().unwrap().starts_with("accept, accept-language,"));
        response.text().await.unwrap()
    };
    let english = page("en").await;
    for words in ["<html lang=\"en\">", "server unreachable", "paused", "rosa@example.org", "550 5.1.1", "mail:901.1"] {
        assert!(english.contains(words) && english.matches("<script").count() == 1, "{words} is missing in {english}");
    }
    assert!(page("es").await.contains("Direcciones suprimidas"));
    let forced = app.http.get(app.ops("/ledger?format=json")).header("Accept", "text/html").send().await.unwrap();
    assert_eq!(forced.headers()["content-type"], "application/json");

    let queue = cli::beside(&app, &["mail", "queue"]).await.ok();
    assert!(queue.contains(&format!("{placed}.1")) && queue.contains("recibido"), "{queue}");
    let of_order = cli::beside(&app, &["mail", "queue", "--order", &REFUSED.to_string(), "--json"]).await.json();
    assert_eq!((of_order.len(), &of_order[0]["status"], &of_order[0]["class"]), (1, &json!("dead"), &json!("address")));
}
