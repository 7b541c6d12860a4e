//! The mail ledger. The head of a lane is the first unsettled mail of an order; every change here keeps the column
//! `head` true to that, and only heads are leased.

use std::sync::PoisonError;

use async_trait::async_trait;

use super::{
    PgStore, rows,
    session::{Session, Transaction},
    suppressed,
    tally::{self, Kind, Tally},
};
use crate::{
    domain::Timestamp,
    env::Random,
    store::{
        Error, Result,
        ledger::{Class, Ledger, LedgerCounts, Mail, MailId, MailStatus, Reason, Settlement, Verdict},
    },
};

#[async_trait]
impl Ledger for PgStore {
    async fn lease(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
        let call =
            Random::system().u64().map_err(|e| Error::Unavailable(format!("no random number: {e}")))?.cast_signed();
        let taking = Taking { call, until };
        let doubtful = {
            let mut doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
            // a commit can still come after it was looked for; what is not found in time is ambiguous by then
            doubtful.retain(|taking| taking.until > now);
            doubtful.clone()
        };
        let leased =
            self.run(|client| Box::pin(async move { lease(client, now, &taking, limit, &doubtful).await })).await;
        if leased.is_err() {
            self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).push(taking);
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
pub(super) struct Taking {
    /// A number of its own.
    call: i64,
    until: Timestamp,
}

async fn lease(
    client: &mut Session,
    now: Timestamp,
    taking: &Taking,
    limit: usize,
    doubtful: &[Taking],
) -> Result<Vec<Mail>> {
    let tx = client.transaction().await?;
    let mut tally = Tally::default();
    if !doubtful.is_empty() {
        give_back(&tx, now, doubtful, &mut tally).await?;
    }
    let mails = take(&tx, now, taking, limit, &mut tally).await?;
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(mails)
}

/// What an earlier call took, whose commit nobody heard of, was never sent: it is as it was before. Found by the index of
/// what is due, at the end of its lease.
async fn give_back(tx: &Transaction<'_>, now: Timestamp, doubtful: &[Taking], tally: &mut Tally) -> Result<()> {
    let sql =
        "UPDATE lane l SET sending = false, attempts = l.attempts - 1, tries = l.tries - 1, due_at = $3, lease = NULL
         FROM unnest($1::bigint[], $2::bigint[]) AS d(call, until)
         WHERE l.head = 1 AND l.due_at BETWEEN d.until AND d.until AND l.sending AND l.lease = d.call
         RETURNING l.ambiguous";
    let (calls, until): (Vec<i64>, Vec<i64>) =
        doubtful.iter().map(|taking| (taking.call, taking.until.as_millis())).unzip();
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
    taking: &Taking,
    limit: usize,
    tally: &mut Tally,
) -> Result<Vec<Mail>> {
    const FIRST: usize = rows::ORDER_COLUMN_COUNT;
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
         SELECT {}, t.id, h.estado, h.at, h.next_at, t.sending, t.attempts, t.ambiguous, t.class,
                s.address, s.at, s.reason, s.mail, t.begun_at, t.tries, t.copies
         FROM taken t JOIN orders o ON o.id BETWEEN t.id >> 8 AND t.id >> 8 JOIN history h ON h.id BETWEEN t.id AND t.id
         LEFT JOIN suppressed s ON s.address = lower(o.usermail COLLATE \"C\")
         ORDER BY t.due_at, t.id",
        rows::ORDER_COLUMNS
    );
    let (now, until) = (now.as_millis(), taking.until.as_millis());
    let found = tx.query(&tx.prepare(&sql).await?, &[&now, &(limit as i64), &until, &taking.call]).await?;
    let mut mails = Vec::with_capacity(found.len());
    let mut damaged = Rows::default();
    for row in &found {
        let (was_sending, ambiguous) = (row.get(FIRST + 4), row.get(FIRST + 6));
        let (id, attempt) = (rows::mail_id(row.get(FIRST))?, row.get::<_, i32>(FIRST + 5) as u32);
        tally.mail(if was_sending { MailStatus::Sending } else { MailStatus::Pending }, -1);
        tally.class(MailStatus::Pending, rows::class(row, FIRST + 7), -1);
        tally.mail(MailStatus::Sending, 1);
        let order = match rows::order(row) {
            Ok(order) => order,
            Err(error) => {
                damaged.add(id, attempt, Some(Class::Composing), &error.to_string(), None);
                continue;
            }
        };
        tally.add(Kind::Repeated, "", i64::from(ambiguous));
        mails.push(Mail {
            order,
            id,
            estado: row.get::<_, &str>(FIRST + 1).into(),
            at: rows::time(row, FIRST + 2),
            next_at: rows::optional_time(row, FIRST + 3),
            begun_at: rows::time(row, FIRST + 12),
            attempt,
            tries: row.get::<_, i32>(FIRST + 13) as u32,
            copies: row.get::<_, i32>(FIRST + 14) as u32,
            ambiguous,
            suppressed: rows::suppression(row, FIRST + 8)?,
        });
    }
    if !damaged.ids.is_empty() {
        // a mail whose order is damaged goes to nobody, and holds nobody up
        let buried = damaged.bury(tx, tally).await?;
        promote(tx, &damaged.ids).await?;
        tally.mail(MailStatus::Sending, -(buried as i64));
    }
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

/// One statement per kind of verdict, each in the order of the keys; then, seeing what came meanwhile, the next in
/// their lanes.
async fn settle(client: &mut Session, settlements: &[Settlement]) -> Result<u64> {
    let mut sorted: Vec<&Settlement> = settlements.iter().collect();
    sorted.sort_by_key(|settlement| settlement.id);
    // two results of one attempt: the first counts
    sorted.dedup_by_key(|settlement| (settlement.id, settlement.attempt));
    let (mut sent, mut dead, mut retried) = (Rows::default(), Rows::default(), Rows::default());
    for Settlement { id, attempt, verdict } in sorted {
        match verdict {
            Verdict::Sent(reply) => sent.add(*id, *attempt, None, reply, None),
            Verdict::Dead(Reason { class, text }) => dead.add(*id, *attempt, Some(*class), text, None),
            Verdict::Retry(at, Reason { class, text }) => {
                retried.add(*id, *attempt, Some(*class), text, Some((*at, false)));
            }
            Verdict::Unknown(at, Reason { class, text }) => {
                retried.add(*id, *attempt, Some(*class), text, Some((*at, true)));
            }
        }
    }
    let tx = client.transaction().await?;
    let mut tally = Tally::default();
    let ended = [&sent.ids[..], &dead.ids[..]].concat();
    lock(&tx, &[&ended[..], &retried.ids[..]].concat()).await?;
    let mut settled = sent.end(&tx, &mut tally).await?;
    settled += dead.bury(&tx, &mut tally).await?;
    settled += retried.put_off(&tx, &mut tally).await?;
    promote(&tx, &ended).await?;
    tally.mail(MailStatus::Sending, -(settled as i64));
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(settled)
}

/// Settlements of a kind, by columns.
#[derive(Default)]
struct Rows {
    ids: Vec<i64>,
    attempts: Vec<i32>,
    classes: Vec<Option<&'static str>>,
    texts: Vec<String>,
    due_at: Vec<i64>,
    unknown: Vec<bool>,
}

impl Rows {
    fn add(&mut self, id: MailId, attempt: u32, class: Option<Class>, text: &str, again: Option<(Timestamp, bool)>) {
        self.ids.push(key(id));
        self.attempts.push(attempt as i32);
        self.classes.push(class.map(Class::name));
        self.texts.push(rows::text(text).into_owned());
        if let Some((due_at, unknown)) = again {
            self.due_at.push(due_at.as_millis());
            self.unknown.push(unknown);
        }
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

    async fn bury(&self, tx: &Transaction<'_>, tally: &mut Tally) -> Result<u64> {
        if self.ids.is_empty() {
            return Ok(0);
        }
        let sql = "WITH s AS (SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[])
                              AS s(id, attempt, class, reply)),
             gone AS (DELETE FROM lane l USING s WHERE l.id BETWEEN s.id AND s.id AND l.sending AND l.attempts = s.attempt
                      RETURNING l.id, l.tried_at, l.attempts, l.ambiguous, s.class, s.reply)
             INSERT INTO dead_mails (id, tried_at, attempts, ambiguous, class, reply) SELECT * FROM gone
             RETURNING id, class";
        let params: [&(dyn deadpool_postgres::tokio_postgres::types::ToSql + Sync); 4] =
            [&self.ids, &self.attempts, &self.classes, &self.texts];
        let buried = tx.query(&tx.prepare(sql).await?, &params).await?;
        let mut refused = Vec::new();
        for row in &buried {
            let class = rows::class(row, 1);
            tally.mail(MailStatus::Dead, 1);
            tally.class(MailStatus::Dead, class, 1);
            if class == Some(Class::Address) {
                refused.push(row.get::<_, i64>(0));
            }
        }
        if !refused.is_empty() {
            tally.add(Kind::Suppressed, "", suppressed::keep(tx, &refused).await?);
        }
        Ok(buried.len() as u64)
    }

    async fn put_off(&self, tx: &Transaction<'_>, tally: &mut Tally) -> Result<u64> {
        if self.ids.is_empty() {
            return Ok(0);
        }
        let sql = "UPDATE lane l SET sending = false, class = s.class, reply = s.reply, due_at = s.due_at,
                 ambiguous = l.ambiguous OR s.unknown, copies = l.copies + s.unknown::int, lease = NULL
             FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bigint[], $6::bool[])
                 AS s(id, attempt, class, reply, due_at, unknown)
             WHERE l.id BETWEEN s.id AND s.id AND l.sending AND l.attempts = s.attempt RETURNING l.class";
        let params: [&(dyn deadpool_postgres::tokio_postgres::types::ToSql + Sync); 6] =
            [&self.ids, &self.attempts, &self.classes, &self.texts, &self.due_at, &self.unknown];
        let waiting = tx.query(&tx.prepare(sql).await?, &params).await?;
        for row in &waiting {
            tally.mail(MailStatus::Pending, 1);
            tally.class(MailStatus::Pending, rows::class(row, 0), 1);
        }
        Ok(waiting.len() as u64)
    }
}

/// Locks what waits in the lanes of these keys. Of two mails of one order that are settled at the same moment (an earlier
/// one came late while the other was in the air), the second sees what the first has left.
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
        match kind {
            Kind::Mail => counts.by_status.extend(status(&name).map(|status| (status, n))),
            Kind::Class => counts
                .by_class
                .extend(name.split_once('/').and_then(|(of, class)| Some((status(of)?, Class::named(class)?, n)))),
            Kind::Repeated => counts.repeated = n,
            Kind::Suppressed => counts.suppressed = n,
            Kind::Open | Kind::Finished | Kind::Cancelled => {}
        }
    }
    counts.by_status.sort_by_key(|(status, _)| MailStatus::ALL.iter().position(|other| other == status));
    let oldest = client.prepare("SELECT min(at) FROM lane").await?;
    counts.oldest_unsettled_at = rows::optional_time(&client.query_one(&oldest, &[]).await?, 0);
    Ok(counts)
}

fn status(name: &str) -> Option<MailStatus> {
    MailStatus::ALL.into_iter().find(|status| status.name() == name)
}
