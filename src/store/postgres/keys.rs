//! Idempotency keys and secrets.

use async_trait::async_trait;
use deadpool_postgres::tokio_postgres::Row;

use super::{PgStore, rows, session::Session};
use crate::{
    domain::{OrderId, Timestamp},
    store::{
        Error, Result,
        keys::{Keys, Reservation, Reserved},
    },
};

const SELECT: &str = "SELECT order_id, request, value, until, track, runs FROM idempotency_keys";

#[async_trait]
impl Keys for PgStore {
    async fn held(&self, key: &str, request: u64, at: Timestamp) -> Result<Option<Reserved>> {
        let key = key.to_owned();
        self.run(|client| {
            Box::pin(async move {
                let select = client.prepare(&format!("{SELECT} WHERE key = $1")).await?;
                let row = client.query_opt(&select, &[&key]).await?;
                row.map(|row| stands_for(&row, request, None, at)).transpose()
            })
        })
        .await
    }

    async fn resume(&self, key: &str, request: u64, at: Timestamp, until: Timestamp) -> Result<Option<Reserved>> {
        let key = key.to_owned();
        self.run(|client| Box::pin(async move { resume(client, &key, request, None, (at, until)).await })).await
    }

    async fn reserve(&self, reservation: Reservation) -> Result<Reserved> {
        self.run(|client| Box::pin(reserve(client, reservation))).await
    }

    async fn confirm(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        let sql = "UPDATE idempotency_keys SET value = NULL WHERE key = $1 AND value IS NOT NULL";
        self.run(|client| {
            Box::pin(async move {
                client.execute(&client.prepare(sql).await?, &[&key]).await?;
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

async fn reserve(client: &mut Session, reservation: Reservation) -> Result<Reserved> {
    let Reservation { key, request, order, value, track, at, until } = reservation;
    let (hash, number) = (request.cast_signed(), order.get() as i64);
    let (from, to) = (at.as_millis(), until.as_millis());
    let insert = client
        .prepare(
            "INSERT INTO idempotency_keys (key, request, order_id, value, track, reserved_at, until)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .await?;
    let inserted = client.execute(&insert, &[&key, &hash, &number, &value, &track, &from, &to]).await?;
    if inserted == 1 {
        return Ok(Reserved::Run { order, value, track: Some(track), again: false });
    }
    let stands_for = resume(client, &key, request, Some(order), (at, until)).await?;
    stands_for.ok_or_else(|| Error::Unavailable("the key disappeared while it was being read".into()))
}

/// Takes a reservation over, unless it is that of `own`.
async fn resume(
    client: &mut Session,
    key: &str,
    request: u64,
    own: Option<OrderId>,
    (at, until): (Timestamp, Timestamp),
) -> Result<Option<Reserved>> {
    let tx = client.transaction().await?;
    let select = tx.prepare(&format!("{SELECT} WHERE key = $1 FOR UPDATE")).await?;
    let Some(row) = tx.query_opt(&select, &[&key]).await? else { return Ok(None) };
    let stands_for = stands_for(&row, request, own, at)?;
    if matches!(stands_for, Reserved::Run { again: true, .. }) {
        let sql = "UPDATE idempotency_keys SET runs = runs + 1, reserved_at = $2, until = $3 WHERE key = $1";
        tx.execute(&tx.prepare(sql).await?, &[&key, &at.as_millis(), &until.as_millis()]).await?;
    }
    tx.commit().await?;
    Ok(Some(stands_for))
}

/// What a key that is there stands for.
fn stands_for(row: &Row, request: u64, own: Option<OrderId>, at: Timestamp) -> Result<Reserved> {
    let order = rows::order_id(row.get(0))?;
    let (value, track): (Option<Vec<u8>>, _) = (row.get(2), row.get(4));
    if row.get::<_, i64>(1) != request.cast_signed() {
        return Ok(Reserved::Mismatch { is_done: value.is_none() });
    }
    Ok(match value {
        None => Reserved::Done { order, track },
        // nobody else has this order's number: it is this very reservation, whose answer was lost
        Some(value) if own == Some(order) && row.get::<_, i32>(5) == 1 => {
            Reserved::Run { order, value, track, again: false }
        }
        Some(_) if row.get::<_, i64>(3) > at.as_millis() => Reserved::Running,
        Some(value) => Reserved::Run { order, value, track, again: true },
    })
}

/// Deletes a reservation that only one request ever had. After a takeover the first request may still append its
/// order, so id and value stay, open for the next takeover.
async fn release(client: &mut Session, key: String) -> Result<()> {
    let only = "DELETE FROM idempotency_keys WHERE key = $1 AND value IS NOT NULL AND runs = 1";
    let open = "UPDATE idempotency_keys SET until = reserved_at WHERE key = $1 AND value IS NOT NULL AND runs > 1";
    if client.execute(&client.prepare(only).await?, &[&key]).await? == 0 {
        client.execute(&client.prepare(open).await?, &[&key]).await?;
    }
    Ok(())
}

async fn secret(client: &mut Session, name: String, fresh: [u8; 16]) -> Result<[u8; 16]> {
    let insert = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    client.execute(&client.prepare(insert).await?, &[&name, &&fresh[..]]).await?;
    let select = client.prepare("SELECT value FROM secrets WHERE name = $1").await?;
    let held: Vec<u8> = client.query_one(&select, &[&name]).await?.get(0);
    held.try_into().map_err(|_| Error::Fatal(format!("the secret {name} in the store does not have 16 bytes")))
}

/// Deletes the next keys that were reserved before a time. Returns how many; zero when there are no more.
pub(super) async fn prune(client: &mut Session, before: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM idempotency_keys WHERE key = ANY(ARRAY(
                   SELECT key FROM idempotency_keys WHERE reserved_at < $1
                   ORDER BY reserved_at LIMIT 2000 FOR UPDATE SKIP LOCKED))";
    Ok(client.execute(&client.prepare(sql).await?, &[&before.as_millis()]).await?)
}
