//! Orders and their history, as projected from the log.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    Result,
    ledger::{Leasing, Mail, MailId},
};
use crate::{
    domain::{
        Change, Closing, CommandId, CommandOutcome, DeadLetter, EmailAddress, Exits, Misfit, Order, OrderId, Source,
        StateEvent, Timestamp, Waits, command::OrderStatus, flood::Flood, lifecycle::Relation, why::Facts, wire,
    },
    eventlog::TopicPartition,
};

/// A step forward in one input partition: a compare-and-set, so that an instance that lost the partition cannot write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The input partition.
    pub tp: TopicPartition,
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
    /// The partition of the order's input, where commands find the order; `None` when the record does not tell.
    pub partition: Option<u32>,
    /// What becomes of it when the store holds another order under the same id; its reason is filled in then.
    pub letter: DeadLetter,
}

impl Incoming {
    /// The offset of its record, if that lies on the partition of the order.
    pub(super) fn offset(&self) -> Option<u64> {
        self.partition.map(|_| self.letter.source.offset)
    }
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
    /// What became of commands. Of one command, the first outcome that it was done or repeated stays, and any other is
    /// replaced by what comes later.
    pub outcomes: Vec<CommandOutcome>,
    /// Whether each new event about which there is a mail gets a row in the mail ledger.
    pub mail: bool,
    /// States that were entered before get none all the same: somebody else mailed them.
    pub mail_since: Option<Timestamp>,
    /// Due time of those rows.
    pub now: Timestamp,
    /// Mails to be leased once it is applied, for the mailer of the same process.
    pub lease: Option<Leasing>,
    /// Bounds the dead letters of events that contradict what is stored.
    pub floods: Floods,
    /// The time for these, which only goes forward.
    pub monotonic: Duration,
}

/// What bounds the dead letters of each partition that is read.
pub type Floods = BTreeMap<TopicPartition, Flood>;

impl Batch {
    /// Whether an event gets a row in the mail ledger.
    pub fn mails(&self, event: &StateEvent) -> bool {
        self.mail && event.mail.is_some() && !self.is_before_mails(event)
    }

    /// Whether it would get one, had it not been entered too early.
    pub(super) fn is_unmailed(&self, event: &StateEvent) -> bool {
        self.mail && event.mail.is_some() && self.is_before_mails(event)
    }

    /// What is kept of the letters of its conflicts, and the bounds as they are once that is stored. A batch that is applied again,
    /// since it was not, has the same.
    pub(super) fn bound(&self, mut conflicts: Vec<DeadLetter>) -> (Vec<DeadLetter>, Floods) {
        let (mut floods, mut kept) = (self.floods.clone(), Vec::new());
        conflicts.sort_by(|one, other| one.source.cmp(&other.source)); // runs rise
        let contradiction = Misfit::conflict(String::new()); // one run for all of them
        for letter in conflicts {
            let Source { topic, partition, offset } = letter.source.clone();
            let flood = floods.entry(TopicPartition { topic, partition }).or_default();
            if flood.keeps_whole(self.monotonic) {
                kept.push(letter);
            } else {
                flood.add(&contradiction, offset, || letter);
            }
        }
        kept.extend(floods.values_mut().flat_map(Flood::letters));
        (kept, floods)
    }

    fn is_before_mails(&self, event: &StateEvent) -> bool {
        self.mail_since.is_some_and(|since| event.at < since)
    }
}

/// What a batch did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Mails that were leased with it.
    pub leased: Vec<Mail>,
    /// What bounds the next batch's dead letters; nothing after one that was applied before.
    pub floods: Floods,
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

/// What is kept of an order beside what was placed and its history. Its events may change it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Details {
    pub(super) partition: Option<u32>,
    pub(super) flow: Option<Box<str>>,
    pub(super) address: Option<EmailAddress>,
    /// The event that ended it as cancelled or refused: mails about earlier ones are not sent any more.
    pub(super) mails_from: Option<u8>,
}

impl Details {
    /// Whether a mail is not sent any more.
    pub(super) fn drops(&self, mail: MailId) -> bool {
        mail.is_dropped(self.mails_from)
    }

    /// What they are once an event was taken; `None` when they stay the same, as they nearly always do.
    pub(super) fn after(&self, relation: Relation, incoming: &Incoming) -> Option<Self> {
        let event = &incoming.event;
        let is_latest = matches!(relation, Relation::Advanced { .. });
        let partition = incoming.partition.filter(|_| is_latest || self.partition.is_none()).or(self.partition);
        let flow = event.flow.as_deref().or(self.flow.as_deref());
        let address = if is_latest { event.address.as_ref() } else { self.address.as_ref() };
        let is_end = matches!(event.closes(), Some(Closing::Cancelled | Closing::Refused));
        let mails_from = is_end.then_some(event.seq).max(self.mails_from);
        if partition == self.partition
            && flow == self.flow.as_deref()
            && address == self.address.as_ref()
            && mails_from == self.mails_from
        {
            return None;
        }
        Some(Self { partition, flow: flow.map(Into::into), address: address.cloned(), mails_from })
    }
}

/// An order as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderView {
    /// The order as it was placed.
    pub order: Order,
    /// The partition of its input, where commands find it; `None` when no record told.
    pub partition: Option<u32>,
    /// The address to which its mails go, once that was corrected.
    pub address: Option<EmailAddress>,
    /// The flow that it began with, `name@version`, if a record told.
    pub flow: Option<Box<str>>,
    /// The state's place in the flow.
    pub step: u8,
    /// Its state.
    pub estado: Box<str>,
    /// Number of its latest event.
    pub seq: u8,
    /// When that happened.
    pub at: Timestamp,
    /// What it waits for.
    pub waits: Waits,
    /// How else its state can be left.
    pub exits: Exits,
}

impl OrderView {
    /// When the next state is due, if one is and the record told.
    pub const fn next_at(&self) -> Option<Timestamp> {
        self.waits.next_at()
    }

    /// How its life ended, if it did.
    pub const fn closes(&self) -> Option<Closing> {
        self.waits.closes()
    }

    /// Where mails about it go.
    pub fn recipient(&self) -> &EmailAddress {
        self.address.as_ref().unwrap_or(&self.order.email)
    }

    /// Who made it what it is, when, and why. A corrected address explains nothing.
    pub fn facts<'a>(&self, history: &'a [HistoryEntry]) -> Facts<'a> {
        let last = history.iter().rev().find(|entry| entry.change != Change::Readdressed);
        Facts {
            at: last.map_or(self.at, |entry| entry.at),
            waits: self.waits,
            exits: self.exits,
            by: last.and_then(|entry| entry.by.as_deref()),
            reason: last.and_then(|entry| entry.reason.as_deref()),
        }
    }

    /// Where it stands, as far as that matters for what may be done to it.
    pub fn status(&self) -> OrderStatus {
        OrderStatus { estado: self.estado.clone(), seq: self.seq, waits: self.waits, exits: self.exits }
    }
}

/// One line of an order's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The event's number.
    pub seq: u8,
    /// The state.
    pub estado: Box<str>,
    /// What happened.
    pub change: Change,
    /// When.
    pub at: Timestamp,
    /// When what followed was due, if a timer was to bring it.
    pub due: Option<Timestamp>,
    /// The offset of its record on the partition of the order, if it lies there and the version that projected it kept that.
    pub offset: Option<u64>,
    /// Who sent the command that caused it, if one did.
    pub by: Option<Box<str>>,
    /// That command's id.
    pub command: Option<Box<str>>,
    /// The words that were given for it.
    pub reason: Option<Box<str>>,
    /// What became of its mail; `None` when there is none.
    pub mail: Option<super::ledger::MailStatus>,
}

/// Which orders to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Only orders in this state.
    pub estado: Option<String>,
    /// Only orders in flight that should have left their state before this time: their timer is late, or somebody who was
    /// expected to move them on did not.
    pub overdue_at: Option<Timestamp>,
    /// Only orders whose latest event happened before this time.
    pub entered_before: Option<Timestamp>,
    /// Only orders placed with this address or corrected to it, its ASCII letters in either case. There is no index for
    /// that: the store looks through all orders.
    pub usermail: Option<EmailAddress>,
    /// Only orders of the product with this id, or with this text in its name, ASCII letters in either case. There is no index
    /// for that either.
    pub product: Option<String>,
    /// Only orders with a mail about one of their states that was refused for good.
    pub mail_refused: bool,
    /// Only orders with a smaller id: the next page.
    pub below: Option<OrderId>,
    /// Most orders to return.
    pub limit: usize,
}

impl Query {
    /// How late a state may be before its order counts as stuck: far beyond any lateness of a healthy server.
    pub const STUCK_AFTER: Duration = Duration::from_secs(5);

    /// Orders that should have left their state some time ago, by their timer or because somebody said so.
    pub fn stuck(now: Timestamp) -> Self {
        Self { overdue_at: Some(now - Self::STUCK_AFTER), ..Self::default() }
    }
}

/// How many orders there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderCounts {
    /// All of them.
    pub total: u64,
    /// By state, in no particular order; states without orders are absent.
    pub by_state: Vec<(Box<str>, u64)>,
    /// Those that went through all their states.
    pub finished: u64,
    /// Those that ended otherwise: cancelled, or refused.
    pub cancelled: u64,
}

impl OrderCounts {
    /// Adds orders in a state whose lives ended like this, or have not ended. A state can be the last for some orders and not
    /// for others.
    pub(super) fn add(&mut self, state: &str, closing: Option<Closing>, n: u64) {
        self.total += n;
        match closing {
            None => {}
            Some(Closing::Finished) => self.finished += n,
            Some(Closing::Cancelled | Closing::Refused) => self.cancelled += n,
        }
        match self.by_state.iter_mut().find(|(other, _)| **other == *state) {
            Some((_, count)) => *count += n,
            None => self.by_state.push((state.into(), n)),
        }
    }
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
    ///
    /// Once an order is cancelled or refused, mails about what was before that are dropped: those that wait in the same
    /// transaction, those of events that come later at once, and those that are being sent when their attempt fails.
    ///
    /// With [`Batch::lease`], the same transaction then leases mails that are due at [`Batch::now`], as
    /// [`Ledger::lease`](super::Ledger::lease) does: nothing more is due when there are fewer than it may take. A batch that was
    /// applied before leases none.
    async fn apply(&self, batch: Arc<Batch>) -> Result<Applied>;

    /// An order with its history.
    async fn order(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>>;

    /// Orders, newest first.
    async fn orders(&self, query: Query) -> Result<Vec<OrderView>>;

    /// How many orders there are; cheap, whatever the number.
    async fn order_counts(&self) -> Result<OrderCounts>;

    /// What became of a command; `None` when that is not known yet, or no more.
    async fn outcome(&self, command: &CommandId) -> Result<Option<CommandOutcome>>;
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

/// The dead letter of an event that cannot be of the order which is stored under its number. It names the fields that differ; never
/// their values, for one is an e-mail address.
pub(super) fn conflict(letter: &DeadLetter, stored: Option<&Order>, other: &Order) -> DeadLetter {
    let different = stored.map_or_else(String::new, |stored| {
        let fields = [
            ("gameid", stored.product.id != other.product.id),
            ("name", stored.product.name != other.product.name),
            ("price", stored.product.price != other.product.price),
            ("usermail", stored.email != other.email),
        ];
        fields.into_iter().filter_map(|(field, differs)| differs.then_some(field)).collect::<Vec<_>>().join(", ")
    });
    let reason = format!("order {} is there already with other content: {different} not the same", other.id);
    let mut letter = letter.clone();
    wire::note_misfit(&mut letter, "state", &Misfit::conflict(reason));
    letter
}
