use proptest::prelude::*;

use super::*;
use crate::domain::OrderId;

const SECOND: Duration = Duration::from_secs(1);

fn mail(n: u64) -> MailId {
    MailId { order: OrderId::new(n).unwrap(), seq: 1 }
}

fn customer(n: u64) -> EmailAddress {
    format!("c{n}@d{n}.example").parse().unwrap()
}

fn refusal(about: About, words: &str) -> Refusal {
    Refusal { about, words: words.into(), text: words.into() }
}

fn judge(evidence: &mut Evidence, n: u64, about: About) -> Judgement {
    evidence.judge(mail(n), &customer(n), &refusal(about, "550 no"), SECOND)
}

#[test]
fn one_customer_who_is_not_there_beside_others_who_are() {
    let mut evidence = Evidence::default();
    evidence.took(mail(1), "d1.example", SECOND);
    assert_eq!(judge(&mut evidence, 2, About::Mailbox), Judgement::Hold, "it is asked twice");
    assert_eq!(judge(&mut evidence, 2, About::Mailbox), Judgement::Stands);
    for _ in 0..9 {
        assert_eq!(judge(&mut evidence, 3, About::Unclear), Judgement::Hold, "nobody was taken since");
    }
    evidence.took(mail(1), "d1.example", SECOND);
    assert_eq!(judge(&mut evidence, 3, About::Unclear), Judgement::Stands);
}

#[test]
fn the_same_words_to_one_after_the_other_are_about_us() {
    for about in [About::Us, About::Unclear] {
        let mut evidence = Evidence::default();
        evidence.took(mail(1), "d1.example", SECOND);
        let judged: Vec<_> = (2..6).map(|n| judge(&mut evidence, n, about)).collect();
        assert_eq!(judged, [Judgement::Hold, Judgement::Hold, Judgement::HoldAll, Judgement::HoldAll], "{about:?}");
        evidence.took(mail(9), "d9.example", SECOND);
        assert_eq!(judge(&mut evidence, 7, about), Judgement::Hold, "one that was taken ends it");
    }
    let mut evidence = Evidence::default();
    assert_eq!(judge(&mut evidence, 1, About::Us), Judgement::HoldAll, "at once, where nothing was taken lately");
    assert_eq!(judge(&mut evidence, 1, About::All), Judgement::HoldAll);
}

#[test]
fn a_run_of_missing_mailboxes_waits_and_a_long_one_pauses() {
    let mut evidence = Evidence::default();
    evidence.took(mail(1), "d1.example", SECOND);
    let judged: Vec<_> = (2..12).map(|n| judge(&mut evidence, n, About::Mailbox)).collect();
    assert_eq!(judged, [&[Judgement::Hold; 9][..], &[Judgement::HoldAll]].concat());
    // asked again, they are the same ones: still nobody else was taken
    assert_eq!(judge(&mut evidence, 2, About::Mailbox), Judgement::HoldAll);
    evidence.took(mail(99), "d99.example", SECOND);
    assert_eq!(judge(&mut evidence, 2, About::Mailbox), Judgement::Stands);
}

#[test]
fn a_domain_that_refuses_everybody_is_held_alone() {
    let mut evidence = Evidence::default();
    for n in 1..=4 {
        evidence.took(mail(n), "works.example", SECOND);
        let to = format!("c{n}@big.example").parse().unwrap();
        let judged = evidence.judge(mail(10 + n), &to, &refusal(About::Unclear, "550 blocked"), SECOND);
        assert_eq!(judged, if n < 3 { Judgement::Hold } else { Judgement::HoldDomain });
    }
}

#[test]
fn what_was_taken_long_ago_proves_nothing() {
    let mut evidence = Evidence::default();
    evidence.took(mail(1), "d1.example", SECOND);
    for _ in 0..9 {
        let judged = evidence.judge(mail(2), &customer(2), &refusal(About::Mailbox, "550"), LATELY * 2);
        assert_eq!(judged, Judgement::Hold);
    }
}

#[test]
fn memory_is_bounded() {
    let mut evidence = Evidence::default();
    for n in 1..=REMEMBERED_MAX as u64 * 2 {
        evidence.judge(mail(n), &customer(n), &refusal(About::Unclear, &format!("550 {}", n % 100)), SECOND);
    }
    assert!(evidence.held.len() <= REMEMBERED_MAX && evidence.domains.len() <= REMEMBERED_MAX);
    assert!(evidence.everywhere.0.len() <= WORDS_MAX);
    assert!(evidence.everywhere.0.values().all(|heard| heard.len() <= MAILBOXES_IN_A_ROW));
}

proptest! {
    /// Whatever a relay says to whomever, and however often: as long as it has taken nobody, nobody is suppressed and no
    /// mail is dead.
    #[test]
    fn where_nobody_was_ever_taken_no_refusal_stands(
        said in prop::collection::vec((1_u64..20, 0_usize..4, 0_u8..5, 0_u64..10_000), 1..200),
    ) {
        let mut evidence = Evidence::default();
        let mut now = Duration::ZERO;
        for (n, about, words, later) in said {
            now += Duration::from_secs(later);
            let about = [About::All, About::Us, About::Mailbox, About::Unclear][about];
            let judged = evidence.judge(mail(n), &customer(n % 7), &refusal(about, &format!("550 {words}")), now);
            prop_assert_ne!(judged, Judgement::Stands);
        }
    }

    /// What is about us never costs a mail, whatever is taken beside it.
    #[test]
    fn what_is_about_us_never_stands(said in prop::collection::vec((1_u64..20, any::<bool>(), any::<bool>()), 1..200)) {
        let mut evidence = Evidence::default();
        for (n, taken, all) in said {
            if taken {
                evidence.took(mail(n), customer(n).domain(), SECOND);
            } else {
                let about = if all { About::All } else { About::Us };
                prop_assert_ne!(judge(&mut evidence, n, about), Judgement::Stands);
            }
        }
    }
}
