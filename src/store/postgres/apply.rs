//! The projection's transaction: the hot path of writing. Three rounds: lock and read, write, commit.

use std::collections::{BTreeMap, HashMap};

use super::{
    dead, orders, rows,
    session::{Session, Transaction},
    standing::{self, Changes, Standing, State, Waiting},
};
use crate::{
    domain::{DeadLetter, Lang, Order, OrderId, Timestamp},
    store::{
        Error, Result,
        orders::{Advance, Applied, Batch, Incoming, conflict},
    },
};

/// Applies a batch.
pub(super) async fn apply(client: &mut Session, batch: &Batch) -> Result<Applied> {
    let mut advances: Vec<&Advance> = batch.advances.iter().collect();
    // rows are locked in one order everywhere
    advances.sort_by(|a, b| a.of.cmp(&b.of));
    let tx = client.transaction().await?;
    if !move_on(&tx, &batch.group, &advances).await? {
        tx.rollback().await?;
        return judge(client, batch).await;
    }
    let mut standing = standing(&tx, &batch.events).await?;
    let changes = standing::changes(&mut standing, batch);
    let mut letters = conflicts(&tx, &standing, &changes.conflicts).await?;
    letters.extend(batch.dead.iter().cloned());
    let applied = changes.applied;
    write(&tx, changes, batch).await?;
    dead::keep(&tx, &letters).await?;
    tx.commit().await?;
    Ok(applied)
}

/// Compare-and-set of the input offsets. False when one is not where the batch begins.
async fn move_on(tx: &Transaction<'_>, group: &str, advances: &[&Advance]) -> Result<bool> {
    if advances.is_empty() {
        return Ok(true);
    }
    let topics: Vec<&str> = advances.iter().map(|advance| advance.of.topic.as_str()).collect();
    let partitions: Vec<i32> = advances.iter().map(|advance| advance.of.partition as i32).collect();
    let from: Vec<i64> = advances.iter().map(|advance| advance.from as i64).collect();
    let to: Vec<i64> = advances.iter().map(|advance| advance.to as i64).collect();
    let prints: Vec<Option<i64>> = advances.iter().map(|advance| advance.print.map(u64::cast_signed)).collect();
    if from.contains(&0) {
        let begin = tx
            .prepare(
                "INSERT INTO projected SELECT $1, a.topic, a.partition, 0
                 FROM unnest($2::text[], $3::int[], $4::bigint[]) AS a(topic, partition, first)
                 WHERE a.first = 0 ON CONFLICT DO NOTHING",
            )
            .await?;
        tx.execute(&begin, &[&group, &topics, &partitions, &from]).await?;
    }
    let advance = tx
        .prepare(
            "UPDATE projected p SET \"offset\" = a.upto, print = a.print
             FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[])
                 AS a(topic, partition, first, upto, print)
             WHERE p.group_name = $1 AND p.topic = a.topic AND p.partition = a.partition AND p.\"offset\" = a.first",
        )
        .await?;
    let moved = tx.execute(&advance, &[&group, &topics, &partitions, &from, &to, &prints]).await?;
    Ok(moved == advances.len() as u64)
}

/// Why the offsets did not move: the batch is there already, or another instance was faster.
async fn judge(client: &Session, batch: &Batch) -> Result<Applied> {
    let offsets: HashMap<_, _> = orders::offsets(client, &batch.group).await?.into_iter().collect();
    let (mut fenced, mut done) = (None, true);
    for Advance { of, from, to, .. } in &batch.advances {
        let held = offsets.get(of).copied().unwrap_or_default();
        done &= held == *to && from != to;
        if held != *from {
            fenced.get_or_insert(of);
        }
    }
    match fenced {
        _ if done => Ok(Applied::default()),
        Some(of) => Err(Error::Fenced(of.to_string())),
        // whoever was faster was undone meanwhile
        None => Err(Error::Unavailable("the offsets were held by another instance".into())),
    }
}

/// Locks the orders of the events, then what waits in their lanes, and reads what the store holds of them.
async fn standing<'a>(tx: &Transaction<'_>, events: &[Incoming]) -> Result<BTreeMap<OrderId, Standing<'a>>> {
    let mut ids: Vec<i64> = events.iter().map(|incoming| incoming.event.order.id.get() as i64).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut standing = BTreeMap::new();
    if ids.is_empty() {
        return Ok(standing);
    }
    let orders = tx
        .prepare(
            "SELECT o.id, o.fingerprint FROM unnest($1::bigint[]) AS i(id) JOIN orders o ON o.id BETWEEN i.id AND i.id
             FOR NO KEY UPDATE OF o",
        )
        .await?;
    let history = tx
        .prepare(
            "SELECT h.id, h.estado, h.last FROM unnest($1::bigint[]) AS o(id)
             JOIN history h ON h.id > o.id << 8 AND h.id < (o.id + 1) << 8",
        )
        .await?;
    let lane = tx
        .prepare(
            "SELECT l.id, l.head, l.sending FROM unnest($1::bigint[]) AS o(id)
             JOIN lane l ON l.id > o.id << 8 AND l.id < (o.id + 1) << 8 FOR UPDATE OF l",
        )
        .await?;
    // one after the other over there, but asked for in one go: each sees what was committed when its turn came
    let ids: &(dyn deadpool_postgres::tokio_postgres::types::ToSql + Sync) = &ids;
    let (ids_orders, ids_history, ids_lane) = ([ids], [ids], [ids]);
    let (orders, history, lane) =
        tokio::try_join!(tx.query(&orders, &ids_orders), tx.query(&history, &ids_history), tx.query(&lane, &ids_lane))?;
    for row in orders {
        let order = Standing { fingerprint: row.get(1), ..Standing::default() };
        standing.insert(rows::order_id(row.get(0))?, order);
    }
    for row in history {
        let id = rows::mail_id(row.get(0))?;
        let state = State { estado: row.get::<_, String>(1).into(), last: row.get(2) };
        // an order that came between the first and the second of the three statements is not locked: see `write`
        standing.get_mut(&id.order).map(|order| order.states.insert(id.seq, state));
    }
    for row in lane {
        let id = rows::mail_id(row.get(0))?;
        let mail = Waiting { head: row.get(1), sending: row.get(2) };
        standing.get_mut(&id.order).map(|order| order.lane.insert(id.seq, mail));
    }
    Ok(standing)
}

/// Dead letters of the events of other orders, which say what differs.
async fn conflicts(
    tx: &Transaction<'_>,
    standing: &BTreeMap<OrderId, Standing<'_>>,
    events: &[&Incoming],
) -> Result<Vec<DeadLetter>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = events.iter().map(|incoming| incoming.event.order.id.get() as i64).collect();
    let stored = orders::orders(tx, &ids).await?;
    let letter = |incoming: &&Incoming| {
        let order = &incoming.event.order;
        let new = standing.get(&order.id).and_then(|standing| standing.new);
        DeadLetter { reason: conflict(new.or(stored.get(&order.id)), order), ..incoming.letter.clone() }
    };
    Ok(events.iter().map(letter).collect())
}

async fn write(tx: &Transaction<'_>, changes: Changes<'_>, batch: &Batch) -> Result<()> {
    insert_orders(tx, &changes.orders).await?;
    insert_history(tx, &changes.history, batch).await?;
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

async fn insert_orders(tx: &Transaction<'_>, orders: &[&Order]) -> Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare(
            "INSERT INTO orders SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],
                 $6::text[], $7::bigint[], $8::text[], $9::bigint[]) ON CONFLICT (id) DO NOTHING",
        )
        .await?;
    let ids: Vec<i64> = orders.iter().map(|order| order.id.get() as i64).collect();
    let texts = |of: fn(&Order) -> &str| orders.iter().map(|order| of(order)).collect::<Vec<&str>>();
    let lang: Vec<Option<&str>> = orders.iter().map(|order| order.lang.map(Lang::code)).collect();
    let placed_at: Vec<i64> = orders.iter().map(|order| order.placed_at.as_millis()).collect();
    let trace: Vec<Option<String>> = orders.iter().map(|order| order.trace.as_ref().map(ToString::to_string)).collect();
    let fingerprint: Vec<i64> = orders.iter().map(|order| order.fingerprint().cast_signed()).collect();
    let (product, name) = (texts(|order| &order.product.id), texts(|order| &order.product.name));
    let (price, usermail) = (texts(|order| order.product.price.as_str()), texts(|order| order.email.as_str()));
    let inserted = tx
        .execute(&insert, &[&ids, &product, &name, &price, &usermail, &lang, &placed_at, &trace, &fingerprint])
        .await?;
    if inserted == ids.len() as u64 {
        return Ok(());
    }
    // foreign events of one order on two partitions, read by two instances: what it stands at has to be read anew
    Err(Error::Unavailable("another instance brought the same order at the same moment".into()))
}

async fn insert_history(tx: &Transaction<'_>, history: &[(i64, &Incoming)], batch: &Batch) -> Result<()> {
    if history.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare(
            "INSERT INTO history (id, estado, at, next_at, last, mail)
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bool[])",
        )
        .await?;
    let ids: Vec<i64> = history.iter().map(|(id, _)| *id).collect();
    let events = || history.iter().map(|(_, incoming)| &incoming.event);
    let estados: Vec<&str> = events().map(|event| &*event.estado).collect();
    let at: Vec<i64> = events().map(|event| event.at.as_millis()).collect();
    let next_at: Vec<Option<i64>> = events().map(|event| event.next_at().map(Timestamp::as_millis)).collect();
    let last: Vec<bool> = history.iter().map(|(_, incoming)| incoming.event.closes().is_some()).collect();
    let mail: Vec<bool> = events().map(|event| batch.mails(event)).collect();
    tx.execute(&insert, &[&ids, &estados, &at, &next_at, &last, &mail]).await?;
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
