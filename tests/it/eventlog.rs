//! The contract of every event log, as a list of checks over a way to open one, and its run over the embedded log.
//!
//! A back end is added by a [`Harness`] and one more line of [`contract`].

mod appending;
#[cfg(feature = "kafka")]
pub mod away;
mod committing;
mod consuming;
#[cfg(feature = "kafka")]
pub mod kafka;
mod keeping;
mod memory;
#[cfg(feature = "kafka")]
pub mod named;
mod rebalancing;
#[cfg(feature = "kafka-tls")]
mod secured;
#[cfg(feature = "kafka")]
mod sharing;

use std::{future::Future, sync::Arc, time::Duration};

use crate::harness::{PATIENCE, real_clock};
use encargo::{
    domain::{Timestamp, wire::Headers},
    eventlog::{
        Error, EventLog, GroupOffset, Member, MemberEvent, MemberMode, NewRecord, Outcome, Position, Record,
        TopicPartition, TopicSpec,
        sqlite::{Options, SqliteLog},
    },
};

/// A log under test.
trait Harness {
    /// Opens the log; called again only after all that the last call gave was dropped, to see what endures.
    fn open(&self) -> Arc<dyn EventLog>;

    /// Whether a group can have several members.
    fn shares_groups(&self) -> bool;
}

/// Makes each check a test over the harness that the expression makes.
macro_rules! contract {
    ($backend:ident, $harness:expr) => {
        contract!(@ $backend, $harness,
            appending: positions_count_up_from_zero, keeps_every_byte, key_decides_the_partition,
                records_without_key_go_round, values_may_be_large, refuses_unknown_partitions,
                concurrent_appends_are_all_there_once_in_each_callers_order, append_to_nothing_is_nothing,
                allocated_offsets_are_given_once;
            keeping: topics_are_listed_by_name, tells_how_topics_are_kept, creating_again_is_fine, refuses_to_change_partitions,
                refuses_odd_topics, everything_endures_reopening, readers_stop_at_the_stable_end_and_go_on,
                readers_take_at_most_the_limit, deleted_records_are_trimmed, deleting_all_keeps_the_offsets,
                deleting_many_takes_just_those, refuses_offsets_beyond_the_end, finds_offsets_by_time;
            consuming: first_input_is_the_assignment, records_come_in_order_and_once, idle_when_nothing_comes,
                wakes_at_once, batches_are_bounded, partitions_take_turns, seek_reads_again, seek_is_checked,
                trimmed_until_seek, new_groups_start_at_the_first_record_kept, groups_do_not_disturb_each_other,
                second_member_is_refused_until_the_first_leaves, refuses_to_join_unknown_topics;
            committing: outputs_and_offsets_endure, metadata_comes_back_byte_for_byte, offsets_may_go_back,
                nothing_of_an_aborted_commit_is_visible, refuses_partitions_that_are_not_assigned,
                refuses_long_metadata, refuses_offsets_not_there_yet, groups_are_listed, offsets_alone_and_outputs_alone, members_for_offsets_write_no_records, lag_is_what_is_left, a_group_that_has_read_all_is_not_behind,
                readers_see_whole_commits_only, commits_and_appends_mix;
        );
    };
    (@ $backend:ident, $harness:expr, $($module:ident: $($check:ident),+;)+) => {
        mod $backend {
            use super::*;
            $($(
                #[test]
                fn $check() {
                    $module::$check(&$harness);
                }
            )+)+
        }
    };
}

macro_rules! contract_of_groups {
    ($backend:ident, $harness:expr) => {
        contract!(@ $backend, $harness,
            rebalancing: partitions_are_handed_over_with_the_last_commit_before,
                a_partition_that_went_while_paused_is_read_when_it_comes_back,
                what_is_read_alongside_goes_with_its_partition,
                a_member_that_was_put_out_cannot_commit, a_live_slot_is_refused_by_its_name;
        );
    };
}

contract!(sqlite, Sqlite::new());
contract!(in_memory, memory::Memory::new());
contract_of_groups!(in_memory_groups, memory::Memory::new());
#[cfg(feature = "kafka")]
contract!(kafka_one_node, kafka::Cluster::one());
#[cfg(feature = "kafka")]
contract!(kafka_three_nodes, kafka::Cluster::three());
#[cfg(feature = "kafka")]
contract_of_groups!(kafka_groups, kafka::Cluster::one());

/// The embedded log in a folder of its own.
struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Harness for Sqlite {
    fn open(&self) -> Arc<dyn EventLog> {
        Arc::new(SqliteLog::open(&self.0.path().join("log.db"), Options::default()).unwrap())
    }

    fn shares_groups(&self) -> bool {
        false
    }
}

/// The log with one topic.
fn open_with(harness: &dyn Harness, topic: &str, partitions: u32) -> Arc<dyn EventLog> {
    let log = harness.open();
    log.create(&TopicSpec { name: topic.into(), partitions }).unwrap();
    log
}

pub fn part(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

/// A record with nothing but a value, for a partition.
fn record(topic: &str, partition: u32, value: impl Into<Vec<u8>>) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some(partition),
        key: None,
        value: value.into(),
        headers: Headers::default(),
        at: Timestamp::from_millis(1_764_000_000_000),
    }
}

/// `count` records whose values are their numbers.
pub fn numbered(topic: &str, partition: u32, numbers: std::ops::Range<u64>) -> Vec<NewRecord> {
    numbers.map(|number| record(topic, partition, number.to_string())).collect()
}

fn number(record: &Record) -> u64 {
    std::str::from_utf8(&record.value).unwrap().parse().unwrap()
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn append(log: &dyn EventLog, records: Vec<NewRecord>) -> Vec<Position> {
    wait(log.append(records)).unwrap()
}

/// Asks again while it cannot be answered: a broker that has just come back may not know yet what it leads and coordinates.
fn until_available<T>(ask: impl Fn() -> Result<T, Error>) -> T {
    let clock = real_clock();
    let ends = clock.monotonic() + PATIENCE;
    loop {
        match ask() {
            Err(Error::Unavailable(reason)) => assert!(clock.monotonic() < ends, "{reason}"),
            answer => return answer.unwrap_or_else(|error| panic!("{error}")),
        }
    }
}

/// Everything that a partition holds, from `from` on.
pub fn read_all(log: &dyn EventLog, tp: &TopicPartition, from: u64) -> Vec<Record> {
    until_available(|| try_read_all(log, tp, from))
}

fn try_read_all(log: &dyn EventLog, tp: &TopicPartition, from: u64) -> Result<Vec<Record>, Error> {
    let mut reader = log.read(tp, from)?;
    let mut all = Vec::new();
    loop {
        let records = reader.next(1_000)?;
        if records.is_empty() {
            return Ok(all);
        }
        all.extend(records);
    }
}

/// What a member hears next. It may be told before its time that there is nothing: the brokers could not answer it.
fn heard(member: &mut dyn Member) -> MemberEvent {
    let clock = real_clock();
    let ends = clock.monotonic() + PATIENCE;
    loop {
        let event = member.next(ends.saturating_sub(clock.monotonic())).unwrap();
        if !matches!(event, MemberEvent::Idle) || clock.monotonic() >= ends {
            return event;
        }
    }
}

/// Joins and takes the assignment.
fn join(log: &dyn EventLog, group: &str, topics: &[&str]) -> (Box<dyn Member>, Vec<GroupOffset>) {
    let mut member = until_available(|| log.join(group, topics, 0, MemberMode::Outputs));
    match heard(&mut *member) {
        MemberEvent::Assigned(offsets) => (member, offsets),
        other => panic!("the first input was {other:?}"),
    }
}

/// The next records.
fn next(member: &mut dyn Member) -> (TopicPartition, Vec<Record>) {
    match heard(member) {
        MemberEvent::Records(tp, records) if !records.is_empty() => (tp, records),
        other => panic!("instead of records came {other:?}"),
    }
}

fn offset(topic: &str, partition: u32, offset: u64, metadata: &str) -> GroupOffset {
    GroupOffset { tp: part(topic, partition), offset, metadata: metadata.into() }
}

pub fn commit(member: &mut dyn Member, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Vec<Position> {
    match member.commit(outputs, offsets) {
        Outcome::Committed(positions) => positions,
        other => panic!("the commit ended as {other:?}"),
    }
}

fn aborted(member: &mut dyn Member, outputs: &[NewRecord], offsets: &[GroupOffset]) -> Error {
    match member.commit(outputs, offsets) {
        Outcome::Aborted(error) => error,
        other => panic!("the commit ended as {other:?}"),
    }
}
