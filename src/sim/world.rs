//! Everything there is, and what happens next.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use prometheus_client::registry::Registry;

use super::{
    Options, Report,
    commands::{Senders, Target},
    customers::Customers,
    instance::{Did, Fulfilment, Instance, Service, Shared},
    mailer::Mailer,
    model::Model,
    peer::Peer,
    races::Races,
    setup::Setup,
    trace::Trace,
    trouble::Trouble,
};
use crate::{
    clock::Clock,
    domain::Timestamp,
    env::{Env, Random},
    eventlog::memory::MemoryLog,
    faults::FaultyLog,
    fulfilment,
    store::{Handover, memory::MemoryStore},
    tracking::{self, Projection},
};

/// How often what happens, in parts of a hundred, each with those before it; the rest are strikes.
#[derive(Clone, Copy)]
struct Often {
    placed: u32,
    commanded: u32,
    mailed: u32,
    fulfilled: u32,
    projected: u32,
    passed: u32,
}

const MIXED: Often = Often { placed: 8, commanded: 12, mailed: 22, fulfilled: 58, projected: 72, passed: 97 };
/// Many orders, and no command but the cancellations that race.
const RACING: Often = Often { placed: 22, commanded: 22, mailed: 32, fulfilled: 64, projected: 73, passed: 98 };

pub(super) struct World {
    pub(super) options: Options,
    pub(super) rng: Rng,
    pub(super) step: u32,
    pub(super) shared: Shared,
    /// The log as customers reach it.
    pub(super) shop: FaultyLog,
    pub(super) customers: Customers,
    pub(super) senders: Senders,
    pub(super) fulfilments: Vec<Instance<Fulfilment>>,
    pub(super) projections: Vec<Instance<Projection>>,
    pub(super) mailers: Vec<Mailer>,
    pub(super) model: Model,
    pub(super) trace: Trace,
    /// Cancellations that race the last timer, where that is what is simulated.
    pub(super) races: Option<Races>,
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let mut setup = Setup::draw(&mut rng);
        setup.jumps &= !options.races; // timers go by the other clock
        let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
        let log = MemoryLog::new(clock.clone(), setup.log());
        setup.create_topics(&log);
        let trouble = Arc::new(Trouble::new(Random::seeded(rng.u64(..)), setup.unit * 10));
        let shop = FaultyLog::new(Arc::new(log.another()), trouble.clone(), clock.clone());
        let registry = &mut Registry::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O");
        let shared = Shared {
            store: MemoryStore::default(),
            peer: Arc::new(Peer::new(Rng::with_seed(rng.u64(..)), clock.clone(), setup.unit * 10)),
            handovers: (0..setup.projections.max(setup.mailers)).map(|_| Handover::default()).collect(),
            env: Env::simulated(clock, rng.u64(..)),
            trouble,
            runtime,
            fulfilment: fulfilment::Metrics::new(registry),
            tracking: tracking::Metrics::new(registry),
            log,
            setup,
        };
        let Setup { partitions, fulfilments, projections, mailers, .. } = shared.setup;
        let mut world = Self {
            options,
            rng,
            step: 0,
            shop,
            customers: Customers::default(),
            senders: Senders::default(),
            fulfilments: (0..fulfilments).map(Instance::new).collect(),
            projections: (0..projections).map(Instance::new).collect(),
            mailers: (0..mailers).map(Mailer::new).collect(),
            model: Model::new(partitions, &shared.setup.lines),
            trace: Trace::new(options.trace),
            races: options.races.then(Races::default),
            shared,
        };
        let setup = format!("{:?}", world.shared.setup);
        world.note(&setup);
        world
    }

    pub(super) const fn step(&self) -> u32 {
        self.step
    }

    pub(super) fn trace(&self) -> &[String] {
        self.trace.lines()
    }

    /// All steps, then rest, then the verdict.
    pub(super) fn run(&mut self) -> Result<Report, Vec<String>> {
        for step in 1..=self.options.steps {
            self.step = step;
            self.act().map_err(|objection| vec![objection])?;
        }
        self.rest().map_err(|objection| vec![objection])?;
        self.judge()
    }

    /// One thing happens. What is committed is judged at once; what is projected, mailed or waited for commits nothing.
    fn act(&mut self) -> Result<(), String> {
        let (choice, often) = (self.rng.u32(..), if self.races.is_some() { RACING } else { MIXED });
        match self.rng.u32(0..100) {
            n if n < often.placed => self.place(),
            n if n < often.commanded => self.command(),
            n if n < often.mailed && !self.mailers.is_empty() => {
                let i = self.rng.usize(0..self.mailers.len());
                return self.mail(i, choice % 12);
            }
            n if n < often.fulfilled => {
                let i = self.rng.usize(0..self.fulfilments.len());
                for _ in 0..self.rng.u32(1..=6) {
                    let choice = self.rng.u32(..);
                    self.go_on(|world| &mut world.fulfilments[i], choice)?;
                }
            }
            n if n < often.projected => {
                let i = self.rng.usize(0..self.projections.len());
                return self.go_on(|world| &mut world.projections[i], choice).map(drop);
            }
            n if n < often.passed => self.pass(),
            _ => self.strike(),
        }
        self.observe().map(drop)
    }

    fn place(&mut self) {
        let (now, remembers) = (self.shared.env.clock.now(), self.shared.setup.remembers);
        let placed = self.customers.place(&self.shop, &mut self.rng, now, remembers);
        self.note(&format!("placed: {placed}"));
    }

    /// Time passes, up to the next cancellation where they race.
    fn pass(&mut self) {
        let units = [0.5, 0.5, 0.5, 0.5, 2.0, 2.0, 12.0][self.rng.usize(0..7)];
        let time = self.shared.setup.unit.mul_f64(units * self.rng.f64());
        let now = self.shared.env.clock.now();
        let next = self.races.as_ref().and_then(Races::next).map(|next| next.since(now));
        let time = next.map_or(time, |next| next.min(time));
        self.shared.env.clock.advance(time);
        self.note(&format!("{time:?} pass"));
        self.race();
    }

    /// Cancellations whose moment has come are sent.
    fn race(&mut self) {
        let Some(races) = &mut self.races else { return };
        races.draw(&mut self.rng, self.model.last_timers(), self.shared.setup.unit);
        for note in races.send(&self.shop, &mut self.senders, self.shared.env.clock.now()) {
            self.note(&note);
        }
    }

    /// Has an instance do one thing; returns whether there was none to do.
    pub(super) fn go_on<S: Service>(
        &mut self,
        of: impl Fn(&mut Self) -> &mut Instance<S>,
        choice: u32,
    ) -> Result<bool, String> {
        let mut instance = std::mem::replace(of(self), Instance::new(0));
        let done = instance.step(&self.shared, choice);
        let name = instance.name();
        *of(self) = instance;
        let Did { what, is_idle } = done?;
        self.note(&format!("{name} {what}"));
        Ok(is_idle)
    }

    /// Somebody wants something of an order in flight, or of one that nobody knows.
    fn command(&mut self) {
        let (now, unit) = (self.shared.env.clock.now(), self.shared.setup.unit);
        let nobodys = Target { id: 900_000, partition: self.rng.u32(0..self.shared.setup.partitions) };
        let to = self.rng.choice(self.model.targets()).unwrap_or(nobodys);
        let sent = self.senders.send(&self.shop, &mut self.rng, to, now, unit);
        self.note(&format!("commanded: {sent}"));
    }

    pub(super) fn mail(&mut self, i: usize, times: u32) -> Result<(), String> {
        let done = self.mailers[i].step(&self.shared, times)?;
        let name = self.mailers[i].name();
        self.note(&format!("{name} {done}"));
        Ok(())
    }

    /// Judges what was committed; returns whether something was.
    pub(super) fn observe(&mut self) -> Result<bool, String> {
        let now = (!self.shared.setup.jumps).then(|| self.shared.env.clock.now());
        self.model.observe(&self.shared.log, now)?;
        let news = self.model.news();
        for news in &news {
            self.note(news);
        }
        Ok(!news.is_empty())
    }

    pub(super) fn now(&self) -> Duration {
        self.shared.env.clock.monotonic()
    }

    pub(super) fn note(&mut self, what: &str) {
        let now = self.now();
        self.trace.note(self.step, now, format_args!("{what}"));
    }
}
