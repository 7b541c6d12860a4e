//! Restores engines from the log, several partitions side by side, while those that run go on.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crossbeam_channel::Sender;

use super::{
    Engine, Error, Legacy, Now, Progress, Restore, Seal, TakeOver,
    plan::Ticket,
    scan::{ranges, read_to_end},
};
use crate::{
    domain::{Flow, wire},
    env::{Env, Random},
    eventlog::{self, EventLog, GroupOffset, TopicPartition},
    flows::{self, topic::Versions},
};

/// Partitions restored at once.
const THREADS: usize = 4;
/// Most orders in flight for which room is made beforehand, whatever the metadata says.
const EXPECTED_MAX: u64 = 1 << 20;
/// Pause after the log could not be read.
const RETRY: Duration = Duration::from_millis(200);

/// Work that must not hold up whoever wants it done.
pub(crate) type Job = Box<dyn FnOnce() + Send>;
/// Has a job run, elsewhere or later.
pub(crate) type Spawn = Arc<dyn Fn(Job) -> io::Result<()> + Send + Sync>;

/// Runs a job beside what runs already.
pub(super) fn on_a_thread(job: Job) -> io::Result<()> {
    thread::Builder::new().name("restore".into()).spawn(job).map(drop)
}

/// What every restore needs.
#[derive(Clone)]
pub struct Restorer {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Time and chance.
    pub env: Env,
    /// The states and their dwells.
    pub flow: Arc<Flow>,
    /// Topic of the flow's versions.
    pub flows: String,
    /// Topic of the states.
    pub states: String,
    /// Topic of an old service's states, when that is not `states` itself.
    pub old_states: Option<String>,
    /// The old service's consumer group.
    pub old_group: Option<String>,
    /// Finished orders to remember.
    pub remember: usize,
    /// Where it is done.
    pub(super) spawn: Spawn,
    /// The versions that were read. They are read again for an event of one that is not among them, since partitions wait
    /// meanwhile; of a newer version for new orders the machine is told.
    pub(super) known: Arc<Mutex<Option<Flows>>>,
}

/// An engine that was restored, or why not.
pub struct Restored {
    /// What it is for.
    pub(super) ticket: Ticket,
    /// What was assigned.
    pub offset: GroupOffset,
    /// The engine.
    pub result: Result<Engine, Error>,
}

/// The flow of new orders, which is the newest of its name, and all versions that orders in flight may have begun with.
type Flows = (Arc<Flow>, Versions);

/// What is read once for all partitions that come together, and only when one needs it. Whoever had them before has given
/// them up by then, and uses no other version of the flow in them any more.
#[derive(Default)]
struct Shared {
    flows: Mutex<Option<Flows>>,
    /// What an old service left.
    legacy: Mutex<Option<Arc<Legacy>>>,
}

/// What there is, or else what was read now; others that need it wait meanwhile.
fn once<T: Clone>(shared: &Mutex<Option<T>>, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = &*shared {
        return Ok(known.clone());
    }
    Ok(shared.insert(read()?).clone())
}

impl Restorer {
    /// Restores partitions beside those that run; each is sent when it is done.
    pub(super) fn start(&self, assigned: Vec<(Ticket, GroupOffset)>, done: &Sender<Restored>) -> Result<(), Error> {
        let threads = THREADS.min(assigned.len());
        let work = Arc::new(Mutex::new(assigned));
        let shared: Arc<Shared> = Arc::default();
        for _ in 0..threads {
            let (this, work, shared, done) = (self.clone(), work.clone(), shared.clone(), done.clone());
            let restore = move || {
                let take = || work.lock().unwrap_or_else(PoisonError::into_inner).pop();
                while let Some((ticket, offset)) = take() {
                    let result = this.restore(&offset, &shared);
                    if matches!(result, Err(Error::Log(eventlog::Error::Unavailable(_)))) {
                        this.env.pace.park(RETRY);
                    }
                    if done.send(Restored { ticket, offset, result }).is_err() {
                        return; // nobody waits any more
                    }
                }
            };
            (self.spawn)(Box::new(restore))
                .map_err(|error| eventlog::Error::Fatal(format!("cannot start a thread: {error}")))?;
        }
        Ok(())
    }

    /// Reads the output from the watermark to its stable end and starts the timers from there. Without metadata of ours
    /// (a new group), from the first record that the output holds.
    fn restore(&self, offset: &GroupOffset, shared: &Shared) -> Result<Engine, Error> {
        let progress = Progress::parse(&offset.metadata).map_err(|source| Error::Newer {
            topic: offset.tp.topic.clone(),
            partition: offset.tp.partition,
            source,
        })?;
        let output = TopicPartition { topic: self.states.clone(), partition: offset.tp.partition };
        let until = progress.and_then(|progress| progress.takes_over_until);
        let first = progress.is_none() || until.is_some();
        let from = match progress {
            // which order is finished with us must be known, not only what is in flight
            Some(progress) if !first => progress.watermark,
            _ => self.first(&output)?,
        };
        let (flow, versions) = once(&self.known, || once(&shared.flows, || self.flows()))?;
        let mut restore = Restore::new(flow, versions, from);
        restore.expect(progress.map_or(0, |progress| progress.counters.in_flight().min(EXPECTED_MAX)) as usize);
        // an old service may also have worked while we were away
        let mut legacy = first || self.old_states.is_some();
        let seal = progress.and_then(|progress| progress.seal);
        let (mut end, mut newer) = (from, None);
        let mut looked = Ok(false);
        read_to_end(self.log.as_ref(), &output, from, |record| {
            end = record.offset + 1;
            if record.key.is_none() {
                legacy = true;
            } else if seal.is_some_and(|seal| !seal.admits(&record)) {
                let (topic, partition, offset) = (&*output.topic, output.partition, record.offset);
                tracing::warn!(topic, partition, offset, "ignoring a state that this service did not write");
            } else {
                match wire::decode_event(&record.value, &record.headers, record.at) {
                    Ok(event) => {
                        if matches!(looked, Ok(false)) && !restore.knows_flow(&event) {
                            looked = self.look_again(shared).map(|versions| restore.learn(versions)).map(|()| true);
                        }
                        restore.event(record.offset, event);
                    }
                    Err(error @ wire::Unreadable::Newer(_)) => newer = newer.take().or(Some((record.offset, error))),
                    Err(wire::Unreadable::Misfit(_)) => {} // the projection, which reads every one, reports it
                }
            }
        })?;
        looked?;
        if let Some((offset, source)) = newer {
            return Err(Error::NewerEvent { topic: output.topic, partition: output.partition, offset, source });
        }
        if legacy {
            self.take_over(&mut restore, offset, first, until, shared)?;
        }
        let seal = match seal {
            Some(seal) => seal,
            None => Seal::new(random_key(&self.env.random)?, end),
        };
        let now = Now { wall: self.env.clock.now(), monotonic: self.env.clock.monotonic() };
        let counters = progress.map(|progress| progress.counters);
        let restored = restore.finish(counters, now, self.remember);
        restored.map(|engine| engine.sealed(seal)).map_err(|source| Error::Restore {
            topic: output.topic,
            partition: output.partition,
            source,
        })
    }

    /// Carries on what an old service began: of the input that is committed, unless all of that went through our hands,
    /// and later of what comes up to `until`.
    fn take_over(
        &self,
        restore: &mut Restore,
        input: &GroupOffset,
        first: bool,
        until: Option<u64>,
        shared: &Shared,
    ) -> Result<(), Error> {
        let legacy = once(&shared.legacy, || {
            let states = self.old_states.as_ref().unwrap_or(&self.states);
            Ok(Arc::new(Legacy::read(self.log.as_ref(), states)?))
        })?;
        let taken_before = if first && legacy.has_gaps() { self.old_offset(&input.tp)? } else { 0 };
        if legacy.is_empty() && taken_before == 0 {
            return Ok(());
        }
        let range = ranges(self.log.as_ref(), &input.tp.topic)?[input.tp.partition as usize];
        if first && range.start < input.offset {
            read_to_end(self.log.as_ref(), &input.tp, range.start, |record| {
                if record.offset < input.offset
                    && let Ok(order) = wire::decode_order(&record.value, &record.headers, record.at)
                {
                    restore.take_over(order, &legacy);
                }
            })?;
        }
        let until = until.unwrap_or(0).max(range.end);
        tracing::info!(
            topic = input.tp.topic,
            partition = input.tp.partition,
            until,
            "carrying on an old service's orders"
        );
        restore.taking_over(TakeOver { legacy, until, taken_before });
        Ok(())
    }

    /// Reads the versions of the flow before partitions wait for that. What cannot be read now is read when it is needed.
    pub(super) fn look_ahead(&self) {
        if let Err(error) = once(&self.known, || self.flows()) {
            tracing::debug!(%error, "the versions of the flow cannot be read yet");
        }
    }

    /// The versions of now, read once for all partitions that come together.
    fn look_again(&self, shared: &Shared) -> Result<Versions, Error> {
        let flows = once(&shared.flows, || self.flows())?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(flows.clone());
        Ok(flows.1)
    }

    fn flows(&self) -> Result<Flows, Error> {
        let versions = flows::topic::load(self.log.as_ref(), &self.flows).map_err(|error| match error {
            flows::topic::Error::Log { source, .. } => Error::Log(source),
            other => Error::Flows(other),
        })?;
        let newer = versions.newest(self.flow.name()).filter(|newest| newest.version() > self.flow.version());
        if let Some(newer) = newer {
            let (flow, version, ours) = (newer.name(), newer.version(), self.flow.version());
            tracing::warn!(
                flow,
                version,
                ours,
                "new orders begin under a newer version than the settings of this process have"
            );
        }
        Ok((newer.unwrap_or(&self.flow).clone(), versions))
    }

    /// How far the old service's group came in a partition of the input.
    fn old_offset(&self, input: &TopicPartition) -> Result<u64, Error> {
        let Some(group) = &self.old_group else { return Ok(0) };
        match self.log.lag(group, &[&input.topic]) {
            Ok(lags) => Ok(lags.iter().find(|lag| lag.tp == *input).map_or(0, |lag| lag.next)),
            Err(error @ eventlog::Error::Fatal(_)) => {
                tracing::warn!(group, %error, "cannot see which orders an old service has processed: some may be processed again");
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn first(&self, tp: &TopicPartition) -> Result<u64, Error> {
        let range = ranges(self.log.as_ref(), &tp.topic)?.get(tp.partition as usize).copied();
        // it was there when the service started, so it comes back
        Ok(range.ok_or_else(|| eventlog::Error::Unavailable(format!("{tp} is not there now")))?.start)
    }
}

fn random_key(random: &Random) -> Result<u128, Error> {
    let mut key = [0; 16];
    random
        .fill(&mut key)
        .map_err(|error| eventlog::Error::Fatal(format!("the system has no random numbers: {error}")))?;
    Ok(u128::from_be_bytes(key))
}

#[cfg(test)]
mod tests;
