//! Whom a refusal is booked on: never a customer for what is ours.

use encargo::store::ledger::Class;

use super::{replies::denied, *};

const ALWAYS: u32 = 1_000_000;

async fn suppressed(post: &Post) -> u64 {
    post.store.ledger_counts().await.unwrap().suppressed
}

#[tokio::test]
async fn a_relay_that_refuses_everybody_costs_no_mail_and_no_customer() {
    for (step, reply) in [
        (Step::Rcpt, "550 relay not permitted"),
        (Step::Rcpt, "550-Verification failed for <pedidos@shop.example>\r\n550 Sender verify failed"),
        (Step::Rcpt, "554 5.7.1 <c1@example.org>: Relay access denied"),
        (Step::Rcpt, "550 5.1.1 User unknown"),
        (Step::Rcpt, "550 no"),
        (Step::Rcpt, "551 no"),
        (Step::Rcpt, "553 no"),
        (Step::Data, "554 5.5.1 Error: no valid recipients"),
        (Step::Mail, "530 5.7.0 Authentication required"),
        (Step::Dot, "554 Message rejected: Email address is not verified."),
        (Step::Dot, "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
    ] {
        let sink = Sink::start().await;
        sink.script(step, Fault::Reply(reply), ALWAYS);
        let mut post = Post::start(&(sink.url() + "?connections=1"));
        post.enter(1..=20, &["recibido"]).await;
        let reason = eventually("a destination that refuses us", async || {
            post.clock.advance(SECOND / 5);
            match post.state().state {
                mail::RelayState::Denied { reason, .. } | mail::RelayState::Paused { reason, .. } => Ok(reason),
                state => Err(format!("{state:?}")),
            }
        })
        .await;
        assert!(reason.contains(&reply[..3]), "{reason}");
        for _ in 0..200 {
            post.clock.advance(SECOND * 10);
            tokio::task::yield_now().await;
        }
        assert_eq!((suppressed(&post).await, post.dead().await.len()), (0, 0), "{reply}");
        sink.mend();
        post.have_while_moving(MailStatus::Sent, 20, SECOND).await;
        assert_eq!((suppressed(&post).await, post.dead().await.len()), (0, 0), "{reply}");
    }
}

#[tokio::test]
async fn a_customer_who_is_not_there_beside_others_is_suppressed() {
    let sink = Sink::start().await;
    sink.refuse("c2@example.org", "550 5.1.1 <c2@example.org>: User unknown");
    let mut post = Post::start(&(sink.url() + "?connections=1"));
    post.enter(1..=1, &["recibido"]).await;
    post.have(MailStatus::Sent, 1).await;
    post.enter(2..=2, &["recibido", "preparando"]).await;
    post.have_while_moving(MailStatus::Dead, 2, SECOND).await;
    assert_eq!((suppressed(&post).await, post.state().state), (1, mail::RelayState::Working));
    post.enter(3..=3, &["recibido"]).await;
    post.have(MailStatus::Sent, 2).await;
}

#[tokio::test]
async fn a_mail_that_is_refused_beside_others_is_dead_and_its_address_is_not_blamed() {
    let sink = Sink::start().await;
    sink.refuse("c2@example.org", "550 no");
    let mut post = Post::start(&(sink.url() + "?connections=1"));
    post.enter(2..=2, &["recibido"]).await;
    eventually("a refused mail that waits", async || {
        post.clock.advance(SECOND);
        let counts = post.store.ledger_counts().await.unwrap();
        let held = counts.by_class.iter().any(|(_, class, _)| *class == Class::Held);
        if held { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    post.enter(1..=1, &["recibido"]).await;
    post.have_while_moving(MailStatus::Dead, 1, SECOND).await;
    assert_eq!((suppressed(&post).await, post.count(MailStatus::Sent).await), (0, 1));
}

#[tokio::test]
async fn no_address_and_no_bidi_character_of_a_reply_is_kept() {
    let sink = Sink::start().await;
    sink.script(Step::Rcpt, Fault::Reply("550 relay not permitted \u{202e}for Eva.Luna@Other.example"), ALWAYS);
    let mut post = Post::start(&(sink.url() + "?connections=1"));
    post.enter(1..=1, &["recibido"]).await;
    let reason = denied(&post).await;
    assert_eq!(reason, "RCPT TO: 550 relay not permitted for E***@Other.example");
    let waiting = eventually("a mail that waits", async || {
        let waiting = post.store.mails_waiting(9).await.unwrap();
        waiting.iter().find_map(|mail| mail.reply.clone()).ok_or_else(|| format!("{waiting:?}"))
    })
    .await;
    assert_eq!(waiting, reason);
}

/// Sessions are as many as the server takes: those that it refuses cost no mail an attempt, and are not asked for again at once.
#[tokio::test]
async fn a_server_that_takes_two_sessions_gets_no_more() {
    let sink = Sink::with(Setup { sessions_max: 2, ..Setup::default() }).await;
    let mut post = Post::start(&sink.url());
    for round in 1..=3 {
        post.enter(round * 100..=round * 100 + 49, &["recibido"]).await;
        post.have(MailStatus::Sent, round * 50).await;
    }
    assert_eq!((sink.accepted(), post.metrics.retried.get(), post.metrics.dead.get()), (150, 0, 0));
    assert!(sink.connections() <= 16, "{} connections: no more than are tried at first", sink.connections());
    post.stop().await;
}
