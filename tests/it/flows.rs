//! The versions of flows that are in use stand in the log, and one version never means two things.

use std::{path::Path, time::Duration};

use encargo::{
    app::App,
    config,
    domain::Flow,
    flows::topic::{self, Versions},
};

use serde_json::{Value, json};

use crate::harness::{app::TestApp, eventually};

fn versions(app: &TestApp) -> Versions {
    topic::load(app.app().log().as_ref(), &app.config.topics.flows).unwrap()
}

fn ids(versions: &Versions) -> Vec<String> {
    versions.all().into_iter().map(|flow| flow.id().to_string()).collect()
}

fn write(path: &Path, version: u32, dwell: &str) {
    let states = Flow::STATES.map(|state| format!("[[step]]\nstate = \"{state}\"\n")).concat();
    let text = format!("name = \"tienda\"\nversion = {version}\ndwell = \"{dwell}\"\n{states}");
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_change_are_a_new_version_at_the_next_start() {
    let mut app = TestApp::start().await;
    assert_eq!(ids(&versions(&app)), ["default@1"]);
    for (dwell, known) in [(8, &["default@1"][..]), (2, &["default@1", "default@2"])] {
        app.stop().await;
        app.config.flow.dwell = std::time::Duration::from_secs(dwell);
        app.start_again().await;
        assert_eq!(ids(&versions(&app)), known);
        let newest = versions(&app).newest("default").cloned().unwrap();
        assert_eq!(newest.steps(), app.config.flow().unwrap().steps());
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_other_content_is_refused_at_the_start_with_both_places() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("tienda.toml"), folder.path().join("otra.toml"));
    let file = |path: &Path| config::load(None, &[("flow.file", path.display().to_string())]).unwrap().config.flow.file;
    write(&path, 1, "8s");
    let mut app = TestApp::start_with(&[("flow.file", path.to_str().unwrap())]).await;
    assert_eq!(ids(&versions(&app)), ["tienda@1"]);
    app.stop().await;

    write(&other, 1, "9s");
    app.config.flow.file = file(&other);
    for _ in 0..2 {
        let refused = App::start(&app.config, app.clock.clone()).await.map(drop).unwrap_err();
        let said = format!("{refused:#}");
        for part in [
            "otra.toml of slot 0",
            "encargo_flows/0 at offset 0",
            "tienda.toml of slot 0",
            "version 1 of the flow tienda",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    write(&other, 2, "9s");
    app.config.flow.file = file(&other);
    app.start_again().await;
    assert_eq!(ids(&versions(&app)), ["tienda@1", "tienda@2"]);
    app.stop().await;
    // an older file is no reason not to start
    app.config.flow.file = file(&path);
    app.start_again().await;
    assert_eq!(ids(&versions(&app)), ["tienda@1", "tienda@2"]);
    app.stop().await;
}

/// Places an order and waits until it is shown.
async fn place(app: &TestApp) -> u64 {
    let body = json!({ "product": "1010", "email": "ana@example.org" });
    let placed = app.http.post(app.intake("/orders")).json(&body).send().await.unwrap();
    let id = placed.json::<Value>().await.unwrap()["orderid"].as_u64().unwrap();
    eventually("its first state", async || match &history(app, id).await[..] {
        [] => Err(String::new()),
        _ => Ok(()),
    })
    .await;
    id
}

async fn history(app: &TestApp, id: u64) -> Vec<String> {
    let order = app.http.get(app.tracking(&format!("/orders/{id}"))).send().await.unwrap();
    let order: Value = order.json().await.unwrap();
    let states = order["history"].as_array().cloned().unwrap_or_default();
    states.iter().map(|entry| entry["estado"].as_str().unwrap().to_owned()).collect()
}

/// Time goes on, a second at a time, until the order has gone through these states.
async fn goes_through(app: &TestApp, id: u64, states: &[&str]) {
    eventually(&format!("order {id}"), async || {
        let history = history(app, id).await;
        if history == states {
            return Ok(());
        }
        app.clock.advance(Duration::from_secs(1));
        Err(format!("{history:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_in_flight_go_on_under_the_version_that_they_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cocina.toml");
    let mut app = TestApp::start_with(&[]).await;
    let old = place(&app).await;
    app.stop().await;
    let text =
        "name = \"cocina\"\nversion = 7\ndwell = \"2s\"\n[[step]]\nstate = \"recibido\"\n[[step]]\nstate = \"horno\"\n";
    std::fs::write(&path, text).unwrap();
    let file = config::load(None, &[("flow.file", path.display().to_string())]).unwrap().config.flow.file;
    app.config.flow.file = file;
    app.start_again().await;
    let new = place(&app).await;
    goes_through(&app, new, &["recibido", "horno"]).await;
    app.stop().await;
    app.start_again().await; // also over another restart
    goes_through(&app, old, &Flow::STATES).await;
    assert_eq!(history(&app, new).await.len(), 2, "it has ended");
    app.stop().await;
}

#[cfg(feature = "kafka")]
mod on_kafka {
    use encargo::eventlog::{
        EventLog as _, TopicSpec,
        kafka::{KafkaLog, Options},
    };

    use crate::{
        harness::cluster::{Cluster, needed},
        roles::{finished, place},
    };

    /// The topics of the version before, made by somebody else with one copy each.
    async fn before(settings: &[(&'static str, &str)]) -> (Cluster, KafkaLog) {
        let broker = needed("ENCARGO_TEST_KAFKA");
        let url = format!("kafka://{broker}");
        let cluster = Cluster::name(&[&[("log.url", &*url)], settings].concat()).await;
        let options = Options { brokers: broker, replication: 1, min_insync_replicas: 1, ..Options::default() };
        let log = KafkaLog::open(options).unwrap();
        let topics = cluster.config().topics;
        for (name, partitions) in [(topics.orders, 2), (topics.states, 2), (topics.dead, 1), (topics.ids, 1)] {
            log.create(&TopicSpec { name, partitions }).unwrap();
        }
        (cluster, log)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn kafka_topics_of_before_get_one_for_versions_without_a_step_by_hand() {
        let (cluster, log) = before(&[("log.replication", "1"), ("log.min_insync", "1")]).await;
        let up = cluster.start("up", 0).await;
        let placed = place(&up, "ana@example.org").await;
        finished(&up, &placed["orderid"]).await;
        let versions = encargo::flows::topic::load(&log, &cluster.config().topics.flows).unwrap();
        assert_eq!(versions.newest("default").map(|flow| flow.version()), Some(1));
        // it fits, its records for ever included
        let told = cluster.run(&["log", "init", "--dry-run", "--json"]);
        let flows = told.lines().find(|line| line.contains("encargo_flows")).unwrap();
        assert!(flows.contains("\"fits\"") && flows.contains("\"retention.ms\":\"-1\""), "{told}");
    }

    /// Two instances with different files share the partitions: soon all new orders begin under the newer version, also in the
    /// partitions that the older one has kept, while what is in flight stays with its own.
    #[tokio::test(flavor = "multi_thread")]
    async fn kafka_the_newer_version_wins_between_instances_with_different_files() {
        let (mut cluster, log) = before(&[("log.replication", "1"), ("log.min_insync", "1")]).await;
        let path = |name: &str| cluster.folder.path().join(name);
        let (older, newer) = (path("older.toml"), path("newer.toml"));
        super::write(&older, 1, "60s");
        super::write(&newer, 2, "61s");
        cluster.unset("flow.dwell"); // the file says it
        cluster.set("flow.file", older.display().to_string());
        let up = cluster.start("up", 0).await;
        let first = place(&up, "ana@example.org").await["orderid"].as_u64().unwrap();
        let states = cluster.config().topics.states;
        let flow_of = async |id: u64| {
            crate::harness::eventually(&format!("order {id}"), async || {
                let read = |partition| crate::eventlog::read_all(&log, &crate::eventlog::part(&states, partition), 0);
                let events = (0..2).flat_map(read).map(|record| {
                    encargo::domain::wire::decode_event(&record.value, &record.headers, record.at).unwrap()
                });
                let mut ours = events.filter(|event| event.order.id.get() == id);
                ours.next_back().map(|event| event.flow.unwrap().to_string()).ok_or_else(|| "no event".to_owned())
            })
            .await
        };
        assert_eq!(flow_of(first).await, "tienda@1");
        cluster.set("flow.file", newer.display().to_string());
        let other = cluster.start("fulfilment", 1).await;
        let clock = crate::harness::real_clock();
        let ends = clock.monotonic() + crate::harness::PATIENCE;
        let mut under_the_newer = 0;
        while under_the_newer < 8 {
            let id = place(&up, "ana@example.org").await["orderid"].as_u64().unwrap();
            let flow = flow_of(id).await;
            under_the_newer = if flow == "tienda@2" { under_the_newer + 1 } else { 0 };
            assert!(clock.monotonic() < ends, "order {id} began under {flow}");
        }
        assert_eq!(flow_of(first).await, "tienda@1");
        let said = std::fs::read_to_string(cluster.log_of("up", 0)).unwrap();
        assert!(said.contains("version 2 of this flow came into use"), "{said}");
        drop((up, other));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn kafka_where_that_topic_cannot_be_made_it_is_told_and_orders_go_on() {
        // three copies on one broker
        let (cluster, log) = before(&[]).await;
        let up = cluster.start("up", 0).await;
        let placed = place(&up, "ana@example.org").await;
        finished(&up, &placed["orderid"]).await;
        assert_eq!(log.topic(&cluster.config().topics.flows).unwrap(), None);
        let said = std::fs::read_to_string(cluster.log_of("up", 0)).unwrap();
        assert!(said.contains("the flow cannot be shared with other instances"), "{said}");
    }
}
