//! The modes that drive the real binary.

use std::{net::IpAddr, path::Path, time::Duration};

use encargo::bench::{
    process::{Launch, Server},
    scrape::Scrape,
    sink::Sink,
    usage::Usage,
};

use crate::{desk, load, load_from, option, report, watch::watch};

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
    launch(data, &arguments).await
}

async fn launch(data: &Path, arguments: &[&str]) -> Server {
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_encargo").into(), &data.join("data"));
    launch.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    launch.start().await.expect("it starts")
}

async fn scrape(server: &Server) -> Scrape {
    server.ops().expect("a client").scrape().await.expect("it answers")
}

/// Memory in MB.
fn memory(server: &Server) -> f64 {
    Usage::of(server.id()).expect("it runs").memory as f64 / 1e6
}

/// As many orders as it takes, or `rate` per second, through all states with a dwell of 1 s; what counts is what is
/// finished and mailed per second.
pub async fn flow(mail: &str, duration: Duration, rate: Option<f64>) {
    let data = tempfile::tempdir().expect("a folder");
    let destination = Destination::open(mail, data.path()).await;
    let server = start(data.path(), Duration::from_secs(1), &destination.url).await;
    let desks: usize = option("--desks", 0);
    for _ in 0..desks {
        desk::follow(server.ops).await;
    }
    println!(
        "mail {mail}, dwell 1 s, {CONNECTIONS} connections, {duration:?} after 10 s of warm-up, {desks} open desks"
    );
    let load = tokio::spawn(load(server.intake, CONNECTIONS, duration + Duration::from_secs(12), rate));
    tokio::time::sleep(Duration::from_secs(10)).await;
    watch(&server, duration).await.report();
    println!("client     {}", report(&load.await.expect("no panic")));
    server.kill().expect("it runs");
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
    let empty = memory(&server);
    let (fill, measure) = (dwell * 3 + Duration::from_secs(5), Duration::from_secs(30));
    let load = tokio::spawn(load(server.intake, CONNECTIONS, fill + measure, Some(rate)));
    tokio::time::sleep(fill).await;
    let span = watch(&server, measure).await;
    let in_flight = span.after.value("encargo_orders{state=\"in_flight\"}");
    println!("in flight  {in_flight:8.0} orders at {rate} orders/s, dwell {dwell:.1?}, mail {mail}");
    span.report();
    println!("           {empty:.0} MB before the first order");
    println!("client     {}", report(&load.await.expect("no panic")));
    server.kill().expect("it runs");
}

/// What a process does that has nothing to do.
pub async fn idle(mail: &str, duration: Duration) {
    let data = tempfile::tempdir().expect("a folder");
    let destination = Destination::open(mail, data.path()).await;
    let server = launch(data.path(), &["--mail", &destination.url]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let look = || (wake_ups(server.id()), Usage::of(server.id()).expect("it runs").cpu);
    let (wakes, cpu) = look();
    tokio::time::sleep(duration).await;
    let (wakes_after, cpu_after) = look();
    let seconds = duration.as_secs_f64();
    println!(
        "idle, mail {mail}: {:.1} wake-ups/s, {:.3} % of a core, {:.1} MB",
        (wakes_after - wakes) as f64 / seconds,
        (cpu_after - cpu) / seconds * 100.0,
        memory(&server)
    );
    server.kill().expect("it runs");
}

/// How often the threads of a process that still run have gone to sleep.
fn wake_ups(id: u32) -> u64 {
    let process = procfs::process::Process::new(id as i32).expect("it runs");
    let tasks = process.tasks().expect("it runs").flatten().filter_map(|task| task.status().ok());
    tasks.filter_map(|status| status.voluntary_ctxt_switches).sum()
}

/// Three times the sustainable rate for 30 s, then half of it.
pub async fn overload(sustainable: f64) {
    let data = tempfile::tempdir().expect("a folder");
    let server = launch(data.path(), &["--dwell", "1s"]).await;
    for (name, factor, seconds, connections) in
        [("normal", 0.5, 10, 64), ("overload", 3.0, 30, 400), ("normal", 0.5, 10, 64), ("normal", 0.5, 10, 64)]
    {
        let before = scrape(&server).await;
        let outcome = load(server.intake, connections, Duration::from_secs(seconds), Some(sustainable * factor)).await;
        let lateness = scrape(&server).await.quantile_since(&before, "encargo_transition_lateness_seconds", 0.99);
        let (late, memory) = (lateness.unwrap_or_default(), memory(&server));
        println!("{name:9} {}, lateness p99 <= {late} s, {memory:.0} MB", report(&outcome));
    }
    server.kill().expect("it runs");
}

/// Ten clients, nine of which send a tenth of the rate each, and one 50 times as much.
pub async fn shares(rate: f64, duration: Duration) {
    let data = tempfile::tempdir().expect("a folder");
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_encargo").into(), &data.path().join("data"));
    launch.arguments = ["--dwell", "1s"].map(str::to_owned).into();
    launch.variables.push(("ENCARGO_HTTP_TRUSTED_HOPS".into(), "1".into()));
    let server = launch.start().await.expect("it starts");
    let share = rate / 10.0;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..10 {
        let (rate, connections) = if number == 0 { (share * 50.0, 200) } else { (share, 8) };
        let client = Some(IpAddr::from([192, 0, 2, number]));
        let load = load_from(client, server.intake, connections, duration, Some(rate));
        clients.spawn(async move { (number, load.await) });
    }
    let mut outcomes = clients.join_all().await;
    outcomes.sort_by_key(|(number, _)| *number);
    for (number, outcome) in outcomes {
        println!("client {number}: {}", report(&outcome));
    }
    server.kill().expect("it runs");
}
