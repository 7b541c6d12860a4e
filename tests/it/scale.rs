//! How many instances are wanted, as an autoscaler asks.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::harness::{app::TestApp, eventually};

async fn scale(app: &TestApp) -> Value {
    let answer = app.http.get(app.ops("/scale?lang=en")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_is_wanted_of_what_one_process_does() {
    let app = TestApp::start_with(&[("scale.fulfilment", "1200")]).await;
    eventually("a word about each role", async || {
        let said = scale(&app).await;
        for role in ["intake", "fulfilment", "tracking", "mail"] {
            if said[role]["wanted"] != 1 || said[role]["at_most"] != 1 {
                return Err(format!("{role}: {said}"));
            }
        }
        Ok(())
    })
    .await;
    let fulfilment = &scale(&app).await["fulfilment"];
    assert_eq!((&fulfilment["capacity_per_s"], &fulfilment["capacity"]), (&1200.0.into(), &"set".into()));
    assert_eq!(fulfilment["reason"], "nothing comes, and nothing waits");
    assert_eq!(
        (&fulfilment["foreseen"], &fulfilment["next"]),
        (&1.into(), &Value::Array(Vec::new())),
        "too little is known"
    );
    let spanish = app.http.get(app.ops("/scale?lang=es")).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(spanish["mail"]["reason"], "no llega nada ni espera nada");
    let due = spanish["mail"]["due"].as_array().unwrap();
    assert_eq!((due.len(), &due[0]["wanted"]), (10, &1.into()));
    assert_eq!(due[0]["reason"], "vencen o llegan 0,0/s y una instancia hace 200/s");
    let metrics = app.http.get(app.ops("/metrics")).send().await.unwrap().text().await.unwrap();
    for metric in ["wanted", "foreseen"] {
        assert!(metrics.contains(&format!("encargo_scale_{metric}{{role=\"fulfilment\"}} 1\n")), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hours_to_come_are_told_once_two_weeks_are_known() {
    let app = TestApp::start().await;
    let placed = app.place("1010", "ana@example.org").await;
    app.in_state(placed["orderid"].as_u64().unwrap(), "recibido").await;
    app.clock.advance(Duration::from_hours(24 * 14));
    let mail = eventually("a forecast", async || match scale(&app).await["mail"].clone() {
        mail if mail["next"].as_array().is_some_and(|next| !next.is_empty()) => Ok(mail),
        mail => Err(mail.to_string()),
    })
    .await;
    let next = mail["next"].as_array().unwrap();
    assert_eq!((next.len(), &next[0]["wanted"], &mail["foreseen"]), (12, &1.into(), &mail["wanted"]));
    assert_eq!(next[0]["reason"], "at most 0.0/s are expected 9 times out of 10, and one instance does 200/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_is_told_to_who_may_read_numbers() {
    let token = "0123456789abcdef";
    let app = TestApp::start_with(&[("ops.token", token)]).await;
    let ask = app.http.get(app.ops("/scale"));
    assert_eq!(ask.try_clone().unwrap().send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask.bearer_auth(token).send().await.unwrap().status(), StatusCode::OK);
}
