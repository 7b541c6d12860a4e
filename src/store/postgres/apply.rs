//! The projection's transaction: the hot path of writing. Three rounds: lock and read, write, commit.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use deadpool_postgres::tokio_postgres::types::ToSql;

use super::{
    changes::{self, Changes, OrderRow, State, Waiting},
    dead,
    ledger::{self, LeaseCall},
    offsets::{judge, move_on},
    outcomes, rows,
    session::{Session, Transaction},
    tally::Tally,
};
use crate::{
    domain::{DeadLetter, EmailAddress, Lang, Order, OrderId, Timestamp},
    store::{
        Error, Result,
        columns::{self, Columns},
        orders::{Advance, Applied, Batch, Details, Incoming, conflict},
    },
};

/// Applies a batch, and leases mails by that call if it says so.
pub(super) async fn apply(client: &mut Session, batch: &Batch, taking: Option<&LeaseCall>) -> Result<Applied> {
    let mut advances: Vec<&Advance> = batch.advances.iter().collect();
    // rows are locked in one order everywhere
    advances.sort_by(|a, b| a.tp.cmp(&b.tp));
    let tx = client.transaction().await?;
    if !move_on(&tx, &batch.group, &advances).await? {
        tx.rollback().await?;
        return judge(client, batch).await;
    }
    let mut stored = stored(&tx, &batch.events).await?;
    let changes = changes::changes(&mut stored, batch);
    let (mut letters, floods) = batch.bound(conflicts(&tx, &stored, &changes.conflicts).await?);
    letters.extend(batch.dead.iter().cloned());
    let mut applied = Applied { floods, ..changes.applied.clone() };
    write(&tx, changes, batch).await?;
    dead::insert(&tx, &letters).await?;
    outcomes::insert(&tx, &batch.outcomes).await?;
    if let (Some(leasing), Some(taking)) = (batch.lease, taking) {
        let mut tally = Tally::default();
        applied.leased = ledger::take(&tx, batch.now, taking, leasing.limit, &mut tally).await?;
        tally.write(&tx).await?;
    }
    tx.commit().await?;
    Ok(applied)
}

/// Locks the orders of the events, then what waits in their lanes, and reads what the store holds of them.
async fn stored<'a>(tx: &Transaction<'_>, events: &[Incoming]) -> Result<BTreeMap<OrderId, OrderRow<'a>>> {
    let mut ids: Vec<i64> = events.iter().map(|incoming| incoming.event.order.id.get() as i64).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut stored = BTreeMap::new();
    if ids.is_empty() {
        return Ok(stored);
    }
    let orders = tx
        .prepare(
            "SELECT o.id, o.fingerprint, o.partition, o.flow, o.address, o.mails_from FROM unnest($1::bigint[]) AS i(id) JOIN orders o ON o.id BETWEEN i.id AND i.id
             FOR NO KEY UPDATE OF o",
        )
        .await?;
    let history = tx
        .prepare(
            "SELECT h.id, h.estado, h.last, h.closes, h.at FROM unnest($1::bigint[]) AS o(id)
             JOIN history h ON h.id > o.id << 8 AND h.id < (o.id + 1) << 8",
        )
        .await?;
    let lane = tx
        .prepare(
            "SELECT l.id, l.head, l.sending, l.class FROM unnest($1::bigint[]) AS o(id)
             JOIN lane l ON l.id > o.id << 8 AND l.id < (o.id + 1) << 8 FOR UPDATE OF l",
        )
        .await?;
    // one after the other over there, but asked for in one go: each sees what was committed when its turn came
    let ids: &(dyn ToSql + Sync) = &ids;
    let (ids_orders, ids_history, ids_lane) = ([ids], [ids], [ids]);
    let (orders, history, lane) =
        tokio::try_join!(tx.query(&orders, &ids_orders), tx.query(&history, &ids_history), tx.query(&lane, &ids_lane))?;
    for row in orders {
        let details = Details {
            partition: row.get::<_, Option<i32>>(2).map(|partition| partition as u32),
            flow: row.get::<_, Option<&str>>(3).map(Into::into),
            address: row.get::<_, Option<&str>>(4).and_then(|address| address.parse().ok()),
            mails_from: row.get::<_, Option<i16>>(5).map(|seq| seq as u8),
        };
        let order = OrderRow { fingerprint: row.get(1), details, ..OrderRow::default() };
        stored.insert(rows::order_id(row.get(0))?, order);
    }
    for row in history {
        let id = rows::mail_id(row.get(0))?;
        let closing = columns::closing(row.get(2), row.get(3));
        let state = State { estado: row.get::<_, String>(1).into(), closing, at: rows::time(&row, 4) };
        // an order that came between the first and the second of the three statements is not locked: see `write`
        stored.get_mut(&id.order).map(|order| order.states.insert(id.seq, state));
    }
    for row in lane {
        let id = rows::mail_id(row.get(0))?;
        let mail = Waiting { head: row.get(1), sending: row.get(2), class: rows::class(&row, 3) };
        stored.get_mut(&id.order).map(|order| order.lane.insert(id.seq, mail));
    }
    Ok(stored)
}

/// Dead letters of the events of other orders, which say what differs.
async fn conflicts(
    tx: &Transaction<'_>,
    held: &BTreeMap<OrderId, OrderRow<'_>>,
    events: &[&Incoming],
) -> Result<Vec<DeadLetter>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = events.iter().map(|incoming| incoming.event.order.id.get() as i64).collect();
    let stored = ordered(tx, &ids).await?;
    let letter = |incoming: &&Incoming| {
        let order = &incoming.event.order;
        let new = held.get(&order.id).and_then(|row| row.new);
        conflict(&incoming.letter, new.or(stored.get(&order.id)), order)
    };
    Ok(events.iter().map(letter).collect())
}

/// What was ordered under these ids, without where it stands.
async fn ordered(client: &Session, ids: &[i64]) -> Result<HashMap<OrderId, Order>> {
    let sql = format!("SELECT {} FROM orders o WHERE id = ANY($1)", rows::ORDER_COLUMNS);
    let found = client.query(&client.prepare(&sql).await?, &[&ids]).await?;
    // a damaged one cannot be compared with
    Ok(found.iter().filter_map(|row| rows::order(row).ok()).map(|order| (order.id, order)).collect())
}

async fn write(tx: &Transaction<'_>, mut changes: Changes<'_>, batch: &Batch) -> Result<()> {
    insert_orders(tx, &changes.orders).await?;
    update_orders(tx, &changes.details).await?;
    insert_history(tx, &changes.history, batch).await?;
    ledger::drop_waiting(tx, &changes.dropped, batch.now, &mut changes.tally).await?;
    ledger::insert_unsent(tx, &changes.unsent, batch.now, &mut changes.tally).await?;
    insert_lane(tx, &changes.lane, batch.now).await?;
    if !changes.heads.is_empty() {
        let (ids, heads): (Vec<i64>, Vec<i16>) = changes.heads.into_iter().unzip();
        let update = "UPDATE lane l SET head = h.head FROM unnest($1::bigint[], $2::smallint[]) AS h(id, head)
                      WHERE l.id BETWEEN h.id AND h.id";
        tx.execute(&tx.prepare(update).await?, &[&ids, &heads]).await?;
    }
    if !changes.started.is_empty() {
        let insert = "INSERT INTO in_flight SELECT * FROM unnest($1::bigint[]) ON CONFLICT DO NOTHING";
        tx.execute(&tx.prepare(insert).await?, &[&changes.started]).await?;
    }
    if !changes.finished.is_empty() {
        let delete = "DELETE FROM in_flight f USING unnest($1::bigint[]) AS d(id) WHERE f.id BETWEEN d.id AND d.id";
        tx.execute(&tx.prepare(delete).await?, &[&changes.finished]).await?;
    }
    changes.tally.write(tx).await
}

async fn insert_orders(tx: &Transaction<'_>, orders: &[(&Order, Details)]) -> Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare(
            "INSERT INTO orders (id, gameid, name, price, usermail, lang, placed_at, trace, fingerprint,
                 partition, flow, address, mails_from)
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
                 $8::text[], $9::bigint[], $10::int[], $11::text[], $12::text[], $13::smallint[])
             ON CONFLICT (id) DO NOTHING",
        )
        .await?;
    let (orders, details): (Vec<&Order>, Vec<&Details>) =
        orders.iter().map(|(order, details)| (*order, details)).unzip();
    let ids: Vec<i64> = orders.iter().map(|order| order.id.get() as i64).collect();
    let texts = |of: fn(&Order) -> &str| orders.iter().map(|order| of(order)).collect::<Vec<&str>>();
    let lang: Vec<Option<&str>> = orders.iter().map(|order| order.lang.map(Lang::code)).collect();
    let placed_at: Vec<i64> = orders.iter().map(|order| order.placed_at.as_millis()).collect();
    let trace: Vec<Option<String>> = orders.iter().map(|order| order.trace.as_ref().map(ToString::to_string)).collect();
    let fingerprint: Vec<i64> = orders.iter().map(|order| order.fingerprint().cast_signed()).collect();
    let (product, name) = (texts(|order| &order.product.id), texts(|order| &order.product.name));
    let (price, usermail) = (texts(|order| order.product.price.as_str()), texts(|order| order.email.as_str()));
    let Told { partitions, flows, addresses, mails_from } = Told::of(&details);
    let params: [&(dyn ToSql + Sync); 13] = [
        &ids,
        &product,
        &name,
        &price,
        &usermail,
        &lang,
        &placed_at,
        &trace,
        &fingerprint,
        &partitions,
        &flows,
        &addresses,
        &mails_from,
    ];
    let inserted = tx.execute(&insert, &params).await?;
    if inserted == ids.len() as u64 {
        return Ok(());
    }
    // foreign events of one order on two partitions, read by two instances: what it stands at has to be read anew
    Err(Error::Unavailable("another instance inserted the same order at the same moment".into()))
}

/// What is told of orders as a whole, by columns.
struct Told<'a> {
    partitions: Vec<Option<i32>>,
    flows: Vec<Option<Cow<'a, str>>>,
    addresses: Vec<Option<&'a str>>,
    mails_from: Vec<Option<i16>>,
}

impl<'a> Told<'a> {
    fn of(details: &[&'a Details]) -> Self {
        Self {
            partitions: details.iter().map(|of| of.partition.map(|partition| partition as i32)).collect(),
            flows: details.iter().map(|of| of.flow.as_deref().map(rows::text)).collect(),
            addresses: details.iter().map(|of| of.address.as_ref().map(EmailAddress::as_str)).collect(),
            mails_from: details.iter().map(|of| of.mails_from.map(i16::from)).collect(),
        }
    }
}

async fn update_orders(tx: &Transaction<'_>, details: &[(i64, Details)]) -> Result<()> {
    if details.is_empty() {
        return Ok(());
    }
    let (ids, details): (Vec<i64>, Vec<&Details>) = details.iter().map(|(id, details)| (*id, details)).unzip();
    let Told { partitions, flows, addresses, mails_from } = Told::of(&details);
    let update =
        "UPDATE orders o SET partition = d.partition, flow = d.flow, address = d.address, mails_from = d.mails_from
         FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::smallint[])
             AS d(id, partition, flow, address, mails_from)
         WHERE o.id BETWEEN d.id AND d.id";
    tx.execute(&tx.prepare(update).await?, &[&ids, &partitions, &flows, &addresses, &mails_from]).await?;
    Ok(())
}

async fn insert_history(tx: &Transaction<'_>, history: &[(i64, &Incoming)], batch: &Batch) -> Result<()> {
    if history.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare(
            "INSERT INTO history (id, estado, at, next_at, last, mail, closes, waits, left_ms, step, change, exits,
                 expect_at, next, by, command, reason, template, record_offset)
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bool[], $7::text[],
                 $8::text[], $9::bigint[], $10::smallint[], $11::text[], $12::smallint[], $13::bigint[], $14::text[],
                 $15::text[], $16::text[], $17::text[], $18::text[], $19::bigint[])",
        )
        .await?;
    let ids: Vec<i64> = history.iter().map(|(id, _)| *id).collect();
    let events = || history.iter().map(|(_, incoming)| &incoming.event);
    let estados: Vec<&str> = events().map(|event| &*event.estado).collect();
    let at: Vec<i64> = events().map(|event| event.at.as_millis()).collect();
    let mail: Vec<bool> = events().map(|event| batch.mails(event)).collect();
    let columns: Vec<Columns> = events().map(Columns::of).collect();
    let last: Vec<bool> = columns.iter().map(|of| of.last).collect();
    let numbers = |of: fn(&Columns) -> Option<i64>| columns.iter().map(of).collect::<Vec<_>>();
    let small = |of: fn(&Columns) -> Option<u8>| columns.iter().map(|row| of(row).map(i16::from)).collect::<Vec<_>>();
    let names = |of: fn(&Columns) -> Option<&'static str>| columns.iter().map(of).collect::<Vec<_>>();
    let texts = |of: for<'a> fn(&Columns<'a>) -> Option<&'a str>| {
        columns.iter().map(|row| of(row).map(rows::text)).collect::<Vec<Option<Cow<str>>>>()
    };
    let offsets: Vec<Option<i64>> =
        history.iter().map(|(_, incoming)| Some(incoming.offset()?.cast_signed())).collect();
    let params: [&(dyn ToSql + Sync); 19] = [
        &ids,
        &estados,
        &at,
        &numbers(|of| of.next_at),
        &last,
        &mail,
        &names(|of| of.closes),
        &names(|of| of.waits),
        &numbers(|of| of.left_ms),
        &small(|of| of.step),
        &names(|of| of.change),
        &small(|of| of.exits),
        &numbers(|of| of.expect_at),
        &texts(|of| of.next),
        &texts(|of| of.by),
        &texts(|of| of.command),
        &texts(|of| of.reason),
        &texts(|of| of.template),
        &offsets,
    ];
    tx.execute(&insert, &params).await?;
    Ok(())
}

async fn insert_lane(tx: &Transaction<'_>, lane: &[(i64, Timestamp, i16)], due: Timestamp) -> Result<()> {
    if lane.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare(
            "INSERT INTO lane (id, at, head, due_at, sending, attempts, ambiguous)
             SELECT l.*, $4, false, 0, false FROM unnest($1::bigint[], $2::bigint[], $3::smallint[]) AS l",
        )
        .await?;
    let ids: Vec<i64> = lane.iter().map(|(id, ..)| *id).collect();
    let at: Vec<i64> = lane.iter().map(|(_, at, _)| at.as_millis()).collect();
    let heads: Vec<i16> = lane.iter().map(|(.., head)| *head).collect();
    tx.execute(&insert, &[&ids, &at, &heads, &due.as_millis()]).await?;
    Ok(())
}
