//! Orders and the log, read beside a running server.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Done, beside, encargo, two_orders};
use crate::harness::{app::TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_and_shown_beside_a_running_server() {
    let app = two_orders().await;
    let lines = beside(&app, &["list", "--json"]).await.json();
    let field = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("orderid"), [2, 1]);
    assert_eq!(field("estado"), ["recibido", "preparando"]);
    assert_eq!(field("usermail"), ["eva@example.org", "ana@example.org"]);
    let ids = |done: Done| done.json().iter().map(|line| line["orderid"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(beside(&app, &["list", "--json", "--state", "preparando"]).await), [1]);
    assert_eq!(ids(beside(&app, &["list", "--json", "--limit", "1"]).await), [2]);
    assert_eq!(ids(beside(&app, &["list", "--json", "--below", "2"]).await), [1]);
    // the application's clock stands in 2025, so by the system's clock both are late
    assert_eq!(ids(beside(&app, &["list", "--json", "--stuck"]).await), [2, 1]);
    let none = beside(&app, &["list", "--state", "perdido"]).await;
    assert!(none.err.contains("none of the states recibido, preparando"), "{}", none.err);
    let page = beside(&app, &["list", "--limit", "1"]).await;
    assert_eq!(page.err, "1 order shown; older ones: --below 2\n");
    assert!(page.out.starts_with("ORDER  STATE") && page.out.lines().count() == 2, "{}", page.out);

    let served: Value = app.http.get(app.tracking("/orders/1")).send().await.unwrap().json().await.unwrap();
    let mut shown = beside(&app, &["show", "1", "--json"]).await.json().remove(0);
    for entry in shown["history"].as_array_mut().unwrap().iter_mut().chain([&mut served.clone()]) {
        entry.as_object_mut().unwrap().remove("mail");
    }
    for key in ["orderid", "usermail", "handle", "placed_at", "next_at", "price"] {
        assert_eq!(shown[key], served[key], "{key}");
    }
    assert_eq!(shown["history"].as_array().unwrap().len(), 2);
    let text = beside(&app, &["show", "1"]).await.ok();
    for part in ["Order 1", "ana@example.org", "2025-11-24 16:00:08 UTC  +8.0 s", "/track/"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let unknown = beside(&app, &["show", "99"]).await;
    assert_eq!((unknown.status, unknown.out.as_str()), (1, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_beside_a_running_server() {
    let app = two_orders().await;
    let topics = beside(&app, &["log", "topics", "--json"]).await.json();
    let records = |topic: &str| -> u64 {
        let of = topics.iter().filter(|line| line["topic"] == topic);
        of.map(|line| line["end"].as_u64().unwrap() - line["start"].as_u64().unwrap()).sum()
    };
    assert_eq!((records("compra_detalle"), records("compra_confirmada")), (2, 3));
    let read = async |more: &[&str]| {
        let arguments = [&["log", "read", "compra_confirmada", "--json"], more].concat();
        let lines = beside(&app, &arguments).await.json();
        lines
            .iter()
            .map(|line| format!("{}.{}", line["key"].as_str().unwrap(), line["value"]["seq"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&[]).await, ["1.1", "1.2", "2.1"], "by time over all partitions");
    assert_eq!(read(&["--limit", "2"]).await, ["1.1", "1.2"]);
    let partition = topics.iter().find(|line| line["topic"] == "compra_confirmada" && line["end"] == 2);
    if let Some(partition) = partition.map(|line| line["partition"].to_string()) {
        assert_eq!(read(&["--partition", &partition, "--from", "1"]).await, ["1.2"]);
        assert_eq!(read(&["--partition", &partition, "--tail", "1"]).await, ["1.2"]);
    }
    let text = beside(&app, &["log", "read", "compra_detalle", "--limit", "1", "--headers"]).await.ok();
    assert!(
        text.contains("2025-11-24 16:00:00 UTC  key 1") && text.contains("ce_type: encargo.order.placed"),
        "{text}"
    );
    let unknown = beside(&app, &["log", "read", "compras"]).await;
    assert_eq!(unknown.status, 1);
    assert!(unknown.err.contains("there are compra_confirmada, compra_dead_letters"), "{}", unknown.err);
    let beyond = beside(&app, &["log", "read", "compra_detalle", "--partition", "9"]).await;
    assert!(beyond.err.contains("has partitions 0 to 3"), "{}", beyond.err);

    // the projection's offsets stand in the store and are copied to the log now and then
    eventually("no lag", async || {
        app.clock.advance(Duration::from_secs(1));
        let groups = beside(&app, &["log", "groups", "--json"]).await.json();
        let behind = groups.iter().filter(|line| line["lag"] != 0).count();
        if behind == 0 && groups.len() >= 8 { Ok(()) } else { Err(format!("{groups:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_the_log_sees_what_comes() {
    let app = two_orders().await;
    let data = app.config.data.display().to_string();
    let arguments = ["log", "read", "compra_detalle", "--follow", "--limit", "3", "--json", "--data", &data];
    let child = encargo(app.folder(), &arguments).spawn().unwrap();
    let follower = tokio::task::spawn_blocking(move || Done::from(child.wait_with_output().unwrap()));
    app.place("1030", "leo@example.org").await;
    let lines = follower.await.unwrap().json();
    assert_eq!(lines.iter().map(|line| line["key"].clone()).collect::<Vec<_>>(), ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_followed_to_its_end() {
    let app = TestApp::start().await;
    let url = app.intake("");
    let arguments = ["place", "1010", "--email", "ana@example.org", "--follow", "--json", "--url", &url];
    let child = encargo(app.folder(), &arguments).spawn().unwrap();
    let follower = tokio::task::spawn_blocking(move || Done::from(child.wait_with_output().unwrap()));
    app.in_state(1, "recibido").await;
    for state in ["preparando", "entregando", "finalizado"] {
        app.advance_to(1, state, Duration::from_secs(8)).await;
    }
    let done = follower.await.unwrap();
    let states: Vec<_> = done.err.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(states, ["recibido", "preparando", "entregando", "finalizado"]);
    let order = done.json().remove(0);
    assert_eq!(
        (&order["finished"], &order["estado"], &order["orderid"]),
        (&json!(true), &json!("finalizado"), &json!(1))
    );
    assert!(order.get("usermail").is_none(), "a customer's answer has no address");
}
