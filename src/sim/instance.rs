//! Instances of the services, as processes that start, join, stall, lose the network, stop in order or die.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    peer::Peer,
    setup::{FLOWS, ORDERS, Setup},
    trouble::Trouble,
};
use crate::{
    causes::with_causes,
    clock::Monotonic,
    domain::Flow,
    env::Env,
    eventlog::{self, EventLog, Member, memory::MemoryLog},
    faults::{FaultyLog, FaultyStore},
    flows::topic::{self, Configured},
    fulfilment::{self, Job, Processor, Stepped},
    store::{self, Handover, memory::MemoryStore},
    tracking::{self, Projection},
};

/// What fulfilment is told to do, modulo 32: else it ticks (modulo 8 below 4) or hears; restoring what waits goes first.
pub(super) const RESTORE: u32 = 0;
pub(super) const TICK: u32 = 1;
pub(super) const LOOK: u32 = 3;
pub(super) const HEAR: u32 = 7;

/// What all processes share.
pub(super) struct Shared {
    pub(super) setup: Setup,
    pub(super) log: MemoryLog,
    pub(super) store: MemoryStore,
    pub(super) env: Env,
    pub(super) trouble: Arc<Trouble>,
    pub(super) peer: Arc<Peer>,
    /// From the projection to the mailer, by the number of the process.
    pub(super) handovers: Vec<Handover>,
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) fulfilment: fulfilment::Metrics,
    pub(super) tracking: tracking::Metrics,
}

/// Why a service could not go on.
pub(super) enum Ended {
    /// Something is away: a supervisor starts it again.
    ForNow(String),
    /// It says itself that something is wrong.
    ForGood(String),
}

/// A service that is stepped.
pub(super) trait Service: Sized {
    const NAME: &str;

    fn start(shared: &Shared, log: Arc<dyn EventLog>, slot: u32) -> Result<Self, Ended>;

    fn join(&self) -> Result<Box<dyn Member>, Ended>;

    /// Does one thing; returns what, and what follows from it.
    fn step(&mut self, member: &mut dyn Member, choice: u32) -> Result<(&'static str, Then), Ended>;
}

/// What follows from a step.
pub(super) enum Then {
    /// It goes on.
    GoesOn,
    /// It goes on, and there was nothing to do.
    Idles,
    /// The member is to be dropped.
    Leaves,
}

/// What an instance did.
pub(super) struct Did {
    /// In words.
    pub(super) what: String,
    /// Whether that was nothing.
    pub(super) is_idle: bool,
}

/// One process.
pub(super) struct Instance<S> {
    slot: u32,
    process: Option<Process<S>>,
    /// It does nothing before then.
    pub(super) stalled_until: Monotonic,
    /// It does not reach the log before then.
    pub(super) cut_until: Monotonic,
}

struct Process<S> {
    log: Arc<MemoryLog>,
    member: Option<Box<dyn Member>>,
    service: S,
}

impl<S: Service> Instance<S> {
    pub(super) const fn new(slot: u32) -> Self {
        Self { slot, process: None, stalled_until: Monotonic::ZERO, cut_until: Monotonic::ZERO }
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", S::NAME, self.slot)
    }

    /// Starts, joins or goes on, whatever is next; returns what it did.
    pub(super) fn step(&mut self, shared: &Shared, choice: u32) -> Result<Did, String> {
        let now = shared.env.clock.monotonic();
        if now < self.stalled_until {
            return Ok(Did { what: "stalls".into(), is_idle: true });
        }
        self.cut(now < self.cut_until);
        match self.try_step(shared, choice) {
            Ok((what, then)) => Ok(Did { what: what.into(), is_idle: matches!(then, Then::Idles) }),
            Err(Ended::ForNow(why)) => {
                self.process = None;
                Ok(Did { what: format!("ends for now: {why}"), is_idle: false })
            }
            Err(Ended::ForGood(why)) => Err(format!("{} ended: {why}", self.name())),
        }
    }

    fn try_step(&mut self, shared: &Shared, choice: u32) -> Result<(&'static str, Then), Ended> {
        let Some(process) = &mut self.process else {
            let log = Arc::new(shared.log.another());
            let faulty = FaultyLog::new(log.clone(), shared.trouble.clone(), shared.env.clock.clone());
            let service = S::start(shared, Arc::new(faulty), self.slot)?;
            self.process = Some(Process { log, member: None, service });
            return Ok(("starts", Then::GoesOn));
        };
        let Some(member) = &mut process.member else {
            process.member = Some(process.service.join()?);
            return Ok(("joins", Then::GoesOn));
        };
        let (what, then) = process.service.step(member.as_mut(), choice)?;
        if matches!(then, Then::Leaves) {
            process.member = None;
        }
        Ok((what, then))
    }

    /// It dies: nobody hears that it is gone.
    pub(super) fn kill(&mut self) {
        self.cut(true);
        self.process = None;
    }

    /// Whatever hinders it is over.
    pub(super) fn recover(&mut self) {
        (self.stalled_until, self.cut_until) = (Monotonic::ZERO, Monotonic::ZERO);
    }

    /// It stops in order.
    pub(super) fn stop(&mut self) {
        self.process = None;
    }

    fn cut(&self, is_cut: bool) {
        if let Some(process) = &self.process {
            process.log.cut(is_cut);
        }
    }
}

/// Fulfilment, whose restores run when they are picked.
pub(super) struct Fulfilment {
    processor: Processor,
    jobs: Arc<Mutex<VecDeque<Job>>>,
    log: Arc<dyn EventLog>,
    /// Tells the processor of versions that come into use.
    newest: watch::Sender<Arc<Flow>>,
    /// Up to where they are known.
    seen: Cell<u64>,
}

impl Fulfilment {
    /// Looks for versions that other instances have brought into use.
    fn look(&self) -> &'static str {
        let known = self.newest.borrow().clone();
        let end = self.log.topic(FLOWS).ok().flatten().map_or(0, |topic| topic.partitions[0].end);
        if end == self.seen.replace(end) {
            return "looks for versions";
        }
        match topic::load(self.log.as_ref(), FLOWS) {
            Err(_) => {
                self.seen.set(0);
                "cannot look for versions"
            }
            Ok(versions) => match versions.newest(known.name()) {
                Some(newest) if newest.version() > known.version() => {
                    self.newest.send_replace(newest.clone());
                    "hears of another version"
                }
                _ => "looks for versions",
            },
        }
    }
}

impl Service for Fulfilment {
    const NAME: &str = "fulfilment";

    fn start(shared: &Shared, log: Arc<dyn EventLog>, slot: u32) -> Result<Self, Ended> {
        let jobs: Arc<Mutex<VecDeque<Job>>> = Arc::default();
        // jobs can start others, so that a queue which they held would never be dropped
        let queue = Arc::downgrade(&jobs);
        let spawn = move |job| {
            if let Some(queue) = queue.upgrade() {
                queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
            }
            Ok(())
        };
        let flow = shared.setup.line_of(slot).flow();
        let from = format!("the file of instance {slot}");
        let configured = Configured { flow: flow.clone(), from, is_numbered: true };
        let published = topic::publish(log.clone(), FLOWS, configured, shared.env.clock.now());
        shared.runtime.block_on(published).map_err(fulfilment::Error::Flows)?;
        let (newest, flows) = watch::channel(Arc::new(flow));
        let deps = fulfilment::Deps { log: log.clone(), env: shared.env.clone(), metrics: shared.fulfilment.clone() };
        let Setup { limits, .. } = shared.setup;
        let processor = Processor::with(deps, shared.setup.fulfilment(slot), limits, Arc::new(spawn))?;
        Ok(Self { processor: processor.following(flows), jobs, log, newest, seen: Cell::new(0) })
    }

    fn join(&self) -> Result<Box<dyn Member>, Ended> {
        Ok(self.processor.join()?)
    }

    fn step(&mut self, member: &mut dyn Member, choice: u32) -> Result<(&'static str, Then), Ended> {
        let job = || self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if choice.is_multiple_of(8)
            && let Some(job) = job()
        {
            job();
            return Ok(("restores", Then::GoesOn));
        }
        if choice % 32 == LOOK {
            return Ok((self.look(), Then::GoesOn));
        }
        let is_tick = choice % 8 < 4 || self.processor.is_full();
        let stepped =
            if is_tick { self.processor.tick(member)? } else { self.processor.hear(member, Duration::ZERO)? };
        Ok(match stepped {
            Stepped::Done if is_tick => ("ticks", Then::GoesOn),
            Stepped::Done => ("hears", Then::GoesOn),
            Stepped::Idle => ("hears nothing", Then::Idles),
            Stepped::Rejoin(error) => {
                self.processor.leave(&error);
                ("leaves the group", Then::Leaves)
            }
        })
    }
}

impl Service for Projection {
    const NAME: &str = "projection";

    fn start(shared: &Shared, log: Arc<dyn EventLog>, slot: u32) -> Result<Self, Ended> {
        let store = FaultyStore::new(Arc::new(shared.store.clone()), shared.trouble.clone(), shared.env.clock.clone());
        let author = fulfilment::author(log.clone(), ORDERS.into());
        let deps = tracking::Deps {
            log,
            store: Arc::new(store),
            env: shared.env.clone(),
            handover: shared.handovers[slot as usize].clone(),
            feed: tracking::Feed::default(),
            author,
            metrics: shared.tracking.clone(),
        };
        Ok(Self::new(deps, shared.setup.tracking(slot), shared.runtime.handle().clone()))
    }

    fn join(&self) -> Result<Box<dyn Member>, Ended> {
        Ok(Self::join(self)?)
    }

    fn step(&mut self, member: &mut dyn Member, _: u32) -> Result<(&'static str, Then), Ended> {
        let paused = self.round(member, Duration::ZERO)?;
        Ok((if paused.is_some() { "waits for the store" } else { "projects" }, Then::GoesOn))
    }
}

impl From<eventlog::Error> for Ended {
    fn from(error: eventlog::Error) -> Self {
        use eventlog::Error::{Fenced, Overloaded, Unavailable, Unconfirmed};
        let is_away = matches!(error, Fenced(_) | Overloaded(_) | Unavailable(_) | Unconfirmed(_));
        if is_away { Self::ForNow(error.to_string()) } else { Self::ForGood(error.to_string()) }
    }
}

impl From<fulfilment::Error> for Ended {
    fn from(error: fulfilment::Error) -> Self {
        match error {
            fulfilment::Error::Log(error) => error.into(),
            fulfilment::Error::Flows(crate::flows::topic::Error::Log { source, .. }) => source.into(),
            error => Self::ForGood(with_causes(&error)),
        }
    }
}

impl From<tracking::Error> for Ended {
    fn from(error: tracking::Error) -> Self {
        match error {
            tracking::Error::Log(error) => error.into(),
            tracking::Error::Store(error @ (store::Error::Unavailable(_) | store::Error::Overloaded(_))) => {
                Self::ForNow(error.to_string())
            }
            error => Self::ForGood(error.to_string()),
        }
    }
}
