//! The real mailer over the embedded store, against a scripted SMTP server and a Maildir, on a clock that tests drive.

use std::{collections::HashMap, sync::Arc, time::Duration};

use encargo::{
    clock::Clock,
    domain::{DeadLetter, EmailAddress, Flow, Lang, Order, OrderId, Product, Source, StateEvent, Timestamp},
    eventlog::TopicPartition,
    mail::{self, Composer, Deps, Mailer, Metrics},
    store::{
        DeadLetters, Handover, Ledger, Mails, Orders,
        ledger::MailStatus,
        orders::{Advance, Batch, Incoming},
        sqlite::{Options, SqliteStore},
    },
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod chunks;
mod connecting;
mod drives;
mod injection;
mod kill;
mod outage;
mod post;
mod postfix;
mod refusals;
mod replies;
mod tls;

use post::{Post, SHORT, composer, options};

use crate::harness::{
    eventually, free_ports,
    smtp::{Fault, Setup, Sink, Step},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn every_state_arrives_once_and_in_order() {
    for sink in [Sink::start().await, Sink::plain().await] {
        let mut post = Post::start(&sink.url());
        post.enter(1..=50, &Flow::STATES).await;
        post.have(MailStatus::Sent, 200).await;
        let mut by_order: HashMap<String, Vec<String>> = HashMap::new();
        for mail in sink.mails() {
            let header = |name| mail.header(name).unwrap().to_owned();
            assert_eq!(
                (&*mail.from, mail.to.clone()),
                ("pedidos@shop.example", format!("c{}@example.org", header("X-Order-Id")))
            );
            by_order.entry(header("X-Order-Id")).or_default().push(header("X-Order-State"));
        }
        assert_eq!(by_order.len(), 50);
        assert!(by_order.values().all(|states| *states == Flow::STATES), "{by_order:?}");
        assert!(sink.connections() <= 16, "connections are used again: {}", sink.connections());
        post.stop().await;
        assert_eq!(post.metrics.in_flight.get(), 0);
    }
}

#[tokio::test]
async fn a_mail_leaves_in_two_packets() {
    let sink = Sink::start().await;
    let mut post = Post::start(&(sink.url() + "?connections=1"));
    post.enter(1..=20, &["recibido"]).await;
    post.have(MailStatus::Sent, 20).await;
    // EHLO, and for each mail the envelope, then body and dot; a large body may be read in two pieces
    assert!(sink.packets() <= 1 + 20 * 3, "{} packets", sink.packets());
}

#[tokio::test]
async fn after_three_refusals_for_now_it_arrives_once() {
    for step in [Step::Mail, Step::Rcpt, Step::Data, Step::Dot] {
        let sink = Sink::start().await;
        sink.script(step, Fault::Reply("451 4.3.0 later <c1@example.org>"), 3);
        let mut post = Post::start(&sink.url());
        post.enter(1..=1, &["recibido", "preparando"]).await;
        post.have_while_moving(MailStatus::Sent, 2, SECOND).await;
        let states: Vec<_> = sink.mails().iter().map(|mail| mail.header("X-Order-State").unwrap().to_owned()).collect();
        assert_eq!(states, ["recibido", "preparando"], "{step:?}");
        assert_eq!((post.metrics.retried.get(), post.metrics.repeated.get()), (3, 0));
        assert_eq!(post.store.ledger_counts().await.unwrap().repeated, 0);
    }
}

#[tokio::test]
async fn a_refusal_for_good_waits_while_nobody_was_taken_and_costs_no_connection() {
    for step in [Step::Rcpt, Step::Data, Step::Dot] {
        let sink = Sink::start().await;
        sink.script(step, Fault::Reply("550 5.7.1 <c1@example.org> not wanted"), 1);
        let mut post = Post::start(&(sink.url() + "?connections=1"));
        post.enter(1..=1, &["recibido", "preparando"]).await;
        let reason = eventually("a mail that waits", async || {
            let waiting = post.store.mails_waiting(9).await.unwrap();
            waiting.iter().find_map(|mail| mail.reply.clone()).ok_or_else(|| format!("{waiting:?}"))
        })
        .await;
        assert!(reason.contains("550 5.7.1 <c***@example.org> not wanted"), "{step:?}: {reason}");
        post.have_while_moving(MailStatus::Sent, 2, SECOND).await;
        assert_eq!((sink.connections(), post.dead().await.len()), (1, 0), "{step:?}");
        assert_eq!(sink.mails()[0].header("X-Order-State"), Some("recibido"));
    }
}

#[tokio::test]
async fn a_server_that_wants_a_mail_without_recipient_gets_none() {
    let sink = Sink::start().await;
    sink.script(Step::Rcpt, Fault::Reply("550 5.7.1 not wanted"), 1);
    sink.script(Step::Data, Fault::Reply("354 go on all the same"), 1);
    let mut post = Post::start(&(sink.url() + "?connections=1"));
    post.enter(1..=1, &["recibido", "preparando"]).await;
    post.have_while_moving(MailStatus::Sent, 2, SECOND).await;
    assert_eq!((sink.accepted(), sink.connections(), post.metrics.dead.get()), (2, 2, 0));
}

#[tokio::test]
async fn a_lost_answer_after_the_dot_is_repeated_and_counted() {
    for fault in [Fault::Drop, Fault::Hang] {
        let sink = Sink::start().await;
        sink.script(Step::Dot, fault, 1);
        let mut post = Post::start_hasty(&sink.url());
        post.enter(1..=1, &["recibido"]).await;
        post.have_while_moving(MailStatus::Sent, 1, SECOND).await;
        let mails = sink.mails();
        assert_eq!(mails.len(), 2);
        assert_eq!(mails[0], mails[1], "the same bytes, so the same Message-ID");
        assert_eq!(mails[0].header("Message-ID"), Some("<1.1.d3@shop.example>"));
        assert_eq!(post.metrics.repeated.get(), 1);
        assert_eq!(post.store.ledger_counts().await.unwrap().repeated, 1);
    }
}

#[tokio::test]
async fn what_is_lost_before_the_dot_is_no_repeat() {
    for step in [Step::Connect, Step::Mail, Step::Rcpt, Step::Data] {
        for fault in [Fault::Drop, Fault::Hang] {
            let sink = Sink::start().await;
            sink.script(step, fault.clone(), 1);
            let mut post = Post::start_hasty(&sink.url());
            post.enter(1..=1, &["recibido"]).await;
            post.have_while_moving(MailStatus::Sent, 1, SECOND).await;
            assert_eq!((sink.mails().len(), sink.faults_left()), (1, 0), "{step:?} {fault:?}");
            assert_eq!(post.store.ledger_counts().await.unwrap().repeated, 0);
        }
    }
}

#[tokio::test]
async fn a_connection_that_ended_while_idle_costs_no_attempt() {
    let sink = Sink::start().await;
    let mut post = Post::start(&sink.url());
    post.enter(1..=1, &["recibido"]).await;
    post.have(MailStatus::Sent, 1).await;
    for fault in [Fault::Drop, Fault::Reply("421 4.4.2 idle for too long")] {
        sink.script(Step::Mail, fault, 1);
        let sent = post.count(MailStatus::Sent).await;
        post.enter(sent + 1..=sent + 1, &["recibido"]).await;
        post.have(MailStatus::Sent, sent + 1).await;
    }
    assert_eq!((post.metrics.retried.get(), sink.faults_left()), (0, 0));
}

#[tokio::test]
async fn an_outage_costs_few_attempts_and_ends_by_itself() {
    let sink = Sink::start().await;
    let (addr, url) = (sink.addr, sink.url());
    drop(sink);
    let mut post = Post::start(&url);
    post.enter(1..=500, &["recibido"]).await;
    eventually("a pause", async || if post.metrics.paused.get() == 1 { Ok(()) } else { Err("none".into()) }).await;
    eventually("ten minutes of outage", async || {
        post.clock.advance(SECOND);
        let passed = post.clock.monotonic();
        if passed > Duration::from_mins(10) { Ok(()) } else { Err(format!("{passed:?}")) }
    })
    .await;
    let attempts = post.metrics.retried.get();
    // at most one lease of 256 before the pause is noticed, and then one probe a pause
    assert!((2..=512 + 60).contains(&attempts), "{attempts} attempts in ten minutes");
    assert_eq!(post.count(MailStatus::Sent).await + post.count(MailStatus::Dead).await, 0);

    let sink = Sink::on(addr, Setup::default()).await.unwrap();
    post.have_while_moving(MailStatus::Sent, 500, SECOND).await;
    assert_eq!((sink.accepted(), post.metrics.paused.get()), (500, 0));
    assert!(sink.connections() <= 16, "no herd of connections: {}", sink.connections());
}

#[tokio::test]
async fn a_server_that_is_busy_is_left_alone() {
    let sink = Sink::start().await;
    sink.script(Step::Connect, Fault::Reply("421 4.3.2 too busy"), 5);
    let mut post = Post::start(&sink.url());
    post.enter(1..=100, &["recibido"]).await;
    eventually("the first mail", async || match sink.accepted() {
        0 => {
            post.clock.advance(SECOND);
            Err(String::new())
        }
        _ => Ok(()),
    })
    .await;
    assert!(sink.connections() <= 5 + 4, "{} connections", sink.connections());
    post.have_while_moving(MailStatus::Sent, 100, SECOND).await;
    assert_eq!(sink.accepted(), 100);
}

#[tokio::test]
async fn after_the_deadline_the_last_reason_is_kept() {
    let sink = Sink::start().await;
    sink.script(Step::Rcpt, Fault::Reply("450 4.2.1 mailbox busy"), u32::MAX);
    let mut post = Post::start(&sink.url());
    post.enter(1..=1, &["recibido"]).await;
    post.have_while_moving(MailStatus::Dead, 1, Duration::from_mins(10)).await;
    let reason = &post.store.dead(None, 10).await.unwrap()[0].reason;
    assert!(reason.starts_with("given up after") && reason.contains("450 4.2.1 mailbox busy"), "{reason}");
    assert!(post.clock.monotonic() >= Duration::from_hours(72), "not before its time");
}

#[tokio::test]
async fn what_a_crash_leaves_in_the_air_is_sent_again_as_a_repeat() {
    let sink = Sink::start().await;
    sink.script(Step::Dot, Fault::Hang, 1);
    let mut post = Post::new(&sink.url());
    post.run(mail::Options::default());
    post.enter(1..=1, &["recibido", "preparando"]).await;
    eventually("the mail at the server", async || if sink.accepted() == 1 { Ok(()) } else { Err(String::new()) }).await;
    post.crash().await;
    post.run(mail::Options::default());
    post.have(MailStatus::Sent, 2).await;
    let ids: Vec<_> = sink.mails().iter().map(|mail| mail.header("Message-ID").unwrap().to_owned()).collect();
    assert_eq!(ids, ["<1.1.d3@shop.example>", "<1.1.d3@shop.example>", "<1.2.d3@shop.example>"]);
    assert_eq!((post.metrics.repeated.get(), post.store.ledger_counts().await.unwrap().repeated), (1, 1));
}

#[tokio::test]
async fn an_orderly_stop_leaves_nothing_ambiguous() {
    let sink = Sink::start().await;
    let mut post = Post::start(&(sink.url() + "?connections=1"));
    post.enter(1..=300, &["recibido"]).await;
    eventually("the first mails", async || if sink.accepted() > 3 { Ok(()) } else { Err(String::new()) }).await;
    post.stop().await;
    assert_eq!(post.count(MailStatus::Sending).await, 0);
    assert_eq!(post.count(MailStatus::Sent).await, sink.accepted());
    assert_eq!(post.metrics.in_flight.get(), 0);
    post.run(mail::Options::default());
    post.have(MailStatus::Sent, 300).await;
    assert_eq!((sink.accepted(), post.store.ledger_counts().await.unwrap().repeated), (300, 0));
}

#[tokio::test]
async fn a_redelivery_to_the_maildir_is_one_file() {
    let mut post = Post::maildir();
    post.run(mail::Options::default());
    post.enter(1..=300, &Flow::STATES).await;
    post.have(MailStatus::Sent, 1_200).await;
    post.stop().await;
    let new = post.folder.path().join("mail/new");
    let files = || new.read_dir().unwrap().count();
    assert_eq!(files(), 1_200);

    // as a crash leaves it: leased, the file there, nothing settled
    post.enter(301..=301, &["recibido"]).await;
    let (now, until) = (post.clock.now(), post.clock.now() + SECOND);
    assert_eq!(post.store.lease(now, until, 10).await.unwrap().len(), 1);
    let name = format!("{}.O301S1.d3.shop.example", now.as_millis() / 1_000);
    std::fs::write(new.join(&name), "half a ma").unwrap();
    post.run(mail::Options::default());
    post.have(MailStatus::Sent, 1_201).await;
    assert_eq!(files(), 1_201);
    let file = std::fs::read_to_string(new.join(name)).unwrap();
    assert!(file.contains("Message-ID: <301.1.d3@shop.example>"), "{file}");
}

#[tokio::test]
async fn the_check_says_what_is_fine_and_what_is_not() {
    let check = async |url: &str| {
        mail::check(options(), &url.parse().unwrap(), None, SHORT, &crate::harness::real_clock()).await
    };
    let sink = Sink::start().await;
    let report = check(&sink.url()).await;
    assert_eq!(
        report.fine,
        [
            "8 states in 2 languages render".to_owned(),
            format!("{} answers, in clear text, offers pipelining and non-ASCII addresses", sink.addr)
        ]
    );
    assert!(report.problems.is_empty(), "{report:?}");
    let url = sink.url();
    drop(sink);
    let report = check(&url).await;
    assert!(report.problems.len() == 1 && report.problems[0].contains("cannot connect to 127.0.0.1"), "{report:?}");
    assert_eq!(check("maildir:/dev/null/x").await.problems.len(), 1);
}
