//! The projection's transaction: the hot path of writing.

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::{
    Error, Result, dead, ledger, rows,
    tally::{Kind, Tally},
};
use crate::{
    domain::{
        Lang, Order, OrderId, Timestamp,
        lifecycle::{self, Relation},
    },
    eventlog::TopicPartition,
    store::{
        ledger::MailStatus,
        orders::{Advance, Applied, Batch, Incoming, conflict},
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
        dead::keep(conn, letter)?;
    }
    projection.finish()
}

/// Whether the batch is there already: the end of its first commit was unknown, and it was done.
fn is_applied(conn: &Connection, batch: &Batch) -> Result<bool> {
    for Advance { of, to, from, .. } in &batch.advances {
        if from == to || held(conn, &batch.group, of)? != *to {
            return Ok(false);
        }
    }
    Ok(!batch.advances.is_empty())
}

/// The offset that the group has reached.
fn held(conn: &Connection, group: &str, of: &TopicPartition) -> Result<u64> {
    let held: Option<i64> = conn
        .prepare_cached("SELECT offset FROM projected WHERE group_name = ? AND topic = ? AND partition = ?")?
        .query_row(params![group, of.topic, of.partition], |row| row.get(0))
        .optional()?;
    Ok(held.unwrap_or(0) as u64)
}

/// Compare-and-set of one input offset.
fn move_on(conn: &Connection, group: &str, advance: &Advance) -> Result<()> {
    let Advance { of, from, to, print } = advance;
    if held(conn, group, of)? != *from {
        return Err(Error::Fenced(of.to_string()));
    }
    let replace =
        "INSERT OR REPLACE INTO projected (group_name, topic, partition, offset, print) VALUES (?, ?, ?, ?, ?)";
    let params = params![group, of.topic, of.partition, *to as i64, print.map(u64::cast_signed)];
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
    closed: bool,
}

impl<'conn> Projection<'conn> {
    fn new(conn: &'conn Connection, batch: &'conn Batch) -> Result<Self> {
        Ok(Self {
            conn,
            find: conn.prepare_cached(
                "SELECT o.fingerprint, h.seq, h.estado, h.last FROM orders o CROSS JOIN history h
                 WHERE o.id = ?1 AND h.id > ?2 AND h.id < ?2 + 256 ORDER BY h.id DESC LIMIT 1",
            )?,
            known: conn.prepare_cached("SELECT 1 FROM history WHERE id = ?")?,
            insert: conn.prepare_cached(
                "INSERT INTO orders (id, gameid, name, price, usermail, lang, placed_at, trace, fingerprint)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            enter: conn.prepare_cached(
                "INSERT INTO history (id, estado, at, next_at, last, mail, due_at, tried_at, head)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?6 IS NOT NULL AND NOT EXISTS (
                     SELECT 1 FROM history WHERE id > ?8 AND id < ?1 AND mail IN ('pending', 'sending')))",
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
        self.applied.count(relation, self.batch.is_unmailed(event));
        match relation {
            Relation::Advanced { .. } => self.advance(held.as_ref(), incoming),
            Relation::Late => {
                self.enter(incoming)?;
                // its mail goes before those of later states that are still to be sent
                ledger::wait_behind(self.conn, rows::key(event.order.id, event.seq))
            }
            Relation::Repeat => Ok(()),
            Relation::Conflict => self.bury(incoming),
        }
    }

    fn held(&mut self, order: OrderId) -> Result<Option<Held>> {
        let mut found = self.find.query([order.get() as i64, rows::key(order, 0)])?;
        let Some(row) = found.next()? else { return Ok(None) };
        let estado = rows::text(row, 2)?.into();
        Ok(Some(Held { fingerprint: row.get(0)?, seq: row.get(1)?, estado, closed: row.get(3)? }))
    }

    fn advance(&mut self, held: Option<&Held>, incoming: &Incoming) -> Result<()> {
        let event = &incoming.event;
        let (id, closes) = (event.order.id, event.closes().is_some());
        match held {
            None => self.insert(&event.order)?,
            Some(held) => self.tally.add(order_kind(held.closed), &held.estado, -1),
        }
        self.enter(incoming)?;
        self.tally.add(order_kind(closes), &event.estado, 1);
        let id = [id.get() as i64];
        match (held.is_some_and(|held| !held.closed), !closes) {
            (false, true) => self.start.execute(id).map(drop)?,
            (true, false) => self.finish.execute(id).map(drop)?,
            _ => {}
        }
        Ok(())
    }

    fn insert(&mut self, order: &Order) -> Result<()> {
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
        ])?;
        Ok(())
    }

    /// Writes the history, and with it the mail.
    fn enter(&mut self, incoming: &Incoming) -> Result<()> {
        let event = &incoming.event;
        let id = event.order.id;
        let due = self.batch.mails(event).then_some(self.batch.now);
        let mail = due.map(|_| MailStatus::Pending.name());
        self.enter.execute(params![
            rows::key(id, incoming.event.seq),
            event.estado,
            event.at.as_millis(),
            event.next_at().map(Timestamp::as_millis),
            incoming.event.closes().is_some(),
            mail,
            due.map(Timestamp::as_millis),
            rows::key(id, 0),
        ])?;
        if let Some(pending) = mail {
            self.tally.add(Kind::Mail, pending, 1);
        }
        Ok(())
    }

    /// Keeps an event of another order under the same id as a dead letter that says what differs.
    fn bury(&self, incoming: &Incoming) -> Result<()> {
        let order = &incoming.event.order;
        let sql = format!("SELECT {} FROM orders o WHERE id = ?", rows::ORDER_COLUMNS);
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut found = select.query([order.id.get() as i64])?;
        let stored = found.next()?.and_then(|row| rows::order(row).ok()); // a damaged one cannot be compared
        let mut letter = incoming.letter.clone();
        letter.reason = conflict(stored.as_ref(), order);
        dead::keep(self.conn, &letter)
    }

    fn finish(self) -> Result<Applied> {
        self.tally.write(self.conn)?;
        Ok(self.applied)
    }
}

const fn order_kind(finished: bool) -> Kind {
    if finished { Kind::Finished } else { Kind::Open }
}
