//! How far the log is projected: offsets, which change by compare-and-set.

use std::collections::HashMap;

use super::session::{Session, Transaction};
use crate::{
    eventlog::TopicPartition,
    store::{
        Error, Result,
        orders::{Advance, Applied, Batch},
    },
};

pub(super) async fn offsets(client: &Session, group: &str) -> Result<Vec<(TopicPartition, u64)>> {
    let select = client.prepare("SELECT topic, partition, \"offset\" FROM projected WHERE group_name = $1").await?;
    let found = client.query(&select, &[&group]).await?;
    let offset = |row: &deadpool_postgres::tokio_postgres::Row| {
        let tp = TopicPartition { topic: row.get(0), partition: row.get::<_, i32>(1) as u32 };
        (tp, row.get::<_, i64>(2) as u64)
    };
    Ok(found.iter().map(offset).collect())
}

/// Compare-and-set of the input offsets. False when one is not where the batch begins.
pub(super) async fn move_on(tx: &Transaction<'_>, group: &str, advances: &[&Advance]) -> Result<bool> {
    if advances.is_empty() {
        return Ok(true);
    }
    let topics: Vec<&str> = advances.iter().map(|advance| advance.tp.topic.as_str()).collect();
    let partitions: Vec<i32> = advances.iter().map(|advance| advance.tp.partition as i32).collect();
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
pub(super) async fn judge(client: &Session, batch: &Batch) -> Result<Applied> {
    let offsets: HashMap<_, _> = offsets(client, &batch.group).await?.into_iter().collect();
    let (mut fenced, mut done) = (None, true);
    for Advance { tp, from, to, .. } in &batch.advances {
        let held = offsets.get(tp).copied().unwrap_or_default();
        done &= held == *to && from != to;
        if held != *from {
            fenced.get_or_insert(tp);
        }
    }
    match fenced {
        _ if done => Ok(Applied::default()),
        Some(tp) => Err(Error::Fenced(tp.to_string())),
        // whoever was faster was undone meanwhile
        None => Err(Error::Unavailable("the offsets were held by another instance".into())),
    }
}
