//! How often and how long a mail is tried: no second copy while the first may arrive, no early end, no sick session.

use encargo::{
    domain::OrderId,
    store::{
        dead::{Action, DeadId},
        ledger::MailId,
    },
};

use super::*;

const LEASE: Duration = Duration::from_mins(2);

impl Post {
    /// Drives the first mail of order 1 again.
    async fn redrive(&self) {
        let id = DeadId::Mail(MailId { order: OrderId::new(1).unwrap(), seq: 1 });
        assert!(self.store.decide(&id, Action::Redrive, self.clock.now()).await.unwrap());
    }

    /// Moves the clock to the next renewal, and waits until it is written. The one after it begins only when the mailer knows of
    /// it, too: what the store says alone would let the clock run away from the mailer.
    async fn next_renewal(&self) {
        self.clock.advance(LEASE / 4);
        let until = Some(self.clock.now() + LEASE);
        eventually("a renewed lease", async || match self.store.next_due().await.unwrap() {
            due if due == until => Ok(()),
            due => Err(format!("{due:?} and not {until:?}")),
        })
        .await;
    }
}

#[tokio::test]
async fn no_second_copy_leaves_while_the_server_may_still_answer_the_first() {
    let sink = Sink::start().await;
    sink.script(Step::Dot, Fault::Hang, 1);
    let mut post = Post::new(&sink.url());
    post.run(mail::Options { lease: LEASE, ..mail::Options::default() });
    post.enter(1..=1, &["recibido"]).await;
    eventually("the mail at the server", async || if sink.accepted() == 1 { Ok(()) } else { Err(String::new()) }).await;
    for _ in 0..20 {
        post.next_renewal().await; // ten minutes in all
    }
    let (now, until) = (post.clock.now(), post.clock.now() + LEASE);
    assert_eq!(post.store.lease(now, until, 10).await.unwrap(), [], "another mailer finds nothing to take");
    assert_eq!((sink.accepted(), post.store.ledger_counts().await.unwrap().repeated), (1, 0));
}

#[tokio::test]
async fn copies_without_an_answer_end_and_a_person_decides() {
    let sink = Sink::start().await;
    sink.script(Step::Dot, Fault::Drop, 4);
    let mut post = Post::start(&sink.url());
    post.enter(1..=1, &["recibido", "preparando"]).await;
    post.have_while_moving(MailStatus::Dead, 1, SECOND).await;
    assert_eq!(sink.mails().iter().filter(|mail| mail.header("X-Order-State") == Some("recibido")).count(), 3);
    assert!(post.dead().await[0].starts_with("handed over 3 times without an answer"), "{:?}", post.dead().await);
    post.have_while_moving(MailStatus::Sent, 1, SECOND).await; // the lane goes on
    post.redrive().await;
    post.have_while_moving(MailStatus::Sent, 2, SECOND).await;
}

#[tokio::test]
async fn a_driven_again_mail_has_its_attempts_again() {
    let sink = Sink::start().await;
    sink.script(Step::Rcpt, Fault::Reply("450 4.2.1 mailbox busy"), u32::MAX);
    let mut post = Post::start(&sink.url());
    post.enter(1..=1, &["recibido"]).await;
    for again in 0..2 {
        let begun = post.clock.monotonic();
        post.have_while_moving(MailStatus::Dead, 1, Duration::from_mins(10)).await;
        assert!(
            post.clock.monotonic().saturating_sub(begun) >= Duration::from_hours(72),
            "not before its time: {again}"
        );
        post.redrive().await;
    }
}

#[tokio::test]
async fn nothing_is_given_up_before_a_few_attempts_however_old_it_is() {
    let sink = Sink::start().await;
    sink.script(Step::Rcpt, Fault::Reply("451 4.7.1 greylisted, come back"), 4);
    let mut post = Post::new(&sink.url());
    post.enter(1..=1, &["recibido"]).await;
    post.clock.advance(Duration::from_hours(30 * 24));
    post.run(mail::Options { deadline: SECOND, ..mail::Options::default() });
    post.have_while_moving(MailStatus::Sent, 1, SECOND).await;
    // filters refuse what is days old, so the date is that of the first attempt
    let date = post.clock.now().as_millis() / 1_000;
    let mails = sink.mails();
    let parsed = mail_parser::DateTime::parse_rfc822(mails[0].header("Date").unwrap()).unwrap().to_timestamp();
    assert!((0..3_600).contains(&(date - parsed)), "{:?}", mails[0].header("Date"));
}

#[tokio::test]
async fn a_session_that_failed_twice_is_closed() {
    let sink = Sink::start().await;
    let mut post = Post::start(&(sink.url() + "?connections=1"));
    post.enter(1..=1, &["recibido"]).await;
    post.have(MailStatus::Sent, 1).await;
    sink.script(Step::Dot, Fault::Reply("451 4.4.2 Timeout waiting for data from client."), 2);
    post.enter(2..=3, &["recibido"]).await;
    eventually("two refusals", async || if sink.faults_left() == 0 { Ok(()) } else { Err(String::new()) }).await;
    post.enter(4..=4, &["recibido"]).await;
    post.have_while_moving(MailStatus::Sent, 4, SECOND).await;
    assert_eq!((sink.connections(), sink.accepted()), (2, 4));
}
