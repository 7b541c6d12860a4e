//! Instances of the services, as processes that start, join, stall, lose the network, stop in order or die.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{peer::Peer, setup::Setup, trouble::Trouble};
use crate::{
    clock::Monotonic,
    env::Env,
    eventlog::{self, EventLog, Member, memory::MemoryLog},
    faults::{FaultyLog, FaultyStore},
    fulfilment::{self, Job, Processor, Stepped},
    store::{self, memory::MemoryStore},
    tracking::{self, Projection},
};

/// What all processes share.
pub(super) struct Shared {
    pub(super) setup: Setup,
    pub(super) log: MemoryLog,
    pub(super) store: MemoryStore,
    pub(super) env: Env,
    pub(super) trouble: Arc<Trouble>,
    pub(super) peer: Arc<Peer>,
    /// What the projection tells mailers.
    pub(super) projected: Arc<tokio::sync::Notify>,
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

    /// Does one thing; returns what, and whether the member is to be dropped.
    fn step(&mut self, member: &mut dyn Member, choice: u32) -> Result<(&'static str, bool), Ended>;
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
    pub(super) fn step(&mut self, shared: &Shared, choice: u32) -> Result<String, String> {
        let now = shared.env.clock.monotonic();
        if now < self.stalled_until {
            return Ok("stalls".into());
        }
        self.cut(now < self.cut_until);
        match self.try_step(shared, choice) {
            Ok(what) => Ok(what.into()),
            Err(Ended::ForNow(why)) => {
                self.process = None;
                Ok(format!("ends for now: {why}"))
            }
            Err(Ended::ForGood(why)) => Err(format!("{} ended: {why}", self.name())),
        }
    }

    fn try_step(&mut self, shared: &Shared, choice: u32) -> Result<&'static str, Ended> {
        let Some(process) = &mut self.process else {
            let log = Arc::new(shared.log.another());
            let faulty = FaultyLog::new(log.clone(), shared.trouble.clone(), shared.env.clock.clone());
            let service = S::start(shared, Arc::new(faulty), self.slot)?;
            self.process = Some(Process { log, member: None, service });
            return Ok("starts");
        };
        let Some(member) = &mut process.member else {
            process.member = Some(process.service.join()?);
            return Ok("joins");
        };
        let (what, leaves) = process.service.step(member.as_mut(), choice)?;
        if leaves {
            process.member = None;
        }
        Ok(what)
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
}

impl Service for Fulfilment {
    const NAME: &str = "fulfilment";

    fn start(shared: &Shared, log: Arc<dyn EventLog>, slot: u32) -> Result<Self, Ended> {
        let jobs: Arc<Mutex<VecDeque<Job>>> = Arc::default();
        let queue = jobs.clone();
        let spawn = move |job| {
            queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
            Ok(())
        };
        let deps = fulfilment::Deps { log, env: shared.env.clone(), metrics: shared.fulfilment.clone() };
        let Setup { limits, .. } = shared.setup;
        let processor = Processor::with(deps, shared.setup.fulfilment(slot), limits, Arc::new(spawn))?;
        Ok(Self { processor, jobs })
    }

    fn join(&self) -> Result<Box<dyn Member>, Ended> {
        Ok(self.processor.join()?)
    }

    fn step(&mut self, member: &mut dyn Member, choice: u32) -> Result<(&'static str, bool), Ended> {
        let job = || self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if choice.is_multiple_of(8)
            && let Some(job) = job()
        {
            job();
            return Ok(("restores", false));
        }
        let is_tick = choice % 8 < 4 || self.processor.is_full();
        let stepped =
            if is_tick { self.processor.tick(member)? } else { self.processor.hear(member, Duration::ZERO)? };
        Ok(match stepped {
            Stepped::Done if is_tick => ("ticks", false),
            Stepped::Done => ("hears", false),
            Stepped::Idle => ("hears nothing", false),
            Stepped::Rejoin(error) => {
                self.processor.leave(&error);
                ("leaves the group", true)
            }
        })
    }
}

impl Service for Projection {
    const NAME: &str = "projection";

    fn start(shared: &Shared, log: Arc<dyn EventLog>, slot: u32) -> Result<Self, Ended> {
        let store = FaultyStore::new(Arc::new(shared.store.clone()), shared.trouble.clone(), shared.env.clock.clone());
        let deps = tracking::Deps {
            log,
            store: Arc::new(store),
            env: shared.env.clone(),
            projected: shared.projected.clone(),
            feed: tracking::Feed::default(),
            metrics: shared.tracking.clone(),
        };
        Ok(Self::new(deps, shared.setup.tracking(slot), shared.runtime.handle().clone()))
    }

    fn join(&self) -> Result<Box<dyn Member>, Ended> {
        Ok(Self::join(self)?)
    }

    fn step(&mut self, member: &mut dyn Member, _: u32) -> Result<(&'static str, bool), Ended> {
        let paused = self.round(member, Duration::ZERO)?;
        Ok((if paused.is_some() { "waits for the store" } else { "projects" }, false))
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
            error => Self::ForGood(
                anyhow::Error::from(error).chain().map(ToString::to_string).collect::<Vec<_>>().join(": "),
            ),
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
            tracking::Error::Store(error) => Self::ForGood(error.to_string()),
        }
    }
}
