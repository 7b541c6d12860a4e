//! A shop in which people move orders on, and the command line that they do it with.

use std::time::Duration;

use serde_json::{Value, json};

use super::{answer, ask, order, shop};
use crate::{cli::beside, harness::app::TestApp};

const KITCHEN: &str = r#"
name = "cocina"
version = 1
[[step]]
state = "recibido"
leave = "command"
expect = "5m"
[[step]]
state = "preparando"
leave = "either"
dwell = "1h"
[[step]]
state = "entregando"
leave = "command"
[[step]]
state = "finalizado"
[refused]
state = "rechazado"
mail = false
"#;

/// An application with that flow, and so many orders in their first state.
async fn kitchen(orders: u64) -> (TestApp, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kitchen.toml");
    std::fs::write(&file, KITCHEN).unwrap();
    let app = TestApp::start_with(&[("flow.file", &file.display().to_string())]).await;
    for id in 1..=orders {
        app.place("1010", "ana@example.org").await;
        app.in_state(id, "recibido").await;
    }
    (app, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_move_orders_on_or_refuse_them() {
    let (app, _folder) = kitchen(2).await;
    let shown = order(&app, 1).await;
    assert_eq!((&shown["waits"], &shown["expect_at"]), (&json!("command"), &json!("2025-11-24T16:05:00.000Z")));
    assert_eq!(shown["allowed"], json!(["cancel", "advance", "refuse", "hold", "address"]));
    let (status, said) = answer(ask(&app, 1, "delay", &json!({ "for": "1m" }))).await;
    assert_eq!((status, &said["code"]), (409, &json!("no-timer")), "{said}");
    let said = shop(&app, 1, "advance", json!({ "by": "cocina" })).await;
    assert_eq!((&said["estado"], &said["waits"]), (&json!("preparando"), &json!("timer")));
    assert_eq!(shop(&app, 1, "advance", json!({})).await["estado"], "entregando");
    let said = shop(&app, 1, "advance", json!({})).await;
    assert_eq!((&said["estado"], &said["closes"]), (&json!("finalizado"), &json!("finished")));
    let said = shop(&app, 2, "refuse", json!({ "reason": "no queda pan" })).await;
    assert_eq!((&said["estado"], &said["closes"]), (&json!("rechazado"), &json!("refused")));
    assert_eq!(order(&app, 2).await["finished"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_changes_one_order_and_many() {
    let (app, _folder) = kitchen(4).await;
    let url = app.tracking("");
    let run = async |arguments: &[&str]| beside(&app, &[arguments, &["--url", &url]].concat()).await;

    let done = run(&["advance", "1", "--as", "cocina", "--reason", "ya", "--key", "k-1"]).await;
    assert_eq!(done.ok(), "Order 1  preparando\n");
    assert_eq!(
        run(&["advance", "1", "--as", "cocina", "--key", "k-1", "--json"]).await.json()[0]["estado"],
        "preparando"
    );
    let text = beside(&app, &["show", "1"]).await.ok();
    assert!(text.contains("cocina: ya"), "{text}");
    let delayed = run(&["delay", "1", "--by", "20m", "--json"]).await.json();
    assert_eq!((&delayed[0]["result"], &delayed[0]["next_at"]), (&json!("done"), &json!("2025-11-24T17:20:00.000Z")));
    run(&["delay", "1", "--until", "2025-11-24T18:00:00Z"]).await.ok();
    run(&["hold", "1", "--as", "cocina", "--reason", "sin luz"]).await.ok();
    let held = beside(&app, &["why", "1", "--json"]).await.json();
    app.clock.advance(Duration::from_secs(1));
    run(&["readdress", "1", "--to", "ana.b@example.org", "--as", "leo", "--reason", "typo"]).await.ok();
    assert_eq!((&held[0]["by"], &held[0]["reason"]), (&json!("cocina"), &json!("sin luz")));
    assert_eq!(beside(&app, &["why", "1", "--json"]).await.json(), held, "who corrects an address holds nothing");
    let page = app.http.get(app.ops("/orders/1")).header("accept", "text/html").header("accept-language", "en");
    let page = page.send().await.unwrap().text().await.unwrap();
    let why = page.split("id=\"why\"").nth(1).unwrap().split("</div>").next().unwrap();
    assert!(why.contains("cocina") && why.contains("sin luz") && !why.contains("typo"), "{why}");
    let text = beside(&app, &["show", "1"]).await.ok();
    for part in ["preparando, held", "ana.b@example.org", "placed as ana@example.org", "preparando (readdressed)"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let refused = run(&["hold", "1"]).await;
    assert_eq!((refused.status, refused.out.as_str()), (1, ""));
    assert_eq!(refused.err, "order 1: The order is held: resume it first.\n");
    run(&["resume", "1"]).await.ok();

    // orders 2 to 4 wait in their first state, longer than anybody expected
    let stuck = beside(&app, &["list", "--stuck", "--json"]).await.json();
    assert_eq!(stuck.len(), 4, "by the system's clock all are late: {stuck:?}");
    let dry = run(&["advance", "--state", "recibido", "--older", "1h", "--dry-run"]).await;
    assert!(dry.out.contains("by hand, "), "{}", dry.out);
    assert_eq!((dry.status, dry.err.as_str()), (0, "Would advance 3 orders; nothing was changed.\n"));
    let unasked = run(&["advance", "--state", "recibido"]).await;
    assert_eq!(unasked.status, 1);
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!(order(&app, 2).await["estado"], "recibido");
    let some = run(&["advance", "--state", "recibido", "--limit", "2", "--yes", "--json"]).await;
    assert!(some.err.contains("There are more") && some.err.ends_with("advanced 2 orders.\n"), "{}", some.err);
    let ids: Vec<Value> = some.json().into_iter().map(|line| line["orderid"].clone()).collect();
    assert_eq!(ids, [4, 3]);
    let stranger = run(&["cancel", "--state", "perdido", "--yes"]).await.err;
    assert!(stranger.starts_with("No orders; \"perdido\" is none of the states recibido, "), "{stranger}");

    // some can, some cannot
    let mixed = run(&["refuse", "2", "2", "99", "3"]).await;
    assert_eq!((mixed.status, mixed.out.lines().count()), (1, 2), "{mixed:?}");
    assert!(
        mixed.err.contains("order 99: there is no order") && mixed.err.contains("refused 2 orders, 1 failed."),
        "{}",
        mixed.err
    );
    let list = beside(&app, &["list", "--json"]).await.json();
    let closes: Vec<_> = list.iter().map(|line| line["closes"].clone()).collect();
    assert_eq!(closes, [Value::Null, json!("refused"), json!("refused"), Value::Null]);
    let away = beside(&app, &["cancel", "4", "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(away.status, 1);
    assert!(away.err.contains("Is `encargo up` running there?"), "{}", away.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn misuse_of_commands_is_told_before_anything_happens() {
    let (app, _folder) = kitchen(1).await;
    for misuse in [
        &["cancel"][..],
        &["cancel", "x"],
        &["cancel", "1", "--state", "recibido"],
        &["delay", "1"],
        &["delay", "1", "--by", "soon"],
        &["delay", "1", "--by", "0s"],
        &["delay", "1", "--by", "1m", "--until", "2026-01-31T12:00:00Z"],
        &["readdress", "1"],
        &["readdress", "1", "--to", "ana"],
        &["advance", "--older", "long"],
    ] {
        let done = beside(&app, misuse).await;
        assert_eq!((done.status, done.out.as_str()), (2, ""), "{misuse:?}: {done:?}");
    }
    let alone = beside(&app, &["cancel"]).await.err;
    assert!(alone.contains("<ID|--state <STATE>|--older <DURATION>>"), "{alone}");
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(order(&app, 1).await["seq"], order(&app, 1).await["history"].as_array().unwrap().len());
}
