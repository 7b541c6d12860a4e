use std::time::Duration;

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    mocking::{MockCluster, MockCoordinator},
    producer::DefaultProducerContext,
    topic_partition_list::Offset,
    types::{RDKafkaApiKey, RDKafkaRespErr::*},
};

use super::*;
use crate::{
    domain::{Timestamp, wire::Headers},
    eventlog::kafka::{KafkaLog, Options, Topics},
};

/// The library knows that nothing will come of the transaction, and of its records it says nothing until they run out of time.
#[test]
fn a_transaction_that_can_only_be_aborted_is_aborted_at_once() {
    let cluster = cluster();
    // both records are on their way before the first is answered
    cluster.broker_round_trip_time(COORDINATOR, Duration::from_millis(200)).expect("a delay");
    let mut producer = producer(&cluster, Duration::from_hours(1));
    let mut commit = || producer.commit(&[record(), record()], TopicPartitionList::new(), || unreachable!());
    for (request, errors) in [
        // the records are not even tried
        (RDKafkaApiKey::AddPartitionsToTxn, &[RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED][..]),
        // the first is sent again, the second has overtaken it
        (
            RDKafkaApiKey::Produce,
            &[RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER],
        ),
    ] {
        cluster.request_errors(request, errors);
        let outcome = commit();
        let Outcome::Aborted(Error::Unavailable(why)) = &outcome else { panic!("{request:?}: {outcome:?}") };
        assert!(why.contains("Current transaction failed"), "{request:?}: {why}");
        let after = commit();
        assert!(matches!(after, Outcome::Committed(_)), "{request:?}: {after:?}");
    }
}

/// As it does where the coordinator of the group has left the cluster (librdkafka #5511).
#[test]
fn a_call_that_hangs_is_left_behind_with_its_producer() {
    let cluster = cluster();
    let mut producer = producer(&cluster, Duration::from_secs(3));
    let member = member(&cluster);
    let loading = [RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 1_000];
    cluster.request_errors(RDKafkaApiKey::TxnOffsetCommit, &loading);
    let outcome = read_and_write(&mut producer, &member);
    assert!(matches!(outcome, Outcome::Aborted(Error::Unavailable(_))), "{outcome:?}");
    cluster.clear_request_errors(RDKafkaApiKey::TxnOffsetCommit);
    // on a slow machine it may take more than one
    let outcomes: Vec<_> = (0..20)
        .map(|_| read_and_write(&mut producer, &member))
        .take_while(|outcome| !matches!(outcome, Outcome::Committed(_)))
        .collect();
    assert!(outcomes.len() < 20, "{outcomes:?}");
}

/// Records and offsets are under way together, and either may be answered first.
#[test]
fn why_the_offsets_are_refused_is_told_whenever_the_records_are_written() {
    let cluster = cluster();
    let mut producer = producer(&cluster, Duration::from_hours(1));
    let member = member(&cluster);
    for delay in [Duration::ZERO, Duration::from_millis(100)] {
        cluster.broker_round_trip_time(LEADER, delay).expect("a delay");
        cluster.request_errors(RDKafkaApiKey::TxnOffsetCommit, &[RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
        let outcome = read_and_write(&mut producer, &member);
        assert!(matches!(outcome, Outcome::Aborted(Error::Fenced(_))), "records after {delay:?}: {outcome:?}");
        let after = read_and_write(&mut producer, &member);
        assert!(matches!(after, Outcome::Committed(_)), "records after {delay:?}: {after:?}");
    }
}

/// A broker may have what it did not answer for, and takes the next record of that number for a repetition.
#[test]
fn after_records_of_which_nobody_knows_another_producer_goes_on() {
    let cluster = cluster();
    let mut producer = producer(&cluster, Duration::from_secs(5));
    let member = member(&cluster);
    for (refused, delay) in [(&[][..], 5), (&[RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID], 2)] {
        let before = producer.producer.clone();
        cluster.request_errors(RDKafkaApiKey::TxnOffsetCommit, refused);
        cluster.broker_round_trip_time(LEADER, Duration::from_secs(delay)).expect("a delay");
        let outcome = read_and_write(&mut producer, &member);
        assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
        cluster.broker_round_trip_time(LEADER, Duration::ZERO).expect("a delay");
        let after = read_and_write(&mut producer, &member);
        assert!(matches!(after, Outcome::Committed(_)), "{after:?}");
        assert!(!Arc::ptr_eq(&before, &producer.producer), "what it wrote may not be written");
    }
}

/// One record, and how far was read.
fn read_and_write(producer: &mut TransactionalProducer, member: &BaseConsumer) -> Outcome {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("t", 0, Offset::Offset(1)).expect("an offset");
    producer.commit(&[record()], offsets, || Ok(member.group_metadata().expect("a group")))
}

fn member(cluster: &MockCluster<'_, DefaultProducerContext>) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
    config.create().expect("a consumer")
}

/// Of group and transactions.
const COORDINATOR: i32 = 1;
/// Of the partition.
const LEADER: i32 = 2;

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(2).expect("a cluster");
    cluster.create_topic("t", 1, 1).expect("a topic");
    cluster.partition_leader("t", 0, Some(LEADER)).expect("a leader");
    for coordinator in [MockCoordinator::Group("g".into()), MockCoordinator::Transaction("g-0".into())] {
        cluster.coordinator(coordinator, COORDINATOR).expect("a coordinator");
    }
    cluster
}

/// Whose transactions may last so long, and whose records have a request each.
fn producer(cluster: &MockCluster<'_, DefaultProducerContext>, transaction_timeout: Duration) -> TransactionalProducer {
    let options = Options {
        brokers: cluster.bootstrap_servers(),
        transaction_timeout,
        properties: [("batch.num.messages".to_owned(), "1".to_owned())].into(),
        ..Options::default()
    };
    let context = ClientContext::default();
    let topics = Topics::connect(&options, &context).expect("a connection");
    topics.count("t").expect("the topic");
    let log = KafkaLog::connected(options, context, topics).expect("a log");
    TransactionalProducer::start(&log.0, "g", 0).expect("a producer")
}

fn record() -> NewRecord {
    NewRecord {
        topic: "t".into(),
        partition: Some(0),
        key: None,
        value: b"1".to_vec(),
        headers: Headers::default(),
        at: Timestamp::from_millis(1),
    }
}
