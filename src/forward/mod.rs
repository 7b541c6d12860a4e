//! Forwarding tells old readers the states that fulfilment committed.
//!
//! Fulfilment writes in transactions, and their markers are records of the topic. kafka-python before 2.0.6 hands these
//! to its reader, which dies of the first. So while an old reader is at work, fulfilment writes to a topic of ours, and
//! this service reads what is committed there and writes plain records to the topic that old readers know: the six
//! fields of the old services, one record after the other, so each order's in order.
//!
//! Its offsets are those of its consumer group, committed after the records are confirmed: at least once. A record comes
//! twice only when the process died, or the brokers were away, between the two. A group without offsets begins where
//! tracking stands, since tracking mailed what is before, or else at the first record; that is committed before
//! fulfilment says anything, so that no state is passed over however soon the process dies.
//!
//! The records say that they were forwarded ([`wire::is_forwarded`]): by that our services tell them from those of an
//! old service, and none is forwarded again, whatever topics other processes were given.
//!
//! Refused: transactions here as well (the markers again), and leaving out transactions in fulfilment (I2 rests on them).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    domain::wire,
    env::{Backoff, Env},
    eventlog::{
        self,
        Error::{Overloaded, Trimmed, Unavailable, Unconfirmed},
        EventLog, GroupOffset, Member, MemberEvent, MemberMode, NewRecord, Outcome, Record, TopicPartition,
    },
};

/// The consumer group.
pub const GROUP: &str = "encargo-forward";

/// How long the thread waits for records before it looks whether it should stop.
const IDLE: Duration = Duration::from_millis(100);
/// Pauses between two tries of what the brokers do not take now.
const RETRY: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(1);
/// Stands with every committed offset, so that a new group can be told from one that has begun.
const BEGUN: &str = "forwarded";

/// Where the group is, as far as its brokers do not know yet.
type Uncommitted = BTreeMap<TopicPartition, u64>;

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
    env: Env,
    options: Options,
    author: eventlog::Author,
    runtime: Handle,
    begun: watch::Sender<bool>,
}

impl Forward {
    /// A service that owns nothing yet; `author` tells who wrote a state, and `runtime` runs the appends.
    pub fn new(log: Arc<dyn EventLog>, env: Env, options: Options, author: eventlog::Author, runtime: Handle) -> Self {
        Self { log, env, options, author, runtime, begun: watch::Sender::new(false) }
    }

    /// Waits until it is durable where the group begins; blocks its thread.
    pub fn wait_begun(&self, stop: &CancellationToken) {
        let mut begun = self.begun.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = begun.wait_for(|begun| *begun) => {} // the sender is ours
            }
        });
    }

    /// Works until `stop`; blocks its thread.
    pub fn run(&self, stop: &CancellationToken) -> eventlog::Result<()> {
        let mut member = self.log.join(GROUP, &[&self.options.from], self.options.slot, MemberMode::Offsets)?;
        let (mut uncommitted, mut is_member) = (Uncommitted::default(), false);
        while !stop.is_cancelled() {
            match member.next(IDLE) {
                Ok(MemberEvent::Assigned(assigned)) => {
                    uncommitted.extend(self.begin(member.as_mut(), &assigned)?);
                    is_member = true;
                    continue; // the next call takes them over, and then they can be committed
                }
                Ok(MemberEvent::Records(tp, records)) => {
                    let Some(next) = records.last().map(|record| record.offset + 1) else { continue };
                    let plain = records.into_iter().filter_map(|record| self.plain(&tp, record).transpose());
                    let plain: Vec<NewRecord> = plain.collect::<eventlog::Result<_>>()?;
                    if !self.append(&plain, stop)? {
                        break; // the next start reads them again
                    }
                    uncommitted.insert(tp, next);
                }
                Ok(MemberEvent::Revoking(gone)) => {
                    Self::commit(member.as_mut(), &mut uncommitted);
                    uncommitted.retain(|tp, _| !gone.contains(tp));
                }
                Ok(MemberEvent::Lost(gone)) => {
                    if gone.iter().any(|tp| uncommitted.contains_key(tp)) {
                        warn!("states may be forwarded twice: their partitions went to another instance");
                    }
                    uncommitted.retain(|tp, _| !gone.contains(tp));
                }
                Ok(MemberEvent::Idle) => {}
                Err(Trimmed { topic, partition, from, start }) => {
                    warn!(
                        topic,
                        partition, from, start, "states were deleted before they were forwarded to old readers"
                    );
                    seek(member.as_mut(), &TopicPartition { topic, partition }, start)?;
                }
                Err(error) => return Err(error),
            }
            if Self::commit(member.as_mut(), &mut uncommitted) && is_member {
                self.begun.send_if_modified(|begun| !std::mem::replace(begun, true));
            }
        }
        info!("forwarding stops");
        Ok(())
    }

    /// Where each partition is begun; a new one is not committed yet.
    fn begin(&self, member: &mut dyn Member, assigned: &[GroupOffset]) -> eventlog::Result<Uncommitted> {
        let tracked = self.log.lag(&self.options.tracking, &[&self.options.from])?;
        let mut new = Uncommitted::default();
        for GroupOffset { tp, offset, .. } in assigned.iter().filter(|offset| offset.metadata != BEGUN) {
            // what tracking did in a topic that was made anew since then is beyond the end
            let next =
                tracked.iter().find(|lag| lag.tp == *tp).map_or(*offset, |lag| lag.next.min(lag.end).max(*offset));
            new.insert(tp.clone(), seek(member, tp, next)?);
        }
        info!(partitions = assigned.len(), to = self.options.to, "forwarding states to old readers");
        Ok(new)
    }

    /// Returns whether all is committed; what the brokers do not take now is tried again with the next input.
    fn commit(member: &mut dyn Member, uncommitted: &mut Uncommitted) -> bool {
        if uncommitted.is_empty() {
            return true;
        }
        let offset = |(tp, next): (&TopicPartition, &u64)| GroupOffset {
            tp: tp.clone(),
            offset: *next,
            metadata: BEGUN.to_owned(),
        };
        let offsets: Vec<GroupOffset> = uncommitted.iter().map(offset).collect();
        match member.commit(&[], &offsets) {
            Outcome::Committed(_) => uncommitted.clear(),
            Outcome::Aborted(error) | Outcome::Unknown(error) => {
                warn!(%error, "states may be forwarded twice: their offsets could not be committed");
            }
        }
        uncommitted.is_empty()
    }

    /// As an old service would write it, but with a key, which keeps the states of an order on one partition.
    fn plain(&self, tp: &TopicPartition, record: Record) -> eventlog::Result<Option<NewRecord>> {
        if wire::is_forwarded(&record.headers) {
            return Ok(None);
        }
        match wire::decode_event(&record.value, &record.headers, record.at) {
            Ok(event) => Ok(Some(NewRecord {
                topic: self.options.to.clone(),
                partition: None,
                key: Some(wire::key(event.order.id)),
                value: wire::encode_old_event(&event),
                headers: wire::forwarded_headers(&event),
                // anybody can write a state of the year 9999, and the brokers take no record of the future
                at: event.at.min(self.env.pace.now()),
            })),
            Err(newer @ wire::Unreadable::Newer(_)) if (self.author)(tp.partition, &record)? => {
                let offset = record.offset;
                Err(eventlog::Error::Fatal(format!(
                    "offset {offset} of {tp} cannot be forwarded to old readers: {newer}"
                )))
            }
            Err(reason) => {
                let (topic, partition) = (&tp.topic, tp.partition);
                warn!(topic, partition, offset = record.offset, %reason, "not forwarded: it would crash old readers");
                Ok(None)
            }
        }
    }

    /// Repeats for as long as the brokers do not take them; false when it is time to stop.
    fn append(&self, records: &[NewRecord], stop: &CancellationToken) -> eventlog::Result<bool> {
        let mut backoff = Backoff::new(RETRY);
        while !records.is_empty() {
            let pause = backoff.pause();
            match self.runtime.block_on(self.log.append(records.to_vec())) {
                Ok(_) => break,
                Err(error @ (Unavailable(_) | Overloaded(_) | Unconfirmed(_))) => {
                    warn!(%error, retry_in = ?pause, "states cannot be forwarded now, trying again");
                }
                Err(error) => return Err(error),
            }
            if !self.runtime.block_on(self.env.pace.sleep_unless(stop, pause)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Reads on from an offset, or from the first one that is kept; which one that is.
fn seek(member: &mut dyn Member, tp: &TopicPartition, offset: u64) -> eventlog::Result<u64> {
    match member.seek(tp, offset) {
        Ok(()) => Ok(offset),
        Err(Trimmed { start, .. }) => member.seek(tp, start).map(|()| start),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        domain::Timestamp,
        eventlog::sqlite::{Options as SqliteOptions, SqliteLog},
    };

    #[test]
    fn a_forged_state_of_the_future_is_forwarded_as_one_of_now() {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(SqliteLog::open(&folder.path().join("log.db"), SqliteOptions::default()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let options = Options { from: "ours".into(), to: "theirs".into(), tracking: "tracking".into(), slot: 0 };
        let env = Env::real(Clock::manual(Timestamp::default()));
        let forward = Forward::new(log, env.clone(), options, Arc::new(|_, _| Ok(true)), runtime.handle().clone());
        let value = br#"{"orderid":1,"gameid":"1","name":"n","price":"1","usermail":"a@b.example","estado":"recibido","seq":1,"at":"9999-12-30T00:00:00.000Z"}"#;
        let record = Record {
            offset: 0,
            key: None,
            value: value.to_vec(),
            headers: wire::Headers::default(),
            at: Timestamp::from_millis(0),
        };
        let plain = forward.plain(&TopicPartition { topic: "ours".into(), partition: 0 }, record).unwrap().unwrap();
        assert!(plain.at <= env.pace.now());
    }
}
