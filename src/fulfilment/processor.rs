use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Error, GROUP, Now,
    machine::{Input, Limits, Machine, Output},
    metrics::Metrics,
    plan::CommitPlan,
    restore::{Restored, Restorer, Spawn, on_a_thread},
    translation::Translation,
};
use crate::{
    clock::Monotonic,
    domain::{Flow, wire::Schemas},
    env::{Backoff, Env},
    eventlog::{self, EventLog, Member, MemberEvent, MemberMode, Outcome, TopicPartition},
};

/// What fulfilment works with.
#[derive(Clone)]
pub struct Deps {
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// Time and chance.
    pub env: Env,
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
    /// Topics of the commands about orders, and of what became of them; `None` when there are none.
    pub commands: Option<CommandTopics>,
    /// Topic of an old service's states, when that is not `states` itself.
    pub old_states: Option<String>,
    /// Consumer group of an old service that took orders before us.
    pub old_group: Option<String>,
    /// Time between two commits: what comes within it shares the second.
    pub tick: Duration,
    /// Orders in flight beyond which no new ones are taken from the input.
    pub in_flight_max: u64,
    /// Finished orders remembered per partition, so that a late repeat of one is recognised.
    pub remember: usize,
    /// Which instance of the group this is.
    pub slot: u32,
}

/// Where commands come from, and where it is told what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTopics {
    /// Commands: as many partitions as the orders, each read by whoever owns that of the orders.
    pub commands: String,
    /// Outcomes: likewise.
    pub outcomes: String,
}

/// Longest pause between two tries of what the log cannot do now.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long it sleeps at most: after that it looks whether it should stop, and for a newer flow.
const IDLE: Duration = Duration::from_millis(500);
/// How often it looks for restored partitions while it listens.
const LOOK: Duration = Duration::from_millis(2);
/// How often it looks for schemas that records wait for.
const LOOK_UP: Duration = Duration::from_millis(50);

/// Does what the machine says, and tells it what happens. It owns its thread.
///
/// All that is decided is decided there; here is what blocks, and what takes real time. A simulation takes the steps of
/// [`run`](Self::run) itself: join, hear, tick, leave.
pub struct Processor {
    deps: Deps,
    options: Options,
    machine: Machine,
    /// Stands before the machine.
    translation: Translation,
    /// Topics of which the machine wants no more now.
    paused: BTreeSet<String>,
    /// Whether nobody wants any, since too much waits for its schema.
    is_full: bool,
    restorer: Restorer,
    restored: (Sender<Restored>, Receiver<Restored>),
    /// Versions of the flow that come into use.
    flows: Option<watch::Receiver<Arc<Flow>>>,
    /// How long to wait before the log is asked again to take what it did not take.
    backoff: Option<Duration>,
}

/// What became of a step.
pub(crate) enum Stepped {
    /// It is done.
    Done,
    /// There was nothing to be heard.
    Idle,
    /// Log and memory may disagree: the member is to be dropped.
    Rejoin(eventlog::Error),
}

impl Processor {
    /// A processor that owns nothing yet. Refuses topics that do not fit each other.
    pub fn new(deps: Deps, options: Options) -> Result<Self, Error> {
        Self::with(deps, options, Limits::default(), Arc::new(on_a_thread))
    }

    /// The same with other bounds, and restores that run where `spawn` has them run.
    pub(crate) fn with(deps: Deps, options: Options, limits: Limits, spawn: Spawn) -> Result<Self, Error> {
        let partitions_of = |name: &str| {
            let topic = deps.log.topic(name)?.ok_or_else(|| eventlog::Error::Unknown(name.to_owned()))?;
            eventlog::Result::Ok(topic.partitions.len())
        };
        let orders_n = partitions_of(&options.orders)?;
        let beside = options.commands.iter().flat_map(|topics| [&topics.commands, &topics.outcomes]);
        for other in [&options.states].into_iter().chain(beside) {
            let other_n = partitions_of(other)?;
            if orders_n != other_n {
                let (orders, other) = (options.orders.clone(), other.clone());
                return Err(Error::Partitions { orders, other, orders_n, other_n });
            }
        }
        let machine = Machine::new(options.clone(), limits, deps.metrics.clone());
        let restorer = Restorer {
            log: deps.log.clone(),
            env: deps.env.clone(),
            flow: options.flow.clone(),
            flows: options.flows.clone(),
            states: options.states.clone(),
            old_states: options.old_states.clone(),
            old_group: options.old_group.clone(),
            remember: options.remember,
            spawn,
            known: Arc::default(),
        };
        Ok(Self {
            deps,
            options,
            machine,
            translation: Translation::default(),
            paused: BTreeSet::new(),
            is_full: false,
            restorer,
            restored: unbounded(),
            flows: None,
            backoff: None,
        })
    }

    /// Works until `stop`; blocks its thread.
    pub fn run(mut self, stop: &CancellationToken) -> Result<(), Error> {
        self.restorer.look_ahead();
        while let Some(mut member) = self.join_until(stop)? {
            let Some(error) = self.work(member.as_mut(), stop)? else { break };
            self.leave(&error);
            // the member is dropped before the next one joins: two in one slot would fence each other
        }
        info!("fulfilment stops");
        Ok(())
    }

    /// Tries to join until the log admits this instance, or until `stop`.
    fn join_until(&self, stop: &CancellationToken) -> Result<Option<Box<dyn Member>>, Error> {
        let mut backoff = Backoff::new(self.options.tick..RETRY_MAX);
        while !stop.is_cancelled() {
            match self.join() {
                Err(error @ eventlog::Error::Unavailable(_)) => {
                    let pause = backoff.pause();
                    warn!(%error, retry_in = ?pause, "cannot join, trying again");
                    self.deps.env.pace.park(pause);
                }
                joined => return Ok(Some(joined?)),
            }
        }
        Ok(None)
    }

    /// Rounds of listening and then committing, until `stop`; or why the group must be joined again.
    fn work(&mut self, member: &mut dyn Member, stop: &CancellationToken) -> Result<Option<eventlog::Error>, Error> {
        let pace = self.deps.env.pace.clone();
        let mut is_busy = false;
        while !stop.is_cancelled() {
            // all that comes within a tick shares one commit, which costs about as much for one event as for a thousand; what
            // comes after it does not wait, and with nothing to do it sleeps
            let begins = pace.monotonic();
            let soonest = begins + self.backoff.unwrap_or(self.options.tick);
            // who comes within it need not wake this thread; partitions that are restored, and a full commit, do not wait
            if is_busy && self.backoff.is_none() && !self.machine.is_restoring() && !self.machine.is_full() {
                pace.park(self.options.tick.min(IDLE));
            }
            while !self.machine.is_full()
                && let now = pace.monotonic()
                && let Some(wait) = soonest.max(self.idle_until(begins, now)).checked_sub(now)
            {
                let is_restoring = self.machine.is_restoring();
                // what is restored, and what is looked up, comes from elsewhere and wakes nobody
                let look = if self.translation.is_waiting() { LOOK_UP } else { IDLE };
                match self.hear(member, wait.min(if is_restoring { LOOK } else { look }))? {
                    Stepped::Done => {}
                    Stepped::Idle if is_restoring => {}
                    Stepped::Idle => break,
                    Stepped::Rejoin(error) => return Ok(Some(error)),
                }
            }
            is_busy = pace.monotonic() < begins + IDLE;
            if let Stepped::Rejoin(error) = self.tick(member)? {
                return Ok(Some(error));
            }
        }
        // what the log does not take now is not lost: its input is not committed
        Ok(None)
    }

    /// Until when there is nothing to commit in a round, unless something is heard.
    fn idle_until(&self, begins: Monotonic, now: Monotonic) -> Monotonic {
        if self.machine.has_work() {
            return now;
        }
        let latest = begins + IDLE;
        self.machine.first_due().map_or(latest, |due| latest.min(now + self.deps.env.clock.until(due)))
    }

    /// Joins the group.
    pub(crate) fn join(&self) -> eventlog::Result<Box<dyn Member>> {
        let (topics, slot) = ([&*self.options.orders], self.options.slot);
        let commands: Vec<&str> = self.options.commands.iter().map(|topics| &*topics.commands).collect();
        self.deps.log.join_alongside(GROUP, &topics, &commands, slot, MemberMode::Outputs)
    }

    /// New orders begin under what comes from there.
    #[must_use]
    pub fn following(self, flows: watch::Receiver<Arc<Flow>>) -> Self {
        Self { flows: Some(flows), ..self }
    }

    /// Records that bear the number of a schema are read by what these know.
    #[must_use]
    pub fn reading(self, schemas: Arc<dyn Schemas>) -> Self {
        Self { translation: Translation::by(schemas), ..self }
    }

    /// Hears one thing, if there is one in that time, and does what follows from it.
    pub(crate) fn hear(&mut self, member: &mut dyn Member, wait: Duration) -> Result<Stepped, Error> {
        match self.listen(member, wait) {
            Some(input) => self.step(member, input),
            None => Ok(Stepped::Idle),
        }
    }

    /// Commits what there is.
    pub(crate) fn tick(&mut self, member: &mut dyn Member) -> Result<Stepped, Error> {
        if let Some(flows) = self.flows.as_mut().filter(|flows| flows.has_changed().unwrap_or_default()) {
            let flow = flows.borrow_and_update().clone();
            self.machine.step(Input::Flow(flow), self.now())?;
        }
        let stepped = self.step(member, Input::Tick)?;
        if !self.machine.is_refused() {
            self.backoff = None;
        }
        Ok(stepped)
    }

    /// The member is to be dropped, and the group to be joined again.
    pub(crate) fn leave(&mut self, error: &eventlog::Error) {
        warn!(%error, "rebuilding from the log");
        self.deps.metrics.commit_retried();
        self.backoff = None;
        self.translation.forget(|_| true);
        self.paused.clear();
        self.is_full = false;
    }

    /// Whether the next commit is full, so that there is no use in hearing more before it.
    pub(crate) fn is_full(&self) -> bool {
        self.machine.is_full()
    }

    /// One thing from the log, or a partition that was restored.
    fn listen(&mut self, member: &mut dyn Member, wait: Duration) -> Option<Input> {
        // before records: the timers of its orders wait for it
        if let Ok(restored) = self.restored.1.try_recv() {
            return Some(Input::Restored(Box::new(restored)));
        }
        let input = match self.translation.ready() {
            Some((tp, heard)) => Some(Input::Records(tp, heard)),
            None => self.next(member, wait),
        };
        self.pause_while_full(member);
        input
    }

    fn next(&mut self, member: &mut dyn Member, wait: Duration) -> Option<Input> {
        Some(match member.next(wait) {
            Ok(MemberEvent::Idle) => return None,
            Ok(MemberEvent::Assigned(offsets)) => {
                self.translation.forget(|partition| offsets.iter().any(|offset| offset.tp.partition == partition));
                Input::Assigned(offsets)
            }
            Ok(MemberEvent::Records(tp, records)) => {
                let heard = self.translation.hear(&tp, records);
                Input::Records(tp, heard)
            }
            Ok(MemberEvent::Revoking(gone)) => {
                self.forget(&gone);
                Input::Revoking(gone)
            }
            Ok(MemberEvent::Lost(gone)) => {
                self.forget(&gone);
                Input::Lost(gone)
            }
            Err(error) => Input::Failed(error),
        })
    }

    /// What waits in these partitions is another's now.
    fn forget(&mut self, gone: &[TopicPartition]) {
        self.translation.forget(|partition| gone.iter().any(|tp| tp.partition == partition));
    }

    /// Asks for no more records while too many wait for their schemas.
    fn pause_while_full(&mut self, member: &mut dyn Member) {
        let is_full = self.translation.is_waiting() && self.translation.is_full();
        if std::mem::replace(&mut self.is_full, is_full) == is_full {
            return;
        }
        let commands = self.options.commands.iter().map(|topics| &topics.commands);
        for topic in commands.chain([&self.options.orders]) {
            member.pause(topic, is_full || self.paused.contains(topic));
        }
    }

    /// Tells the machine what happened, does what it says, and tells it how that ended, until there is no more to do: the
    /// member is not asked again before a commit has ended, which is what makes the last one before a revocation count.
    fn step(&mut self, member: &mut dyn Member, input: Input) -> Result<Stepped, Error> {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            for output in self.machine.step(input, self.now())? {
                match output {
                    Output::Commit(plan) => next = Some(self.commit(member, plan)),
                    Output::Restore(wanted) => self.restorer.start(wanted, &self.restored.0)?,
                    Output::Pause(topic, paused) => {
                        member.pause(&topic, paused || self.is_full);
                        if paused {
                            self.paused.insert(topic)
                        } else {
                            self.paused.remove(&topic)
                        };
                    }
                    Output::Seek(tp, offset) => {
                        // it comes again when this fails
                        if let Err(error) = member.seek(&tp, offset) {
                            warn!(%tp, offset, %error, "cannot skip deleted commands, trying again");
                        }
                    }
                    Output::Retry(error) => {
                        let pause = self.backoff.map_or(self.options.tick, |pause| (pause * 2).min(RETRY_MAX));
                        warn!(%error, retry_in = ?pause, "commit refused, trying again");
                        self.backoff = Some(pause);
                    }
                    Output::Rejoin(error) => return Ok(Stepped::Rejoin(error)),
                }
            }
        }
        Ok(Stepped::Done)
    }

    fn commit(&self, member: &mut dyn Member, plan: CommitPlan) -> Input {
        let begun = self.deps.env.clock.monotonic();
        let offsets = plan.offsets();
        #[cfg(test)]
        let offsets = &*crate::planted::offsets(offsets);
        let outcome = member.commit(plan.outputs(), offsets);
        // dead letters that are written apart move no offset: they are a part of a commit, and not one
        if matches!(outcome, Outcome::Committed(_)) && !plan.offsets().is_empty() {
            self.deps.metrics.committed(self.deps.env.clock.monotonic().saturating_sub(begun));
        }
        Input::CommitEnded(plan, outcome)
    }

    fn now(&self) -> Now {
        Now { wall: self.deps.env.clock.now(), monotonic: self.deps.env.clock.monotonic() }
    }
}

#[cfg(test)]
mod tests;
