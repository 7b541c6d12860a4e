//! Mails are taken to be sent, and what was taken by a call that nobody heard of is given back.

use super::{
    lanes::promote,
    settle::{Rows, Tried, told},
};
use crate::{
    domain::Timestamp,
    env::Random,
    store::{
        Error, Result,
        ledger::{Class, Mail, MailStatus, Reason},
        postgres::{
            rows,
            session::{Session, Transaction},
            tally::{Kind, Tally},
        },
    },
};

/// What a call of `lease` writes on the mails that it takes.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::postgres) struct LeaseCall {
    /// A number of its own.
    pub(super) call: i64,
    pub(super) until: Timestamp,
}

impl LeaseCall {
    pub(in crate::store::postgres) fn new(until: Timestamp) -> Result<Self> {
        let number = Random::system().u64().map_err(|e| Error::Unavailable(format!("no random number: {e}")))?;
        Ok(Self { call: number.cast_signed(), until })
    }
}

pub(super) async fn lease(
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
pub(in crate::store::postgres) async fn take(
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
        if id.is_dropped(rows::small(row, FIRST + 15)) {
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
