//! The mail server is away for two minutes under load, on a clock driven by hand.

use encargo::mail::RelayState;

use super::*;
use crate::harness::process::memory_of;

/// Orders per second: `ENCARGO_MAIL_OUTAGE_RATE` (50); when it is set, this test should run alone, and the memory of the
/// process is judged as well.
#[tokio::test(flavor = "multi_thread")]
async fn two_minutes_without_a_server_cost_nothing_and_end_gently() {
    let given = std::env::var("ENCARGO_MAIL_OUTAGE_RATE").ok();
    let rate: u64 = given.as_ref().map_or(50, |text| text.parse().expect("a number"));
    let sink = Sink::start().await;
    let (addr, url) = (sink.addr, sink.url());
    let mut post = Post::new(&url);
    let options = mail::Options { retry_min: SECOND, ..mail::Options::default() };
    let in_flight_max = options.in_flight_max as i64;
    post.run(options);
    post.enter(1..=rate, &["recibido"]).await;
    post.have(MailStatus::Sent, rate).await;
    drop(sink);

    let before = memory_of("self");
    let mut orders = rate;
    for second in 1..=120 {
        post.enter(orders + 1..=orders + rate, &["recibido"]).await;
        orders += rate;
        post.clock.advance(SECOND);
        tokio::task::yield_now().await;
        assert!(post.metrics.in_flight.get() <= in_flight_max, "after {second} s");
    }
    let grown = memory_of("self").saturating_sub(before) >> 20;
    let attempts = post.metrics.retried.get();
    assert!(matches!(post.state().state, RelayState::Paused { .. }), "{:?}", post.state());
    assert_eq!(post.count(MailStatus::Sent).await + post.count(MailStatus::Dead).await, rate);
    assert!(attempts <= 2 * 256 + 120, "{attempts} attempts in two minutes");
    assert!(given.is_none() || grown < 200, "{grown} MiB more");

    // it is back; connections are counted by the second of the driven clock
    let sink = Sink::on(addr, Setup::default()).await.unwrap();
    let (mut last, mut most) = (0, 0);
    eventually("everything sent", async || {
        let sent = post.count(MailStatus::Sent).await;
        if sent < rate + 10 {
            post.clock.advance(SECOND); // until a probe has shown that it is back
        } else {
            post.clock.advance(Duration::from_millis(5));
        }
        most = most.max(sink.connections() - last);
        last = sink.connections();
        if sent == orders {
            Ok(())
        } else {
            Err(format!("{sent} of {orders}, {} in flight, {:?}", post.metrics.in_flight.get(), post.state()))
        }
    })
    .await;
    println!(
        "{orders} orders, server away for 120 s at {rate}/s: {attempts} attempts, {grown} MiB more, {last} connections \
         after its return, at most {most} at once"
    );
    assert!(last <= 16 + orders / 1_000 + 1, "{last} connections: each takes 1,000 mails");
    assert_eq!((sink.accepted(), post.dead().await.len()), (orders - rate, 0));
    assert_eq!(post.store.ledger_counts().await.unwrap().repeated, 0);
}
