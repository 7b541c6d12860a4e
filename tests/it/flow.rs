//! I2 and I4: every order walks through its states on time, and the views show it.

use std::time::Duration;

use encargo::{domain::wire::Headers, eventlog::NewRecord};

use crate::harness::{
    app::TestApp,
    eventually,
    process::{Process, read_log},
};

const DWELL: Duration = Duration::from_secs(8);
const STATES: [&str; 4] = ["recibido", "preparando", "entregando", "finalizado"];

/// The clock begins at 1,764,000,000 seconds.
#[tokio::test(flavor = "multi_thread")]
async fn states_of_before_mail_since_are_shown_and_counted_but_not_mailed() {
    for since in ["1764000012000", "2025-11-24T16:00:12Z", "2025-11-24T17:00:12.000+01:00"] {
        let mut app = TestApp::start_with(&[("mail.since", since)]).await;
        let id = app.place("1010", "ana@example.org").await["orderid"].as_u64().unwrap();
        app.in_state(id, STATES[0]).await;
        for estado in &STATES[1..] {
            app.advance_to(id, estado, DWELL).await;
        }
        let mut told: Vec<_> = app.mails(2).await.into_iter().map(|mail| mail.estado).collect();
        told.sort();
        assert_eq!(told, ["entregando", "finalizado"], "{since}");
        let order = app.in_state(id, STATES[3]).await;
        let mails: Vec<_> = order["history"].as_array().unwrap().iter().map(|entry| entry["mail"].is_null()).collect();
        assert_eq!(mails, [true, true, false, false], "{order}");
        assert_eq!(app.metric("encargo_events_projected_total{result=\"unmailed\"}").await, 2);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_placed_walked_mailed_and_shown() {
    let mut app = TestApp::start().await;
    let placed = app.place("1010", "ana@example.org").await;
    let (id, handle) = (placed["orderid"].as_u64().unwrap(), placed["handle"].as_str().unwrap().to_owned());
    assert_eq!(id, 1);
    for (n, estado) in STATES.iter().enumerate() {
        let order = app.in_state(id, estado).await;
        assert_eq!(order["finished"], n == 3);
        assert_eq!(order["history"].as_array().unwrap().len(), n + 1);
        app.mails(n + 1).await;
        app.clock.advance(DWELL);
    }
    let mut mails = app.mails(4).await;
    mails.sort_by(|a, b| a.message_id.cmp(&b.message_id));
    assert_eq!(mails.iter().map(|mail| &*mail.estado).collect::<Vec<_>>(), STATES);
    assert!(mails.iter().all(|mail| mail.id == id && mail.to == "ana@example.org"));

    let old = app.http.get(app.tracking("/?value=1")).send().await.unwrap();
    assert_eq!(old.headers()["content-type"], "application/json");
    let old = old.text().await.unwrap();
    assert!(old.starts_with("{\n  \"estado\": \"finalizado\",\n  \"gameid\": \"1010\",\n  \"name\": \""), "{old}");
    assert!(old.ends_with("\n  \"usermail\": \"ana@example.org\"\n}\n"), "{old}");

    let tracked = app.http.get(app.tracking(&format!("/track/{handle}"))).send().await.unwrap().text().await.unwrap();
    assert!(tracked.contains("finalizado") && !tracked.contains("ana@"), "{tracked}");
    app.stop().await;
}

/// Two services that call different things by one name make a text that no scraper takes.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_has_a_name_of_its_own() {
    let mut app = TestApp::start().await;
    // what has not happened yet is not told
    let id = app.place("1010", "ana@example.org").await["orderid"].as_u64().unwrap();
    app.in_state(id, "recibido").await;
    app.http.post(app.tracking(&format!("/orders/{id}/cancel"))).send().await.unwrap();
    app.in_state(id, "cancelado").await;
    let text = app.http.get(app.ops("/metrics")).send().await.unwrap().text().await.unwrap();
    let mut names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for name in ["encargo_order_transitions_total", "encargo_commands_total", "encargo_commands_decided_total"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    names.sort_unstable();
    let doubled: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert_eq!(doubled, Vec::<&str>::new());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_orders_are_not_found() {
    let app = TestApp::start().await;
    for value in ["1", "0", "-1", "abc", "99999999999999999999", "%00"] {
        let response = app.http.get(app.tracking(&format!("/?value={value}"))).send().await.unwrap();
        assert_eq!(response.status(), 404, "{value}");
        assert_eq!(response.text().await.unwrap(), "ERROR: No existe ninguna transaccion con ese numero ID");
    }
    for path in ["/orders/1", "/orders/x", "/track/00000000000000000000000000000001", "/track/x", "/nothing"] {
        assert_eq!(app.http.get(app.tracking(path)).send().await.unwrap().status(), 404, "{path}");
    }
    assert_eq!(app.http.get(app.tracking("/")).send().await.unwrap().status(), 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_orders_at_once_finish_together_in_three_dwells() {
    let app = TestApp::start_with(&[("mail.url", "none:")]).await;
    for n in 0..20 {
        app.place("1010", &format!("c{n}@example.org")).await;
    }
    for estado in STATES {
        for id in 1..=20 {
            app.in_state(id, estado).await;
        }
        app.clock.advance(DWELL);
    }
    assert_eq!(app.metric("encargo_orders{state=\"accepted\"}").await, 20);
    assert_eq!(app.metric("encargo_orders{state=\"finished\"}").await, 20);
    assert_eq!(app.metric("encargo_orders{state=\"in_flight\"}").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was_and_a_clock_set_back_only_delays() {
    let mut app = TestApp::start().await;
    app.place("1010", "ana@example.org").await;
    app.in_state(1, "recibido").await;
    app.clock.advance(DWELL / 2);
    app.stop().await;
    app.clock.advance(DWELL / 2);
    app.start_again().await;
    app.in_state(1, "preparando").await;
    app.mails(2).await; // one that still waited would wait until the clock has caught up

    // an hour back while it is down: the order waits one dwell more, not an hour, and history stays in order
    app.stop().await;
    let an_hour_ago = app.clock.now() - Duration::from_hours(1);
    app.clock.set_wall(an_hour_ago);
    app.start_again().await;
    app.advance_to(1, "entregando", DWELL).await;
    let order = app.advance_to(1, "finalizado", DWELL).await;
    let times: Vec<&str> = order["history"].as_array().unwrap().iter().map(|e| e["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    app.mails(4).await;
    app.stop().await;
}

/// Records as the old services write them: no key, no headers, `json.dumps` spacing, any partition.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_the_old_intake_are_processed() {
    let app = TestApp::start().await;
    let old = |value: &str, partition| NewRecord {
        topic: "compra_detalle".into(),
        partition: Some(partition),
        key: None,
        value: value.as_bytes().to_vec(),
        headers: Headers::default(),
        at: app.clock.now(),
    };
    let order =
        r#"{"orderid": 41, "gameid": "3170", "name": "Pok\u00e9mon", "price": "7.99", "usermail": "ana@example.org"}"#;
    let other = r#"{"orderid": 41, "gameid": "10", "name": "Otro", "price": "7.99", "usermail": "eva@example.org"}"#;
    // the order, poison, the identical order again, and another one under the same id
    let records = vec![old(order, 3), old("hola", 3), old(order, 3), old(other, 3)];
    app.app().log().append(records).await.unwrap();
    for estado in STATES {
        assert_eq!(app.in_state(41, estado).await["name"], "Pokémon");
        app.clock.advance(DWELL);
    }
    assert_eq!(app.metric("encargo_orders{state=\"accepted\"}").await, 3);
    assert_eq!(app.metric("encargo_orders{state=\"dead\"}").await, 2);
    let dead = app.app().store().dead(None, 10).await.unwrap();
    let reasons: Vec<&str> = dead.iter().map(|item| item.reason.as_str()).collect();
    assert_eq!(
        dead.iter().map(|item| item.id.to_string()).collect::<Vec<_>>(),
        ["compra_detalle/3/1", "compra_detalle/3/3"]
    );
    assert!(reasons[0].contains("JSON") && reasons[1].contains("other content"), "{reasons:?}");
    app.mails(4).await;
}

/// Mailboxes that know an id keep the first mail under it only, and every shop has an order 1.
#[tokio::test]
async fn message_ids_are_the_deployments_own_and_stay_over_restarts() {
    let mut origins = Vec::new();
    for _ in 0..2 {
        let mut app = TestApp::start().await;
        app.place("1010", "ana@example.org").await;
        app.mails(1).await;
        app.stop().await;
        app.start_again().await;
        app.advance_to(1, "preparando", DWELL).await;
        let mails = app.mails(2).await;
        let origin = |seq: u8| {
            let start = format!("<1.{seq}.");
            let mut rest = mails.iter().filter_map(|mail| mail.message_id.strip_prefix(&start));
            rest.next().expect("a mail of that state").to_owned()
        };
        assert_eq!(origin(1), origin(2));
        assert!(!origins.contains(&origin(1)), "two deployments share an id: {origins:?}");
        origins.push(origin(1));
    }
}

/// What a request says in `traceparent` stands in the log of every part that works on its order.
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_followed_from_the_request_to_the_last_mail() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut command = Process::command(&data, &["--dwell", "100ms"]);
    command.env("ENCARGO_LOGGING_LEVEL", "info,encargo=debug");
    let process = Process::spawn(command, data.with_extension("log"));
    process.ready().await;
    let order = serde_json::json!({ "product": "1010", "email": "ana@example.org" });
    let placed = reqwest::Client::new().post(process.url("intake", "/orders")).json(&order);
    let placed = placed.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01")).send().await.unwrap();
    assert_eq!(placed.status(), 202);
    eventually("a step of everybody's", async || {
        let log = read_log(&data);
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_default());
        let traced: Vec<_> = lines.filter(|line| line["trace_id"] == TRACE && line["order.id"] == "1").collect();
        let count = |message: &str| traced.iter().filter(|line| line["message"] == message).count();
        let counts = ["order accepted", "state entered", "mail sent"].map(count);
        if counts == [1, 4, 4] { Ok(()) } else { Err(format!("{counts:?}: {traced:#?}")) }
    })
    .await;
    assert!(process.terminate().success());
}
