//! A week of a shop in which people do everything: no state has a timer.

use std::{collections::BTreeSet, time::Duration};

use encargo::{
    domain::Timestamp,
    store::orders::{OrderCounts, Query},
};
use serde_json::json;

use super::{order, shop};
use crate::harness::{app::TestApp, eventually};

const BY_HAND: &str = r#"
name = "mostrador"
version = 1
[[step]]
state = "recibido"
leave = "command"
expect = "5m"
[[step]]
state = "preparando"
leave = "command"
expect = "20m"
[[step]]
state = "entregando"
leave = "command"
expect = "2h"
[[step]]
state = "finalizado"
"#;

/// Minutes in which each state is usually left.
const EXPECTED: [(&str, u64); 3] = [("recibido", 5), ("preparando", 20), ("entregando", 120)];

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// The shop's own book: which orders should have been moved on, and by when.
#[derive(Default)]
struct Book(Vec<(u64, Timestamp)>);

impl Book {
    /// An order is in that state since now.
    fn enters(&mut self, app: &TestApp, id: u64, estado: &str) {
        self.0.retain(|(other, _)| *other != id);
        let expected = EXPECTED.iter().find(|(state, _)| *state == estado);
        self.0.extend(expected.map(|(_, within)| (id, app.clock.now() + minutes(*within))));
    }

    async fn moves_on(&mut self, app: &TestApp, id: u64) {
        let said = shop(app, id, "advance", json!({ "by": "Ana" })).await;
        self.enters(app, id, said["estado"].as_str().unwrap());
    }

    /// Time passes; then the list of what is stuck, which `encargo list --stuck` prints, has exactly what is late by the book.
    async fn pass(&self, app: &TestApp, time: u64) {
        app.clock.advance(minutes(time));
        let now = app.clock.now();
        let is_late = |(_, by): &&(u64, Timestamp)| now.since(*by) > Query::STUCK_AFTER;
        let late: BTreeSet<u64> = self.0.iter().filter(is_late).map(|(id, _)| *id).collect();
        eventually("the list of stuck orders", async || {
            let query = Query { limit: 100, ..Query::stuck(now) };
            let stuck = app.app().store().orders(query).await.map_err(|error| error.to_string())?;
            let stuck: BTreeSet<u64> = stuck.iter().map(|view| view.order.id.get()).collect();
            if stuck == late { Ok(()) } else { Err(format!("{stuck:?} are listed, {late:?} are late")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_by_hand_lists_what_passed_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flow.toml");
    std::fs::write(&file, BY_HAND).unwrap();
    let app = TestApp::start_with(&[("flow.file", &file.display().to_string())]).await;
    let (begun, mut book) = (app.clock.now(), Book::default());
    for day in 0..7 {
        let [prompt, slow, left] = [1, 2, 3].map(|n| day * 3 + n);
        for id in [prompt, slow, left] {
            app.place("1010", "ana@example.org").await;
            app.in_state(id, "recibido").await;
            book.enters(&app, id, "recibido");
        }
        book.pass(&app, 4).await;
        book.moves_on(&app, prompt).await;
        book.moves_on(&app, slow).await;
        book.pass(&app, 10).await; // one is left lying
        book.moves_on(&app, prompt).await;
        book.pass(&app, 15).await; // and one takes too long
        book.moves_on(&app, slow).await;
        book.pass(&app, 100).await;
        book.moves_on(&app, prompt).await;
        book.moves_on(&app, slow).await;
        // what was left is sorted out in the evening, on every other day only the next morning, and not always well
        book.pass(&app, if day % 2 == 0 { 9 * 60 } else { 20 * 60 }).await;
        if day % 3 == 0 {
            shop(&app, left, "cancel", json!({ "reason": "nadie lo ha hecho" })).await;
            book.enters(&app, left, "cancelado");
        }
        while book.0.iter().any(|(id, _)| *id == left) {
            book.moves_on(&app, left).await;
            book.pass(&app, 1).await;
        }
        let rest = minutes((day + 1) * 24 * 60).saturating_sub(app.clock.now().since(begun));
        book.pass(&app, rest.as_secs() / 60).await;
    }
    assert_eq!(app.clock.now().since(begun), minutes(7 * 24 * 60));
    assert!(book.0.is_empty(), "{:?}", book.0);
    let OrderCounts { total, finished, cancelled, .. } = app.app().store().order_counts().await.unwrap();
    assert_eq!((total, finished, cancelled), (21, 18, 3));
    let history = order(&app, 1).await["history"].as_array().unwrap().clone();
    let by: Vec<_> = history.iter().map(|entry| entry["by"].as_str()).collect();
    assert_eq!(by, [None, Some("Ana"), Some("Ana"), Some("Ana")], "nothing happened by itself");
}
