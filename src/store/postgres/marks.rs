//! What was seen of the log.

use async_trait::async_trait;

use super::PgStore;
use crate::{
    eventlog::TopicPartition,
    store::{
        Result,
        marks::{INTAKE, Mark, Marks},
    },
};

#[async_trait]
impl Marks for PgStore {
    async fn marks(&self) -> Result<Vec<Mark>> {
        let sql = "SELECT topic, partition, \"offset\", print FROM projected";
        let rows = self
            .run(|client| Box::pin(async move { Ok(client.query(&client.prepare(sql).await?, &[]).await?) }))
            .await?;
        let mark = |row: &deadpool_postgres::tokio_postgres::Row| Mark {
            tp: TopicPartition { topic: row.get(0), partition: row.get::<_, i32>(1) as u32 },
            offset: row.get::<_, i64>(2) as u64,
            print: row.get::<_, Option<i64>>(3).map(i64::cast_unsigned),
        };
        Ok(rows.iter().map(mark).collect())
    }

    async fn note_ids(&self, tp: &TopicPartition, end: u64) -> Result<()> {
        let tp = tp.clone();
        let upsert = "INSERT INTO projected AS p (group_name, topic, partition, \"offset\") VALUES ($1, $2, $3, $4)
                      ON CONFLICT (group_name, topic, partition) DO UPDATE SET \"offset\" = excluded.\"offset\"
                      WHERE p.\"offset\" < excluded.\"offset\"";
        self.run(|client| {
            Box::pin(async move {
                let upsert = client.prepare(upsert).await?;
                client.execute(&upsert, &[&INTAKE, &tp.topic, &(tp.partition as i32), &(end as i64)]).await?;
                Ok(())
            })
        })
        .await
    }

    async fn forget(&self, partitions: Vec<TopicPartition>) -> Result<()> {
        let delete = "DELETE FROM projected p USING unnest($1::text[], $2::int[]) AS f(topic, partition)
                      WHERE p.topic = f.topic AND p.partition = f.partition";
        self.run(|client| {
            Box::pin(async move {
                let topics: Vec<&str> = partitions.iter().map(|tp| tp.topic.as_str()).collect();
                let partitions: Vec<i32> = partitions.iter().map(|tp| tp.partition as i32).collect();
                client.execute(&client.prepare(delete).await?, &[&topics, &partitions]).await?;
                Ok(())
            })
        })
        .await
    }
}
