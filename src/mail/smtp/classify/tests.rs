//! What real servers say. The sources are public: documentation, source code, and mails that came back.

use super::{Step::*, *};

/// Whom or what the reply is about, in a word.
fn verdict(step: Step, text: &str) -> &'static str {
    let (_, reply) = super::super::reply::Reader::default().read(format!("{text}\r\n").as_bytes()).unwrap();
    match refusal(step, &reply.unwrap(), &"ana@example.org".parse().unwrap(), false) {
        Outcome::Sent(_) => "sent",
        Outcome::Transient(Scope::Mail, _) => "later",
        Outcome::Transient(Scope::Domain, _) => "later, domain",
        Outcome::Transient(Scope::Relay, _) => "later, relay",
        Outcome::Busy(_) => "busy",
        Outcome::Unreachable(_) => "unreachable",
        Outcome::Denied(_) => "login",
        Outcome::Permanent(_) => "never",
        Outcome::Ambiguous(_) => "ambiguous",
        Outcome::Refused(Refusal { about, .. }) => match about {
            About::All => "all",
            About::Us => "us",
            About::Mailbox => "mailbox",
            About::Unclear => "unclear",
        },
    }
}

/// As the table of replies writes it.
fn step(name: &str) -> Step {
    [Mail, Rcpt, Data, End].into_iter().find(|step| format!("{step:?}") == name).expect("a step")
}

#[test]
fn what_named_servers_say_is_booked_on_whom_it_is_about() {
    let rows = include_str!("replies.tsv").lines().filter(|line| !line.starts_with('#'));
    for row in rows {
        let [about, after, server, reply, source] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("five columns: {row}")
        };
        let reply = reply.replace("\\r\\n", "\r\n");
        assert_eq!(verdict(step(after), &reply), about, "{server} ({source}): {reply}");
    }
}

#[test]
fn the_same_words_to_others_are_the_same() {
    let said = |text: &str, to: &str| {
        let (_, reply) = super::super::reply::Reader::default().read(format!("{text}\r\n").as_bytes()).unwrap();
        words(&reply.unwrap(), &to.parse().unwrap())
    };
    for (first, second) in [
        ("554 5.7.1 <ana@example.org>: Relay access denied", "554 5.7.1 <eva@example.net>: Relay access denied"),
        ("550 No such user ana [id 1234]", "550 No such user eva [id 98]"),
        (
            "550-5.1.1 gone https://x.example/?p=a 12ab-gsmtp\r\n550 5.1.1 now",
            "550-5.1.1 gone https://x.example/?p=b 34cd-gsmtp\r\n550 5.1.1 now",
        ),
    ] {
        assert_eq!(said(first, "ana@example.org"), said(second, "eva@example.net"));
    }
    assert_eq!(
        said("554 5.7.1 <ana@example.org>: Relay access denied", "ana@example.org"),
        "554 5.7.1 relay access denied"
    );
    assert_ne!(said("550 no", "ana@example.org"), said("554 no", "ana@example.org"));
}

#[test]
fn that_a_server_minds_smtputf8_is_not_the_senders_fault() {
    let reply = Reply { code: 553, status: Some((5, 6, 7)), text: "5.6.7 no".into() };
    let outcome = refusal(Mail, &reply, &"josé@example.org".parse().unwrap(), true);
    assert!(matches!(outcome, Outcome::Refused(Refusal { about: About::Unclear, .. })), "{outcome:?}");
}
