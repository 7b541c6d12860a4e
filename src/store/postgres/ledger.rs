//! The mail ledger. The head of a lane is the first unsettled mail of an order; every change here keeps the column
//! `head` true to that, and only heads are leased.

use std::{collections::HashMap, sync::PoisonError};

use async_trait::async_trait;
use deadpool_postgres::tokio_postgres::types::ToSql;

use super::{
    PgStore, rows,
    session::{Session, Transaction},
    suppressed,
    tally::{self, Kind, Tally},
};
use crate::{
    domain::{OrderId, Timestamp},
    env::Random,
    store::{
        Error, Result,
        ledger::{Class, Fate, Ledger, LedgerCounts, Mail, MailId, MailStatus, Reason, Settlement, Verdict},
        orders::is_dropped,
    },
};

#[async_trait]
impl Ledger for PgStore {
    async fn lease(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
        let call =
            Random::system().u64().map_err(|e| Error::Unavailable(format!("no random number: {e}")))?.cast_signed();
        let taking = LeaseCall { call, until };
        let uncertain = {
            let mut uncertain = self.uncertain.lock().unwrap_or_else(PoisonError::into_inner);
            // a commit can still come after it was looked for; what is not found in time is ambiguous by then
            uncertain.retain(|taking| taking.until > now);
            uncertain.clone()
        };
        let leased =
            self.run(|client| Box::pin(async move { lease(client, now, &taking, limit, &uncertain).await })).await;
        if leased.is_err() {
            self.uncertain.lock().unwrap_or_else(PoisonError::into_inner).push(taking);
        }
        leased
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<u64> {
        self.run(|client| Box::pin(async move { settle(client, &settlements).await })).await
    }

    async fn renew(&self, attempts: Vec<(MailId, u32)>, until: Timestamp) -> Result<Vec<MailId>> {
        self.run(|client| Box::pin(async move { renew(client, &attempts, until).await })).await
    }

    async fn expire_leases(&self, now: Timestamp) -> Result<u64> {
        self.run(|client| Box::pin(expire(client, now))).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT due_at FROM lane WHERE head = 1 ORDER BY due_at, id LIMIT 1";
        self.run(|client| {
            Box::pin(async move {
                let due = client.query_opt(&client.prepare(sql).await?, &[]).await?;
                Ok(due.map(|row| rows::time(&row, 0)))
            })
        })
        .await
    }

    async fn ledger_counts(&self) -> Result<LedgerCounts> {
        self.run(|client| Box::pin(counts(client))).await
    }
}

/// What a call of `lease` writes on the mails that it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseCall {
    /// A number of its own.
    call: i64,
    until: Timestamp,
}

async fn lease(
    client: &mut Session,
    now: Timestamp,
    taking: &LeaseCall,
    limit: usize,
    uncertain: &[LeaseCall],
) -> Result<Vec<Mail>> {
    let tx = client.transaction().await?;
    let mut tally = Tally::default();
    if !uncertain.is_empty() {
        release(&tx, now, uncertain, &mut tally).await?;
    }
    let mails = take(&tx, now, taking, limit, &mut tally).await?;
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(mails)
}

/// What an earlier call took, whose commit nobody heard of, was never sent: it is as it was before. Found by the index of
/// what is due, at the end of its lease.
async fn release(tx: &Transaction<'_>, now: Timestamp, uncertain: &[LeaseCall], tally: &mut Tally) -> Result<()> {
    let sql =
        "UPDATE lane l SET sending = false, attempts = l.attempts - 1, tries = l.tries - 1, due_at = $3, lease = NULL
         FROM unnest($1::bigint[], $2::bigint[]) AS d(call, until)
         WHERE l.head = 1 AND l.due_at BETWEEN d.until AND d.until AND l.sending AND l.lease = d.call
         RETURNING l.ambiguous";
    let (calls, until): (Vec<i64>, Vec<i64>) =
        uncertain.iter().map(|taking| (taking.call, taking.until.as_millis())).unzip();
    for row in tx.query(&tx.prepare(sql).await?, &[&calls, &until, &now.as_millis()]).await? {
        tally.mail(MailStatus::Sending, -1);
        tally.mail(MailStatus::Pending, 1);
        tally.add(Kind::Repeated, "", -i64::from(row.get::<_, bool>(0)));
    }
    Ok(())
}

/// Others that lease at the same time take other rows.
async fn take(
    tx: &Transaction<'_>,
    now: Timestamp,
    taking: &LeaseCall,
    limit: usize,
    tally: &mut Tally,
) -> Result<Vec<Mail>> {
    const WAITS: usize = rows::ORDER_COLUMN_COUNT;
    const FIRST: usize = WAITS + rows::WAITS_COLUMN_COUNT;
    let sql = format!(
        "WITH due AS (
             SELECT id, due_at, sending, class FROM lane WHERE head = 1 AND due_at <= $1
             ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED),
         taken AS (
             UPDATE lane l SET sending = true, attempts = l.attempts + 1, ambiguous = l.ambiguous OR l.sending,
                 due_at = $3, tried_at = $1, class = NULL, lease = $4, tries = l.tries + 1,
                 begun_at = coalesce(l.begun_at, $1)
             FROM due WHERE l.id BETWEEN due.id AND due.id
             RETURNING l.id, l.attempts, l.ambiguous, l.begun_at, l.tries, l.copies, due.due_at, due.sending, due.class)
         SELECT {}, {}, t.id, h.estado, h.at, t.sending, t.attempts, t.ambiguous, t.class, t.begun_at, t.tries, t.copies,
                s.address, s.at, s.reason, s.mail, o.address, o.mails_from, h.template, h.step, h.next, h.expect_at
         FROM taken t JOIN orders o ON o.id BETWEEN t.id >> 8 AND t.id >> 8 JOIN history h ON h.id BETWEEN t.id AND t.id
         LEFT JOIN suppressed s ON s.address = lower(coalesce(o.address, o.usermail) COLLATE \"C\")
         ORDER BY t.due_at, t.id",
        rows::ORDER_COLUMNS,
        rows::WAITS_COLUMNS
    );
    let (now, until) = (now.as_millis(), taking.until.as_millis());
    let found = tx.query(&tx.prepare(&sql).await?, &[&now, &(limit as i64), &until, &taking.call]).await?;
    let mut mails = Vec::with_capacity(found.len());
    let (mut damaged, mut dropped, cancelled) = (Rows::default(), Rows::default(), Reason::cancelled());
    for row in &found {
        let (was_sending, ambiguous) = (row.get(FIRST + 3), row.get(FIRST + 5));
        let (id, attempt) = (rows::mail_id(row.get(FIRST))?, row.get::<_, i32>(FIRST + 4) as u32);
        tally.mail(if was_sending { MailStatus::Sending } else { MailStatus::Pending }, -1);
        tally.class(MailStatus::Pending, rows::class(row, FIRST + 6), -1);
        tally.mail(MailStatus::Sending, 1);
        if is_dropped(id.seq, rows::small(row, FIRST + 15)) {
            // it was being sent when its order was cancelled, or was dead and is driven again
            dropped.add(id, attempt, told(&cancelled), (None, false));
            continue;
        }
        let order = rows::order(row).and_then(|order| Ok((rows::address(row.get(FIRST + 14), order.id)?, order)));
        let (address, order) = match order {
            Ok(order) => order,
            Err(error) => {
                damaged.add(id, attempt, (Some(Class::Composing), &error.to_string()), (None, false));
                continue;
            }
        };
        let estado: &str = row.get(FIRST + 1);
        tally.add(Kind::Repeated, "", i64::from(ambiguous));
        mails.push(Mail {
            order,
            address,
            id,
            estado: estado.into(),
            template: row.get::<_, Option<&str>>(FIRST + 16).unwrap_or(estado).into(),
            step: rows::small(row, FIRST + 17).unwrap_or(id.seq),
            at: rows::time(row, FIRST + 2),
            next: row.get::<_, Option<&str>>(FIRST + 18).map(Into::into),
            waits: rows::waits(row, WAITS),
            expect_at: rows::optional_time(row, FIRST + 19),
            begun_at: rows::time(row, FIRST + 7),
            attempt,
            tries: row.get::<_, i32>(FIRST + 8) as u32,
            copies: row.get::<_, i32>(FIRST + 9) as u32,
            ambiguous,
            suppressed: rows::suppression(row, FIRST + 10)?,
        });
    }
    // a mail whose order is damaged goes to nobody, and holds nobody up
    let mut untried = damaged.end_as(MailStatus::Dead, Tried::No, tx, tally).await?;
    untried.extend(dropped.end_as(MailStatus::Dropped, Tried::No, tx, tally).await?);
    promote(tx, &[&damaged.ids[..], &dropped.ids[..]].concat()).await?;
    tally.mail(MailStatus::Sending, -(untried.len() as i64));
    Ok(mails)
}

async fn renew(client: &mut Session, attempts: &[(MailId, u32)], until: Timestamp) -> Result<Vec<MailId>> {
    // in the order of the keys, as every statement takes its locks
    let mut sorted = attempts.to_vec();
    sorted.sort_unstable();
    let (ids, numbers): (Vec<i64>, Vec<i32>) = sorted.iter().map(|(id, attempt)| (key(*id), *attempt as i32)).unzip();
    let sql = "WITH held AS (
             SELECT l.id FROM unnest($1::bigint[], $2::int[]) AS a(id, attempt)
             JOIN lane l ON l.id BETWEEN a.id AND a.id AND l.sending AND l.attempts = a.attempt FOR UPDATE OF l)
         UPDATE lane l SET due_at = $3 FROM held WHERE l.id BETWEEN held.id AND held.id RETURNING l.id";
    let renew = client.prepare(sql).await?;
    let held = client.query(&renew, &[&ids, &numbers, &until.as_millis()]).await?;
    held.iter().map(|row| rows::mail_id(row.get(0))).collect()
}

/// One statement per fate, each in the order of the keys; then, seeing what came meanwhile, the next in their lanes.
async fn settle(client: &mut Session, settlements: &[Settlement]) -> Result<u64> {
    let mut sorted: Vec<&Settlement> = settlements.iter().collect();
    sorted.sort_by_key(|settlement| settlement.id);
    // two results of one attempt: the first counts
    sorted.dedup_by_key(|settlement| (settlement.id, settlement.attempt));
    let tx = client.transaction().await?;
    let mut tally = Tally::default();
    lock(&tx, &sorted.iter().map(|settlement| key(settlement.id)).collect::<Vec<_>>()).await?;
    // only now: whoever cancels an order or corrects its address holds these locks, too
    let orders = destinations(&tx, &sorted).await?;
    let (mut sent, mut dead, mut dropped, mut waiting) =
        (Rows::default(), Rows::default(), Rows::default(), Rows::default());
    let cancelled = Reason::cancelled();
    for settlement in &sorted {
        let (id, attempt) = (settlement.id, settlement.attempt);
        let order = orders.get(&id.order).map(|(recipient, mails_from)| (&**recipient, *mails_from));
        let (recipient, mails_from) = order.unwrap_or((settlement.to.as_str(), None));
        match settlement.fate(recipient, mails_from) {
            Fate::Sent(reply) => sent.add(id, attempt, (None, reply), (None, false)),
            Fate::Dead(reason) => dead.add(id, attempt, told(reason), (None, false)),
            Fate::Dropped { unknown } => dropped.add(id, attempt, told(&cancelled), (None, unknown)),
            Fate::Waits { until, reason, unknown } => waiting.add(id, attempt, told(reason), (until, unknown)),
        }
    }
    let settled = sent.end(&tx, &mut tally).await?;
    let mut failed = dead.end_as(MailStatus::Dead, Tried::Yes, &tx, &mut tally).await?;
    failed.extend(dropped.end_as(MailStatus::Dropped, Tried::Yes, &tx, &mut tally).await?);
    failed.extend(waiting.put_off(&tx, &mut tally).await?);
    let refused = sorted.iter().filter_map(|settlement| {
        let (key, reason) = (key(settlement.id), settlement.suppresses()?);
        failed.contains(&key).then(|| (key, settlement.to.as_str(), rows::text(&reason.text)))
    });
    tally.add(Kind::Suppressed, "", suppressed::insert(&tx, refused.collect()).await?);
    promote(&tx, &[&sent.ids[..], &dead.ids[..], &dropped.ids[..]].concat()).await?;
    let settled = settled + failed.len() as u64;
    tally.mail(MailStatus::Sending, -(settled as i64));
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(settled)
}

/// Where the mails of the orders go now, and from which event on they are sent; only of orders with mails that were not
/// accepted, for the others do not depend on it.
async fn destinations(
    tx: &Transaction<'_>,
    settlements: &[&Settlement],
) -> Result<HashMap<OrderId, (String, Option<u8>)>> {
    let failed = settlements.iter().filter(|settlement| !matches!(settlement.verdict, Verdict::Sent(_)));
    let ids: Vec<i64> = failed.map(|settlement| settlement.id.order.get() as i64).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let select = "SELECT id, coalesce(address, usermail), mails_from FROM orders WHERE id = ANY($1)";
    let found = tx.query(&tx.prepare(select).await?, &[&ids]).await?;
    found.iter().map(|row| Ok((rows::order_id(row.get(0))?, (row.get(1), rows::small(row, 2))))).collect()
}

fn told(reason: &Reason) -> (Option<Class>, &str) {
    (Some(reason.class), &reason.text)
}

/// Whether a mail that ends had its attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    Yes,
    /// It was counted when the mail was taken, and then not made.
    No,
}

/// Settlements of a kind, by columns.
#[derive(Default)]
struct Rows {
    ids: Vec<i64>,
    attempts: Vec<i32>,
    classes: Vec<Option<&'static str>>,
    texts: Vec<String>,
    due_at: Vec<Option<i64>>,
    unknown: Vec<bool>,
}

impl Rows {
    fn add(
        &mut self,
        id: MailId,
        attempt: u32,
        (class, text): (Option<Class>, &str),
        (due_at, unknown): (Option<Timestamp>, bool),
    ) {
        self.ids.push(key(id));
        self.attempts.push(attempt as i32);
        self.classes.push(class.map(Class::name));
        self.texts.push(rows::text(text).into_owned());
        self.due_at.push(due_at.map(Timestamp::as_millis));
        self.unknown.push(unknown);
    }

    async fn end(&self, tx: &Transaction<'_>, tally: &mut Tally) -> Result<u64> {
        if self.ids.is_empty() {
            return Ok(0);
        }
        let sql = "WITH s AS (SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[]) AS s(id, attempt, reply)),
             gone AS (DELETE FROM lane l USING s WHERE l.id BETWEEN s.id AND s.id AND l.sending AND l.attempts = s.attempt
                      RETURNING l.id, l.tried_at, l.attempts, l.ambiguous, s.reply)
             INSERT INTO sent (id, tried_at, attempts, ambiguous, reply) SELECT * FROM gone";
        let sent = tx.execute(&tx.prepare(sql).await?, &[&self.ids, &self.attempts, &self.texts]).await?;
        tally.mail(MailStatus::Sent, sent as i64);
        Ok(sent)
    }

    /// Ends them as dead or dropped. Returns the keys of those whose attempt was the current one.
    async fn end_as(
        &self,
        status: MailStatus,
        tried: Tried,
        tx: &Transaction<'_>,
        tally: &mut Tally,
    ) -> Result<Vec<i64>> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "WITH s AS (SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bool[])
                              AS s(id, attempt, class, reply, unknown)),
             gone AS (DELETE FROM lane l USING s WHERE l.id BETWEEN s.id AND s.id AND l.sending AND l.attempts = s.attempt
                      RETURNING l.id, $6::bool, l.tried_at, l.attempts - $7::int, l.ambiguous OR s.unknown, s.class, s.reply)
             INSERT INTO dead_mails (id, dropped, tried_at, attempts, ambiguous, class, reply) SELECT * FROM gone
             RETURNING id, class";
        let (is_dropped, untried) = (status == MailStatus::Dropped, i32::from(tried == Tried::No));
        let params: [&(dyn ToSql + Sync); 7] =
            [&self.ids, &self.attempts, &self.classes, &self.texts, &self.unknown, &is_dropped, &untried];
        let ended = tx.query(&tx.prepare(sql).await?, &params).await?;
        for row in &ended {
            tally.mail(status, 1);
            tally.class(status, rows::class(row, 1), 1);
        }
        Ok(ended.iter().map(|row| row.get(0)).collect())
    }

    /// Lets them wait again. Returns the keys of those whose attempt was the current one.
    async fn put_off(&self, tx: &Transaction<'_>, tally: &mut Tally) -> Result<Vec<i64>> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "UPDATE lane l SET sending = false, class = s.class, reply = s.reply, due_at = coalesce(s.due_at, l.tried_at),
                 ambiguous = l.ambiguous OR s.unknown, copies = l.copies + s.unknown::int, lease = NULL
             FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::bool[])
                 AS s(id, attempt, class, reply, due_at, unknown)
             WHERE l.id BETWEEN s.id AND s.id AND l.sending AND l.attempts = s.attempt RETURNING l.id, l.class";
        let params: [&(dyn ToSql + Sync); 6] =
            [&self.ids, &self.attempts, &self.classes, &self.texts, &self.due_at, &self.unknown];
        let waiting = tx.query(&tx.prepare(sql).await?, &params).await?;
        for row in &waiting {
            tally.mail(MailStatus::Pending, 1);
            tally.class(MailStatus::Pending, rows::class(row, 1), 1);
        }
        Ok(waiting.iter().map(|row| row.get(0)).collect())
    }
}

/// Drops mails that wait; they are counted as such by whoever knows what they were.
pub(super) async fn drop_waiting(tx: &Transaction<'_>, keys: &[i64], now: Timestamp, tally: &mut Tally) -> Result<()> {
    let sql = "WITH gone AS (DELETE FROM lane l USING unnest($1::bigint[]) AS d(id) WHERE l.id BETWEEN d.id AND d.id
                             RETURNING l.id, l.tried_at, l.attempts, l.ambiguous)
         INSERT INTO dead_mails (id, dropped, tried_at, attempts, ambiguous, class, reply)
         SELECT id, true, coalesce(tried_at, $2), attempts, ambiguous, $3, $4 FROM gone";
    insert_dropped(tx, sql, keys, now, tally).await
}

/// Notes mails that are dropped from the start.
pub(super) async fn insert_unsent(tx: &Transaction<'_>, keys: &[i64], now: Timestamp, tally: &mut Tally) -> Result<()> {
    let sql = "INSERT INTO dead_mails (id, dropped, tried_at, attempts, ambiguous, class, reply)
         SELECT id, true, $2, 0, false, $3, $4 FROM unnest($1::bigint[]) AS d(id)";
    insert_dropped(tx, sql, keys, now, tally).await
}

async fn insert_dropped(
    tx: &Transaction<'_>,
    sql: &str,
    keys: &[i64],
    now: Timestamp,
    tally: &mut Tally,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let Reason { class, text } = Reason::cancelled();
    let dropped = tx.execute(&tx.prepare(sql).await?, &[&keys, &now.as_millis(), &class.name(), &text]).await?;
    tally.mail(MailStatus::Dropped, dropped as i64);
    tally.class(MailStatus::Dropped, Some(class), dropped as i64);
    Ok(())
}

/// Locks what waits in the lanes of these keys. Of two mails of one order that are settled at the same moment (an earlier
/// one came late while the other was in flight), the second sees what the first has left.
async fn lock(tx: &Transaction<'_>, keys: &[i64]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let sql = "SELECT FROM unnest($1::bigint[]) AS o(id)
         JOIN lane l ON l.id > o.id << 8 AND l.id < (o.id + 1) << 8 FOR UPDATE OF l";
    tx.execute(&tx.prepare(sql).await?, &[&orders(keys)]).await?;
    Ok(())
}

/// The orders of these keys, once each and sorted.
fn orders(keys: &[i64]) -> Vec<i64> {
    let mut orders: Vec<i64> = keys.iter().map(|key| key >> 8).collect();
    orders.sort_unstable();
    orders.dedup();
    orders
}

/// Makes the first unsettled mail in the lanes of these keys their head.
pub(super) async fn promote(tx: &Transaction<'_>, keys: &[i64]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    // nearly always there is none
    let sql = "UPDATE lane l SET head = 1
         FROM unnest($1::bigint[]) AS o(id), LATERAL (
             SELECT n.id FROM lane n WHERE n.id > o.id << 8 AND n.id < (o.id + 1) << 8 ORDER BY n.id LIMIT 1) AS first
         WHERE l.id BETWEEN first.id AND first.id AND l.head <> 1";
    tx.execute(&tx.prepare(sql).await?, &[&orders(keys)]).await?;
    Ok(())
}

/// The key of a mail.
pub(super) const fn key(id: MailId) -> i64 {
    rows::key(id.order, id.seq)
}

async fn expire(client: &mut Session, now: Timestamp) -> Result<u64> {
    let tx = client.transaction().await?;
    let sql = "UPDATE lane SET sending = false, ambiguous = true, due_at = $1, class = 'unanswered', lease = NULL
               WHERE sending";
    let expired = tx.execute(&tx.prepare(sql).await?, &[&now.as_millis()]).await?;
    let mut tally = Tally::default();
    tally.mail(MailStatus::Sending, -(expired as i64));
    tally.mail(MailStatus::Pending, expired as i64);
    tally.class(MailStatus::Pending, Some(Class::Unanswered), expired as i64);
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(expired)
}

async fn counts(client: &mut Session) -> Result<LedgerCounts> {
    let kinds = [Kind::Mail, Kind::Class, Kind::Repeated, Kind::Suppressed];
    let mut counts = LedgerCounts::default();
    for (kind, name, n) in tally::read(client, &kinds).await? {
        count(&mut counts, kind, &name, n);
    }
    let oldest = client.prepare("SELECT min(at) FROM lane").await?;
    counts.oldest_unsettled_at = rows::optional_time(&client.query_one(&oldest, &[]).await?, 0);
    Ok(counts)
}

/// Puts one of the tally's counts where it belongs.
pub(super) fn count(counts: &mut LedgerCounts, kind: Kind, name: &str, n: u64) {
    match kind {
        Kind::Mail => {
            counts.by_status.extend(status(name).map(|status| (status, n)));
            counts.by_status.sort_by_key(|(status, _)| MailStatus::ALL.iter().position(|other| other == status));
        }
        Kind::Class => counts
            .by_class
            .extend(name.split_once('/').and_then(|(of, class)| Some((status(of)?, Class::named(class)?, n)))),
        Kind::Repeated => counts.repeated = n,
        Kind::Suppressed => counts.suppressed = n,
        _ => {}
    }
}

fn status(name: &str) -> Option<MailStatus> {
    MailStatus::ALL.into_iter().find(|status| status.name() == name)
}
