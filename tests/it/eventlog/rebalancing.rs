//! What groups of several members promise: partitions are handed over with what was committed for them, and whoever was
//! put out is fenced.

use std::collections::BTreeMap;

use super::*;

const STEP: Duration = Duration::from_millis(50);
/// So short that a member that stalls is soon put out.
const SHORT_SESSION: Duration = Duration::from_secs(2);
/// Members stay in their group, also on a slow machine.
const SESSION: Duration = Duration::from_secs(15);

/// A log whose groups can have several members, each of which may open the log itself.
pub trait Sharing: Harness {
    /// The same with another session timeout.
    fn with_session(&self, session: Duration) -> Box<dyn Harness>;
}

fn open(harness: &dyn Harness) -> Arc<dyn EventLog> {
    let log = open_with(harness, "in", 4);
    log.create(&TopicSpec { name: "out".into(), partitions: 4 }).unwrap();
    log
}

/// A member with what it owns, which does as told when it hears of changes.
pub struct Player {
    pub member: Box<dyn Member>,
    pub owned: BTreeMap<u32, GroupOffset>,
    pub heard: Vec<String>,
    /// The offsets of the records that it read.
    pub read: BTreeMap<TopicPartition, Vec<u64>>,
    /// Whether it commits once more for what it gives up.
    pub last_words: bool,
}

impl Player {
    pub fn join(log: &dyn EventLog, slot: u32, mode: MemberMode) -> Self {
        Self::of(until_available(|| log.join("g", &["in"], slot, mode)))
    }

    pub fn of(member: Box<dyn Member>) -> Self {
        Self { member, owned: BTreeMap::new(), heard: Vec::new(), read: BTreeMap::new(), last_words: true }
    }

    /// Hears one thing; has last words for everything that it gives up.
    pub fn step(&mut self) {
        match self.member.next(STEP).unwrap() {
            MemberEvent::Assigned(new) => {
                self.heard.push(format!("assigned {}", new.len()));
                self.owned.extend(new.into_iter().map(|offset| (offset.tp.partition, offset)));
            }
            MemberEvent::Revoking(gone) => {
                self.heard.push(format!("revoking {}", gone.len()));
                if self.last_words {
                    let last = |tp: &TopicPartition| {
                        offset("in", tp.partition, self.owned[&tp.partition].offset, "last words")
                    };
                    let last: Vec<_> = gone.iter().map(last).collect();
                    commit(&mut *self.member, &[], &last);
                }
                self.owned.retain(|partition, _| gone.iter().all(|tp| tp.partition != *partition));
            }
            MemberEvent::Lost(gone) => {
                self.heard.push(format!("lost {}", gone.len()));
                self.owned.retain(|partition, _| gone.iter().all(|tp| tp.partition != *partition));
            }
            MemberEvent::Records(tp, records) => {
                self.read.entry(tp).or_default().extend(records.iter().map(|record| record.offset));
            }
            MemberEvent::Idle => {}
        }
    }
}

pub fn until(players: &mut [&mut Player], what: &str, reached: impl Fn(&[&mut Player]) -> bool) {
    let clock = crate::harness::real_clock();
    let ends = clock.monotonic() + PATIENCE;
    while !reached(players) {
        assert!(
            clock.monotonic() < ends,
            "{what}: {:?}",
            players.iter().map(|p| (&p.heard, &p.owned)).collect::<Vec<_>>()
        );
        for player in players.iter_mut() {
            player.step();
        }
    }
}

pub fn partitions_are_handed_over_with_the_last_commit_before(harness: &dyn Sharing) {
    let harness = harness.with_session(SESSION);
    let log = open(&*harness);
    append(&*log, (0..4).flat_map(|partition| numbered("in", partition, 0..10)).collect());
    let mut first = Player::join(&*log, 0, MemberMode::Outputs);
    until(&mut [&mut first], "the first has all", |all| all[0].owned.len() == 4);
    let mut second = Player::join(&*log, 1, MemberMode::Outputs);
    until(&mut [&mut first, &mut second], "they share", |all| all[0].owned.len() == 2 && all[1].owned.len() == 2);
    assert!(first.heard.contains(&"revoking 2".to_owned()), "{:?}", first.heard);
    for (partition, known) in &second.owned {
        assert_eq!(*known, offset("in", *partition, 0, "last words"));
    }
    // what was given up is refused, what is kept is not
    let (given, kept) = (*second.owned.keys().next().unwrap(), *first.owned.keys().next().unwrap());
    let error = aborted(&mut *first.member, &[record("out", given, "1")], &[offset("in", given, 8, "")]);
    assert!(matches!(error, Error::Fenced(_)), "{error:?}");
    commit(&mut *first.member, &[record("out", kept, "2")], &[offset("in", kept, 8, "")]);
    assert!(read_all(&*log, &part("out", given), 0).is_empty());
    // who leaves hands over at once
    drop(first);
    until(&mut [&mut second], "the second has all", |all| all[0].owned.len() == 4);
    assert_eq!(second.owned[&kept], offset("in", kept, 8, ""));
    assert!(!second.heard.iter().any(|heard| heard.starts_with("lost") || heard.starts_with("revoking")));
}

pub fn a_partition_that_went_while_paused_is_read_when_it_comes_back(harness: &dyn Sharing) {
    let harness = harness.with_session(SESSION);
    let log = open(&*harness);
    let mut first = Player::join(&*log, 0, MemberMode::Outputs);
    until(&mut [&mut first], "the first has all", |all| all[0].owned.len() == 4);
    first.member.pause("in", true);
    let mut second = Player::join(&*log, 1, MemberMode::Outputs);
    until(&mut [&mut first, &mut second], "they share", |all| all[0].owned.len() == 2 && all[1].owned.len() == 2);
    first.member.pause("in", false);
    drop(second);
    until(&mut [&mut first], "the first has all again", |all| all[0].owned.len() == 4);
    append(&*log, (0..4).flat_map(|partition| numbered("in", partition, 0..1)).collect());
    until(&mut [&mut first], "all are read", |all| all[0].read.len() == 4);
}

/// Partitions alongside go where those of the same number go, with what was committed for them.
pub fn what_is_read_alongside_goes_with_its_partition(harness: &dyn Sharing) {
    let harness = harness.with_session(SESSION);
    let log = open(&*harness);
    log.create(&TopicSpec { name: "beside".into(), partitions: 4 }).unwrap();
    append(&*log, (0..4).flat_map(|partition| numbered("beside", partition, 0..3)).collect());
    let join = |slot| {
        let member = log.join_alongside("g", &["in"], &["beside"], slot, MemberMode::Outputs).unwrap();
        Player { last_words: false, ..Player::of(member) }
    };
    let mut first = join(0);
    until(&mut [&mut first], "the first has all", |all| all[0].heard.contains(&"assigned 8".to_owned()));
    // what is wanted of one topic is wanted while the other is paused
    first.member.pause("in", true);
    append(&*log, vec![record("in", 0, "late")]);
    until(&mut [&mut first], "all are read", |all| all[0].read.len() == 4);
    assert!(first.read.keys().all(|tp| tp.topic == "beside"), "{:?}", first.read);
    commit(&mut *first.member, &[], &(0..4).map(|partition| offset("beside", partition, 2, "")).collect::<Vec<_>>());
    let mut second = join(1);
    second.member.pause("in", true);
    second.member.pause("beside", true);
    let has_two = |player: &Player| player.heard.contains(&"assigned 4".to_owned());
    until(&mut [&mut first, &mut second], "they share", |all| has_two(all[1]));
    let moved = *second.owned.keys().next().unwrap();
    let error = aborted(&mut *first.member, &[], &[offset("beside", moved, 3, "")]);
    assert!(matches!(error, Error::Fenced(_)), "{error:?}");
    second.member.pause("beside", false);
    let has_read = |player: &Player| player.owned.keys().all(|n| player.read.contains_key(&part("beside", *n)));
    until(&mut [&mut first, &mut second], "the second reads beside", |all| has_read(all[1]));
    assert!(second.read.values().all(|offsets| *offsets == [2]), "{:?}", second.read);
    // and who leaves hands over both
    drop(first);
    until(&mut [&mut second], "the second has all", |all| all[0].owned.len() == 4);
}

pub fn a_member_that_was_put_out_cannot_commit(harness: &dyn Sharing) {
    for mode in [MemberMode::Outputs, MemberMode::Offsets] {
        let harness = harness.with_session(SHORT_SESSION);
        let log = open(&*harness);
        append(&*log, (0..4).flat_map(|partition| numbered("in", partition, 0..10)).collect());
        let mut stalled = Player::join(&*log, 0, mode);
        until(&mut [&mut stalled], "it has all", |all| all[0].owned.len() == 4);
        // the stalled one does not poll any more, and is put out
        let mut other = Player::join(&*log, 1, mode);
        until(&mut [&mut other], "the other has all", |all| all[0].owned.len() == 4);
        let outputs = if mode == MemberMode::Outputs { vec![record("out", 0, "zombie")] } else { Vec::new() };
        let error = aborted(&mut *stalled.member, &outputs, &[offset("in", 0, 3, "zombie")]);
        assert!(matches!(error, Error::Fenced(_)), "{error:?}");
        until(&mut [&mut stalled], "it hears of it", |all| all[0].heard.contains(&"lost 4".to_owned()));
        until(&mut [&mut stalled, &mut other], "they share", |all| all.iter().all(|player| player.owned.len() == 2));
        assert!(stalled.owned.values().chain(other.owned.values()).all(|offset| offset.metadata != "zombie"));
        assert!(read_all(&*log, &part("out", 0), 0).is_empty());
    }
}

pub fn a_live_slot_is_refused_by_its_name(harness: &dyn Sharing) {
    let harness = harness.with_session(SESSION);
    let log = open(&*harness);
    let mut first = Player::join(&*log, 3, MemberMode::Outputs);
    until(&mut [&mut first], "it has all", |all| all[0].owned.len() == 4);
    let joining = std::thread::scope(|scope| {
        let other = harness.open();
        let rival = scope.spawn(move || other.join("g", &["in"], 3, MemberMode::Outputs).map(drop));
        while !rival.is_finished() {
            first.step();
        }
        rival.join().unwrap()
    });
    let Err(Error::Fenced(text)) = joining else { panic!("{joining:?}") };
    assert!(text.contains("slot 3 of g") && text.contains("--slot"), "{text}");
    commit(&mut *first.member, &[record("out", 0, "1")], &[offset("in", 0, 0, "")]);
}
