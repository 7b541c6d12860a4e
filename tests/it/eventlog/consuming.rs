//! What a member of a group hears.

use std::{collections::HashMap, sync::mpsc};

use super::*;

/// How long a member waits for what must not come.
const MOMENT: Duration = Duration::from_millis(50);

pub fn first_input_is_the_assignment(harness: &dyn Harness) {
    let log = open_with(harness, "b", 2);
    log.create(&TopicSpec { name: "a".into(), partitions: 1 }).unwrap();
    append(&*log, numbered("a", 0, 0..3));
    let (_member, mut assigned) = join(&*log, "g", &["b", "a"]);
    assigned.sort_by(|x, y| x.tp.cmp(&y.tp));
    assert_eq!(assigned, [offset("a", 0, 0, ""), offset("b", 0, 0, ""), offset("b", 1, 0, "")]);
}

pub fn records_come_in_order_and_once(harness: &dyn Harness) {
    let log = open_with(harness, "t", 3);
    let (mut member, _) = join(&*log, "g", &["t"]);
    let mut heard: HashMap<u32, Vec<u64>> = HashMap::new();
    for round in 0..5 {
        for partition in 0..3 {
            append(&*log, numbered("t", partition, round * 1_000..(round + 1) * 1_000));
        }
        while heard.values().map(Vec::len).sum::<usize>() < (round as usize + 1) * 3_000 {
            let (tp, records) = next(&mut *member);
            let numbers = heard.entry(tp.partition).or_default();
            for record in records {
                assert_eq!(record.offset, numbers.len() as u64, "{tp}");
                numbers.push(number(&record));
            }
        }
    }
    for (partition, numbers) in heard {
        assert_eq!(numbers, (0..5_000).collect::<Vec<_>>(), "partition {partition}");
    }
    assert!(matches!(member.next(MOMENT).unwrap(), MemberEvent::Idle), "nothing comes twice");
}

pub fn idle_when_nothing_comes(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    log.create(&TopicSpec { name: "other".into(), partitions: 1 }).unwrap();
    let (mut member, _) = join(&*log, "g", &["t"]);
    append(&*log, numbered("other", 0, 0..3));
    let clock = crate::harness::real_clock();
    let start = clock.monotonic();
    assert!(matches!(member.next(MOMENT).unwrap(), MemberEvent::Idle));
    assert!(clock.monotonic().saturating_sub(start) >= MOMENT, "a wait ended early with nothing");
    assert!(matches!(member.next(Duration::ZERO).unwrap(), MemberEvent::Idle));
}

/// Two members hand a record to and fro: each waits for what the other has just committed. A lost wake-up would cost
/// a whole wait, and rounds enough meet every moment between checking and sleeping.
pub fn wakes_at_once(harness: &dyn Harness) {
    const ROUNDS: u64 = 200;
    let log = open_with(harness, "ping", 1);
    log.create(&TopicSpec { name: "pong".into(), partitions: 1 }).unwrap();
    let (mut there, _) = join(&*log, "there", &["ping"]);
    let (mut here, _) = join(&*log, "here", &["pong"]);
    let echo = std::thread::spawn(move || {
        for round in 0..ROUNDS {
            let (_, records) = next(&mut *there);
            assert_eq!(number(&records[0]), round);
            let answer = numbered("pong", 0, round..round + 1);
            commit(&mut *there, &answer, &[offset("ping", 0, round + 1, "")]);
        }
    });
    let clock = crate::harness::real_clock();
    let start = clock.monotonic();
    for round in 0..ROUNDS {
        append(&*log, numbered("ping", 0, round..round + 1));
        assert_eq!(number(&next(&mut *here).1[0]), round);
    }
    echo.join().unwrap();
    let took = clock.monotonic().saturating_sub(start);
    assert!(took < PATIENCE, "a wake-up was lost: {took:?}");
}

pub fn batches_are_bounded(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    for first in (0..60_000).step_by(5_000) {
        append(&*log, numbered("t", 0, first..first + 5_000));
    }
    let (mut member, _) = join(&*log, "g", &["t"]);
    let (_, records) = next(&mut *member);
    assert!(records.len() < 30_000, "{} records at once", records.len());

    // by bytes as well
    log.create(&TopicSpec { name: "large".into(), partitions: 1 }).unwrap();
    for _ in 0..64 {
        append(&*log, vec![record("large", 0, vec![b'x'; 900_000])]);
    }
    let (mut member, _) = join(&*log, "h", &["large"]);
    let bytes: usize = next(&mut *member).1.iter().map(|record| record.value.len()).sum();
    assert!(bytes < 32_000_000, "{bytes} bytes at once");
}

pub fn partitions_take_turns(harness: &dyn Harness) {
    const COUNT: usize = 5_000;
    let log = open_with(harness, "t", 3);
    for partition in 0..3 {
        for _ in 0..COUNT / 500 {
            // together more than is fetched at once
            append(&*log, vec![record("t", partition, vec![b'x'; 1_000]); 500]);
        }
    }
    let (mut member, _) = join(&*log, "g", &["t"]);
    let clock = real_clock();
    let ends = clock.monotonic() + PATIENCE;
    loop {
        let mut heard = [0_usize; 3];
        while heard.contains(&0) && heard.iter().all(|&count| count < COUNT) {
            let (tp, records) = next(&mut *member);
            heard[tp.partition as usize] += records.len();
        }
        if !heard.contains(&0) {
            return;
        }
        // a broker may be so slow that all of another one is there before: then once more
        assert!(clock.monotonic() < ends, "one partition came to its end before another came: {heard:?}");
        for partition in 0..3 {
            member.seek(&part("t", partition), 0).unwrap();
        }
    }
}

pub fn seek_reads_again(harness: &dyn Harness) {
    let log = open_with(harness, "t", 2);
    append(&*log, numbered("t", 1, 0..10));
    let (mut member, _) = join(&*log, "g", &["t"]);
    assert_eq!(next(&mut *member).1.len(), 10);
    member.seek(&part("t", 1), 7).unwrap();
    assert_eq!(next(&mut *member).1.iter().map(number).collect::<Vec<_>>(), [7, 8, 9]);
    member.seek(&part("t", 1), 10).unwrap();
    assert!(matches!(member.next(MOMENT).unwrap(), MemberEvent::Idle));
    append(&*log, numbered("t", 1, 10..11));
    assert_eq!(next(&mut *member).1[0].offset, 10);
}

pub fn seek_is_checked(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    log.create(&TopicSpec { name: "other".into(), partitions: 1 }).unwrap();
    append(&*log, numbered("t", 0, 0..10));
    log.delete_before(&part("t", 0), 3).unwrap();
    let mut early = log.join("early", &["t"], 0, MemberMode::Outputs).unwrap();
    assert!(matches!(early.seek(&part("t", 0), 5), Err(Error::Fenced(_))), "before the assignment");
    let (mut member, _) = join(&*log, "g", &["t"]);
    assert!(matches!(member.seek(&part("other", 0), 0), Err(Error::Fenced(_))));
    assert!(matches!(member.seek(&part("t", 1), 0), Err(Error::Fenced(_))));
    assert!(matches!(member.seek(&part("t", 0), 2), Err(Error::Trimmed { from: 2, start: 3, .. })));
    assert!(matches!(member.seek(&part("t", 0), 11), Err(Error::Fatal(_))));
    assert!(matches!(member.seek(&part("t", 0), u64::MAX), Err(Error::Fatal(_))));
    assert_eq!(next(&mut *member).1[0].offset, 3, "refused seeks change nothing");
}

pub fn trimmed_until_seek(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    append(&*log, numbered("t", 0, 0..10));
    let (mut member, _) = join(&*log, "g", &["t"]);
    commit(&mut *member, &[], &[offset("t", 0, 2, "")]);
    drop(member);
    log.delete_before(&part("t", 0), 5).unwrap();
    let (mut member, assigned) = join(&*log, "g", &["t"]);
    assert_eq!(assigned, [offset("t", 0, 2, "")]);
    for _ in 0..2 {
        let result = member.next(PATIENCE);
        assert!(matches!(result, Err(Error::Trimmed { from: 2, start: 5, .. })), "{result:?}");
    }
    member.seek(&part("t", 0), 5).unwrap();
    assert_eq!(next(&mut *member).1[0].offset, 5);
    if harness.shares_groups() {
        return; // what was fetched before may still come there
    }
    // also when all that is missing was deleted
    member.seek(&part("t", 0), 6).unwrap();
    log.delete_before(&part("t", 0), 10).unwrap();
    let result = member.next(PATIENCE);
    assert!(matches!(result, Err(Error::Trimmed { from: 6, start: 10, .. })), "{result:?}");
}

pub fn new_groups_start_at_the_first_record_kept(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    append(&*log, numbered("t", 0, 0..10));
    log.delete_before(&part("t", 0), 5).unwrap();
    let (mut member, assigned) = join(&*log, "g", &["t"]);
    assert_eq!(assigned, [offset("t", 0, 5, "")]);
    assert_eq!(next(&mut *member).1[0].offset, 5);
}

pub fn groups_do_not_disturb_each_other(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    append(&*log, numbered("t", 0, 0..10));
    let (mut first, _) = join(&*log, "first", &["t"]);
    let (mut second, _) = join(&*log, "second", &["t"]);
    assert_eq!(next(&mut *first).1.len(), 10);
    assert_eq!(next(&mut *second).1.len(), 10);
    commit(&mut *first, &[], &[offset("t", 0, 10, "one")]);
    drop(second);
    let (mut second, assigned) = join(&*log, "second", &["t"]);
    assert_eq!(assigned, [offset("t", 0, 0, "")]);
    commit(&mut *second, &[], &[offset("t", 0, 3, "two")]);
    drop(first);
    assert_eq!(join(&*log, "first", &["t"]).1, [offset("t", 0, 10, "one")]);
}

pub fn second_member_is_refused_until_the_first_leaves(harness: &dyn Harness) {
    if harness.shares_groups() {
        return; // there, the assignment is divided instead
    }
    let log = open_with(harness, "t", 1);
    let (member, _) = join(&*log, "g", &["t"]);
    for slot in [0, 1] {
        let Err(Error::Fenced(text)) = log.join("g", &["t"], slot, MemberMode::Outputs) else {
            panic!("a second member was let in")
        };
        assert!(text.contains("group g"), "{text}");
    }
    // leaves by being dropped, from whatever thread and while another waits
    let (started, has_started) = mpsc::channel();
    let other = log.clone();
    let waiting = std::thread::spawn(move || {
        let (mut member, _) = join(&*other, "h", &["t"]);
        started.send(()).unwrap();
        next(&mut *member).1.len()
    });
    has_started.recv_timeout(PATIENCE).unwrap();
    std::thread::spawn(move || drop(member)).join().unwrap();
    let (mut again, _) = join(&*log, "g", &["t"]);
    append(&*log, numbered("t", 0, 0..1));
    assert_eq!(next(&mut *again).1.len(), 1);
    assert_eq!(waiting.join().unwrap(), 1);
}

pub fn refuses_to_join_unknown_topics(harness: &dyn Harness) {
    let log = open_with(harness, "t", 1);
    assert!(matches!(log.join("g", &["t", "nothing"], 0, MemberMode::Outputs), Err(Error::Unknown(_))));
    // and has not half joined
    let (mut member, assigned) = join(&*log, "g", &["t", "t"]);
    assert_eq!(assigned.len(), 1, "a topic named twice is assigned once");
    append(&*log, numbered("t", 0, 0..1));
    next(&mut *member);
}
