//! Forwarding tells old readers the states that fulfilment committed.
//!
//! Fulfilment writes in transactions, and their markers are records of the topic. kafka-python before 2.0.6 hands these
//! to its reader, which dies of the first. So while an old reader is at work, fulfilment writes to a topic of ours, and
//! this service reads what is committed there and writes plain records to the topic that old readers know: the six
//! fields of the old services, one record after the other, so each order's in order.
//!
//! Its offsets are those of its consumer group, committed after the records are confirmed: at least once. A record comes
//! twice only when the process died, or the brokers were away, between the two. A group without offsets begins where
//! tracking stands, since tracking mailed what is before, or else at the first record.
//!
//! The records have a key, those of an old service have none: so our services tell them apart where both write.
//!
//! Refused: transactions here as well (the markers again), and leaving out transactions in fulfilment (I2 rests on them).

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    clock::Clock,
    domain::wire,
    eventlog::{self, Commits, EventLog, GroupOffset, Input, Member, NewRecord, Outcome, Record, TopicPartition},
};

/// The consumer group.
pub const GROUP: &str = "encargo-forward";

/// How long the thread waits for records before it looks whether it should stop.
const IDLE: Duration = Duration::from_millis(100);
/// Pauses between two tries of what the brokers do not take now.
const RETRY: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(1);
/// Stands with every committed offset, so that a new group can be told from one that has begun.
const BEGUN: &str = "forwarded";

/// What forwarding is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The topic of fulfilment's states.
    pub from: String,
    /// The topic that old readers know.
    pub to: String,
    /// The group of the projection, where a new group begins.
    pub tracking: String,
    /// Which instance of the group this is.
    pub slot: u32,
}

/// The service. It owns its thread.
pub struct Forward {
    log: Arc<dyn EventLog>,
    options: Options,
    runtime: Handle,
}

impl Forward {
    /// A service that owns nothing yet; `runtime` runs the appends.
    pub fn new(log: Arc<dyn EventLog>, options: Options, runtime: Handle) -> Self {
        Self { log, options, runtime }
    }

    /// Works until `stop`; blocks its thread.
    pub fn run(&self, stop: &CancellationToken) -> eventlog::Result<()> {
        let mut member = self.log.join(GROUP, &[&self.options.from], self.options.slot, Commits::Offsets)?;
        while !stop.is_cancelled() {
            match member.next(IDLE)? {
                Input::Assigned(assigned) => self.begin(member.as_mut(), &assigned)?,
                Input::Records(of, records) => self.forward(member.as_mut(), of, records, stop)?,
                // every batch is committed before the next, so nothing is open
                Input::Revoking(_) | Input::Lost(_) | Input::Idle => {}
            }
        }
        info!("forwarding stops");
        Ok(())
    }

    fn begin(&self, member: &mut dyn Member, assigned: &[GroupOffset]) -> eventlog::Result<()> {
        let new = assigned.iter().filter(|offset| offset.metadata != BEGUN);
        let tracked = self.log.lag(&self.options.tracking, &[&self.options.from])?;
        for GroupOffset { of, offset, .. } in new {
            let next = tracked.iter().find(|lag| lag.of == *of).map_or(*offset, |lag| lag.next.max(*offset));
            member.seek(of, next)?;
        }
        info!(partitions = assigned.len(), to = self.options.to, "forwarding states to old readers");
        Ok(())
    }

    fn forward(
        &self,
        member: &mut dyn Member,
        of: TopicPartition,
        records: Vec<Record>,
        stop: &CancellationToken,
    ) -> eventlog::Result<()> {
        let Some(offset) = records.last().map(|record| record.offset + 1) else { return Ok(()) };
        let plain: Vec<NewRecord> = records.into_iter().filter_map(|record| self.plain(&of, record)).collect();
        if !self.append(&plain, stop)? {
            return Ok(()); // stopping: the next start reads them again
        }
        match member.commit(&[], &[GroupOffset { of, offset, metadata: BEGUN.to_owned() }]) {
            Outcome::Committed(_) => {}
            Outcome::Aborted(error) | Outcome::Unknown(error) => {
                warn!(%error, "forwarded states may be forwarded again: their offset was not taken");
            }
        }
        Ok(())
    }

    /// As an old service would write it, but with a key, which keeps the states of an order on one partition.
    fn plain(&self, of: &TopicPartition, record: Record) -> Option<NewRecord> {
        match wire::decode_event(&record.value, &record.headers, record.at) {
            Ok(event) => Some(NewRecord {
                topic: self.options.to.clone(),
                partition: None,
                key: Some(wire::key(event.order.id)),
                value: wire::encode_old_event(&event),
                headers: Vec::new(),
                at: event.at,
            }),
            Err(reason) => {
                let (topic, partition) = (&of.topic, of.partition);
                warn!(topic, partition, offset = record.offset, %reason, "not forwarded, old readers would die of it");
                None
            }
        }
    }

    /// Repeats for as long as the brokers do not take them; false when it is time to stop.
    fn append(&self, records: &[NewRecord], stop: &CancellationToken) -> eventlog::Result<bool> {
        use eventlog::Error::{Overloaded, Unavailable, Unconfirmed};
        let mut pause = RETRY.start;
        while !records.is_empty() {
            match self.runtime.block_on(self.log.append(records.to_vec())) {
                Ok(_) => break,
                Err(error @ (Unavailable(_) | Overloaded(_) | Unconfirmed(_))) => {
                    warn!(%error, retry_in = ?pause, "states cannot be forwarded now, trying again");
                }
                Err(error) => return Err(error),
            }
            let clock = Clock::system();
            self.runtime.block_on(async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = clock.sleep(pause) => {}
                }
            });
            if stop.is_cancelled() {
                return Ok(false);
            }
            pause = (pause * 2).min(RETRY.end);
        }
        Ok(true)
    }
}
