//! Flaws of a whole process, which `encargo prove` must find. They are compiled into debug builds only, and are there only where the
//! environment plants one. `src/planted.rs` has those that the simulation must find.

use std::{sync::LazyLock, time::Duration};

/// The variable that plants one: `record-lost`, `mail-twice`, `early`.
const VARIABLE: &str = "PLANTED_FLAW";

static PLANTED: LazyLock<Option<Flaw>> = LazyLock::new(|| match std::env::var(VARIABLE).ok()?.as_str() {
    "record-lost" => Some(Flaw::RecordLost),
    "mail-twice" => Some(Flaw::MailTwice),
    "early" => Some(Flaw::Early),
    other => panic!("{VARIABLE}: there is no flaw {other:?}"),
});

/// What a process may get wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// One order in ten is acknowledged and not written down.
    RecordLost,
    /// The mails of one order in ten are handed over twice.
    MailTwice,
    /// Orders leave their states too early.
    Early,
}

/// Whether this order is lost.
pub(crate) fn loses(order: u64) -> bool {
    *PLANTED == Some(Flaw::RecordLost) && order % 10 == 3
}

/// Whether this order's mails are handed over twice.
pub(crate) fn repeats(order: u64) -> bool {
    *PLANTED == Some(Flaw::MailTwice) && order % 10 == 3
}

/// By how much timers fire early.
pub(crate) fn haste() -> Duration {
    if *PLANTED == Some(Flaw::Early) { Duration::from_millis(400) } else { Duration::ZERO }
}
