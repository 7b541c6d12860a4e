//! The parts of the work that a process can do alone.

/// A part of the work that a process can do alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Takes orders over HTTP and writes them to the log.
    Intake,
    /// Walks orders through their states, from the log to the log.
    Fulfilment,
    /// Projects the log into the store and answers lookups.
    Tracking,
    /// Sends what the ledger in the store holds.
    Mail,
}

impl Role {
    /// All of them, as `encargo up` runs them.
    pub const ALL: [Self; 4] = [Self::Intake, Self::Fulfilment, Self::Tracking, Self::Mail];

    /// Its name, which is its command.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Fulfilment => "fulfilment",
            Self::Tracking => "tracking",
            Self::Mail => "mail",
        }
    }

    /// The key of its name in words for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Intake => "role_intake",
            Self::Fulfilment => "role_fulfilment",
            Self::Tracking => "role_tracking",
            Self::Mail => "role_mail",
        }
    }

    /// The role of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it reads or writes the event log.
    pub const fn needs_log(self) -> bool {
        !matches!(self, Self::Mail)
    }

    /// Whether it reads or writes the store.
    pub const fn needs_store(self) -> bool {
        !matches!(self, Self::Fulfilment)
    }

    /// Whether its work waits unharmed while it is not there: orders would be refused without intake, and timers would be late
    /// without fulfilment.
    pub const fn may_be_none(self) -> bool {
        matches!(self, Self::Tracking | Self::Mail)
    }
}
