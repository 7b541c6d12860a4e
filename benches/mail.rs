//! Mails per second of the real mailer over the embedded store: composing alone, into a Maildir, into an SMTP server
//! on this machine that only counts, and into Postfix's `smtp-sink` beside Postfix's own `smtp-source`, which are both
//! in Debian's package postfix. `cargo bench --bench mail [-- ORDERS]`; `-- ORDERS postfix` runs the last part alone.

use std::{
    net::TcpStream,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use encargo::{
    bench::{process::free_ports, sink::Sink},
    clock::Clock,
    domain::{DeadLetter, Flow, Lang, Order, OrderId, Product, Source, StateEvent, wire::Headers},
    env::Env,
    eventlog::TopicPartition,
    mail::{self, Composer, Deps, Mailer, Metrics, compose},
    store::{
        Handover, Ledger, Orders,
        orders::{Advance, Batch, Incoming},
        sqlite::{Options, SqliteStore},
    },
};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

const COMPOSED: u32 = 20_000;
/// What one of our mails has, in bytes.
const MAIL_BYTES: &str = "5700";

fn main() {
    encargo::app::runtime().expect("a runtime").block_on(measure());
}

async fn measure() {
    let orders = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(20_000);
    if !std::env::args().any(|arg| arg == "postfix") {
        composing().await;
        ours(orders).await;
    }
    for sessions in [1, 10] {
        beside_postfix(sessions, orders).await;
    }
}

async fn ours(orders: u64) {
    let sink = Sink::counting().await;
    for url in ["maildir".to_owned(), sink.url(), sink.url() + "?connections=8"] {
        sending(&url, orders).await;
    }
    println!("the sink took {} mails on {} connections", sink.accepted(), sink.connections());
}

/// The same number of mails of about the same size over the same number of sessions into the same sink, by
/// `smtp-source` and by the mailer with its ledger.
#[expect(clippy::disallowed_methods, reason = "a measurement in real time")]
async fn beside_postfix(sessions: usize, orders: u64) {
    let (port, mails) = (free_ports(1), orders * 4);
    let address = format!("127.0.0.1:{port}");
    let mut sink = Command::new("smtp-sink");
    // it does not run as root
    if Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n") {
        sink.args(["-u", "nobody"]);
    }
    let mut sink = sink.args([&address, "1000"]).spawn().expect("smtp-sink is missing: install postfix");
    while TcpStream::connect(&address).is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let theirs = source(&address, sessions, mails);
    let ours = sending(&format!("smtp://{address}?connections={sessions}"), orders).await;
    println!(
        "{sessions} sessions into smtp-sink: smtp-source {theirs:.0} mails/s, encargo {ours:.0} mails/s, {:.0} %",
        ours / theirs * 100.0
    );
    sink.kill().and_then(|()| sink.wait()).expect("it runs");
}

/// Mails per second of `smtp-source`, which uses its connections again (`-d`) as we do.
#[expect(clippy::disallowed_methods, reason = "a measurement in real time")]
fn source(address: &str, sessions: usize, mails: u64) -> f64 {
    let begun = Instant::now();
    let status = Command::new("smtp-source")
        .args(["-d", "-s", &sessions.to_string(), "-m", &mails.to_string(), "-l", MAIL_BYTES])
        .args(["-f", "pedidos@shop.example", "-t", "ana@example.org", address])
        .status();
    assert!(status.expect("smtp-source is missing: install postfix").success());
    mails as f64 / begun.elapsed().as_secs_f64()
}

fn composer() -> Composer {
    Composer::new(compose::Options {
        from: "pedidos@shop.example".parse().expect("an address"),
        from_name: Some("La Tienda".into()),
        domain: None,
        deployment: "bench".into(),
        lang: Lang::Es,
        zone: jiff::tz::TimeZone::UTC,
        track: Some("http://127.0.0.1:5000/track/".into()),
        handles: None,
        templates: None,
        flow: Flow::standard(Duration::from_secs(8)),
    })
    .expect("the built-in templates render")
}

/// Composes one leased mail again and again.
#[expect(clippy::disallowed_methods, reason = "a measurement in real time")]
async fn composing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("store.db"), Options::default()).expect("a store");
    let now = Clock::system().now();
    fill(&store, 1).await;
    let mail = store.lease(now + Duration::from_secs(1), now, 1).await.expect("a lease").remove(0);
    let composer = composer();
    let begun = Instant::now();
    let bytes: usize = (0..COMPOSED).map(|_| composer.compose(&mail).expect("a mail").raw.len()).sum();
    let each = begun.elapsed() / COMPOSED;
    println!("compose: {each:?} for a mail of {} bytes", bytes / COMPOSED as usize);
}

/// Four mails for each order, all due at once; from the start of the mailer to the last settlement.
#[expect(clippy::disallowed_methods, reason = "a measurement in real time")]
async fn sending(url: &str, orders: u64) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqliteStore::open(&folder.path().join("store.db"), Options::default()).expect("a store"));
    fill(&store, orders).await;
    let url = if url == "maildir" { format!("maildir:{}", folder.path().join("mail").display()) } else { url.into() };
    let (clock, composer) = (Clock::system(), composer());
    let destination = url.parse().expect("a URL");
    let transport = mail::open(&destination, composer.domain(), mail::Timeouts::default(), &clock).expect("it opens");
    let metrics = Metrics::register(&mut Registry::default());
    let deps = Deps {
        ledger: store,
        composer: Arc::new(composer),
        transport: transport.expect("mail is on"),
        env: Env::real(clock),
        handover: Handover::default(),
        metrics: metrics.clone(),
    };
    let stop = CancellationToken::new();
    let begun = Instant::now();
    let running = tokio::spawn(Mailer::new(deps, mail::Options::default()).run(stop.clone()));
    while metrics.sent.get() < orders * 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    running.await.expect("no panic").expect("no error");
    let seconds = begun.elapsed().as_secs_f64();
    println!("{url}: {:.0} mails/s ({} mails in {seconds:.2} s)", (orders * 4) as f64 / seconds, orders * 4);
    (orders * 4) as f64 / seconds
}

/// Projects all four states of that many orders.
#[expect(clippy::disallowed_methods, reason = "a measurement in real time")]
async fn fill(store: &SqliteStore, orders: u64) {
    let now = Clock::system().now();
    for chunk in (1..=orders).collect::<Vec<_>>().chunks(1_000) {
        let events: Vec<_> = chunk.iter().flat_map(|id| (1..=4).map(|seq| event(*id, seq, now))).collect();
        let (from, to) = ((chunk[0] - 1) * 4, (chunk[0] - 1) * 4 + events.len() as u64);
        let tp = TopicPartition { topic: "compra_confirmada".into(), partition: 0 };
        let advances = vec![Advance { tp, from, to, print: None }];
        let batch = Batch { group: "tracking".into(), advances, events, mail: true, now, ..Batch::default() };
        store.apply(batch.into()).await.expect("it is applied");
    }
}

fn event(id: u64, seq: u8, at: encargo::domain::Timestamp) -> Incoming {
    let order = Order {
        id: OrderId::new(id).expect("a small number"),
        product: Product::new("3170", "King's Bounty: Armored Princess", "7.99").expect("a product"),
        email: format!("c{id}@example.org").parse().expect("an address"),
        lang: None,
        placed_at: at,
        handle: None,
        trace: None,
    };
    let source = Source { topic: "compra_confirmada".into(), partition: 0, offset: id };
    let letter = DeadLetter {
        source,
        reason: String::new(),
        attempts: 0,
        at,
        key: None,
        value: vec![],
        headers: Headers::default(),
    };
    let estado = Flow::STATES[usize::from(seq) - 1];
    let next_at = (seq < 4).then_some(at);
    Incoming { event: StateEvent::of_version_1(order, seq, estado, at, next_at), partition: None, letter }
}
