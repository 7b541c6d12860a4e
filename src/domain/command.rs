//! What somebody wants of an order, and what became of that.

use super::{Closing, EmailAddress, Exits, Invalid, OrderId, Timestamp, Waits, flow::Party};

/// What somebody wants of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Unique for ever: the same command that comes again changes nothing.
    pub id: CommandId,
    /// Of which order.
    pub order: OrderId,
    /// Who sent it, as its events tell.
    pub by: Box<str>,
    /// In whose right.
    pub party: Party,
    /// What is to happen.
    pub action: Action,
    /// Why, in the sender's words.
    pub reason: Option<Box<str>>,
}

/// The name of a command: 1 to 64 letters, digits, `-`, `_`, `.` and `:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(Box<str>);

/// What is to happen to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It ends, cancelled.
    Cancel,
    /// It goes to its next state, or ends as refused.
    Advance(Onward),
    /// Its time stops.
    Hold,
    /// Its time goes on.
    Resume,
    /// Its time is over then, not before and not after.
    Delay(Timestamp),
    /// It goes to another address from now on.
    Readdress(EmailAddress),
}

/// Where an order is moved on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onward {
    /// The next state of the line.
    Next,
    /// The end beside it for orders that are not taken.
    Refused,
}

/// The kind of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// [`Action::Cancel`].
    Cancel,
    /// [`Action::Advance`] to the next state.
    Advance,
    /// [`Action::Advance`] to the end for refused orders.
    Refuse,
    /// [`Action::Hold`].
    Hold,
    /// [`Action::Resume`].
    Resume,
    /// [`Action::Delay`].
    Delay,
    /// [`Action::Readdress`].
    Address,
}

/// Why a command changes nothing. Each says what would be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its life is over.
    #[error("the order is {} already", .0.name())]
    Closed(Closing),
    /// Not in this state, not in this right.
    #[error("the order can no longer be cancelled by the customer; the shop can")]
    TooLate,
    /// Only the shop may do that.
    #[error("customers can only cancel; the shop can do that")]
    NotYours,
    /// The state ends by time alone.
    #[error("the order leaves its state when its time is over, and by no command; delay moves that time")]
    OnlyByTimer,
    /// The flow has no such end.
    #[error("the order's flow has no end for refused orders; it can be cancelled")]
    NoSuchEnd,
    /// It is held.
    #[error("the order is held; resume it first")]
    Held,
    /// It is not held.
    #[error("the order is not held")]
    NotHeld,
    /// It waits for somebody, not for a time.
    #[error("the order waits for a command and not for a time; advance it")]
    NoTimer,
    /// The time is not in the future, or too far in it.
    #[error("the new time must be after now, and at most ten years from now")]
    Time,
    /// It has that address.
    #[error("the order has that address")]
    SameAddress,
    /// There is no number left for another event.
    #[error("the order was changed too often; it can only go on or be cancelled")]
    TooMany,
}

/// One copy of a command, by its place in `encargo_commands`: a client without an answer sends the command again, and each
/// copy is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandCopy {
    /// Partition of the topic.
    pub partition: u32,
    /// Offset in it.
    pub offset: u64,
}

/// What became of a command. It explains itself, as an event does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// Which one.
    pub command: CommandId,
    /// Of which order.
    pub order: OrderId,
    /// Which copy of it was decided; `None` in outcomes of before.
    pub copy: Option<CommandCopy>,
    /// What became of it.
    pub verdict: Verdict,
    /// Where the order stands now; `None` when it is not in flight, and what became of it is not remembered.
    pub status: Option<OrderStatus>,
    /// When that was decided.
    pub at: Timestamp,
}

/// What became of a command, in a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It happened: the order's event with the command's id tells.
    Done,
    /// It had happened before, and nothing more did.
    Repeated,
    /// It changes nothing.
    Refused {
        /// [`Refusal::code`].
        code: Box<str>,
        /// In words, with what would be allowed.
        detail: Box<str>,
    },
    /// No such order is in flight in the partition to which it was sent.
    Unknown,
}

/// Where an order stands, as far as that matters for what may be done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderStatus {
    /// The state's name.
    pub estado: Box<str>,
    /// Number of its latest event.
    pub seq: u8,
    /// What it waits for.
    pub waits: Waits,
    /// How else its state can be left.
    pub exits: Exits,
}

impl CommandId {
    /// Longest one, in bytes.
    pub const MAX: usize = 64;

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What an order remembers of it.
    pub fn fingerprint(&self) -> u64 {
        super::fingerprint(&[self.0.as_bytes()])
    }
}

impl CommandOutcome {
    /// Whether this is the last word on a command of which that copy was sent. What is done stays done. A refusal is final for
    /// the copies up to the one that was refused: one behind it is still to be decided, and may do what was refused before.
    pub fn settles(&self, sent: CommandCopy) -> bool {
        match self.verdict {
            Verdict::Done | Verdict::Repeated => true,
            Verdict::Refused { .. } | Verdict::Unknown => {
                self.copy.is_none_or(|decided| decided.partition == sent.partition && decided.offset >= sent.offset)
            }
        }
    }
}

impl std::fmt::Display for CommandCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

impl std::str::FromStr for CommandCopy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let read = |text: &str| {
            let (partition, offset) = text.split_once('-')?;
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        };
        read(text).ok_or(Invalid::because("must be PARTITION-OFFSET, as in the answer's Location"))
    }
}

impl std::str::FromStr for CommandId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
        if plain && (1..=Self::MAX).contains(&text.len()) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::of("id", "must have 1 to 64 letters, digits, '-', '_', '.' and ':'"))
    }
}

impl std::fmt::Display for CommandId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Action {
    /// Its kind.
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Cancel => Verb::Cancel,
            Self::Advance(Onward::Next) => Verb::Advance,
            Self::Advance(Onward::Refused) => Verb::Refuse,
            Self::Hold => Verb::Hold,
            Self::Resume => Verb::Resume,
            Self::Delay(_) => Verb::Delay,
            Self::Readdress(_) => Verb::Address,
        }
    }
}

impl Verb {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Cancel, Self::Advance, Self::Refuse, Self::Hold, Self::Resume, Self::Delay, Self::Address];

    /// Its name on the wire and in addresses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Advance => "advance",
            Self::Refuse => "refuse",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Delay => "delay",
            Self::Address => "address",
        }
    }

    /// What it asks for; two of them need to be told more: until when, or which address.
    pub fn action<E>(
        self,
        until: impl FnOnce() -> Result<Timestamp, E>,
        address: impl FnOnce() -> Result<EmailAddress, E>,
    ) -> Result<Action, E> {
        Ok(match self {
            Self::Cancel => Action::Cancel,
            Self::Advance => Action::Advance(Onward::Next),
            Self::Refuse => Action::Advance(Onward::Refused),
            Self::Hold => Action::Hold,
            Self::Resume => Action::Resume,
            Self::Delay => Action::Delay(until()?),
            Self::Address => Action::Readdress(address()?),
        })
    }

    /// The one with that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }
}

impl Refusal {
    /// Its name for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Closed(_) => "closed",
            Self::TooLate => "too-late",
            Self::NotYours => "not-yours",
            Self::OnlyByTimer => "only-by-timer",
            Self::NoSuchEnd => "no-such-end",
            Self::Held => "held",
            Self::NotHeld => "not-held",
            Self::NoTimer => "no-timer",
            Self::Time => "time",
            Self::SameAddress => "same-address",
            Self::TooMany => "too-many",
        }
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code().into(), detail: refusal.to_string().into() }
    }
}

impl Verdict {
    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Repeated => "repeated",
            Self::Refused { .. } => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl OrderStatus {
    /// What somebody may do to the order now.
    pub fn allowed(&self, party: Party) -> impl Iterator<Item = Verb> + use<> {
        let Self { waits, exits, .. } = *self;
        Verb::ALL.into_iter().filter(move |verb| allows(waits, exits, party, *verb))
    }
}

/// Whether somebody may do that to an order which stands like this. Times and addresses may still be refused, and so may
/// everything once it was changed too often.
pub fn allows(waits: Waits, exits: Exits, party: Party, verb: Verb) -> bool {
    if matches!(waits, Waits::Closed(_)) {
        return false;
    }
    let is_held = matches!(waits, Waits::Held(_));
    match verb {
        Verb::Cancel => exits.cancel.is_some_and(|least| party >= least),
        _ if party < Party::Operator => false,
        Verb::Advance => exits.advance && !is_held,
        Verb::Refuse => exits.refuse && !is_held,
        Verb::Hold => !is_held,
        Verb::Resume => is_held,
        Verb::Delay => matches!(waits, Waits::Until(_)),
        Verb::Address => true,
    }
}
