//! Pages that stay as they are: by server-sent events.

use encargo::domain::Lang;
use reqwest::StatusCode;

use super::{BROWSER, page_in, placed};
use crate::harness::{
    app::TestApp,
    eventually,
    stream::{Stream, last_id},
};

async fn follow(app: &TestApp, path: &str) -> Stream {
    Stream::open(app.http.get(app.ops(path)).header("accept-language", "en")).await
}

/// The pages in what a stream has said.
fn pages(came: &str) -> Vec<String> {
    let data = came.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty());
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_comes_again_when_it_has_become_another_one() {
    let app = TestApp::start().await;
    // orders in no state: nothing on the page changes but the numbers of others
    let path = "/orders?state=none";
    let mut stream = follow(&app, path).await;
    let came = stream.until("\n\nid: ").await + &stream.until("\n\n").await;
    let (first, id) = (pages(&came)[0].clone(), last_id(&came).to_owned());
    let clock = |html: &str| {
        let (before, rest) = html.split_once("<span id=\"clock\"").expect("a clock");
        (before.to_owned(), rest.split_once("</span>").expect("its end").1.to_owned())
    };
    assert_eq!(clock(&first.replace("&#x2f;", "/")), clock(&page_in(&app, path, Lang::En).await), "the page as it is");
    drop(stream);
    let request = app.http.get(app.ops(path)).header("accept-language", "en").header("last-event-id", &id);
    let mut stream = Stream::open(request).await;
    placed(&app).await;
    let came = stream.until("id: ").await + &stream.until("\n\n").await;
    assert!(pages(&came)[0].contains("<span class=\"n\">1</span>"), "what was seen does not come again: {came}");
    assert!(!came.contains(&id));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_the_desk_end_at_a_stop_and_are_bounded() {
    let mut app = TestApp::start_with(&[("http.connections_max", "8")]).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        let mut stream = follow(&app, "/").await;
        stream.until("event: change").await;
        streams.push(stream);
    }
    let ask = async || app.http.get(app.ops("/")).header("accept", "text/event-stream").send().await.unwrap();
    let refused = ask().await;
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
    );
    streams.pop();
    eventually("a place", async || {
        let status = ask().await.status();
        if status == StatusCode::OK { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    app.stop().await;
    for stream in streams {
        stream.rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_page_to_follow_is_answered_as_ever() {
    let app = TestApp::start().await;
    for (path, status, kind) in [
        ("/failures", StatusCode::OK, "text/html; charset=utf-8"),
        ("/orders/7", StatusCode::NOT_FOUND, "application/problem+json"),
        ("/ledger?format=json", StatusCode::OK, "application/json"),
        ("/livez", StatusCode::OK, "text/plain; charset=utf-8"),
    ] {
        let answer = app.http.get(app.ops(path)).header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!((answer.status(), answer.headers()["content-type"].to_str().unwrap()), (status, kind), "{path}");
    }
    let page = app.http.get(app.ops("/")).header("accept", BROWSER).send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    // a stream is for whom the page is: a page of another site is not among them
    let foreign =
        app.http.get(app.ops("/")).header("accept", "text/event-stream").header("sec-fetch-site", "cross-site");
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let elsewhere =
        app.http.get(app.ops("/")).header("accept", "text/event-stream").header("x-forwarded-for", "192.0.2.1");
    assert_eq!(elsewhere.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}
