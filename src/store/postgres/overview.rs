//! How everything stands, at a glance.

use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::tokio_postgres::Row;

use super::{
    PgStore, ledger,
    orders::REFUSED,
    rows,
    session::Session,
    tally::{self, Kind},
};
use crate::{
    domain::Timestamp,
    store::{
        Result,
        orders::OrderCounts,
        overview::{
            AGES, DUE_AHEAD, DUE_TOGETHER, Flights, InState, LATE, LATE_MAX, LateOrder, Minute, Minutes, Overview,
            Snapshot, minute_name,
        },
    },
};

/// What the snapshot counts by name.
const KINDS: [Kind; 7] =
    [Kind::Open, Kind::Finished, Kind::Cancelled, Kind::Mail, Kind::Class, Kind::Repeated, Kind::Suppressed];

#[async_trait]
impl Overview for PgStore {
    async fn snapshot(&self, now: Timestamp) -> Result<Snapshot> {
        self.run(|client| Box::pin(async move { snapshot(client, now).await })).await
    }

    async fn minutes(&self, from: Timestamp) -> Result<Vec<Minute>> {
        self.run(|client| Box::pin(async move { minutes(client, from).await })).await
    }
}

/// One statement, so that all is of the same moment; behind a pooler, too, where nobody can ask for more than that.
async fn snapshot(client: &Session, now: Timestamp) -> Result<Snapshot> {
    let sql = format!(
        "WITH flights AS (
             SELECT f.id, h.estado, coalesce(h.step, (h.id & 255)::smallint) AS step, h.at,
                 coalesce(h.next_at, h.expect_at) AS due
             FROM in_flight f CROSS JOIN LATERAL (
                 SELECT * FROM history WHERE id > f.id << 8 AND id < (f.id + 1) << 8 ORDER BY id DESC LIMIT 1) h)
         SELECT 'tally', kind, name, sum(n)::bigint, NULL::bigint, NULL::bigint
             FROM tally WHERE kind = ANY($1) GROUP BY kind, name HAVING sum(n) > 0
         UNION ALL
         SELECT CASE WHEN due IS NULL THEN 'untimed' WHEN due + $3 < $2 THEN 'late' ELSE 'timed' END, estado,
             (CASE WHEN due IS NULL OR due + $3 < $2 THEN 0
                   ELSE greatest(0, least({AGES} - 1, ($2 - at) * {AGES} / greatest(1, due - at))) END)::text,
             count(*), max(due - at), min(step)::bigint
             FROM flights GROUP BY 1, 2, 3
         UNION ALL
         SELECT 'worst', estado, NULL, id, due, NULL FROM (
             SELECT estado, id, due FROM flights WHERE due + $3 < $2 ORDER BY due, id LIMIT {LATE_MAX}) worst
         UNION ALL
         SELECT 'due', NULL, NULL, count(*), greatest(due, $2) / $5 * $5, step
             FROM flights WHERE due + $3 >= $2 AND due < $2 + $4 GROUP BY 5, 6
         UNION ALL
         SELECT 'dead', NULL, NULL, count(*), NULL, NULL FROM dead_records WHERE status IN ('dead', 'chosen')
         UNION ALL
         SELECT 'refused', NULL, NULL, count(DISTINCT id >> 8), NULL, NULL FROM dead_mails WHERE {REFUSED}
         UNION ALL
         SELECT 'oldest', NULL, NULL, min(at), NULL, NULL FROM lane"
    );
    let kinds = KINDS.map(Kind::name).to_vec();
    let [late, ahead, together] = [LATE, DUE_AHEAD, DUE_TOGETHER].map(|time| time.as_millis() as i64);
    let found =
        client.query(&client.prepare(&sql).await?, &[&kinds, &now.as_millis(), &late, &ahead, &together]).await?;
    let (mut snapshot, mut flights) = (Snapshot::default(), Flights::default());
    for row in &found {
        let number = row.get::<_, Option<i64>>(3);
        match row.get::<_, &str>(0) {
            "tally" => add(&mut snapshot, row, number.unwrap_or_default() as u64),
            "dead" => snapshot.dead_records = number.unwrap_or_default() as u64,
            "refused" => snapshot.mail_refused = number.unwrap_or_default() as u64,
            "oldest" => snapshot.mails.oldest_unsettled_at = number.map(Timestamp::from_millis),
            "due" => flights.note_due(
                Timestamp::from_millis(row.get(4)),
                row.get::<_, i64>(5) as u8,
                number.unwrap_or_default() as u64,
            ),
            "worst" => flights.note_late(LateOrder {
                id: rows::order_id(number.unwrap_or_default())?,
                estado: row.get::<_, &str>(1).into(),
                due: Timestamp::from_millis(row.get(4)),
            }),
            how => flights.add_counted(&counted(how, row)),
        }
    }
    flights.finish(&mut snapshot);
    Ok(snapshot)
}

fn add(snapshot: &mut Snapshot, row: &Row, n: u64) {
    let (kind, name): (&str, &str) = (row.get(1), row.get(2));
    let Some(kind) = KINDS.into_iter().find(|known| known.name() == kind) else { return };
    match kind {
        Kind::Open | Kind::Finished | Kind::Cancelled => {
            OrderCounts::add(&mut snapshot.counts, name, kind.closing(), n);
        }
        _ => ledger::count(&mut snapshot.mails, kind, name, n),
    }
}

/// Orders in flight in one state, and in one part of their time there.
fn counted(how: &str, row: &Row) -> InState {
    let n = row.get::<_, i64>(3) as u64;
    let dwell = row.get::<_, Option<i64>>(4).map(|millis| Duration::from_millis(millis.max(0) as u64));
    let mut state = InState {
        estado: row.get::<_, &str>(1).into(),
        step: row.get::<_, i64>(5) as u8,
        count: n,
        dwell,
        ..InState::default()
    };
    match how {
        "late" => state.late = n,
        "timed" => {
            let part: usize = row.get::<_, &str>(2).parse().unwrap_or_default();
            state.ages[part.min(AGES - 1)] = n;
        }
        _ => {}
    }
    state
}

async fn minutes(client: &Session, from: Timestamp) -> Result<Vec<Minute>> {
    let select = client
        .prepare(
            "SELECT kind, name, sum(n)::bigint FROM minutes WHERE kind = ANY($1) AND name >= $2
             GROUP BY kind, name HAVING sum(n) > 0 ORDER BY name",
        )
        .await?;
    let kinds = tally::MINUTES.map(|(kind, _)| kind.name()).to_vec();
    let mut minutes = Minutes::default();
    for row in client.query(&select, &[&kinds, &minute_name(from)]).await? {
        let counted = tally::MINUTES.into_iter().find(|(kind, _)| kind.name() == row.get::<_, &str>(0));
        if let Some((_, counted)) = counted {
            minutes.add(counted, row.get(1), row.get::<_, i64>(2) as u64);
        }
    }
    Ok(minutes.finish())
}

/// Forgets the minutes before a time.
pub(super) async fn prune(client: &Session, before: Timestamp) -> Result<()> {
    let kinds = tally::MINUTES.map(|(kind, _)| kind.name()).to_vec();
    let delete = client.prepare("DELETE FROM minutes WHERE kind = ANY($1) AND name < $2").await?;
    client.execute(&delete, &[&kinds, &minute_name(before)]).await?;
    Ok(())
}
