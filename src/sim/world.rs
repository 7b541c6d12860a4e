//! Everything there is, and what happens next.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use prometheus_client::registry::Registry;

use super::{
    Options, Report,
    commands::{Senders, Target},
    customers::{self, Customers, now_or_never},
    instance::{Fulfilment, Instance, Service, Shared},
    mailer::Mailer,
    model::Model,
    peer::Peer,
    setup::{DEAD, STATES, Setup},
    trace::Trace,
    trouble::Trouble,
    verdict,
};
use crate::{
    audit::Event,
    clock::{Clock, Monotonic},
    domain::{Timestamp, wire},
    env::{Env, Random},
    eventlog::{EventLog, NewRecord, TopicPartition, memory::MemoryLog},
    faults::FaultyLog,
    fulfilment,
    store::{Ledger, Orders, memory::MemoryStore},
    tracking::{self, Projection},
};

/// Rounds after which a world that is not at rest never will be.
const REST_MAX: u32 = 20_000;
/// What a service is told to do when all are to come to rest: see [`Service::step`].
const REST: [u32; 12] = [0, 1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 1];

pub(super) struct World {
    options: Options,
    rng: Rng,
    step: u32,
    shared: Shared,
    /// The log as customers reach it.
    shop: FaultyLog,
    customers: Customers,
    senders: Senders,
    fulfilments: Vec<Instance<Fulfilment>>,
    projections: Vec<Instance<Projection>>,
    mailers: Vec<Mailer>,
    model: Model,
    trace: Trace,
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let setup = Setup::draw(&mut rng);
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
            projected: Arc::default(),
            env: Env::simulated(clock, rng.u64(..)),
            trouble,
            runtime,
            fulfilment: fulfilment::Metrics::new(registry),
            tracking: tracking::Metrics::new(registry),
            log,
            setup,
        };
        let Setup { partitions, fulfilments, projections, mailers, dwell, .. } = shared.setup;
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
            model: Model::new(partitions, dwell),
            trace: Trace::new(options.trace),
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
            self.act().and_then(|()| self.observe()).map_err(|objection| vec![objection])?;
        }
        self.rest().map_err(|objection| vec![objection])?;
        self.judge()
    }

    fn act(&mut self) -> Result<(), String> {
        let choice = self.rng.u32(..);
        match self.rng.u32(0..100) {
            0..8 => {
                let (now, remembers) = (self.shared.env.clock.now(), self.shared.setup.remembers);
                let placed = self.customers.place(&self.shop, &mut self.rng, now, remembers);
                self.note(&format!("placed: {placed}"));
            }
            8..12 => self.command(),
            12..22 if !self.mailers.is_empty() => {
                let i = self.rng.usize(0..self.mailers.len());
                self.mail(i, choice % 12)?;
            }
            12..58 => {
                let i = self.rng.usize(0..self.fulfilments.len());
                for _ in 0..self.rng.u32(1..=6) {
                    let choice = self.rng.u32(..);
                    self.go_on(|world| &mut world.fulfilments[i], choice)?;
                }
            }
            58..72 => {
                let i = self.rng.usize(0..self.projections.len());
                self.go_on(|world| &mut world.projections[i], choice)?;
            }
            72..97 => {
                let units = [0.5, 0.5, 0.5, 0.5, 2.0, 2.0, 12.0][self.rng.usize(0..7)];
                let time = self.shared.setup.unit.mul_f64(units * self.rng.f64());
                self.shared.env.clock.advance(time);
                self.note(&format!("{time:?} pass"));
            }
            _ => self.strike(),
        }
        Ok(())
    }

    fn go_on<S: Service>(&mut self, of: impl Fn(&mut Self) -> &mut Instance<S>, choice: u32) -> Result<(), String> {
        let mut instance = std::mem::replace(of(self), Instance::new(0));
        let done = instance.step(&self.shared, choice);
        let name = instance.name();
        *of(self) = instance;
        self.note(&format!("{name} {}", done?));
        Ok(())
    }

    /// Somebody wants something of an order in flight, or of one that nobody knows.
    fn command(&mut self) {
        let (now, unit) = (self.shared.env.clock.now(), self.shared.setup.unit);
        let nobodys = Target { id: 900_000, partition: self.rng.u32(0..self.shared.setup.partitions) };
        let to = self.rng.choice(self.model.targets()).unwrap_or(nobodys);
        let sent = self.senders.send(&self.shop, &mut self.rng, to, now, unit);
        self.note(&format!("commanded: {sent}"));
    }

    fn mail(&mut self, i: usize, times: u32) -> Result<(), String> {
        let done = self.mailers[i].step(&self.shared, times)?;
        let name = self.mailers[i].name();
        self.note(&format!("{name} {done}"));
        Ok(())
    }

    /// Something goes wrong.
    fn strike(&mut self) {
        let (i, k) = (self.rng.usize(0..self.fulfilments.len()), self.rng.usize(0..self.projections.len()));
        let until = self.now() + self.shared.setup.unit.mul_f64(10.0 * self.rng.f64());
        if !self.mailers.is_empty() && self.rng.u32(0..4) == 0 {
            self.strike_mail(until);
            return;
        }
        let struck = match self.rng.u32(0..12) {
            0 | 1 => {
                let of_thousand = [0, 0, 30, 150, 400][self.rng.usize(0..5)];
                self.shared.trouble.set(of_thousand);
                format!("{of_thousand} of 1000 calls go wrong")
            }
            2 => {
                self.fulfilments[i].kill();
                format!("{} dies", self.fulfilments[i].name())
            }
            3 => {
                self.fulfilments[i].stop();
                format!("{} stops", self.fulfilments[i].name())
            }
            4 | 5 => {
                self.fulfilments[i].stalled_until = until;
                format!("{} stalls until {until:?}", self.fulfilments[i].name())
            }
            6 | 7 => {
                self.fulfilments[i].cut_until = until;
                format!("{} does not reach the log until {until:?}", self.fulfilments[i].name())
            }
            8 if self.rng.bool() => {
                self.projections[k].kill();
                format!("{} dies", self.projections[k].name())
            }
            8 => {
                let until = until + self.shared.setup.unit * 10;
                self.projections[k].stalled_until = until;
                format!("{} stalls until {until:?}", self.projections[k].name())
            }
            9 if self.shared.setup.jumps => self.jump(),
            10 => self.intrude().unwrap_or_else(|| "nothing goes wrong".into()),
            _ => self.meddle().unwrap_or_else(|| "nothing goes wrong".into()),
        };
        self.note(&struck);
    }

    fn strike_mail(&mut self, until: Monotonic) {
        let mailer = self.rng.choice(&mut self.mailers).expect("there is one");
        let struck = match self.rng.u32(0..6) {
            0 => {
                mailer.kill();
                format!("{} dies", mailer.name())
            }
            1 => {
                mailer.stop();
                format!("{} is to stop", mailer.name())
            }
            2 => {
                mailer.stalled_until = until;
                format!("{} stalls until {until:?}", mailer.name())
            }
            _ => {
                let of_thousand = [0, 100, 300, 800][self.rng.usize(0..4)];
                self.shared.peer.set(of_thousand);
                format!("the mail server misbehaves with {of_thousand} of 1000 mails")
            }
        };
        self.note(&struck);
    }

    fn jump(&mut self) -> String {
        let by = self.shared.setup.unit.mul_f64(20.0 * self.rng.f64());
        let now = self.shared.env.clock.now();
        let to = if self.rng.bool() { now + by } else { now - by };
        self.shared.env.clock.set_wall(to);
        format!("the wall clock jumps to {to}")
    }

    /// A stranger writes a state again that is there already, without our seal, wherever it likes.
    fn meddle(&mut self) -> Option<String> {
        let begun = self.model.begun();
        let (from, to) = (*self.rng.choice(&begun)?, *self.rng.choice(&begun)?);
        let of = TopicPartition { topic: STATES.to_owned(), partition: from };
        let records = self.shared.log.read(&of, 0).and_then(|mut reader| reader.next(usize::MAX)).ok()?;
        let from_recent = if self.rng.bool() { records.len().saturating_sub(6) } else { 0 };
        let record = self.rng.choice(&records[from_recent..])?.clone();
        let headers = record.headers.into_iter().filter(|(name, _)| name != wire::SEAL).collect();
        let copy = NewRecord {
            topic: STATES.to_owned(),
            partition: Some(to),
            key: record.key,
            value: record.value,
            headers,
            at: record.at,
        };
        let positions = now_or_never(self.shared.log.append(vec![copy])).ok()?;
        self.model.stranger(to, positions[0].offset);
        Some(format!("a stranger copies offset {} of {STATES}/{from} to {STATES}/{to}", record.offset))
    }

    /// A stranger writes states of an order of its own, in whatever order, wherever it likes.
    fn intrude(&mut self) -> Option<String> {
        let begun = self.model.begun();
        let (id, now) = (verdict::STRANGERS_FROM + u64::from(self.step), self.shared.env.clock.now());
        let mut states: Vec<usize> = (0..self.rng.usize(2..=4)).collect();
        self.rng.shuffle(&mut states);
        for state in &states {
            let to = *self.rng.choice(&begun)?;
            let copy = customers::state(id, *state as u8, to, now);
            let positions = now_or_never(self.shared.log.append(vec![copy])).ok()?;
            self.model.stranger(to, positions[0].offset);
        }
        Some(format!("a stranger writes states {states:?} of order {id}"))
    }

    fn observe(&mut self) -> Result<(), String> {
        let now = (!self.shared.setup.jumps).then(|| self.shared.env.clock.now());
        self.model.observe(&self.shared.log, now)?;
        for news in self.model.news() {
            self.note(&news);
        }
        Ok(())
    }

    /// All is well, and everybody works until nothing is left to do.
    fn rest(&mut self) -> Result<(), String> {
        self.shared.trouble.set(0);
        self.shared.peer.set(0);
        for _ in 0..REST_MAX {
            for i in 0..self.fulfilments.len() {
                self.fulfilments[i].recover();
                for choice in REST {
                    self.go_on(|world| &mut world.fulfilments[i], choice)?;
                }
            }
            for k in 0..self.projections.len() {
                self.projections[k].recover();
                for choice in REST {
                    self.go_on(|world| &mut world.projections[k], choice)?;
                }
            }
            for i in 0..self.mailers.len() {
                self.mailers[i].stalled_until = Monotonic::ZERO;
                self.mail(i, 12)?;
            }
            self.observe()?;
            for held in self.model.held() {
                let sent = self.senders.resume(&self.shop, held, self.shared.env.clock.now());
                self.note(&format!("commanded: {sent}"));
            }
            if self.unfinished().is_none() {
                return Ok(());
            }
            self.shared.env.clock.advance(self.shared.setup.unit);
        }
        Err(format!("never comes to rest: {}", self.unfinished().unwrap_or_default()))
    }

    fn unfinished(&self) -> Option<String> {
        let behind = || {
            let projected = self.shared.runtime.block_on(self.shared.store.offsets(tracking::GROUP)).ok()?;
            let reached = |topic: &str, partition: u32| {
                let of = |(of, _): &&(TopicPartition, u64)| of.topic == topic && of.partition == partition;
                projected.iter().find(of).map_or(0, |(_, offset)| *offset)
            };
            let states = (0..self.shared.setup.partitions).map(|partition| (STATES, partition));
            let (topic, partition) = states
                .chain([(DEAD, 0)])
                .find(|&(topic, partition)| reached(topic, partition) < self.model.end(topic, partition))?;
            Some(format!("{topic}/{partition} is not projected"))
        };
        let waiting = || {
            let counts = self.shared.runtime.block_on(self.shared.store.ledger_counts()).ok()?;
            counts.oldest_unsettled_at.map(|at| format!("a mail about a state of {at} waits"))
        };
        self.model.unfinished().or_else(behind).or_else(waiting)
    }

    fn judge(&mut self) -> Result<Report, Vec<String>> {
        let acknowledged = self.customers.acknowledged().cloned().collect();
        let is_ours = |event: &Event| !self.model.is_stranger(event.position);
        let (facts, report) = verdict::judge(&self.shared, acknowledged, is_ours)?;
        self.trace.seal(&format!("{facts:?}"));
        Ok(Report {
            orders: report.orders,
            events: report.events,
            cancelled: report.cancelled,
            mails: report.mails,
            dead: facts.dead,
            passed: self.now(),
            hash: self.trace.hash(),
            trace: self.trace.lines().to_vec(),
        })
    }

    fn now(&self) -> Duration {
        self.shared.env.clock.monotonic()
    }

    fn note(&mut self, what: &str) {
        let now = self.now();
        self.trace.note(self.step, now, format_args!("{what}"));
    }
}
