//! The projection's transaction: the hot path of writing.

use std::borrow::Cow;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::{
    Error, Result,
    births::{Births, Stored},
    dead, ledger, outcomes, rows,
    tally::{Kind, Tally},
};
use crate::{
    domain::{
        Closing, DeadLetter, EmailAddress, Lang, Order, OrderId, Timestamp,
        lifecycle::{self, Relation},
    },
    eventlog::TopicPartition,
    store::{
        columns::{self, Columns},
        ledger::{MailId, MailStatus},
        orders::{Advance, Applied, Batch, Details, Incoming, conflict},
    },
};

/// Applies a batch inside the transaction of `conn`, which the caller undoes when this fails.
pub(super) fn apply(conn: &Connection, batch: &Batch) -> Result<Applied> {
    if is_applied(conn, batch)? {
        return Ok(Applied::default());
    }
    for advance in &batch.advances {
        move_on(conn, &batch.group, advance)?;
    }
    let mut projection = Projection::new(conn, batch)?;
    for incoming in &batch.events {
        projection.event(incoming)?;
    }
    let (letters, floods) = batch.bound(std::mem::take(&mut projection.conflicts));
    for letter in letters.iter().chain(&batch.dead) {
        dead::insert(conn, letter)?;
    }
    for outcome in &batch.outcomes {
        outcomes::insert(conn, outcome)?;
    }
    Ok(Applied { floods, ..projection.finish()? })
}

/// Whether the batch is there already: the end of its first commit was unknown, and it was done.
fn is_applied(conn: &Connection, batch: &Batch) -> Result<bool> {
    for Advance { tp, to, from, .. } in &batch.advances {
        if from == to || held(conn, &batch.group, tp)? != *to {
            return Ok(false);
        }
    }
    Ok(!batch.advances.is_empty())
}

/// The offset that the group has reached.
fn held(conn: &Connection, group: &str, tp: &TopicPartition) -> Result<u64> {
    let held: Option<i64> = conn
        .prepare_cached("SELECT offset FROM projected WHERE group_name = ? AND topic = ? AND partition = ?")?
        .query_row(params![group, tp.topic, tp.partition], |row| row.get(0))
        .optional()?;
    Ok(held.unwrap_or(0) as u64)
}

/// Compare-and-set of one input offset.
fn move_on(conn: &Connection, group: &str, advance: &Advance) -> Result<()> {
    let Advance { tp, from, to, print } = advance;
    if held(conn, group, tp)? != *from {
        return Err(Error::Fenced(tp.to_string()));
    }
    let replace =
        "INSERT OR REPLACE INTO projected (group_name, topic, partition, offset, print) VALUES (?, ?, ?, ?, ?)";
    let params = params![group, tp.topic, tp.partition, *to as i64, print.map(u64::cast_signed)];
    conn.prepare_cached(replace)?.execute(params)?;
    Ok(())
}

/// The statements of one batch, looked up once, and what it did so far.
struct Projection<'conn> {
    conn: &'conn Connection,
    find: CachedStatement<'conn>,
    known: CachedStatement<'conn>,
    waiting: CachedStatement<'conn>,
    insert: CachedStatement<'conn>,
    enter: CachedStatement<'conn>,
    start: CachedStatement<'conn>,
    finish: CachedStatement<'conn>,
    batch: &'conn Batch,
    births: Births<'conn>,
    tally: Tally,
    applied: Applied,
    /// Dead letters of events of other orders, before they are bounded.
    conflicts: Vec<DeadLetter>,
}

/// What the store holds of an order.
struct Held {
    fingerprint: i64,
    stored: Stored,
    /// Its latest event.
    seq: u8,
    estado: Box<str>,
    at: Timestamp,
    closing: Option<Closing>,
    details: Details,
}

impl<'conn> Projection<'conn> {
    fn new(conn: &'conn Connection, batch: &'conn Batch) -> Result<Self> {
        Ok(Self {
            conn,
            find: conn.prepare_cached(
                "SELECT o.fingerprint, h.seq, h.estado, h.last, h.closes, o.partition, o.flow, o.address, o.mails_from,
                     h.at, o.lang, o.placed_at, o.trace
                 FROM orders o CROSS JOIN history h
                 WHERE o.id = ?1 AND h.id > ?2 AND h.id < ?2 + 256 ORDER BY h.id DESC LIMIT 1",
            )?,
            known: conn.prepare_cached("SELECT 1 FROM history WHERE id = ?")?,
            waiting: conn.prepare_cached(
                "SELECT 1 FROM history WHERE id > ? AND id < ? AND mail IN ('pending', 'sending') LIMIT 1",
            )?,
            insert: conn.prepare_cached(
                "INSERT INTO orders (id, gameid, name, price, usermail, lang, placed_at, trace, fingerprint,
                     partition, flow, address, mails_from)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            enter: conn.prepare_cached(
                "INSERT INTO history (id, estado, at, next_at, last, mail, due_at, tried_at, head, closes, waits, left_ms,
                     step, change, exits, expect_at, next, by, command, reason, template, record_offset, attempts, tries,
                     begun_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?23, ?23, ?)",
            )?,
            start: conn.prepare_cached("INSERT INTO in_flight (id) VALUES (?)")?,
            finish: conn.prepare_cached("DELETE FROM in_flight WHERE id = ?")?,
            batch,
            births: Births::new(conn, batch)?,
            tally: Tally::default(),
            applied: Applied::default(),
            conflicts: Vec::new(),
        })
    }

    fn event(&mut self, incoming: &Incoming) -> Result<()> {
        let event = &incoming.event;
        let held = self.held(event.order.id)?;
        let known = held.as_ref().map(|held| (held.seq, held.fingerprint.cast_unsigned()));
        let mut relation = lifecycle::relate(known, event);
        if relation == Relation::Late {
            relation = relation.unless_known(self.known.exists([rows::key(event.order.id, event.seq)])?);
        }
        if relation == Relation::Conflict {
            self.dead_letter(incoming)?;
        }
        if !self.applied.count(relation, self.batch.is_unmailed(event)) {
            return Ok(());
        }
        let details = self.note(held.as_ref(), relation, incoming)?;
        self.enter(incoming, relation, held.as_ref(), &details)?;
        let key = rows::key(event.order.id, event.seq);
        if relation == Relation::Late {
            // its mail goes before those of later states that are still to be sent
            ledger::wait_behind(self.conn, key)?;
        } else {
            self.advance(held.as_ref(), incoming)?;
        }
        if details.mails_from == Some(event.seq) {
            ledger::drop_waiting(self.conn, key, &mut self.tally)?;
        }
        Ok(())
    }

    fn held(&mut self, order: OrderId) -> Result<Option<Held>> {
        let mut found = self.find.query([order.get() as i64, rows::key(order, 0)])?;
        let Some(row) = found.next()? else { return Ok(None) };
        let details = Details {
            partition: row.get(5)?,
            flow: rows::optional_text(row, 6)?.map(Into::into),
            address: rows::optional_text(row, 7)?.and_then(|address| address.parse().ok()),
            mails_from: row.get(8)?,
        };
        Ok(Some(Held {
            fingerprint: row.get(0)?,
            stored: Stored {
                lang: rows::optional_text(row, 10)?.and_then(|lang| lang.parse().ok()),
                placed_at: rows::time(row, 11)?,
                trace: rows::optional_text(row, 12)?.and_then(|trace| trace.parse().ok()),
            },
            seq: row.get(1)?,
            estado: rows::text(row, 2)?.into(),
            at: rows::time(row, 9)?,
            closing: columns::closing(row.get(3)?, rows::optional_text(row, 4)?),
            details,
        }))
    }

    /// Writes what an event says of its order as a whole, and returns it.
    fn note<'a>(
        &mut self,
        held: Option<&'a Held>,
        relation: Relation,
        incoming: &Incoming,
    ) -> Result<Cow<'a, Details>> {
        let order = &incoming.event.order;
        let Some(held) = held else {
            let details = Details::default().after(relation, incoming).unwrap_or_default();
            self.insert(order, &details)?;
            return Ok(Cow::Owned(details));
        };
        let Some(details) = held.details.after(relation, incoming) else { return Ok(Cow::Borrowed(&held.details)) };
        let sql = "UPDATE orders SET partition = ?, flow = ?, address = ?, mails_from = ? WHERE id = ?";
        let address = details.address.as_ref().map(EmailAddress::as_str);
        self.conn.prepare_cached(sql)?.execute(params![
            details.partition,
            details.flow,
            address,
            details.mails_from,
            order.id.get() as i64
        ])?;
        Ok(Cow::Owned(details))
    }

    fn advance(&mut self, held: Option<&Held>, incoming: &Incoming) -> Result<()> {
        let event = &incoming.event;
        let closing = event.closes();
        if let Some(held) = held {
            self.tally.add(Kind::of_order(held.closing), &held.estado, -1);
        }
        self.tally.add(Kind::of_order(closing), &event.estado, 1);
        if held.is_none() {
            self.tally.placed(event.order.placed_at);
        }
        if let Some(closing) = closing {
            self.tally.ended(closing, event.at, 1);
        }
        if let Some((closing, at)) = held.and_then(|held| Some((held.closing?, held.at))) {
            self.tally.ended(closing, at, -1);
        }
        let id = [event.order.id.get() as i64];
        match (held.is_some_and(|held| held.closing.is_none()), closing.is_none()) {
            (false, true) => self.start.execute(id).map(drop)?,
            (true, false) => self.finish.execute(id).map(drop)?,
            _ => {}
        }
        Ok(())
    }

    fn insert(&mut self, order: &Order, details: &Details) -> Result<()> {
        self.insert.execute(params![
            order.id.get() as i64,
            order.product.id.as_str(),
            order.product.name.as_str(),
            order.product.price.as_str(),
            order.email.as_str(),
            order.lang.map(Lang::code),
            order.placed_at.as_millis(),
            order.trace.map(|trace| trace.to_string()),
            order.fingerprint().cast_signed(),
            details.partition,
            details.flow,
            details.address.as_ref().map(EmailAddress::as_str),
            details.mails_from,
        ])?;
        Ok(())
    }

    /// Writes the history, and with it the mail.
    fn enter(&mut self, incoming: &Incoming, relation: Relation, held: Option<&Held>, details: &Details) -> Result<()> {
        let event = &incoming.event;
        let (id, now) = (event.order.id, self.batch.now.as_millis());
        let key = rows::key(id, event.seq);
        let is_mailed = self.batch.mails(event);
        let is_dropped = is_mailed && details.drops(MailId { order: id, seq: event.seq });
        let is_head = is_mailed && !is_dropped && (held.is_none() || !self.waiting.exists([rows::key(id, 0), key])?);
        let is_born = is_mailed && !is_dropped && self.births.takes(incoming, relation, is_head);
        let status = match (is_dropped, is_born) {
            (true, _) => MailStatus::Dropped,
            (false, true) => MailStatus::Sending,
            (false, false) => MailStatus::Pending,
        };
        let mail = is_mailed.then(|| status.name());
        let columns = Columns::of(event);
        self.enter.execute(params![
            key,
            event.estado,
            event.at.as_millis(),
            columns.next_at,
            columns.last,
            mail,
            mail.map(|_| if is_born { self.births.until.as_millis() } else { now }),
            mail.map(|_| now),
            is_head,
            columns.closes,
            columns.waits,
            columns.left_ms,
            columns.step,
            columns.change,
            columns.exits,
            columns.expect_at,
            columns.next,
            columns.by,
            columns.command,
            columns.reason,
            columns.template,
            incoming.offset().map(u64::cast_signed),
            u8::from(is_born),
            is_born.then_some(now),
        ])?;
        if let Some(status) = mail {
            self.tally.add(Kind::Mail, status, 1);
        }
        if is_born {
            self.births.keep(incoming, held.map(|held| held.stored), details.address.as_ref())?;
        }
        if is_dropped {
            ledger::say_dropped(self.conn, key, None, &mut self.tally)?;
        }
        Ok(())
    }

    /// Makes a dead letter of an event of another order under the same id, which says what differs.
    fn dead_letter(&mut self, incoming: &Incoming) -> Result<()> {
        let order = &incoming.event.order;
        let sql = format!("SELECT {} FROM orders o WHERE id = ?", rows::ORDER_COLUMNS);
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut found = select.query([order.id.get() as i64])?;
        let stored = found.next()?.and_then(|row| rows::order(row).ok()); // a damaged one cannot be compared
        self.conflicts.push(conflict(&incoming.letter, stored.as_ref(), order));
        Ok(())
    }

    fn finish(self) -> Result<Applied> {
        self.tally.write(self.conn)?;
        Ok(Applied { leased: self.births.finish(self.conn)?, ..self.applied })
    }
}
