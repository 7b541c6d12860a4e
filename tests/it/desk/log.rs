//! The page of the log.

use encargo::{domain::wire, eventlog::NewRecord};
use reqwest::StatusCode;

use super::{BROWSER, page, page_with, placed};
use crate::harness::app::TestApp;

/// The link of that name.
fn link(html: &str, text: &str) -> Option<String> {
    let before = html.split_once(&format!(">{text}</a>"))?.0;
    let href = before.rsplit_once("href=\"")?.1.split('"').next()?;
    Some(href.replace("&amp;", "&").replace("&#x2f;", "/"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_leads_to_its_records_and_they_lead_back() {
    let app = TestApp::start().await;
    let (id, other) = (placed(&app).await, placed(&app).await);
    let html = page(&app, &format!("/orders/{id}")).await;
    let records = page(&app, &link(&html, "Its records in the log").unwrap()).await;
    let order = |id: u64| format!("href=\"/orders/{id}\"");
    assert!(records.contains(&order(id)) && !records.contains(&order(other)), "{records}");
    assert!(records.contains("***@example.org") && !records.contains("ana@"), "{records}");
    assert!(records.contains(&format!("Order {id} falls into partition ")), "{records}");
    let shown = page(&app, &link(&records, "Show the addresses").unwrap()).await;
    assert!(shown.contains("ana@example.org") && !shown.contains("***@"), "{shown}");
    let one = page(&app, &link(&records, "Link to this record").unwrap()).await;
    assert!(one.contains(&order(id)), "{one}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_its_readers_and_its_topics() {
    let app = TestApp::start().await;
    placed(&app).await;
    let (orders, states) = (&app.config.topics.orders, &app.config.topics.states);
    let html = page_with(&app, "/log", &format!("<code>{states}/0</code>")).await;
    for words in [
        "encargo-fulfilment",
        "encargo-tracking",
        &format!("<code>{orders}/0</code>"),
        "Offsets kept",
        "30\u{a0}d, and until everybody has read them",
        "<td data-l=\"Kept for\">for ever</td>",
        "<td class=\"n\" data-l=\"Size\">about ",
        "orders, as they come",
    ] {
        assert!(html.contains(words), "{words} is missing in {html}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_in_a_record_is_shown_as_text() {
    let app = TestApp::start().await;
    app.app().log().create(&encargo::eventlog::TopicSpec { name: "odd".into(), partitions: 2 }).unwrap();
    let record = |n: usize| NewRecord {
        topic: "odd".into(),
        partition: Some(1),
        key: Some(b"<b>rosa@example.org\0</b>".to_vec()),
        value: format!("<script>{n} leo@example.org</script>\u{202e}").into_bytes(),
        headers: wire::Headers::from_iter([("<i>x", b"\xff eva@example.org")]),
        at: app.clock.now(),
    };
    app.app().log().append((0..120).map(record).collect()).await.unwrap();
    let of_all = page(&app, "/log?topic=odd").await;
    assert!(of_all.contains("&lt;script&gt;119 ") && of_all.contains("The newest of all partitions"), "{of_all}");
    let newest = page(&app, "/log?topic=odd&partition=1").await;
    let texts = |html: &str| html.matches("&lt;script&gt;").count();
    assert_eq!((texts(&newest), newest.contains("&lt;script&gt;119 ")), (50, true), "{newest}");
    assert!(newest.contains("Offsets looked at: 70–119<"), "those that are shown: {newest}");
    assert!(page(&app, "/log?topic=odd&partition=1&at=119").await.contains("Offsets looked at: 119<"));
    assert!(!page(&app, "/log?topic=odd&partition=0").await.contains("Offsets looked at"), "there are none");
    for hidden in ["<script>1", "leo@", "rosa@", "eva@", "<b>rosa", "<i>x", "\u{202e}"] {
        assert!(!newest.contains(hidden), "{hidden} is shown");
    }
    let older = page(&app, &link(&newest, "Go on to older ones").unwrap()).await;
    let oldest = page(&app, &link(&older, "Go on to older ones").unwrap()).await;
    assert_eq!((texts(&older), texts(&oldest), link(&oldest, "Go on to older ones")), (50, 20, None));
    let first = page(&app, "/log?topic=odd&partition=1&at=0").await;
    assert!(first.contains("&lt;script&gt;0 ") && link(&first, "Go on to newer ones").is_some(), "{first}");
    let found = page(&app, "/log?topic=odd&partition=1&holds=%3E7+leo").await;
    assert_eq!(texts(&found), 1, "{found}");
    assert!(page(&app, "/log?topic=odd&at=yesterday").await.contains("Write an offset"));
    for path in ["/log?topic=none", "/log?topic=odd&partition=2"] {
        let answer = app.http.get(app.ops(path)).header("accept", BROWSER).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
