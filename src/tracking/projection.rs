use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{runtime::Handle, sync::Notify};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Error, GROUP, metrics::Metrics};
use crate::{
    clock::Monotonic,
    domain::{DeadLetter, Source, Timestamp, wire},
    env::{Backoff, Env},
    eventlog::{self, Budget, Commits, EventLog, GroupOffset, Input, Member, Outcome, Record, TopicPartition},
    store::{
        self, Store,
        orders::{Advance, Batch, Incoming},
    },
};

/// What the projection works with.
#[derive(Clone)]
pub struct Deps {
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Time and chance.
    pub env: Env,
    /// Told after every batch, so that the mailer need not poll.
    pub projected: Arc<Notify>,
    /// Where it counts.
    pub metrics: Metrics,
}

/// What the projection is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Topic of the state events.
    pub states: String,
    /// Topic of the dead letters.
    pub dead: String,
    /// Topic of an old service's states, when that is not `states` itself.
    pub old_states: Option<String>,
    /// Whether each state gets a row in the mail ledger.
    pub mail: bool,
    /// States that were entered before get none: an old service mailed them.
    pub mail_since: Option<Timestamp>,
    /// Which instance of the group this is.
    pub slot: u32,
}

/// Most records in one transaction: bounds memory and how long the store is busy with one batch.
const BATCH_MAX: usize = 2_000;
/// Bytes of records in one transaction; one record may pass it.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How long the thread waits for records before it looks whether it should stop.
const IDLE: Duration = Duration::from_millis(100);
/// How often the group's offsets in the log follow those in the store; only backlog and retention read them.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// Pauses between two tries of a batch that the store cannot take now.
const RETRY: std::ops::Range<Duration> = Duration::from_millis(20)..Duration::from_secs(1);

/// The projection of the log into the store. It owns its thread.
pub struct Projection {
    deps: Deps,
    options: Options,
    runtime: Handle,
    /// For each partition that is ours, the offset that the store holds.
    applied: BTreeMap<TopicPartition, u64>,
    /// Records for which the last batch had no room.
    rest: Option<(TopicPartition, VecDeque<Record>)>,
    /// Whether the store is ahead of what the log was told.
    unreported: bool,
    reported_at: Monotonic,
}

impl Projection {
    /// A projection that owns nothing yet; `runtime` runs the calls of the store.
    pub fn new(deps: Deps, options: Options, runtime: Handle) -> Self {
        Self {
            deps,
            options,
            runtime,
            applied: BTreeMap::new(),
            rest: None,
            unreported: false,
            reported_at: Monotonic::ZERO,
        }
    }

    /// Works until `stop`; blocks its thread.
    pub fn run(mut self, stop: &CancellationToken) -> Result<(), Error> {
        let Options { states, dead, old_states, .. } = self.options.clone();
        let topics: Vec<&str> = [&states, &dead].into_iter().chain(&old_states).map(String::as_str).collect();
        let mut member = self.deps.log.join(GROUP, &topics, self.options.slot, Commits::Offsets)?;
        while !stop.is_cancelled() {
            let batch = self.collect(member.as_mut(), stop)?;
            if !batch.advances.is_empty() {
                self.apply(member.as_mut(), batch, stop)?;
            }
            self.report(member.as_mut(), false);
        }
        self.report(member.as_mut(), true);
        info!("tracking stops");
        Ok(())
    }

    /// Waits for records, then takes what else is there, up to a full batch.
    ///
    /// When partitions come or go, what was collected so far is let go of and read again: the store knows from where.
    fn collect(&mut self, member: &mut dyn Member, stop: &CancellationToken) -> Result<Batch, Error> {
        let mut batch = Batch {
            group: GROUP.to_owned(),
            mail: self.options.mail,
            mail_since: self.options.mail_since,
            now: self.deps.env.clock.now(),
            ..Batch::default()
        };
        let mut room = Budget::new(BATCH_MAX, BATCH_BYTES_MAX);
        if let Some((of, records)) = self.rest.take() {
            self.add(&mut batch, of, records, &mut room);
        }
        let mut wait = if batch.advances.is_empty() { IDLE } else { Duration::ZERO };
        while !room.is_spent() {
            match member.next(wait)? {
                Input::Assigned(assigned) => {
                    self.reread(member, &batch.advances)?;
                    self.assign(member, &assigned, stop)?;
                    return Ok(Batch::default());
                }
                Input::Records(of, records) => self.add(&mut batch, of, records.into(), &mut room),
                // the store's compare-and-set fences us, so nothing has to be finished first
                Input::Revoking(gone) | Input::Lost(gone) => {
                    self.applied.retain(|of, _| !gone.contains(of));
                    self.reread(member, &batch.advances)?;
                    return Ok(Batch::default());
                }
                Input::Idle => break,
            }
            wait = Duration::ZERO;
        }
        Ok(batch)
    }

    fn assign(
        &mut self,
        member: &mut dyn Member,
        assigned: &[GroupOffset],
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let new: Vec<TopicPartition> = assigned.iter().map(|offset| offset.of.clone()).collect();
        self.rewind(member, &new, stop)?;
        info!(partitions = self.applied.len(), "tracking reads on from the store's offsets");
        self.deps.metrics.ready();
        Ok(())
    }

    /// Goes back to where a batch began that is not applied.
    fn reread(&self, member: &mut dyn Member, advances: &[Advance]) -> Result<(), Error> {
        for Advance { of, from, .. } in advances.iter().filter(|advance| self.applied.contains_key(&advance.of)) {
            member.seek(of, (*from).max(self.first_kept(of)?))?;
        }
        Ok(())
    }

    /// Reads on where the store is: its offsets are the truth, those in the log only follow.
    fn rewind(
        &mut self,
        member: &mut dyn Member,
        partitions: &[TopicPartition],
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let stored = self.retrying(stop, |this| this.runtime.block_on(this.deps.store.offsets(GROUP)))?;
        self.rest = None; // it is read again
        let Some(stored) = stored else { return Ok(()) }; // stopping: nothing is read any more
        for of in partitions {
            let offset = stored.iter().find(|(stored, _)| stored == of).map(|(_, offset)| *offset);
            // a store that knows nothing of the partition takes all that is left of it
            member.seek(of, offset.map_or_else(|| self.first_kept(of), Ok)?)?;
            self.applied.insert(of.clone(), offset.unwrap_or(0));
        }
        Ok(())
    }

    fn first_kept(&self, of: &TopicPartition) -> Result<u64, Error> {
        let topic = self.deps.log.topic(&of.topic)?;
        Ok(topic.and_then(|topic| topic.partitions.get(of.partition as usize).copied()).map_or(0, |range| range.start))
    }

    /// Takes records as far as there is room; the rest is for the next batch.
    fn add(&mut self, batch: &mut Batch, of: TopicPartition, mut records: VecDeque<Record>, room: &mut Budget) {
        let Some(from) = self.applied.get(&of).copied() else { return }; // given up: its new owner reads these
        let mut reached = None;
        while !room.is_spent()
            && let Some(record) = records.pop_front()
        {
            room.spend(record.size());
            reached = Some((record.offset + 1, Some(record.fingerprint())));
            if of.topic == self.options.dead {
                batch.dead.push(self.read_dead_letter(&of, record));
            } else if !wire::is_forwarded(&record.headers) {
                Self::add_event(batch, &of, record);
            } // else it comes from the topic of states, too
        }
        let Some((next, print)) = reached else { return };
        if !records.is_empty() {
            self.rest = Some((of.clone(), records));
        }
        if let Some(advance) = batch.advances.iter_mut().find(|advance| advance.of == of) {
            (advance.to, advance.print) = (next, print);
        } else {
            batch.advances.push(Advance { of, from, to: next, print });
        }
    }

    fn add_event(batch: &mut Batch, of: &TopicPartition, record: Record) {
        let read = wire::decode_event(&record.value, &record.headers, record.at);
        let mut letter = dead_letter(of, record, batch.now);
        let reason = match read {
            Ok(event) => {
                batch.events.push(Incoming { event, letter });
                return;
            }
            Err(reason) => reason.to_string(),
        };
        warn!(topic = of.topic, partition = of.partition, offset = letter.source.offset, reason, "dead letter");
        wire::note_unreadable(&mut letter);
        batch.dead.push(DeadLetter { reason, ..letter });
    }

    fn read_dead_letter(&self, of: &TopicPartition, record: Record) -> DeadLetter {
        wire::decode_dead_letter(record.key.as_deref(), &record.value, &record.headers, record.at).unwrap_or_else(
            || {
                warn!(
                    topic = of.topic,
                    offset = record.offset,
                    "a dead letter without its source is kept under its own"
                );
                DeadLetter {
                    reason: "a record of the dead-letter topic that does not say where it came from".into(),
                    ..dead_letter(of, record, self.deps.env.clock.now())
                }
            },
        )
    }

    fn apply(&mut self, member: &mut dyn Member, batch: Batch, stop: &CancellationToken) -> Result<(), Error> {
        let advances = batch.advances.clone();
        let dead = batch.dead.len() as u64;
        let newest = batch.events.iter().map(|incoming| incoming.event.at).max();
        let batch = Arc::new(batch);
        let applied = self.retrying(stop, |this| this.runtime.block_on(this.deps.store.apply(batch.clone())));
        match applied {
            Ok(None) => Ok(()), // what is not applied now is read again at the next start
            Ok(Some(applied)) => {
                for Advance { of, to, .. } in advances {
                    self.applied.insert(of, to);
                }
                self.unreported = true;
                let delay = newest.map(|newest| self.deps.env.clock.now().since(newest));
                self.deps.metrics.applied(applied, dead, delay);
                self.deps.projected.notify_one();
                Ok(())
            }
            Err(Error::Store(store::Error::Fenced(partition))) => {
                warn!(partition, "another instance was faster, reading on from the store's offsets");
                let ours: Vec<TopicPartition> = self.applied.keys().cloned().collect();
                self.rewind(member, &ours, stop)
            }
            Err(error) => Err(error),
        }
    }

    /// Repeats a call of the store for as long as it cannot be done now; `None` when it is time to stop.
    fn retrying<T>(
        &self,
        stop: &CancellationToken,
        mut call: impl FnMut(&Self) -> store::Result<T>,
    ) -> Result<Option<T>, Error> {
        let mut backoff = Backoff::new(RETRY);
        while !stop.is_cancelled() {
            match call(self) {
                Err(error @ (store::Error::Unavailable(_) | store::Error::Overloaded(_))) => {
                    let pause = backoff.pause();
                    warn!(%error, retry_in = ?pause, "the store cannot be used now, trying again");
                    self.runtime.block_on(self.deps.env.pace.sleep_unless(stop, pause));
                }
                result => return Ok(Some(result?)),
            }
        }
        Ok(None)
    }

    fn report(&mut self, member: &mut dyn Member, at_once: bool) {
        let now = self.deps.env.clock.monotonic();
        if !self.unreported || !at_once && now.saturating_sub(self.reported_at) < REPORT_EVERY {
            return;
        }
        self.reported_at = now;
        self.unreported = false;
        let offsets: Vec<GroupOffset> = self
            .applied
            .iter()
            .map(|(of, offset)| GroupOffset { of: of.clone(), offset: *offset, metadata: String::new() })
            .collect();
        if let Outcome::Aborted(error @ eventlog::Error::Fatal(_)) = member.commit(&[], &offsets) {
            warn!(%error, "the log does not take the group's offsets");
        }
    }
}

fn dead_letter(of: &TopicPartition, record: Record, now: Timestamp) -> DeadLetter {
    DeadLetter {
        source: Source { topic: of.topic.clone(), partition: of.partition, offset: record.offset },
        reason: String::new(),
        attempts: wire::attempts(&record.headers),
        at: now,
        key: record.key,
        value: record.value,
        headers: record.headers,
    }
}

#[cfg(test)]
mod tests;
