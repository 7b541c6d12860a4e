use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Accepted, Engine, Error, GROUP, Now, Staged, metrics::Metrics, restore::restore};
use crate::{
    clock::{Clock, Monotonic},
    domain::{DeadLetter, Flow, Invalid, Order, Source, wire},
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
    /// Input topic.
    pub orders: String,
    /// Output topic.
    pub states: String,
    /// Topic of the dead letters.
    pub dead: String,
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
/// Longest pause between two tries of a commit that the log cannot take now.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The engines of the partitions that are ours, and the loop that feeds them. It owns its thread.
pub struct Processor {
    deps: Deps,
    options: Options,
    partitions: BTreeMap<u32, Partition>,
}

struct Partition {
    engine: Engine,
    /// The next input offset to take.
    next: u64,
    /// The input offset of the last commit.
    committed: u64,
    /// Poison found since the last commit.
    dead: Vec<NewRecord>,
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
        let topics = deps.log.topics()?;
        let partitions_of = |name: &str| {
            let topic = topics.iter().find(|topic| topic.name == name);
            topic.map(|topic| topic.partitions.len()).ok_or_else(|| eventlog::Error::Unknown(name.to_owned()))
        };
        let (orders_n, states_n) = (partitions_of(&options.orders)?, partitions_of(&options.states)?);
        if orders_n != states_n {
            let (orders, states) = (options.orders, options.states);
            return Err(Error::Partitions { orders, states, orders_n, states_n });
        }
        Ok(Self { deps, options, partitions: BTreeMap::new() })
    }

    /// Works until `stop`; blocks its thread.
    pub fn run(mut self, stop: &CancellationToken) -> Result<(), Error> {
        loop {
            self.partitions.clear();
            let topics = [&*self.options.orders];
            let mut member = self.deps.log.join(GROUP, &topics, self.options.slot, Commits::Outputs)?;
            match self.work(member.as_mut(), stop)? {
                End::Stopped => return Ok(()),
                End::Rejoin(error) => warn!(%error, "rebuilding from the log"),
            }
        }
    }

    fn work(&mut self, member: &mut dyn Member, stop: &CancellationToken) -> Result<End, Error> {
        // paces commits only, so it is the real clock even when a test drives the other one
        let pace = Clock::system();
        while !stop.is_cancelled() {
            let round_ends = pace.monotonic() + self.options.tick;
            member.pause(self.in_flight() >= self.options.in_flight_max);
            while self.collected() < COMMIT_MAX
                && let Some(wait) = round_ends.checked_sub(pace.monotonic())
                && let Some(end) = self.listen(member, wait, stop)?
            {
                if let Some(end) = end {
                    return Ok(end);
                }
            }
            if let Some(end) = self.commit(member, stop)? {
                return Ok(end);
            }
        }
        info!("fulfilment stops");
        Ok(End::Stopped)
    }

    /// Hears one thing from the log. `None`: nothing came in the time; `Some(None)`: go on.
    #[expect(clippy::option_option, reason = "private, and the caller's loop reads well with it")]
    fn listen(
        &mut self,
        member: &mut dyn Member,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Option<Option<End>>, Error> {
        match member.next(wait)? {
            Input::Assigned(assigned) => self.assign(assigned)?,
            Input::Records(of, records) => self.accept(&of, records),
            Input::Revoking(revoked) => {
                let end = self.commit(member, stop)?;
                self.drop_partitions(&revoked);
                return Ok(Some(end));
            }
            Input::Lost(lost) => self.drop_partitions(&lost),
            Input::Idle => return Ok(None),
        }
        Ok(Some(None))
    }

    fn assign(&mut self, assigned: Vec<GroupOffset>) -> Result<(), Error> {
        let started = self.deps.clock.monotonic();
        for GroupOffset { of, offset, metadata } in assigned {
            let output = TopicPartition { topic: self.options.states.clone(), partition: of.partition };
            let (flow, remember) = (&self.options.flow, self.options.remember);
            let engine = restore(self.deps.log.as_ref(), &output, &metadata, flow, &self.deps.clock, remember)?;
            debug!(topic = of.topic, partition = of.partition, offset, in_flight = engine.in_flight(), "assigned");
            self.partitions
                .insert(of.partition, Partition { engine, next: offset, committed: offset, dead: Vec::new() });
        }
        let took = self.deps.clock.monotonic().saturating_sub(started);
        info!(partitions = self.partitions.len(), in_flight = self.in_flight(), ?took, "orders in flight restored");
        self.report();
        self.deps.metrics.ready();
        Ok(())
    }

    fn drop_partitions(&mut self, gone: &[TopicPartition]) {
        for of in gone {
            self.partitions.remove(&of.partition);
        }
        self.report();
    }

    fn accept(&mut self, of: &TopicPartition, records: Vec<Record>) {
        let now = self.now();
        let Some(partition) = self.partitions.get_mut(&of.partition) else {
            return; // given up meanwhile: its new owner reads these
        };
        for record in records {
            if record.offset < partition.next {
                continue;
            }
            partition.next = record.offset + 1;
            let refused = match wire::decode_order(&record.value, &record.headers, record.at) {
                Ok(order) => partition.accept(order, now, &self.deps.metrics),
                Err(reason) => Some(reason),
            };
            if let Some(reason) = refused {
                warn!(topic = of.topic, partition = of.partition, offset = record.offset, %reason, "dead letter");
                partition.engine.count_dead();
                partition.dead.push(dead_letter(&self.options.dead, of, record, reason, now));
            }
        }
    }

    /// Commits what is due and what was collected, if there is anything. Tries again while the log cannot take it.
    fn commit(&mut self, member: &mut dyn Member, stop: &CancellationToken) -> Result<Option<End>, Error> {
        let now = self.now();
        let mut room = COMMIT_MAX;
        for partition in self.partitions.values_mut() {
            partition.engine.tick(now, room);
            room = room.saturating_sub(partition.engine.staged().len());
        }
        if self.partitions.values().all(Partition::is_clean) {
            return Ok(None);
        }
        let (outputs, offsets) = self.prepare(now);
        let mut pause = self.options.tick;
        loop {
            let begun = self.deps.clock.monotonic();
            match member.commit(&outputs, &offsets) {
                Outcome::Committed(positions) => {
                    self.deps.metrics.committed(self.deps.clock.monotonic().saturating_sub(begun));
                    self.deps.metrics.ready();
                    self.settle(positions.iter().map(|position| position.offset));
                    return Ok(None);
                }
                Outcome::Aborted(error @ eventlog::Error::Unavailable(_)) => {
                    if stop.is_cancelled() {
                        return Ok(Some(End::Stopped)); // nothing is lost: the input is not committed
                    }
                    warn!(%error, retry_in = ?pause, "commit refused, trying again");
                    self.deps.metrics.commit_retried();
                    if let Some(end) = self.wait_for_log(member, pause)? {
                        return Ok(Some(end));
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Outcome::Aborted(error @ eventlog::Error::Fatal(_)) => return Err(error.into()),
                Outcome::Aborted(error) | Outcome::Unknown(error) => return Ok(Some(End::Rejoin(error))),
            }
        }
    }

    /// Waits while staying a live member of the group. Any change of the assignment meanwhile means to start over.
    #[expect(clippy::unused_self, reason = "reads as a step of `commit`")]
    fn wait_for_log(&self, member: &mut dyn Member, pause: Duration) -> Result<Option<End>, Error> {
        member.pause(true);
        let input = member.next(pause)?;
        member.pause(false);
        Ok(match input {
            Input::Idle | Input::Records(..) => None,
            _ => Some(End::Rejoin(eventlog::Error::Fenced("the assignment changed during a commit".into()))),
        })
    }

    /// The outputs of every partition, events first, and the offset of every partition that is ours: an offset for
    /// each partition written to is what fences a member that lost it (design rule 3).
    fn prepare(&mut self, now: Now) -> (Vec<NewRecord>, Vec<GroupOffset>) {
        let (mut outputs, mut dead, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        for (number, partition) in &mut self.partitions {
            let events = partition.engine.staged().iter();
            outputs.extend(events.map(|staged| event_record(&self.options.states, *number, staged, now)));
            dead.append(&mut partition.dead);
            offsets.push(GroupOffset {
                of: TopicPartition { topic: self.options.orders.clone(), partition: *number },
                offset: partition.next,
                metadata: partition.engine.progress().to_string(),
            });
        }
        outputs.append(&mut dead);
        (outputs, offsets)
    }

    fn settle(&mut self, mut positions: impl Iterator<Item = u64>) {
        let now = self.now();
        for partition in self.partitions.values_mut() {
            let late = |due: Monotonic| now.monotonic.saturating_sub(due);
            for staged in partition.engine.staged() {
                self.deps.metrics.transition(&staged.event.estado, staged.due.map(late));
            }
            partition.committed = partition.next;
            let events = partition.engine.staged().len();
            partition.engine.settle(positions.by_ref().take(events), now);
        }
        self.report();
    }

    fn report(&self) {
        self.deps.metrics.orders(self.partitions.values().map(|partition| partition.engine.counters()));
    }

    fn collected(&self) -> usize {
        self.partitions.values().map(|partition| partition.engine.staged().len() + partition.dead.len()).sum()
    }

    fn in_flight(&self) -> u64 {
        self.partitions.values().map(|partition| partition.engine.in_flight()).sum()
    }

    fn now(&self) -> Now {
        Now { wall: self.deps.clock.now(), monotonic: self.deps.clock.monotonic() }
    }
}

impl Partition {
    fn accept(&mut self, order: Order, now: Now, metrics: &Metrics) -> Option<Invalid> {
        let id = order.id;
        match self.engine.accept(order, now) {
            Accepted::New => None,
            Accepted::Repeat => {
                debug!(order.id = %id, "repeat ignored");
                metrics.repeat_ignored();
                None
            }
            Accepted::Conflict => Some(Invalid(format!("order {id} is there already with other content").into())),
        }
    }

    fn is_clean(&self) -> bool {
        self.engine.staged().is_empty() && self.next == self.committed
    }
}

fn event_record(topic: &str, partition: u32, staged: &Staged, now: Now) -> NewRecord {
    NewRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        key: Some(wire::key(staged.event.order.id)),
        value: wire::encode_event(&staged.event),
        headers: wire::event_headers(&staged.event),
        at: now.wall,
    }
}

fn dead_letter(topic: &str, of: &TopicPartition, record: Record, reason: Invalid, now: Now) -> NewRecord {
    let letter = DeadLetter {
        source: Source { topic: of.topic.clone(), partition: of.partition, offset: record.offset },
        reason: reason.to_string(),
        attempts: wire::attempts(&record.headers),
        at: now.wall,
        key: record.key,
        value: record.value,
        headers: record.headers,
    };
    let headers = wire::dead_letter_headers(&letter);
    let DeadLetter { key, value, .. } = letter;
    NewRecord { topic: topic.to_owned(), partition: Some(0), key, value, headers, at: now.wall }
}
