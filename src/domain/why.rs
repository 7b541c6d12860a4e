//! Why an order stands where it stands, as a code for programs; in words it is told by `words::why`.

use std::time::Duration;

use super::{Closing, Exits, Timestamp, Waits};

/// An order is late once its time was over for longer than this.
pub const LATE: Duration = Duration::from_secs(1);

/// What is known of an order, beside the words of a language.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Since when it is like this: its latest event that is about more than an address.
    pub at: Timestamp,
    /// What it waits for.
    pub waits: Waits,
    /// How else its state can be left.
    pub exits: Exits,
    /// Who did that, if somebody did.
    pub by: Option<&'a str>,
    /// Why, in their words.
    pub reason: Option<&'a str>,
}

/// What is known of the way that an order's events take, from where they are decided to where they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Road {
    /// Nothing.
    #[default]
    Unknown,
    /// Nothing is in the way.
    Clear,
    /// Nobody reads the partition in which its next state is decided.
    Unread {
        /// The partition.
        partition: String,
    },
    /// Whoever reads it has not come far enough.
    Behind {
        /// The partition.
        partition: String,
        /// How many records are before them.
        records: u64,
    },
    /// It may have gone on: whoever tells of it has not come far enough.
    Untold {
        /// The partition.
        partition: String,
        /// How many records are before them.
        records: u64,
    },
}

/// Why an order stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Its time in the state is not over.
    Timer {
        /// When it is.
        due: Timestamp,
    },
    /// Its time is over, and it is still there.
    Late {
        /// When it was over.
        due: Timestamp,
        /// What may be the cause.
        road: Road,
    },
    /// Somebody is to move it on.
    Command {
        /// By when that is expected.
        expect_at: Option<Timestamp>,
    },
    /// Somebody should have moved it on.
    Overdue {
        /// By then.
        expect_at: Timestamp,
    },
    /// Its time was stopped.
    Held {
        /// How much of it is left, if it had one.
        left: Option<Duration>,
    },
    /// Its life is over.
    Closed(Closing),
    /// An old service wrote it, which does not tell.
    Untold,
}

/// How far one partition on that way is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The partition.
    pub partition: String,
    /// How many records are left in it.
    pub records: u64,
    /// Whether somebody reads it.
    pub is_read: bool,
    /// Whether its reader is behind, by what can be seen: in records to who looks once, in seconds to who watches.
    pub is_behind: bool,
}

impl Road {
    /// Over the partition in which the next state is decided, and the one in which it is told.
    pub fn over(input: Option<Stretch>, output: impl FnOnce() -> Option<Stretch>) -> Self {
        let Some(Stretch { partition, records, is_read, is_behind }) = input else { return Self::Unknown };
        if !is_read {
            return Self::Unread { partition };
        }
        if is_behind {
            return Self::Behind { partition, records };
        }
        match output() {
            Some(Stretch { partition, records, is_behind: true, .. }) => Self::Untold { partition, records },
            Some(_) => Self::Clear,
            None => Self::Unknown,
        }
    }
}

impl Why {
    /// Why an order stands like this at a time.
    pub fn of(waits: Waits, exits: Exits, road: Road, now: Timestamp) -> Self {
        match waits {
            Waits::Until(due) if due + LATE < now => Self::Late { due, road },
            Waits::Until(due) => Self::Timer { due },
            Waits::ForCommand => match exits.expect_at.filter(|expect| *expect + LATE < now) {
                Some(expect_at) => Self::Overdue { expect_at },
                None => Self::Command { expect_at: exits.expect_at },
            },
            Waits::Held(left) => Self::Held { left },
            Waits::Closed(closing) => Self::Closed(closing),
            Waits::Untold => Self::Untold,
        }
    }

    /// Its name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timer { .. } => "timer",
            Self::Late { road: Road::Unread { .. }, .. } => "late-unread",
            Self::Late { road: Road::Behind { .. }, .. } => "late-behind",
            Self::Late { road: Road::Untold { .. }, .. } => "late-untold",
            Self::Late { .. } => "late",
            Self::Command { .. } => "command",
            Self::Overdue { .. } => "command-late",
            Self::Held { .. } => "held",
            Self::Closed(closing) => closing.name(),
            Self::Untold => "untold",
        }
    }

    /// Whether somebody should look.
    pub const fn is_late(&self) -> bool {
        matches!(self, Self::Late { .. } | Self::Overdue { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_thing_in_the_way_is_told() {
        let stretch =
            |records, is_read, is_behind| Some(Stretch { partition: "p/0".to_owned(), records, is_read, is_behind });
        let (partition, fine) = ("p/0".to_owned(), stretch(1, true, false));
        for (input, output, road) in [
            (None, fine.clone(), Road::Unknown),
            (stretch(3, false, true), fine.clone(), Road::Unread { partition: partition.clone() }),
            (stretch(3, true, true), fine.clone(), Road::Behind { partition: partition.clone(), records: 3 }),
            (fine.clone(), stretch(2, true, true), Road::Untold { partition, records: 2 }),
            (fine.clone(), fine.clone(), Road::Clear),
            (fine, None, Road::Unknown),
        ] {
            assert_eq!(Road::over(input, || output), road);
        }
    }
}
