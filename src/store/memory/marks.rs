//! What was seen of the log.

use async_trait::async_trait;

use super::{MemoryStore, Projected};
use crate::{
    eventlog::TopicPartition,
    store::{
        Result,
        marks::{INTAKE, Mark, Marks},
    },
};

#[async_trait]
impl Marks for MemoryStore {
    async fn marks(&self) -> Result<Vec<Mark>> {
        let mark = |((_, tp), seen): (&(String, TopicPartition), &Projected)| Mark {
            tp: tp.clone(),
            offset: seen.offset,
            print: seen.print,
        };
        Ok(self.tables().projected.iter().map(mark).collect())
    }

    async fn note_ids(&self, tp: &TopicPartition, end: u64) -> Result<()> {
        let mut tables = self.tables();
        let seen = tables.projected.entry((INTAKE.to_owned(), tp.clone()));
        let seen = seen.or_insert(Projected { offset: 0, print: None });
        seen.offset = seen.offset.max(end);
        Ok(())
    }

    async fn forget(&self, partitions: Vec<TopicPartition>) -> Result<()> {
        self.tables().projected.retain(|(_, tp), _| !partitions.contains(tp));
        Ok(())
    }
}
