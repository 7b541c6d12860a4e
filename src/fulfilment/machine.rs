//! What fulfilment does next, as a function of what happened: inputs go in, outputs come out, and nothing is done here.
//!
//! No log, no clock, no thread, and no channel, so that every order of rebalances, restores and commits can be made to
//! happen, and made to happen again. The driver around it (see `processor`) does what it says, and tells how that ended.
//!
//! At most one commit is under way. What it holds belongs to it until it has ended; meanwhile the machine only listens.

mod commits;

use std::collections::BTreeMap;

use tracing::{debug, info, warn};

use super::{
    Error, Metrics, Now, Options,
    letters::Apart,
    partition::{Inbox, Partition},
    plan::{CommitPlan, Ticket},
    restore::Restored,
};
use crate::{
    clock::Monotonic,
    eventlog::{self, GroupOffset, Outcome, Record, TopicPartition},
};

/// What happened.
pub(super) enum Input {
    /// These partitions are ours, with what was committed for them.
    Assigned(Vec<GroupOffset>),
    /// Records of one of them, in order.
    Records(TopicPartition, Vec<Record>),
    /// The last moment to commit for these partitions: they are gone once nothing is under way.
    Revoking(Vec<TopicPartition>),
    /// These are gone already.
    Lost(Vec<TopicPartition>),
    /// An engine was read from the log, or could not be.
    Restored(Box<Restored>),
    /// The commit under way has ended.
    CommitEnded(CommitPlan, Outcome),
    /// The group cannot be heard.
    Failed(eventlog::Error),
    /// It is time to commit what there is.
    Tick,
}

/// What is to be done, in this order.
pub(super) enum Output {
    /// To be committed; [`Input::CommitEnded`] tells how that went.
    Commit(CommitPlan),
    /// To be read from the log; [`Input::Restored`] brings each.
    Restore(Vec<(Ticket, GroupOffset)>),
    /// Whether no more records are wanted now.
    Pause(bool),
    /// The log takes nothing now, and nothing was written: after a pause, the next tick tries again.
    Retry(eventlog::Error),
    /// Log and memory may disagree. Everything is forgotten: join again and rebuild.
    Rejoin(eventlog::Error),
}

/// What bounds memory, and how long a commit takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Events and dead letters in one commit.
    pub(crate) commit_records: usize,
    /// Bytes of these; one may pass it.
    pub(crate) commit_bytes: usize,
    /// Input records kept for partitions that are being restored; then no more are heard, but for a batch.
    pub(crate) kept_records: usize,
    /// Bytes of these, and of the input that waits for a commit; likewise.
    pub(crate) waiting_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { commit_records: 5_000, commit_bytes: 8 << 20, kept_records: 20_000, waiting_bytes: 16 << 20 }
    }
}

/// The partitions of one instance, from their assignment to their end.
pub(super) struct Machine {
    options: Options,
    limits: Limits,
    metrics: Metrics,
    partitions: BTreeMap<u32, Partition>,
    /// Assigned, but their engines are still read from the log.
    restoring: BTreeMap<u32, Restoring>,
    tickets: u64,
    plans: u64,
    /// The plan under way.
    pending: Option<u64>,
    /// While dead letters are written before their commit: what is under way is one of their heaps.
    apart: Option<Apart>,
    /// Given up once nothing is under way.
    leaving: Vec<TopicPartition>,
    /// The log did not take the last commit.
    refused: bool,
    paused: bool,
}

/// A partition whose engine is not there yet.
struct Restoring {
    ticket: Ticket,
    started: Monotonic,
    /// What its input brings meanwhile.
    kept: Inbox,
}

impl Machine {
    /// A machine that owns nothing.
    pub(super) fn new(options: Options, limits: Limits, metrics: Metrics) -> Self {
        Self {
            options,
            limits,
            metrics,
            partitions: BTreeMap::new(),
            restoring: BTreeMap::new(),
            tickets: 0,
            plans: 0,
            pending: None,
            apart: None,
            leaving: Vec::new(),
            refused: false,
            paused: false,
        }
    }

    /// Hears one thing, and says what is to be done about it. An error ends fulfilment.
    pub(super) fn step(&mut self, input: Input, now: Now) -> Result<Vec<Output>, Error> {
        let output = match input {
            Input::Assigned(assigned) => self.assign(assigned, now),
            Input::Records(tp, records) => {
                self.hear(&tp, records);
                None
            }
            Input::Revoking(gone) => {
                self.leaving.extend(gone);
                self.commit(now)
            }
            Input::Lost(gone) => {
                self.give_up(&gone);
                None
            }
            Input::Restored(restored) => self.begin(*restored, now)?,
            Input::CommitEnded(plan, outcome) => self.ended(plan, outcome, now)?,
            Input::Failed(error) => self.leave(error)?,
            Input::Tick => self.commit(now),
        };
        if self.pending.is_none() && !self.leaving.is_empty() {
            if let Some(Output::Retry(error)) = &output {
                // nothing of it is there, so the next owner does it again
                warn!(%error, "partitions are given up without a last commit");
            }
            let gone = std::mem::take(&mut self.leaving);
            self.give_up(&gone);
        }
        Ok(output.into_iter().chain(self.pause()).collect())
    }

    /// Whether the next commit is full, so that there is no use in listening before it.
    pub(super) fn is_full(&self) -> bool {
        if self.refused {
            return false; // it waits for the log, and hears what comes meanwhile
        }
        let (waiting, bytes) = held(self.partitions.values().map(Partition::inbox));
        let orders = usize::try_from(self.orders_left()).unwrap_or(usize::MAX);
        let taken = waiting.min(orders);
        let collected = self.partitions.values().flat_map(Partition::collected).count();
        taken > 0 && (collected + taken >= self.limits.commit_records || bytes >= self.limits.waiting_bytes)
    }

    /// Whether engines are being read from the log.
    pub(super) fn is_restoring(&self) -> bool {
        !self.restoring.is_empty()
    }

    /// Whether the log did not take the last commit.
    pub(super) const fn is_refused(&self) -> bool {
        self.refused
    }

    fn assign(&mut self, assigned: Vec<GroupOffset>, now: Now) -> Option<Output> {
        if assigned.is_empty() {
            if self.restoring.is_empty() {
                info!("no partition for this instance yet");
                self.metrics.ready();
            }
            return None;
        }
        let mut wanted = Vec::new();
        for offset in assigned {
            self.tickets += 1;
            let ticket = Ticket { partition: offset.of.partition, number: self.tickets };
            self.partitions.remove(&ticket.partition);
            let restoring = Restoring { ticket, started: now.monotonic, kept: Inbox::default() };
            self.restoring.insert(ticket.partition, restoring);
            wanted.push((ticket, offset));
        }
        Some(Output::Restore(wanted))
    }

    fn hear(&mut self, tp: &TopicPartition, records: Vec<Record>) {
        if let Some(restoring) = self.restoring.get_mut(&tp.partition) {
            restoring.kept.extend(records);
        } else if let Some(partition) = self.partitions.get_mut(&tp.partition) {
            partition.hear(records);
        } // else given up meanwhile: its new owner reads these
    }

    /// A partition's engine is there: its timers run from now on.
    fn begin(&mut self, restored: Restored, now: Now) -> Result<Option<Output>, Error> {
        let Restored { ticket, offset, result } = restored;
        if self.restoring.get(&ticket.partition).is_none_or(|restoring| restoring.ticket != ticket) {
            return Ok(None); // given up meanwhile
        }
        let engine = match result {
            Ok(engine) => engine,
            Err(Error::Log(error @ eventlog::Error::Unavailable(_))) => {
                warn!(%error, partition = ticket.partition, "a partition cannot be restored now, trying again");
                return Ok(Some(Output::Restore(vec![(ticket, offset)])));
            }
            Err(error) => return Err(error),
        };
        let Some(Restoring { started, kept, .. }) = self.restoring.remove(&ticket.partition) else { return Ok(None) };
        debug!(partition = ticket.partition, offset = offset.offset, in_flight = engine.in_flight(), "restored");
        self.partitions.insert(ticket.partition, Partition::new(ticket, engine, offset, kept));
        if self.restoring.is_empty() {
            let took = now.monotonic.saturating_sub(started);
            info!(partitions = self.partitions.len(), in_flight = self.in_flight(), ?took, "orders in flight restored");
            self.metrics.ready();
        }
        self.report();
        Ok(None)
    }

    fn give_up(&mut self, gone: &[TopicPartition]) {
        let was_restoring = !self.restoring.is_empty();
        self.leaving.retain(|tp| !gone.contains(tp));
        for tp in gone {
            self.partitions.remove(&tp.partition);
            self.restoring.remove(&tp.partition);
        }
        if was_restoring && self.restoring.is_empty() {
            self.metrics.ready(); // what it was waiting for is another's
        }
        self.report();
    }

    /// What ends a membership, but not the work: fenced, or nobody can say how a commit ended, or the log is away.
    fn leave(&mut self, error: eventlog::Error) -> Result<Option<Output>, Error> {
        use eventlog::Error::{Fenced, Overloaded, Unavailable, Unconfirmed};
        if !matches!(error, Fenced(_) | Unconfirmed(_) | Unavailable(_) | Overloaded(_)) {
            return Err(error.into());
        }
        self.partitions.clear();
        self.restoring.clear();
        self.leaving.clear();
        (self.pending, self.apart, self.refused, self.paused) = (None, None, false, false);
        Ok(Some(Output::Rejoin(error)))
    }

    /// Asks for no more records while there are too many, or while the log takes no commit. What waits for a commit that is
    /// full is not too much: it is gone after the next tick, and some back ends fetch again what they had when they go on.
    fn pause(&mut self) -> Option<Output> {
        let (waiting, _) = held(self.partitions.values().map(Partition::inbox));
        let (kept, kept_bytes) = held(self.restoring.values().map(|restoring| &restoring.kept));
        let paused = self.refused
            || self.orders_left() <= (waiting + kept) as u64
            || kept >= self.limits.kept_records
            || kept_bytes >= self.limits.waiting_bytes;
        (std::mem::replace(&mut self.paused, paused) != paused).then_some(Output::Pause(paused))
    }

    fn orders_left(&self) -> u64 {
        self.options.in_flight_max.saturating_sub(self.in_flight())
    }

    fn in_flight(&self) -> u64 {
        self.partitions.values().map(|partition| partition.engine.in_flight()).sum()
    }

    fn report(&self) {
        self.metrics.orders(self.partitions.values().map(|partition| partition.engine.counters()));
    }
}

/// How many records wait, and their bytes.
fn held<'a>(inboxes: impl Iterator<Item = &'a Inbox>) -> (usize, usize) {
    inboxes.fold((0, 0), |(records, bytes), inbox| (records + inbox.len(), bytes + inbox.bytes()))
}

#[cfg(test)]
mod tests;
