//! What goes wrong with calls of log and store.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    env::Random,
    eventlog,
    faults::{Call, Chance, Fault, Faults},
    store,
};

/// Faults by chance, more or less of them at a time.
pub(super) struct Trouble {
    random: Random,
    late_max: Duration,
    of_thousand: AtomicU64,
}

impl Trouble {
    pub(super) fn new(random: Random, late_max: Duration) -> Self {
        Self { random, late_max, of_thousand: AtomicU64::new(0) }
    }

    /// So many of 1,000 calls go wrong from now on.
    pub(super) fn set(&self, of_thousand: u64) {
        self.of_thousand.store(of_thousand, Ordering::Relaxed);
    }

    fn chance(&self) -> Option<Chance> {
        let of_thousand = self.of_thousand.load(Ordering::Relaxed);
        let (random, late_max) = (self.random.clone(), self.late_max);
        (of_thousand > 0).then_some(Chance { random, of_thousand, late_max })
    }
}

/// A future that waits for the time would hold up the only thread there is: what is late there is late elsewhere.
fn at_once<E>(fault: Fault<E>) -> Option<Fault<E>> {
    (!matches!(fault, Fault::Late(_) | Fault::Slow(_))).then_some(fault)
}

impl Faults<eventlog::Error> for Trouble {
    fn next(&self, call: Call<'_>) -> Option<Fault<eventlog::Error>> {
        let fault = self.chance()?.next(call)?;
        if call.name == "append" { at_once(fault) } else { Some(fault) }
    }
}

impl Faults<store::Error> for Trouble {
    fn next(&self, call: Call<'_>) -> Option<Fault<store::Error>> {
        self.chance()?.next(call).and_then(at_once)
    }
}
