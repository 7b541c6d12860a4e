//! What instances of the roles did per second, as it was learned: a process that starts knows what others saw.

use async_trait::async_trait;

use super::Result;

/// Keeps one number for each role, by its name.
#[async_trait]
pub trait Capacities: Send + Sync {
    /// Units of work per second of each role of which that was noted.
    async fn capacities(&self) -> Result<Vec<(String, f64)>>;

    /// Notes what an instance of a role does per second, in place of what was noted before.
    async fn note_capacity(&self, role: &str, per_s: f64) -> Result<()>;
}
