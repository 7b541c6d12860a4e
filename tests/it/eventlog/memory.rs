//! The log in memory: what it adds to the contract, each on one thread and by a clock that only the test moves.

use encargo::{
    clock::Clock,
    eventlog::memory::{MemoryLog, Options},
};

use super::{rebalancing::Sharing, *};

/// A log in memory, which endures as long as this does.
pub struct Memory(MemoryLog);

impl Memory {
    pub fn new() -> Self {
        Self(MemoryLog::new(crate::harness::real_clock(), Options::default()))
    }
}

impl Harness for Memory {
    fn open(&self) -> Arc<dyn EventLog> {
        Arc::new(self.0.another())
    }

    fn shares_groups(&self) -> bool {
        true
    }
}

impl Sharing for Memory {
    fn with_session(&self, session: Duration) -> Box<dyn Harness> {
        let options = Options { session_timeout: session, ..Options::default() };
        Box::new(Self(MemoryLog::new(crate::harness::real_clock(), options)))
    }
}

const SESSION: Duration = Duration::from_secs(6);

fn simulated() -> (Clock, MemoryLog) {
    let clock = Clock::manual(Timestamp::from_millis(1_764_000_000_000));
    let log = MemoryLog::new(clock.clone(), Options { session_timeout: SESSION, ..Options::default() });
    for name in ["in", "out"] {
        log.create(&TopicSpec { name: name.into(), partitions: 4 }).unwrap();
    }
    (clock, log)
}

fn joined(log: &MemoryLog, slot: u32) -> Box<dyn Member> {
    log.join("g", &["in"], slot, MemberMode::Outputs).unwrap()
}

/// What a member hears, in short, until it hears nothing more.
fn hear(member: &mut dyn Member) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let numbers = |all: &[TopicPartition]| all.iter().map(|tp| tp.partition.to_string()).collect::<String>();
        heard.push(match member.next(Duration::ZERO).unwrap() {
            MemberEvent::Assigned(new) => {
                format!("+{}", numbers(&new.into_iter().map(|offset| offset.tp).collect::<Vec<_>>()))
            }
            MemberEvent::Revoking(gone) => format!("-{}", numbers(&gone)),
            MemberEvent::Lost(gone) => format!("!{}", numbers(&gone)),
            MemberEvent::Records(tp, records) => format!("{}:{}", tp.partition, records.len()),
            MemberEvent::Idle => return heard,
        });
    }
}

#[test]
fn memory_members_share_and_hand_over_in_steps() {
    let (_clock, log) = simulated();
    let mut first = joined(&log, 0);
    assert_eq!(hear(&mut *first), ["+0123"]);
    let mut second = joined(&log, 1);
    assert_eq!(hear(&mut *second), ["+"], "the first must give something up before");
    assert_eq!(hear(&mut *first), ["-23"]);
    assert_eq!(hear(&mut *second), ["+23"]);
    let mut third = joined(&log, 2);
    assert_eq!(hear(&mut *first), Vec::<String>::new());
    assert_eq!((hear(&mut *second), hear(&mut *third)), (vec!["-3".to_owned()], vec!["+".to_owned(), "+3".to_owned()]));
    drop(first);
    assert_eq!((hear(&mut *second), hear(&mut *third)), (vec!["+0".to_owned()], vec!["+1".to_owned()]));
    let owners = log.owners("g").unwrap();
    let owners: Vec<_> = owners.iter().map(|(tp, name)| (tp.partition, &**name)).collect();
    assert_eq!(owners, [(0, "slot 1"), (1, "slot 2"), (2, "slot 1"), (3, "slot 2")]);
    assert_eq!(log.groups().unwrap()[0].members, 2);
}

/// What was said, and not yet heard, is part of what can go wrong: a commit that crosses it is refused and can be repeated.
#[test]
fn memory_a_commit_while_the_assignment_changes_can_be_repeated() {
    let (_clock, log) = simulated();
    append(&log, numbered("in", 3, 0..1));
    let mut first = joined(&log, 0);
    hear(&mut *first);
    let _second = joined(&log, 1);
    let last = [offset("in", 3, 1, "last")];
    let error = aborted(&mut *first, &[record("out", 3, "x")], &last);
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(matches!(first.next(Duration::ZERO).unwrap(), MemberEvent::Revoking(gone) if gone.len() == 2));
    commit(&mut *first, &[record("out", 3, "x")], &last);
    assert_eq!(read_all(&log, &part("out", 3), 0).len(), 1);
    assert_eq!(hear(&mut *first), Vec::<String>::new());
    assert!(matches!(aborted(&mut *first, &[], &last), Error::Fenced(_)));
}

#[test]
fn memory_a_silent_member_is_evicted_when_its_session_ends() {
    let (clock, log) = simulated();
    let (mut silent, mut other) = (joined(&log, 0), joined(&log, 1));
    hear(&mut *silent);
    assert_eq!((hear(&mut *other), hear(&mut *silent)), (vec!["+".to_owned(), "+23".to_owned()], vec![]));
    clock.advance(SESSION / 2);
    assert_eq!(hear(&mut *other), Vec::<String>::new());
    clock.advance(SESSION / 2);
    assert_eq!(hear(&mut *other), ["+01"]);
    assert!(matches!(aborted(&mut *silent, &[], &[offset("in", 0, 0, "")]), Error::Fenced(_)));
    assert_eq!(hear(&mut *silent), ["!01", "+"], "it comes back as a new one");
    assert_eq!((hear(&mut *other), hear(&mut *silent)), (vec!["-23".to_owned()], vec!["+23".to_owned()]));
}

/// As by `kill -9`: nobody says good-bye, and the partitions stay where they are until the session ends.
#[test]
fn memory_a_process_that_is_cut_off_does_nothing_more() {
    let (clock, log) = simulated();
    let killed = log.another();
    let (mut dead, mut other) = (joined(&killed, 0), joined(&log, 1));
    assert_eq!(hear(&mut *dead), ["+0123", "-23"]);
    assert_eq!(hear(&mut *other), ["+", "+23"]);
    let mut reader = killed.read(&part("in", 0), 0).unwrap();
    killed.cut(true);
    let unavailable = |error| assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    unavailable(wait(killed.append(numbered("in", 0, 0..1))).unwrap_err());
    unavailable(reader.next(1).unwrap_err());
    unavailable(killed.topics().unwrap_err());
    unavailable(aborted(&mut *dead, &[record("out", 0, "x")], &[]));
    assert!(matches!(dead.next(Duration::ZERO).unwrap(), MemberEvent::Idle));
    drop(dead);
    unavailable(log.join("g", &["in"], 0, MemberMode::Outputs).map(drop).unwrap_err());
    clock.advance(SESSION / 2);
    assert_eq!(hear(&mut *other), Vec::<String>::new(), "not yet");
    clock.advance(SESSION / 2);
    assert_eq!(hear(&mut *other), ["+01"]);
    let mut again = joined(&log, 0);
    assert_eq!(hear(&mut *other), ["-23"]);
    assert_eq!(hear(&mut *again), ["+", "+23"]);
    assert_eq!(read_all(&log, &part("out", 0), 0), []);
    killed.cut(false);
    assert_eq!(killed.topics().unwrap().len(), 2);
}

#[test]
fn memory_waiting_moves_a_clock_that_nobody_else_moves() {
    let (clock, log) = simulated();
    let mut member = joined(&log, 0);
    hear(&mut *member);
    assert!(matches!(member.next(Duration::from_mins(1)).unwrap(), MemberEvent::Idle), "and is no silence");
    assert_eq!(clock.monotonic(), Duration::from_mins(1));
    assert_eq!(hear(&mut *member), Vec::<String>::new());
}

#[test]
fn memory_transactions_leave_gaps_as_those_of_a_cluster() {
    let (_clock, log) = simulated();
    let mut member = joined(&log, 0);
    hear(&mut *member);
    for first in [0, 2] {
        commit(&mut *member, &numbered("out", 0, first..first + 2), &[]);
    }
    let read = read_all(&log, &part("out", 0), 0);
    assert_eq!(read.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 3, 4]);
    assert_eq!(log.topic("out").unwrap().unwrap().partitions[0].end, 6);
    log.delete_before(&part("out", 0), 2).unwrap();
    assert_eq!(read_all(&log, &part("out", 0), 2)[0].offset, 3);
}
