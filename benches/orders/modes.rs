//! The modes that drive the real binary.

use std::time::{Duration, Instant};

use crate::{client, server::Server, smtp::Sink};

/// Connections of the load generator where throughput counts.
const CONNECTIONS: usize = 64;

/// As many orders as it takes, or `rate` per second, through all states with a dwell of 1 s; what counts is what is
/// finished and mailed per second.
pub async fn flow(mail: &str, duration: Duration, rate: Option<f64>) {
    let data = tempfile::tempdir().expect("a folder");
    let sink = if mail == "smtp" { Some(Sink::counting().await) } else { None };
    let url = match (mail, &sink) {
        ("none", _) => "none:".to_owned(),
        ("smtp", Some(sink)) => sink.url(),
        _ => format!("maildir:{}", data.path().join("mail").display()),
    };
    let server = Server::start(data.path(), &["--dwell", "1s", "--mail", &url]).await;
    println!("mail {mail}, dwell 1 s, {CONNECTIONS} connections, {duration:?} after 10 s of warm-up");
    let load = tokio::spawn(client::load(server.intake, CONNECTIONS, duration + Duration::from_secs(12), rate));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (before, cpu_before, started) = (server.metrics().await, server.usage().1, Instant::now());
    tokio::time::sleep(duration).await;
    let (after, (rss, cpu), elapsed) = (server.metrics().await, server.usage(), started.elapsed().as_secs_f64());
    let per_second = |sample: &str| (after.value(sample) - before.value(sample)) / elapsed;
    let finished = per_second("encargo_orders{is=\"finished\"}");
    println!("finished   {finished:8.0} orders/s");
    println!("projected  {:8.0} events/s", per_second("encargo_events_projected_total{is=\"accepted\"}"));
    println!("mailed     {:8.0} mails/s", per_second("encargo_mails_total{result=\"sent\"}"));
    println!("waiting    {:8.0} mails", after.value("encargo_ledger_mails{status=\"pending\"}"));
    let p99 = after.quantile_since(&before, "encargo_transition_lateness_seconds", 0.99);
    println!("lateness   p99 <= {p99} s");
    println!(
        "server     {:.0} % of a core, {:.0} µs CPU per order, {rss:.0} MB",
        (cpu - cpu_before) / elapsed * 100.0,
        (cpu - cpu_before) / (finished * elapsed) * 1e6
    );
    let outcome = load.await.expect("no panic");
    println!(
        "client     {:.0} accepted/s, {} refused, p50 {} µs, p99 {} µs",
        outcome.rate(),
        outcome.refused,
        outcome.latency.value_at_quantile(0.5),
        outcome.latency.value_at_quantile(0.99)
    );
    server.kill();
}

/// Fills the flow at a steady rate until `orders` are in flight, then measures lateness while it stays so.
pub async fn timers(orders: u64) {
    let data = tempfile::tempdir().expect("a folder");
    let rate = 2_000.0;
    let dwell = orders as f64 / rate / 3.0;
    let server =
        Server::start(data.path(), &["--dwell", &format!("{}ms", (dwell * 1e3) as u64), "--mail", "none:"]).await;
    let (empty, _) = server.usage();
    let fill = Duration::from_secs_f64(dwell * 3.0 + 5.0);
    let measure = Duration::from_secs(30);
    let load = tokio::spawn(client::load(server.intake, CONNECTIONS, fill + measure, Some(rate)));
    tokio::time::sleep(fill).await;
    let before = server.metrics().await;
    tokio::time::sleep(measure).await;
    let (after, (rss, _)) = (server.metrics().await, server.usage());
    println!(
        "in flight  {:8.0} orders at {rate} orders/s, dwell {dwell:.1} s",
        after.value("encargo_orders{is=\"in_flight\"}")
    );
    for q in [0.5, 0.9, 0.99, 0.999] {
        println!(
            "lateness   p{:<5} <= {} s",
            q * 100.0,
            after.quantile_since(&before, "encargo_transition_lateness_seconds", q)
        );
    }
    println!("memory     {rss:.0} MB ({empty:.0} MB before the first order)");
    let outcome = load.await.expect("no panic");
    println!("client     {:.0} accepted/s, {} refused", outcome.rate(), outcome.refused);
    server.kill();
}

/// Places orders, kills the server while all of them wait for their first timer, and starts it again.
pub async fn restart(orders: u64) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path(), &["--dwell", "1h", "--mail", "none:"]).await;
    let started = Instant::now();
    while server.metrics().await.value("encargo_orders{is=\"in_flight\"}") < orders as f64 {
        client::load(server.intake, CONNECTIONS, Duration::from_secs(1), None).await;
    }
    let in_flight = server.metrics().await.value("encargo_orders{is=\"in_flight\"}");
    println!("in flight  {in_flight:8.0} orders placed in {:?}, {:.0} MB", started.elapsed(), server.usage().0);
    server.kill();
    let started = Instant::now();
    // with a dwell of zero every timer is due at once
    let server = Server::start(data.path(), &["--dwell", "1ms", "--mail", "none:"]).await;
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
        if metrics.value("encargo_orders{is=\"in_flight\"}") == 0.0 {
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
