//! The log of the world: what it takes, from whom, and what it gives back.

use super::*;
use crate::{
    domain::{Command, OrderId, command::Action, flow::Party},
    flows::topic::Versions,
};

impl World {
    /// New orders mostly; poison, some of it large; repeats, and others under a number that is taken.
    pub(super) fn place(&mut self, partition: u32, kinds: &[u8]) {
        for kind in kinds {
            let offset = self.orders[partition as usize].len() as u64;
            let ids = &mut self.placed[partition as usize];
            let earlier = ids.get(usize::from(*kind) % ids.len().max(1)).copied();
            let value = match (kind % 10, earlier) {
                (0, _) => b"poison".to_vec(),
                (1, _) => vec![b'x'; 2_500],
                (2, Some(id)) => order(id, "n"),
                (3, Some(id)) => order(id, "other"),
                _ => {
                    let id = offset * u64::from(PARTITIONS) + u64::from(partition) + 1;
                    ids.push(id);
                    order(id, "n")
                }
            };
            if kind % 10 < 2 || (kind % 10 == 3 && earlier.is_some()) {
                self.poison.insert(("orders".into(), partition, offset));
            }
            self.orders[partition as usize].push(record(offset, value));
        }
    }

    /// What somebody may want of an order that is there, or will be, or never; some under an id that was used before.
    pub(super) fn command(&mut self, partition: u32, kinds: &[u8]) {
        for kind in kinds {
            let offset = self.commands[partition as usize].len() as u64;
            let ids = &self.placed[partition as usize];
            let order = ids.get(usize::from(*kind) % (ids.len() + 1)).copied().unwrap_or(offset * 7 + 1);
            self.sent += 1;
            // the first repeats nothing
            let number = if kind % 5 == 0 { self.sent.saturating_sub(3) } else { self.sent };
            let (soon, operator) = (self.now.wall + std::time::Duration::from_millis(900), kind % 4 != 0);
            let action = match kind % 9 {
                0..=2 => Action::Cancel,
                3 | 4 => Action::Hold,
                5 | 6 => Action::Resume,
                7 => Action::Delay(soon),
                _ => Action::Readdress("b@b.example".parse().unwrap()),
            };
            let value = if kind % 17 == 0 {
                self.poison.insert(("commands".into(), partition, offset));
                b"poison".to_vec()
            } else {
                let party = if operator { Party::Operator } else { Party::Customer };
                Self::encoded(number, order, party, action)
            };
            self.commands[partition as usize].push(record(offset, value));
        }
    }

    fn encoded(number: usize, order: u64, party: Party, action: Action) -> Vec<u8> {
        let (id, order) = (format!("c-{number}").parse().unwrap(), OrderId::new(order).unwrap());
        wire::encode_command(&Command { id, order, by: "x".into(), party, action, reason: None })
    }

    /// What is held goes on, so that all comes to an end.
    pub(super) fn let_all_go_on(&mut self) {
        for partition in 0..PARTITIONS as usize {
            for order in self.placed[partition].clone() {
                self.sent += 1;
                let offset = self.commands[partition].len() as u64;
                let value = Self::encoded(self.sent, order, Party::Operator, Action::Resume);
                self.commands[partition].push(record(offset, value));
            }
        }
    }

    /// A commit is under way: within its bounds, and of nothing that was given up.
    pub(super) fn begin(&mut self, i: usize, plan: CommitPlan) {
        let instance = &mut self.instances[i];
        assert!(instance.under_way.is_none(), "two commits at once");
        let sizes = || plan.outputs().iter().map(NewRecord::size);
        let (total, largest) = (sizes().sum::<usize>(), sizes().max().unwrap_or_default());
        assert!(plan.outputs().len() <= LIMITS.commit_records, "{} records", plan.outputs().len());
        // a command makes two records
        assert!(total < LIMITS.commit_bytes + 2 * largest, "{total} bytes");
        for offset in plan.offsets() {
            let partition = offset.tp.partition;
            assert!(instance.told.contains_key(&partition), "{partition} was given up");
            let written = if offset.tp.topic == "commands" { &self.commands } else { &self.orders };
            assert!(offset.offset <= written[partition as usize].len() as u64);
        }
        for output in plan.outputs().iter().filter(|output| output.topic == "states") {
            let partition = output.partition.unwrap();
            assert!(
                plan.offsets().iter().any(|offset| offset.tp.partition == partition),
                "nothing fences an event of {partition}"
            );
        }
        let owners = plan.offsets().iter().map(|offset| self.owners[offset.tp.partition as usize]).collect();
        instance.under_way = Some(UnderWay { plan, owners, outcome: None });
    }

    pub(super) fn decide(&mut self, i: usize, how: How) {
        let Some(mut under_way) = self.instances[i].under_way.take() else { return };
        if under_way.outcome.is_none() {
            under_way.outcome = Some(self.outcome(i, &under_way, how));
        }
        self.instances[i].under_way = Some(under_way);
    }

    fn outcome(&mut self, i: usize, under_way: &UnderWay, how: How) -> Outcome {
        let UnderWay { plan, owners, .. } = under_way;
        let unknown = || Outcome::Unknown(eventlog::Error::Unconfirmed("no answer".into()));
        match how {
            How::Unavailable => return Outcome::Aborted(unavailable()),
            How::UnknownUndone => return unknown(),
            How::Done | How::UnknownDone => {}
        }
        let now_owns = |partition: u32| self.owners[partition as usize].filter(|owner| owner.instance == i);
        let is_fenced = plan.offsets().iter().zip(owners).any(|(offset, then)| {
            let now = now_owns(offset.tp.partition);
            now.is_none() || now != *then
        });
        if is_fenced {
            return Outcome::Aborted(eventlog::Error::Fenced("an old generation".into()));
        }
        let letters = || plan.outputs().iter().filter(|output| output.topic == "dead");
        if letters().count() > 1 && letters().map(NewRecord::size).sum::<usize>() > LETTERS_MAX {
            return Outcome::Aborted(eventlog::Error::TooLarge("narrow".into()));
        }
        let positions = plan.outputs().iter().map(|output| self.write(output)).collect();
        for offset in plan.offsets() {
            if offset.tp.topic == "commands" {
                let committed = &mut self.committed_commands[offset.tp.partition as usize];
                assert!(*committed <= offset.offset, "{committed} goes back to {offset:?}");
                *committed = offset.offset;
                continue;
            }
            let committed = &mut self.committed[offset.tp.partition as usize];
            assert!(committed.offset <= offset.offset, "{committed:?} goes back to {offset:?}");
            *committed = offset.clone();
        }
        if matches!(how, How::Done) { Outcome::Committed(positions) } else { unknown() }
    }

    /// Offsets have gaps, as where a cluster puts its control records.
    fn write(&mut self, output: &NewRecord) -> Position {
        let partition = output.partition.unwrap();
        if output.topic == "dead" {
            self.dead.push(output.clone());
            return Position { partition, offset: self.dead.len() as u64 };
        }
        if output.topic == "outcomes" {
            self.outcomes.push(wire::decode_outcome(&output.value).unwrap());
            return Position { partition, offset: self.outcomes.len() as u64 };
        }
        let states = &mut self.states[partition as usize];
        let offset = states.last().map_or(0, |last| last.offset + 1 + u64::from(last.offset % 5 == 0));
        let NewRecord { key, value, headers, at, .. } = output.clone();
        states.push(Record { offset, key, value, headers, at });
        Position { partition, offset }
    }

    /// What a restore reads: the states from the watermark on, and nothing before it.
    pub(super) fn restore(&self, offset: &GroupOffset) -> Engine {
        let progress = Progress::parse(&offset.metadata).unwrap();
        let from = progress.map_or(0, |progress| progress.watermark);
        let options = &self.instances[0].machine.options;
        let mut restore = Restore::new(options.flow.clone(), Versions::default(), from);
        for (at, event) in self.events(offset.tp.partition).filter(|(at, _)| *at >= from) {
            restore.event(at, event);
        }
        restore.finish(progress.map(|progress| progress.counters), self.now, options.remember).unwrap()
    }

    pub(super) fn events(&self, partition: u32) -> impl Iterator<Item = (u64, StateEvent)> {
        let records = self.states[partition as usize].iter();
        records.map(|record| (record.offset, wire::decode_event(&record.value, &record.headers, record.at).unwrap()))
    }
}
