//! How everything stands, at a glance.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    domain::{Closing, Timestamp},
    store::{
        Result,
        dead::DeadLetters as _,
        ledger::Ledger as _,
        orders::Orders as _,
        overview::{Counted, Flights, Minute, Minutes, Overview, Snapshot, minute_name},
    },
};

#[async_trait]
impl Overview for MemoryStore {
    async fn snapshot(&self, now: Timestamp) -> Result<Snapshot> {
        // nothing else runs between the parts: each is done at its first poll
        let mut snapshot = Snapshot {
            counts: self.order_counts().await?,
            mails: self.ledger_counts().await?,
            dead_records: self.dead_record_count().await?,
            ..Snapshot::default()
        };
        let mut flights = Flights::default();
        for row in self.tables().orders.values() {
            snapshot.mail_refused += u64::from(row.has_refused_mail());
            let (_, state) = row.current();
            let event = &state.event;
            if event.closes().is_none() {
                let due = event.next_at().or(event.exits.expect_at);
                flights.add(row.order.id, (&event.estado, event.step), (event.at, due), now);
            }
        }
        flights.finish(&mut snapshot);
        Ok(snapshot)
    }

    async fn minutes(&self, from: Timestamp) -> Result<Vec<Minute>> {
        let tables = self.tables();
        let mut minutes = Minutes::default();
        let mut add = |counted, at: Timestamp| {
            let name = minute_name(at);
            if name >= minute_name(from.max(tables.minutes_from)) {
                minutes.add(counted, &name, 1);
            }
        };
        for row in tables.orders.values() {
            add(Counted::Placed, row.order.placed_at);
            let (_, state) = row.current();
            match state.event.closes() {
                Some(Closing::Finished) => add(Counted::Finished, state.event.at),
                Some(Closing::Cancelled | Closing::Refused) => add(Counted::Cancelled, state.event.at),
                None => {}
            }
        }
        Ok(minutes.finish())
    }
}
