//! The mail ledger. The head of a lane is the first unsettled mail of an order; every change here keeps the column
//! `head` true to that, and only heads are leased.

mod lanes;
mod lease;
mod settle;

use std::sync::PoisonError;

use async_trait::async_trait;

pub(super) use self::{
    lanes::{drop_waiting, insert_unsent, key, promote},
    lease::{LeaseCall, take},
};
use super::{
    PgStore, rows,
    session::Session,
    tally::{self, Kind, Tally},
};
use crate::{
    domain::Timestamp,
    store::{
        Result,
        ledger::{Class, Ledger, LedgerCounts, Mail, MailId, MailStatus, Settled, Settlement},
    },
};

#[async_trait]
impl Ledger for PgStore {
    async fn lease(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<Mail>> {
        let taking = LeaseCall::new(until)?;
        let uncertain = {
            let mut uncertain = self.uncertain.lock().unwrap_or_else(PoisonError::into_inner);
            // a commit can still come after it was looked for; what is not found in time is ambiguous by then
            uncertain.retain(|taking| taking.until > now);
            uncertain.clone()
        };
        let leased = self
            .run(|client| Box::pin(async move { lease::lease(client, now, &taking, limit, &uncertain).await }))
            .await;
        if leased.is_err() {
            self.uncertain.lock().unwrap_or_else(PoisonError::into_inner).push(taking);
        }
        leased
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Settled> {
        self.run(|client| Box::pin(async move { settle::settle(client, &settlements).await })).await
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
