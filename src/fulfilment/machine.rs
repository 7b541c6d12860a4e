//! What fulfilment does next, as a function of what happened: inputs go in, outputs come out, and nothing is done here.
//!
//! No log, no clock, no thread, and no channel, so that every order of rebalances, restores and commits can be made to
//! happen, and made to happen again. The driver around it (see `processor`) does what it says, and tells how that ended.
//!
//! At most one commit is under way. What it holds belongs to it until it has ended; meanwhile the machine only listens.

mod commits;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tracing::{debug, info, warn};

use super::{
    Error, Metrics, Now, Options,
    feed::{Feed, Inbox},
    letters::Apart,
    partition::Partition,
    plan::{CommitPlan, Ticket},
    restore::Restored,
    translation::Heard,
};
use crate::{
    causes::with_causes,
    clock::Monotonic,
    domain::Flow,
    eventlog::{self, GroupOffset, Outcome, TopicPartition},
};

/// What happened.
pub(super) enum Input {
    /// These partitions are ours, with what was committed for them.
    Assigned(Vec<GroupOffset>),
    /// Records of one of them, in order.
    Records(TopicPartition, Vec<Heard>),
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
    /// A version of the flow came into use.
    Flow(Arc<Flow>),
    /// It is time to commit what there is.
    Tick,
}

/// What is to be done, in this order.
pub(super) enum Output {
    /// To be committed; [`Input::CommitEnded`] tells how that went.
    Commit(CommitPlan),
    /// To be read from the log; [`Input::Restored`] brings each.
    Restore(Vec<(Ticket, GroupOffset)>),
    /// Whether no more records of a topic are wanted now.
    Pause(String, bool),
    /// The records before that offset are gone, and the work goes on without them.
    Seek(TopicPartition, u64),
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
    /// Bytes of these; those of one order or command may pass it.
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
    /// The newest version of the flow, as far as that is known.
    flow: Arc<Flow>,
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
    /// Topics of which no more records are wanted.
    paused: BTreeSet<String>,
    /// From where restores failed once.
    failed_once: BTreeMap<u32, GroupOffset>,
}

/// A partition whose engine is not there yet.
struct Restoring {
    ticket: Ticket,
    started: Monotonic,
    /// Where its commands are read, when there are any.
    commands: Option<GroupOffset>,
    /// What its inputs bring meanwhile.
    kept: Inbox,
    kept_commands: Inbox,
}

impl Machine {
    /// A machine that owns nothing.
    pub(super) fn new(options: Options, limits: Limits, metrics: Metrics) -> Self {
        Self {
            flow: options.flow.clone(),
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
            paused: BTreeSet::new(),
            failed_once: BTreeMap::new(),
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
            Input::Failed(eventlog::Error::Trimmed { topic, partition, from, start })
                if self.is_of_commands(&topic) =>
            {
                Some(self.skip(TopicPartition { topic, partition }, from, start))
            }
            Input::Failed(error) => self.leave(error)?,
            Input::Flow(flow) => {
                for partition in self.partitions.values_mut() {
                    partition.engine.begin_under(&flow);
                }
                self.flow = flow;
                None
            }
            Input::Tick => self.commit(now),
        };
        if self.pending.is_none() && !self.leaving.is_empty() {
            if let Some(Output::Retry(error)) = &output {
                // nothing of it is there, so the next owner does it again
                warn!(%error, "giving partitions up without a final commit");
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
        let (waiting, bytes) = held(self.partitions.values().map(|partition| partition.orders().inbox()));
        let orders = usize::try_from(self.orders_left()).unwrap_or(usize::MAX);
        let taken = waiting.min(orders);
        let collected = self.partitions.values().flat_map(Partition::collected).count();
        taken > 0 && (collected + taken >= self.limits.commit_records || bytes >= self.limits.waiting_bytes)
    }

    /// Whether engines are being read from the log.
    pub(super) fn is_restoring(&self) -> bool {
        !self.restoring.is_empty()
    }

    /// Whether there is something to commit now, timers apart.
    pub(super) fn has_work(&self) -> bool {
        self.refused || !self.partitions.values().all(Partition::is_idle)
    }

    /// When the next timer ends, on the clock that timers go by.
    pub(super) fn first_due(&self) -> Option<Monotonic> {
        self.partitions.values().filter_map(|partition| partition.engine.first_due()).min()
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
        let (commands, assigned): (Vec<_>, Vec<_>) =
            assigned.into_iter().partition(|offset| self.is_of_commands(&offset.tp.topic));
        for offset in assigned {
            self.tickets += 1;
            let ticket = Ticket { partition: offset.tp.partition, number: self.tickets };
            self.partitions.remove(&ticket.partition);
            let restoring = Restoring {
                ticket,
                started: now.monotonic,
                commands: commands.iter().find(|commands| commands.tp.partition == ticket.partition).cloned(),
                kept: Inbox::default(),
                kept_commands: Inbox::default(),
            };
            self.restoring.insert(ticket.partition, restoring);
            wanted.push((ticket, offset));
        }
        Some(Output::Restore(wanted))
    }

    fn hear(&mut self, tp: &TopicPartition, records: Vec<Heard>) {
        let is_of_commands = self.is_of_commands(&tp.topic);
        if let Some(restoring) = self.restoring.get_mut(&tp.partition) {
            let kept = if is_of_commands { &mut restoring.kept_commands } else { &mut restoring.kept };
            kept.extend(records);
        } else if let Some(feed) = self.partitions.get_mut(&tp.partition).and_then(|it| it.feed(&tp.topic)) {
            feed.inbox_mut().extend(records);
        } // else given up meanwhile: its new owner reads these
    }

    fn is_of_commands(&self, topic: &str) -> bool {
        self.options.commands.as_ref().is_some_and(|topics| topics.commands == topic)
    }

    /// Commands were deleted before they were decided: whoever sent them has given up on an answer long ago, and no order
    /// may stand still for it.
    fn skip(&mut self, tp: TopicPartition, from: u64, start: u64) -> Output {
        warn!(%tp, from, start, "commands were deleted before they were decided: retention is shorter than the outage");
        if let Some(offset) = self.restoring.get_mut(&tp.partition).and_then(|it| it.commands.as_mut()) {
            offset.offset = offset.offset.max(start);
        }
        if let Some(feed) = self.partitions.get_mut(&tp.partition).and_then(|it| it.feed(&tp.topic)) {
            feed.pass(start);
        }
        Output::Seek(tp, start)
    }

    /// A partition's engine is there: its timers run from now on.
    fn begin(&mut self, restored: Restored, now: Now) -> Result<Option<Output>, Error> {
        let Restored { ticket, offset, result } = restored;
        let is_stale = self.restoring.get(&ticket.partition).is_none_or(|restoring| restoring.ticket != ticket);
        #[cfg(test)]
        let is_stale = is_stale && !crate::planted::is_planted(crate::planted::Defect::StaleRestore);
        if is_stale {
            return Ok(None); // given up meanwhile
        }
        let engine = match result {
            Ok(mut engine) => {
                engine.begin_under(&self.flow);
                engine
            }
            Err(Error::Log(error @ eventlog::Error::Unavailable(_))) => {
                warn!(%error, partition = ticket.partition, "a partition cannot be restored now, trying again");
                return Ok(Some(Output::Restore(vec![(ticket, offset)])));
            }
            Err(error) => return self.restore_failed(error, offset),
        };
        self.failed_once.remove(&ticket.partition);
        let Some(restoring) = self.restoring.remove(&ticket.partition) else { return Ok(None) };
        let Restoring { started, commands, kept, kept_commands, .. } = restoring;
        debug!(partition = ticket.partition, offset = offset.offset, in_flight = engine.in_flight(), "restored");
        let commands = commands.map(|offset| Feed::new(offset, kept_commands));
        let partition = Partition::new(ticket, engine, Feed::new(offset, kept), commands);
        self.partitions.insert(ticket.partition, partition);
        if self.restoring.is_empty() {
            let took = now.monotonic.saturating_sub(started);
            info!(partitions = self.partitions.len(), in_flight = self.in_flight(), ?took, "orders in flight restored");
            self.metrics.ready();
        }
        self.report();
        Ok(None)
    }

    /// What a restore counted on is not there. A process that stalled before it read finds that another owner has gone on
    /// from what it was told, so it asks again; when that leads to the very same, records are missing.
    fn restore_failed(&mut self, error: Error, from: GroupOffset) -> Result<Option<Output>, Error> {
        let is_missing = matches!(error, Error::Restore { .. } | Error::Log(eventlog::Error::Trimmed { .. }));
        if !is_missing || self.failed_once.get(&from.tp.partition) == Some(&from) {
            return Err(error);
        }
        let (tp, error) = (&from.tp, with_causes(&error));
        let why = format!("{tp} may have moved on elsewhere before it was restored here: {error}");
        self.failed_once.insert(from.tp.partition, from);
        self.leave(eventlog::Error::Fenced(why))
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
        (self.pending, self.apart, self.refused) = (None, None, false);
        self.paused.clear();
        Ok(Some(Output::Rejoin(error)))
    }

    /// Asks for no more records while there are too many, or while the log takes no commit. What waits for a commit that is
    /// full is not too much: it is gone after the next tick, and some back ends fetch again what they had when they go on.
    /// Commands go on when there are too many orders: they may be what makes these fewer.
    fn pause(&mut self) -> Vec<Output> {
        let (waiting, _) = held(self.partitions.values().map(|partition| partition.orders().inbox()));
        let (kept, kept_bytes) = held(self.restoring.values().map(|restoring| &restoring.kept));
        let orders = self.refused
            || self.orders_left() <= (waiting + kept) as u64
            || kept >= self.limits.kept_records
            || kept_bytes >= self.limits.waiting_bytes;
        let heard = self.partitions.values().filter_map(|partition| Some(partition.commands()?.inbox()));
        let (waiting, bytes) = held(heard.chain(self.restoring.values().map(|restoring| &restoring.kept_commands)));
        let commands = self.refused || waiting >= self.limits.kept_records || bytes >= self.limits.waiting_bytes;
        let topics = self.options.commands.iter().map(|topics| (&topics.commands, commands));
        let mut outputs = Vec::new();
        for (topic, paused) in [(&self.options.orders, orders)].into_iter().chain(topics) {
            let changed = if paused { self.paused.insert(topic.clone()) } else { self.paused.remove(topic) };
            if changed {
                outputs.push(Output::Pause(topic.clone(), paused));
            }
        }
        outputs
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
