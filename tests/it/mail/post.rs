//! A mailer that runs on a clock which the test drives.

use encargo::{domain::wire::Headers, env::Env};

use super::*;
use crate::harness::PATIENCE;

/// A mailer that runs, and what it works on.
pub struct Post {
    pub clock: Clock,
    pub store: Arc<SqliteStore>,
    pub metrics: Metrics,
    handover: Handover,
    pub url: String,
    pub running: Option<(CancellationToken, JoinHandle<mail::Result<()>>)>,
    /// The running mailer's view of where it sends.
    pub destinations: Option<mail::Destinations>,
    /// Addresses and products of orders that do not have the usual ones.
    pub emails: HashMap<u64, EmailAddress>,
    pub products: HashMap<u64, Product>,
    projected: u64,
    pub timeouts: mail::Timeouts,
    pub folder: TempDir,
}

pub fn options() -> mail::compose::Options {
    mail::compose::Options {
        from: "pedidos@shop.example".parse().unwrap(),
        from_name: None,
        domain: None,
        deployment: "d3".into(),
        lang: Lang::Es,
        zone: jiff::tz::TimeZone::UTC,
        track: None,
        handles: None,
        templates: None,
        flow: Flow::standard(Duration::from_secs(8)),
    }
}

pub fn composer() -> Composer {
    Composer::new(options()).unwrap()
}

/// Short enough for a test that has to wait for it; the answers of others may take as long as a busy machine needs.
pub const SHORT: mail::Timeouts =
    mail::Timeouts { connect: PATIENCE, step: Duration::from_secs(3), dot: Duration::from_secs(3) };
const PATIENT: mail::Timeouts = mail::Timeouts { connect: PATIENCE, step: PATIENCE, dot: PATIENCE };

impl Post {
    pub fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("store.db"), Options::default()).unwrap());
        Self {
            clock: Clock::manual(Timestamp::from_millis(1_764_000_000_000)),
            store,
            metrics: Metrics::register(&mut Registry::default()),
            handover: Handover::default(),
            url: url.to_owned(),
            running: None,
            destinations: None,
            emails: HashMap::new(),
            products: HashMap::new(),
            projected: 0,
            timeouts: PATIENT,
            folder,
        }
    }

    pub fn start(url: &str) -> Self {
        let mut this = Self::new(url);
        this.run(mail::Options::default());
        this
    }

    /// One that soon gives up a server that hangs.
    pub fn start_hasty(url: &str) -> Self {
        let mut this = Self::new(url);
        this.timeouts = SHORT;
        this.run(mail::Options::default());
        this
    }

    /// A Maildir in the test's folder.
    pub fn maildir() -> Self {
        let mut this = Self::new("");
        this.url = format!("maildir:{}", this.folder.path().join("mail").display());
        this
    }

    pub fn run(&mut self, options: mail::Options) {
        let composer = composer();
        let destination = self.url.parse().unwrap();
        let transport = mail::open(&destination, composer.domain(), self.timeouts, &self.clock).unwrap().unwrap();
        let deps = Deps {
            ledger: self.store.clone(),
            composer: Arc::new(composer),
            transport,
            env: Env::real(self.clock.clone()),
            handover: self.handover.clone(),
            metrics: self.metrics.clone(),
        };
        let stop = CancellationToken::new();
        let mailer = Mailer::new(deps, options);
        self.destinations = Some(mailer.destinations());
        let task = tokio::spawn(mailer.run(stop.clone()));
        self.running = Some((stop, task));
    }

    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    /// Ends without any order, as a crash does.
    pub async fn crash(&mut self) {
        let (_, task) = self.running.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        self.metrics = Metrics::register(&mut Registry::default()); // the next process counts from zero
    }

    /// Projects events: each of these orders enters each of these states now.
    pub async fn enter(&mut self, orders: std::ops::RangeInclusive<u64>, states: &[&str]) {
        let mut events = Vec::new();
        for id in orders {
            for estado in states {
                events.push(self.event(id, estado));
            }
        }
        let tp = TopicPartition { topic: "compra_confirmada".into(), partition: 0 };
        let to = self.projected + events.len() as u64;
        let advances = vec![Advance { tp, from: self.projected, to, print: None }];
        self.projected = to;
        let now = self.clock.now();
        let batch = Batch { group: "tracking".into(), advances, events, mail: true, now, ..Batch::default() };
        self.store.apply(batch.into()).await.unwrap();
        self.handover.call();
    }

    pub fn event(&self, id: u64, estado: &str) -> Incoming {
        let at = self.clock.now();
        let product = Product::new("3170", "King's Bounty", "7.99").unwrap();
        let email = format!("c{id}@example.org").parse().unwrap();
        let order = Order {
            id: OrderId::new(id).unwrap(),
            product: self.products.get(&id).unwrap_or(&product).clone(),
            email: self.emails.get(&id).unwrap_or(&email).clone(),
            lang: None,
            placed_at: at,
            handle: None,
            trace: None,
        };
        let seq = Flow::standard(Duration::ZERO).seq_of(estado).unwrap();
        let source = Source { topic: "compra_confirmada".into(), partition: 0, offset: id * 4 + u64::from(seq) };
        let letter = DeadLetter {
            source,
            reason: String::new(),
            attempts: 0,
            at,
            key: None,
            value: vec![],
            headers: Headers::default(),
        };
        let event = StateEvent::of_version_1(order, seq, estado, at, (seq < 4).then_some(at));
        Incoming { event, partition: None, letter }
    }

    pub fn state(&self) -> mail::Snapshot {
        self.destinations.as_ref().unwrap().snapshot()
    }

    /// The reasons of the dead letters.
    pub async fn dead(&self) -> Vec<String> {
        self.store.dead(None, 100).await.unwrap().into_iter().map(|letter| letter.reason).collect()
    }

    pub async fn count(&self, status: MailStatus) -> u64 {
        let counts = self.store.ledger_counts().await.unwrap();
        counts.by_status.iter().find(|(other, _)| *other == status).map_or(0, |(_, count)| *count)
    }

    /// Waits until so many mails have this status.
    pub async fn have(&self, status: MailStatus, count: u64) {
        self.have_while_moving(status, count, Duration::ZERO).await;
    }

    /// The same, while the clock goes on by `step` again and again: when no mail is on its way or due, or when nothing has moved
    /// for a while, since it may wait for the clock. What a busy machine has not done yet is not to meet the ends of waits.
    pub async fn have_while_moving(&self, status: MailStatus, count: u64, step: Duration) {
        const STILL: u32 = 100;
        let (mut before, mut looks) = (0, 0);
        eventually(&format!("{count} mails {}", status.name()), async || {
            let counts = self.store.ledger_counts().await.map_err(|e| e.to_string())?;
            let due = self.store.next_due().await.map_err(|e| e.to_string())?;
            let have = self.count(status).await;
            let in_flight = self.metrics.in_flight.get();
            let is_at_rest = in_flight == 0 && due.is_none_or(|due| due > self.clock.now());
            looks = if in_flight == before { looks + 1 } else { 0 };
            before = in_flight;
            if is_at_rest || looks >= STILL {
                self.clock.advance(step);
            }
            if have == count { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
    }
}
