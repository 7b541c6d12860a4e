//! Dead letters: records in a table of their own, mails in the ledger.

use async_trait::async_trait;
use rusqlite::{Connection, Params, Row, params};

use super::{
    Error, Result, SqliteStore, ledger, rows, suppressed,
    tally::{Kind, Tally},
};
use crate::{
    domain::{DeadLetter, OrderId, Source, Timestamp, wire},
    store::{
        dead::{Action, DeadId, DeadItem, DeadLetters, LISTED_MAX, RUN_AGAIN},
        ledger::{MailId, MailStatus},
    },
};

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn dead(&self, reason: Option<&str>, limit: usize) -> Result<Vec<DeadItem>> {
        let reason = reason.map(str::to_owned);
        self.readers.read(move |conn| list(conn, reason.as_deref(), limit)).await
    }

    async fn dead_one(&self, id: &DeadId) -> Result<Option<DeadItem>> {
        let id = id.clone();
        self.readers.read(move |conn| one(conn, &id)).await
    }

    async fn dead_record_of(&self, order: OrderId) -> Result<Option<DeadItem>> {
        self.readers.read(move |conn| record_of(conn, order)).await
    }

    async fn decide(&self, id: &DeadId, action: Action, now: Timestamp) -> Result<bool> {
        let id = id.clone();
        self.writer
            .run(move |conn| match &id {
                DeadId::Mail(mail) => decide_mail(conn, *mail, action, now),
                DeadId::Record(source) => {
                    let to = if action == Action::Drop { "dropped" } else { "chosen" };
                    move_record(conn, source, "dead", to)
                }
            })
            .await
    }

    async fn claim_redrives(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<DeadLetter>> {
        self.writer.run(move |conn| claim(conn, now, until, limit)).await
    }

    async fn redriven(&self, source: &Source) -> Result<()> {
        let source = source.clone();
        self.writer.run(move |conn| move_record(conn, &source, "chosen", "redriven").map(drop)).await
    }

    async fn dead_record_count(&self) -> Result<u64> {
        self.readers.read(record_count).await
    }
}

pub(super) fn record_count(conn: &Connection) -> Result<u64> {
    let sql = "SELECT count(*) FROM dead_records WHERE status IN ('dead', 'chosen')";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))? as u64)
}

/// Keeps a dead record, if its source is not there yet; of one that stands for many it learns what more there is by now.
pub(super) fn insert(conn: &Connection, letter: &DeadLetter) -> Result<()> {
    let headers = serde_json::to_string(&letter.headers).expect("texts and bytes always serialise");
    let source = &letter.source;
    let again = if wire::run(&letter.headers).is_some() { RUN_AGAIN } else { "NOTHING" };
    let sql = format!(
        "INSERT INTO dead_records (topic, partition, offset, reason, attempts, at, key, value, headers)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO {again}"
    );
    conn.prepare_cached(&sql)?.execute(params![
        source.topic,
        source.partition,
        source.offset as i64,
        letter.reason,
        letter.attempts,
        letter.at.as_millis(),
        letter.key,
        letter.value,
        headers,
    ])?;
    Ok(())
}

fn list(conn: &Connection, reason: Option<&str>, limit: usize) -> Result<Vec<DeadItem>> {
    let rows_max = limit as i64;
    let records = "status = 'dead' AND (?1 IS NULL OR instr(reason, ?1)) ORDER BY at, rowid LIMIT ?2";
    let mails = "(?1 IS NULL OR instr(h.reply, ?1)) ORDER BY h.tried_at, h.id LIMIT ?2";
    let mut items = dead_mails(conn, mails, params![reason, rows_max])?;
    let records = letters(conn, &listed(), records, params![reason, rows_max])?;
    items.extend(records.into_iter().map(DeadItem::of_record));
    items.sort_by_key(|item| item.at);
    items.truncate(limit);
    Ok(items)
}

fn one(conn: &Connection, id: &DeadId) -> Result<Option<DeadItem>> {
    match id {
        DeadId::Mail(id) => Ok(dead_mails(conn, "d.id = ?", [ledger::key(*id)])?.pop()),
        DeadId::Record(source) => {
            let condition = "topic = ? AND partition = ? AND offset = ? AND status = 'dead'";
            let found = letters(conn, WHOLE, condition, params![source.topic, source.partition, source.offset as i64])?;
            Ok(found.into_iter().next().map(DeadItem::of_record))
        }
    }
}

/// Looks closer at each record with the number in its key or value, at one after the other.
fn record_of(conn: &Connection, order: OrderId) -> Result<Option<DeadItem>> {
    let condition = "status = 'dead' AND (key = ?1 OR instr(value, ?1)) ORDER BY at, rowid";
    let number = order.to_string().into_bytes();
    let sql = select_letters(WHOLE, condition);
    let mut select = conn.prepare_cached(&sql)?;
    let mut found = select.query([number])?;
    while let Some(row) = found.next()? {
        let item = DeadItem::of_record(letter(row)?);
        if item.order == Some(order) {
            return Ok(Some(item));
        }
    }
    Ok(None)
}

fn dead_mails(conn: &Connection, condition: &str, params: impl Params) -> Result<Vec<DeadItem>> {
    let sql = format!(
        "SELECT h.id, h.reply, h.attempts, h.tried_at, h.class FROM dead_mails d CROSS JOIN history h ON h.id = d.id
         WHERE {condition}"
    );
    let mut select = conn.prepare_cached(&sql)?;
    let mut found = select.query(params)?;
    let mut items = Vec::new();
    while let Some(row) = found.next()? {
        let id = rows::mail_id(row, 0)?;
        items.push(DeadItem {
            id: DeadId::Mail(id),
            order: Some(id.order),
            reason: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
            class: rows::class(row, 4)?,
            attempts: row.get(2)?,
            at: rows::time(row, 3)?,
            letter: None,
        });
    }
    Ok(items)
}

/// The columns of a record as it is.
const WHOLE: &str = "key, value, headers";

/// Those of what a list tells of it. The letter's own headers are the last ones. `substr` makes NULL of what is
/// empty.
fn listed() -> String {
    let start = |column| format!("iif(length({column}) > {LISTED_MAX}, substr({column}, 1, {LISTED_MAX}), {column})");
    let (key, value, own) = (start("key"), start("value"), format!("instr(headers, '[\"{}')", wire::OWN));
    format!(
        "{key}, {value}, CASE WHEN length(headers) <= {LISTED_MAX} THEN headers
             WHEN {own} THEN '[' || substr(headers, {own}) ELSE '[]' END"
    )
}

fn select_letters(columns: &str, condition: &str) -> String {
    format!("SELECT topic, partition, offset, reason, attempts, at, {columns} FROM dead_records WHERE {condition}")
}

fn letters(conn: &Connection, columns: &str, condition: &str, params: impl Params) -> Result<Vec<DeadLetter>> {
    let mut select = conn.prepare_cached(&select_letters(columns, condition))?;
    let mut found = select.query(params)?;
    let mut letters = Vec::new();
    while let Some(row) = found.next()? {
        letters.push(letter(row)?);
    }
    Ok(letters)
}

fn letter(row: &Row) -> Result<DeadLetter> {
    let source = Source { topic: row.get(0)?, partition: row.get(1)?, offset: row.get::<_, i64>(2)? as u64 };
    let headers = serde_json::from_str(rows::text(row, 8)?).map_err(|_| {
        let Source { topic, partition, offset } = &source;
        Error::Fatal(format!("the dead record {topic}/{partition}/{offset} in the store has no valid headers"))
    })?;
    Ok(DeadLetter {
        source,
        reason: row.get(3)?,
        attempts: row.get(4)?,
        at: rows::time(row, 5)?,
        key: row.get(6)?,
        value: row.get(7)?,
        headers,
    })
}

fn claim(conn: &Connection, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<DeadLetter>> {
    let condition = "status = 'chosen' AND claimed_until <= ? ORDER BY at, rowid LIMIT ?";
    let claimed = letters(conn, WHOLE, condition, params![now.as_millis(), limit as i64])?;
    let mut mark = conn
        .prepare_cached("UPDATE dead_records SET claimed_until = ? WHERE topic = ? AND partition = ? AND offset = ?")?;
    for Source { topic, partition, offset } in claimed.iter().map(|letter| &letter.source) {
        mark.execute(params![until.as_millis(), topic, partition, *offset as i64])?;
    }
    Ok(claimed)
}

fn move_record(conn: &Connection, source: &Source, from: &str, to: &str) -> Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE dead_records SET status = ?5 WHERE topic = ?1 AND partition = ?2 AND offset = ?3 AND status = ?4",
        )?
        .execute(params![source.topic, source.partition, source.offset as i64, from, to])?;
    Ok(changed == 1)
}

fn decide_mail(conn: &Connection, id: MailId, action: Action, now: Timestamp) -> Result<bool> {
    let key = ledger::key(id);
    if conn.execute("DELETE FROM dead_mails WHERE id = ?", [key])? == 0 {
        return Ok(false);
    }
    let class = conn.query_row("SELECT class FROM history WHERE id = ?", [key], |row| Ok(rows::class(row, 0)))??;
    let becomes = match action {
        Action::Redrive | Action::Release => {
            ledger::redrive(conn, id, now)?;
            MailStatus::Pending
        }
        Action::Drop => {
            conn.execute("UPDATE history SET mail = 'dropped' WHERE id = ?", [key])?;
            MailStatus::Dropped
        }
    };
    if action == Action::Release {
        suppressed::release_recipient(conn, id.order)?;
    }
    let mut tally = Tally::default();
    tally.add(Kind::Mail, MailStatus::Dead.name(), -1);
    tally.add(Kind::Mail, becomes.name(), 1);
    tally.class(MailStatus::Dead.name(), class, -1);
    if becomes == MailStatus::Dropped {
        tally.class(becomes.name(), class, 1);
    }
    tally.write(conn)?;
    Ok(true)
}
