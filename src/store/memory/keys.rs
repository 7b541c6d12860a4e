//! Idempotency keys and secrets.

use async_trait::async_trait;

use super::{MemoryStore, Tables};
use crate::{
    domain::{OrderId, Timestamp},
    store::{
        Result,
        keys::{Keys, Reservation, Reserved},
    },
};

/// A reservation.
pub(super) struct Key {
    request: u64,
    order: OrderId,
    /// The record to append; `None` once it is known to be durable.
    value: Option<Vec<u8>>,
    track: String,
    /// Requests that took the reservation.
    runs: u32,
    pub(super) reserved_at: Timestamp,
    /// Nobody takes the reservation over before.
    until: Timestamp,
}

impl Tables {
    fn held(&self, key: &str, request: u64, at: Timestamp) -> Option<Reserved> {
        let Key { order, track, value, until, request: first, .. } = self.keys.get(key)?;
        if *first != request {
            return Some(Reserved::Mismatch { is_done: value.is_none() });
        }
        let (order, track) = (*order, Some(track.clone()));
        Some(match value {
            None => Reserved::Done { order, track },
            Some(_) if *until > at => Reserved::Running,
            Some(value) => Reserved::Run { order, value: value.clone(), track, again: true },
        })
    }

    fn resume(&mut self, key: &str, request: u64, at: Timestamp, until: Timestamp) -> Option<Reserved> {
        let held = self.held(key, request, at);
        if let (Some(Reserved::Run { .. }), Some(key)) = (&held, self.keys.get_mut(key)) {
            (key.runs, key.reserved_at, key.until) = (key.runs + 1, at, until);
        }
        held
    }

    fn reserve(&mut self, reservation: Reservation) -> Reserved {
        if let Some(held) = self.resume(&reservation.key, reservation.request, reservation.at, reservation.until) {
            return held;
        }
        let Reservation { key, request, order, value, track, at, until } = reservation;
        let row =
            Key { request, order, value: Some(value.clone()), track: track.clone(), runs: 1, reserved_at: at, until };
        self.keys.insert(key, row);
        Reserved::Run { order, value, track: Some(track), again: false }
    }

    /// After a takeover the first request may still append its order, so id and value stay, open for the next takeover.
    fn release(&mut self, name: &str) {
        let Some(key) = self.keys.get_mut(name).filter(|key| key.value.is_some()) else { return };
        key.until = key.reserved_at;
        if key.runs == 1 {
            self.keys.remove(name);
        }
    }
}

#[async_trait]
impl Keys for MemoryStore {
    async fn held(&self, key: &str, request: u64, at: Timestamp) -> Result<Option<Reserved>> {
        Ok(self.tables().held(key, request, at))
    }

    async fn resume(&self, key: &str, request: u64, at: Timestamp, until: Timestamp) -> Result<Option<Reserved>> {
        Ok(self.tables().resume(key, request, at, until))
    }

    async fn reserve(&self, reservation: Reservation) -> Result<Reserved> {
        Ok(self.tables().reserve(reservation))
    }

    async fn confirm(&self, key: &str) -> Result<()> {
        if let Some(key) = self.tables().keys.get_mut(key) {
            key.value = None;
        }
        Ok(())
    }

    async fn release(&self, key: &str) -> Result<()> {
        self.tables().release(key);
        Ok(())
    }

    async fn secret(&self, name: &str, fresh: [u8; 16]) -> Result<[u8; 16]> {
        Ok(*self.tables().secrets.entry(name.to_owned()).or_insert(fresh))
    }
}
