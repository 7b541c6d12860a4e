//! Members read from memory what was written a moment ago, and from the file what is older: nobody can tell which.

use proptest::prelude::*;

use super::*;

/// What happens to a partition that two groups follow.
#[derive(Debug, Clone)]
enum Event {
    /// Appends of so many records each, in one transaction.
    Commit(Vec<usize>),
    /// So many offsets are given away, without records.
    Allocate(usize),
    /// A commit that writes and is refused.
    Refused(usize),
    /// A group reads on.
    Next(usize),
    /// A group goes back, or on, by so many.
    Seek(usize, i64),
    /// So many of the oldest are deleted.
    Delete(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => prop::collection::vec(1_usize..4, 1..4).prop_map(Event::Commit),
        1 => (1_usize..8).prop_map(Event::Allocate),
        1 => (1_usize..4).prop_map(Event::Refused),
        6 => (0_usize..2).prop_map(Event::Next),
        1 => (0_usize..2, -6_i64..7).prop_map(|(group, by)| Event::Seek(group, by)),
        1 => (1_u64..5).prop_map(Event::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From memory or from the file, a member gets the records that stand there: all of them, in order, none twice.
    #[test]
    fn members_get_what_stands_in_the_file(events in prop::collection::vec(event(), 1..40)) {
        let place = Place::new();
        let log = place.open(Options { batch_records_max: 5, ..Options::default() });
        let mut members = ["a", "b"].map(|group| log.join(group, &["t"], 0, MemberMode::Outputs).unwrap());
        let mut positions = [0; 2];
        for member in &mut members {
            prop_assert!(matches!(member.next(Duration::ZERO), Ok(MemberEvent::Assigned(_))));
        }
        let (mut start, mut written) = (0, 0_u64);
        for event in events.into_iter().chain([Event::Next(0), Event::Next(1)]) {
            match event {
                Event::Commit(appends) => {
                    let release = hold(&log);
                    let records = |count| (0..count).map(|i| record(format!("{written} {i}"))).collect::<Vec<_>>();
                    let answers: Vec<_> = appends.iter().map(|count| log.append(records(*count))).collect();
                    drop(release);
                    for answer in answers {
                        wait(answer).unwrap();
                    }
                    written += appends.iter().sum::<usize>() as u64;
                }
                Event::Allocate(count) => {
                    let offsets = wait(log.allocate("t", count, Timestamp::default())).unwrap();
                    prop_assert_eq!(offsets, (written..written + count as u64).collect::<Vec<_>>());
                    written += count as u64;
                }
                Event::Refused(count) => {
                    let outputs: Vec<_> = (0..count).map(|_| record("refused")).collect();
                    let beyond = GroupOffset { tp: part(), offset: written + 100, metadata: String::new() };
                    prop_assert!(matches!(members[0].commit(&outputs, &[beyond]), Outcome::Aborted(_)));
                }
                Event::Next(group) if positions[group] < start => {
                    // what it was to read next is gone
                    members[group].seek(&part(), start).unwrap();
                    positions[group] = start;
                }
                Event::Next(group) => {
                    let expected = log.read(&part(), positions[group]).unwrap().next(1_000).unwrap();
                    match members[group].next(Duration::ZERO).unwrap() {
                        MemberEvent::Records(_, records) => {
                            prop_assert!(!records.is_empty() && records.len() <= 5);
                            prop_assert_eq!(&records[..], &expected[..records.len()]);
                            positions[group] = records.last().unwrap().offset + 1;
                        }
                        MemberEvent::Idle => prop_assert!(expected.is_empty()),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Event::Seek(group, by) => {
                    let to = positions[group].saturating_add_signed(by).clamp(start, written);
                    members[group].seek(&part(), to).unwrap();
                    positions[group] = to;
                }
                Event::Delete(count) => {
                    start = (start + count).min(written);
                    log.delete_before(&part(), start).unwrap();
                }
            }
        }
    }
}
