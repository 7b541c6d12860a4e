//! What instances of the roles did per second.

use async_trait::async_trait;

use super::PgStore;
use crate::store::{Result, capacities::Capacities};

#[async_trait]
impl Capacities for PgStore {
    async fn capacities(&self) -> Result<Vec<(String, f64)>> {
        let select = "SELECT role, per_s FROM capacities ORDER BY role";
        let rows = self
            .run(|client| Box::pin(async move { Ok(client.query(&client.prepare(select).await?, &[]).await?) }))
            .await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn note_capacity(&self, role: &str, per_s: f64) -> Result<()> {
        let role = role.to_owned();
        let upsert = "INSERT INTO capacities (role, per_s) VALUES ($1, $2)
                      ON CONFLICT (role) DO UPDATE SET per_s = excluded.per_s";
        self.run(|client| {
            Box::pin(async move {
                client.execute(&client.prepare(upsert).await?, &[&role, &per_s]).await?;
                Ok(())
            })
        })
        .await
    }
}
