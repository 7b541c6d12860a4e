//! What must be true of the log in the end, by a model of its own.

use super::*;
use crate::domain::{Cause, Change, Closing, Waits, command::Verdict};

impl World {
    pub(super) fn check(&self) {
        let mut sources = BTreeSet::new();
        for letter in &self.dead {
            let read = wire::decode_dead_letter(letter.key.as_deref(), &letter.value, &letter.headers, letter.at);
            let source = read.unwrap().source;
            sources.insert((source.topic, source.partition, source.offset));
        }
        assert_eq!(sources, self.poison, "what is no order and no command is a dead letter, and nothing else");
        for (partition, placed) in self.placed.iter().enumerate() {
            let mut orders: BTreeMap<u64, Vec<StateEvent>> = BTreeMap::new();
            for (_, event) in self.events(partition as u32) {
                orders.entry(event.order.id.get()).or_default().push(event);
            }
            assert_eq!(orders.keys().copied().collect::<Vec<_>>(), *placed);
            let mut finished = 0;
            for (id, events) in &orders {
                finished += u64::from(check_life(*id, events) == Closing::Finished);
            }
            let progress = Progress::parse(&self.committed[partition].metadata).unwrap().unwrap_or_default();
            let is_order = |(topic, of, _): &&(String, u32, u64)| topic == "orders" && *of == partition as u32;
            let dead = self.poison.iter().filter(is_order).count() as u64;
            let (placed, counters) = (placed.len() as u64, progress.counters);
            assert_eq!((counters.accepted, counters.dead), (placed + dead, dead));
            assert_eq!((counters.finished, counters.cancelled), (finished, placed - finished));
        }
        self.check_commands();
    }

    /// Each was decided once, and what was done is what is told.
    fn check_commands(&self) {
        let sent: usize = self.commands.iter().map(Vec::len).sum();
        let poison = self.poison.iter().filter(|(topic, ..)| topic == "commands").count();
        assert_eq!(self.outcomes.len(), sent - poison);
        let mut told: Vec<(String, u64)> = Vec::new();
        for outcome in self.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Done) {
            told.push((outcome.command.to_string(), outcome.order.get()));
        }
        let mut happened: Vec<(String, u64)> = Vec::new();
        for (_, event) in (0..PARTITIONS).flat_map(|partition| self.events(partition)) {
            if let Cause::Command { id, .. } = &event.cause {
                happened.push((id.to_string(), event.order.id.get()));
            }
        }
        told.sort();
        happened.sort();
        assert_eq!(told, happened);
        assert!(happened.is_sorted_by(|a, b| a < b), "a command happens once: {happened:?}");
    }
}

/// One life, from the first state to one end, with no state early.
fn check_life(id: u64, events: &[StateEvent]) -> Closing {
    let line = Flow::STATES;
    let mut place = 0;
    for (index, event) in events.iter().enumerate() {
        assert_eq!(usize::from(event.seq), index + 1, "order {id}");
        let before = index.checked_sub(1).map(|before| &events[before]);
        if let Some(before) = before {
            assert!(before.closes().is_none(), "order {id} goes on after its end: {events:?}");
        }
        match (event.change, &event.cause) {
            (Change::Entered, Cause::Placed) => assert_eq!(index, 0),
            (Change::Entered, Cause::Timer) => {
                place += 1;
                let Some(Waits::Until(due)) = before.map(|before| before.waits) else {
                    panic!("order {id}: {events:?}")
                };
                assert!(event.at >= due, "order {id} is early: {events:?}");
            }
            (Change::Entered, Cause::Command { .. }) => assert_eq!(event.closes(), Some(Closing::Cancelled)),
            (_, cause) => assert!(matches!(cause, Cause::Command { .. })),
        }
        let is_end = event.closes() == Some(Closing::Cancelled);
        assert_eq!(&*event.estado, if is_end { "cancelado" } else { line[place] }, "order {id}: {events:?}");
    }
    let last = events.last().and_then(StateEvent::closes);
    last.unwrap_or_else(|| panic!("order {id} does not end: {events:?}"))
}
