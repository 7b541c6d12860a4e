//! What the store costs per order: `cargo bench --bench store -- [FINISHED …]`.
//!
//! For each number of finished orders already in the file (0 and 600,000 unless told otherwise), orders come in ticks
//! of 80, as 4,000 orders per second do at 20 ms; each tick also moves the orders of three earlier ticks on. Printed
//! are microseconds per order, its four states and mails together: CPU of all threads, and time on the wall, which
//! includes three fsyncs per tick.
//!
//! Then the mailer's calls while 1,000,000 mails wait, three of four behind another of their order.

#![expect(clippy::disallowed_methods, reason = "a measurement in real time")]

use std::{path::Path, time::Duration};

use encargo::{
    clock::Clock,
    domain::{DeadLetter, Flow, Order, OrderId, Product, Source, StateEvent, Timestamp, wire::Headers},
    eventlog::TopicPartition,
    store::{
        Ledger as _, Orders as _,
        ledger::{Mail, Settlement, Verdict},
        orders::{Advance, Batch, Incoming},
        sqlite::{Options, SqliteStore},
    },
};

/// New orders per tick, and orders in each of the other states that move on.
const PER_TICK: u64 = 80;
/// Ticks that an order stays in a state: 8 s of 20 ms.
const DWELL_TICKS: u64 = 400;
const MEASURED_TICKS: u64 = 800;
/// Ticks in one batch while the file is filled.
const FILL_TICKS: u64 = 50;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let told: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    println!("{:>10} {:>22} {:>22} {:>22} {:>8}", "finished", "apply", "lease", "settle", "file");
    for finished in if told.is_empty() { vec![0, 600_000] } else { told } {
        measure(finished).await?;
    }
    backlog(250_000).await
}

async fn measure(finished: u64) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("store.db");
    let mut run = Run { store: SqliteStore::open(&path, Options::default())?, offset: 0, costs: Costs::default() };
    // the flow fills up while the file does, so that all four states move in every measured tick
    let full = (finished / PER_TICK).max(1) + 3 * DWELL_TICKS;
    let mut tick = 0;
    while tick < full {
        run.ticks(tick..tick + FILL_TICKS).await?;
        tick += FILL_TICKS;
    }
    run.costs = Costs::default();
    for tick in tick..tick + MEASURED_TICKS {
        run.ticks(tick..tick + 1).await?;
    }
    let columns = [&run.costs.apply, &run.costs.lease, &run.costs.settle].map(Cost::per_order);
    let [apply, lease, settle] = columns;
    println!("{finished:>10} {apply:>22} {lease:>22} {settle:>22} {:>5} MB", megabytes(&path));
    Ok(())
}

/// Orders in all four states of which no mail was sent.
async fn backlog(orders: u64) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut run = Run {
        store: SqliteStore::open(&dir.path().join("store.db"), Options::default())?,
        offset: 0,
        costs: Costs::default(),
    };
    let now = time_of(0);
    for first in (1..=orders).step_by(1_000) {
        let events = (first..first + 1_000).flat_map(|id| (1..=4).map(move |seq| incoming(id, seq, now)));
        run.apply(events.collect(), now).await?;
    }
    for _ in 0..MEASURED_TICKS {
        // as many as a tick makes
        run.send(now, 4 * PER_TICK as usize).await?;
    }
    println!("with {} mails waiting, per order:", 4 * orders);
    println!("{:>10} {:>22} {:>22} {:>22}", "", "", run.costs.lease.per_order(), run.costs.settle.per_order());
    let mut next_due = Cost { orders: 1, ..Cost::default() };
    next_due.of(run.store.next_due()).await?;
    let mut counts = Cost { orders: 1, ..Cost::default() };
    counts.of(run.store.ledger_counts()).await?;
    println!("           next_due {}, ledger_counts {}", next_due.per_order(), counts.per_order());
    Ok(())
}

struct Run {
    store: SqliteStore,
    offset: u64,
    costs: Costs,
}

#[derive(Default)]
struct Costs {
    apply: Cost,
    lease: Cost,
    settle: Cost,
}

impl Run {
    /// Moves the orders of some ticks on, and sends all mails that this makes due.
    async fn ticks(&mut self, ticks: std::ops::Range<u64>) -> anyhow::Result<()> {
        let now = time_of(ticks.end);
        let events: Vec<_> = ticks.flat_map(events_of).collect();
        let mails = events.len();
        self.apply(events, now).await?;
        assert_eq!(self.send(now, usize::MAX).await?, mails);
        Ok(())
    }

    async fn apply(&mut self, events: Vec<Incoming>, now: Timestamp) -> anyhow::Result<()> {
        let count = events.len() as u64;
        let tp = TopicPartition { topic: "compra_confirmada".into(), partition: 0 };
        let advances = vec![Advance { tp, from: self.offset, to: self.offset + count, print: None }];
        self.offset += count;
        let batch = Batch { group: "tracking".into(), advances, events, mail: true, now, ..Batch::default() };
        let applied = self.costs.apply.of(self.store.apply(batch.into())).await?;
        assert_eq!(applied.accepted, count);
        self.costs.apply.add_events(count);
        Ok(())
    }

    async fn send(&mut self, now: Timestamp, limit: usize) -> anyhow::Result<usize> {
        let leased = self.costs.lease.of(self.store.lease(now, now + Duration::from_mins(1), limit)).await?;
        let sent = |mail: &Mail| Settlement::new(mail, Verdict::Sent("250 2.0.0 Ok: queued as 4F1B2C3D".into()));
        let settlements = leased.iter().map(sent).collect();
        let settled = self.costs.settle.of(self.store.settle(settlements)).await?.count;
        assert_eq!(settled, leased.len() as u64);
        self.costs.lease.add_events(settled);
        self.costs.settle.add_events(settled);
        Ok(leased.len())
    }
}

/// What happens in a tick: new orders, and those of earlier ticks move on.
fn events_of(tick: u64) -> impl Iterator<Item = Incoming> {
    (0..4)
        .filter_map(move |state| tick.checked_sub(state * DWELL_TICKS).map(|born| (state as u8 + 1, born)))
        .flat_map(move |(seq, born)| (0..PER_TICK).map(move |i| incoming(born * PER_TICK + i + 1, seq, time_of(tick))))
}

fn time_of(tick: u64) -> Timestamp {
    Timestamp::from_millis(1_764_000_000_000 + 20 * tick as i64)
}

fn incoming(id: u64, seq: u8, at: Timestamp) -> Incoming {
    let order = Order {
        id: OrderId::new(id).expect("ids count from 1"),
        product: Product::new("3170", "King's Bounty: Armored Princess", "7.99").expect("a valid product"),
        email: format!("customer{id}@example.org").parse().expect("a valid address"),
        lang: None,
        placed_at: at,
        handle: None,
        trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
    };
    let last = usize::from(seq) == Flow::STATES.len();
    let (estado, next_at) = (Flow::STATES[usize::from(seq) - 1], (!last).then(|| at + Duration::from_secs(8)));
    Incoming { event: StateEvent::of_version_1(order, seq, estado, at, next_at), partition: None, letter: letter(at) }
}

fn letter(at: Timestamp) -> DeadLetter {
    DeadLetter {
        source: Source { topic: "compra_confirmada".into(), partition: 0, offset: 0 },
        reason: String::new(),
        attempts: 0,
        at,
        key: None,
        value: vec![],
        headers: Headers::default(),
    }
}

#[derive(Default)]
struct Cost {
    cpu: Duration,
    wall: Duration,
    orders: u64,
}

impl Cost {
    async fn of<T>(&mut self, work: impl Future<Output = T>) -> T {
        let clock = Clock::system();
        let before = cpu_time();
        let answer = work.await;
        self.cpu += cpu_time().saturating_sub(before);
        self.wall += clock.monotonic();
        answer
    }

    /// Four events or mails make an order.
    fn add_events(&mut self, count: u64) {
        self.orders += count.div_ceil(4);
    }

    fn per_order(&self) -> String {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / self.orders as f64;
        format!("{:.1} µs CPU, {:.1} wall", micros(self.cpu), micros(self.wall))
    }
}

/// CPU time of all threads of this process, as Linux counts it, in nanoseconds.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this benchmark needs Linux");
    let nanos = tasks.filter_map(|task| {
        let schedstat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn megabytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len() >> 20)
}
