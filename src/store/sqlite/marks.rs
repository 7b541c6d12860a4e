//! What was seen of the log.

use async_trait::async_trait;
use rusqlite::params;

use super::{Result, SqliteStore};
use crate::{
    eventlog::TopicPartition,
    store::marks::{INTAKE, Mark, Marks},
};

#[async_trait]
impl Marks for SqliteStore {
    async fn marks(&self) -> Result<Vec<Mark>> {
        self.readers
            .read(|conn| {
                let mut select = conn.prepare_cached("SELECT topic, partition, offset, print FROM projected")?;
                let marks = select.query_map([], |row| {
                    Ok(Mark {
                        tp: TopicPartition { topic: row.get(0)?, partition: row.get(1)? },
                        offset: row.get::<_, i64>(2)? as u64,
                        print: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
                    })
                })?;
                Ok(marks.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn note_ids(&self, tp: &TopicPartition, end: u64) -> Result<()> {
        let tp = tp.clone();
        let upsert = "INSERT INTO projected (group_name, topic, partition, offset) VALUES (?, ?, ?, ?)
                      ON CONFLICT DO UPDATE SET offset = excluded.offset WHERE offset < excluded.offset";
        self.writer
            .run(move |conn| {
                let params = params![INTAKE, tp.topic, tp.partition, end as i64];
                Ok(conn.prepare_cached(upsert)?.execute(params).map(drop)?)
            })
            .await
    }

    async fn forget(&self, partitions: Vec<TopicPartition>) -> Result<()> {
        self.writer
            .run(move |conn| {
                for tp in &partitions {
                    let delete = "DELETE FROM projected WHERE topic = ? AND partition = ?";
                    conn.prepare_cached(delete)?.execute(params![tp.topic, tp.partition])?;
                }
                Ok(())
            })
            .await
    }
}
