//! The one member of a group.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::{
    Server,
    batch::{Batch, Written},
    catalog::{Signal, Topic},
    read::{self, Pooled},
    schema,
};
use crate::{
    eventlog::{
        Error, GroupOffset, Member, MemberEvent, MemberMode, NewRecord, Outcome, Position, Result, TopicPartition,
        beyond, check_metadata,
    },
    sqlite,
};

/// A member, which owns all partitions of its topics as long as it lives.
pub(super) struct SqliteMember {
    server: Arc<Server>,
    group: Arc<str>,
    conn: Pooled,
    signal: Arc<Signal>,
    cursors: Vec<PartitionCursor>,
    /// Whose turn it is to be read.
    turn: usize,
    /// What the first `next` tells; until then nothing is owned.
    assignment: Option<Vec<GroupOffset>>,
    mode: MemberMode,
}

/// A partition as it is read.
struct PartitionCursor {
    tp: TopicPartition,
    topic: Arc<Topic>,
    id: i64,
    position: u64,
    paused: bool,
}

impl PartitionCursor {
    fn has_more(&self) -> bool {
        !self.paused && self.topic.end(self.tp.partition) > self.position
    }
}

impl SqliteMember {
    pub(super) fn join(
        server: &Arc<Server>,
        conn: Pooled,
        group: &str,
        topics: &[&str],
        mode: MemberMode,
    ) -> Result<Self> {
        let mut topics = topics.iter().map(|name| server.catalog.get(name)).collect::<Result<Vec<_>>>()?;
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics.dedup_by(|a, b| Arc::ptr_eq(a, b));
        if !server.members().insert(group.to_owned()) {
            let text = format!("the group {group} has a member already, and on this log it can have no second one");
            return Err(Error::Fenced(text));
        }
        // from here on, drop takes the name off again
        let mut member = Self {
            server: server.clone(),
            group: group.into(),
            conn,
            signal: Arc::default(),
            cursors: Vec::new(),
            turn: 0,
            assignment: None,
            mode,
        };
        let mut assignment = Vec::new();
        for topic in topics {
            topic.subscribe(member.signal.clone());
            member.assign(&topic, &mut assignment)?;
        }
        member.assignment = Some(assignment);
        Ok(member)
    }

    fn assign(&mut self, topic: &Arc<Topic>, assignment: &mut Vec<GroupOffset>) -> Result<()> {
        for (row, number) in schema::partitions(&self.conn, &topic.name)?.into_iter().zip(0..) {
            let tp = TopicPartition { topic: topic.name.clone(), partition: number };
            let committed = schema::committed(&self.conn, &self.group, row.id)?;
            let (offset, metadata) = committed.unwrap_or((row.start, String::new()));
            assignment.push(GroupOffset { tp: tp.clone(), offset, metadata });
            self.cursors.push(PartitionCursor {
                tp,
                topic: topic.clone(),
                id: row.id,
                position: offset,
                paused: false,
            });
        }
        Ok(())
    }

    /// Records of the next partition in turn that has some.
    fn fetch(&mut self) -> Result<Option<MemberEvent>> {
        let count = self.cursors.len();
        for step in 0..count {
            let turn = (self.turn + step) % count;
            let cursor = &mut self.cursors[turn];
            if !cursor.has_more() {
                continue;
            }
            self.turn = turn + 1;
            let (limit, end) = (self.server.options.batch(), cursor.topic.end(cursor.tp.partition));
            let mut records = cursor.topic.take_recent(cursor.tp.partition, cursor.position, limit);
            if records.is_empty() {
                records = read::records(&self.conn, &cursor.tp, cursor.id, cursor.position, limit)?;
            }
            if let Some(last) = records.last() {
                cursor.position = last.offset + 1;
                return Ok(Some(MemberEvent::Records(cursor.tp.clone(), records)));
            }
            cursor.position = end; // these offsets were allocated, and hold nothing
        }
        Ok(None)
    }

    fn cursor(&self, tp: &TopicPartition) -> Result<usize> {
        let index = self.cursors.iter().position(|cursor| cursor.tp == *tp).filter(|_| self.assignment.is_none());
        index.ok_or_else(|| Error::Fenced(format!("{tp} is not assigned to this member of {}", self.group)))
    }

    fn check(&self, offset: &GroupOffset) -> Result<(i64, GroupOffset)> {
        let id = self.cursors[self.cursor(&offset.tp)?].id;
        check_metadata(offset)?;
        Ok((id, offset.clone()))
    }

    fn try_commit(&self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Result<Vec<Position>> {
        if self.mode == MemberMode::Offsets && !outputs.is_empty() {
            return Err(Error::Fatal(format!("this member of {} can commit offsets only", self.group)));
        }
        let offsets = offsets.iter().map(|offset| self.check(offset)).collect::<Result<Vec<_>>>()?;
        let batch = Batch::pack(&self.server.catalog, outputs)?;
        let group = self.group.clone();
        let (reply, answer) = sqlite::answer();
        self.server.writer.submit(
            move |conn| {
                let written = batch.write(conn)?;
                for (id, GroupOffset { tp, offset, metadata }) in offsets {
                    if !schema::commit(conn, &group, id, offset, &metadata)? {
                        let end = schema::partition(conn, &tp)?.next;
                        return Err(beyond(&tp, offset, end));
                    }
                }
                Ok(written)
            },
            move |written| reply.send(written.map(Written::publish)),
        )?;
        answer.wait().unwrap_or_else(|| Err(Error::Fatal("the writer of the event log has stopped".into())))
    }
}

impl Member for SqliteMember {
    fn next(&mut self, wait: Duration) -> Result<MemberEvent> {
        if let Some(assignment) = self.assignment.take() {
            return Ok(MemberEvent::Assigned(assignment));
        }
        if let Some(input) = self.fetch()? {
            return Ok(input);
        }
        self.signal.wait(wait, || self.cursors.iter().any(PartitionCursor::has_more));
        Ok(self.fetch()?.unwrap_or(MemberEvent::Idle))
    }

    fn seek(&mut self, partition: &TopicPartition, offset: u64) -> Result<()> {
        let cursor = self.cursor(partition)?;
        schema::partition(&self.conn, partition)?.check(partition, offset)?;
        self.cursors[cursor].position = offset;
        Ok(())
    }

    fn pause(&mut self, topic: &str, paused: bool) {
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.tp.topic == topic) {
            cursor.paused = paused;
        }
    }

    fn commit(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        match self.try_commit(outputs, offsets) {
            Ok(positions) => Outcome::Committed(positions),
            Err(error @ Error::Unconfirmed(_)) => Outcome::Unknown(error),
            Err(error) => Outcome::Aborted(error),
        }
    }
}

impl Drop for SqliteMember {
    fn drop(&mut self) {
        for cursor in &self.cursors {
            cursor.topic.unsubscribe(&self.signal);
        }
        self.server.members.lock().unwrap_or_else(PoisonError::into_inner).remove(&*self.group);
    }
}
