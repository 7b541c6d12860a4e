//! What the desk sees: store, log and measurements of one moment, taken at most once a second however many pages are open,
//! and what can only be told by watching for a while.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use prometheus_client::registry::Registry;
use tokio::{sync::Mutex as AsyncMutex, task::spawn_blocking, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    accounts::{Accounts, Books, ReadAccounts, Sum},
    demand::{Demand, MAILS, mails},
    growth::{self, Growth},
    lag::{Lags, Reading},
    owners::{Owners, Since},
    paced::Paced,
    windows::{Window, Windows},
};
use crate::{
    clock::Clock,
    clock::Monotonic,
    domain::Timestamp,
    env::Env,
    eventlog::{self, EventLog, TopicPartition},
    ops::OnceHandle,
    role::Role,
    scale::{self, Decision},
    store::{
        self, Store,
        ledger::{LedgerCounts, MailStatus},
        overview::{Minute, Snapshot},
    },
};

/// How often is watched while nobody looks.
const WATCH_EVERY: Duration = Duration::from_secs(10);
/// How long a look waits for the log.
const LOG_MAX: Duration = Duration::from_secs(2);
/// How many minutes back orders are counted.
const MINUTES: u64 = 60;
/// How many minutes back mails are.
const SENT_MINUTES: u32 = 40;

/// A consumer group that is watched.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name in the log.
    pub name: String,
    /// The key of its name in words.
    pub word: &'static str,
    /// What it reads.
    pub topics: Vec<String>,
    /// How many records of the first of them may wait for it before intake takes no more orders; none where it takes them anyway.
    pub backlog_max: Option<u64>,
}

/// What is watched.
pub struct Watched {
    /// The event log, if this process has one.
    pub log: Option<OnceHandle<dyn EventLog>>,
    /// The store, if this process has one.
    pub store: Option<OnceHandle<dyn Store>>,
    /// Time and chance.
    pub env: Env,
    /// Everything that is measured.
    pub registry: Arc<RwLock<Registry>>,
    /// Who reads the log; the first is fulfilment.
    pub groups: Vec<Group>,
    /// Our topics, each with the key of the words for what is in it.
    pub topics: Vec<(String, &'static str)>,
    /// Whether groups have members on the log, which can be told apart.
    pub has_owners: bool,
    /// How fulfilment accounts for orders.
    pub read_accounts: ReadAccounts,
    /// How it is decided how many instances of each role are wanted.
    pub scale: scale::Settings,
}

/// Watches; a cheap handle.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    of: Watched,
    /// The last look.
    last: Paced<Arc<Seen>>,
    /// Held by whoever asks the log: one that hangs holds one thread.
    asking: Arc<AsyncMutex<()>>,
    past: Mutex<Past>,
}

/// What only time tells.
#[derive(Default)]
struct Past {
    lags: Lags,
    windows: Windows,
    books: Books,
    demand: Demand,
    owners: Owners,
    /// Whether is known what was learned before this process started.
    has_recalled: bool,
    sent: Growth,
    turned_away: Growth,
}

/// What was seen in one look.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// The store.
    pub snapshot: Snapshot,
    /// The minutes of the last hour.
    pub minutes: Vec<Minute>,
    /// How far each partition is read; empty when the log does not answer.
    pub readings: Vec<Reading>,
    /// How the orders add up; nothing when what fulfilment accounts for cannot be read.
    pub sum: Option<Sum>,
    /// How many orders are missing though everything that was written is told, and for how long they have been.
    pub odd: Option<(u64, Duration)>,
    /// How late orders changed their states in the last minutes.
    pub lateness: Option<Window>,
    /// How soon orders were acknowledged.
    pub acknowledged: Option<Window>,
    /// Mails that were sent in each of the last minutes, oldest first; of minutes that nobody saw begin, nothing.
    pub sent: Vec<u64>,
    /// Orders that intake turned away in the last hour, or since the process started; nothing where it takes none.
    pub turned_away: Option<u64>,
}

impl Seen {
    /// Mails that were refused for good.
    pub(super) fn dead_mails(&self) -> u64 {
        self.snapshot.mails.of(MailStatus::Dead)
    }

    /// Mails that are still to be sent.
    pub(super) fn waiting_mails(&self) -> u64 {
        self.snapshot.mails.of(MailStatus::Pending) + self.snapshot.mails.of(MailStatus::Sending)
    }
}

impl Watch {
    /// Begins to watch; nothing is looked at yet.
    pub fn new(of: Watched) -> Self {
        let (last, asking) = Default::default();
        let past = Mutex::new(Past { demand: Demand::new(&of.scale, of.has_owners), ..Past::default() });
        Self(Arc::new(Inner { of, last, asking, past }))
    }

    /// Watches until the stop, so that there is a past to tell of when somebody looks.
    pub async fn run(&self, stop: CancellationToken) {
        let pace = &self.0.of.env.pace;
        while pace.sleep_unless(&stop, WATCH_EVERY).await {
            self.watch().await;
        }
    }

    /// What can be told without looking at every order.
    async fn watch(&self) {
        let read = self.read_log().await;
        let counts = match self.store() {
            Ok(store) => store.ledger_counts().await.ok(),
            Err(_) => None,
        };
        if let Err(error) = self.recall().await {
            tracing::debug!(%error, "what instances do cannot be read yet");
        }
        self.note(read.as_ref(), counts.as_ref(), self.0.of.env.pace.monotonic());
        if let Err(error) = self.keep().await {
            tracing::debug!(%error, "what instances do is not kept");
        }
    }

    /// Goes on with what processes before this one learned, once there is a store.
    async fn recall(&self) -> store::Result<()> {
        if !self.past().has_recalled
            && let Ok(store) = self.store()
        {
            let kept = store.capacities().await?;
            let mut past = self.past();
            past.demand.recall(&kept);
            past.has_recalled = true;
        }
        Ok(())
    }

    /// Keeps what was learned for processes after this one.
    async fn keep(&self) -> store::Result<()> {
        let Ok(store) = self.store() else { return Ok(()) };
        let learned = self.past().demand.to_keep();
        for (role, per_s) in learned {
            store.note_capacity(role.name(), per_s).await?;
            self.past().demand.kept(role, per_s);
        }
        Ok(())
    }

    /// How many instances of each role are wanted, as far as this process can know.
    pub(in crate::ops) async fn wanted(&self) -> Vec<(Role, Decision)> {
        self.watch().await;
        self.decided()
    }

    /// The same by what was seen last.
    pub(super) fn decided(&self) -> Vec<(Role, Decision)> {
        self.past().demand.decided(self.0.of.env.pace.monotonic())
    }

    /// How that is decided, with what an instance of each role does as far as it is known by now.
    pub(super) fn scaling(&self) -> scale::Settings {
        self.past().demand.settings()
    }

    /// Who owned a partition over a time, as far as that was seen here; a group by its word.
    pub(super) fn owners(
        &self,
        group: &'static str,
        tp: &TopicPartition,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Since> {
        self.past().owners.over(group, tp, from, to)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.of.env.clock
    }

    pub(in crate::ops) fn groups(&self) -> &[Group] {
        &self.0.of.groups
    }

    /// The key of the words for what is in a topic, if that is one of ours.
    pub(super) fn topic_word(&self, topic: &str) -> Option<&'static str> {
        self.0.of.topics.iter().find(|(name, _)| name == topic).map(|(_, word)| *word)
    }

    /// Whether processes share the log, and its partitions.
    pub(super) fn has_owners(&self) -> bool {
        self.0.of.has_owners
    }

    pub(super) fn log(&self) -> Option<&Arc<dyn EventLog>> {
        self.0.of.log.as_ref()?.get()
    }

    /// The store, once it is open.
    pub(super) fn store(&self) -> store::Result<&Arc<dyn Store>> {
        let store = self.0.of.store.as_ref().and_then(|store| store.get());
        store.ok_or_else(|| store::Error::Unavailable("the store is not open yet".into()))
    }

    /// What there is to see, not older than a second or a multiple of the time that it takes to look.
    pub(super) async fn look(&self) -> store::Result<Arc<Seen>> {
        let watch = self.clone();
        self.0.last.look(&self.0.of.env.pace, async move { watch.gather().await.map(Arc::new) }).await
    }

    async fn gather(&self) -> store::Result<Seen> {
        let store = self.store()?;
        let at = self.clock().now();
        // the log before the store: what it says of the orders must not be ahead of what the store is asked afterwards
        let read = self.read_log().await;
        let snapshot = store.snapshot(at).await?;
        let accounts_after = self.ask_log(accounts).await.flatten();
        let minutes = store.minutes(at - Duration::from_mins(MINUTES)).await?;
        let now = self.0.of.env.pace.monotonic();
        self.note(read.as_ref(), Some(&snapshot.mails), now);
        let mut past = self.past();
        let (readings, accounts) = read.map_or_else(Default::default, |read| (read.readings, read.accounts));
        let readings = past.lags.told(readings, now);
        let accounts = accounts.zip(accounts_after);
        let is_told = is_told(&readings);
        let sum = accounts.map(|accounts| past.books.note(accounts, &snapshot.counts, is_told, now));
        Ok(Seen {
            at,
            snapshot,
            minutes,
            readings,
            sum,
            odd: past.books.odd(now),
            lateness: past.windows.of("encargo_transition_lateness_seconds"),
            acknowledged: past.windows.of("encargo_intake_request_seconds"),
            sent: past.sent.by_minute(SENT_MINUTES),
            turned_away: past.turned_away.in_hour(),
        })
    }

    /// How far each partition is read; nothing when the log does not answer. Needs no store.
    pub(in crate::ops) async fn readings(&self) -> Vec<Reading> {
        let Some(read) = self.read_log().await else { return Vec::new() };
        let now = self.0.of.env.pace.monotonic();
        self.note(Some(&read), None, now);
        self.past().lags.told(read.readings, now)
    }

    fn note(&self, read: Option<&Read>, counts: Option<&LedgerCounts>, now: Monotonic) {
        let mut text = String::new();
        let registry = self.0.of.registry.read().unwrap_or_else(PoisonError::into_inner);
        let encoded = prometheus_client::encoding::text::encode_registry(&mut text, &registry);
        drop(registry);
        let mut past = self.past();
        let Past { lags, windows, demand, owners, sent, turned_away, .. } = &mut *past;
        if encoded.is_ok() {
            windows.note(&text, now);
            if let Some(count) = growth::turned_away(&text) {
                turned_away.note(count, now);
            }
        }
        if let Some(counts) = counts {
            sent.note(counts.of(MailStatus::Sent), now);
            lags.note(&[mails(counts)], now);
            demand.decide_about_mails(lags.flow(MAILS, MAILS), now);
        }
        if let Some(read) = read {
            lags.note(&read.readings, now);
            if self.0.of.has_owners {
                owners.note(&read.readings, self.clock().now());
            }
            let late = windows.of("encargo_transition_lateness_seconds");
            let groups = self.0.of.groups.iter();
            let work = groups.filter_map(|group| Some((group.word, group.topics.first()?.as_str())));
            demand.decide(work, &read.readings, lags, late.as_ref(), now);
        }
    }

    fn past(&self) -> std::sync::MutexGuard<'_, Past> {
        self.0.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the log says of its readers; nothing when it does not answer in time.
    async fn read_log(&self) -> Option<Read> {
        self.ask_log(read).await
    }

    async fn ask_log<T: Send + 'static>(
        &self,
        question: fn(&dyn EventLog, &Watched) -> eventlog::Result<T>,
    ) -> Option<T> {
        let log = self.log()?.clone();
        let inner = self.0.clone();
        let turn = self.0.asking.clone().try_lock_owned().ok()?;
        let ask = spawn_blocking(move || {
            let _turn = turn;
            question(&*log, &inner.of)
        });
        match timeout(LOG_MAX, ask).await {
            Ok(Ok(Ok(answer))) => Some(answer),
            Ok(Ok(Err(error))) => {
                tracing::debug!(%error, "the desk cannot read the log");
                None
            }
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

/// What the log says.
struct Read {
    readings: Vec<Reading>,
    accounts: Option<Accounts>,
}

fn read(log: &dyn EventLog, of: &Watched) -> eventlog::Result<Read> {
    // first: whatever they count is written before it is asked whether everything is told
    let accounts = accounts(log, of)?;
    let mut readings = Vec::new();
    for group in &of.groups {
        let owners = if of.has_owners { log.owners(&group.name)? } else { Vec::new() };
        let owner = |tp: &TopicPartition| owners.iter().find(|(owned, _)| owned == tp).map(|(_, owner)| owner.clone());
        for topic in &group.topics {
            for lag in log.lag(&group.name, &[topic])? {
                let owner = owner(&lag.tp);
                let is_unread = of.has_owners && owner.is_none();
                readings.push(Reading { group: group.word, lag, owner, is_unread, ..Reading::default() });
            }
        }
    }
    Ok(Read { readings, accounts })
}

/// What fulfilment accounts for, by what it has committed.
fn accounts(log: &dyn EventLog, of: &Watched) -> eventlog::Result<Option<Accounts>> {
    let Some(fulfilment) = of.groups.first() else { return Ok(None) };
    let topics: Vec<&str> = fulfilment.topics.iter().map(String::as_str).collect();
    let committed = log.committed(&fulfilment.name, &topics)?;
    Ok(committed.iter().filter_map(|offset| (of.read_accounts)(&offset.metadata)).reduce(Accounts::and))
}

/// Whether nothing is left in the log that its other readers have not read.
fn is_told(readings: &[Reading]) -> bool {
    let mut others = readings.iter().skip_while(|reading| reading.group == readings[0].group).peekable();
    others.peek().is_some() && others.all(|reading| reading.lag.records() == 0)
}
