//! The page of the capacity.

use std::time::Duration;

use encargo::domain::Lang;

use super::{page, page_in, page_with, placed};
use crate::harness::app::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn the_load_of_the_last_day_is_what_was_placed_in_it() {
    let app = TestApp::start().await;
    let empty = page(&app, "/capacity").await;
    assert!(empty.contains("0 now, 0 at most") && !empty.contains("class=\"cp\""), "{empty}");
    // a day ago and half a day ago, to the minute
    assert!(empty.contains(">16:00</time>") && empty.contains(">04:00</time>"), "{empty}");
    for _ in 0..3 {
        placed(&app).await;
    }
    app.clock.advance(Duration::from_mins(1));
    let html = page_with(&app, "/capacity", "3 now, 3 at most").await;
    for words in ["<b class=\"big n\">3</b> per minute", "<dt>In the last day</dt><dd>3</dd>", "busiest minute · 3"] {
        assert!(html.contains(words), "{words} is missing in {html}");
    }
    app.clock.advance(Duration::from_hours(23));
    page_with(&app, "/capacity", "0 now, 3 at most").await;
    app.clock.advance(Duration::from_hours(1));
    page_with(&app, "/capacity", "0 now, 0 at most").await;
    let week = page(&app, "/capacity?over=week").await;
    for words in ["over the last week: 0 now, 3 at most", "busiest minute of 1\u{a0}h", "aria-current=\"true\">A week"]
    {
        assert!(week.contains(words), "{words} is missing in {week}");
    }
    assert!(page(&app, "/capacity?over=all").await.contains("<dt>In the last five weeks</dt><dd>3</dd>"));
    app.clock.advance(Duration::from_hours(24 * 6));
    page_with(&app, "/capacity?over=week", "0 now, 0 at most").await;
    page_with(&app, "/capacity?over=all", "0 now, 3 at most").await;
    app.clock.advance(Duration::from_hours(24 * 28));
    page_with(&app, "/capacity?over=all", "0 now, 0 at most").await;
    page_with(&app, "/capacity?over=x", "over the last day").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_come_is_told_once_two_weeks_are_known() {
    let app = TestApp::start().await;
    let new = page_with(&app, "/capacity", "There are orders of 0 whole days").await;
    assert!(new.contains("14 are needed") && !new.contains("id=\"plan\""), "{new}");
    page_with(&app, "/capacity", "nothing comes, and nothing waits").await;
    placed(&app).await;
    app.clock.advance(Duration::from_hours(24));
    let one = page_with(&app, "/capacity", "There are orders of one whole day").await;
    assert!(one.contains("id=\"wanted\""), "{one}");
    app.clock.advance(Duration::from_hours(24 * 13));
    let html = page_with(&app, "/capacity", "Tried ").await;
    for words in [
        "on 14 days of orders",
        "Orders per minute: 0.0 now",
        "one does intake 300/s, fulfilment 300/s, tracking 1,000/s, mail 200/s",
        "aria-label=\"Orders per minute: ",
        "id=\"wanted\"",
    ] {
        assert!(html.contains(words), "{words} is missing in {html}");
    }
    assert_eq!(html.matches("data-l=\"What to do\"").count(), 12, "{html}");
    // what was computed is good for five minutes, however often it is shown
    let computed = |html: &str| html.split("Computed at ").nth(1).map(|rest| rest[..80].to_owned()).unwrap();
    let first = computed(&html);
    app.clock.advance(Duration::from_secs(299));
    assert_eq!(computed(&page(&app, "/capacity").await), first);
    app.clock.advance(Duration::from_secs(1));
    assert_ne!(computed(&page(&app, "/capacity").await), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_is_told_as_far_as_it_is_known() {
    let app = TestApp::start_with(&[("intake.backlog_max", "1234")]).await;
    let html = page_with(&app, "/capacity", "Nothing is at its limit").await;
    for words in
        ["With more than 1,234, no new orders", "nothing in the last 10 min", "one process reads it", "not measured"]
    {
        assert!(html.contains(words), "{words} is missing in {html}");
    }
    let spanish = page_in(&app, "/capacity", Lang::Es).await;
    for words in [
        "<html lang=\"es\">",
        "Nada está al límite",
        "Con más de 1234 no se aceptan",
        "aria-current=\"page\">Capacidad",
    ] {
        assert!(spanish.contains(words), "{words} is missing in {spanish}");
    }
    let app = TestApp::start_with(&[("intake.backlog_of", "")]).await;
    page_with(&app, "/capacity", "orders are taken without a bound").await;
}
