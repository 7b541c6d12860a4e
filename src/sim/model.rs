//! A stranger's model of what may be committed. It reads records as JSON and offsets as text, shares no code with the services,
//! and objects to the first record or offset that must not be there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    commands::Target,
    setup::{COMMANDS, DEAD, ORDERS, OUTCOMES, STATES},
};
use crate::{
    domain::Timestamp,
    eventlog::{EventLog, Record, TopicPartition},
};

/// The group whose offsets are judged.
const GROUP: &str = "encargo-fulfilment";
const FLOW: [&str; 4] = ["recibido", "preparando", "entregando", "finalizado"];

#[derive(Default)]
pub(super) struct Model {
    dwell: i64,
    partitions: Vec<Partition>,
    /// Where each partition of each topic is read next.
    positions: BTreeMap<(&'static str, u32), u64>,
    /// What was placed first under each number.
    placed: BTreeMap<u64, Content>,
    orders: BTreeMap<u64, Order>,
    /// Orders that became dead letters.
    dead: BTreeSet<(u32, u64)>,
    /// Commands that were done, by what orders show and by what was told.
    done: BTreeSet<String>,
    told: BTreeSet<String>,
    /// State records that others wrote.
    strangers: BTreeSet<(u32, u64)>,
    /// What was committed since this was taken, in words.
    news: Vec<String>,
}

/// What makes an order the same: product, name, price, address.
type Content = Vec<String>;

#[derive(Default)]
struct Partition {
    /// What was placed, by offset.
    input: Vec<Input>,
    /// Up to where it is taken.
    committed: Option<u64>,
    /// Counted from the states' topic.
    accepted: u64,
    finished: u64,
    cancelled: u64,
    dead: u64,
    /// Commands that were told of, or are dead letters.
    answered: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    /// The first of its number, or the same again.
    Order(u64),
    /// No order, or another one under a number that is taken.
    Poison,
}

struct Order {
    partition: u32,
    events: u64,
    /// How many states of the line it has entered.
    states: usize,
    /// When its time is over; nothing when it is held.
    due: Option<i64>,
    is_over: bool,
    /// Where its latest event stands.
    offset: u64,
}

impl Model {
    pub(super) fn new(partitions: u32, dwell: std::time::Duration) -> Self {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        Self { dwell: dwell.as_millis() as i64, partitions, ..Self::default() }
    }

    /// Reads what is new. `now` is the wall time, where events of the future are judged.
    pub(super) fn observe(&mut self, log: &dyn EventLog, now: Option<Timestamp>) -> Result<(), String> {
        for partition in 0..self.partitions.len() as u32 {
            for record in self.read(log, ORDERS, partition)? {
                self.place(partition, &record);
            }
            for record in self.read(log, STATES, partition)? {
                if !self.strangers.contains(&(partition, record.offset)) {
                    self.enter(partition, &record, now)
                        .map_err(|what| format!("{STATES}/{partition}, offset {}: {what}", record.offset))?;
                }
            }
        }
        for partition in 0..self.partitions.len() as u32 {
            for record in self.read(log, OUTCOMES, partition)? {
                self.answer(partition, &record)?;
            }
        }
        if self.told != self.done {
            let differ = self.told.symmetric_difference(&self.done).collect::<Vec<_>>();
            return Err(format!("commands that were done and not told, or told and not done: {differ:?}"));
        }
        for record in self.read(log, DEAD, 0)? {
            self.die(&record)?;
        }
        let groups = log.groups().map_err(|error| error.to_string())?;
        for offset in groups.into_iter().filter(|group| group.name == GROUP).flat_map(|group| group.offsets) {
            let (partition, next) = (offset.of.partition, offset.offset);
            if offset.of.topic == COMMANDS {
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

    fn read(&mut self, log: &dyn EventLog, topic: &'static str, partition: u32) -> Result<Vec<Record>, String> {
        let position = self.positions.entry((topic, partition)).or_default();
        let of = TopicPartition { topic: topic.to_owned(), partition };
        let read = || log.read(&of, *position)?.next(usize::MAX);
        let records = read().map_err(|error| error.to_string())?;
        *position = records.last().map_or(*position, |last| last.offset + 1);
        Ok(records)
    }

    fn place(&mut self, partition: u32, record: &Record) {
        let order = content(record)
            .map(|(id, content)| (id, self.placed.entry(id).or_insert_with(|| content.clone()) == &content));
        let input = match order {
            Some((id, true)) => Input::Order(id),
            _ => Input::Poison,
        };
        self.partitions[partition as usize].input.push(input);
    }

    /// A state: of an order that was placed, the next one, once, on the order's partition, never early.
    fn enter(&mut self, partition: u32, record: &Record, now: Option<Timestamp>) -> Result<(), String> {
        let (id, content) = content(record).ok_or("is no state")?;
        if self.placed.get(&id) != Some(&content) {
            return Err(format!("order {id} was never placed like that"));
        }
        let value: Value = serde_json::from_slice(&record.value).map_err(|error| error.to_string())?;
        let text = |name: &str| value[name].as_str();
        let time = |name: &str| Some(text(name)?.parse::<Timestamp>().ok()?.as_millis());
        let estado = text("estado").ok_or("has no state")?;
        let at = time("at").ok_or("has no time")?;
        let new = Order { partition, events: 0, states: 0, due: None, is_over: false, offset: 0 };
        let order = self.orders.entry(id).or_insert(new);
        let said = || format!("order {id}, {estado} by {:?}", text("command"));
        if order.partition != partition || order.is_over || value["seq"].as_u64() != Some(order.events + 1) {
            return Err(format!("{}: ended or elsewhere, or not number {}", said(), order.events + 1));
        }
        if now.is_some_and(|now| at > now.as_millis()) {
            return Err(format!("{}: in the future, at {at}", said()));
        }
        if let Some(command) = text("command")
            && !self.done.insert(command.to_owned())
        {
            return Err(format!("{}: twice", said()));
        }
        let counters = &mut self.partitions[partition as usize];
        match (text("change"), text("command").is_some()) {
            (Some("held" | "resumed" | "delayed" | "readdressed"), true) => {
                if order.states.checked_sub(1).map(|place| FLOW[place]) != Some(estado) {
                    return Err(format!("{}: is in another state", said()));
                }
                order.due = time("next_at");
            }
            (None, true) if estado == "cancelado" => {
                order.is_over = true;
                counters.cancelled += 1;
            }
            (None, false) if FLOW.get(order.states) == Some(&estado) => {
                if order.states > 0 && order.due.is_none_or(|due| at < due) {
                    return Err(format!("{}: early, at {at}, {:?}", said(), order.due));
                }
                order.states += 1;
                order.is_over = order.states == FLOW.len();
                order.due = (!order.is_over).then_some(at + self.dwell);
                if order.due != time("next_at") {
                    return Err(format!("{}: promises {:?}, not {:?}", said(), time("next_at"), order.due));
                }
                counters.accepted += u64::from(order.states == 1);
                counters.finished += u64::from(order.is_over);
            }
            _ => return Err(format!("{}: {:?} is next", said(), FLOW.get(order.states))),
        }
        order.events += 1;
        order.offset = record.offset;
        let what = text("change").unwrap_or("enters");
        self.news.push(format!("    order {id} {what} {estado}, {STATES}/{partition} offset {}", record.offset));
        Ok(())
    }

    /// What became of a command; whatever is told to be done was done in the same commit.
    fn answer(&mut self, partition: u32, record: &Record) -> Result<(), String> {
        let value: Value = serde_json::from_slice(&record.value).map_err(|error| error.to_string())?;
        let (command, result) = (value["command"].as_str().unwrap_or_default(), value["result"].as_str());
        self.partitions[partition as usize].answered += 1;
        self.news.push(format!("    command {command} is {}", result.unwrap_or_default()));
        if result == Some("done") && !self.told.insert(command.to_owned()) {
            return Err(format!("command {command} is told to be done twice"));
        }
        Ok(())
    }

    /// A dead letter: of what is no order, once.
    fn die(&mut self, record: &Record) -> Result<(), String> {
        let header = |name: &str| {
            let (_, value) = record.headers.iter().find(|(other, _)| other == name)?;
            std::str::from_utf8(value).ok()?.parse::<u64>().ok()
        };
        let source = header("dead.partition").zip(header("dead.offset"));
        let (partition, offset) = source.ok_or("a dead letter does not say where it came from")?;
        let partition = partition as u32;
        let is_command =
            record.headers.iter().any(|(name, value)| name == "dead.topic" && value == COMMANDS.as_bytes());
        if is_command {
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

    /// What was committed since the last time, in words.
    pub(super) fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// Others write this record of states next: it is a copy of one that is there.
    pub(super) fn stranger(&mut self, partition: u32, offset: u64) {
        self.strangers.insert((partition, offset));
    }

    pub(super) fn is_stranger(&self, position: (u32, u64)) -> bool {
        self.strangers.contains(&position)
    }

    /// Orders in flight; those that may end by their timer next come twice.
    pub(super) fn targets(&self) -> Vec<Target> {
        let live = self.orders.iter().filter(|(_, order)| !order.is_over);
        let times = |order: &Order| if order.states + 1 == FLOW.len() { 2 } else { 1 };
        live.flat_map(|(id, order)| vec![Target { id: *id, partition: order.partition }; times(order)]).collect()
    }

    /// Orders that wait for somebody to let them go on.
    pub(super) fn held(&self) -> Vec<Target> {
        let held = self.orders.iter().filter(|(_, order)| !order.is_over && order.due.is_none());
        held.map(|(id, order)| Target { id: *id, partition: order.partition }).collect()
    }

    /// Partitions in which something was committed.
    pub(super) fn begun(&self) -> Vec<u32> {
        (0..).zip(&self.partitions).filter(|(_, of)| of.committed.is_some()).map(|(partition, _)| partition).collect()
    }

    /// Where a topic's partition ends for a reader.
    pub(super) fn end(&self, topic: &'static str, partition: u32) -> u64 {
        self.positions.get(&(topic, partition)).copied().unwrap_or_default()
    }

    /// What is still to be done, if something is.
    pub(super) fn unfinished(&self) -> Option<String> {
        for (partition, of) in self.partitions.iter().enumerate() {
            let (end, committed) = (of.input.len() as u64, of.committed.unwrap_or(0));
            if committed < end {
                return Some(format!("{ORDERS}/{partition} is taken up to {committed} of {end}"));
            }
        }
        let (id, order) = self.orders.iter().find(|(_, order)| !order.is_over)?;
        Some(format!("order {id} stays in {}", FLOW[order.states - 1]))
    }
}

fn content(record: &Record) -> Option<(u64, Content)> {
    let value: Value = serde_json::from_slice(&record.value).ok()?;
    let usermail = if value["placed_usermail"].is_string() { "placed_usermail" } else { "usermail" };
    let fields = ["gameid", "name", "price", usermail];
    let content = fields.iter().map(|name| value[*name].as_str().map(str::to_owned)).collect::<Option<_>>()?;
    Some((value["orderid"].as_u64()?, content))
}
