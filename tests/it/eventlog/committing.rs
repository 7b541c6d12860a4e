//! What a member's commit promises: outputs and offsets together or not at all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use encargo::eventlog::{GroupInfo, Lag, METADATA_MAX};

use super::*;

fn open(harness: &dyn Harness) -> Arc<dyn EventLog> {
    let log = open_with(harness, "in", 2);
    log.create(&TopicSpec { name: "out".into(), partitions: 2 }).unwrap();
    append(&*log, numbered("in", 0, 0..10));
    append(&*log, numbered("in", 1, 0..10));
    log
}

fn committed(log: &dyn EventLog, group: &str) -> Vec<GroupOffset> {
    let groups = log.groups().unwrap();
    groups.into_iter().find(|info| info.name == group).map(|info| info.offsets).unwrap_or_default()
}

pub fn outputs_and_offsets_endure(harness: &dyn Harness) {
    let log = open(harness);
    let (mut member, _) = join(&*log, "g", &["in"]);
    let outputs = [record("out", 1, "1"), record("out", 0, "2"), record("out", 1, "3")];
    let offsets = [offset("in", 0, 4, "w=1"), offset("in", 1, 10, "w=2")];
    let positions = commit(&mut *member, &outputs, &offsets);
    let found: Vec<_> = positions.iter().map(|at| (at.partition, at.offset)).collect();
    assert_eq!(found, [(1, 0), (0, 0), (1, 1)], "in the order in which they were given");
    drop((member, log));
    let log = harness.open();
    assert_eq!(read_all(&*log, &part("out", 1), 0).iter().map(number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(read_all(&*log, &part("out", 0), 0).iter().map(number).collect::<Vec<_>>(), [2]);
    let (mut member, assigned) = join(&*log, "g", &["in"]);
    assert_eq!(assigned, offsets);
    let (tp, records) = next(&mut *member);
    assert_eq!((tp, records[0].offset), (part("in", 0), 4), "reading goes on where the commit said");
}

pub fn metadata_comes_back_byte_for_byte(harness: &dyn Harness) {
    let log = open(harness);
    let mut longest = "ñ\u{1f4e6}\n\0\"'\\ ".repeat(METADATA_MAX);
    let cut = (0..=METADATA_MAX).rev().find(|&at| longest.is_char_boundary(at)).unwrap();
    longest.truncate(cut);
    longest.push_str(&"x".repeat(METADATA_MAX - cut));
    assert_eq!(longest.len(), METADATA_MAX);
    for metadata in ["", "w=17", " ", "null", &longest] {
        let (mut member, _) = join(&*log, "g", &["in"]);
        commit(&mut *member, &[], &[offset("in", 0, 1, metadata)]);
        drop(member);
        let (_member, assigned) = join(&*log, "g", &["in"]);
        assert_eq!(assigned[0], offset("in", 0, 1, metadata));
        assert_eq!(committed(&*log, "g"), [offset("in", 0, 1, metadata)]);
    }
}

pub fn offsets_may_go_back(harness: &dyn Harness) {
    let log = open(harness);
    let (mut member, _) = join(&*log, "g", &["in"]);
    for at in [7, 3, 0] {
        commit(&mut *member, &[], &[offset("in", 0, at, "")]);
        assert_eq!(committed(&*log, "g"), [offset("in", 0, at, "")]);
    }
}

pub fn nothing_of_an_aborted_commit_is_visible(harness: &dyn Harness) {
    let log = open(harness);
    let (mut member, _) = join(&*log, "g", &["in"]);
    commit(&mut *member, &numbered("out", 0, 0..1), &[offset("in", 0, 1, "kept")]);
    let good = record("out", 0, "lost");
    let cases = [
        (vec![good.clone()], vec![offset("in", 0, 2, ""), offset("out", 0, 0, "")]),
        (vec![good.clone(), record("nothing", 0, "x")], vec![offset("in", 0, 2, "")]),
        (vec![good.clone(), record("out", 9, "x")], vec![offset("in", 0, 2, "")]),
        (vec![good.clone()], vec![offset("in", 0, 2, ""), offset("in", 1, 11, "")]),
        (vec![good], vec![offset("in", 0, 2, &"x".repeat(METADATA_MAX + 1))]),
    ];
    for (outputs, offsets) in cases {
        aborted(&mut *member, &outputs, &offsets);
        assert_eq!(read_all(&*log, &part("out", 0), 0).len(), 1, "{offsets:?}");
        assert_eq!(committed(&*log, "g"), [offset("in", 0, 1, "kept")]);
    }
    // and the member is none the worse for it
    let positions = commit(&mut *member, &numbered("out", 0, 1..2), &[offset("in", 0, 2, "")]);
    drop((member, log));
    let read = read_all(&*harness.open(), &part("out", 0), 0);
    assert_eq!(read.iter().map(number).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(read[1].offset, positions[0].offset);
}

pub fn refuses_partitions_that_are_not_assigned(harness: &dyn Harness) {
    let log = open(harness);
    let mut early = log.join("early", &["in"], 0, MemberMode::Outputs).unwrap();
    let error = aborted(&mut *early, &[], &[offset("in", 0, 1, "")]);
    assert!(matches!(error, Error::Fenced(_)), "before the assignment: {error:?}");
    let (mut member, _) = join(&*log, "g", &["in"]);
    for (topic, partition) in [("out", 0), ("in", 2), ("nothing", 0)] {
        let error = aborted(&mut *member, &[], &[offset("in", 0, 1, ""), offset(topic, partition, 0, "")]);
        assert!(matches!(error, Error::Fenced(_)), "{topic}/{partition}: {error:?}");
    }
    assert!(committed(&*log, "g").is_empty());
}

pub fn refuses_long_metadata(harness: &dyn Harness) {
    let log = open(harness);
    let (mut member, _) = join(&*log, "g", &["in"]);
    let error = aborted(&mut *member, &[], &[offset("in", 0, 1, &"x".repeat(METADATA_MAX + 1))]);
    assert!(matches!(error, Error::Fatal(_)), "{error:?}");
}

pub fn refuses_offsets_not_there_yet(harness: &dyn Harness) {
    let log = open(harness);
    let (mut member, _) = join(&*log, "g", &["in"]);
    for at in [11, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let error = aborted(&mut *member, &[], &[offset("in", 0, at, "")]);
        assert!(matches!(error, Error::Fatal(_)), "{at}: {error:?}");
    }
    commit(&mut *member, &[], &[offset("in", 0, 10, "the end is fine")]);
    if harness.shares_groups() {
        return; // there the end is asked before the outputs are written
    }
    // outputs of the same commit count
    commit(&mut *member, &numbered("in", 0, 10..11), &[offset("in", 0, 11, "")]);
}

pub fn groups_are_listed(harness: &dyn Harness) {
    let log = open(harness);
    let (mut b, _) = join(&*log, "b", &["in"]);
    commit(&mut *b, &[], &[offset("in", 1, 2, "x"), offset("in", 0, 1, "")]);
    let (_a, _) = join(&*log, "a", &["in"]);
    let (c, _) = join(&*log, "c", &["in"]);
    drop((b, c));
    let info = |name: &str, members, offsets| GroupInfo { name: name.into(), members, offsets };
    let mut groups = log.groups().unwrap();
    groups.retain(|group| group.members > 0 || !group.offsets.is_empty());
    let wanted = [info("a", 1, vec![]), info("b", 0, vec![offset("in", 0, 1, ""), offset("in", 1, 2, "x")])];
    assert_eq!(groups, wanted);
    let mut of_one = log.committed("b", &["in", "out"]).unwrap();
    of_one.sort_by(|a, b| a.tp.cmp(&b.tp));
    assert_eq!(of_one, wanted[1].offsets);
    assert_eq!(log.committed("b", &["out"]).unwrap(), []);
    assert_eq!(log.committed("a", &["in"]).unwrap(), []);
}

pub fn offsets_alone_and_outputs_alone(harness: &dyn Harness) {
    let log = open(harness);
    let (mut member, _) = join(&*log, "g", &["in"]);
    assert_eq!(commit(&mut *member, &[], &[offset("in", 0, 1, "")]), []);
    assert_eq!(commit(&mut *member, &numbered("out", 0, 0..1), &[]).len(), 1);
    assert_eq!(commit(&mut *member, &[], &[]), []);
    assert_eq!(read_all(&*log, &part("out", 0), 0).len(), 1);
    assert_eq!(committed(&*log, "g"), [offset("in", 0, 1, "")]);
}

pub fn members_for_offsets_write_no_records(harness: &dyn Harness) {
    let log = open(harness);
    let mut member = log.join("g", &["in"], 0, MemberMode::Offsets).unwrap();
    assert!(matches!(member.next(PATIENCE).unwrap(), MemberEvent::Assigned(_)));
    let error = aborted(&mut *member, &numbered("out", 0, 0..1), &[offset("in", 0, 1, "")]);
    assert!(matches!(error, Error::Fatal(_)), "{error:?}");
    assert!(read_all(&*log, &part("out", 0), 0).is_empty());
    assert_eq!(commit(&mut *member, &[], &[offset("in", 0, 2, "w")]), []);
    assert_eq!(committed(&*log, "g"), [offset("in", 0, 2, "w")]);
}

pub fn lag_is_what_is_left(harness: &dyn Harness) {
    let log = open(harness);
    let left = |group: &str| log.lag(group, &["in"]).unwrap().iter().map(Lag::records).collect::<Vec<_>>();
    assert_eq!(left("g"), [10, 10]);
    let (mut member, _) = join(&*log, "g", &["in"]);
    commit(&mut *member, &[], &[offset("in", 1, 4, "")]);
    assert_eq!(left("g"), [10, 6]);
    log.delete_before(&part("in", 0), 3).unwrap();
    assert_eq!(left("g"), [7, 6], "what is deleted is not to be read");
    assert!(matches!(log.lag("g", &["in", "nothing"]), Err(Error::Unknown(_))));
}

/// On a cluster the end of a partition is a transaction's marker.
pub fn a_group_that_has_read_all_is_not_behind(harness: &dyn Harness) {
    let log = open(harness);
    let (mut member, _) = join(&*log, "g", &["in"]);
    commit(&mut *member, &numbered("out", 0, 0..3), &[]);
    let read = read_all(&*log, &part("out", 0), 0).last().unwrap().offset + 1;
    let (mut reader, _) = join(&*log, "h", &["out"]);
    let left = || {
        let lags = until_available(|| log.lag("h", &["out"]));
        lags.iter().map(Lag::records).collect::<Vec<_>>()
    };
    commit(&mut *reader, &[], &[offset("out", 0, read - 1, "")]);
    assert!(log.has_record(&part("out", 0), read - 1).unwrap());
    assert!((0..3).all(|_| left()[0] > 0), "one is left");
    commit(&mut *reader, &[], &[offset("out", 0, read, "")]);
    assert!(!log.has_record(&part("out", 0), read).unwrap());
    left(); // the second look tells
    assert_eq!(left(), [0, 0]);
}

/// Every commit writes the same number into two partitions and, as its metadata, into the offset. Whoever reads while
/// commits go on must never find the second without the first.
pub fn readers_see_whole_commits_only(harness: &dyn Harness) {
    const COMMITS: u64 = 300;
    let log = open(harness);
    let (mut member, _) = join(&*log, "g", &["in"]);
    let (over, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (log, over, looks) = (&log, &over, &looks);
        let reader = scope.spawn(move || {
            while !over.load(Ordering::Acquire) {
                // read in this order, each must reach at least as far as the one before
                let offset = committed(&**log, "g").first().map_or(0, |offset| offset.metadata.parse().unwrap());
                let second = read_all(&**log, &part("out", 1), 0).len() as u64;
                let first = read_all(&**log, &part("out", 0), 0).len() as u64;
                assert!(offset <= second && second <= first, "{offset}, {second}, {first}");
                looks.fetch_add(1, Ordering::Release);
            }
        });
        for number in 1_u64.. {
            let outputs = [record("out", 0, number.to_string()), record("out", 1, number.to_string())];
            commit(&mut *member, &outputs, &[offset("in", 0, 1, &number.to_string())]);
            // on a busy machine the reader may come late, and there must be commits that it looks at
            if reader.is_finished() || number >= COMMITS && looks.load(Ordering::Acquire) > 0 {
                break;
            }
        }
        over.store(true, Ordering::Release);
        reader.join().unwrap();
    });
}

/// A member moves records on while others append to both of its topics: all arrive once.
pub fn commits_and_appends_mix(harness: &dyn Harness) {
    const RECORDS: u64 = 2_000;
    let log = open_with(harness, "in", 1);
    log.create(&TopicSpec { name: "out".into(), partitions: 1 }).unwrap();
    std::thread::scope(|scope| {
        for first in [0, RECORDS] {
            let log = &log;
            scope.spawn(move || {
                for number in first..first + RECORDS {
                    let topic = if number % 10 == 0 { "out" } else { "in" };
                    append(&**log, vec![record(topic, 0, number.to_string())]);
                }
            });
        }
        let (mut member, _) = join(&*log, "g", &["in"]);
        let mut moved = 0;
        while moved < 2 * RECORDS * 9 / 10 {
            let (_, records) = next(&mut *member);
            let outputs: Vec<_> = records.iter().map(|r| record("out", 0, r.value.clone())).collect();
            moved += records.len() as u64;
            commit(&mut *member, &outputs, &[offset("in", 0, moved, "")]);
        }
    });
    let mut arrived: Vec<_> = read_all(&*log, &part("out", 0), 0).iter().map(number).collect();
    arrived.sort_unstable();
    assert_eq!(arrived, (0..2 * RECORDS).collect::<Vec<_>>());
}
