//! The mails about an order's events, one behind the other: which is the first, which wait for it, and which are dropped. The
//! mail with its link stands before the lane, and is always a head while it is unsettled.

use rusqlite::{Connection, params};

use crate::{
    domain::Timestamp,
    store::{
        Result,
        ledger::{Class, MailId, MailStatus, Reason},
        sqlite::{
            rows,
            tally::{Kind, Tally},
        },
    },
};

/// Makes the first unsettled mail in the lane of `key` its head; returns whether it was not before.
pub(super) fn promote(conn: &Connection, key: i64) -> Result<bool> {
    let mut promote = conn.prepare_cached(
        "UPDATE history SET head = 1 WHERE head <> 1 AND id = (
             SELECT min(id) FROM history WHERE id > ?1 AND id < ?2 AND mail IN ('pending', 'sending'))",
    )?;
    Ok(promote.execute(lane(key))? > 0)
}

/// Puts a dead mail back at its place in the lane: a later one that was the head waits behind it again.
pub(in crate::store::sqlite) fn redrive(conn: &Connection, id: MailId, now: Timestamp) -> Result<()> {
    let (key, now) = (key(id), now.as_millis());
    conn.execute(
        "UPDATE history SET mail = 'pending', class = NULL, due_at = ?, begun_at = NULL, tries = 0, copies = 0 WHERE id = ?",
        (now, key),
    )?;
    if id.is_link() {
        conn.execute("UPDATE history SET head = 1 WHERE id = ?", [key])?;
        return Ok(());
    }
    wait_behind(conn, key)?;
    promote(conn, lane(key).0).map(drop)
}

/// Lets the later mails in the lane of `key` wait for it.
pub(in crate::store::sqlite) fn wait_behind(conn: &Connection, key: i64) -> Result<()> {
    conn.prepare_cached(
        "UPDATE history SET head = CASE mail WHEN 'sending' THEN 2 ELSE 0 END WHERE id > ? AND id < ? AND head = 1
             AND EXISTS (SELECT 1 FROM history WHERE id = ?1 AND mail IN ('pending', 'sending'))",
    )?
    .execute([key, lane(key).1])?;
    Ok(())
}

/// The key of a mail.
pub(in crate::store::sqlite) const fn key(id: MailId) -> i64 {
    rows::key(id.order, id.seq)
}

/// The keys between which the lane of `key` lies, both exclusive.
pub(super) const fn lane(key: i64) -> (i64, i64) {
    let first = key & !0xff;
    (first, first + 0x100)
}

/// Mails about earlier states of an order that is cancelled or refused by the event of `key` wait no longer; those that are
/// being sent may finish.
pub(in crate::store::sqlite) fn drop_waiting(conn: &Connection, key: i64, tally: &mut Tally) -> Result<()> {
    let waiting = "SELECT id, class FROM history WHERE id > ? AND id < ? AND mail = 'pending'";
    let mut select = conn.prepare_cached(waiting)?;
    let waiting = select.query_map([lane(key).0, key], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?)))?;
    for (key, class) in waiting.collect::<rusqlite::Result<Vec<(i64, _)>>>()? {
        tally.add(Kind::Mail, MailStatus::Pending.name(), -1);
        tally.add(Kind::Mail, MailStatus::Dropped.name(), 1);
        say_dropped(conn, key, class.as_deref().and_then(Class::named), tally)?;
    }
    promote(conn, key).map(drop)
}

/// Notes why a mail is dropped that was pending, of a class, or is dropped from the start.
pub(in crate::store::sqlite) fn say_dropped(
    conn: &Connection,
    key: i64,
    was: Option<Class>,
    tally: &mut Tally,
) -> Result<()> {
    let Reason { class, text } = Reason::cancelled();
    conn.prepare_cached("UPDATE history SET mail = 'dropped', head = 0, class = ?, reply = ? WHERE id = ?")?
        .execute(params![class.name(), text, key])?;
    tally.class(MailStatus::Pending.name(), was, -1);
    tally.class(MailStatus::Dropped.name(), Some(class), 1);
    Ok(())
}
