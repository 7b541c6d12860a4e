use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::domain::{
    OrderId, Product, command,
    flow::{Dwell, Leave, Parts, Step},
    wire,
};

const DWELL: Duration = Duration::from_secs(8);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_764_000_000_000) + Duration::from_secs(seconds)
}

fn order() -> Arc<Order> {
    Arc::new(Order {
        id: OrderId::new(7).unwrap(),
        product: Product::new("3170", "King's Bounty", "7.99").unwrap(),
        email: "ana@example.org".parse().unwrap(),
        lang: None,
        placed_at: at(0),
        handle: None,
        trace: None,
    })
}

/// A state for a timer, one for a command, one for either; and an end for orders that are not taken.
fn flow() -> Arc<Flow> {
    let step = |state: &str, leave| Step { leave: Some(leave), ..Step::timer(state, DWELL) };
    let steps = vec![
        Step::timer("recibido", DWELL),
        step("cocina", Leave::Command { expect: None }),
        step("reparto", Leave::Either { dwell: Dwell::always(DWELL), expect: None }),
        Step::timer("finalizado", DWELL),
    ];
    let refused = Some(End::named("rechazado"));
    Arc::new(Flow::of(Parts { name: "cena".into(), version: 3, steps, cancelled: None, refused }).unwrap())
}

/// A command under a new id.
fn command(action: Action, party: Party) -> Command {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let id = format!("c-{}", COUNT.fetch_add(1, Ordering::Relaxed)).parse().unwrap();
    Command { id, order: order().id, by: "cocina".into(), party, action, reason: None }
}

fn operator(action: Action) -> Command {
    command(action, Party::Operator)
}

/// What a command that is new to the order does.
fn decide(state: &OrderState, command: &Command, now: Timestamp) -> Result<StateEvent, Refusal> {
    let first = super::decide(state, command, now)?.expect("it is new");
    let mut after = state.clone();
    after.apply(&first);
    assert_eq!(super::decide(&after, command, now), Ok(None), "the same again does nothing");
    Ok(first)
}

/// An order in its first state, entered at second 0.
fn placed() -> OrderState {
    OrderState::after(&place(order(), &flow(), at(0)), &flow())
}

fn after(mut state: OrderState, steps: &[Action], second: u64) -> OrderState {
    for action in steps {
        let event = decide(&state, &operator(action.clone()), at(second)).unwrap();
        assert!(matches!(state.apply(&event), Relation::Advanced { missing: 0 }));
    }
    state
}

fn in_kitchen() -> OrderState {
    let mut state = placed();
    let event = time_is_over(&state, at(8)).unwrap();
    state.apply(&event);
    assert_eq!((&*event.estado, state.waits), ("cocina", Waits::ForCommand));
    state
}

#[test]
fn who_may_cancel_depends_on_the_state() {
    let cancelled = decide(&placed(), &command(Action::Cancel, Party::Customer), at(1)).unwrap();
    assert_eq!((&*cancelled.estado, cancelled.seq, cancelled.step), ("cancelado", 2, 1));
    assert_eq!(cancelled.closes(), Some(Closing::Cancelled));
    let out = after(in_kitchen(), &[Action::Advance(Onward::Next)], 9);
    let late = decide(&out, &command(Action::Cancel, Party::Customer), at(10));
    assert_eq!(late, Err(Refusal::TooLate));
    assert!(decide(&out, &operator(Action::Cancel), at(10)).is_ok());
}

#[test]
fn a_state_is_left_as_its_flow_says() {
    assert_eq!(decide(&placed(), &operator(Action::Advance(Onward::Next)), at(1)), Err(Refusal::OnlyByTimer));
    assert_eq!(time_is_over(&in_kitchen(), at(1_000)), None, "no time of its own");
    let out = after(in_kitchen(), &[Action::Advance(Onward::Next)], 9);
    assert_eq!(out.waits, Waits::Until(at(17)));
    let done = after(out.clone(), &[Action::Advance(Onward::Next)], 10);
    assert_eq!(done.waits, Waits::Closed(Closing::Finished), "whichever comes first");
    assert_eq!(time_is_over(&out, at(17)).unwrap().closes(), Some(Closing::Finished));
    let refused = decide(&in_kitchen(), &operator(Action::Advance(Onward::Refused)), at(9)).unwrap();
    assert_eq!((&*refused.estado, refused.closes()), ("rechazado", Some(Closing::Refused)));
}

#[test]
fn what_is_left_of_its_time_waits_while_an_order_is_held() {
    let held = after(placed(), &[Action::Hold], 3);
    assert_eq!((held.waits, held.seq, held.step), (Waits::Held(Some(Duration::from_secs(5))), 2, 1));
    assert_eq!(time_is_over(&held, at(1_000)), None);
    for (action, refusal) in [
        (Action::Hold, Refusal::Held),
        (Action::Advance(Onward::Next), Refusal::Held),
        (Action::Delay(at(2_000)), Refusal::Held),
    ] {
        assert_eq!(decide(&held, &operator(action), at(100)), Err(refusal));
    }
    let readdressed = after(held, &[Action::Readdress("eva@example.org".parse().unwrap())], 50);
    assert!(matches!(readdressed.waits, Waits::Held(_)), "it is held all the same");
    let resumed = after(readdressed, &[Action::Resume], 100);
    assert_eq!(resumed.waits, Waits::Until(at(105)));
    assert_eq!(after(in_kitchen(), &[Action::Hold, Action::Resume], 9).waits, Waits::ForCommand);
    assert_eq!(decide(&resumed, &operator(Action::Resume), at(101)), Err(Refusal::NotHeld));
}

#[test]
fn a_promise_is_moved_by_nothing_but_its_end_and_a_hold() {
    let kitchen = Leave::Command { expect: Some(Duration::from_secs(20)) };
    let steps = vec![Step { leave: Some(kitchen), ..Step::timer("cocina", DWELL) }, Step::timer("finalizado", DWELL)];
    let parts = Parts { name: "cena".into(), version: 3, steps, cancelled: None, refused: None };
    let flow = Arc::new(Flow::of(parts).unwrap());
    let placed = OrderState::after(&place(order(), &flow, at(0)), &flow);
    let promised = |state: &OrderState| status(state).exits.expect_at;
    assert_eq!(promised(&placed), Some(at(20)));
    let readdressed = after(placed.clone(), &[Action::Readdress("eva@example.org".parse().unwrap())], 50);
    assert_eq!(promised(&readdressed), Some(at(20)), "it is late all the same");
    let held = after(readdressed, &[Action::Hold, Action::Readdress("eva2@example.org".parse().unwrap())], 60);
    assert_eq!(promised(&held), None, "nobody is waited for");
    assert_eq!(promised(&after(held, &[Action::Resume], 100)), Some(at(120)));
}

#[test]
fn a_delay_names_a_time_to_come() {
    assert_eq!(after(placed(), &[Action::Delay(at(600))], 3).waits, Waits::Until(at(600)));
    assert_eq!(after(placed(), &[Action::Delay(at(4))], 3).waits, Waits::Until(at(4)), "also an earlier one");
    let too_far = at(3) + DELAY_MAX + Duration::from_millis(1);
    for time in [at(3), at(0), too_far] {
        assert_eq!(decide(&placed(), &operator(Action::Delay(time)), at(3)), Err(Refusal::Time));
    }
    assert_eq!(decide(&in_kitchen(), &operator(Action::Delay(at(600))), at(9)), Err(Refusal::NoTimer));
}

#[test]
fn a_corrected_address_leaves_the_order_the_same() {
    let address: EmailAddress = "eva@example.org".parse().unwrap();
    let mut state = placed();
    let event = decide(&state, &operator(Action::Readdress(address.clone())), at(1)).unwrap();
    state.apply(&event);
    assert_eq!((event.recipient(), event.order.fingerprint()), (&address, order().fingerprint()));
    assert_eq!(decide(&state, &operator(Action::Readdress(address.clone())), at(2)), Err(Refusal::SameAddress));
    let next = time_is_over(&state, at(8)).unwrap();
    assert_eq!(next.recipient(), &address, "from now on");
    let own = decide(&placed(), &operator(Action::Readdress("ana@example.org".parse().unwrap())), at(1));
    assert_eq!(own, Err(Refusal::SameAddress));
}

#[test]
fn events_are_told_apart_by_number_and_content() {
    let state = after(placed(), &[Action::Hold, Action::Resume], 1);
    let event = |seq| StateEvent { seq, ..place(order(), &flow(), at(0)) };
    for (seq, relation) in [
        (1, Relation::Late),
        (2, Relation::Late),
        (3, Relation::Repeat),
        (4, Relation::Advanced { missing: 0 }),
        (7, Relation::Advanced { missing: 3 }),
    ] {
        assert_eq!(state.clone().apply(&event(seq)), relation, "{seq}");
    }
    let other = Arc::new(Order { email: "eva@example.org".parse().unwrap(), ..Order::clone(&order()) });
    assert_eq!(state.clone().apply(&place(other, &flow(), at(0))), Relation::Conflict);
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        1 => Just(Action::Cancel),
        1 => Just(Action::Advance(Onward::Refused)),
        4 => Just(Action::Advance(Onward::Next)),
        9 => Just(Action::Hold),
        9 => Just(Action::Resume),
        5 => (0_u64..9_000).prop_map(|second| Action::Delay(at(second))),
        5 => "[a-c]".prop_map(|name| Action::Readdress(format!("{name}@example.org").parse().unwrap())),
    ]
}

proptest! {
    /// Whatever is wanted of it, and whenever: an order's events are numbered without a gap, its states come in the order of
    /// its flow, it ends at most once and stays ended, and every event says on the wire all that it says here.
    #[test]
    fn a_life_is_consistent(steps in prop::collection::vec((prop::option::weighted(0.8, actions()), any::<bool>(), 0_u64..20), 1..400)) {
        let (flow, mut second) = (flow(), 0);
        let mut events = vec![place(order(), &flow, at(0))];
        let mut state = OrderState::after(&events[0], &flow);
        for (action, is_operator, passed) in steps {
            second += passed;
            let party = if is_operator { Party::Operator } else { Party::Customer };
            let event = match action {
                Some(action) => {
                    let verb = action.verb();
                    let event = decide(&state, &command(action, party), at(second));
                    let allowed = command::allows(state.waits, events[events.len() - 1].exits, party, verb);
                    let depends = matches!(event, Err(Refusal::Time | Refusal::SameAddress | Refusal::TooMany));
                    prop_assert!(depends || allowed == event.is_ok(), "{verb:?} as {party:?}: {event:?}");
                    event.ok()
                }
                None => time_is_over(&state, at(second)),
            };
            let Some(event) = event else { continue };
            prop_assert_eq!(state.apply(&event), Relation::Advanced { missing: 0 });
            prop_assert_eq!(&OrderState::after(&event, &flow), &state);
            events.push(event);
        }
        for (event, seq) in events.iter().zip(1..) {
            prop_assert_eq!(event.seq, seq);
            let read = wire::decode_event(&wire::encode_event(event), &wire::event_headers(event), at(0));
            prop_assert_eq!(read.as_ref(), Ok(event));
        }
        for pair in events.windows(2) {
            prop_assert!(pair[0].closes().is_none(), "nothing follows an end");
            prop_assert!(pair[0].at <= pair[1].at);
            let onward = u8::from(pair[1].change == Change::Entered && pair[1].closes() != Some(Closing::Cancelled) && pair[1].closes() != Some(Closing::Refused));
            prop_assert_eq!(pair[1].step, pair[0].step + onward);
            if let (Waits::Until(due), Cause::Timer) = (pair[0].waits, &pair[1].cause) {
                prop_assert!(pair[1].at >= due, "never early");
            }
        }
        if let Waits::Closed(closing) = state.waits {
            prop_assert_eq!(decide(&state, &operator(Action::Cancel), at(second)), Err(Refusal::Closed(closing)));
        }
    }

    /// However often it was changed, an order can be cancelled, and can go through all that is before it.
    #[test]
    fn changes_leave_numbers_for_the_rest(kinds in prop::collection::vec(any::<bool>(), 600)) {
        let mut state = placed();
        for hold in kinds {
            let action = if hold { Action::Hold } else { Action::Resume };
            if let Ok(event) = decide(&state, &operator(action), at(1)) {
                state.apply(&event);
            }
        }
        prop_assert!(usize::from(state.seq) + Flow::STEPS_MAX < 256);
        prop_assert!(decide(&state, &operator(Action::Cancel), at(1)).is_ok());
    }
}
