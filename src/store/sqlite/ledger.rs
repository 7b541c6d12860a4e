//! The mail ledger. The head of a lane is the first unsettled mail of an order; every change here keeps the column
//! `head` true to that, and only heads are leased.

use async_trait::async_trait;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::{
    Error, Result, SqliteStore, rows, suppressed,
    tally::{self, Kind, Tally},
};
use crate::{
    domain::Timestamp,
    store::{
        ledger::{Class, Fate, Ledger, LedgerCounts, Mail, MailId, MailStatus, Reason, Settlement, Verdict},
        orders::is_dropped,
    },
};

#[async_trait]
impl Ledger for SqliteStore {
    async fn lease(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
        self.writer.run(move |conn| lease(conn, now, until, limit)).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<u64> {
        self.writer.run(move |conn| settle(conn, &settlements)).await
    }

    async fn renew(&self, attempts: Vec<(MailId, u32)>, until: Timestamp) -> Result<Vec<MailId>> {
        self.writer.run(move |conn| renew(conn, &attempts, until)).await
    }

    async fn expire_leases(&self, now: Timestamp) -> Result<u64> {
        self.writer.run(move |conn| expire(conn, now)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.readers.read(next_due).await
    }

    async fn ledger_counts(&self) -> Result<LedgerCounts> {
        self.readers.read(counts).await
    }
}

fn lease(conn: &Connection, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
    let Due { mails, damaged, dropped } = due(conn, now, limit)?;
    for (id, error) in damaged {
        bury_damaged(conn, id, &error.to_string())?;
    }
    for id in dropped {
        drop_head(conn, id)?;
    }
    let mut mark = conn.prepare_cached(
        "UPDATE history SET mail = 'sending', class = NULL, attempts = ?2, ambiguous = ?3, due_at = ?4, tried_at = ?5,
             begun_at = ?6, tries = ?7
         WHERE id = ?1",
    )?;
    for Mail { id, attempt, ambiguous, begun_at, tries, .. } in &mails {
        let (until, now) = (until.as_millis(), now.as_millis());
        mark.execute(params![key(*id), attempt, ambiguous, until, now, begun_at.as_millis(), tries])?;
    }
    Ok(mails)
}

fn renew(conn: &Connection, attempts: &[(MailId, u32)], until: Timestamp) -> Result<Vec<MailId>> {
    let sql = "UPDATE history SET due_at = ?3 WHERE id = ?1 AND mail = 'sending' AND attempts = ?2";
    let mut renew = conn.prepare_cached(sql)?;
    let mut held = Vec::with_capacity(attempts.len());
    for (id, attempt) in attempts {
        if renew.execute(params![key(*id), attempt, until.as_millis()])? == 1 {
            held.push(*id);
        }
    }
    Ok(held)
}

/// A mail whose order is damaged goes to nobody, and holds nobody up.
fn bury_damaged(conn: &Connection, id: MailId, reason: &str) -> Result<()> {
    let key = key(id);
    let held = "SELECT mail, class, attempts FROM history WHERE id = ?";
    let (status, class, attempt) = conn.prepare_cached(held)?.query_row([key], |row| {
        let class: Option<String> = row.get(1)?;
        Ok((row.get::<_, String>(0)?, class.as_deref().and_then(Class::named), row.get(2)?))
    })?;
    // only what is being sent can be settled
    conn.prepare_cached("UPDATE history SET mail = 'sending' WHERE id = ?")?.execute([key])?;
    Settling::new(conn)?.dead_letter(key, attempt, &Reason::new(Class::Composing, reason))?;
    let mut tally = Tally::default();
    tally.add(Kind::Mail, &status, -1);
    tally.class(&status, class, -1);
    tally.add(Kind::Mail, MailStatus::Dead.name(), 1);
    tally.class(MailStatus::Dead.name(), Some(Class::Composing), 1);
    tally.write(conn)
}

/// Mails about earlier states of an order that is cancelled or refused by the event of `key` wait no longer; those that are
/// being sent may finish.
pub(super) fn drop_waiting(conn: &Connection, key: i64, tally: &mut Tally) -> Result<()> {
    let waiting = "SELECT id, class FROM history WHERE id > ? AND id < ? AND mail = 'pending'";
    let mut select = conn.prepare_cached(waiting)?;
    let waiting = select.query_map([lane(key).0, key], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?)))?;
    for (key, class) in waiting.collect::<rusqlite::Result<Vec<(i64, _)>>>()? {
        tally.add(Kind::Mail, MailStatus::Pending.name(), -1);
        tally.add(Kind::Mail, MailStatus::Dropped.name(), 1);
        say_dropped(conn, key, class.as_deref().and_then(Class::named), tally)?;
    }
    promote(conn, key)
}

/// Notes why a mail is dropped that was pending, of a class, or is dropped from the start.
pub(super) fn say_dropped(conn: &Connection, key: i64, was: Option<Class>, tally: &mut Tally) -> Result<()> {
    let Reason { class, text } = Reason::cancelled();
    conn.prepare_cached("UPDATE history SET mail = 'dropped', head = 0, class = ?, reply = ? WHERE id = ?")?
        .execute(params![class.name(), text, key])?;
    tally.class(MailStatus::Pending.name(), was, -1);
    tally.class(MailStatus::Dropped.name(), Some(class), 1);
    Ok(())
}

/// A mail that waited again when its order was cancelled: it was being sent then, or was dead and is driven again.
fn drop_head(conn: &Connection, id: MailId) -> Result<()> {
    let (key, mut tally) = (key(id), Tally::default());
    let sql = "SELECT mail, class FROM history WHERE id = ?";
    let (status, class): (String, Option<String>) =
        conn.prepare_cached(sql)?.query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    tally.add(Kind::Mail, &status, -1);
    tally.add(Kind::Mail, MailStatus::Dropped.name(), 1);
    say_dropped(conn, key, class.as_deref().and_then(Class::named), &mut tally)?;
    if status == MailStatus::Sending.name() {
        conn.prepare_cached("UPDATE history SET ambiguous = 1 WHERE id = ?")?.execute([key])?;
    }
    promote(conn, key)?;
    tally.write(conn)
}

/// The mails that are due, as they are once leased, those whose order is damaged, and those that are not sent any more.
#[derive(Default)]
struct Due {
    mails: Vec<Mail>,
    damaged: Vec<(MailId, Error)>,
    dropped: Vec<MailId>,
}

fn due(conn: &Connection, now: Timestamp, limit: usize) -> Result<Due> {
    const WAITS: usize = rows::ORDER_COLUMN_COUNT;
    const FIRST: usize = WAITS + rows::WAITS_COLUMN_COUNT;
    let sql = format!(
        "SELECT {}, {}, h.id, h.estado, h.at, h.mail, h.attempts, h.ambiguous, h.class, h.begun_at, h.tries, h.copies,
                s.address, s.at, s.reason, s.mail, o.address, o.mails_from, h.template, h.step, h.next, h.expect_at
         FROM history h INDEXED BY mail_due CROSS JOIN orders o ON o.id = h.id >> 8
         LEFT JOIN suppressed s ON s.address = lower(coalesce(o.address, o.usermail))
         WHERE h.head > 0 AND h.due_at <= ? AND h.head = 1 ORDER BY h.due_at LIMIT ?",
        rows::ORDER_COLUMNS,
        rows::WAITS_COLUMNS
    );
    let mut select = conn.prepare_cached(&sql)?;
    let mut found = select.query(params![now.as_millis(), limit as i64])?;
    let (mut due, mut tally) = (Due::default(), Tally::default());
    while let Some(row) = found.next()? {
        let id = rows::mail_id(row, FIRST)?;
        if is_dropped(id.seq, row.get(FIRST + 15)?) {
            due.dropped.push(id);
            continue;
        }
        let order = rows::order(row).and_then(|order| {
            let address = rows::address(rows::optional_text(row, FIRST + 14)?, order.id)?;
            Ok((order, address))
        });
        let (order, address) = match order {
            Ok(order) => order,
            Err(error) => {
                due.damaged.push((id, error));
                continue;
            }
        };
        let (estado, status) = (rows::text(row, FIRST + 1)?, rows::text(row, FIRST + 3)?);
        // sending: a lease that ran out
        let ambiguous = status == MailStatus::Sending.name() || row.get(FIRST + 5)?;
        due.mails.push(Mail {
            order,
            address,
            id,
            estado: estado.into(),
            template: rows::optional_text(row, FIRST + 16)?.unwrap_or(estado).into(),
            step: row.get::<_, Option<u8>>(FIRST + 17)?.unwrap_or(id.seq),
            at: rows::time(row, FIRST + 2)?,
            next: rows::optional_text(row, FIRST + 18)?.map(Into::into),
            waits: rows::waits(row, WAITS)?,
            expect_at: rows::optional_time(row, FIRST + 19)?,
            begun_at: rows::optional_time(row, FIRST + 7)?.unwrap_or(now),
            attempt: row.get::<_, u32>(FIRST + 4)? + 1,
            tries: row.get::<_, u32>(FIRST + 8)? + 1,
            copies: row.get(FIRST + 9)?,
            ambiguous,
            suppressed: rows::suppression(row, FIRST + 10)?,
        });
        tally.add(Kind::Mail, status, -1);
        tally.class(status, rows::class(row, FIRST + 6)?, -1);
        tally.add(Kind::Mail, MailStatus::Sending.name(), 1);
        tally.add(Kind::Repeated, "", i64::from(ambiguous));
    }
    tally.write(conn)?;
    Ok(due)
}

fn settle(conn: &Connection, settlements: &[Settlement]) -> Result<u64> {
    let mut ledger = Settling::new(conn)?;
    let (mut settled, mut tally) = (0, Tally::default());
    for settlement in settlements {
        let (key, attempt) = (key(settlement.id), settlement.attempt);
        let (status, class, counts) = match ledger.fate(settlement)? {
            Fate::Sent(reply) => (MailStatus::Sent, None, ledger.end(key, attempt, MailStatus::Sent, None, reply)?),
            Fate::Dead(reason) => (MailStatus::Dead, Some(reason.class), ledger.dead_letter(key, attempt, reason)?),
            Fate::Dropped { unknown } => {
                (MailStatus::Dropped, Some(Class::Cancelled), ledger.cancel(key, attempt, unknown)?)
            }
            Fate::Waits { until, reason, unknown } => {
                (MailStatus::Pending, Some(reason.class), ledger.retry(key, attempt, until, reason, unknown)?)
            }
        };
        if !counts {
            continue;
        }
        settled += 1;
        tally.add(Kind::Mail, MailStatus::Sending.name(), -1);
        tally.add(Kind::Mail, status.name(), 1);
        tally.class(status.name(), class, 1);
        if let Some(reason) = settlement.suppresses() {
            tally.add(Kind::Suppressed, "", suppressed::insert(conn, key, &settlement.to, &reason.text)?);
        }
    }
    tally.write(conn)?;
    Ok(settled)
}

/// The statements that settle, looked up once. Each answers whether the attempt was the current one.
struct Settling<'conn> {
    conn: &'conn Connection,
    end: CachedStatement<'conn>,
    retry: CachedStatement<'conn>,
    later: CachedStatement<'conn>,
}

impl<'conn> Settling<'conn> {
    fn new(conn: &'conn Connection) -> Result<Self> {
        Ok(Self {
            conn,
            end: conn.prepare_cached(
                "UPDATE history SET mail = ?3, reply = ?4, class = ?5, head = 0
                 WHERE id = ?1 AND mail = 'sending' AND attempts = ?2",
            )?,
            retry: conn.prepare_cached(
                "UPDATE history SET mail = 'pending', reply = ?3, due_at = coalesce(?4, tried_at),
                     ambiguous = ambiguous OR ?5, class = ?6, copies = copies + ?5
                 WHERE id = ?1 AND mail = 'sending' AND attempts = ?2",
            )?,
            later: conn.prepare_cached(
                "SELECT 1 FROM history WHERE id > ?1 AND id < ?2 AND mail IN ('pending', 'sending') LIMIT 1",
            )?,
        })
    }

    /// What becomes of a mail; only one that was not accepted depends on its order.
    fn fate<'a>(&self, settlement: &'a Settlement) -> Result<Fate<'a>> {
        if let Verdict::Sent(reply) = &settlement.verdict {
            return Ok(Fate::Sent(reply));
        }
        let sql = "SELECT coalesce(address, usermail), mails_from FROM orders WHERE id = ?";
        let mut select = self.conn.prepare_cached(sql)?;
        let mut found = select.query([settlement.id.order.get() as i64])?;
        Ok(match found.next()? {
            Some(row) => settlement.fate(rows::text(row, 0)?, row.get(1)?),
            None => settlement.fate(settlement.to.as_str(), None),
        })
    }

    fn cancel(&mut self, key: i64, attempt: u32, unknown: bool) -> Result<bool> {
        let Reason { class, text } = Reason::cancelled();
        let current = self.end(key, attempt, MailStatus::Dropped, Some(class), &text)?;
        if current && unknown {
            self.conn.prepare_cached("UPDATE history SET ambiguous = 1 WHERE id = ?")?.execute([key])?;
        }
        Ok(current)
    }

    fn end(&mut self, key: i64, attempt: u32, status: MailStatus, class: Option<Class>, reply: &str) -> Result<bool> {
        if self.end.execute(params![key, attempt, status.name(), reply, class.map(Class::name)])? == 0 {
            return Ok(false);
        }
        // nearly always there is none, and then nothing has to be written
        if self.later.exists([key, lane(key).1])? {
            promote(self.conn, key)?;
        }
        Ok(true)
    }

    fn dead_letter(&mut self, key: i64, attempt: u32, reason: &Reason) -> Result<bool> {
        let current = self.end(key, attempt, MailStatus::Dead, Some(reason.class), &reason.text)?;
        if current {
            self.conn.prepare_cached("INSERT INTO dead_mails (id) VALUES (?)")?.execute([key])?;
        }
        Ok(current)
    }

    fn retry(
        &mut self,
        key: i64,
        attempt: u32,
        until: Option<Timestamp>,
        reason: &Reason,
        unknown: bool,
    ) -> Result<bool> {
        let (text, class, until) = (&reason.text, reason.class.name(), until.map(Timestamp::as_millis));
        Ok(self.retry.execute(params![key, attempt, text, until, unknown, class])? == 1)
    }
}

/// Makes the first unsettled mail in the lane of `key` its head.
fn promote(conn: &Connection, key: i64) -> Result<()> {
    conn.prepare_cached(
        "UPDATE history SET head = 1 WHERE head <> 1 AND id = (
             SELECT min(id) FROM history WHERE id > ?1 AND id < ?2 AND mail IN ('pending', 'sending'))",
    )?
    .execute(lane(key))?;
    Ok(())
}

/// Puts a dead mail back at its place in the lane: a later one that was the head waits behind it again.
pub(super) fn redrive(conn: &Connection, id: MailId, now: Timestamp) -> Result<()> {
    let (key, now) = (key(id), now.as_millis());
    conn.execute(
        "UPDATE history SET mail = 'pending', class = NULL, due_at = ?, begun_at = NULL, tries = 0, copies = 0 WHERE id = ?",
        (now, key),
    )?;
    wait_behind(conn, key)?;
    promote(conn, lane(key).0)
}

/// Lets the later mails in the lane of `key` wait for it.
pub(super) fn wait_behind(conn: &Connection, key: i64) -> Result<()> {
    conn.prepare_cached(
        "UPDATE history SET head = CASE mail WHEN 'sending' THEN 2 ELSE 0 END WHERE id > ? AND id < ? AND head = 1
             AND EXISTS (SELECT 1 FROM history WHERE id = ?1 AND mail IN ('pending', 'sending'))",
    )?
    .execute([key, lane(key).1])?;
    Ok(())
}

/// The key of a mail.
pub(super) const fn key(id: MailId) -> i64 {
    rows::key(id.order, id.seq)
}

/// The keys between which the lane of `key` lies.
const fn lane(key: i64) -> (i64, i64) {
    let first = key & !0xff;
    (first, first + 0x100)
}

fn expire(conn: &Connection, now: Timestamp) -> Result<u64> {
    let expired = conn
        .prepare_cached(
            "UPDATE history INDEXED BY mail_due SET mail = 'pending', ambiguous = 1, due_at = ?, class = 'unanswered'
             WHERE head > 0 AND mail = 'sending'",
        )?
        .execute([now.as_millis()])?;
    let mut tally = Tally::default();
    tally.add(Kind::Mail, MailStatus::Sending.name(), -(expired as i64));
    tally.add(Kind::Mail, MailStatus::Pending.name(), expired as i64);
    tally.class(MailStatus::Pending.name(), Some(Class::Unanswered), expired as i64);
    tally.write(conn)?;
    Ok(expired as u64)
}

fn next_due(conn: &Connection) -> Result<Option<Timestamp>> {
    let sql = "SELECT due_at FROM history INDEXED BY mail_due WHERE head > 0 AND head = 1 ORDER BY due_at LIMIT 1";
    let due: Option<i64> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(due.map(Timestamp::from_millis))
}

/// From its name in the tally.
fn counted_class(name: &str, n: u64) -> Option<(MailStatus, Class, u64)> {
    let (status, class) = name.split_once('/')?;
    Some((rows::mail_status(Some(status))?, Class::named(class)?, n))
}

pub(super) fn counts(conn: &Connection) -> Result<LedgerCounts> {
    let by_name = tally::read(conn, Kind::Mail)?;
    let count =
        |status: MailStatus| by_name.iter().find(|(name, _)| **name == *status.name()).map(|(_, n)| (status, *n));
    // within a lane, the head's state is the oldest
    let oldest: Option<i64> = conn
        .prepare_cached("SELECT min(at) FROM history INDEXED BY mail_due WHERE head > 0")?
        .query_row([], |row| row.get(0))?;
    Ok(LedgerCounts {
        by_status: MailStatus::ALL.into_iter().filter_map(count).collect(),
        by_class: tally::read(conn, Kind::Class)?.iter().filter_map(|(name, n)| counted_class(name, *n)).collect(),
        suppressed: tally::read(conn, Kind::Suppressed)?.iter().map(|(_, n)| n).sum(),
        repeated: tally::read(conn, Kind::Repeated)?.iter().map(|(_, n)| n).sum(),
        oldest_unsettled_at: oldest.map(Timestamp::from_millis),
    })
}
