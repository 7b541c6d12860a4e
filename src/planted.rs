//! Defects that the simulation must find. They are compiled for tests only, and there only in the thread that plants one.

use std::{borrow::Cow, cell::Cell};

use crate::eventlog::GroupOffset;

/// What somebody might get wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Fulfilment commits its events, but not how far the input is taken.
    CommitWithoutOffsets,
    /// The offset of one partition is committed for another.
    NeighboursOffset,
    /// An order that is restored waits for ever.
    TimerLost,
    /// The offsets that the log answers are given to the events in another order.
    SettledInWrongOrder,
    /// What was read of an order is taken for two orders.
    RestoredTwice,
    /// What was read for an earlier assignment of a partition is taken for a later one.
    StaleRestore,
    /// A commit whose end is unknown is taken for one that was refused.
    UnknownIsRefused,
    /// An order is cancelled after its life has ended, in the commit of its end.
    CancelledAfterTheEnd,
    /// A mailer's lease that ran out leaves no trace.
    LeaseForgotten,
    /// An event that comes late is taken for the latest.
    LateIsLatest,
    /// After a restore, orders go on under the newest version of the flow instead of their own.
    VersionForgotten,
}

thread_local! {
    static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
}

/// Until it is dropped, its defect is there.
pub(crate) struct Planted;

pub(crate) fn plant(defect: Defect) -> Planted {
    PLANTED.set(Some(defect));
    Planted
}

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

pub(crate) fn is_planted(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}

/// The offsets that a commit carries.
pub(crate) fn offsets(offsets: &[GroupOffset]) -> Cow<'_, [GroupOffset]> {
    match PLANTED.get() {
        Some(Defect::CommitWithoutOffsets) => Cow::Owned(Vec::new()),
        Some(Defect::NeighboursOffset) => {
            let mut tps: Vec<_> = offsets.iter().map(|offset| offset.tp.clone()).collect();
            tps.rotate_left(1.min(offsets.len()));
            let moved = offsets.iter().zip(tps).map(|(offset, tp)| GroupOffset { tp, ..offset.clone() });
            Cow::Owned(moved.collect())
        }
        _ => Cow::Borrowed(offsets),
    }
}
