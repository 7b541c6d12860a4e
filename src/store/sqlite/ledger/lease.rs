//! Mails are taken to be sent.

use rusqlite::{Connection, params};

use super::{
    lanes::{key, promote, say_dropped},
    settle::Settling,
};
use crate::{
    domain::Timestamp,
    store::{
        Error, Result,
        ledger::{Class, Leasing, Mail, MailId, MailStatus, Reason},
        sqlite::{
            rows,
            tally::{Kind, Tally},
        },
    },
};

/// Whether a mail could be leased.
pub(in crate::store::sqlite) fn is_any_due(conn: &Connection, now: Timestamp) -> Result<bool> {
    let sql = "SELECT 1 FROM history INDEXED BY mail_due WHERE head > 0 AND due_at <= ? AND head = 1 LIMIT 1";
    Ok(conn.prepare_cached(sql)?.exists([now.as_millis()])?)
}

pub(in crate::store::sqlite) fn lease(conn: &Connection, now: Timestamp, leasing: Leasing) -> Result<Vec<Mail>> {
    let Leasing { until, limit } = leasing;
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
        if id.is_dropped(row.get(FIRST + 15)?) {
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
