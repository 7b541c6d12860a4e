use super::*;

fn step(state: &str) -> Step {
    Step::timer(state, Duration::from_secs(8))
}

fn kitchen() -> Flow {
    let minutes = Duration::from_mins;
    let tart = Exception { products: Pattern::new(None, Some("*tarta*")).unwrap(), dwell: minutes(50) };
    let steps = vec![
        step("recibido"),
        Step { leave: Some(Leave::Command { expect: Some(minutes(20)) }), ..step("cocinando") },
        Step {
            leave: Some(Leave::Either {
                dwell: Dwell { usual: minutes(30), exceptions: vec![tart] },
                expect: Some(minutes(5)),
            }),
            cancel: Some(Party::Customer),
            mail: None,
            ..step("mostrador")
        },
        step("entregado"),
    ];
    let (cancelled, refused) = (None, Some(End::named("rechazado")));
    Flow::of(Parts { name: "cocina".into(), version: 3, steps, cancelled, refused }).unwrap()
}

#[test]
fn sequence_numbers_are_places_from_one() {
    let flow = Flow::standard(Duration::from_secs(8));
    assert_eq!(flow.seq_of("recibido"), Some(1));
    assert_eq!(flow.seq_of("finalizado"), Some(flow.last_seq()));
    assert_eq!(flow.step(2).map(|s| &*s.state), Some("preparando"));
    assert_eq!((flow.step(0), flow.step(5), flow.seq_of("perdido")), (None, None, None));
}

#[test]
fn refuses_flows_that_cannot_be_told_apart() {
    for states in [vec![], vec![step("")], vec![step("a"), step("a")], vec![step("a\r\nb")]] {
        assert!(Flow::new(states).is_err());
    }
}

#[test]
fn a_flaw_names_the_key() {
    let parts = |name: &str, version, steps, cancelled| {
        let name = name.to_owned();
        let refused = Some(End::named("rechazado"));
        Flow::of(Parts { name, version, steps, cancelled, refused }).unwrap_err().key
    };
    let two = || vec![step("a"), step("b")];
    let long = Step::timer("a", Dwell::MAX + Duration::from_millis(1));
    assert_eq!(parts("a b", 1, two(), None), "name");
    assert_eq!(parts("a", 0, two(), None), "version");
    assert_eq!(parts("a", 1, vec![], None), "step");
    assert_eq!(parts("a", 1, vec![step("a"), step("b/c")], None), "step[1].state");
    assert_eq!(parts("a", 1, vec![step("a"), step("b"), step("a")], None), "step[2].state");
    assert_eq!(parts("a", 1, vec![long, step("b")], None), "step[0].dwell");
    assert_eq!(parts("a", 1, two(), Some(End::named("b"))), "cancelled.state");
    assert_eq!(parts("a", 1, two(), Some(End::named("rechazado"))), "refused.state");
    assert_eq!(parts("a", 1, two(), Some(End { mail: Some("../x".into()), ..End::named("c") })), "cancelled.mail");
}

#[test]
fn a_step_that_is_called_like_the_end_keeps_its_name() {
    let end = |states: &[&str]| Flow::new(states.iter().map(|state| step(state)).collect()).map(|f| f.cancelled.state);
    assert_eq!(end(&["a", "b"]).as_deref(), Ok("cancelado"));
    assert_eq!(end(&["a", "cancelado"]).as_deref(), Ok("anulado"));
    assert_eq!(end(&["cancelado", "anulado"]).unwrap_err().key, "cancelled");
}

#[test]
fn customers_may_cancel_until_the_delivery_and_operators_until_the_end() {
    let rule = |count: usize| {
        let flow = Flow::new((0..count).map(|i| step(&format!("s{i}"))).collect()).unwrap();
        (1..=count as u8)
            .map(|seq| (flow.may_cancel(seq, Party::Customer), flow.may_cancel(seq, Party::Operator)))
            .map(|who| match who {
                (true, true) => 'c',
                (false, true) => 'o',
                _ => '-',
            })
            .collect::<String>()
    };
    assert_eq!([1, 2, 3, 4, 5].map(rule), ["-", "c-", "co-", "cco-", "ccco-"]);
    let flow = kitchen();
    assert!(flow.may_cancel(3, Party::Customer) && !flow.may_cancel(4, Party::Operator));
    assert!(!flow.may_cancel(0, Party::Operator) && !flow.may_cancel(9, Party::Operator));
}

#[test]
fn a_dwell_is_that_of_the_product_where_there_is_a_timer() {
    let (flow, tart) = (kitchen(), Product::new("7", "Tarta de manzana", "4").unwrap());
    let minutes = |seq| flow.dwell_of(seq, &tart).map(|dwell| dwell.as_secs() / 60);
    assert_eq!([1, 2, 3, 4, 5].map(minutes), [Some(0), None, Some(50), None, None]);
    assert!(!flow.steps()[0].takes_command() && flow.steps()[1].takes_command() && flow.steps()[2].takes_command());
    let mailed =
        ["recibido", "mostrador", "cancelado", "rechazado", "perdido"].map(|state| flow.mail_of(state).is_some());
    assert_eq!(mailed, [true, false, true, true, false]);
}

#[test]
fn what_is_written_is_whole_and_is_read_back() {
    let flow = kitchen();
    insta::assert_snapshot!(flow.to_json(), @r#"{"name":"cocina","version":3,"step":[{"state":"recibido","leave":"timer","dwell":"8s","cancel":"customer","mail":"recibido"},{"state":"cocinando","leave":"command","expect":"20m","cancel":"customer","mail":"cocinando"},{"state":"mostrador","leave":"either","dwell":"30m","for":[{"name":"*tarta*","dwell":"50m"}],"expect":"5m","cancel":"customer","mail":false},{"state":"entregado","mail":"entregado"}],"cancelled":{"state":"cancelado","mail":"cancelado"},"refused":{"state":"rechazado","mail":"rechazado"}}"#);
    assert_eq!(Flow::from_json(flow.to_json().as_bytes()), Ok(flow.clone()));
    let standard = Flow::standard(Duration::from_millis(1_500));
    assert_eq!(Flow::from_json(standard.to_json().as_bytes()), Ok(standard));
    let newer = flow.to_json().replacen('{', "{\"colour\":1,", 1);
    assert!(Flow::from_json(newer.as_bytes()).unwrap_err().to_string().contains("colour"));
}

#[test]
fn the_fingerprint_is_of_the_content_and_not_of_the_version() {
    let flow = kitchen();
    assert_eq!(flow.fingerprint(), flow.with_version(4).fingerprint());
    assert_eq!(&*flow.with_version(4).id(), "cocina@4");
    let mut other = flow.clone();
    other.steps[1].leave = Some(Leave::Command { expect: None });
    assert_ne!(flow.fingerprint(), other.fingerprint());
    assert_eq!(format!("{:016x}", Flow::standard(Duration::from_secs(8)).fingerprint()), "3b9e8bfcf2c7614c");
}
