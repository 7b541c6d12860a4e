//! What is kept: topics, offsets, records, and what retention takes away.

use encargo::eventlog::{Deletes, Keeping, PartitionRange};

use super::*;

fn ranges(log: &dyn EventLog) -> Vec<(String, Vec<PartitionRange>)> {
    log.topics().unwrap().into_iter().map(|topic| (topic.name, topic.partitions)).collect()
}

pub fn topics_are_listed_by_name(harness: &dyn Harness) {
    let log = open_with(harness, "b", 2);
    log.create(&TopicSpec { name: "c".into(), partitions: 1 }).unwrap();
    log.create(&TopicSpec { name: "a".into(), partitions: 3 }).unwrap();
    append(&*log, numbered("b", 1, 0..5));
    let empty = PartitionRange { start: 0, end: 0 };
    let five = PartitionRange { start: 0, end: 5 };
    let wanted = [("a", vec![empty; 3]), ("b", vec![empty, five]), ("c", vec![empty])];
    assert_eq!(ranges(&*log), wanted.map(|(name, partitions)| (name.to_owned(), partitions)));
}

pub fn tells_how_topics_are_kept(harness: &dyn Harness) {
    let log = open_with(harness, "kept", 2);
    log.create(&TopicSpec { name: "none".into(), partitions: 1 }).unwrap();
    append(&*log, (0..8).map(|n| record("kept", n % 2, vec![0; 1_000])).collect());
    let [Keeping { bytes, deletes }, none] = log.keeping(&["kept", "none"]).unwrap()[..] else {
        panic!("two topics were asked for");
    };
    let (all, known) = (8_000..9_000, none.bytes == Some(0));
    assert!(bytes.is_none_or(|bytes| all.contains(&bytes)) && known == bytes.is_some(), "{bytes:?} {none:?}");
    let by_age = matches!(deletes, Deletes::Beyond { age: None, bytes: None });
    assert!(by_age || deletes == Deletes::AsTold && bytes.is_some(), "{deletes:?}");
    log.delete_before(&part("kept", 0), 4).unwrap();
    let left = log.keeping(&["kept"]).unwrap()[0].bytes;
    assert!(left.is_none_or(|left| (4_000..4_500).contains(&left)), "{left:?}");
}

pub fn creating_again_is_fine(harness: &dyn Harness) {
    let log = open_with(harness, "t", 2);
    append(&*log, numbered("t", 1, 0..3));
    log.create(&TopicSpec { name: "t".into(), partitions: 2 }).unwrap();
    assert_eq!(append(&*log, numbered("t", 1, 3..4))[0].offset, 3);
    let (mut member, _) = join(&*log, "g", &["t"]);
    log.create(&TopicSpec { name: "t".into(), partitions: 2 }).unwrap();
    assert_eq!(next(&mut *member).1.len(), 4);
    append(&*log, numbered("t", 1, 4..5));
    assert_eq!(number(&next(&mut *member).1[0]), 4, "the member hears of appends after the topic was created again");
}

pub fn refuses_to_change_partitions(harness: &dyn Harness) {
    let log = open_with(harness, "t", 2);
    for partitions in [1, 3] {
        let Err(Error::Fatal(text)) = log.create(&TopicSpec { name: "t".into(), partitions }) else {
            panic!("{partitions} partitions were taken");
        };
        assert!(text.contains('t') && text.contains('2') && text.contains(&partitions.to_string()), "{text}");
    }
    assert_eq!(log.topics().unwrap()[0].partitions.len(), 2);
}

pub fn refuses_odd_topics(harness: &dyn Harness) {
    let log = harness.open();
    let too_long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "ñ", "a\n", &*too_long] {
        let result = log.create(&TopicSpec { name: name.into(), partitions: 1 });
        assert!(matches!(result, Err(Error::Fatal(_))), "{name:?}: {result:?}");
    }
    assert!(matches!(log.create(&TopicSpec { name: "t".into(), partitions: 0 }), Err(Error::Fatal(_))));
    assert!(log.topics().unwrap().is_empty());
    log.create(&TopicSpec { name: "A-z_0.9".into(), partitions: 1 }).unwrap();
    log.create(&TopicSpec { name: "x".repeat(200), partitions: 1 }).unwrap();
}

pub fn everything_endures_reopening(harness: &dyn Harness) {
    let log = open_with(harness, "t", 2);
    append(&*log, numbered("t", 0, 0..10));
    append(&*log, numbered("t", 1, 0..1));
    let (topics, records) = (log.topics().unwrap(), read_all(&*log, &part("t", 0), 0));
    drop(log);
    let log = harness.open();
    assert_eq!(log.topics().unwrap(), topics);
    assert_eq!(read_all(&*log, &part("t", 0), 0), records);
    assert_eq!(append(&*log, numbered("t", 0, 10..11))[0].offset, 10);
}

pub fn readers_stop_at_the_stable_end_and_go_on(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    let mut reader = log.read(&part("t", 0), 0).unwrap();
    assert!(reader.next(10).unwrap().is_empty());
    for round in 0..3 {
        append(&*log, numbered("t", 0, round..round + 1));
        let records = reader.next(10).unwrap();
        assert_eq!(records.iter().map(number).collect::<Vec<_>>(), [round]);
        assert!(reader.next(10).unwrap().is_empty());
    }
    // from the end is fine: that is where a reader waits for more
    assert!(log.read(&part("t", 0), 3).unwrap().next(10).unwrap().is_empty());
    assert_eq!(number(&log.read(&part("t", 0), 1).unwrap().next(1).unwrap()[0]), 1);
}

pub fn readers_take_at_most_the_limit(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    append(&*log, numbered("t", 0, 0..25));
    let mut reader = log.read(&part("t", 0), 0).unwrap();
    let mut read = Vec::new();
    while read.len() < 25 {
        let records = reader.next(10).unwrap();
        assert!((1..=10).contains(&records.len()));
        read.extend(records.iter().map(number));
    }
    assert_eq!(read, (0..25).collect::<Vec<_>>());
}

pub fn deleted_records_are_trimmed(harness: &dyn Harness) {
    let log = open_with(harness, "t", 2);
    append(&*log, numbered("t", 0, 0..10));
    append(&*log, numbered("t", 1, 0..10));
    let mut reading = log.read(&part("t", 0), 2).unwrap();
    log.delete_before(&part("t", 0), 4).unwrap();
    for from in 0..4 {
        let Err(Error::Trimmed { topic, partition, from: asked, start }) = log.read(&part("t", 0), from) else {
            panic!("offset {from} can be read still");
        };
        assert_eq!((&*topic, partition, asked, start), ("t", 0, from, 4));
    }
    match reading.next(5) {
        Err(Error::Trimmed { from: 2, start: 4, .. }) => {}
        // fetched before
        Ok(records) if harness.shares_groups() => assert_eq!(records[0].offset, 2),
        other => panic!("a gap is not passed over: {other:?}"),
    }
    assert_eq!(read_all(&*log, &part("t", 0), 4).iter().map(number).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9]);
    let other = read_all(&*log, &part("t", 1), 0);
    assert_eq!(other.iter().map(number).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>(), "the other is whole");
    assert_eq!(log.topics().unwrap()[0].partitions[0], PartitionRange { start: 4, end: 10 });
    // what is gone already is no error, and brings nothing back
    log.delete_before(&part("t", 0), 2).unwrap();
    assert_eq!(log.topics().unwrap()[0].partitions[0], PartitionRange { start: 4, end: 10 });
}

pub fn deleting_all_keeps_the_offsets(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    append(&*log, numbered("t", 0, 0..10));
    log.delete_before(&part("t", 0), 10).unwrap();
    drop(log);
    let log = harness.open();
    assert_eq!(log.topics().unwrap()[0].partitions, [PartitionRange { start: 10, end: 10 }]);
    assert!(read_all(&*log, &part("t", 0), 10).is_empty());
    assert_eq!(append(&*log, numbered("t", 0, 10..11))[0].offset, 10);
    assert_eq!(read_all(&*log, &part("t", 0), 10)[0].offset, 10);
}

pub fn deleting_many_takes_just_those(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    append(&*log, numbered("t", 0, 0..5_000));
    log.delete_before(&part("t", 0), 4_321).unwrap();
    let left: Vec<_> = read_all(&*log, &part("t", 0), 4_321).iter().map(number).collect();
    assert_eq!(left, (4_321..5_000).collect::<Vec<_>>());
}

pub fn refuses_offsets_beyond_the_end(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    append(&*log, numbered("t", 0, 0..3));
    for offset in [4, 1 << 40, u64::MAX] {
        assert!(matches!(log.read(&part("t", 0), offset), Err(Error::Fatal(_))), "{offset}");
        assert!(matches!(log.delete_before(&part("t", 0), offset), Err(Error::Fatal(_))), "{offset}");
    }
    assert_eq!(read_all(&*log, &part("t", 0), 0).len(), 3);
}

pub fn finds_offsets_by_time(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    let at = |millis: i64| Timestamp::from_millis(1_764_000_000_000 + millis);
    // the clock went back after the third
    let times = [10, 20, 30, 15, 40];
    append(&*log, times.map(|millis| NewRecord { at: at(millis), ..record("t", 0, "x") }).into());
    let found = |millis| log.offset_at(&part("t", 0), at(millis)).unwrap();
    for (millis, offset) in [(0, 0), (10, 0), (11, 1), (20, 1), (21, 2), (31, 4), (40, 4), (41, 5)] {
        assert_eq!(found(millis), offset, "{millis} ms");
    }
    log.delete_before(&part("t", 0), 2).unwrap();
    assert_eq!(found(0), 2);
    log.delete_before(&part("t", 0), 5).unwrap();
    assert_eq!(found(0), 5, "the end, when nothing is left");
}
