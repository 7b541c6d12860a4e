//! Which orders are asked for, as a query of an address tells it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    domain::Timestamp,
    store::{
        orders::Query,
        overview::{LATE, Snapshot},
    },
};

/// Longest text that is searched for.
const TEXT_MAX: usize = 256;

/// All orders, or fewer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::ops) struct Sought {
    /// Part of a product's name, its key, or a customer's whole address; of longer texts the first 256 characters.
    q: String,
    /// Only orders in this state.
    pub(super) state: String,
    /// Anything but nothing: only orders that are late.
    late: String,
    /// Anything but nothing: only orders with a mail that was refused for good.
    refused: String,
    /// Only orders with lower numbers; no number is none.
    pub(super) below: String,
    /// How many a page of the list has before it.
    #[schemars(skip)]
    shown: String,
}

impl Sought {
    pub(super) fn text(&self) -> &str {
        let text = self.q.trim();
        text.char_indices().nth(TEXT_MAX).map_or(text, |(end, _)| &text[..end])
    }

    pub(super) fn is_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Whether only those are sought with a mail that was refused for good.
    pub(super) fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    pub(super) fn is_all(&self) -> bool {
        self.text().is_empty() && self.state.is_empty() && !self.is_late() && !self.is_refused()
    }

    /// How many come before the page.
    pub(super) fn shown(&self) -> u64 {
        if self.below.is_empty() { 0 } else { self.shown.parse().unwrap_or(0) }
    }

    /// What the store is asked; `None` when it is nobody's: what looks like an address and is none.
    pub(super) fn query(&self, now: Timestamp, limit: usize) -> Option<Query> {
        let text = self.text();
        let usermail = text.parse().ok();
        if text.contains('@') && usermail.is_none() {
            return None;
        }
        Some(Query {
            estado: Some(self.state.clone()).filter(|state| !state.is_empty()),
            overdue_at: self.is_late().then(|| now - LATE),
            product: Some(text.to_owned()).filter(|text| !text.is_empty() && usermail.is_none()),
            usermail,
            mail_refused: self.is_refused(),
            below: self.below.parse().ok(),
            limit,
            ..Query::default()
        })
    }

    /// The same for another address, from the newest on.
    pub(super) fn fields(&self) -> String {
        let fields = [("q", self.text()), ("state", &*self.state), ("late", &*self.late), ("refused", &*self.refused)];
        let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
    }

    /// How many orders those are, where that is counted.
    pub(super) fn count(&self, snapshot: &Snapshot) -> Option<u64> {
        match (self.text(), &*self.state, self.is_late(), self.is_refused()) {
            ("", "", false, false) => Some(snapshot.counts.total),
            ("", "", true, false) => Some(late(snapshot)),
            ("", "", false, true) => Some(snapshot.mail_refused),
            ("", state, false, false) => Some(in_state(snapshot, state)),
            _ => None,
        }
    }

    /// How many orders the store may have to look at to find them.
    pub(super) fn looked_at(&self, snapshot: &Snapshot) -> u64 {
        let counts = &snapshot.counts;
        let state = &*self.state;
        let in_flight = snapshot.in_flight.iter().find(|found| *found.estado == *state).map_or(0, |found| found.count);
        if self.is_all() {
            0 // the newest are found by their numbers
        } else if self.is_refused() {
            snapshot.mail_refused
        } else if self.is_late() || !state.is_empty() && in_state(snapshot, state) == in_flight {
            counts.total - counts.finished - counts.cancelled
        } else {
            counts.total // a text, or a state in which orders have ended
        }
    }
}

pub(super) fn in_state(snapshot: &Snapshot, state: &str) -> u64 {
    snapshot.counts.by_state.iter().find(|(name, _)| **name == *state).map_or(0, |(_, n)| *n)
}

pub(super) fn late(snapshot: &Snapshot) -> u64 {
    snapshot.in_flight.iter().map(|state| state.late).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{orders::OrderCounts, overview::InState};

    #[test]
    fn a_list_costs_what_the_store_looks_at_and_is_counted_where_that_is_free() {
        let by_state = vec![("recibido".into(), 40), ("completado".into(), 900), ("cancelado".into(), 60)];
        let counts = OrderCounts { total: 1_000, by_state, finished: 900, cancelled: 60 };
        let in_flight = vec![InState { estado: "recibido".into(), count: 40, late: 3, ..InState::default() }];
        let snapshot = Snapshot { counts, in_flight, mail_refused: 7, ..Snapshot::default() };
        for (q, state, late, refused, expected) in [
            ("", "", "", "", (0, Some(1_000))),
            ("", "", "1", "", (40, Some(3))),
            ("", "", "", "1", (7, Some(7))),
            ("", "recibido", "", "", (40, Some(40))),
            ("", "preparando", "", "", (40, Some(0))),
            ("", "completado", "", "", (1_000, Some(900))),
            ("", "completado", "", "1", (7, None)),
            ("xyz", "", "", "", (1_000, None)),
        ] {
            let [q, state, late, refused] = [q, state, late, refused].map(str::to_owned);
            let sought = Sought { q, state, late, refused, ..Sought::default() };
            assert_eq!((sought.looked_at(&snapshot), sought.count(&snapshot)), expected, "{sought:?}");
        }
    }
}
