//! Two machines on a log in memory, and a group that moves partitions between them at any moment: whatever happens in
//! between, each order has each state once, in order, never early; each command is decided once, and what it did happened.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{CommandOutcome, StateEvent},
    fulfilment::{Progress, Restore},
};

mod check;
mod log;

const PARTITIONS: u32 = 3;
const IN_FLIGHT_MAX: u64 = 12;
const LIMITS: Limits = Limits { commit_records: 7, commit_bytes: 5_000, kept_records: 12, waiting_bytes: 20_000 };
/// Most records heard at once.
const BATCH: usize = 8;
/// Dead letters of more bytes than this are too large for their topic, together.
const LETTERS_MAX: usize = 3_500;

#[derive(Debug, Clone)]
enum Op {
    /// Input is written: what, see [`World::place`].
    Place(u32, Vec<u8>),
    Deliver(usize, u32),
    /// Commands are written: what, see [`World::command`].
    Command(u32, Vec<u8>),
    DeliverCommands(usize, u32),
    /// The input is read again from the last commit on.
    Rewind(usize, u32),
    /// The restore that was wanted last, or first, is there, or the log is away.
    Restored(usize, bool, bool),
    /// Time goes on by so many milliseconds.
    Tick(usize, u64),
    /// The wall clock jumps to so many milliseconds beside the monotonic one.
    Wall(i64),
    /// The log decides about the commit that is under way; nobody hears of it yet.
    Decide(usize, How),
    /// Its answer is here.
    Answer(usize, How),
    Assign(usize, u32),
    Revoke(usize, u32),
    /// The group puts an instance out, which it hears now or later.
    Evict(usize, bool),
    /// The group cannot be heard.
    Fail(usize),
}

#[derive(Debug, Clone, Copy)]
enum How {
    Done,
    Unavailable,
    UnknownDone,
    UnknownUndone,
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![6 => Just(How::Done), 3 => Just(How::Unavailable), 1 => Just(How::UnknownDone), 1 => Just(How::UnknownUndone)]
}

fn op() -> impl Strategy<Value = Op> {
    let (who, partition) = (0_usize..2, 0..PARTITIONS);
    prop_oneof![
        4 => (partition.clone(), prop::collection::vec(any::<u8>(), 1..10)).prop_map(|(p, kinds)| Op::Place(p, kinds)),
        8 => (who.clone(), partition.clone()).prop_map(|(i, p)| Op::Deliver(i, p)),
        3 => (partition.clone(), prop::collection::vec(any::<u8>(), 1..4)).prop_map(|(p, kinds)| Op::Command(p, kinds)),
        5 => (who.clone(), partition.clone()).prop_map(|(i, p)| Op::DeliverCommands(i, p)),
        1 => (who.clone(), partition.clone()).prop_map(|(i, p)| Op::Rewind(i, p)),
        5 => (who.clone(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(i, last, away)| Op::Restored(i, last, away)),
        8 => (who.clone(), 0_u64..700).prop_map(|(i, millis)| Op::Tick(i, millis)),
        1 => (-5_000_i64..5_000).prop_map(Op::Wall),
        2 => (who.clone(), how()).prop_map(|(i, how)| Op::Decide(i, how)),
        8 => (who.clone(), how()).prop_map(|(i, how)| Op::Answer(i, how)),
        5 => (who.clone(), partition.clone()).prop_map(|(i, p)| Op::Assign(i, p)),
        2 => (who.clone(), partition).prop_map(|(i, p)| Op::Revoke(i, p)),
        1 => (who.clone(), any::<bool>()).prop_map(|(i, told)| Op::Evict(i, told)),
        1 => who.prop_map(Op::Fail),
    ]
}

/// Who owns a partition; another number each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    instance: usize,
    generation: u64,
}

struct Instance {
    machine: Machine,
    /// The partitions that it believes to own, and where it reads orders and commands next.
    told: BTreeMap<u32, (u64, u64)>,
    /// Of these, the ones that go once nothing is under way.
    revoking: BTreeSet<u32>,
    paused: BTreeSet<String>,
    /// Restores on their way, of earlier assignments, too.
    restores: Vec<Restored>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    plan: CommitPlan,
    owners: Vec<Option<Owner>>,
    outcome: Option<Outcome>,
}

/// The log, the group, the time, and the instances.
struct World {
    now: Now,
    skew: i64,
    orders: Vec<Vec<Record>>,
    commands: Vec<Vec<Record>>,
    states: Vec<Vec<Record>>,
    outcomes: Vec<CommandOutcome>,
    dead: Vec<NewRecord>,
    committed: Vec<GroupOffset>,
    committed_commands: Vec<u64>,
    owners: Vec<Option<Owner>>,
    generation: u64,
    instances: Vec<Instance>,
    /// What was placed: the orders of each partition, and the offsets of what is none.
    placed: Vec<Vec<u64>>,
    poison: BTreeSet<(String, u32, u64)>,
    /// How many commands were sent.
    sent: usize,
}

impl World {
    fn new() -> Self {
        let instance = || Instance {
            machine: machine(IN_FLIGHT_MAX, LIMITS),
            told: BTreeMap::new(),
            revoking: BTreeSet::new(),
            paused: BTreeSet::new(),
            restores: Vec::new(),
            under_way: None,
        };
        let partitions = 0..PARTITIONS;
        Self {
            now: at(0),
            skew: 0,
            orders: partitions.clone().map(|_| Vec::new()).collect(),
            commands: partitions.clone().map(|_| Vec::new()).collect(),
            states: partitions.clone().map(|_| Vec::new()).collect(),
            outcomes: Vec::new(),
            dead: Vec::new(),
            committed: partitions.clone().map(assigned).collect(),
            committed_commands: partitions.clone().map(|_| 0).collect(),
            owners: partitions.clone().map(|_| None).collect(),
            generation: 0,
            instances: vec![instance(), instance()],
            placed: partitions.map(|_| Vec::new()).collect(),
            poison: BTreeSet::new(),
            sent: 0,
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Place(partition, kinds) => self.place(partition, &kinds),
            Op::Deliver(i, partition) => self.deliver(i, partition),
            Op::Command(partition, kinds) => self.command(partition, &kinds),
            Op::DeliverCommands(i, partition) => self.deliver_commands(i, partition),
            Op::Rewind(i, partition) => {
                if let Some(position) = self.instances[i].told.get_mut(&partition) {
                    let committed = self.committed[partition as usize].offset;
                    *position = (committed, self.committed_commands[partition as usize]);
                }
            }
            Op::Restored(i, last, away) => self.restored(i, last, away),
            Op::Tick(i, millis) => {
                self.pass(millis);
                self.step(i, Input::Tick);
            }
            Op::Wall(skew) => {
                self.skew = skew;
                self.pass(0);
            }
            Op::Decide(i, how) => self.decide(i, how),
            Op::Answer(i, how) => {
                self.decide(i, how);
                if let Some(UnderWay { plan, outcome: Some(outcome), .. }) = self.instances[i].under_way.take() {
                    self.step(i, Input::CommitEnded(plan, outcome));
                }
            }
            Op::Assign(i, partition) => self.assign(i, partition),
            Op::Revoke(i, partition) => {
                if self.instances[i].told.contains_key(&partition) && self.owner(partition) == Some(i) {
                    self.instances[i].revoking.insert(partition);
                    self.step(i, Input::Revoking(vec![tp(partition)]));
                }
            }
            Op::Evict(i, told) => self.evict(i, told),
            Op::Fail(i) => self.step(i, Input::Failed(unavailable())),
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now.monotonic += std::time::Duration::from_millis(millis);
        let passed = self.now.monotonic.as_millis() as i64;
        self.now.wall = Timestamp::from_millis(1_000_000 + passed + self.skew);
    }

    fn owner(&self, partition: u32) -> Option<usize> {
        self.owners[partition as usize].map(|owner| owner.instance)
    }

    fn deliver(&mut self, i: usize, partition: u32) {
        let instance = &mut self.instances[i];
        let is_paused = instance.paused.contains("orders");
        let Some((position, _)) = instance.told.get_mut(&partition).filter(|_| !is_paused) else { return };
        let records: Vec<Record> =
            self.orders[partition as usize].iter().skip(*position as usize).take(BATCH).cloned().collect();
        *position += records.len() as u64;
        if !records.is_empty() {
            self.step(i, Input::Records(tp(partition), heard(records)));
            let machine = &self.instances[i].machine;
            let (kept, _) = held(machine.restoring.values().map(|restoring| &restoring.kept));
            let (waiting, _) = held(machine.partitions.values().map(|partition| partition.orders().inbox()));
            assert!(kept < LIMITS.kept_records + BATCH, "{kept} records kept");
            assert!(waiting < IN_FLIGHT_MAX as usize + LIMITS.kept_records + BATCH, "{waiting} records wait");
        }
    }

    fn deliver_commands(&mut self, i: usize, partition: u32) {
        let instance = &mut self.instances[i];
        let is_paused = instance.paused.contains("commands");
        let Some((_, position)) = instance.told.get_mut(&partition).filter(|_| !is_paused) else { return };
        let records: Vec<Record> =
            self.commands[partition as usize].iter().skip(*position as usize).take(BATCH).cloned().collect();
        *position += records.len() as u64;
        if !records.is_empty() {
            self.step(i, Input::Records(commands(partition), heard(records)));
        }
    }

    fn restored(&mut self, i: usize, last: bool, away: bool) {
        let restores = &mut self.instances[i].restores;
        if restores.is_empty() {
            return;
        }
        let mut restored = restores.remove(if last { restores.len() - 1 } else { 0 });
        if away {
            restored.result = Err(unavailable().into());
        }
        self.step(i, Input::Restored(restored.into()));
    }

    fn assign(&mut self, i: usize, partition: u32) {
        let instance = &mut self.instances[i];
        if self.owners[partition as usize].is_some() || instance.told.contains_key(&partition) {
            return;
        }
        self.generation += 1;
        self.owners[partition as usize] = Some(Owner { instance: i, generation: self.generation });
        let offset = self.committed[partition as usize].clone();
        let of_commands = self.committed_commands[partition as usize];
        instance.told.insert(partition, (offset.offset, of_commands));
        let beside = GroupOffset { tp: commands(partition), offset: of_commands, metadata: String::new() };
        self.step(i, Input::Assigned(vec![beside, offset]));
    }

    fn evict(&mut self, i: usize, told: bool) {
        self.disown(i);
        if told {
            let instance = &mut self.instances[i];
            instance.revoking.clear();
            let lost = std::mem::take(&mut instance.told).into_keys().map(tp).collect();
            self.step(i, Input::Lost(lost));
        }
    }

    fn disown(&mut self, i: usize) {
        for owner in &mut self.owners {
            *owner = owner.filter(|owner| owner.instance != i);
        }
    }

    /// Tells a machine something, and does what it says.
    fn step(&mut self, i: usize, input: Input) {
        let before = self.instances[i].machine.in_flight();
        let is_restored = matches!(input, Input::Restored(_));
        for output in self.instances[i].machine.step(input, self.now).unwrap() {
            match output {
                Output::Commit(plan) => self.begin(i, plan),
                Output::Restore(wanted) => {
                    for (ticket, offset) in wanted {
                        let result = Ok(self.restore(&offset));
                        self.instances[i].restores.push(Restored { ticket, offset, result });
                    }
                }
                Output::Pause(topic, true) => assert!(self.instances[i].paused.insert(topic)),
                Output::Pause(topic, false) => assert!(self.instances[i].paused.remove(&topic)),
                Output::Seek(tp, _) => panic!("nothing is deleted in {tp}"),
                Output::Retry(_) => assert!(self.instances[i].machine.is_refused()),
                Output::Rejoin(_) => {
                    self.disown(i);
                    let instance = &mut self.instances[i];
                    instance.told.clear();
                    instance.revoking.clear();
                    instance.under_way = None;
                    instance.paused.clear();
                }
            }
        }
        let in_flight = self.instances[i].machine.in_flight();
        assert!(is_restored || in_flight <= before.max(IN_FLIGHT_MAX), "{in_flight} in flight");
        self.release(i);
    }

    /// What was revoked is gone once nothing is under way.
    fn release(&mut self, i: usize) {
        let instance = &mut self.instances[i];
        if instance.under_way.is_none() {
            for partition in std::mem::take(&mut instance.revoking) {
                instance.told.remove(&partition);
                self.owners[partition as usize].take_if(|owner| owner.instance == i);
            }
        }
        let machine = &instance.machine;
        let owned = machine.partitions.keys().chain(machine.restoring.keys()).copied().collect::<BTreeSet<_>>();
        assert_eq!(owned, instance.told.keys().copied().collect(), "what a machine has is what it was told of");
    }

    /// The first instance alone, on a log that takes everything, comes to an end.
    fn finish(&mut self) {
        for i in [0, 1] {
            while self.instances[i].under_way.is_some() {
                self.run(Op::Answer(i, How::Done));
            }
            self.evict(i, true);
        }
        self.let_all_go_on();
        let placed: usize = self.placed.iter().map(Vec::len).sum();
        for _ in 0..1_000 + 10 * placed {
            for partition in 0..PARTITIONS {
                self.run(Op::Assign(0, partition));
                self.run(Op::Deliver(0, partition));
                self.run(Op::DeliverCommands(0, partition));
            }
            self.run(Op::Restored(0, false, false));
            self.run(Op::Tick(0, 500));
            while self.instances[0].under_way.is_some() {
                self.run(Op::Answer(0, How::Done));
            }
            let read = self.orders.iter().zip(&self.committed).all(|(orders, at)| orders.len() as u64 == at.offset);
            let obeyed = self.commands.iter().zip(&self.committed_commands).all(|(all, at)| all.len() as u64 == *at);
            if read && obeyed && self.instances[0].restores.is_empty() && self.instances[0].machine.in_flight() == 0 {
                return;
            }
        }
        panic!("orders are stuck: {:?}", self.committed);
    }
}

fn commands(partition: u32) -> TopicPartition {
    TopicPartition { topic: "commands".into(), partition }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn orders_survive_whatever_happens_between_commits(ops in prop::collection::vec(op(), 1..250)) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
        }
        world.finish();
        world.check();
    }
}
