//! Every reply and every way of not replying, at every step: what becomes of the mail, of the others and of the
//! destination.

use encargo::mail::RelayState;

use super::*;

/// A server's way, and what must become of the one mail that meets it once.
struct Case {
    step: Step,
    fault: Fault,
    /// `Some(repeats)` when it arrives after all, `None` when it is dead.
    arrives: Option<u64>,
    /// Whether the order's next mail needs a new connection.
    connections: u64,
}

fn case(step: Step, fault: Fault, arrives: Option<u64>, connections: u64) -> Case {
    Case { step, fault, arrives, connections }
}

#[tokio::test]
async fn each_reply_has_the_outcome_that_the_documents_state() {
    use Fault::{Bytes, Drip, Reply};
    let long = [b"250-".to_vec(), b"x".repeat(20_000), b"\r\n250 2.0.0 queued\r\n".to_vec()].concat();
    let endless = b"250-more\r\n".repeat(10_000);
    let cases = [
        // temporary and about the recipient: tried again on the same connection
        case(Step::Rcpt, Reply("450 4.2.0 greylisted"), Some(0), 1),
        case(Step::Rcpt, Reply("452 4.2.2 over quota"), Some(0), 1),
        case(Step::Rcpt, Reply("552 5.2.2 over quota"), Some(0), 1),
        // temporary, and perhaps the session's fault: tried again on a new one
        case(Step::Data, Reply("451 4.3.0 later"), Some(0), 2),
        case(Step::Dot, Reply("452 4.3.1 no room"), Some(0), 2),
        case(Step::Mail, Reply("452 4.3.1 no room"), Some(0), 2),
        // it says goodbye: tried again on a new one
        case(Step::Rcpt, Reply("421 4.7.0 slow down"), Some(0), 2),
        case(Step::Dot, Reply("421 4.3.2 closing"), Some(0), 2),
        // for good, it says; but it has taken nobody yet
        case(Step::Rcpt, Reply("550-5.7.1 relaying\r\n550 5.7.1 denied"), Some(0), 1),
        case(Step::Rcpt, Reply("550 5.1.1 no such user"), Some(0), 1),
        case(Step::Data, Reply("554 5.5.1 no"), Some(0), 1),
        case(Step::Dot, Reply("552 5.3.4 too big"), Some(0), 1),
        case(Step::Dot, Reply("554 5.7.1 spam"), Some(0), 1),
        // odd, and understood all the same
        case(Step::Dot, Reply("250-2.0.0 one\r\n250-2.0.0 two\r\n250 2.0.0 queued"), Some(0), 1),
        case(Step::Dot, Bytes(b"250 2.0.0 a\xf1adido \xff\x00\r\n".to_vec()), Some(0), 1),
        case(Step::Dot, Bytes(b"250\n".to_vec()), Some(0), 1),
        case(Step::Dot, Bytes(long), Some(0), 1),
        case(Step::Dot, Drip("250 2.0.0 queued at last"), Some(0), 1),
        case(Step::Rcpt, Drip("250 2.1.5 all right"), Some(0), 1),
        case(Step::Connect, Drip("220-sink\r\n220 ESMTP"), Some(0), 1),
        case(Step::Ehlo, Drip("250-sink\r\n250-PIPELINING\r\n250 SMTPUTF8"), Some(0), 1),
        // out of step: a new connection, and no repeat, because no mail was handed over
        case(Step::Data, Reply("250 2.0.0 what"), Some(0), 2),
        case(Step::Rcpt, Reply("503 5.5.1 MAIL first"), Some(0), 2),
        case(Step::Mail, Bytes(b"250 ok\r\n250 ok\r\n250 and one too many\r\n".to_vec()), Some(0), 2),
        case(Step::Data, Bytes(b"354 go on\r\n250 2.0.0 queued before it came\r\n".to_vec()), Some(0), 2),
        case(Step::Rcpt, Bytes(b"HTTP/1.1 400 Bad Request\r\n".to_vec()), Some(0), 2),
        case(Step::Rcpt, Bytes(endless.clone()), Some(0), 2),
        // it may have been accepted: a repeat, counted
        case(Step::Dot, Bytes(endless), Some(1), 2),
        case(Step::Dot, Bytes(b"?\r\n".to_vec()), Some(1), 2),
        case(Step::Dot, Bytes(b"354 go on\r\n".to_vec()), Some(1), 2),
        case(Step::Dot, Fault::Drop, Some(1), 2),
    ];
    for Case { step, fault, arrives, connections } in cases {
        let sink = Sink::start().await;
        let what = format!("{step:?} {fault:?}").chars().take(100).collect::<String>();
        sink.script(step, fault, 1);
        let mut post = Post::start(&(sink.url() + "?connections=1"));
        post.enter(1..=1, &["recibido", "preparando"]).await;
        let sent = if arrives.is_some() { 2 } else { 1 };
        post.have_while_moving(MailStatus::Sent, sent, SECOND).await;
        let states: Vec<_> = sink.mails().iter().map(|mail| mail.header("X-Order-State").unwrap().to_owned()).collect();
        let expected: &[&str] = match arrives {
            Some(0) => &["recibido", "preparando"],
            Some(_) => &["recibido", "recibido", "preparando"],
            None => &["preparando"],
        };
        assert_eq!(states, expected, "{what}");
        assert_eq!(post.dead().await.len(), usize::from(arrives.is_none()), "{what}");
        let repeated = post.store.ledger_counts().await.unwrap().repeated;
        assert_eq!((repeated, sink.connections()), (arrives.unwrap_or(0), connections), "{what}");
    }
}

#[tokio::test]
async fn a_session_that_is_out_of_step_is_told_on_servers_without_pipelining_too() {
    for (step, bytes) in [
        (Step::Mail, &b"250 ok\r\n250 one too many\r\n"[..]),
        (Step::Data, b"354 go on\r\n250 queued before it came\r\n"),
    ] {
        let sink = Sink::plain().await;
        sink.script(step, Fault::Bytes(bytes.to_vec()), 1);
        let mut post = Post::start(&(sink.url() + "?connections=1"));
        post.enter(1..=1, &["recibido"]).await;
        post.have_while_moving(MailStatus::Sent, 1, SECOND).await;
        assert_eq!((sink.accepted(), sink.connections()), (1, 2), "{step:?}");
    }
}

#[tokio::test]
async fn a_refused_sender_burns_no_mail() {
    let sink = Sink::start().await;
    sink.script(Step::Mail, Fault::Reply("550 5.7.1 <pedidos@shop.example> may not send"), 1);
    let mut post = Post::start(&(sink.url() + "?connections=1"));
    post.enter(1..=50, &["recibido"]).await;
    let reason = denied(&post).await;
    assert!(reason.contains("MAIL FROM: 550 5.7.1"), "{reason}");
    post.have_while_moving(MailStatus::Sent, 50, SECOND).await;
    let state = post.state().state;
    assert!(matches!(state, RelayState::Working | RelayState::Returning(_)), "{state:?}");
    assert_eq!(post.dead().await, [""; 0]);
}

/// Waits until the destination refuses us as a whole; returns the reason.
pub(super) async fn denied(post: &Post) -> String {
    eventually("a destination that refuses us", async || match post.state().state {
        RelayState::Denied { reason, .. } => Ok(reason),
        state => Err(format!("{state:?}")),
    })
    .await
}

#[tokio::test]
async fn one_slow_domain_does_not_hold_up_the_others() {
    let sink = Sink::start().await;
    let mut post = Post::new(&(sink.url() + "?connections=1"));
    for id in 1..=40 {
        post.emails.insert(id, format!("c{id}@slow.example").parse().unwrap());
    }
    post.run(mail::Options::default());
    sink.script(Step::Rcpt, Fault::Reply("421 4.7.0 too many from you, come back later"), 1);
    post.enter(1..=1, &["recibido"]).await;
    eventually("a slow domain", async || if post.state().domains.len() == 1 { Ok(()) } else { Err(String::new()) })
        .await;
    let before = sink.connections();
    post.enter(2..=80, &["recibido"]).await;
    post.have(MailStatus::Sent, 40).await; // without any time passing
    assert!(sink.mails().iter().all(|mail| mail.to.ends_with("@example.org")));
    assert_eq!(post.state().state, RelayState::Working);
    assert_eq!(sink.connections(), before + 1);
    post.have_while_moving(MailStatus::Sent, 80, SECOND).await;
    assert_eq!((post.state().domains.len(), post.dead().await.len()), (0, 0));
}

#[tokio::test]
async fn a_bounded_rate_is_kept_and_no_lease_runs_out_meanwhile() {
    let sink = Sink::start().await;
    let mut post = Post::new(&(sink.url() + "?rate=10"));
    post.run(mail::Options { lease: Duration::from_secs(8), ..mail::Options::default() });
    post.enter(1..=100, &["recibido"]).await;
    post.have_while_moving(MailStatus::Sent, 100, Duration::from_millis(20)).await;
    let took = post.clock.monotonic();
    assert!(took >= Duration::from_millis(9_900), "{took:?}");
    assert_eq!(post.store.ledger_counts().await.unwrap().repeated, 0);
}

#[tokio::test]
async fn addresses_beyond_ascii_go_where_they_can() {
    // a domain has an ASCII form that every server takes
    for setup in [Setup::default(), Setup { capabilities: "PIPELINING", ..Setup::default() }] {
        let international = setup.capabilities.contains("SMTPUTF8");
        let sink = Sink::with(setup).await;
        let mut post = Post::new(&sink.url());
        post.emails.insert(1, "ana@españa.example".parse().unwrap());
        post.emails.insert(2, "josé@españa.example".parse().unwrap());
        post.run(mail::Options::default());
        post.enter(1..=2, &["recibido"]).await;
        post.have(MailStatus::Sent, if international { 2 } else { 1 }).await;
        let mut mails = sink.mails();
        mails.sort_by_key(|mail| mail.to.len());
        let ascii = mails.iter().find(|mail| mail.to == "ana@xn--espaa-rta.example").unwrap();
        assert!(ascii.raw.is_ascii(), "{}", String::from_utf8_lossy(&ascii.raw));
        let mail = sink.commands().into_iter().filter(|line| line.starts_with("MAIL")).collect::<Vec<_>>();
        assert_eq!(mail.iter().any(|line| line.ends_with("> BODY=8BITMIME SMTPUTF8")), international, "{mail:?}");
        if international {
            assert!(mails.iter().any(|mail| mail.to == "josé@españa.example"));
        } else {
            post.have(MailStatus::Dead, 1).await;
            let reason = &post.dead().await[0];
            assert!(reason.contains("no SMTPUTF8"), "{reason}");
        }
    }
}
