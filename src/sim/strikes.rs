//! What goes wrong, and what strangers do.

use super::{
    customers::{self, now_or_never},
    setup::STATES,
    verdict,
    world::World,
};
use crate::{
    clock::Monotonic,
    domain::wire,
    eventlog::{EventLog, NewRecord, TopicPartition},
};

impl World {
    /// Something goes wrong.
    pub(super) fn strike(&mut self) {
        let (i, k) = (self.rng.usize(0..self.fulfilments.len()), self.rng.usize(0..self.projections.len()));
        let until = self.now() + self.shared.setup.unit.mul_f64(10.0 * self.rng.f64());
        if !self.mailers.is_empty() && self.rng.u32(0..4) == 0 {
            self.strike_mail(until);
            return;
        }
        let struck = match self.rng.u32(0..13) {
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
            10 => self.deploy(i),
            11 => self.intrude().unwrap_or_else(|| "nothing goes wrong".into()),
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

    /// An instance stops, and will start with a file that may say another version.
    fn deploy(&mut self, i: usize) -> String {
        let version = self.rng.u32(1..=self.shared.setup.lines.len() as u32);
        self.shared.setup.files[i] = version;
        self.fulfilments[i].stop();
        format!("{} stops, and its file says version {version}", self.fulfilments[i].name())
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
        let tp = TopicPartition { topic: STATES.to_owned(), partition: from };
        let records = self.shared.log.read(&tp, 0).and_then(|mut reader| reader.next(usize::MAX)).ok()?;
        let from_recent = if self.rng.bool() { records.len().saturating_sub(6) } else { 0 };
        let record = self.rng.choice(&records[from_recent..])?.clone();
        let headers = record.headers.iter().filter(|(name, _)| *name != wire::SEAL).collect();
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
}
