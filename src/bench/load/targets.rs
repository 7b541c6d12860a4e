//! Where customers order, which may change while they do.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

/// Addresses, at least one; clones share them.
#[derive(Debug, Clone)]
pub struct Targets(Arc<RwLock<Vec<SocketAddr>>>);

impl From<Vec<SocketAddr>> for Targets {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self(Arc::new(RwLock::new(addresses)))
    }
}

impl Targets {
    /// From now on these; none changes nothing, since customers must order somewhere.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        if !addresses.is_empty() {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
        }
    }

    /// The one whose turn it is.
    pub(super) fn at(&self, turn: usize) -> SocketAddr {
        let addresses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        addresses[turn % addresses.len()]
    }
}
