//! What somebody wants of an order, among timers, commits and restarts.

use super::*;
use crate::domain::{CommandCopy, command::Action, flow::Party};

const COPY: CommandCopy = CommandCopy { partition: 0, offset: 0 };

fn operator(name: &str, order: u64, action: Action) -> Command {
    let (id, order) = (name.parse().unwrap(), OrderId::new(order).unwrap());
    Command { id, order, by: "shop".into(), party: Party::Operator, action, reason: None }
}

/// What an order was told to do is what it does, over a restart too: a cancelled one has ended, a held one is found again, and
/// the counters account for both.
#[test]
fn commands_are_events_like_any_other() {
    let (mut engine, mut output) = (Engine::new(flow(), 10), Output::default());
    for id in 1..=3 {
        engine.accept(order(id), at(0));
    }
    output.commit(&mut engine, at(0));
    assert_eq!(
        engine.command(&operator("a", 4, Action::Cancel), COPY, at(1)).verdict,
        Verdict::Unknown,
        "it is not there"
    );
    let cancelled = engine.command(&operator("a", 1, Action::Cancel), COPY, at(1));
    assert_eq!(cancelled.verdict, Verdict::Done);
    assert_eq!(cancelled.status.map(|status| (status.estado, status.seq)), Some(("cancelado".into(), 2)));
    let closed = Verdict::from(Refusal::Closed(Closing::Cancelled));
    assert_eq!(
        engine.command(&operator("b", 1, Action::Cancel), COPY, at(1)).verdict,
        closed,
        "before it is durable, too"
    );
    assert_eq!(engine.command(&operator("a", 1, Action::Cancel), COPY, at(1)).verdict, Verdict::Repeated);
    assert_eq!(engine.command(&operator("h", 2, Action::Hold), COPY, at(3)).verdict, Verdict::Done);
    engine.tick(at(20), usize::MAX);
    assert_eq!(engine.staged().len(), 3, "the cancelled and the held one have no time any more");
    let progress = output.commit(&mut engine, at(20));
    assert_eq!(progress.counters, Counters { accepted: 3, cancelled: 1, ..Counters::default() });

    let mut engine = output.restore(engine.progress(), at(30), 10).unwrap();
    assert_eq!(engine.accept(order(1), at(30)), Accepted::Repeat, "remembered, as a finished one is");
    assert_eq!(engine.command(&operator("a", 1, Action::Cancel), COPY, at(30)).verdict, Verdict::Repeated);
    assert_eq!(engine.command(&operator("b", 1, Action::Hold), COPY, at(30)).verdict, closed);
    engine.tick(at(40), usize::MAX);
    assert_eq!(engine.staged().iter().map(|staged| staged.event.order.id.get()).collect::<Vec<_>>(), [3]);
    assert_eq!(engine.command(&operator("r", 2, Action::Resume), COPY, at(40)).verdict, Verdict::Done);
    assert_eq!(
        engine.command(&operator("h", 2, Action::Hold), COPY, at(40)).verdict,
        Verdict::Repeated,
        "whatever came since"
    );
    output.commit(&mut engine, at(40));
    engine.tick(at(44), usize::MAX);
    assert!(engine.staged().is_empty(), "5 s were left of its time");
    engine.tick(at(45), usize::MAX);
    assert_eq!((engine.staged().len(), &*engine.staged()[0].event.estado), (1, "preparando"));
}

/// Two commands for one order in one commit: the second is decided on what the first has made of it.
#[test]
fn events_of_one_order_in_one_commit_follow_each_other() {
    let (mut engine, mut output) = (Engine::new(flow(), 10), Output::default());
    engine.accept(order(1), at(0));
    engine.command(&operator("h", 1, Action::Hold), COPY, at(0));
    engine.command(&operator("r", 1, Action::Resume), COPY, at(0));
    output.commit(&mut engine, at(0));
    assert_eq!(output.states_of(1).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(engine.progress().watermark, 2, "only the latest is needed");
    engine.tick(at(8), usize::MAX);
    assert_eq!(engine.staged().len(), 1);
}
