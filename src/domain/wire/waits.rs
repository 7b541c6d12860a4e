//! What an order waits for: fields of its events and of the outcomes of its commands.

use std::time::Duration;

use crate::domain::{Closing, Timestamp, Waits};

/// What an order waits for, besides its timer.
const FOR_COMMAND: &str = "command";
const HELD: &str = "held";

/// What an order waits for, where that is not a time and not its end.
pub const fn waits_name(waits: Waits) -> Option<&'static str> {
    match waits {
        Waits::ForCommand => Some(FOR_COMMAND),
        Waits::Held(_) => Some(HELD),
        Waits::Until(_) | Waits::Closed(_) | Waits::Untold => None,
    }
}

/// What an order waits for, from the fields that tell; `None` when they tell nothing.
pub fn read_waits(
    closes: Option<&str>,
    next_at: Option<Timestamp>,
    waits: Option<&str>,
    left_ms: Option<u64>,
) -> Option<Waits> {
    match (closes.and_then(Closing::named), next_at, waits) {
        (Some(closing), ..) => Some(Waits::Closed(closing)),
        (None, _, Some(HELD)) => Some(Waits::Held(left_ms.map(Duration::from_millis))),
        (None, Some(due), _) => Some(Waits::Until(due)),
        (None, None, Some(FOR_COMMAND)) => Some(Waits::ForCommand),
        (None, None, _) => None,
    }
}
