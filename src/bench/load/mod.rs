//! Customers that place orders, on a schedule or one after the other, and keep account of what they were told.
//!
//! On a schedule (open loop) an order's latency is counted from when it was due, not from when it was sent: a server that stops
//! for a second is charged for all who would have ordered in that second (no "coordinated omission").

mod client;
mod customers;
mod schedule;
mod targets;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub use client::{Answer, Client};
pub use customers::Customers;
pub use schedule::{Arrivals, Profile, Schedule};
pub use targets::Targets;

use crate::{audit::Placed, domain::Handle};

/// Orders that are due and not begun, at most; the schedule then waits, and their latency still counts from when they were due.
const DUE_MAX: usize = 1 << 16;
/// Connections and patience of a load that says nothing else.
const CONNECTIONS: usize = 64;
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Pause before an order is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// How fast orders come.
#[derive(Debug, Clone)]
pub enum Pace {
    /// Each connection orders as soon as it has its answer, for so long (closed loop).
    For(Duration),
    /// The same, until so many orders were placed.
    Count(u64),
    /// By a schedule, whatever the answers (open loop).
    Open(Schedule),
}

/// A load.
#[derive(Debug, Clone)]
pub struct Load {
    /// The intakes, in turn; a connection that fails goes on to the next.
    pub targets: Targets,
    /// How they are called: `Host`.
    pub host: String,
    /// Whom the orders come from, as a reverse proxy would say it; otherwise from this machine.
    pub client: Option<IpAddr>,
    /// Who orders what.
    pub customers: Customers,
    /// How fast.
    pub pace: Pace,
    /// Connections, and so orders without an answer, at most.
    pub connections: usize,
    /// Longest wait for an answer; then it counts as lost.
    pub answer_max: Duration,
    /// For how long an order with a key is tried again, once it has been refused or lost its answer.
    pub retry: Duration,
    /// Of the orders that have a key, every n-th is asked for once more when it was accepted, and must bear the same number; 0: none.
    pub again: u64,
    /// Whether an order is not placed at all while all connections wait and as many orders for them; else it waits, and its latency
    /// counts.
    pub impatient: bool,
}

/// An order, and what its customer was told in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its number among the orders of this load, from 0 on.
    pub number: u64,
    /// When it was due, from the beginning of the load.
    pub due: Duration,
    /// How long the answer took from then on.
    pub latency: Duration,
    /// The last answer.
    pub answer: Answer,
}

/// What a load saw.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Every order that was begun, in no order.
    pub told: Vec<Told>,
    /// From the beginning to the last answer.
    pub elapsed: Duration,
}

/// What a load has seen so far; for who watches it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Orders that were accepted.
    pub accepted: AtomicU64,
    /// Answers "not now".
    pub refused: AtomicU64,
    /// Orders without an answer.
    pub lost: AtomicU64,
    /// Orders that were due and are not answered.
    pub open: AtomicU64,
    /// Orders that were not placed, as all connections waited for answers.
    pub skipped: AtomicU64,
    /// Orders that were asked for once more under their key.
    pub again: AtomicU64,
    /// Those of them that then bore another number.
    pub changed: AtomicU64,
    orders: std::sync::Mutex<Vec<u64>>,
}

impl Progress {
    /// The numbers of the orders that were accepted so far, the newest last.
    pub fn orders(&self) -> Vec<u64> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest of them, so many.
    pub fn newest(&self, most: usize) -> Vec<u64> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders[orders.len().saturating_sub(most)..].to_vec()
    }
}

/// An order that is due.
struct Ticket {
    number: u64,
    due: Instant,
}

/// Where connections take their next order from.
enum Tickets {
    Schedule(Mutex<mpsc::Receiver<Ticket>>),
    Until(Instant, AtomicU64),
    Count(u64, AtomicU64),
}

impl Load {
    /// On intakes of this machine, each order tried once.
    pub fn new(targets: Vec<SocketAddr>, customers: Customers, pace: Pace) -> Self {
        Self {
            targets: targets.into(),
            host: "localhost".into(),
            client: None,
            customers,
            pace,
            connections: CONNECTIONS,
            answer_max: ANSWER_MAX,
            retry: Duration::ZERO,
            again: 0,
            impatient: false,
        }
    }

    /// Places the orders; at a stop, no more are begun.
    pub async fn run(self, progress: Arc<Progress>, stop: CancellationToken) -> Outcome {
        let began = Instant::now();
        let tickets = Arc::new(match &self.pace {
            Pace::For(duration) => Tickets::Until(began + *duration, AtomicU64::new(0)),
            Pace::Count(count) => Tickets::Count(*count, AtomicU64::new(0)),
            Pace::Open(schedule) => Tickets::Schedule(self.issue(schedule.clone(), began, &progress, &stop).into()),
        });
        let load = Arc::new(self);
        let mut connections = JoinSet::new();
        for number in 0..load.connections {
            let (load, tickets, progress) = (load.clone(), tickets.clone(), progress.clone());
            connections.spawn(connection(load, number, tickets, began, progress, stop.clone()));
        }
        let told = connections.join_all().await.into_iter().flatten().collect();
        Outcome { told, elapsed: began.elapsed() }
    }
}

impl Outcome {
    /// Seconds to the answer of each accepted order, from when it was due.
    pub fn latencies(&self) -> impl Iterator<Item = f64> + '_ {
        self.accepted().map(|(told, ..)| told.latency.as_secs_f64())
    }

    /// Accepted orders with number and handle.
    pub fn accepted(&self) -> impl Iterator<Item = (&Told, u64, Option<Handle>)> + '_ {
        self.told.iter().filter_map(|told| match told.answer {
            Answer::Accepted(id, handle) => Some((told, id, handle)),
            _ => None,
        })
    }

    /// Orders that were refused in the end, and those without an answer.
    pub fn refused_and_lost(&self) -> (u64, u64) {
        let count = |is: fn(&Answer) -> bool| self.told.iter().filter(|told| is(&told.answer)).count() as u64;
        (count(|answer| matches!(answer, Answer::Refused(_))), count(|answer| *answer == Answer::Lost))
    }

    /// What the server said to an order that it will never take, if there was one.
    pub fn complaint(&self) -> Option<&str> {
        self.told.iter().find_map(|told| match &told.answer {
            Answer::Wrong(words) => Some(&**words),
            _ => None,
        })
    }

    /// What was acknowledged, as the auditor judges it.
    pub fn acknowledged(&self, customers: &Customers) -> Vec<Placed> {
        self.accepted().map(|(told, id, _)| customers.placed(told.number, id)).collect()
    }
}

impl Tickets {
    async fn next(&self, progress: &Progress) -> Option<Ticket> {
        let number = match self {
            Self::Schedule(due) => return due.lock().await.recv().await,
            Self::Until(end, next) => (Instant::now() < *end).then(|| next.fetch_add(1, Relaxed)),
            Self::Count(count, next) => Some(next.fetch_add(1, Relaxed)).filter(|number| number < count),
        };
        progress.open.fetch_add(u64::from(number.is_some()), Relaxed);
        Some(Ticket { number: number?, due: Instant::now() })
    }
}

/// One connection's orders, one after the other.
async fn connection(
    load: Arc<Load>,
    number: usize,
    tickets: Arc<Tickets>,
    began: Instant,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Vec<Told> {
    let mut told = Vec::new();
    let mut line = Line { load: &load, at: number, client: None };
    while let Some(Some(ticket)) = stop.run_until_cancelled(tickets.next(&progress)).await {
        let answer = line.place(&ticket, &progress).await;
        progress.open.fetch_sub(1, Relaxed);
        let (due, latency) = (ticket.due.saturating_duration_since(began), ticket.due.elapsed());
        if let Answer::Accepted(id, _) = answer {
            line.ask_again(ticket.number, id, &progress).await;
        }
        told.push(Told { number: ticket.number, due, latency, answer });
    }
    told
}

/// A connection to whatever intake has its turn.
struct Line<'a> {
    load: &'a Load,
    at: usize,
    client: Option<Client>,
}

impl Line<'_> {
    /// Places an order, again and again as long as that may help; the last answer.
    async fn place(&mut self, ticket: &Ticket, progress: &Progress) -> Answer {
        let key = self.load.customers.key(ticket.number);
        loop {
            let answer = self.ask(ticket.number, key.as_deref()).await;
            let counter = match answer {
                Answer::Accepted(..) => &progress.accepted,
                Answer::Lost => &progress.lost,
                Answer::Refused(_) | Answer::Wrong(_) => &progress.refused,
            };
            counter.fetch_add(1, Relaxed);
            if let Answer::Accepted(id, _) = answer {
                progress.orders.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            }
            let is_open = matches!(answer, Answer::Lost | Answer::Refused(_));
            if !is_open || key.is_none() || ticket.due.elapsed() >= self.load.retry {
                return answer;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Whether an order that was accepted under a key has the same number when it is asked for once more.
    async fn ask_again(&mut self, number: u64, id: u64, progress: &Progress) {
        let is_one = self.load.again > 0 && number.is_multiple_of(self.load.again);
        let key = self.load.customers.key(number).filter(|_| is_one);
        let Some(key) = key else { return };
        progress.again.fetch_add(1, Relaxed);
        if let Answer::Accepted(other, _) = self.ask(number, Some(&key)).await {
            progress.changed.fetch_add(u64::from(other != id), Relaxed);
        }
    }

    async fn ask(&mut self, number: u64, key: Option<&str>) -> Answer {
        let to = self.load.targets.at(self.at);
        let kept = self.client.take().filter(|client| client.to() == to);
        let mut client = kept.unwrap_or_else(|| Client::new(to, &self.load.host, self.load.client));
        let body = self.load.customers.body(number);
        let answer = tokio::time::timeout(self.load.answer_max, client.order(&body, key)).await;
        let answer = answer.unwrap_or(Answer::Lost);
        if answer == Answer::Lost {
            self.at += 1;
        } else {
            self.client = Some(client);
        }
        answer
    }
}

impl Load {
    /// A thread that hands each order out when it is due: its sleep is exact to some 50 µs, the runtime's to 1 ms.
    fn issue(
        &self,
        schedule: Schedule,
        began: Instant,
        progress: &Arc<Progress>,
        stop: &CancellationToken,
    ) -> mpsc::Receiver<Ticket> {
        let is_impatient = self.impatient;
        let (due_now, tickets) = mpsc::channel(if is_impatient { self.connections } else { DUE_MAX });
        let (progress, stop) = (progress.clone(), stop.clone());
        std::thread::spawn(move || {
            for (number, at) in (0..).zip(schedule) {
                let due = began + at;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if stop.is_cancelled() {
                    return;
                }
                if is_impatient && due_now.capacity() == 0 {
                    progress.skipped.fetch_add(1, Relaxed);
                    continue;
                }
                if due_now.blocking_send(Ticket { number, due }).is_err() {
                    return;
                }
                progress.open.fetch_add(1, Relaxed);
            }
        });
        tickets
    }
}
