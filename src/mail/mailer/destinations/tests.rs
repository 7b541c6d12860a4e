use super::*;
use crate::{clock::Clock, domain::OrderId};

const SECOND: Duration = Duration::from_secs(1);

fn destinations() -> (Destinations, Clock) {
    let clock = Clock::manual(Timestamp::from_millis(1_764_000_000_000));
    let options = Options { retry_min: SECOND, retry_max: 60 * SECOND, pause_max: 8 * SECOND, ..Options::default() };
    let env = Env::simulated(clock.clone(), 1);
    (Destinations::new("smtp://relay".into(), env, options, Default::default()), clock)
}

fn note(destinations: &Destinations, domain: &str, outcome: &Outcome) -> Duration {
    let mail = MailId { order: OrderId::new(1).unwrap(), seq: 1 };
    destinations.note(mail, &format!("ana@{domain}").parse().unwrap(), outcome).pause
}

fn unreachable() -> Outcome {
    Outcome::Unreachable("refused".into())
}

fn sent() -> Outcome {
    Outcome::Sent("250 ok".into())
}

#[test]
fn an_outage_costs_one_probe_a_pause_and_ends_gently() {
    let (destinations, clock) = destinations();
    assert_eq!(destinations.admit(), Admission::Open(usize::MAX));
    let pause = note(&destinations, "a.example", &unreachable());
    assert!(pause >= SECOND && pause <= 2 * SECOND, "{pause:?}");
    assert_eq!(destinations.admit(), Admission::Closed(pause));
    assert_eq!(note(&destinations, "a.example", &unreachable()), pause, "those in flight do not prolong it");
    clock.advance(pause);
    for _ in 0..9 {
        assert_eq!(destinations.admit(), Admission::Probe);
        let pause = note(&destinations, "a.example", &unreachable());
        assert!(pause <= 8 * SECOND, "{pause:?}");
        let RelayState::Paused { reason, failures, .. } = destinations.snapshot().state else { panic!() };
        assert!(reason == "refused" && failures >= 2);
        clock.advance(pause);
    }
    for window in 2..WINDOW_MAX {
        note(&destinations, "a.example", &sent());
        assert_eq!(destinations.admit(), Admission::Open(window), "it grows by what gets through");
        assert_eq!(destinations.snapshot().state, RelayState::Returning(window));
    }
    note(&destinations, "a.example", &sent());
    assert_eq!(destinations.admit(), Admission::Open(usize::MAX));
    assert!(note(&destinations, "a.example", &unreachable()) <= 2 * SECOND, "it starts anew");
}

#[test]
fn a_refused_login_pauses_for_longer_and_says_so() {
    let (destinations, clock) = destinations();
    let pause = note(&destinations, "a.example", &Outcome::Denied("535 5.7.8 no".into()));
    assert_eq!(pause, Options::default().denied_pause);
    let RelayState::Denied { reason, probe_at, .. } = destinations.snapshot().state else { panic!() };
    assert_eq!((&*reason, probe_at), ("535 5.7.8 no", clock.now() + pause));
    clock.advance(pause);
    assert_eq!(destinations.admit(), Admission::Probe);
    note(&destinations, "a.example", &sent());
    assert!(matches!(destinations.admit(), Admission::Open(_)));
}

#[test]
fn what_may_be_the_relays_fault_is_after_three_times_without_a_success() {
    let (destinations, _) = destinations();
    let lost = || Outcome::Transient(Scope::Relay, "lost".into());
    for outcome in
        [lost(), lost(), sent(), lost(), Outcome::Ambiguous("no answer".into()), Outcome::Permanent("no".into())]
    {
        assert_eq!(note(&destinations, "a.example", &outcome), Duration::ZERO);
    }
    note(&destinations, "a.example", &lost());
    note(&destinations, "b.example", &Outcome::Busy("421".into()));
    assert!(note(&destinations, "c.example", &lost()) >= SECOND);
    assert!(matches!(destinations.admit(), Admission::Closed(_)));
}

#[test]
fn a_busy_domain_is_slowed_down_alone() {
    let (destinations, clock) = destinations();
    let greylisted = || Outcome::Transient(Scope::Domain, "450 later".into());
    assert_eq!(note(&destinations, "slow.example", &greylisted()), Duration::ZERO, "one mailbox is not a domain");
    assert_eq!(destinations.wait_for("slow.example"), None);
    note(&destinations, "slow.example", &Outcome::Busy("421 slow down".into()));
    let (wait, reason) = destinations.wait_for("Slow.Example").unwrap();
    assert!(wait >= 2 * SECOND && wait <= 4 * SECOND && reason == "421 slow down", "{wait:?} {reason}");
    assert_eq!((destinations.wait_for("b.example"), destinations.admit()), (None, Admission::Open(usize::MAX)));
    let [state] = &destinations.snapshot().domains[..] else { panic!() };
    assert_eq!((&*state.domain, state.failures, state.probe_at), ("slow.example", 1, clock.now() + 2 * SECOND));

    clock.advance(2 * SECOND);
    assert_eq!(destinations.wait_for("slow.example"), None, "the probe");
    assert!(destinations.wait_for("slow.example").is_some(), "and only one");
    assert_eq!(note(&destinations, "slow.example", &greylisted()), 4 * SECOND, "twice as long");
    clock.advance(4 * SECOND);
    assert_eq!(destinations.wait_for("slow.example"), None);
    note(&destinations, "slow.example", &sent());
    assert_eq!((destinations.wait_for("slow.example"), destinations.snapshot().domains.len()), (None, 0));
}

#[test]
fn greylisting_of_everybody_slows_the_domain_down_too() {
    let (destinations, _) = destinations();
    for _ in 0..STRIKES {
        assert_eq!(destinations.wait_for("grey.example"), None);
        note(&destinations, "grey.example", &Outcome::Transient(Scope::Domain, "451".into()));
    }
    assert!(destinations.wait_for("grey.example").is_some());
}

#[test]
fn domains_in_trouble_are_bounded() {
    let (destinations, clock) = destinations();
    for n in 0..DOMAINS_MAX * 2 {
        note(&destinations, &format!("d{n}.example"), &Outcome::Busy("421".into()));
        note(&destinations, "works.example", &sent());
        clock.advance(Duration::from_millis(1));
    }
    let domains = destinations.snapshot().domains;
    assert_eq!(domains.len(), DOMAINS_MAX);
    assert_eq!(domains[0].domain, format!("d{}.example", DOMAINS_MAX * 2 - 1), "the latest are kept");
}
