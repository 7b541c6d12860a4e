//! What became of attempts is written down, and the next mail of each lane is let go.

use std::collections::HashMap;

use deadpool_postgres::tokio_postgres::types::ToSql;

use super::lanes::{key, lock, promote};
use crate::{
    domain::{OrderId, Timestamp},
    store::{
        Result,
        ledger::{Class, Fate, MailId, MailStatus, Reason, Settled, Settlement, Verdict},
        postgres::{
            rows,
            session::{Session, Transaction},
            suppressed,
            tally::{Kind, Tally},
        },
    },
};

/// One statement per fate, each in the order of the keys; then, seeing what came meanwhile, the next in their lanes.
pub(super) async fn settle(client: &mut Session, settlements: &[Settlement]) -> Result<Settled> {
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
    let promoted = promote(&tx, &[&sent.ids[..], &dead.ids[..], &dropped.ids[..]].concat()).await?;
    let count = settled + failed.len() as u64;
    tally.mail(MailStatus::Sending, -(count as i64));
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(Settled { count, promoted })
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

pub(super) fn told(reason: &Reason) -> (Option<Class>, &str) {
    (Some(reason.class), &reason.text)
}

/// Whether a mail that ends had its attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Yes,
    /// It was counted when the mail was taken, and then not made.
    No,
}

/// Settlements of a kind, by columns.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) ids: Vec<i64>,
    attempts: Vec<i32>,
    classes: Vec<Option<&'static str>>,
    texts: Vec<String>,
    due_at: Vec<Option<i64>>,
    unknown: Vec<bool>,
}

impl Rows {
    pub(super) fn add(
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
    pub(super) async fn end_as(
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
