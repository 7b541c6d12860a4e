mod reading;
mod span;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Error, GROUP, feed::Feed, metrics::Metrics};
use crate::{
    clock::Monotonic,
    domain::{Timestamp, flood::Flood},
    env::{Backoff, Env},
    eventlog::{self, Budget, EventLog, GroupOffset, Member, MemberEvent, MemberMode, Outcome, Record, TopicPartition},
    store::{
        self, Handover, Store,
        handover::Grant,
        orders::{Advance, Batch, Floods},
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
    /// Where mails go that are leased as they are made, and what calls the mailer of this process when it has to look.
    pub handover: Handover,
    /// Told whose orders have changed.
    pub feed: Feed,
    /// Who wrote a record of the states' topic.
    pub author: eventlog::Author,
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
    /// Topic of what becomes of commands, if there are any.
    pub outcomes: Option<String>,
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
const IDLE: Duration = Duration::from_millis(500);
/// Time between two transactions that are not full: what comes within it shares the second, which costs about as much for one
/// event as for a hundred.
const GATHER: Duration = Duration::from_millis(25);
/// How often the group's offsets in the log follow those in the store; only backlog and retention read them.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// Pauses between two tries of a batch that the store cannot take now.
const RETRY: std::ops::Range<Duration> = Duration::from_millis(20)..Duration::from_secs(1);

/// What the store is asked for.
#[derive(Clone)]
enum Todo {
    Apply(Arc<Batch>),
    /// Where it is in these partitions: its offsets are the truth, those in the log only follow.
    Rewind(Vec<TopicPartition>),
}

/// The projection of the log into the store. It owns its thread; a simulation takes the rounds of [`run`](Self::run) itself.
pub struct Projection {
    deps: Deps,
    options: Options,
    runtime: Handle,
    /// For each partition that is ours, the offset that the store holds.
    applied: BTreeMap<TopicPartition, u64>,
    /// Bounds the dead letters of each.
    floods: Floods,
    /// Records for which the last batch had no room.
    rest: Option<(TopicPartition, VecDeque<Record>)>,
    /// What the store is to do, and how long it is left alone while it cannot.
    todo: Option<Todo>,
    /// Whether the last batch could have been larger.
    gathers: bool,
    /// When the next one may be closed, if it is not full.
    soonest: Monotonic,
    /// By which the batch of that leases mails.
    grant: Option<Grant>,
    backoff: Backoff,
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
            floods: Floods::new(),
            rest: None,
            todo: None,
            gathers: false,
            soonest: Monotonic::ZERO,
            grant: None,
            backoff: Backoff::new(RETRY),
            unreported: false,
            reported_at: Monotonic::ZERO,
        }
    }

    /// Works until `stop`; blocks its thread.
    pub fn run(mut self, stop: &CancellationToken) -> Result<(), Error> {
        let mut member = self.join()?;
        while !stop.is_cancelled() {
            if let Some(pause) = self.round(member.as_mut(), IDLE)? {
                self.runtime.block_on(self.deps.env.pace.sleep_unless(stop, pause));
            }
            self.soonest = if self.gathers { self.deps.env.pace.monotonic() + GATHER } else { Monotonic::ZERO };
        }
        // what is not applied now is read again at the next start
        self.report(member.as_mut(), true);
        info!("tracking stops");
        Ok(())
    }

    /// Joins the group.
    pub(crate) fn join(&self) -> Result<Box<dyn Member>, Error> {
        let Options { states, dead, outcomes, old_states, .. } = &self.options;
        let topics = [states, dead].into_iter().chain(outcomes).chain(old_states);
        let topics: Vec<&str> = topics.map(String::as_str).collect();
        Ok(self.deps.log.join(GROUP, &topics, self.options.slot, MemberMode::Offsets)?)
    }

    /// Waits at most that time for something to do, and does it. A store that cannot do it now is asked again by the next
    /// round, before which it is to be left alone for the time that is returned.
    pub(crate) fn round(&mut self, member: &mut dyn Member, wait: Duration) -> Result<Option<Duration>, Error> {
        if self.todo.is_none() {
            self.todo = self.collect(member, wait)?;
            self.lease();
        }
        // kept until it is done, and again after that: a batch that is fenced turns into a rewind
        while let Some(todo) = self.todo.clone() {
            match self.ask(member, &todo) {
                Ok(next) => {
                    self.todo = next;
                    self.backoff.reset();
                }
                Err(Error::Store(error @ (store::Error::Unavailable(_) | store::Error::Overloaded(_)))) => {
                    self.lease_none();
                    let pause = self.backoff.pause();
                    warn!(%error, retry_in = ?pause, "the store cannot be used now, trying again");
                    return Ok(Some(pause));
                }
                Err(error) => return Err(error),
            }
        }
        self.report(member, false);
        Ok(None)
    }

    /// Has the next batch lease mails, if the mailer has room for them.
    fn lease(&mut self) {
        if let Some(Todo::Apply(batch)) = &mut self.todo
            && batch.mail
        {
            self.grant = self.deps.handover.grant(&self.deps.env.clock);
            Arc::make_mut(batch).lease = self.grant.map(|grant| grant.leasing);
        }
    }

    /// The next try may be much later: leases are then up to the mailer.
    fn lease_none(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.deps.handover.hand(grant, Vec::new());
        }
        if let Some(Todo::Apply(batch)) = &mut self.todo {
            Arc::make_mut(batch).lease = None;
        }
    }

    /// Has the store do something; returns what is to be done after that.
    fn ask(&mut self, member: &mut dyn Member, todo: &Todo) -> Result<Option<Todo>, Error> {
        match todo {
            Todo::Apply(batch) => self.apply(batch),
            Todo::Rewind(partitions) => self.rewind(member, partitions).map(|()| None),
        }
    }

    /// Waits for records, then takes what else is there, up to a full batch.
    ///
    /// When partitions come or go, what was collected so far is let go of and read again: the store knows from where.
    fn collect(&mut self, member: &mut dyn Member, wait: Duration) -> Result<Option<Todo>, Error> {
        let mut batch = Batch {
            group: GROUP.to_owned(),
            mail: self.options.mail,
            mail_since: self.options.mail_since,
            ..Batch::default()
        };
        let mut room = Budget::new(BATCH_MAX, BATCH_BYTES_MAX);
        if let Some((tp, records)) = self.rest.take() {
            self.add(&mut batch, tp, records, &mut room)?;
        }
        let mut wait = if batch.advances.is_empty() { wait } else { Duration::ZERO };
        while !room.is_spent() {
            match member.next(wait)? {
                MemberEvent::Assigned(assigned) => {
                    self.reread(member, &batch.advances)?;
                    return Ok(Some(Todo::Rewind(assigned.into_iter().map(|offset| offset.tp).collect())));
                }
                MemberEvent::Records(tp, records) => {
                    self.gather();
                    self.add(&mut batch, tp, records.into(), &mut room)?;
                }
                // the store's compare-and-set fences us, so nothing has to be finished first
                MemberEvent::Revoking(gone) | MemberEvent::Lost(gone) => {
                    self.applied.retain(|tp, _| !gone.contains(tp));
                    self.reread(member, &batch.advances)?;
                    return Ok(None);
                }
                MemberEvent::Idle => break,
            }
            wait = Duration::ZERO;
        }
        batch.dead.extend(self.floods.values_mut().flat_map(Flood::letters));
        (batch.floods, batch.monotonic) = (self.floods.clone(), self.deps.env.clock.monotonic());
        let is_something = !batch.advances.is_empty();
        self.gathers = is_something && !room.is_spent();
        Ok(is_something.then(|| Todo::Apply(batch.into())))
    }

    /// Lets others come until the next batch may be closed: only now that there is one, so that the thread wakes up once for
    /// it where little comes.
    fn gather(&self) {
        let pace = &self.deps.env.pace;
        let left = self.soonest.saturating_sub(pace.monotonic());
        if !left.is_zero() {
            pace.park(left);
        }
    }

    /// Goes back to where a batch began that is not applied.
    fn reread(&mut self, member: &mut dyn Member, advances: &[Advance]) -> Result<(), Error> {
        self.floods.clear(); // their records are read again, too
        for Advance { tp, from, .. } in advances.iter().filter(|advance| self.applied.contains_key(&advance.tp)) {
            member.seek(tp, (*from).max(self.first_kept(tp)?))?;
        }
        Ok(())
    }

    /// Reads on where the store is.
    fn rewind(&mut self, member: &mut dyn Member, partitions: &[TopicPartition]) -> Result<(), Error> {
        let stored = self.runtime.block_on(self.deps.store.offsets(GROUP))?;
        self.rest = None; // it is read again
        self.floods.clear();
        for tp in partitions {
            let offset = stored.iter().find(|(stored, _)| stored == tp).map(|(_, offset)| *offset);
            // a store that knows nothing of the partition takes all that is left of it
            member.seek(tp, offset.map_or_else(|| self.first_kept(tp), Ok)?)?;
            self.applied.insert(tp.clone(), offset.unwrap_or(0));
        }
        info!(partitions = self.applied.len(), "tracking resumes from the store's offsets");
        self.deps.metrics.ready();
        Ok(())
    }

    fn first_kept(&self, tp: &TopicPartition) -> Result<u64, Error> {
        let topic = self.deps.log.topic(&tp.topic)?;
        Ok(topic.and_then(|topic| topic.partitions.get(tp.partition as usize).copied()).map_or(0, |range| range.start))
    }

    fn apply(&mut self, batch: &Arc<Batch>) -> Result<Option<Todo>, Error> {
        let clock = &self.deps.env.clock;
        let (begun, start) = (clock.exactly(), clock.monotonic());
        match self.runtime.block_on(self.deps.store.apply(batch.clone())) {
            Ok(mut applied) => {
                for Advance { tp, to, .. } in &batch.advances {
                    self.applied.insert(tp.clone(), *to);
                }
                self.unreported = true;
                self.floods = std::mem::take(&mut applied.floods);
                let newest = batch.events.iter().map(|incoming| incoming.event.at).max();
                let delay = newest.map(|newest| self.deps.env.clock.now().since(newest));
                self.deps.metrics.applied(&applied, batch.dead.len() as u64, delay);
                let spans = self.deps.metrics.spans();
                if spans.are_wanted() {
                    let took = self.deps.env.clock.monotonic().saturating_sub(start);
                    batch.events.iter().for_each(|incoming| {
                        spans.add(incoming.event.order.trace, |trace| span::of(incoming, trace, begun, took));
                    });
                }
                // only now: whoever is woken reads the store
                match self.grant.take() {
                    Some(grant) => self.deps.handover.hand(grant, std::mem::take(&mut applied.leased)),
                    None => self.deps.handover.call(),
                }
                self.deps.feed.applied(batch);
                Ok(None)
            }
            Err(store::Error::Fenced(partition)) => {
                self.lease_none();
                warn!(partition, "another instance was faster, resuming from the store's offsets");
                Ok(Some(Todo::Rewind(self.applied.keys().cloned().collect())))
            }
            Err(error) => Err(error.into()),
        }
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
            .map(|(tp, offset)| GroupOffset { tp: tp.clone(), offset: *offset, metadata: String::new() })
            .collect();
        // any other failure is made good by the next report
        if let Outcome::Aborted(error @ eventlog::Error::Fatal(_)) = member.commit(&[], &offsets) {
            warn!(%error, "cannot commit the group's offsets to the log");
        }
    }
}

#[cfg(test)]
mod tests;
