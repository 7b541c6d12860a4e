//! Idempotency keys and secrets.

use async_trait::async_trait;
use deadpool_postgres::{Object, tokio_postgres::Row};

use super::{PgStore, rows};
use crate::{
    domain::Timestamp,
    store::{
        Error, Result,
        keys::{Keys, Reservation, Reserved},
    },
};

#[async_trait]
impl Keys for PgStore {
    async fn reserve(&self, reservation: Reservation) -> Result<Reserved> {
        self.run(|client| Box::pin(reserve(client, reservation))).await
    }

    async fn confirm(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        let sql = "UPDATE idempotency_keys SET value = NULL WHERE key = $1 AND value IS NOT NULL";
        self.run(|client| {
            Box::pin(async move {
                client.execute(&client.prepare_cached(sql).await?, &[&key]).await?;
                Ok(())
            })
        })
        .await
    }

    async fn release(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.run(|client| Box::pin(release(client, key))).await
    }

    async fn secret(&self, name: &str, fresh: [u8; 16]) -> Result<[u8; 16]> {
        let name = name.to_owned();
        self.run(|client| Box::pin(secret(client, name, fresh))).await
    }
}

async fn reserve(client: &mut Object, wish: Reservation) -> Result<Reserved> {
    let (request, order) = (wish.request.cast_signed(), wish.order.get() as i64);
    let (at, until) = (wish.at.as_millis(), wish.until.as_millis());
    let insert = client
        .prepare_cached(
            "INSERT INTO idempotency_keys (key, request, order_id, value, reserved_at, until)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .await?;
    let inserted = client.execute(&insert, &[&wish.key, &request, &order, &wish.value, &at, &until]).await?;
    if inserted == 1 {
        return Ok(Reserved::Run { order: wish.order, value: wish.value, again: false });
    }
    let tx = client.transaction().await?;
    let select = tx
        .prepare_cached("SELECT order_id, request, value, until, runs FROM idempotency_keys WHERE key = $1 FOR UPDATE")
        .await?;
    let row = tx.query_opt(&select, &[&wish.key]).await?;
    let row = row.ok_or_else(|| Error::Unavailable("the key went while it was read".into()))?;
    let stands_for = held(&row, &wish)?;
    if matches!(stands_for, Reserved::Run { again: true, .. }) {
        let sql = "UPDATE idempotency_keys SET runs = runs + 1, reserved_at = $2, until = $3 WHERE key = $1";
        tx.execute(&tx.prepare_cached(sql).await?, &[&wish.key, &at, &until]).await?;
    }
    tx.commit().await?;
    Ok(stands_for)
}

/// What a key that is there stands for.
fn held(row: &Row, wish: &Reservation) -> Result<Reserved> {
    let order = rows::order_id(row.get(0))?;
    if row.get::<_, i64>(1) != wish.request.cast_signed() {
        return Ok(Reserved::Mismatch);
    }
    let value: Option<Vec<u8>> = row.get(2);
    Ok(match value {
        None => Reserved::Done(order),
        // nobody else has this order's number: it is this very reservation, whose answer was lost
        Some(value) if order == wish.order && row.get::<_, i32>(4) == 1 => Reserved::Run { order, value, again: false },
        Some(_) if row.get::<_, i64>(3) > wish.at.as_millis() => Reserved::Running,
        Some(value) => Reserved::Run { order, value, again: true },
    })
}

/// Deletes a reservation that only one request ever had. After a takeover the first request may still append its
/// order, so id and value stay, open for the next takeover.
async fn release(client: &mut Object, key: String) -> Result<()> {
    let only = "DELETE FROM idempotency_keys WHERE key = $1 AND value IS NOT NULL AND runs = 1";
    let open = "UPDATE idempotency_keys SET until = reserved_at WHERE key = $1 AND value IS NOT NULL AND runs > 1";
    if client.execute(&client.prepare_cached(only).await?, &[&key]).await? == 0 {
        client.execute(&client.prepare_cached(open).await?, &[&key]).await?;
    }
    Ok(())
}

async fn secret(client: &mut Object, name: String, fresh: [u8; 16]) -> Result<[u8; 16]> {
    let insert = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    client.execute(&client.prepare_cached(insert).await?, &[&name, &&fresh[..]]).await?;
    let select = client.prepare_cached("SELECT value FROM secrets WHERE name = $1").await?;
    let held: Vec<u8> = client.query_one(&select, &[&name]).await?.get(0);
    held.try_into().map_err(|_| Error::Fatal(format!("the secret {name} in the store does not have 16 bytes")))
}

/// Deletes the next keys that were reserved before a time. Returns how many; zero when there are no more.
pub(super) async fn prune(client: &mut Object, before: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM idempotency_keys WHERE key = ANY(ARRAY(
                   SELECT key FROM idempotency_keys WHERE reserved_at < $1
                   ORDER BY reserved_at LIMIT 2000 FOR UPDATE SKIP LOCKED))";
    Ok(client.execute(&client.prepare_cached(sql).await?, &[&before.as_millis()]).await?)
}
