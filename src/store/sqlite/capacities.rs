//! What instances of the roles did per second.

use async_trait::async_trait;
use rusqlite::params;

use super::{Result, SqliteStore};
use crate::store::capacities::Capacities;

#[async_trait]
impl Capacities for SqliteStore {
    async fn capacities(&self) -> Result<Vec<(String, f64)>> {
        self.readers
            .read(|conn| {
                let mut select = conn.prepare_cached("SELECT role, per_s FROM capacities ORDER BY role")?;
                let capacities = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(capacities.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn note_capacity(&self, role: &str, per_s: f64) -> Result<()> {
        let role = role.to_owned();
        let upsert = "INSERT INTO capacities (role, per_s) VALUES (?, ?)
                      ON CONFLICT DO UPDATE SET per_s = excluded.per_s";
        self.writer.run(move |conn| Ok(conn.prepare_cached(upsert)?.execute(params![role, per_s]).map(drop)?)).await
    }
}
