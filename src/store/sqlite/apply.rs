//! The projection's transaction: the hot path of writing.

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::{
    Error, Result, dead, ledger, outcomes, rows,
    tally::{Kind, Tally},
};
use crate::{
    domain::{
        Closing, EmailAddress, Lang, Order, OrderId, Timestamp,
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
    for letter in &batch.dead {
        dead::insert(conn, letter)?;
    }
    for outcome in &batch.outcomes {
        outcomes::insert(conn, outcome)?;
    }
    projection.finish()
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
    insert: CachedStatement<'conn>,
    enter: CachedStatement<'conn>,
    start: CachedStatement<'conn>,
    finish: CachedStatement<'conn>,
    batch: &'conn Batch,
    tally: Tally,
    applied: Applied,
}

/// What the store holds of an order.
struct Held {
    fingerprint: i64,
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
                     h.at
                 FROM orders o CROSS JOIN history h
                 WHERE o.id = ?1 AND h.id > ?2 AND h.id < ?2 + 256 ORDER BY h.id DESC LIMIT 1",
            )?,
            known: conn.prepare_cached("SELECT 1 FROM history WHERE id = ?")?,
            insert: conn.prepare_cached(
                "INSERT INTO orders (id, gameid, name, price, usermail, lang, placed_at, trace, fingerprint,
                     partition, flow, address, mails_from)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            enter: conn.prepare_cached(
                "INSERT INTO history (id, estado, at, next_at, last, mail, due_at, tried_at, head, closes, waits, left_ms,
                     step, change, exits, expect_at, next, by, command, reason, template)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?6 IS 'pending' AND NOT EXISTS (
                     SELECT 1 FROM history WHERE id > ?8 AND id < ?1 AND mail IN ('pending', 'sending')),
                     ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            )?,
            start: conn.prepare_cached("INSERT INTO in_flight (id) VALUES (?)")?,
            finish: conn.prepare_cached("DELETE FROM in_flight WHERE id = ?")?,
            batch,
            tally: Tally::default(),
            applied: Applied::default(),
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
        let mails_from = self.note(held.as_ref(), relation, incoming)?;
        self.enter(incoming, MailId { order: event.order.id, seq: event.seq }.is_dropped(mails_from))?;
        let key = rows::key(event.order.id, event.seq);
        if relation == Relation::Late {
            // its mail goes before those of later states that are still to be sent
            ledger::wait_behind(self.conn, key)?;
        } else {
            self.advance(held.as_ref(), incoming)?;
        }
        if mails_from == Some(event.seq) {
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
            seq: row.get(1)?,
            estado: rows::text(row, 2)?.into(),
            at: rows::time(row, 9)?,
            closing: columns::closing(row.get(3)?, rows::optional_text(row, 4)?),
            details,
        }))
    }

    /// Writes what an event says of its order as a whole. Returns from which event on its mails are sent, if that is not the
    /// first.
    fn note(&mut self, held: Option<&Held>, relation: Relation, incoming: &Incoming) -> Result<Option<u8>> {
        let order = &incoming.event.order;
        let Some(held) = held else {
            let details = Details::default().after(relation, incoming).unwrap_or_default();
            self.insert(order, &details)?;
            return Ok(details.mails_from);
        };
        let Some(details) = held.details.after(relation, incoming) else { return Ok(held.details.mails_from) };
        let sql = "UPDATE orders SET partition = ?, flow = ?, address = ?, mails_from = ? WHERE id = ?";
        let address = details.address.as_ref().map(EmailAddress::as_str);
        self.conn.prepare_cached(sql)?.execute(params![
            details.partition,
            details.flow,
            address,
            details.mails_from,
            order.id.get() as i64
        ])?;
        Ok(details.mails_from)
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
            order.product.id,
            order.product.name,
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
    fn enter(&mut self, incoming: &Incoming, is_dropped: bool) -> Result<()> {
        let event = &incoming.event;
        let id = event.order.id;
        let due = self.batch.mails(event).then_some(self.batch.now);
        let mail = due.map(|_| if is_dropped { MailStatus::Dropped } else { MailStatus::Pending }.name());
        let columns = Columns::of(event);
        self.enter.execute(params![
            rows::key(id, event.seq),
            event.estado,
            event.at.as_millis(),
            columns.next_at,
            columns.last,
            mail,
            due.map(Timestamp::as_millis),
            rows::key(id, 0),
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
        ])?;
        if let Some(status) = mail {
            self.tally.add(Kind::Mail, status, 1);
        }
        if mail.is_some() && is_dropped {
            ledger::say_dropped(self.conn, rows::key(id, event.seq), None, &mut self.tally)?;
        }
        Ok(())
    }

    /// Keeps an event of another order under the same id as a dead letter that says what differs.
    fn dead_letter(&self, incoming: &Incoming) -> Result<()> {
        let order = &incoming.event.order;
        let sql = format!("SELECT {} FROM orders o WHERE id = ?", rows::ORDER_COLUMNS);
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut found = select.query([order.id.get() as i64])?;
        let stored = found.next()?.and_then(|row| rows::order(row).ok()); // a damaged one cannot be compared
        let mut letter = incoming.letter.clone();
        letter.reason = conflict(stored.as_ref(), order);
        dead::insert(self.conn, &letter)
    }

    fn finish(self) -> Result<Applied> {
        self.tally.write(self.conn)?;
        Ok(self.applied)
    }
}
