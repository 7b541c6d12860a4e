//! What instances of the roles did per second.

use async_trait::async_trait;

use super::MemoryStore;
use crate::store::{Result, capacities::Capacities};

#[async_trait]
impl Capacities for MemoryStore {
    async fn capacities(&self) -> Result<Vec<(String, f64)>> {
        Ok(self.tables().capacities.clone().into_iter().collect())
    }

    async fn note_capacity(&self, role: &str, per_s: f64) -> Result<()> {
        self.tables().capacities.insert(role.to_owned(), per_s);
        Ok(())
    }
}
