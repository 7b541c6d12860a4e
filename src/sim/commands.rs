//! Who sends commands about orders: customers and the shop.

use fastrand::Rng;

use super::{customers::write, setup::COMMANDS};
use crate::{
    domain::{
        Command, OrderId, Timestamp,
        command::{Action, Onward},
        flow::Party,
        wire,
    },
    eventlog::{EventLog, NewRecord},
};

/// An order as it looks to whoever sends a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) id: u64,
    pub(super) partition: u32,
}

#[derive(Default)]
pub(super) struct Senders {
    /// The number of the last command.
    last: u64,
    sent: Vec<NewRecord>,
}

impl Senders {
    /// Sends a command, or one again that was sent already; returns what, in words.
    pub(super) fn send(
        &mut self,
        log: &dyn EventLog,
        rng: &mut Rng,
        to: Target,
        now: Timestamp,
        unit: std::time::Duration,
    ) -> String {
        let record = match rng.u32(0..12) {
            0 => record(to, b"{\"orderid\":\"poison".to_vec(), now),
            1 | 2 if !self.sent.is_empty() => self.sent[rng.usize(0..self.sent.len())].clone(),
            _ => {
                let action = match rng.u32(0..10) {
                    0..4 => Action::Cancel,
                    4 | 5 => Action::Hold,
                    6 => Action::Resume,
                    7 => Action::Delay(now + unit.mul_f64(5.0 * rng.f64())),
                    8 => Action::Readdress(format!("new{}@shop.example", self.last).parse().expect("an address")),
                    _ => Action::Advance(Onward::Next),
                };
                let party = if rng.bool() { Party::Customer } else { Party::Operator };
                self.command(to, party, action, now)
            }
        };
        submit(log, record).0
    }

    /// The shop wants something.
    pub(super) fn shop(&mut self, log: &dyn EventLog, to: Target, action: Action, now: Timestamp) -> String {
        let record = self.command(to, Party::Operator, action, now);
        submit(log, record).0
    }

    /// A cancellation that is to be sent, and its id.
    pub(super) fn cancel(&mut self, to: Target, now: Timestamp) -> (String, NewRecord) {
        let record = self.command(to, Party::Operator, Action::Cancel, now);
        (self.id(), record)
    }

    /// The id of the last command.
    fn id(&self) -> String {
        format!("c{}", self.last)
    }

    fn command(&mut self, to: Target, party: Party, action: Action, now: Timestamp) -> NewRecord {
        self.last += 1;
        let command = Command {
            id: self.id().parse().expect("a letter and digits"),
            order: OrderId::new(to.id).expect("it is counted from 1"),
            by: "somebody".into(),
            party,
            action,
            reason: None,
        };
        let record = record(to, wire::encode_command(&command), now);
        self.sent.push(record.clone());
        record
    }
}

/// Writes a command; returns what became of that, in words, and whether it is known to be written.
pub(super) fn submit(log: &dyn EventLog, record: NewRecord) -> (String, bool) {
    let what = String::from_utf8_lossy(&record.value).into_owned();
    match write(log, record) {
        Ok(()) => (what, true),
        Err(error) => (format!("{what}: {error}"), false),
    }
}

fn record(to: Target, value: Vec<u8>, at: Timestamp) -> NewRecord {
    let key = OrderId::new(to.id).ok().map(wire::key);
    NewRecord {
        topic: COMMANDS.into(),
        partition: Some(to.partition),
        key,
        value,
        headers: wire::Headers::default(),
        at,
    }
}
