//! How many orders are taken for one address and from one client, so that nobody has the shop's relay write to a stranger
//! without end.

use std::net::IpAddr;

use crate::{
    clock::Monotonic,
    domain::EmailAddress,
    web::{self, Limiter, Rate},
};

/// The rates of an intake.
pub(super) struct Rates {
    addresses: Option<Limiter>,
    clients: Option<Limiter>,
    pub(super) trusted_hops: usize,
}

impl Rates {
    pub(super) fn new(per_address: Option<Rate>, per_client: Option<Rate>, trusted_hops: usize) -> Self {
        Self { addresses: per_address.map(Limiter::new), clients: per_client.map(Limiter::new), trusted_hops }
    }

    /// Counts an order for an address and from a client, as far as they are bounded; after one too many, the seconds to
    /// wait.
    pub(super) fn take(&self, now: Monotonic, client: Option<IpAddr>, email: Option<&EmailAddress>) -> Result<(), u32> {
        if let (Some(clients), Some(client)) = (&self.clients, client) {
            clients.take(now, web::network(client))?;
        }
        if let (Some(addresses), Some(email)) = (&self.addresses, email) {
            addresses.take(now, email.mailbox())?;
        }
        Ok(())
    }
}
