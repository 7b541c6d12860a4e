//! The tables: migrations, and the statements that are not on the hot path.

use std::{iter::successors, path::Path};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::{
    causes::with_causes,
    domain::Timestamp,
    eventlog::{
        Error, GroupInfo, GroupOffset, PartitionRange, Result, TopicInfo, TopicPartition, TopicSpec, beyond, check_from,
    },
    sqlite,
};

mod embedded {
    refinery::embed_migrations!("src/eventlog/sqlite/migrations");
}

/// Most records deleted in one transaction: bounds how long appends wait behind it.
const DELETE_MAX: u64 = 1_000;

/// A partition's row.
pub(super) struct PartitionRow {
    pub(super) id: i64,
    pub(super) start: u64,
    pub(super) next: u64,
}

impl PartitionRow {
    /// Checks that reading can begin at `offset`.
    pub(super) fn check(&self, tp: &TopicPartition, offset: u64) -> Result<()> {
        check_from(tp, offset, self.start, self.next)
    }
}

/// Brings the tables up to date.
pub(super) fn migrate(path: &Path, conn: &mut Connection) -> Result<()> {
    embedded::migrations::runner().set_grouped(true).run(conn).map_err(|e| not_ours(path, &e))?;
    Ok(())
}

/// Brings the tables up to what they were in an older version.
#[cfg(test)]
pub(super) fn migrate_to(version: i32, conn: &mut Connection) {
    embedded::migrations::runner().set_target(refinery::Target::Version(version)).run(conn).unwrap();
}

/// Checks that the tables are those of this version.
pub(super) fn check(path: &Path, conn: &mut Connection) -> Result<()> {
    let ours = embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
    let theirs = embedded::migrations::runner().get_last_applied_migration(conn).map_err(|e| not_ours(path, &e))?;
    let theirs = theirs.map(|migration| migration.version());
    if theirs != ours {
        let text = format!("its tables have version {theirs:?}, this program knows {ours:?}");
        return Err(sqlite::describe(path, sqlite::Error::Fatal(text)).into());
    }
    Ok(())
}

fn not_ours(path: &Path, error: &refinery::Error) -> Error {
    let first: &dyn std::error::Error = error;
    let is_full = successors(Some(first), |error| error.source()).any(|error| {
        let code = error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
        code == Some(ErrorCode::DiskFull)
    });
    let advice = if is_full {
        "an older file is brought up to date once, at the start, and wants twice its size of free room for that; it is as it was"
    } else {
        "is this an event log of this version?"
    };
    sqlite::describe(path, sqlite::Error::Fatal(format!("{}; {advice}", with_causes(error)))).into()
}

/// Creates a topic, or finds it to be there as wanted.
pub(super) fn create(conn: &Connection, spec: &TopicSpec) -> Result<Vec<PartitionRow>> {
    let added = conn.execute("INSERT OR IGNORE INTO topics (name) VALUES (?1)", [&spec.name])?;
    if added == 1 {
        let id = conn.last_insert_rowid();
        for number in 0..spec.partitions {
            conn.execute("INSERT INTO partitions (topic_id, number) VALUES (?1, ?2)", (id, number))?;
        }
    }
    let rows = partitions(conn, &spec.name)?;
    if rows.len() != spec.partitions as usize {
        let (name, wanted, is) = (&spec.name, spec.partitions, rows.len());
        return Err(Error::Fatal(format!(
            "the number of partitions of topic {name} is {is}, not {wanted}; that cannot be changed"
        )));
    }
    Ok(rows)
}

/// A topic's partitions in order; none when there is no such topic.
pub(super) fn partitions(conn: &Connection, topic: &str) -> Result<Vec<PartitionRow>> {
    let mut select = conn.prepare_cached(
        "SELECT p.id, p.start, p.next FROM topics t JOIN partitions p ON p.topic_id = t.id
         WHERE t.name = ?1 ORDER BY p.number",
    )?;
    let rows = select
        .query_map([topic], |row| Ok(PartitionRow { id: row.get(0)?, start: row.get(1)?, next: row.get(2)? }))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// One partition.
pub(super) fn partition(conn: &Connection, tp: &TopicPartition) -> Result<PartitionRow> {
    let rows = partitions(conn, &tp.topic)?;
    rows.into_iter().nth(tp.partition as usize).ok_or_else(|| Error::Unknown(tp.to_string()))
}

/// Records of each partition by whose size that of the others is told.
const WEIGHED: i64 = 500;

/// About how many bytes the records of a topic have, by the newest of each partition.
pub(super) fn bytes(conn: &Connection, topic: &str) -> Result<u64> {
    // the length of a value is known without reading it
    let mut weigh = conn.prepare_cached(
        "SELECT count(*), total(length(value) + ifnull(length(key), 0) + ifnull(length(headers), 0)) FROM (
             SELECT key, headers, value FROM records WHERE partition_id = ? ORDER BY offset DESC LIMIT ?)",
    )?;
    let mut all = 0.0;
    for row in partitions(conn, topic)? {
        let (count, bytes): (f64, f64) =
            weigh.query_row((row.id, WEIGHED), |found| Ok((found.get::<_, i64>(0)? as f64, found.get(1)?)))?;
        all += (row.next - row.start) as f64 * bytes / count.max(1.0);
    }
    Ok(all as u64)
}

/// All topics, by name.
pub(super) fn topics(conn: &Connection) -> Result<Vec<TopicInfo>> {
    let mut select = conn.prepare_cached(
        "SELECT t.name, p.start, p.next FROM topics t JOIN partitions p ON p.topic_id = t.id ORDER BY t.name, p.number",
    )?;
    let mut rows = select.query([])?;
    let mut topics: Vec<TopicInfo> = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let range = PartitionRange { start: row.get(1)?, end: row.get(2)? };
        match topics.last_mut() {
            Some(topic) if topic.name == name => topic.partitions.push(range),
            _ => topics.push(TopicInfo { name, partitions: vec![range] }),
        }
    }
    Ok(topics)
}

/// What all groups have committed, by name; the number of members is left 0.
pub(super) fn groups(conn: &Connection) -> Result<Vec<GroupInfo>> {
    let mut select = conn.prepare_cached(
        "SELECT g.group_name, t.name, p.number, g.offset, g.metadata
         FROM group_offsets g JOIN partitions p ON p.id = g.partition_id JOIN topics t ON t.id = p.topic_id
         ORDER BY g.group_name, t.name, p.number",
    )?;
    let mut rows = select.query([])?;
    let mut groups: Vec<GroupInfo> = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let tp = TopicPartition { topic: row.get(1)?, partition: row.get(2)? };
        let offset = GroupOffset { tp, offset: row.get(3)?, metadata: row.get(4)? };
        match groups.last_mut() {
            Some(group) if group.name == name => group.offsets.push(offset),
            _ => groups.push(GroupInfo { name, members: 0, offsets: vec![offset] }),
        }
    }
    Ok(groups)
}

/// What a group has committed for a partition.
pub(super) fn committed(conn: &Connection, group: &str, id: i64) -> Result<Option<(u64, String)>> {
    let mut select =
        conn.prepare_cached("SELECT offset, metadata FROM group_offsets WHERE group_name = ?1 AND partition_id = ?2")?;
    Ok(select.query_row((group, id), |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Takes the next offsets of a partition; returns the first.
pub(super) fn take_offsets(conn: &Connection, id: i64, count: u64) -> rusqlite::Result<u64> {
    let mut take = conn.prepare_cached("UPDATE partitions SET next = next + ?2 WHERE id = ?1 RETURNING next - ?2")?;
    take.query_row((id, count), |row| row.get(0))
}

/// Notes how far a group has come. Returns false when the partition does not reach that far.
pub(super) fn commit(conn: &Connection, group: &str, id: i64, offset: u64, metadata: &str) -> Result<bool> {
    let mut upsert = conn.prepare_cached(
        "INSERT INTO group_offsets (group_name, partition_id, offset, metadata)
         SELECT ?1, id, ?3, ?4 FROM partitions WHERE id = ?2 AND next >= ?3
         ON CONFLICT DO UPDATE SET offset = excluded.offset, metadata = excluded.metadata",
    )?;
    Ok(upsert.execute(params![group, id, offset, metadata])? == 1)
}

/// The first offset whose record is not older than `at`, else the end. Scans the older ones: no index on the time is
/// kept up on the hot path for the sake of retention, which deletes just what it has scanned.
pub(super) fn offset_at(conn: &Connection, id: i64, at: Timestamp) -> Result<u64> {
    let mut select = conn.prepare_cached(
        "SELECT coalesce(
             (SELECT offset FROM records WHERE partition_id = ?1 AND at >= ?2 ORDER BY offset LIMIT 1),
             (SELECT next FROM partitions WHERE id = ?1))",
    )?;
    Ok(select.query_row((id, at.as_millis()), |row| row.get(0))?)
}

/// Deletes some of the records before `offset`, oldest first. Returns whether none is left.
pub(super) fn delete_some(conn: &Connection, tp: &TopicPartition, offset: u64) -> Result<bool> {
    let row = partition(conn, tp)?;
    if offset > row.next {
        return Err(beyond(tp, offset, row.next));
    }
    if offset <= row.start {
        return Ok(true);
    }
    let start = offset.min(row.start + DELETE_MAX);
    conn.prepare_cached("DELETE FROM records WHERE partition_id = ?1 AND offset < ?2")?.execute((row.id, start))?;
    conn.prepare_cached("UPDATE partitions SET start = ?2 WHERE id = ?1")?.execute((row.id, start))?;
    Ok(start == offset)
}
