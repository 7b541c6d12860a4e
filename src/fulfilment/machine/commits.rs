//! Commits of the machine: what goes into one, and what becomes of it when it has ended.

use tracing::warn;

use super::{Machine, Output};
use crate::{
    eventlog::{self, Budget, Outcome, Position},
    fulfilment::{
        Error, Now,
        letters::{Apart, Heap},
        partition::{Partition, Room},
        plan::{Broken, CommitPlan, Part, Ticket},
    },
};

/// Commands in a commit, one to so many of its records: a flood of them must not keep new orders out.
const COMMANDS_PART: usize = 8;

impl Machine {
    /// A commit of what is due and what was heard, unless there is nothing, or one is under way.
    pub(super) fn commit(&mut self, now: Now) -> Option<Output> {
        if self.pending.is_some() {
            return None;
        }
        self.fill(now);
        let was_refused = std::mem::take(&mut self.refused);
        if self.partitions.values().all(Partition::is_clean) {
            if was_refused && self.restoring.is_empty() {
                self.metrics.ready(); // what the log did not take is another's
            }
            return None;
        }
        let parts: Vec<Part> = self.partitions.values_mut().map(Partition::part).collect();
        Some(self.plan(parts))
    }

    /// Fills a commit to its bound: what is due first, so that no flood of input makes states late, then commands, which are
    /// about orders that are there, up to a part of it, then new orders. What has no room waits for the next commit, and its
    /// offset is not passed. After a refusal there is something already.
    fn fill(&mut self, now: Now) {
        let mut budget = Budget::new(self.limits.commit_records, self.limits.commit_bytes);
        for record in self.partitions.values().flat_map(Partition::collected) {
            budget.spend(record.size());
        }
        // whoever comes first may take all the room that there is: each is that in turn, so that a flood holds up its own partition
        let first = self.plans % self.partitions.len().max(1) as u64;
        let mut in_turn: Vec<&mut Partition> = self.partitions.values_mut().collect();
        in_turn.rotate_left(first as usize);
        for partition in &mut in_turn {
            partition.tick(&self.options, &mut budget, now);
        }
        let mut commands = self.limits.commit_records.div_ceil(COMMANDS_PART);
        for partition in &mut in_turn {
            partition.obey(&self.options, &mut budget, &mut commands, now, &self.metrics);
        }
        let in_flight = in_turn.iter().map(|partition| partition.engine.in_flight()).sum();
        let mut room = Room { budget, orders: self.options.in_flight_max.saturating_sub(in_flight) };
        for partition in &mut in_turn {
            partition.take(&self.options, &mut room, now, &self.metrics);
        }
    }

    fn plan(&mut self, parts: impl IntoIterator<Item = Part>) -> Output {
        self.plans += 1;
        self.pending = Some(self.plans);
        Output::Commit(CommitPlan::new(self.plans, parts))
    }

    pub(super) fn ended(&mut self, plan: CommitPlan, outcome: Outcome, now: Now) -> Result<Option<Output>, Error> {
        let (given, ended) = (self.pending.take(), plan.number());
        if given != Some(ended) {
            return Err(Broken::Plan { given, ended }.into());
        }
        if let Some(apart) = self.apart.take() {
            return self.ended_apart(apart, plan, outcome, now);
        }
        #[cfg(test)]
        let outcome = match outcome {
            Outcome::Unknown(_) if crate::planted::is_planted(crate::planted::Defect::UnknownIsRefused) => {
                Outcome::Aborted(eventlog::Error::Unavailable("planted".into()))
            }
            outcome => outcome,
        };
        match outcome {
            Outcome::Committed(positions) => {
                self.settle(&plan, &positions, now)?;
                Ok(None)
            }
            Outcome::Unknown(error) => self.leave(error),
            Outcome::Aborted(error) => {
                let has_letters = plan.has_letters();
                for part in plan.into_parts() {
                    self.take_back(part);
                }
                match error {
                    eventlog::Error::TooLarge(why) if has_letters => {
                        warn!(why, "dead letters are too large for their topic, writing them apart");
                        let heap = |partition: &mut Partition| Heap {
                            ticket: partition.ticket,
                            letters: partition.take_letters(),
                        };
                        let apart = Apart::new(self.partitions.values_mut().map(heap));
                        Ok(self.write_apart(apart, now))
                    }
                    error => self.refuse(error),
                }
            }
        }
    }

    /// Writes the next dead letters; after the last ones, commits without them.
    fn write_apart(&mut self, mut apart: Apart, now: Now) -> Option<Output> {
        while let Some(Heap { ticket, letters }) = apart.pop() {
            if !letters.is_empty() && self.ours(ticket).is_some() {
                self.apart = Some(apart);
                return Some(self.plan([Part::of_letters(ticket, letters)]));
            }
        }
        self.commit(now)
    }

    fn ended_apart(
        &mut self,
        mut apart: Apart,
        plan: CommitPlan,
        outcome: Outcome,
        now: Now,
    ) -> Result<Option<Output>, Error> {
        let error = match outcome {
            Outcome::Committed(positions) => {
                plan.check(&positions)?;
                return Ok(self.write_apart(apart, now));
            }
            Outcome::Unknown(error) => return self.leave(error),
            Outcome::Aborted(error) => error,
        };
        let heaps = plan.into_parts().map(|Part { ticket, letters, .. }| Heap { ticket, letters });
        if let Err(error) = apart.refused(heaps, error, &self.metrics) {
            while let Some(Heap { ticket, letters }) = apart.pop() {
                self.take_back(Part::of_letters(ticket, letters));
            }
            return self.refuse(error);
        }
        Ok(self.write_apart(apart, now))
    }

    /// What was in a plan waits again, unless its partition is another's by now.
    fn take_back(&mut self, part: Part) {
        if let Some(partition) = self.ours(part.ticket) {
            partition.take_back(part);
        }
    }

    fn ours(&mut self, ticket: Ticket) -> Option<&mut Partition> {
        self.partitions.get_mut(&ticket.partition).filter(|partition| partition.ticket == ticket)
    }

    fn settle(&mut self, plan: &CommitPlan, positions: &[Position], now: Now) -> Result<(), Error> {
        plan.check(positions)?;
        for span in plan.spans() {
            // what was lost meanwhile is there all the same: its next owner finds it
            let partition = self.partitions.get_mut(&span.ticket.partition);
            let Some(partition) = partition.filter(|partition| partition.ticket == span.ticket) else { continue };
            for staged in partition.engine.staged() {
                let late = staged.due.map(|due| now.monotonic.saturating_sub(due));
                self.metrics.transition(&staged.event, late, now);
            }
            let (outputs, found) = (&plan.outputs()[span.events.clone()], &positions[span.events.clone()]);
            partition.settle(outputs, found, &plan.offsets()[span.offsets.clone()], now)?;
        }
        if self.restoring.is_empty() {
            self.metrics.ready();
        }
        self.report();
        Ok(())
    }

    /// Nothing was written. What the log may take later is tried again; for the rest see [`leave`](Self::leave).
    fn refuse(&mut self, error: eventlog::Error) -> Result<Option<Output>, Error> {
        if !matches!(error, eventlog::Error::Unavailable(_)) {
            return self.leave(error);
        }
        self.refused = true;
        self.metrics.commit_retried();
        Ok(Some(Output::Retry(error)))
    }
}
