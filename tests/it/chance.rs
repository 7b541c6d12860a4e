//! Faults by chance on a log and a store in memory: one thread, a clock that only the calls move, and a seed that replays.

use std::{sync::Arc, time::Duration};

use encargo::{
    clock::Clock,
    domain::{Timestamp, wire::Headers},
    env::Random,
    eventlog::{
        Error, EventLog, GroupOffset, Member, MemberEvent, MemberMode, NewRecord, Outcome, TopicPartition, TopicSpec,
        memory::{self, MemoryLog},
    },
    faults::{Call, Chance, Fault, FaultyLog, FaultyStore},
    store::{self, Ledger as _, Orders as _, memory::MemoryStore},
};

use crate::eventlog::{part, read_all, wait};

const ORDERS: u64 = 60;

fn chance(seed: u64) -> Arc<Chance> {
    Arc::new(Chance { random: Random::seeded(seed), of_thousand: 300, late_max: Duration::from_secs(20) })
}

fn record(topic: &str, value: &str) -> NewRecord {
    let (partition, key, value, headers) = (Some(0), None, value.as_bytes().to_vec(), Headers::default());
    NewRecord { topic: topic.into(), partition, key, value, headers, at: Timestamp::default() }
}

/// Moves every record on, exactly once, whatever goes wrong: each commit carries its input offset, and whoever does not
/// know how one ended begins again from there. Returns what happened, to be compared with another run.
fn move_all(log: &dyn EventLog, clock: &Clock) -> Vec<String> {
    let mut told = Vec::new();
    for slot in 0_u32.. {
        let Ok(mut member) = log.join("g", &["in"], slot % 2, MemberMode::Outputs) else { continue };
        if follow(member.as_mut(), clock, &mut told) {
            return told;
        }
        assert!(told.len() < 20_000, "it never ends: {:?}", &told[told.len() - 20..]);
    }
    told
}

/// Returns whether all was moved; false where the member must be replaced.
fn follow(member: &mut dyn Member, clock: &Clock, told: &mut Vec<String>) -> bool {
    let mut moved = None;
    while moved != Some(ORDERS) {
        let heard = member.next(Duration::from_millis(100));
        told.push(format!("{:?} {heard:?}", clock.monotonic()));
        match heard {
            Ok(MemberEvent::Assigned(new)) => moved = new.first().map(|offset| offset.offset),
            Ok(MemberEvent::Records(tp, records)) => {
                let outputs: Vec<_> =
                    records.iter().map(|read| record("out", std::str::from_utf8(&read.value).unwrap())).collect();
                let offset = records.last().unwrap().offset + 1;
                let outcome = member.commit(&outputs, &[GroupOffset { tp, offset, metadata: String::new() }]);
                told.push(format!("{outcome:?}"));
                if !matches!(outcome, Outcome::Committed(_)) {
                    return false;
                }
                moved = Some(offset);
            }
            Ok(MemberEvent::Revoking(_) | MemberEvent::Lost(_)) => moved = None,
            Ok(MemberEvent::Idle) | Err(Error::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    true
}

fn play(seed: u64) -> Vec<String> {
    let clock = Clock::manual(Timestamp::default());
    let options = memory::Options { batch_records_max: 3, ..memory::Options::default() };
    let log = Arc::new(MemoryLog::new(clock.clone(), options));
    for name in ["in", "out"] {
        log.create(&TopicSpec { name: name.into(), partitions: 1 }).unwrap();
    }
    wait(log.append((0..ORDERS).map(|number| record("in", &number.to_string())).collect())).unwrap();
    let told = move_all(&FaultyLog::new(log.clone(), chance(seed), clock.clone()), &clock);
    let out = read_all(&*log, &part("out", 0), 0);
    let values: Vec<_> = out.iter().map(|record| String::from_utf8(record.value.clone()).unwrap()).collect();
    assert_eq!(values, (0..ORDERS).map(|number| number.to_string()).collect::<Vec<_>>(), "seed {seed}");
    told
}

#[test]
fn every_record_is_moved_once_whatever_goes_wrong() {
    for seed in 0..200 {
        play(seed);
    }
}

#[test]
fn a_seed_replays_a_run_to_the_letter() {
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}

/// What a plan says happens to a call happens, and nothing else.
#[test]
fn a_call_is_refused_done_or_late_as_the_plan_says() {
    let clock = Clock::manual(Timestamp::default());
    let log = Arc::new(MemoryLog::new(clock.clone(), memory::Options::default()));
    log.create(&TopicSpec { name: "t".into(), partitions: 1 }).unwrap();
    let append = |fault: fn() -> Fault<Error>| {
        let plan = move |call: Call<'_>| (call == Call { name: "append", of: "t" }).then(fault);
        let faulty = FaultyLog::new(log.clone(), Arc::new(plan), crate::harness::real_clock());
        let written = wait(faulty.append(vec![record("t", "x")]));
        (written.is_ok(), log.topic("t").unwrap().unwrap().partitions[0].end)
    };
    assert_eq!(append(|| Fault::Refused(Error::Overloaded(1))), (false, 0));
    assert_eq!(append(|| Fault::Unanswered(Error::Overloaded(1))), (false, 1));

    let faulty = |fault: fn() -> Fault<Error>| {
        let plan = move |call: Call<'_>| (call.name == "commit").then(fault);
        FaultyLog::new(log.clone(), Arc::new(plan), clock.clone())
    };
    let commit = |fault| {
        let mut member = faulty(fault).join("g", &["t"], 0, MemberMode::Outputs).unwrap();
        assert!(matches!(member.next(Duration::ZERO), Ok(MemberEvent::Assigned(_))));
        let outcome = member.commit(&[record("t", "y")], &[]);
        (outcome, log.topic("t").unwrap().unwrap().partitions[0].end, clock.monotonic().as_secs())
    };
    let (outcome, end, _) = commit(|| Fault::Refused(Error::Unavailable("no".into())));
    assert!(matches!(outcome, Outcome::Aborted(_)) && end == 1, "{outcome:?}");
    let (outcome, end, _) = commit(|| Fault::Refused(Error::Unconfirmed("no answer".into())));
    assert!(matches!(outcome, Outcome::Unknown(_)) && end == 1, "{outcome:?}");
    let (outcome, end, _) = commit(|| Fault::Unanswered(Error::Unconfirmed("no answer".into())));
    assert!(matches!(outcome, Outcome::Unknown(_)) && end == 3, "{outcome:?}");
    let (outcome, _, second) = commit(|| Fault::Slow(Duration::from_secs(5)));
    assert!(matches!(outcome, Outcome::Committed(_)) && second == 5, "{outcome:?}");
    // later than the session lasts: by then it is another's
    let (outcome, end, _) = commit(|| Fault::Late(Duration::from_secs(7)));
    assert!(matches!(outcome, Outcome::Aborted(Error::Fenced(_))) && end == 5, "{outcome:?}");
}

#[test]
fn a_store_does_what_it_does_not_answer() {
    let real = MemoryStore::default();
    let refused = || store::Error::Unavailable("away".into());
    let with = |fault: Fault<store::Error>| {
        let plan = move |call: Call<'_>| (call.name != "offsets").then(|| fault.clone());
        FaultyStore::new(Arc::new(real.clone()), Arc::new(plan), Clock::manual(Timestamp::default()))
    };
    let tp = TopicPartition { topic: "t".into(), partition: 0 };
    let advance = |from, to| {
        let advances = vec![store::orders::Advance { tp: tp.clone(), from, to, print: None }];
        Arc::new(store::orders::Batch { group: "g".into(), advances, ..Default::default() })
    };
    let reached = || wait(real.offsets("g")).unwrap().first().map_or(0, |(_, offset)| *offset);
    assert!(wait(with(Fault::Refused(refused())).apply(advance(0, 3))).is_err());
    assert_eq!(reached(), 0);
    assert!(wait(with(Fault::Unanswered(refused())).apply(advance(0, 3))).is_err());
    assert_eq!(reached(), 3);
    wait(with(Fault::Slow(Duration::ZERO)).apply(advance(0, 3))).unwrap();
    assert_eq!(wait(with(Fault::Late(Duration::ZERO)).next_due()).unwrap(), None);
}
