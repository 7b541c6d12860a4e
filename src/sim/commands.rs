//! Who sends commands about orders: customers and the shop.

use fastrand::Rng;

use super::{customers::write, setup::COMMANDS};
use crate::{
    domain::{
        Command, OrderId, Timestamp,
        command::{Onward, Wish},
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
                let wish = match rng.u32(0..10) {
                    0..4 => Wish::Cancel,
                    4 | 5 => Wish::Hold,
                    6 => Wish::Resume,
                    7 => Wish::Delay(now + unit.mul_f64(5.0 * rng.f64())),
                    8 => Wish::Readdress(format!("new{}@shop.example", self.last).parse().expect("an address")),
                    _ => Wish::Advance(Onward::Next),
                };
                let party = if rng.bool() { Party::Customer } else { Party::Operator };
                self.command(to, party, wish, now)
            }
        };
        submit(log, record)
    }

    /// The shop lets an order go on.
    pub(super) fn resume(&mut self, log: &dyn EventLog, to: Target, now: Timestamp) -> String {
        let record = self.command(to, Party::Operator, Wish::Resume, now);
        submit(log, record)
    }

    fn command(&mut self, to: Target, party: Party, wish: Wish, now: Timestamp) -> NewRecord {
        self.last += 1;
        let command = Command {
            id: format!("c{}", self.last).parse().expect("a letter and digits"),
            order: OrderId::new(to.id).expect("it is counted from 1"),
            by: "somebody".into(),
            party,
            wish,
            reason: None,
        };
        let record = record(to, wire::encode_command(&command), now);
        self.sent.push(record.clone());
        record
    }
}

fn submit(log: &dyn EventLog, record: NewRecord) -> String {
    let what = String::from_utf8_lossy(&record.value).into_owned();
    match write(log, record) {
        Ok(()) => what,
        Err(error) => format!("{what}: {error}"),
    }
}

fn record(to: Target, value: Vec<u8>, at: Timestamp) -> NewRecord {
    let key = OrderId::new(to.id).ok().map(wire::key);
    NewRecord { topic: COMMANDS.into(), partition: Some(to.partition), key, value, headers: Vec::new(), at }
}
