//! The end: all is well again, everybody works until nothing is left to do, and what came of it is judged.

use super::{
    Report,
    instance::{HEAR, LOOK, RESTORE, TICK},
    races,
    setup::{DEAD, STATES},
    verdict,
    world::World,
};
use crate::{
    clock::Monotonic,
    domain::command::{Action, Onward},
    eventlog::TopicPartition,
    store::{Ledger, Orders},
    tracking,
};

/// Rounds after which a world that is not at rest never will be.
const REST_MAX: u32 = 2_000;
/// Most things that an instance does in a round.
const ROUND_MAX: usize = 10;
/// Times that a mailer's tasks go on in a round.
const TURNS: u32 = 24;

impl World {
    /// All is well, and everybody works until nothing is left to do. Time passes faster while nothing happens, but no
    /// session ends.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        self.shared.trouble.set(0);
        self.shared.peer.set(0);
        let unit = self.shared.setup.unit;
        let mut pause = unit;
        for _ in 0..REST_MAX {
            self.work()?;
            let is_quiet = !self.observe()?;
            // what was sent before may still be on its way
            let waiting = if is_quiet { self.model.waiting() } else { Vec::new() };
            for (to, is_held) in waiting {
                let action = if is_held { Action::Resume } else { Action::Advance(Onward::Next) };
                let sent = self.senders.shop(&self.shop, to, action, self.shared.env.clock.now());
                self.note(&format!("commanded: {sent}"));
            }
            if self.unfinished().is_none() {
                return Ok(());
            }
            pause = if is_quiet { (pause * 2).min(unit * 3) } else { unit };
            self.shared.env.clock.advance(pause);
        }
        Err(format!("never comes to rest: {}", self.unfinished().unwrap_or_default()))
    }

    /// Everybody does what there is to do.
    fn work(&mut self) -> Result<(), String> {
        for i in 0..self.fulfilments.len() {
            self.fulfilments[i].recover();
            for choice in [RESTORE, LOOK] {
                self.go_on(|world| &mut world.fulfilments[i], choice)?;
            }
            for _ in 0..ROUND_MAX {
                if self.go_on(|world| &mut world.fulfilments[i], HEAR)? {
                    break;
                }
            }
            self.go_on(|world| &mut world.fulfilments[i], TICK)?;
        }
        for k in 0..self.projections.len() {
            self.projections[k].recover();
            for _ in 0..ROUND_MAX {
                self.go_on(|world| &mut world.projections[k], HEAR)?;
                if self.behind().is_none() {
                    break;
                }
            }
        }
        for i in 0..self.mailers.len() {
            self.mailers[i].stalled_until = Monotonic::ZERO;
            self.mail(i, TURNS)?;
        }
        Ok(())
    }

    fn unfinished(&self) -> Option<String> {
        let waiting = || {
            let counts = self.shared.runtime.block_on(self.shared.store.ledger_counts()).ok()?;
            counts.oldest_unsettled_at.map(|at| format!("a mail about a state of {at} waits"))
        };
        self.model.unfinished().or_else(|| self.behind()).or_else(waiting)
    }

    /// What is not in the store yet.
    fn behind(&self) -> Option<String> {
        let projected = self.shared.runtime.block_on(self.shared.store.offsets(tracking::GROUP)).ok()?;
        let reached = |topic: &str, partition: u32| {
            let of = |(tp, _): &&(TopicPartition, u64)| tp.topic == topic && tp.partition == partition;
            projected.iter().find(of).map_or(0, |(_, offset)| *offset)
        };
        let states = (0..self.shared.setup.partitions).map(|partition| (STATES, partition));
        let (topic, partition) = states
            .chain([(DEAD, 0)])
            .find(|&(topic, partition)| reached(topic, partition) < self.model.end(topic, partition))?;
        Some(format!("{topic}/{partition} is not projected"))
    }

    /// The auditor's verdict, and that on the races.
    pub(super) fn judge(&mut self) -> Result<Report, Vec<String>> {
        let acknowledged = self.customers.acknowledged().cloned().collect();
        let (facts, report) = verdict::judge(&self.shared, acknowledged, &self.model)?;
        let (in_time, too_late) = races::judge(self.races.as_ref(), &self.model, &facts)?;
        self.trace.seal(&format!("{facts:?}"));
        Ok(Report {
            orders: report.orders,
            events: report.events,
            cancelled: report.cancelled,
            mails: report.mails,
            dead: facts.dead,
            in_time,
            too_late,
            passed: self.now(),
            hash: self.trace.hash(),
            trace: self.trace.lines().to_vec(),
        })
    }
}
