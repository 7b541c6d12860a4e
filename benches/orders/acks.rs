//! Durable acknowledgements beside a handler of the same server that does nothing, in turn, in one process.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use encargo::{
    bench::{load::Outcome, stats::Summary},
    catalog::Catalog,
    clock::Clock,
    domain::HandleKey,
    env::Env,
    eventlog::{
        EventLog, TopicSpec,
        sqlite::{Options as LogOptions, SqliteLog},
    },
    intake::{Deps, Intake, Options},
    sqlite,
    store::sqlite::{Options as StoreOptions, SqliteStore},
    web,
};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::load;

pub async fn run(duration: Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let stop = CancellationToken::new();
    let intake = intake(folder.path(), &stop);
    let no_op = Router::new().route("/orders", post(|_: Bytes| async { (StatusCode::ACCEPTED, r#"{"orderid":1}"#) }));
    let (durable, nothing) = (serve(intake, &stop).await, serve(no_op, &stop).await);
    println!("concurrency   no-op/s   durable/s   ratio   durable p50     p99   a commit");
    for connections in [1, 16, 64, 256] {
        load(nothing, connections, duration / 4, None).await; // warm-up
        let baseline = load(nothing, connections, duration, None).await;
        let before = commits();
        let ours = load(durable, connections, duration, None).await;
        let shared = ours.latencies().count() as f64 / (commits() - before) as f64;
        let rate = |outcome: &Outcome| outcome.latencies().count() as f64 / outcome.elapsed.as_secs_f64();
        let (latency, (refused, _)) = (Summary::of(ours.latencies()).scaled(1e6), ours.refused_and_lost());
        println!(
            "{connections:11} {:9.0} {:11.0} {:6.0}% {:10.0} µs {:6.0} µs {shared:9.1}{}",
            rate(&baseline),
            rate(&ours),
            rate(&ours) / rate(&baseline) * 100.0,
            latency.p50,
            latency.p99,
            if refused > 0 { format!("   {refused} refused") } else { String::new() },
        );
    }
    stop.cancel();
}

/// Of the log.
fn commits() -> u64 {
    sqlite::commits().iter().filter(|(file, _)| file == "log").map(|(_, count)| count).sum()
}

fn intake(folder: &Path, stop: &CancellationToken) -> Router {
    let log = SqliteLog::open(&folder.join("log.db"), LogOptions::default()).expect("a log");
    for (name, partitions) in [("compra_detalle", 4), ("encargo_ids", 1)] {
        log.create(&TopicSpec { name: name.into(), partitions }).expect("a topic");
    }
    let store = SqliteStore::open(&folder.join("store.db"), StoreOptions::default()).expect("a store");
    let deps = Deps {
        log: Arc::new(log),
        store: Arc::new(store),
        catalog: Arc::new(Catalog::sample()),
        env: Env::real(Clock::system()),
        handles: HandleKey::new([7; 16]),
        spans: encargo::spans::Spans::default(),
    };
    let intake = Intake::new(deps, Options::default(), &mut Registry::default()).expect("an intake");
    let router = intake.router();
    tokio::spawn(intake.run(stop.clone()));
    router
}

async fn serve(router: Router, stop: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(web::serve(listener, router, web::Limits::default(), stop.clone()));
    address
}
