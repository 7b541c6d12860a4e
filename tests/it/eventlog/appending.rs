//! What `append` promises.

use encargo::{domain::wire::Headers, eventlog::partitioner};

use super::*;

pub fn positions_count_up_from_zero(harness: &dyn Harness) {
    let log = open_with(harness, "t", 2);
    let mut records = numbered("t", 0, 0..3);
    records.insert(1, record("t", 1, "other"));
    let positions = append(&*log, records);
    let found: Vec<_> = positions.iter().map(|at| (at.partition, at.offset)).collect();
    assert_eq!(found, [(0, 0), (1, 0), (0, 1), (0, 2)]);
    assert_eq!(append(&*log, numbered("t", 0, 3..4)), [Position { partition: 0, offset: 3 }]);
    let values: Vec<_> = read_all(&*log, &part("t", 0), 0).iter().map(number).collect();
    assert_eq!(values, [0, 1, 2, 3]);
}

pub fn keeps_every_byte(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    let all_bytes: Vec<u8> = (0..=255).collect();
    let odd = NewRecord {
        key: Some(all_bytes.clone()),
        value: all_bytes.iter().rev().copied().collect(),
        headers: Headers::from_iter([
            ("repeated", &b"1"[..]),
            ("repeated", b"2"),
            ("bytes", &all_bytes),
            ("empty", &[]),
            ("ñ→\u{1f4e6}", b"\0\r\n"),
            ("long", &b"x".repeat(20_000)),
        ]),
        at: Timestamp::from_millis(1),
        ..record("t", 0, "")
    };
    let empty_key = NewRecord { key: Some(Vec::new()), ..record("t", 0, "value") };
    let bare = record("t", 0, "");
    let written = vec![odd, empty_key, bare];
    append(&*log, written.clone());
    let read = read_all(&*log, &part("t", 0), 0);
    assert_eq!(read.len(), written.len());
    for (offset, (read, written)) in (0..).zip(read.into_iter().zip(written)) {
        assert_eq!(read.offset, offset);
        assert_eq!(read.key, written.key);
        assert_eq!(read.value, written.value);
        assert_eq!(read.headers, written.headers);
        assert_eq!(read.at, written.at);
    }
}

pub fn key_decides_the_partition(harness: &dyn Harness) {
    let log = open_with(harness, "t", 7);
    let keyed = |key: u64| NewRecord {
        partition: None,
        key: Some(key.to_string().into_bytes()),
        ..record("t", 0, key.to_string())
    };
    let positions = append(&*log, (1..=100).map(keyed).collect());
    for (key, at) in (1_u64..).zip(&positions) {
        assert_eq!(at.partition, partitioner::partition_of(key.to_string().as_bytes(), 7), "key {key}");
        assert!(read_all(&*log, &part("t", at.partition), at.offset).iter().any(|r| number(r) == key));
    }
    let used: std::collections::HashSet<_> = positions.iter().map(|at| at.partition).collect();
    assert_eq!(used.len(), 7);
    // a stated partition comes before the key
    let stated = NewRecord { partition: Some(3), ..keyed(1) };
    let elsewhere = NewRecord { partition: Some(4), ..keyed(1) };
    let positions = append(&*log, vec![stated, elsewhere]);
    assert_eq!(positions.iter().map(|at| at.partition).collect::<Vec<_>>(), [3, 4]);
}

pub fn records_without_key_go_round(harness: &dyn Harness) {
    let log = open_with(harness, "t", 3);
    for number in 0..30 {
        append(&*log, vec![NewRecord { partition: None, ..record("t", 0, number.to_string()) }]);
    }
    let mut all = Vec::new();
    for partition in 0..3 {
        let here = read_all(&*log, &part("t", partition), 0);
        assert!(!here.is_empty(), "partition {partition} got none of 30");
        all.extend(here.iter().map(number));
    }
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
}

pub fn values_may_be_large(harness: &dyn Harness) {
    // a little under Kafka's default of 1 MiB for a whole batch
    let large: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let log = open_with(harness, "t", 1);
    append(&*log, vec![record("t", 0, large.clone())]);
    append(&*log, vec![record("t", 0, "small")]);
    let read = read_all(&*log, &part("t", 0), 0);
    assert!(read[0].value == large);
    assert_eq!(read[1].value, b"small");
    let (mut member, _) = join(&*log, "g", &["t"]);
    assert!(next(&mut *member).1[0].value == large);
}

pub fn refuses_unknown_partitions(harness: &dyn Harness) {
    let log = open_with(harness, "t", 2);
    for (topic, partition) in [("t", 2), ("t", u32::MAX), ("nothing", 0), ("", 0), ("T", 0)] {
        let result = wait(log.append(vec![record("t", 0, "in company"), record(topic, partition, "x")]));
        assert!(matches!(result, Err(Error::Unknown(_))), "{topic}/{partition}: {result:?}");
        assert!(matches!(log.read(&part(topic, partition), 0), Err(Error::Unknown(_))));
        assert!(matches!(log.offset_at(&part(topic, partition), Timestamp::default()), Err(Error::Unknown(_))));
        assert!(matches!(log.delete_before(&part(topic, partition), 0), Err(Error::Unknown(_))));
    }
    assert!(log.topics().unwrap()[0].partitions.iter().all(|range| range.end == 0));
}

pub fn concurrent_appends_are_all_there_once_in_each_callers_order(harness: &dyn Harness) {
    const CALLERS: u64 = 16;
    const EACH: u64 = 100;
    let log = open_with(harness, "t", 2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let positions = runtime.block_on(async {
        let tasks: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let log = log.clone();
                tokio::spawn(async move {
                    let mut positions = Vec::new();
                    for number in caller * EACH..(caller + 1) * EACH {
                        let records = vec![record("t", (caller % 2) as u32, number.to_string())];
                        positions.push((number, log.append(records).await.unwrap()[0]));
                    }
                    positions
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    });
    for partition in 0..2 {
        let read = read_all(&*log, &part("t", partition), 0);
        assert_eq!(read.len() as u64, CALLERS * EACH / 2);
        let mut last = [None; CALLERS as usize];
        for record in &read {
            let caller = (number(record) / EACH) as usize;
            assert!(last[caller] < Some(number(record)), "caller {caller} out of order at offset {}", record.offset);
            last[caller] = Some(number(record));
        }
        for (number, at) in positions.iter().filter(|(_, at)| at.partition == partition) {
            let there = read.iter().find(|record| record.offset == at.offset).unwrap();
            assert_eq!(self::number(there), *number, "at {at:?}");
        }
    }
}

pub fn append_to_nothing_is_nothing(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    assert_eq!(append(&*log, Vec::new()), []);
    assert!(read_all(&*log, &part("t", 0), 0).is_empty());
}

pub fn allocated_offsets_are_given_once(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    let (mut member, _) = join(&*log, "g", &["t"]);
    let allocate = |log: &dyn EventLog, topic, count| wait(log.allocate(topic, count, Timestamp::from_millis(1)));
    assert_eq!(allocate(&*log, "t", 3).unwrap(), [0, 1, 2]);
    assert_eq!(append(&*log, numbered("t", 0, 7..8))[0].offset, 3);
    assert_eq!(allocate(&*log, "t", 2).unwrap(), [4, 5]);
    let with_value = |records: Vec<Record>| records.into_iter().find(|record| !record.value.is_empty());
    assert_eq!(with_value(read_all(&*log, &part("t", 0), 0)).map(|record| record.offset), Some(3));
    let heard = std::iter::repeat_with(|| next(&mut *member).1).find_map(with_value);
    assert_eq!(heard.as_ref().map(number), Some(7), "the offsets before it do not stand in its way");
    assert!(matches!(allocate(&*log, "other", 1), Err(Error::Unknown(_))));
    drop((member, log));
    let log = harness.open();
    assert_eq!(allocate(&*log, "t", 1).unwrap(), [6]);
    let (mut member, _) = join(&*log, "h", &["t"]);
    assert_eq!(append(&*log, numbered("t", 0, 8..9))[0].offset, 7);
    let heard = std::iter::repeat_with(|| next(&mut *member).1).flatten().filter(|record| !record.value.is_empty());
    assert_eq!(heard.take(2).map(|record| number(&record)).collect::<Vec<_>>(), [7, 8]);
}
