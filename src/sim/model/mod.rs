//! A stranger's model of what may be committed. It reads records as JSON and offsets as text, shares no code with the services,
//! and objects to the first record or offset that must not be there.

mod commits;
mod life;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::{
    commits::{Input, Partition},
    life::{Event, Order},
};
use super::{
    commands::Target,
    line::Line,
    setup::{COMMANDS, DEAD, ORDERS, OUTCOMES, STATES},
};
use crate::{
    domain::Timestamp,
    eventlog::{EventLog, Record, TopicPartition},
};

#[derive(Default)]
pub(super) struct Model {
    /// The versions of the flow, as events name them.
    lines: BTreeMap<String, Line>,
    partitions: Vec<Partition>,
    /// Where each partition of each topic is read next.
    positions: BTreeMap<(&'static str, u32), u64>,
    /// What was placed first under each number.
    placed: BTreeMap<u64, Content>,
    orders: BTreeMap<u64, Order>,
    /// Orders that became dead letters.
    dead: BTreeSet<(u32, u64)>,
    /// What was wanted, by the command's id.
    commands: BTreeMap<String, Value>,
    /// Commands that were done, by what orders show and by what was told.
    done: BTreeSet<String>,
    told: BTreeSet<String>,
    /// Copies of commands that were decided, by partition and offset.
    decided: BTreeSet<(u32, u64)>,
    /// What was told of each command: its order, and whether it was done.
    answers: BTreeMap<String, (u64, bool)>,
    /// State records that others wrote.
    strangers: BTreeSet<(u32, u64)>,
    /// What was committed since this was taken, in words.
    news: Vec<String>,
}

/// What makes an order the same: product, name, price, address.
type Content = Vec<String>;

impl Model {
    pub(super) fn new(partitions: u32, lines: &[Line]) -> Self {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        let lines = lines.iter().map(|line| (line.id(), line.clone())).collect();
        Self { lines, partitions, ..Self::default() }
    }

    /// Reads what is new. `now` is the wall time, where events of the future are judged.
    pub(super) fn observe(&mut self, log: &dyn EventLog, now: Option<Timestamp>) -> Result<(), String> {
        for partition in 0..self.partitions.len() as u32 {
            for record in self.read(log, ORDERS, partition)? {
                self.place(partition, &record);
            }
            for record in self.read(log, COMMANDS, partition)? {
                self.want(&record);
            }
            for record in self.read(log, STATES, partition)? {
                if !self.strangers.contains(&(partition, record.offset)) {
                    self.happen(partition, &record, now)
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
        self.judge_offsets(log)
    }

    fn read(&mut self, log: &dyn EventLog, topic: &'static str, partition: u32) -> Result<Vec<Record>, String> {
        let position = self.positions.entry((topic, partition)).or_default();
        let tp = TopicPartition { topic: topic.to_owned(), partition };
        let read = || log.read(&tp, *position)?.next(usize::MAX);
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

    fn want(&mut self, record: &Record) {
        let Ok(value) = serde_json::from_slice::<Value>(&record.value) else { return };
        if let Some(id) = value["command"].as_str() {
            self.commands.entry(id.to_owned()).or_insert(value);
        }
    }

    /// A state: of an order that was placed, the next one, once, on the order's partition, and under the version of the flow
    /// that it began with. That is no older one than those that began in the partition before it.
    fn happen(&mut self, partition: u32, record: &Record, now: Option<Timestamp>) -> Result<(), String> {
        let (id, content) = content(record).ok_or("is no state")?;
        if self.placed.get(&id) != Some(&content) {
            return Err(format!("order {id} was never placed like that"));
        }
        let value: Value = serde_json::from_slice(&record.value).map_err(|error| error.to_string())?;
        let event = Event(&value);
        let (estado, change) = (event.text("estado").unwrap_or_default(), event.text("change").unwrap_or("enters"));
        let objection = |what: String| format!("order {id} {change} {estado} by {:?}: {what}", event.text("command"));
        let flow = event.text("flow").unwrap_or_default();
        let line = self.lines.get(flow).ok_or_else(|| objection(format!("there is no flow {flow:?}")))?;
        let command = event.text("command").map(|id| self.commands.get(id).ok_or("nobody wanted it")).transpose()?;
        if command.is_some_and(|command| command["orderid"].as_u64() != Some(id)) {
            return Err(objection("it was about another order".into()));
        }
        let order = self.orders.entry(id).or_insert_with(|| Order::new(partition, flow));
        if order.partition != partition {
            return Err(objection(format!("its partition is {}", order.partition)));
        }
        if now.is_some_and(|now| event.time("at") > Some(now.as_millis())) {
            return Err(objection("is in the future".into()));
        }
        order.take(line, event, command).map_err(objection)?;
        order.offset = record.offset;
        if let Some(command) = event.text("command")
            && !self.done.insert(command.to_owned())
        {
            return Err(objection("twice".into()));
        }
        self.partitions[partition as usize].count(order, line.version).map_err(objection)?;
        self.news.push(format!("    order {id} {change} {estado}, {STATES}/{partition} offset {}", record.offset));
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
        let times = |order: &Order| if self.last_timer(order).is_some() { 2 } else { 1 };
        let live = self.orders.iter().filter(|(_, order)| !order.is_over);
        live.flat_map(|(id, order)| vec![target(*id, order); times(order)]).collect()
    }

    /// Orders whose life ends by a timer next, and when.
    pub(super) fn last_timers(&self) -> impl Iterator<Item = (Target, Timestamp)> {
        self.orders
            .iter()
            .filter_map(|(id, order)| Some((target(*id, order), Timestamp::from_millis(self.last_timer(order)?))))
    }

    fn last_timer(&self, order: &Order) -> Option<i64> {
        let line = &self.lines[&order.flow];
        (order.places + 1 == line.states.len()).then_some(order.due).flatten()
    }

    /// Orders that nothing but a command lets go on, and whether they are held.
    pub(super) fn waiting(&self) -> Vec<(Target, bool)> {
        let waiting = self.orders.iter().filter(|(_, order)| !order.is_over && order.due.is_none());
        waiting.map(|(id, order)| (target(*id, order), order.is_held)).collect()
    }

    /// The version of the flow under which an order began.
    pub(super) fn flow_of(&self, id: u64) -> Option<&str> {
        self.orders.get(&id).map(|order| &*order.flow)
    }

    /// What was told of commands: the command, its order, and whether it was done.
    pub(super) fn answers(&self) -> impl Iterator<Item = (&str, u64, bool)> {
        self.answers.iter().map(|(command, (id, is_done))| (&**command, *id, *is_done))
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
        Some(format!("order {id} stays in {}", self.lines[&order.flow].states[order.places - 1].0))
    }
}

const fn target(id: u64, order: &Order) -> Target {
    Target { id, partition: order.partition }
}

fn content(record: &Record) -> Option<(u64, Content)> {
    let value: Value = serde_json::from_slice(&record.value).ok()?;
    let usermail = if value["placed_usermail"].is_string() { "placed_usermail" } else { "usermail" };
    let fields = ["gameid", "name", "price", usermail];
    let content = fields.iter().map(|name| value[*name].as_str().map(str::to_owned)).collect::<Option<_>>()?;
    Some((value["orderid"].as_u64()?, content))
}
