//! What a partition's commits say: how far the input is taken, what was answered, and how many orders there are of each kind.

use serde_json::Value;

use super::{Model, life::Order};
use crate::{
    eventlog::{EventLog, Record},
    sim::setup::{COMMANDS, ORDERS, STATES},
};

/// The group whose offsets are judged.
const GROUP: &str = "encargo-fulfilment";

#[derive(Default)]
pub(super) struct Partition {
    /// What was placed, by offset.
    pub(super) input: Vec<Input>,
    /// Up to where it is taken.
    pub(super) committed: Option<u64>,
    /// The newest version of the flow under which an order began.
    version: u32,
    /// Counted from the states' topic.
    accepted: u64,
    finished: u64,
    cancelled: u64,
    dead: u64,
    /// Commands that were told of, or are dead letters.
    answered: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// The first of its number, or the same again.
    Order(u64),
    /// No order, or another one under a number that is taken.
    Poison,
}

impl Partition {
    /// Counts an order by its latest event.
    pub(super) fn count(&mut self, order: &Order, version: u32) -> Result<(), String> {
        if order.is_new() {
            if version < self.version {
                return Err(format!("begins under version {version}, after others began under {}", self.version));
            }
            self.version = version;
            self.accepted += 1;
        }
        self.finished += u64::from(order.is_over && !order.is_cancelled);
        self.cancelled += u64::from(order.is_cancelled);
        Ok(())
    }
}

impl Model {
    /// What became of a command; whatever is told to be done was done in the same commit.
    pub(super) fn answer(&mut self, partition: u32, record: &Record) -> Result<(), String> {
        let value: Value = serde_json::from_slice(&record.value).map_err(|error| error.to_string())?;
        let (command, result) = (value["command"].as_str().unwrap_or_default(), value["result"].as_str());
        self.partitions[partition as usize].answered += 1;
        self.news.push(format!("    command {command} is {}", result.unwrap_or_default()));
        if result == Some("done") && !self.told.insert(command.to_owned()) {
            return Err(format!("command {command} is told to be done twice"));
        }
        let copy = (value["partition"].as_u64(), value["offset"].as_u64());
        if copy.0 != Some(partition.into()) || copy.1.is_none_or(|offset| !self.decided.insert((partition, offset))) {
            return Err(format!(
                "the copy {copy:?} of command {command} is decided twice, or is not of this partition"
            ));
        }
        let id = value["orderid"].as_u64().ok_or("an outcome is about no order")?;
        let (_, is_done) = self.answers.entry(command.to_owned()).or_insert((id, false));
        *is_done |= matches!(result, Some("done" | "repeated"));
        Ok(())
    }

    /// A dead letter: of what is no order, once.
    pub(super) fn die(&mut self, record: &Record) -> Result<(), String> {
        let header = |name: &str| record.headers.text(name)?.parse::<u64>().ok();
        let source = header("dead.partition").zip(header("dead.offset"));
        let (partition, offset) = source.ok_or("a dead letter does not say where it came from")?;
        let partition = partition as u32;
        if record.headers.text("dead.topic") == Some(COMMANDS) {
            self.partitions[partition as usize].answered += 1;
            return Ok(());
        }
        let input = self.partitions.get(partition as usize).and_then(|of| of.input.get(offset as usize));
        if input != Some(&Input::Poison) || !self.dead.insert((partition, offset)) {
            return Err(format!("{ORDERS}/{partition}, offset {offset}: a dead letter of an order, or a second one"));
        }
        self.news.push(format!("    {ORDERS}/{partition} offset {offset} is a dead letter"));
        self.partitions[partition as usize].dead += 1;
        Ok(())
    }

    /// What the group has committed.
    pub(super) fn judge_offsets(&mut self, log: &dyn EventLog) -> Result<(), String> {
        let groups = log.groups().map_err(|error| error.to_string())?;
        for offset in groups.into_iter().filter(|group| group.name == GROUP).flat_map(|group| group.offsets) {
            let (partition, next) = (offset.tp.partition, offset.offset);
            if offset.tp.topic == COMMANDS {
                let answered = self.partitions[partition as usize].answered;
                if answered != next {
                    return Err(format!("{next} commands are taken in {COMMANDS}/{partition}, {answered} answered"));
                }
                continue;
            }
            self.commit(partition, next, &offset.metadata)
                .map_err(|what| format!("{ORDERS}/{partition}, committed up to {next}: {what}"))?;
        }
        Ok(())
    }

    /// How far the input is taken: never back, nothing is passed over, and every order is accounted for.
    fn commit(&mut self, partition: u32, next: u64, metadata: &str) -> Result<(), String> {
        let of = &mut self.partitions[partition as usize];
        let before = of.committed.replace(next).unwrap_or(0);
        if next < before {
            return Err(format!("goes back from {before}"));
        }
        for offset in before..next {
            let is_accounted_for = match of.input.get(offset as usize) {
                Some(Input::Order(id)) => self.orders.contains_key(id),
                Some(Input::Poison) => self.dead.contains(&(partition, offset)),
                None => false,
            };
            if !is_accounted_for {
                return Err(format!("passes over offset {offset}"));
            }
        }
        let word = |name: &str| metadata.split(' ').find_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
        let told = ["a=", "f=", "d=", "c="].map(|name| word(name).unwrap_or(0));
        let counted = [of.accepted + of.dead, of.finished, of.dead, of.cancelled];
        if told != counted {
            return Err(format!("tells of [accepted, finished, dead, cancelled] {told:?}, there are {counted:?}"));
        }
        let is_needed = |order: &&Order| order.partition == partition && !order.is_over;
        let needed = self.orders.values().filter(is_needed).map(|order| order.offset).min();
        if needed.zip(word("w=")).is_some_and(|(needed, watermark)| watermark > needed) {
            return Err(format!("a restore would not see {STATES}/{partition}, offset {needed:?}: {metadata}"));
        }
        Ok(())
    }
}
