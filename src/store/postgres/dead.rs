//! Dead letters: records and mails, each in a table of their own.

use std::collections::BTreeMap;

use async_trait::async_trait;
use deadpool_postgres::tokio_postgres::{Row, types::ToSql};

use super::{
    PgStore, ledger, rows,
    session::{Session, Transaction},
    suppressed,
    tally::{Kind, Tally},
};
use crate::{
    domain::{DeadLetter, OrderId, Source, Timestamp, wire},
    store::{
        Error, Result,
        dead::{Action, DeadId, DeadItem, DeadLetters, LISTED_MAX, RUN_AGAIN},
        ledger::{Class, MailId, MailStatus},
    },
};

#[async_trait]
impl DeadLetters for PgStore {
    async fn dead(&self, reason: Option<&str>, limit: usize) -> Result<Vec<DeadItem>> {
        let reason = reason.map(str::to_owned);
        self.run(|client| Box::pin(async move { list(client, reason, limit).await })).await
    }

    async fn dead_one(&self, id: &DeadId) -> Result<Option<DeadItem>> {
        let id = id.clone();
        self.run(|client| Box::pin(async move { one(client, &id).await })).await
    }

    async fn dead_record_of(&self, order: OrderId) -> Result<Option<DeadItem>> {
        self.run(|client| Box::pin(record_of(client, order))).await
    }

    async fn decide(&self, id: &DeadId, action: Action, now: Timestamp) -> Result<bool> {
        let id = id.clone();
        self.run(|client| {
            Box::pin(async move {
                match &id {
                    DeadId::Mail(mail) => decide_mail(client, *mail, action, now).await,
                    DeadId::Record(source) => {
                        let to = if action == Action::Drop { "dropped" } else { "chosen" };
                        move_record(client, source, "dead", to).await
                    }
                }
            })
        })
        .await
    }

    async fn claim_redrives(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<DeadLetter>> {
        self.run(|client| Box::pin(claim(client, now, until, limit))).await
    }

    async fn redriven(&self, source: &Source) -> Result<()> {
        let source = source.clone();
        self.run(|client| Box::pin(async move { move_record(client, &source, "chosen", "redriven").await.map(drop) }))
            .await
    }

    async fn dead_record_count(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM dead_records WHERE status IN ('dead', 'chosen')";
        self.run(|client| {
            Box::pin(async move {
                let counted = client.query_one(&client.prepare(sql).await?, &[]).await?;
                Ok(counted.get::<_, i64>(0) as u64)
            })
        })
        .await
    }
}

/// Keeps dead records whose sources are not there yet; of those that stand for many it learns what more there is by now.
pub(super) async fn insert(tx: &Transaction<'_>, letters: &[DeadLetter]) -> Result<()> {
    let (runs, whole): (Vec<_>, Vec<_>) = letters.iter().partition(|letter| wire::run(&letter.headers).is_some());
    insert_or(tx, &whole, "NOTHING").await?;
    // a statement cannot meet the same row twice; the later letter is the whole truth
    let last: BTreeMap<&Source, &DeadLetter> = runs.into_iter().map(|letter| (&letter.source, letter)).collect();
    insert_or(tx, &last.into_values().collect::<Vec<_>>(), RUN_AGAIN).await
}

async fn insert_or(tx: &Transaction<'_>, letters: &[&DeadLetter], again: &str) -> Result<()> {
    if letters.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO dead_records (topic, partition, \"offset\", reason, attempts, at, key, value, headers)
         SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::int[], $6::bigint[], $7::bytea[],
             $8::bytea[], $9::text[]) ON CONFLICT (topic, partition, \"offset\") DO {again}"
    );
    let insert = tx.prepare(&sql).await?;
    let topics: Vec<&str> = letters.iter().map(|letter| &*letter.source.topic).collect();
    let partitions: Vec<i32> = letters.iter().map(|letter| letter.source.partition as i32).collect();
    let offsets: Vec<i64> = letters.iter().map(|letter| letter.source.offset as i64).collect();
    let reasons: Vec<std::borrow::Cow<str>> = letters.iter().map(|letter| rows::text(&letter.reason)).collect();
    let attempts: Vec<i32> = letters.iter().map(|letter| letter.attempts as i32).collect();
    let at: Vec<i64> = letters.iter().map(|letter| letter.at.as_millis()).collect();
    let keys: Vec<Option<&[u8]>> = letters.iter().map(|letter| letter.key.as_deref()).collect();
    let values: Vec<&[u8]> = letters.iter().map(|letter| &*letter.value).collect();
    let json = |letter: &DeadLetter| serde_json::to_string(&letter.headers).expect("texts and bytes always serialise");
    let headers: Vec<String> = letters.iter().copied().map(json).collect();
    let params: [&(dyn ToSql + Sync); 9] =
        [&topics, &partitions, &offsets, &reasons, &attempts, &at, &keys, &values, &headers];
    tx.execute(&insert, &params).await?;
    Ok(())
}

async fn list(client: &Session, reason: Option<String>, limit: usize) -> Result<Vec<DeadItem>> {
    let rows_max = limit as i64;
    let records = "status = 'dead' AND ($1::text IS NULL OR position($1 IN reason) > 0) ORDER BY at, seen LIMIT $2";
    let mails = "NOT dropped AND ($1::text IS NULL OR position($1 IN reply) > 0) ORDER BY tried_at, id LIMIT $2";
    let mut items = dead_mails(client, mails, &[&reason, &rows_max]).await?;
    let records = letters(client, &listed(), records, &[&reason, &rows_max]).await?;
    items.extend(records.into_iter().map(DeadItem::of_record));
    items.sort_by_key(|item| item.at);
    items.truncate(limit);
    Ok(items)
}

async fn one(client: &Session, id: &DeadId) -> Result<Option<DeadItem>> {
    match id {
        DeadId::Mail(id) => Ok(dead_mails(client, "NOT dropped AND id = $1", &[&ledger::key(*id)]).await?.pop()),
        DeadId::Record(Source { topic, partition, offset }) => {
            let condition = "topic = $1 AND partition = $2 AND \"offset\" = $3 AND status = 'dead'";
            let found = letters(client, WHOLE, condition, &[topic, &(*partition as i32), &(*offset as i64)]).await?;
            Ok(found.into_iter().next().map(DeadItem::of_record))
        }
    }
}

/// Looks closer at each record that may be about the order, at one after the other.
async fn record_of(client: &mut Session, order: OrderId) -> Result<Option<DeadItem>> {
    let sql = "SELECT topic, partition, \"offset\" FROM dead_records
         WHERE status = 'dead' AND (key = $1 OR encode(value, 'escape') ~ $2) ORDER BY at, seen";
    let (key, value) = (order.to_string().into_bytes(), format!("\"orderid\"\\s*:\\s*{order}[^0-9]"));
    for row in client.query(&client.prepare(sql).await?, &[&key, &value]).await? {
        let item = one(client, &DeadId::Record(source(&row))).await?;
        if item.as_ref().is_some_and(|item| item.order == Some(order)) {
            return Ok(item);
        }
    }
    Ok(None)
}

async fn dead_mails(client: &Session, condition: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<DeadItem>> {
    let sql = format!("SELECT id, reply, attempts, tried_at, class FROM dead_mails WHERE {condition}");
    let found = client.query(&client.prepare(&sql).await?, params).await?;
    let item = |row: &Row| {
        let id = rows::mail_id(row.get(0))?;
        Ok(DeadItem {
            id: DeadId::Mail(id),
            order: Some(id.order),
            reason: row.get::<_, Option<String>>(1).unwrap_or_default(),
            class: rows::class(row, 4),
            attempts: row.get::<_, i32>(2) as u32,
            at: rows::optional_time(row, 3).unwrap_or_default(),
            letter: None,
        })
    };
    found.iter().map(item).collect()
}

const LETTER_COLUMNS: &str = "topic, partition, \"offset\", reason, attempts, at";
/// The columns of a record as it is.
const WHOLE: &str = "key, value, headers";

/// Those of what a list tells of it. The letter's own headers are the last ones.
fn listed() -> String {
    let own = format!("position('[\"{}' IN headers)", wire::OWN);
    format!(
        "substring(key FROM 1 FOR {LISTED_MAX}), substring(value FROM 1 FOR {LISTED_MAX}),
         CASE WHEN octet_length(headers) <= {LISTED_MAX} THEN headers
             WHEN {own} > 0 THEN '[' || substring(headers FROM {own}) ELSE '[]' END"
    )
}

async fn letters(
    client: &Session,
    columns: &str,
    condition: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<DeadLetter>> {
    let sql = format!("SELECT {LETTER_COLUMNS}, {columns} FROM dead_records WHERE {condition}");
    let found = client.query(&client.prepare(&sql).await?, params).await?;
    found.iter().map(letter).collect()
}

fn source(row: &Row) -> Source {
    Source { topic: row.get(0), partition: row.get::<_, i32>(1) as u32, offset: row.get::<_, i64>(2) as u64 }
}

fn letter(row: &Row) -> Result<DeadLetter> {
    let source = source(row);
    let headers = serde_json::from_str(row.get(8)).map_err(|_| {
        let Source { topic, partition, offset } = &source;
        Error::Fatal(format!("the dead record {topic}/{partition}/{offset} in the store has no valid headers"))
    })?;
    Ok(DeadLetter {
        source,
        reason: row.get(3),
        attempts: row.get::<_, i32>(4) as u32,
        at: rows::time(row, 5),
        key: row.get(6),
        value: row.get(7),
        headers,
    })
}

/// Others that claim at the same time take other records.
async fn claim(client: &mut Session, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<DeadLetter>> {
    let sql = format!(
        "WITH due AS (SELECT topic AS t, partition AS p, \"offset\" AS o FROM dead_records
                      WHERE status = 'chosen' AND claimed_until <= $1
                      ORDER BY at, seen LIMIT $3 FOR UPDATE SKIP LOCKED),
         claimed AS (UPDATE dead_records SET claimed_until = $2 FROM due
                     WHERE topic = due.t AND partition = due.p AND \"offset\" = due.o RETURNING dead_records.*)
         SELECT {LETTER_COLUMNS}, {WHOLE} FROM claimed ORDER BY at, seen"
    );
    let params: [&(dyn ToSql + Sync); 3] = [&now.as_millis(), &until.as_millis(), &(limit as i64)];
    let found = client.query(&client.prepare(&sql).await?, &params).await?;
    found.iter().map(letter).collect()
}

async fn move_record(client: &Session, source: &Source, from: &str, to: &str) -> Result<bool> {
    let update = client
        .prepare(
            "UPDATE dead_records SET status = $5 WHERE topic = $1 AND partition = $2 AND \"offset\" = $3 AND status = $4",
        )
        .await?;
    let Source { topic, partition, offset } = source;
    let changed = client.execute(&update, &[topic, &(*partition as i32), &(*offset as i64), &from, &to]).await?;
    Ok(changed == 1)
}

async fn decide_mail(client: &mut Session, id: MailId, action: Action, now: Timestamp) -> Result<bool> {
    let key = ledger::key(id);
    let tx = client.transaction().await?;
    let decided = match action {
        Action::Redrive | Action::Release => redrive(&tx, id, now).await?,
        Action::Drop => {
            let sql = "UPDATE dead_mails SET dropped = true WHERE id = $1 AND NOT dropped RETURNING class";
            tx.query_opt(&tx.prepare(sql).await?, &[&key]).await?.map(|row| rows::class(&row, 0))
        }
    };
    let Some(class) = decided else { return Ok(false) };
    let becomes = if action == Action::Drop { MailStatus::Dropped } else { MailStatus::Pending };
    let mut tally = Tally::default();
    if action == Action::Release {
        tally.add(Kind::Suppressed, "", -suppressed::release_recipient(&tx, id.order).await?);
    }
    tally.mail(MailStatus::Dead, -1);
    tally.mail(becomes, 1);
    tally.class(MailStatus::Dead, class, -1);
    if action == Action::Drop {
        tally.class(becomes, class, 1);
    }
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Locks as whoever adds to a lane does: the order first, then what waits.
pub(super) async fn lock_lane(tx: &Transaction<'_>, order: OrderId) -> Result<()> {
    let row = "SELECT id FROM orders WHERE id = $1 FOR NO KEY UPDATE";
    tx.execute(&tx.prepare(row).await?, &[&(order.get() as i64)]).await?;
    let lane = "SELECT id FROM lane WHERE id > $1 AND id < $1 + 256 ORDER BY id FOR UPDATE";
    tx.execute(&tx.prepare(lane).await?, &[&rows::key(order, 0)]).await?;
    Ok(())
}

/// Puts a dead mail back at its place in the lane: a later one that was the head waits behind it again, but not behind the one
/// with the link. Returns the
/// class that it had; `None` when it is not dead.
async fn redrive(tx: &Transaction<'_>, id: MailId, now: Timestamp) -> Result<Option<Option<Class>>> {
    lock_lane(tx, id.order).await?;
    let (first, key) = (rows::key(id.order, 0), ledger::key(id));
    let back = "WITH d AS (DELETE FROM dead_mails WHERE id = $1 AND NOT dropped RETURNING *),
         l AS (INSERT INTO lane (id, at, head, sending, due_at, tried_at, attempts, ambiguous, reply)
               SELECT d.id, h.at, (d.id & 255 = 0)::int, false, $2, d.tried_at, d.attempts, d.ambiguous, d.reply
               FROM d JOIN history h ON h.id = d.id)
         SELECT class FROM d";
    let class = tx.query_opt(&tx.prepare(back).await?, &[&key, &now.as_millis()]).await?;
    let Some(class) = class.map(|row| rows::class(&row, 0)) else { return Ok(None) };
    if id.is_link() {
        return Ok(Some(class));
    }
    let wait = "UPDATE lane SET head = CASE WHEN sending THEN 2 ELSE 0 END WHERE id > $1 AND id < $2 AND head = 1";
    tx.execute(&tx.prepare(wait).await?, &[&key, &(first + 256)]).await?;
    ledger::promote(tx, &[key]).await?;
    Ok(Some(class))
}
