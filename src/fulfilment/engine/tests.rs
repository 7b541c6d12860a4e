mod commands;
mod legacy;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{domain::Product, flows::topic::Versions};

const DWELL: Duration = Duration::from_secs(8);

fn flow() -> Arc<Flow> {
    Arc::new(Flow::standard(DWELL))
}

fn order(id: u64) -> Order {
    Order {
        id: OrderId::new(id).unwrap(),
        product: Product::new("3170", "King's Bounty", "7.99").unwrap(),
        email: "ana@example.org".parse().unwrap(),
        lang: None,
        placed_at: Timestamp::from_millis(0),
        handle: None,
        trace: None,
    }
}

fn at(seconds: u64) -> Now {
    let time = Duration::from_secs(seconds);
    Now { wall: Timestamp::from_millis(1_000_000) + time, monotonic: time }
}

/// An output partition in memory: what was settled, at which offset.
#[derive(Default)]
struct Output(Vec<StateEvent>);

impl Output {
    fn commit(&mut self, engine: &mut Engine, now: Now) -> Progress {
        let progress = engine.progress();
        let first = self.0.len() as u64;
        self.0.extend(engine.staged().iter().map(|staged| staged.event.clone()));
        engine.settle(first..self.0.len() as u64, now);
        progress
    }

    fn restore(&self, progress: Progress, now: Now, remember: usize) -> Result<Engine, Mismatch> {
        let mut restore = Restore::new(flow(), Versions::default(), progress.watermark);
        for (offset, event) in self.0.iter().enumerate().skip(progress.watermark as usize) {
            restore.event(offset as u64, event.clone());
        }
        restore.finish(Some(progress.counters), now, remember)
    }

    fn states_of(&self, id: u64) -> Vec<(u8, Timestamp)> {
        let of_order = self.0.iter().filter(|event| event.order.id.get() == id);
        of_order.map(|event| (event.seq, event.at)).collect()
    }
}

#[test]
fn an_order_walks_through_its_states_on_time() {
    let (mut engine, mut output) = (Engine::new(flow(), 10), Output::default());
    assert_eq!(engine.accept(order(1), at(0)), Accepted::New);
    for second in 0..=30 {
        engine.tick(at(second), usize::MAX);
        output.commit(&mut engine, at(second));
    }
    let expected: Vec<_> = [0, 8, 16, 24].iter().zip(1..).map(|(s, seq)| (seq, at(*s).wall)).collect();
    assert_eq!(output.states_of(1), expected);
    let next: Vec<_> = output.0.iter().map(StateEvent::next_at).collect();
    assert_eq!(next, [Some(at(8).wall), Some(at(16).wall), Some(at(24).wall), None]);
    assert_eq!(engine.counters(), Counters { accepted: 1, finished: 1, ..Counters::default() });
}

#[test]
fn twenty_orders_at_once_finish_together() {
    let (mut engine, mut output) = (Engine::new(flow(), 10), Output::default());
    for id in 1..=20 {
        engine.accept(order(id), at(0));
    }
    for second in 0..=24 {
        engine.tick(at(second), usize::MAX);
        output.commit(&mut engine, at(second));
    }
    for id in 1..=20 {
        assert_eq!(output.states_of(id).last(), Some(&(4, at(24).wall)));
    }
}

#[test]
fn a_repeat_is_ignored_and_other_content_under_the_same_id_is_a_conflict() {
    let (mut engine, mut output) = (Engine::new(flow(), 1), Output::default());
    let other = Order { email: "eva@example.org".parse().unwrap(), ..order(1) };
    engine.accept(order(1), at(0));
    assert_eq!(engine.accept(order(1), at(0)), Accepted::Repeat, "while staged");
    for second in [0, 8, 16, 24] {
        engine.tick(at(second), usize::MAX);
        output.commit(&mut engine, at(second));
        assert_eq!(engine.accept(order(1), at(second)), Accepted::Repeat, "at second {second}");
        assert_eq!(engine.accept(other.clone(), at(second)), Accepted::Conflict, "at second {second}");
    }
    assert_eq!(output.0.len(), 4);
}

#[test]
fn a_finished_order_is_remembered_over_a_restart_until_others_push_it_out() {
    let (mut engine, mut output) = (Engine::new(flow(), 1), Output::default());
    engine.accept(order(1), at(0));
    for second in [0, 8, 16, 24] {
        engine.tick(at(second), usize::MAX);
        output.commit(&mut engine, at(second));
    }
    let progress = output.commit(&mut engine, at(24));
    let mut engine = output.restore(progress, at(25), 1).unwrap();
    assert_eq!(engine.accept(order(1), at(25)), Accepted::Repeat);
    engine.accept(order(2), at(25));
    for second in [25, 33, 41, 49] {
        engine.tick(at(second), usize::MAX);
        output.commit(&mut engine, at(second));
    }
    assert_eq!(engine.accept(order(1), at(50)), Accepted::New, "beyond what is remembered");
}

#[test]
fn staged_events_stay_until_they_are_settled() {
    let mut engine = Engine::new(flow(), 10);
    engine.accept(order(1), at(0));
    let before = engine.progress();
    engine.tick(at(100), usize::MAX);
    assert_eq!(engine.staged().len(), 1, "its second state cannot come before the first is durable");
    assert_eq!(engine.progress(), before);
}

#[test]
fn a_limit_bounds_a_tick_and_nobody_is_forgotten() {
    let (mut engine, mut output) = (Engine::new(flow(), 10), Output::default());
    for id in 1..=10 {
        engine.accept(order(id), at(0));
    }
    output.commit(&mut engine, at(0));
    for expected in [4, 4, 2, 0] {
        engine.tick(at(8), 4);
        assert_eq!(engine.staged().len(), expected);
        output.commit(&mut engine, at(8));
    }
}

#[test]
fn a_restart_keeps_what_is_left_of_each_dwell() {
    let (mut engine, mut output) = (Engine::new(flow(), 10), Output::default());
    engine.accept(order(1), at(0));
    let progress = output.commit(&mut engine, at(0));
    // restarted after 5 s, on another monotonic clock
    let restarted = |seconds| Now { wall: at(seconds).wall, monotonic: Duration::from_secs(seconds - 5) };
    let mut engine = output.restore(progress, restarted(5), 10).unwrap();
    engine.tick(restarted(7), usize::MAX);
    assert!(engine.staged().is_empty());
    engine.tick(restarted(8), usize::MAX);
    assert_eq!(engine.staged().len(), 1);
}

#[test]
fn a_wall_clock_that_jumps_delays_by_at_most_one_dwell_and_never_shortens_one() {
    for jump in [-3_600_i64, 3_600] {
        let (mut engine, mut output) = (Engine::new(flow(), 10), Output::default());
        engine.accept(order(1), at(0));
        let progress = output.commit(&mut engine, at(0));
        let jumped = |seconds: u64| Now {
            wall: Timestamp::from_millis(1_000_000 + (jump + seconds as i64) * 1_000),
            monotonic: Duration::from_secs(seconds),
        };
        let mut engine = output.restore(progress, jumped(4), 10).unwrap();
        engine.tick(jumped(4 + 8), usize::MAX);
        assert_eq!(engine.staged().len(), 1, "jump of {jump} s");
        output.commit(&mut engine, jumped(12));
        let states = output.states_of(1);
        assert!(states[1].1.since(states[0].1) >= DWELL, "jump of {jump} s: {states:?}");
    }
}

#[test]
fn missing_output_is_noticed() {
    let (mut engine, mut output) = (Engine::new(flow(), 0), Output::default());
    for id in 1..=3 {
        engine.accept(order(id), at(0));
    }
    output.commit(&mut engine, at(0));
    let progress = engine.progress();
    output.0.pop();
    assert_eq!(output.restore(progress, at(1), 0).unwrap_err(), Mismatch { expected: 3, found: 2 });
}

#[test]
fn a_flow_that_changed_revives_no_finished_order_and_finishes_what_has_no_state_left() {
    let (mut engine, mut output) = (Engine::new(flow(), 10), Output::default());
    engine.accept(order(1), at(0));
    for second in [0, 8, 16, 24] {
        engine.tick(at(second), usize::MAX);
        output.commit(&mut engine, at(second));
    }
    engine.accept(order(2), at(24));
    for second in [24, 32, 40] {
        engine.tick(at(second), usize::MAX);
        output.commit(&mut engine, at(second));
    }
    let counters = Some(engine.counters());
    let restored = |states: &[&str]| {
        let step = |state: &&str| crate::domain::Step::timer(state, DWELL);
        let mut restore =
            Restore::new(Arc::new(Flow::new(states.iter().map(step).collect()).unwrap()), Versions::default(), 0);
        output.0.iter().enumerate().for_each(|(offset, event)| restore.event(offset as u64, event.clone()));
        restore.finish(counters, at(48), 10).unwrap()
    };
    let mut longer = restored(&["recibido", "preparando", "entregando", "finalizado", "archivado"]);
    longer.tick(at(60), usize::MAX);
    let staged: Vec<_> = longer.staged().iter().map(|staged| (staged.event.order.id.get(), staged.event.seq)).collect();
    assert_eq!(staged, [(2, 4)]);
    let shorter = restored(&["recibido", "preparando", "entregando"]);
    assert_eq!(shorter.counters(), Counters { accepted: 2, finished: 2, ..Counters::default() });
}

proptest! {
    /// Whatever the arrivals, crashes and lost commits: every order has every state once, in order, never early, and
    /// the counters account for it.
    #[test]
    fn crashes_change_nothing(steps in prop::collection::vec((0_u8..6, 0_u64..12), 1..80), remember in 0_usize..5) {
        let (mut engine, mut output) = (Engine::new(flow(), remember), Output::default());
        let (mut progress, mut taken, mut now) = (Progress::default(), 0, 0);
        let run = |now: &mut u64, passed: u64| { *now += passed; at(*now) };
        for (step, passed) in steps {
            let time = run(&mut now, passed);
            match step {
                0 | 1 => drop(engine.accept(order(taken + 1), time)),
                2 => engine.tick(time, usize::MAX),
                3 => engine.tick(time, 2),
                4 => {
                    // the input offset goes with the commit, so what was taken is not taken again
                    progress = output.commit(&mut engine, time);
                    taken = progress.counters.accepted;
                }
                _ => engine = output.restore(progress, time, remember).unwrap(),
            }
            if step < 2 { taken += 1; }
            if step == 5 { taken = progress.counters.accepted; }
        }
        for _ in 0..6 {
            let time = run(&mut now, 8);
            engine.tick(time, usize::MAX);
            output.commit(&mut engine, time);
        }
        prop_assert_eq!(engine.counters(), Counters { accepted: taken, finished: taken, ..Counters::default() });
        for id in 1..=taken {
            let states = output.states_of(id);
            prop_assert_eq!(states.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), vec![1, 2, 3, 4]);
            for pair in states.windows(2) {
                prop_assert!(pair[1].1.since(pair[0].1) >= DWELL);
            }
        }
    }
}
