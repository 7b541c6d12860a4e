use super::*;
use crate::{
    domain::{Exits, Order, OrderId, Product},
    store::ledger::MailStatus,
};

const DWELL: Duration = Duration::from_secs(8);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_764_000_000_000 + seconds * 1_000)
}

fn entry(seq: u8, estado: &str, seconds: i64) -> HistoryEntry {
    HistoryEntry {
        seq,
        estado: estado.into(),
        change: Change::Entered,
        at: at(seconds),
        due: None,
        offset: None,
        by: None,
        command: None,
        reason: None,
        mail: Some(MailStatus::Sent),
    }
}

fn view(step: u8, estado: &str, seconds: i64, waits: Waits) -> OrderView {
    let order = Order {
        id: OrderId::new(1042).unwrap(),
        product: Product::new("620", "Portal 2", "7.19").unwrap(),
        email: "cliente@example.org".parse().unwrap(),
        lang: None,
        placed_at: at(0),
        handle: None,
        trace: None,
    };
    let exits = Exits { cancel: (step < 3).then_some(Party::Customer), ..Exits::default() };
    OrderView {
        order,
        partition: None,
        address: None,
        flow: Some("default@1".into()),
        step,
        estado: estado.into(),
        seq: step,
        at: at(seconds),
        waits,
        exits,
    }
}

fn whens(journey: &Journey) -> Vec<When> {
    journey.steps.iter().map(|step| step.when).collect()
}

#[test]
fn an_order_on_time_has_times_for_all_that_is_to_come() {
    let flow = Flow::standard(DWELL);
    let history = [entry(1, "recibido", 0), entry(2, "preparando", 8)];
    let journey = Journey::of(&view(2, "preparando", 8, Waits::Until(at(16))), &history, Some(&flow), at(12));
    assert_eq!(whens(&journey), [When::At(at(0)), When::At(at(8)), When::About(at(16)), When::About(at(24))]);
    assert_eq!(
        journey.steps.iter().map(|step| step.place).collect::<Vec<_>>(),
        [Place::Past, Place::Now, Place::Ahead, Place::Ahead]
    );
    assert_eq!(journey.steps.iter().map(|step| step.petals).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((journey.status, journey.ends, journey.painted), (Status::GoesOn, Some(at(24)), 6));
    assert!(journey.may_cancel);
    assert_eq!(journey.cancel_until, Some(("entregando".into(), When::About(at(16)))));
}

#[test]
fn a_late_order_is_promised_no_time() {
    let flow = Flow::standard(DWELL);
    let history = [entry(1, "recibido", 0), entry(2, "preparando", 8)];
    let order = view(2, "preparando", 8, Waits::Until(at(16)));
    let punctual = Journey::of(&order, &history, Some(&flow), at(21));
    assert_eq!(punctual.status, Status::GoesOn);
    let late = Journey::of(&order, &history, Some(&flow), at(47));
    assert_eq!((late.status, late.ends, late.painted), (Status::Late(at(16)), None, 7));
    assert_eq!(whens(&late)[2..], [When::AnyMoment, When::Unknown]);
}

#[test]
fn what_was_cancelled_goes_no_further() {
    let flow = Flow::standard(DWELL);
    let history = [entry(1, "recibido", 0), entry(2, "preparando", 8), entry(3, "cancelado", 12)];
    let order = view(2, "cancelado", 12, Waits::Closed(Closing::Cancelled));
    let journey = Journey::of(&order, &history, Some(&flow), at(100));
    assert_eq!(
        journey.steps.iter().map(|step| step.place).collect::<Vec<_>>(),
        [Place::Past, Place::Past, Place::Off, Place::Off]
    );
    assert_eq!(whens(&journey)[2..], [When::Never, When::Never]);
    assert_eq!((journey.painted, journey.ends, journey.may_cancel), (6, None, false));
}

#[test]
fn what_is_complete_is_painted_whole() {
    let flow = Flow::standard(DWELL);
    let history = [(1, "recibido", 0), (2, "preparando", 8), (3, "entregando", 16), (4, "finalizado", 24)];
    let history = history.map(|(seq, estado, seconds)| entry(seq, estado, seconds));
    let order = view(4, "finalizado", 24, Waits::Closed(Closing::Finished));
    let journey = Journey::of(&order, &history, Some(&flow), at(90));
    assert_eq!((journey.painted, journey.at, journey.ends), (16, 4, None));
    assert_eq!(whens(&journey), [0, 8, 16, 24].map(|seconds| When::At(at(seconds))));
}

#[test]
fn who_waits_for_a_person_is_told_what_the_flow_expects_and_no_more() {
    let flow = Flow::standard(DWELL);
    let history = [entry(1, "recibido", 0)];
    let mut order = view(1, "recibido", 0, Waits::ForCommand);
    let waiting = Journey::of(&order, &history, Some(&flow), at(4));
    assert_eq!((waiting.status, waiting.ends), (Status::Waits(None), None));
    assert_eq!(whens(&waiting)[1..], [When::Unknown; 3]);
    order.exits.expect_at = Some(at(60));
    let expected = Journey::of(&order, &history, Some(&flow), at(30));
    assert_eq!((expected.status, expected.ends), (Status::Waits(Some(at(60))), Some(at(76))));
    assert_eq!(expected.painted, 2);
    assert_eq!(Journey::of(&order, &history, Some(&flow), at(66)).status, Status::Late(at(60)));
    order.waits = Waits::Held(Some(DWELL));
    order.exits.expect_at = None;
    assert_eq!(Journey::of(&order, &history, Some(&flow), at(66)).status, Status::Held);
}

#[test]
fn without_its_flow_only_what_has_happened_is_told() {
    let other = Flow::standard(DWELL);
    let history = [entry(1, "nuevo", 0), entry(2, "en cocina", 8)];
    let order = view(2, "en cocina", 8, Waits::Untold);
    for flow in [None, Some(&other)] {
        let journey = Journey::of(&order, &history, flow, at(10));
        assert_eq!(whens(&journey), [When::At(at(0)), When::At(at(8))]);
        assert_eq!((journey.status, journey.at, journey.ends), (Status::GoesOn, 2, None));
    }
}

#[test]
fn any_number_of_states_is_a_flower_of_four_petals() {
    for (count, expected) in [(1, vec![4]), (2, vec![2, 4]), (3, vec![2, 3, 4]), (5, vec![1, 2, 3, 4, 4])] {
        assert_eq!((1..=count).map(|number| petals(number, count)).collect::<Vec<_>>(), expected);
    }
}
