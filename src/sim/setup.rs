//! What a world consists of, as its seed says: small bounds, so that they are met.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;

use super::line::Line;
use crate::{
    eventlog::{EventLog, TopicSpec, memory},
    fulfilment, mail, tracking,
};

/// The input topic.
pub(super) const ORDERS: &str = "orders";
/// The states.
pub(super) const STATES: &str = "states";
/// Commands about orders.
pub(super) const COMMANDS: &str = "commands";
/// What became of them.
pub(super) const OUTCOMES: &str = "outcomes";
/// The dead letters.
pub(super) const DEAD: &str = "dead";
/// The versions of the flow.
pub(super) const FLOWS: &str = "flows";

/// The world of one seed.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) partitions: u32,
    pub(super) fulfilments: u32,
    pub(super) projections: u32,
    /// Without any, states get no mails.
    pub(super) mailers: u32,
    /// What all times are measured in: a second, a minute or an hour.
    pub(super) unit: Duration,
    /// The versions of the flow, from the first.
    pub(super) lines: Vec<Line>,
    /// Which of them stands in the file of each instance of fulfilment.
    pub(super) files: Vec<u32>,
    pub(super) batch: usize,
    pub(super) in_flight_max: u64,
    pub(super) limits: fulfilment::Limits,
    /// Whether finished orders are remembered: only then may they come again. Without, restores begin further on.
    pub(super) remembers: bool,
    /// Whether the wall clock jumps.
    pub(super) jumps: bool,
}

impl Setup {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let unit = Duration::from_secs([1, 60, 3_600][rng.usize(0..3)]);
        let fulfilments = rng.u32(1..=3);
        let mut lines = vec![Line::standard(dwell(rng, unit))];
        if rng.bool() {
            lines.push(Line::draw(rng, 2, |rng| dwell(rng, unit)));
        }
        let files = (0..fulfilments).map(|_| rng.u32(1..=lines.len() as u32)).collect();
        Self {
            partitions: rng.u32(1..=4),
            fulfilments,
            projections: rng.u32(1..=2),
            mailers: rng.u32(0..4).saturating_sub(1),
            unit,
            lines,
            files,
            batch: rng.usize(1..=8),
            in_flight_max: rng.u64(3..=40),
            limits: fulfilment::Limits {
                commit_records: rng.usize(2..=20), // a command makes two
                commit_bytes: rng.usize(1_000..=20_000),
                kept_records: rng.usize(1..=20),
                waiting_bytes: rng.usize(2_000..=20_000),
            },
            remembers: rng.bool(),
            jumps: rng.bool(),
        }
    }

    /// What stands in the file of an instance of fulfilment.
    pub(super) fn line_of(&self, slot: u32) -> &Line {
        &self.lines[self.files[slot as usize] as usize - 1]
    }

    pub(super) fn log(&self) -> memory::Options {
        memory::Options { session_timeout: self.unit * 6, batch_records_max: self.batch, ..memory::Options::default() }
    }

    pub(super) fn create_topics(&self, log: &dyn EventLog) {
        let topics = [ORDERS, STATES, COMMANDS, OUTCOMES].map(|name| (name, self.partitions));
        for (name, partitions) in topics.into_iter().chain([(DEAD, 1), (FLOWS, 1)]) {
            log.create(&TopicSpec { name: name.into(), partitions }).expect("a log in memory takes new topics");
        }
    }

    pub(super) fn fulfilment(&self, slot: u32) -> fulfilment::Options {
        fulfilment::Options {
            flow: Arc::new(self.line_of(slot).flow()),
            flows: FLOWS.into(),
            orders: ORDERS.into(),
            states: STATES.into(),
            dead: DEAD.into(),
            commands: Some(fulfilment::CommandTopics { commands: COMMANDS.into(), outcomes: OUTCOMES.into() }),
            old_states: None,
            old_group: None,
            tick: Duration::from_millis(20),
            in_flight_max: self.in_flight_max,
            remember: if self.remembers { usize::MAX } else { 0 },
            slot,
        }
    }

    pub(super) fn tracking(&self, slot: u32) -> tracking::Options {
        let (states, dead) = (STATES.into(), DEAD.into());
        tracking::Options {
            states,
            dead,
            outcomes: Some(OUTCOMES.into()),
            old_states: None,
            mail: self.mailers > 0,
            mail_since: None,
            slot,
        }
    }

    pub(super) fn mail(&self) -> mail::Options {
        mail::Options {
            in_flight_max: 6,
            lease_max: 4,
            lease: self.unit * 4,
            retry_min: self.unit / 10,
            retry_max: self.unit * 4,
            pause_max: self.unit,
            denied_pause: self.unit * 2,
            deadline: self.unit * 100,
            copies_max: 3,
            stop_deadline: self.unit,
            poll: self.unit / 10,
            only_mailer: self.mailers == 1,
        }
    }
}

fn dwell(rng: &mut Rng, unit: Duration) -> Duration {
    unit * [1, 3, 8][rng.usize(0..3)]
}
