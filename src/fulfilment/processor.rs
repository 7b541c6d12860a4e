use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Error, GROUP, Now,
    letters::{self, Unwritten},
    metrics::Metrics,
    partition::{Partition, Room},
    restore::{Restored, Restorer},
};
use crate::{
    clock::{Clock, Monotonic},
    domain::Flow,
    eventlog::{self, Commits, EventLog, GroupOffset, Input, Member, NewRecord, Outcome, Record, TopicPartition},
};

/// What fulfilment works with.
#[derive(Clone)]
pub struct Deps {
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The time.
    pub clock: Clock,
    /// Where it counts.
    pub metrics: Metrics,
}

/// What fulfilment is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The states and their dwells.
    pub flow: Arc<Flow>,
    /// Topic of the flow's versions; none are read while it is not there.
    pub flows: String,
    /// Input topic.
    pub orders: String,
    /// Output topic.
    pub states: String,
    /// Topic of the dead letters.
    pub dead: String,
    /// Topic of an old service's states, when that is not `states` itself.
    pub old_states: Option<String>,
    /// Consumer group of an old service that took orders before us.
    pub old_group: Option<String>,
    /// Time between two commits while there is something to commit.
    pub tick: Duration,
    /// Orders in flight beyond which no new ones are taken from the input.
    pub in_flight_max: u64,
    /// Finished orders remembered per partition, so that a late repeat of one is recognised.
    pub remember: usize,
    /// Which instance of the group this is.
    pub slot: u32,
}

/// Most events and dead letters in one commit: bounds memory and how long a commit takes.
const COMMIT_MAX: usize = 5_000;
/// Bytes of dead letters in one commit; one letter may pass it.
const DEAD_BYTES_MAX: usize = 8 << 20;
/// Input records kept for partitions that are being restored; then no more are heard.
const KEPT_MAX: usize = 20_000;
/// Bytes of input that waits, to be taken or for a partition to be restored; then no more is heard, but for a batch.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Longest pause between two tries of what the log cannot do now.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How often it looks for restored partitions while it listens.
const LOOK: Duration = Duration::from_millis(2);

/// The engines of the partitions that are ours, and the loop that feeds them. It owns its thread.
pub struct Processor {
    deps: Deps,
    options: Options,
    partitions: BTreeMap<u32, Partition>,
    /// Assigned, but their engines are still read from the log.
    restoring: BTreeMap<u32, Restoring>,
    restored: (Sender<Restored>, Receiver<Restored>),
    tickets: u64,
}

/// A partition whose engine is not there yet.
struct Restoring {
    ticket: u64,
    started: Monotonic,
    /// What its input brings meanwhile.
    kept: Vec<Record>,
}

/// How the work on one membership ended.
enum End {
    Stopped,
    /// The log and we may disagree: join again and rebuild.
    Rejoin(eventlog::Error),
}

impl Processor {
    /// A processor that owns nothing yet. Refuses topics that do not fit each other.
    pub fn new(deps: Deps, options: Options) -> Result<Self, Error> {
        let partitions_of = |name: &str| {
            let topic = deps.log.topic(name)?.ok_or_else(|| eventlog::Error::Unknown(name.to_owned()))?;
            eventlog::Result::Ok(topic.partitions.len())
        };
        let (orders_n, states_n) = (partitions_of(&options.orders)?, partitions_of(&options.states)?);
        if orders_n != states_n {
            let (orders, states) = (options.orders, options.states);
            return Err(Error::Partitions { orders, states, orders_n, states_n });
        }
        let (partitions, restoring) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { deps, options, partitions, restoring, restored: unbounded(), tickets: 0 })
    }

    /// Works until `stop`; blocks its thread.
    pub fn run(mut self, stop: &CancellationToken) -> Result<(), Error> {
        while let Some(mut member) = self.join(stop)? {
            self.partitions.clear();
            self.restoring.clear();
            match self.work(member.as_mut(), stop)? {
                End::Stopped => break,
                End::Rejoin(error) => {
                    warn!(%error, "rebuilding from the log");
                    self.deps.metrics.commit_retried();
                }
            }
        }
        info!("fulfilment stops");
        Ok(())
    }

    /// Joins, for as long as the log cannot let us in now.
    fn join(&self, stop: &CancellationToken) -> Result<Option<Box<dyn Member>>, Error> {
        let topics = [&*self.options.orders];
        let mut pause = self.options.tick;
        while !stop.is_cancelled() {
            match self.deps.log.join(GROUP, &topics, self.options.slot, Commits::Outputs) {
                Err(error @ eventlog::Error::Unavailable(_)) => {
                    warn!(%error, retry_in = ?pause, "cannot join, trying again");
                    thread::park_timeout(pause);
                    pause = (pause * 2).min(RETRY_MAX);
                }
                joined => return Ok(Some(joined?)),
            }
        }
        Ok(None)
    }

    fn work(&mut self, member: &mut dyn Member, stop: &CancellationToken) -> Result<End, Error> {
        // paces commits only, so it is the real clock even when a test drives the other one
        let pace = Clock::system();
        while !stop.is_cancelled() {
            let round_ends = pace.monotonic() + self.options.tick;
            self.pause_if_full(member);
            while self.collected() + self.waiting() < COMMIT_MAX
                && self.waiting_bytes() < WAITING_BYTES_MAX
                && let Some(wait) = round_ends.checked_sub(pace.monotonic())
            {
                match self.listen(member, wait) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => return rejoin(error),
                }
            }
            if let Some(end) = self.commit(member, stop)? {
                return Ok(end);
            }
        }
        Ok(End::Stopped)
    }

    fn pause_if_full(&self, member: &mut dyn Member) {
        let kept = || self.restoring.values().flat_map(|restoring| &restoring.kept);
        let full = self.in_flight() + self.waiting() as u64 >= self.options.in_flight_max;
        member
            .pause(full || kept().count() >= KEPT_MAX || kept().map(Record::size).sum::<usize>() >= WAITING_BYTES_MAX);
    }

    /// Hears one thing from the log, or of a partition that was restored. Returns whether there was something.
    fn listen(&mut self, member: &mut dyn Member, wait: Duration) -> Result<bool, Error> {
        if let Ok(restored) = self.restored.1.try_recv() {
            self.begin(restored)?;
            return Ok(true);
        }
        let wait = if self.restoring.is_empty() { wait } else { wait.min(LOOK) };
        let input = member.next(wait)?;
        if matches!(input, Input::Idle) {
            return Ok(!self.restoring.is_empty());
        }
        self.hear(input, Some(member))?;
        Ok(true)
    }

    /// What the log says. `member` is there when it can be asked for a last commit.
    fn hear(&mut self, input: Input, member: Option<&mut dyn Member>) -> Result<(), Error> {
        match input {
            Input::Assigned(assigned) => self.assign(assigned)?,
            Input::Records(of, records) => self.take(&of, records),
            Input::Revoking(revoked) => {
                if let Some(member) = member
                    && let Some(error) = self.commit_once(member)?
                {
                    // nothing of it is there, so the next owner does it again
                    warn!(%error, "partitions are given up without a last commit");
                }
                self.drop_partitions(&revoked);
            }
            Input::Lost(lost) => self.drop_partitions(&lost),
            Input::Idle => {}
        }
        Ok(())
    }

    fn assign(&mut self, assigned: Vec<GroupOffset>) -> Result<(), Error> {
        if assigned.is_empty() && self.restoring.is_empty() {
            info!("no partition for this instance yet");
            self.deps.metrics.ready();
        }
        self.tickets += 1;
        let started = self.deps.clock.monotonic();
        for offset in &assigned {
            self.partitions.remove(&offset.of.partition);
            let restoring = Restoring { ticket: self.tickets, started, kept: Vec::new() };
            self.restoring.insert(offset.of.partition, restoring);
        }
        self.restorer().start(self.tickets, assigned, &self.restored.0)
    }

    fn restorer(&self) -> Restorer {
        Restorer {
            log: self.deps.log.clone(),
            clock: self.deps.clock.clone(),
            flow: self.options.flow.clone(),
            flows: self.options.flows.clone(),
            states: self.options.states.clone(),
            old_states: self.options.old_states.clone(),
            old_group: self.options.old_group.clone(),
            remember: self.options.remember,
        }
    }

    /// A partition's engine is there: its timers run from now on.
    fn begin(&mut self, restored: Restored) -> Result<(), Error> {
        let Restored { ticket, offset, result } = restored;
        let number = offset.of.partition;
        if self.restoring.get(&number).is_none_or(|restoring| restoring.ticket != ticket) {
            return Ok(()); // given up meanwhile
        }
        let engine = match result {
            Ok(engine) => engine,
            Err(Error::Log(error @ eventlog::Error::Unavailable(_))) => {
                warn!(%error, partition = number, "a partition cannot be restored now, trying again");
                return self.restorer().start(ticket, vec![offset], &self.restored.0);
            }
            Err(error) => return Err(error),
        };
        let Some(Restoring { started, kept, .. }) = self.restoring.remove(&number) else { return Ok(()) };
        debug!(partition = number, offset = offset.offset, in_flight = engine.in_flight(), "restored");
        let of = offset.of.clone();
        self.partitions.insert(number, Partition::new(engine, offset));
        self.take(&of, kept);
        if self.restoring.is_empty() {
            let took = self.deps.clock.monotonic().saturating_sub(started);
            info!(partitions = self.partitions.len(), in_flight = self.in_flight(), ?took, "orders in flight restored");
            self.deps.metrics.ready();
        }
        self.report();
        Ok(())
    }

    fn drop_partitions(&mut self, gone: &[TopicPartition]) {
        let was_restoring = !self.restoring.is_empty();
        for of in gone {
            self.partitions.remove(&of.partition);
            self.restoring.remove(&of.partition);
        }
        if was_restoring && self.restoring.is_empty() {
            self.deps.metrics.ready(); // what it was waiting for is another's
        }
        self.report();
    }

    fn take(&mut self, of: &TopicPartition, records: Vec<Record>) {
        if let Some(restoring) = self.restoring.get_mut(&of.partition) {
            restoring.kept.extend(records);
        } else if let Some(partition) = self.partitions.get_mut(&of.partition) {
            partition.hear(records);
        } // else given up meanwhile: its new owner reads these
    }

    /// Commits what is due and what was collected, if there is anything. Tries again while the log cannot take it.
    fn commit(&mut self, member: &mut dyn Member, stop: &CancellationToken) -> Result<Option<End>, Error> {
        let mut pause = self.options.tick;
        loop {
            let error = match self.commit_once(member) {
                Ok(None) => return Ok(None),
                Ok(Some(error)) => error,
                Err(error) => return rejoin(error).map(Some),
            };
            if stop.is_cancelled() {
                return Ok(Some(End::Stopped)); // nothing is lost: the input is not committed
            }
            warn!(%error, retry_in = ?pause, "commit refused, trying again");
            self.deps.metrics.commit_retried();
            if let Err(error) = self.wait_for_log(member, pause) {
                return rejoin(error).map(Some);
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Fills a commit to its bound: what is due first, so that no flood of orders makes states late, then the input. What
    /// has no room waits for the next commit, and its offset is not passed.
    fn fill(&mut self, now: Now) {
        let mut room = COMMIT_MAX.saturating_sub(self.collected()); // there is something already if a commit was refused
        for partition in self.partitions.values_mut() {
            let before = partition.collected();
            partition.tick(now, room);
            room -= partition.collected() - before;
        }
        let mut dead_bytes = DEAD_BYTES_MAX.saturating_sub(self.dead_bytes());
        for partition in self.partitions.values_mut() {
            let (before, bytes_before) = (partition.collected(), partition.dead_bytes());
            partition.take(Room { records: room, dead_bytes }, &self.options.dead, now, &self.deps.metrics);
            room -= partition.collected() - before;
            dead_bytes = dead_bytes.saturating_sub(partition.dead_bytes() - bytes_before);
        }
    }

    /// One try. Returns why the log cannot take it now; nothing was written then, and all of it still waits.
    fn commit_once(&mut self, member: &mut dyn Member) -> Result<Option<eventlog::Error>, Error> {
        let now = self.now();
        self.fill(now);
        if self.partitions.values().all(Partition::is_clean) {
            return Ok(None);
        }
        loop {
            let (outputs, offsets) = self.prepare(now);
            let begun = self.deps.clock.monotonic();
            match member.commit(&outputs, &offsets) {
                Outcome::Committed(positions) => {
                    self.deps.metrics.committed(self.deps.clock.monotonic().saturating_sub(begun));
                    if self.restoring.is_empty() {
                        self.deps.metrics.ready();
                    }
                    self.settle(positions.iter().map(|position| position.offset));
                    return Ok(None);
                }
                Outcome::Aborted(error @ eventlog::Error::Unavailable(_)) => return Ok(Some(error)),
                Outcome::Aborted(eventlog::Error::TooLarge(why))
                    if self.partitions.values().any(Partition::has_dead) =>
                {
                    warn!(why, "dead letters are too large for their topic, writing them apart");
                    if let Some(error) = self.write_dead(member)? {
                        return Ok(Some(error));
                    } // and again, without them
                }
                Outcome::Aborted(error) | Outcome::Unknown(error) => return Err(error.into()),
            }
        }
    }

    /// Writes the dead letters before their commit. Returns why the log cannot take them now.
    fn write_dead(&mut self, member: &mut dyn Member) -> Result<Option<eventlog::Error>, Error> {
        for partition in self.partitions.values_mut() {
            let letters = partition.swap_dead(Vec::new());
            if let Err(Unwritten { left, error }) = letters::write_apart(member, letters, &self.deps.metrics) {
                partition.swap_dead(left);
                return match error {
                    error @ eventlog::Error::Unavailable(_) => Ok(Some(error)),
                    error => Err(error.into()),
                };
            }
        }
        Ok(None)
    }

    /// Waits while staying a live member of the group. What changes meanwhile is in the next try.
    fn wait_for_log(&mut self, member: &mut dyn Member, pause: Duration) -> Result<(), Error> {
        member.pause(true);
        let input = member.next(pause)?;
        self.hear(input, None)?;
        self.pause_if_full(member);
        Ok(())
    }

    /// The outputs of every partition, events first, and the offset of every partition that is ours: an offset for
    /// each partition written to is what fences a member that lost it (design rule 3).
    fn prepare(&mut self, now: Now) -> (Vec<NewRecord>, Vec<GroupOffset>) {
        let states = &self.options.states;
        let mut outputs: Vec<_> =
            self.partitions.values().flat_map(|partition| partition.events(states, now)).collect();
        outputs.extend(self.partitions.values().flat_map(|partition| partition.dead().iter().cloned()));
        let offsets = self.partitions.values_mut().map(Partition::offset).collect();
        (outputs, offsets)
    }

    fn settle(&mut self, mut positions: impl Iterator<Item = u64>) {
        let now = self.now();
        for partition in self.partitions.values_mut() {
            let late = |due: Monotonic| now.monotonic.saturating_sub(due);
            for staged in partition.engine.staged() {
                self.deps.metrics.transition(&staged.event.estado, staged.due.map(late));
            }
            let events = partition.engine.staged().len();
            partition.settle(positions.by_ref().take(events), now);
        }
        self.report();
    }

    fn report(&self) {
        self.deps.metrics.orders(self.partitions.values().map(|partition| partition.engine.counters()));
    }

    fn collected(&self) -> usize {
        self.partitions.values().map(Partition::collected).sum()
    }

    fn waiting(&self) -> usize {
        self.partitions.values().map(Partition::waiting).sum()
    }

    fn waiting_bytes(&self) -> usize {
        self.partitions.values().map(Partition::waiting_bytes).sum()
    }

    fn dead_bytes(&self) -> usize {
        self.partitions.values().map(Partition::dead_bytes).sum()
    }

    fn in_flight(&self) -> u64 {
        self.partitions.values().map(|partition| partition.engine.in_flight()).sum()
    }

    fn now(&self) -> Now {
        Now { wall: self.deps.clock.now(), monotonic: self.deps.clock.monotonic() }
    }
}

/// What ends a membership, but not the work: fenced, or nobody can say how a commit ended, or the log is away.
fn rejoin(error: Error) -> Result<End, Error> {
    match error {
        Error::Log(
            error @ (eventlog::Error::Fenced(_)
            | eventlog::Error::Unconfirmed(_)
            | eventlog::Error::Unavailable(_)
            | eventlog::Error::Overloaded(_)),
        ) => Ok(End::Rejoin(error)),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests;
