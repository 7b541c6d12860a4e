//! Orders and their history, as projected from the log.

use std::sync::Arc;

use async_trait::async_trait;

use super::Result;
use crate::{
    domain::{DeadLetter, EmailAddress, Order, OrderId, StateEvent, Timestamp, lifecycle::Relation},
    eventlog::TopicPartition,
};

/// A step forward in one input partition: a compare-and-set, so that an instance that lost the partition cannot write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The input partition.
    pub of: TopicPartition,
    /// The offset that the store must hold (0 when it holds none).
    pub from: u64,
    /// The offset that it holds afterwards.
    pub to: u64,
    /// The [`fingerprint`](crate::eventlog::Record::fingerprint) of the record before that.
    pub print: Option<u64>,
}

/// A state event on its way into the store.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The event.
    pub event: StateEvent,
    /// What becomes of it when the store holds another order under the same id; its reason is filled in then.
    pub letter: DeadLetter,
}

/// What is applied in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The projecting group's name.
    pub group: String,
    /// The input offsets.
    pub advances: Vec<Advance>,
    /// Events, each order's in order.
    pub events: Vec<Incoming>,
    /// Dead letters, from the dead-letter topic or found by the projection itself. A source is kept once.
    pub dead: Vec<DeadLetter>,
    /// Whether each new (order, state) gets a row in the mail ledger.
    pub mail: bool,
    /// States that were entered before get none all the same: somebody else mailed them.
    pub mail_since: Option<Timestamp>,
    /// Due time of those rows.
    pub now: Timestamp,
}

impl Batch {
    /// Whether a state gets a row in the mail ledger.
    pub fn mails(&self, event: &StateEvent) -> bool {
        self.mail && !self.is_before_mails(event)
    }

    /// Whether it would get one, had it not been entered too early.
    pub(super) fn is_unmailed(&self, event: &StateEvent) -> bool {
        self.mail && self.is_before_mails(event)
    }

    fn is_before_mails(&self, event: &StateEvent) -> bool {
        self.mail_since.is_some_and(|since| event.at < since)
    }
}

/// What a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Events that moved an order on.
    pub accepted: u64,
    /// Events that came after a later one of their order, and went to their place in its history.
    pub late: u64,
    /// Events that the history holds already: repeats, ignored.
    pub ignored: u64,
    /// Accepted events that came with seq > last + 1: something before them is missing, or late.
    pub gaps: u64,
    /// Events of another order under the same id: dead letters now.
    pub conflicts: u64,
    /// Accepted and late events that get no mail, as they are older than the mails that are wanted.
    pub unmailed: u64,
}

impl Applied {
    /// Counts an event, which got no mail if it came too early for that. Returns whether the history gets it.
    pub(super) fn count(&mut self, relation: Relation, is_unmailed: bool) -> bool {
        let (count, is_new) = match relation {
            Relation::Advanced { missing } => {
                self.gaps += u64::from(missing > 0);
                (&mut self.accepted, true)
            }
            Relation::Late => (&mut self.late, true),
            Relation::Repeat => (&mut self.ignored, false),
            Relation::Conflict => (&mut self.conflicts, false),
        };
        *count += 1;
        self.unmailed += u64::from(is_new && is_unmailed);
        is_new
    }
}

/// An order as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderView {
    /// The order.
    pub order: Order,
    /// Its state.
    pub estado: Box<str>,
    /// The state's place in the flow.
    pub seq: u8,
    /// When it entered the state.
    pub at: Timestamp,
    /// When the next state is due, if one is and the record told.
    pub next_at: Option<Timestamp>,
    /// Whether it has reached the last state.
    pub finished: bool,
}

/// One line of an order's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The state's place in the flow.
    pub seq: u8,
    /// The state.
    pub estado: Box<str>,
    /// When the order entered it.
    pub at: Timestamp,
    /// What became of its mail; `None` when mail was off.
    pub mail: Option<super::ledger::MailStatus>,
}

/// Which orders to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Only orders in this state.
    pub estado: Option<String>,
    /// Only unfinished orders whose next state was due before this time.
    pub overdue_at: Option<Timestamp>,
    /// Only orders for this address, its ASCII letters in either case. There is no index for that: the store looks through
    /// all orders.
    pub usermail: Option<EmailAddress>,
    /// Only orders with a smaller id: the next page.
    pub below: Option<OrderId>,
    /// Most orders to return.
    pub limit: usize,
}

/// How many orders there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderCounts {
    /// All of them.
    pub total: u64,
    /// By state, in no particular order; states without orders are absent.
    pub by_state: Vec<(Box<str>, u64)>,
    /// Those in their last state.
    pub finished: u64,
}

/// The projection's side of the store, and its queries.
#[async_trait]
pub trait Orders: Send + Sync {
    /// The input offsets that the group has applied.
    async fn offsets(&self, group: &str) -> Result<Vec<(TopicPartition, u64)>>;

    /// Applies a batch: offsets, orders, history, ledger rows, dead letters; all or, fenced, nothing. A batch whose
    /// offsets are all reached already was applied before and does nothing: so it may be repeated when nobody knows
    /// whether it was done.
    ///
    /// An order's state is the one with the greatest seq, whatever the order of arrival; an event before that which the
    /// history lacks is filled in, with its mail. That mail goes before later ones that are still to be sent.
    async fn apply(&self, batch: Arc<Batch>) -> Result<Applied>;

    /// An order with its history.
    async fn order(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>>;

    /// Orders, newest first.
    async fn orders(&self, query: Query) -> Result<Vec<OrderView>>;

    /// How many orders there are; cheap, whatever the number.
    async fn order_counts(&self) -> Result<OrderCounts>;
}

/// The order, if it is what was written: a bit that turned over on a disk is neither shown nor mailed.
pub(super) fn unharmed(order: Order, fingerprint: i64) -> Result<Order> {
    if order.fingerprint().cast_signed() == fingerprint {
        return Ok(order);
    }
    Err(super::Error::Fatal(format!(
        "order {} in the store is damaged: its fields are not those that were written; restore the store from a backup",
        order.id
    )))
}

/// Why an event cannot be of the order that is stored under its number: the names of the fields that differ; never
/// their values, for one is an e-mail address.
pub(super) fn conflict(stored: Option<&Order>, other: &Order) -> String {
    let different = stored.map_or_else(String::new, |stored| {
        let fields = [
            ("gameid", stored.product.id != other.product.id),
            ("name", stored.product.name != other.product.name),
            ("price", stored.product.price != other.product.price),
            ("usermail", stored.email != other.email),
        ];
        fields.into_iter().filter_map(|(field, differs)| differs.then_some(field)).collect::<Vec<_>>().join(", ")
    });
    format!("order {} is there already with other content: {different} not the same", other.id)
}
