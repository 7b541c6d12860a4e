//! Customers that place orders, on a schedule or one after the other, and keep account of what they were told.
//!
//! On a schedule (open loop) an order's latency is counted from when it was due, not from when it was sent: a server that stops
//! for a second is charged for all who would have ordered in that second (no "coordinated omission").

mod client;
mod customers;
mod schedule;

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

use crate::{audit::Placed, domain::Handle};

/// Orders that are due and not begun, at most; the schedule then waits, and their latency still counts from when they were due.
const DUE_MAX: usize = 1 << 16;
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
    pub targets: Vec<SocketAddr>,
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
    orders: std::sync::Mutex<Vec<u64>>,
}

impl Progress {
    /// The numbers of the orders that were accepted so far, the newest last.
    pub fn orders(&self) -> Vec<u64> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
    /// Places the orders; at a stop, no more are begun.
    pub async fn run(self, progress: Arc<Progress>, stop: CancellationToken) -> Outcome {
        let began = Instant::now();
        let tickets = Arc::new(match &self.pace {
            Pace::For(duration) => Tickets::Until(began + *duration, AtomicU64::new(0)),
            Pace::Count(count) => Tickets::Count(*count, AtomicU64::new(0)),
            Pace::Open(schedule) => Tickets::Schedule(issue(schedule.clone(), began, &progress, &stop).into()),
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

/// A thread that hands each order out when it is due: its sleep is exact to some 50 µs, the runtime's to 1 ms.
fn issue(
    schedule: Schedule,
    began: Instant,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> mpsc::Receiver<Ticket> {
    let (due_now, tickets) = mpsc::channel(DUE_MAX);
    let (progress, stop) = (progress.clone(), stop.clone());
    std::thread::spawn(move || {
        for (number, at) in (0..).zip(schedule) {
            let due = began + at;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if stop.is_cancelled() || due_now.blocking_send(Ticket { number, due }).is_err() {
                return;
            }
            progress.open.fetch_add(1, Relaxed);
        }
    });
    tickets
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
    let mut at = number;
    let mut client = load.connect(at);
    while let Some(Some(ticket)) = stop.run_until_cancelled(tickets.next(&progress)).await {
        let (body, key) = (load.customers.body(ticket.number), load.customers.key(ticket.number));
        let answer = loop {
            let answer = tokio::time::timeout(load.answer_max, client.order(&body, key.as_deref())).await;
            let answer = answer.unwrap_or(Answer::Lost);
            let counter = match answer {
                Answer::Accepted(..) => &progress.accepted,
                Answer::Lost => &progress.lost,
                Answer::Refused(_) | Answer::Wrong(_) => &progress.refused,
            };
            counter.fetch_add(1, Relaxed);
            if let Answer::Accepted(id, _) = answer {
                progress.orders.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            }
            if answer == Answer::Lost {
                at += 1;
                client = load.connect(at);
            }
            let is_open = matches!(answer, Answer::Lost | Answer::Refused(_));
            if !is_open || key.is_none() || ticket.due.elapsed() >= load.retry {
                break answer;
            }
            tokio::time::sleep(RETRY).await;
        };
        progress.open.fetch_sub(1, Relaxed);
        let (due, latency) = (ticket.due.saturating_duration_since(began), ticket.due.elapsed());
        told.push(Told { number: ticket.number, due, latency, answer });
    }
    told
}

impl Load {
    fn connect(&self, at: usize) -> Client {
        Client::new(self.targets[at % self.targets.len()], &self.host, self.client)
    }
}
