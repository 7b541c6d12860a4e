//! What a member commits, and when it may.

use rdkafka::{
    consumer::{CommitMode, Consumer},
    error::RDKafkaErrorCode as Code,
};

use super::KafkaMember;
use crate::eventlog::{Error, GroupOffset, NewRecord, Outcome, Result, beyond, check_metadata, kafka::groups};

impl KafkaMember {
    /// Ownership is checked here: the coordinator knows generations only, and would take the offsets of a partition
    /// that is somebody else's.
    pub(super) fn check(&mut self, offset: &GroupOffset) -> Result<()> {
        check_metadata(offset)?;
        if offset.offset > self.cursor(&offset.tp)?.known_end {
            let written = self.shared.topics.written(&offset.tp)?;
            if offset.offset > written {
                return Err(beyond(&offset.tp, offset.offset, written));
            }
            self.cursor(&offset.tp)?.known_end = written;
        }
        Ok(())
    }

    fn commit_offsets(&self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        if !outputs.is_empty() {
            return Outcome::Aborted(Error::Fatal(format!("this member of {} can commit offsets only", self.group)));
        }
        if offsets.is_empty() {
            return Outcome::Committed(Vec::new());
        }
        let list = match groups::list_of(offsets) {
            Ok(list) => list,
            Err(error) => return Outcome::Aborted(error),
        };
        match self.consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => Outcome::Committed(Vec::new()),
            Err(error) => {
                let text = format!("offsets of {}: {error}", self.group);
                match error.rdkafka_error_code() {
                    Some(
                        Code::IllegalGeneration
                        | Code::UnknownMemberId
                        | Code::FencedInstanceId
                        | Code::RebalanceInProgress
                        | Code::AssignmentLost,
                    ) => Outcome::Aborted(Error::Fenced(text)),
                    Some(Code::GroupAuthorizationFailed | Code::TopicAuthorizationFailed) => {
                        Outcome::Aborted(Error::Fatal(text))
                    }
                    // the same offsets again do no harm, whether these were taken or not
                    _ => Outcome::Aborted(Error::Unavailable(text)),
                }
            }
        }
    }

    pub(super) fn transact(&mut self, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Outcome {
        // outputs alone would be fenced by nothing: one offset goes with them, as it was
        let unchanged: Vec<GroupOffset>;
        let sent = if offsets.is_empty() {
            unchanged = self.cursors.iter().find_map(|cursor| cursor.committed.clone()).into_iter().collect();
            &unchanged[..]
        } else {
            offsets
        };
        let list = match groups::list_of(sent) {
            Ok(list) => list,
            Err(error) => return Outcome::Aborted(error),
        };
        let Some(producer) = &mut self.producer else { return self.commit_offsets(outputs, offsets) };
        let consumer = &self.consumer;
        let fence = || {
            let group = consumer.group_metadata();
            // once the member is put out, the library's generation is −1, which the brokers let pass: the flag is set
            // in the same step, so it is looked at after the generation was taken
            if consumer.assignment_lost() {
                return Err(Error::Fenced("evicted from the group".into()));
            }
            group.ok_or_else(|| Error::Fenced("not a member of a group".into()))
        };
        let outcome = producer.commit(outputs, list, fence);
        if let Outcome::Committed(_) = outcome {
            for offset in offsets {
                if let Ok(cursor) = self.cursor(&offset.tp) {
                    cursor.committed = Some(offset.clone());
                }
            }
        }
        outcome
    }
}
