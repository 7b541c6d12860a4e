//! How many instances are wanted, as an autoscaler asks.

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
    let spanish = app.http.get(app.ops("/scale?lang=es")).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(spanish["mail"]["reason"], "no llega nada ni espera nada");
    let metrics = app.http.get(app.ops("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("encargo_scale_wanted{role=\"fulfilment\"} 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_is_told_to_who_may_read_numbers() {
    let token = "0123456789abcdef";
    let app = TestApp::start_with(&[("ops.token", token)]).await;
    let ask = app.http.get(app.ops("/scale"));
    assert_eq!(ask.try_clone().unwrap().send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask.bearer_auth(token).send().await.unwrap().status(), StatusCode::OK);
}
