//! How everything stands, at a glance: what an operator looks at all day.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;

use super::{Result, ledger::LedgerCounts, orders::OrderCounts};
pub use crate::domain::why::LATE;
use crate::domain::{OrderId, Timestamp};

/// Into how many parts the time in a state is divided.
pub const AGES: usize = 16;
/// Most late orders that are named.
pub const LATE_MAX: usize = 50;
/// How far ahead it is told when orders leave their states.
pub const DUE_AHEAD: Duration = Duration::from_hours(1);
/// How finely.
pub const DUE_TOGETHER: Duration = Duration::from_secs(10);

/// How everything stands, of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// All orders.
    pub counts: OrderCounts,
    /// Those in flight by state, in the order of their places in the flow, then of their names.
    pub in_flight: Vec<InState>,
    /// The latest of the late ones, the worst first; at most [`LATE_MAX`].
    pub late: Vec<LateOrder>,
    /// When the others leave their states, as far as that is within [`DUE_AHEAD`]: by time, then by state.
    pub due: Vec<Due>,
    /// The mails.
    pub mails: LedgerCounts,
    /// Orders with a mail about one of their states that was refused for good.
    pub mail_refused: u64,
    /// Records that are dead and undecided or chosen.
    pub dead_records: u64,
}

/// The orders in flight in one state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InState {
    /// The state.
    pub estado: Box<str>,
    /// Its place in the flow, the least of those orders.
    pub step: u8,
    /// How many there are.
    pub count: u64,
    /// Those that are late.
    pub late: u64,
    /// The others that are to leave it at a known time, by how much of their time in it is over; what is due and not yet late
    /// stands in the last part.
    pub ages: [u64; AGES],
    /// The longest time in it of any order that has one.
    pub dwell: Option<Duration>,
}

/// Orders in flight that leave a state within the same [`DUE_TOGETHER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When that begins.
    pub at: Timestamp,
    /// The state's place in the flow.
    pub step: u8,
    /// How many they are.
    pub count: u64,
}

/// An order that should have left its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateOrder {
    /// Which one.
    pub id: OrderId,
    /// Its state.
    pub estado: Box<str>,
    /// When it should have left it.
    pub due: Timestamp,
}

/// The orders of one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Minute {
    /// When it began.
    pub at: Timestamp,
    /// Orders that were placed in it.
    pub placed: u64,
    /// Orders that went through all their states in it.
    pub finished: u64,
    /// Orders that ended otherwise in it.
    pub cancelled: u64,
}

/// The store at a glance.
#[async_trait]
pub trait Overview: Send + Sync {
    /// How everything stands, of one moment. Looks at every order in flight, so whoever asks again and again should leave pauses
    /// in proportion to the time that it takes.
    async fn snapshot(&self, now: Timestamp) -> Result<Snapshot>;

    /// Orders by the minutes from `from` on, oldest first; minutes without any are absent.
    async fn minutes(&self, from: Timestamp) -> Result<Vec<Minute>>;
}

/// Builds the part about orders in flight.
#[derive(Default)]
pub(super) struct Flights {
    states: Vec<InState>,
    late: Vec<LateOrder>,
    due: BTreeMap<(Timestamp, u8), u64>,
}

impl Flights {
    /// Adds an order that entered its state at a time and is to leave it at another, if that is known.
    pub(super) fn add(
        &mut self,
        id: OrderId,
        (estado, step): (&str, u8),
        (at, due): (Timestamp, Option<Timestamp>),
        now: Timestamp,
    ) {
        let state = self.state(estado, step);
        state.count += 1;
        let Some(due) = due else { return };
        let dwell = due.since(at);
        state.dwell = state.dwell.max(Some(dwell));
        if due + LATE < now {
            state.late += 1;
            self.note_late(LateOrder { id, estado: estado.into(), due });
        } else {
            state.ages[age(now.since(at), dwell)] += 1;
            if due < now + DUE_AHEAD {
                self.note_due(together(due.max(now)), step, 1);
            }
        }
    }

    pub(super) fn note_due(&mut self, at: Timestamp, step: u8, count: u64) {
        *self.due.entry((at, step)).or_default() += count;
    }

    /// Adds what was counted elsewhere.
    pub(super) fn add_counted(&mut self, counted: &InState) {
        let state = self.state(&counted.estado, counted.step);
        state.count += counted.count;
        state.late += counted.late;
        state.dwell = state.dwell.max(counted.dwell);
        for (sum, n) in state.ages.iter_mut().zip(counted.ages) {
            *sum += n;
        }
    }

    pub(super) fn note_late(&mut self, order: LateOrder) {
        let place = self.late.partition_point(|other| (other.due, other.id) < (order.due, order.id));
        if place < LATE_MAX {
            self.late.insert(place, order);
            self.late.truncate(LATE_MAX);
        }
    }

    fn state(&mut self, estado: &str, step: u8) -> &mut InState {
        // a handful of states: a search in a list is faster than a map
        let place = self.states.iter().position(|state| *state.estado == *estado).unwrap_or_else(|| {
            self.states.push(InState { estado: estado.into(), step, ..InState::default() });
            self.states.len() - 1
        });
        let state = &mut self.states[place];
        state.step = state.step.min(step);
        state
    }

    pub(super) fn finish(mut self, snapshot: &mut Snapshot) {
        self.states.sort_by(|a, b| (a.step, &a.estado).cmp(&(b.step, &b.estado)));
        (snapshot.in_flight, snapshot.late) = (self.states, self.late);
        snapshot.due = self.due.into_iter().map(|((at, step), count)| Due { at, step, count }).collect();
    }
}

/// When the [`DUE_TOGETHER`] begins in which a time lies.
fn together(at: Timestamp) -> Timestamp {
    let millis = DUE_TOGETHER.as_millis() as i64;
    Timestamp::from_millis(at.as_millis().div_euclid(millis) * millis)
}

/// The part of its time in the state in which an order is.
pub(super) fn age(age: Duration, dwell: Duration) -> usize {
    let part = age.as_millis() * AGES as u128 / dwell.as_millis().max(1);
    (part as usize).min(AGES - 1)
}

/// How minutes are named where they are counted: texts that sort as the minutes do.
pub(super) fn minute_name(at: Timestamp) -> String {
    format!("{:012}", at.as_millis().max(0) / 60_000)
}

/// What is counted of a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Placed,
    Finished,
    Cancelled,
}

/// Puts counts by their names together, which come in the order of the names.
#[derive(Default)]
pub(super) struct Minutes(Vec<Minute>);

impl Minutes {
    pub(super) fn add(&mut self, counted: Counted, name: &str, n: u64) {
        let Ok(number) = name.parse::<i64>() else { return };
        let at = Timestamp::from_millis(number * 60_000);
        let place = self.0.partition_point(|minute| minute.at < at);
        if self.0.get(place).is_none_or(|minute| minute.at != at) {
            self.0.insert(place, Minute { at, ..Minute::default() });
        }
        let minute = &mut self.0[place];
        *match counted {
            Counted::Placed => &mut minute.placed,
            Counted::Finished => &mut minute.finished,
            Counted::Cancelled => &mut minute.cancelled,
        } += n;
    }

    pub(super) fn finish(self) -> Vec<Minute> {
        self.0
    }
}
