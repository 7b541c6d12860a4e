//! The modes that drive the real binary.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{client, option, server::Server, smtp::Sink, watch::watch};

/// Connections of the load generator where throughput counts.
const CONNECTIONS: usize = 64;

/// Starts the server on the log and the store that `--log URL` and `--store URL` name, else on its own.
async fn start(data: &Path, dwell: Duration, mail: &str) -> Server {
    let dwell = format!("{}ms", dwell.as_millis());
    let (log, store) = (option("--log", String::new()), option("--store", String::new()));
    let mut arguments = vec!["--dwell", &dwell, "--mail", mail];
    for (name, url) in [("--log", &log), ("--store", &store)] {
        if !url.is_empty() {
            arguments.extend([name, url]);
        }
    }
    Server::start(data, &arguments).await
}

/// As many orders as it takes, or `rate` per second, through all states with a dwell of 1 s; what counts is what is
/// finished and mailed per second.
pub async fn flow(mail: &str, duration: Duration, rate: Option<f64>) {
    let data = tempfile::tempdir().expect("a folder");
    let destination = Destination::open(mail, data.path()).await;
    let server = start(data.path(), Duration::from_secs(1), &destination.url).await;
    let desks: usize = option("--desks", 0);
    for _ in 0..desks {
        server.follow_desk().await;
    }
    println!(
        "mail {mail}, dwell 1 s, {CONNECTIONS} connections, {duration:?} after 10 s of warm-up, {desks} open desks"
    );
    let load = tokio::spawn(client::load(server.intake, CONNECTIONS, duration + Duration::from_secs(12), rate));
    tokio::time::sleep(Duration::from_secs(10)).await;
    watch(&server, duration).await.report();
    load.await.expect("no panic").report();
    server.kill();
}

/// Where mails go, and the sink behind it if that is a server.
struct Destination {
    url: String,
    _sink: Option<Sink>,
}

impl Destination {
    async fn open(mail: &str, data: &Path) -> Self {
        match mail {
            "none" => Self { url: "none:".to_owned(), _sink: None },
            "smtp" => {
                let sink = Sink::counting().await;
                Self { url: sink.url(), _sink: Some(sink) }
            }
            _ => Self { url: format!("maildir:{}", data.join("mail").display()), _sink: None },
        }
    }
}

/// Fills the flow at a steady rate until `orders` are in flight, then measures lateness while it stays so.
pub async fn timers(orders: u64, rate: f64, mail: &str) {
    let data = tempfile::tempdir().expect("a folder");
    let dwell = Duration::from_secs_f64(orders as f64 / rate / 3.0);
    let destination = Destination::open(mail, data.path()).await;
    let server = start(data.path(), dwell, &destination.url).await;
    let (empty, _) = server.usage();
    let (fill, measure) = (dwell * 3 + Duration::from_secs(5), Duration::from_secs(30));
    let load = tokio::spawn(client::load(server.intake, CONNECTIONS, fill + measure, Some(rate)));
    tokio::time::sleep(fill).await;
    let span = watch(&server, measure).await;
    let in_flight = span.after.value("encargo_orders{state=\"in_flight\"}");
    println!("in flight  {in_flight:8.0} orders at {rate} orders/s, dwell {dwell:.1?}, mail {mail}");
    span.report();
    println!("           {empty:.0} MB before the first order");
    load.await.expect("no panic").report();
    server.kill();
}

/// Places orders, kills the server while all of them wait for their first timer, and starts it again.
pub async fn restart(orders: u64) {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), Duration::from_hours(1), "none:").await;
    let started = Instant::now();
    while server.metrics().await.value("encargo_orders{state=\"in_flight\"}") < orders as f64 {
        client::load(server.intake, CONNECTIONS, Duration::from_secs(1), None).await;
    }
    let in_flight = server.metrics().await.value("encargo_orders{state=\"in_flight\"}");
    println!("in flight  {in_flight:8.0} orders placed in {:?}, {:.0} MB", started.elapsed(), server.usage().0);
    server.kill();
    let started = Instant::now();
    // with a dwell of zero every timer is due at once
    let server = start(data.path(), Duration::from_millis(1), "none:").await;
    println!("ready      {:?} after start", server.ready_after);
    loop {
        let fired = server.metrics().await.value("encargo_order_transitions_total{estado=\"preparando\"}");
        if fired > 0.0 {
            println!("first fire {:?} after start, {:.0} MB", started.elapsed(), server.usage().0);
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "no timer fired in 60 s");
    }
    loop {
        let metrics = server.metrics().await;
        if metrics.value("encargo_orders{state=\"in_flight\"}") == 0.0 {
            println!("all done   {:?} after start", started.elapsed());
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.kill();
}

/// Three times the sustainable rate for 30 s, then half of it.
pub async fn overload(sustainable: f64) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &["--dwell", "1s"]).await;
    for (name, factor, seconds, connections) in
        [("normal", 0.5, 10, 64), ("overload", 3.0, 30, 400), ("normal", 0.5, 10, 64), ("normal", 0.5, 10, 64)]
    {
        let before = server.metrics().await;
        let outcome =
            client::load(server.intake, connections, Duration::from_secs(seconds), Some(sustainable * factor)).await;
        let (after, (rss, _)) = (server.metrics().await, server.usage());
        println!(
            "{name:9} {:6.0} accepted/s {:7} refused, answer p99 {:6} µs, lateness p99 <= {} s, {rss:.0} MB",
            outcome.rate(),
            outcome.refused,
            outcome.latency.value_at_quantile(0.99),
            after.quantile_since(&before, "encargo_transition_lateness_seconds", 0.99),
        );
    }
    server.kill();
}
