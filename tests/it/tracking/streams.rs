//! The changes of an order as a stream, and clients that follow it well and badly.

use encargo::domain::Flow;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::*;
use crate::harness::{
    PATIENCE,
    stream::{Stream, last_id},
};

async fn follow(url: &str, seen: Option<&str>) -> Stream {
    let request = reqwest::Client::new().get(format!("{url}/events"));
    Stream::open(if let Some(seen) = seen { request.header("last-event-id", seen) } else { request }).await
}

#[tokio::test]
async fn changes_come_as_events_and_whoever_comes_back_hears_only_what_is_new() {
    let app = TestApp::start().await;
    let (id, url) = placed(&app).await;
    app.mails(1).await;
    let mut stream = follow(&url, None).await;
    stream.until("\"mail\":\"sent\"").await;
    app.advance_to(id, "preparando", DWELL).await;
    let came = stream.until("\"seq\":2").await;
    assert!(came.contains("event: change\n") && !came.contains("example.org"), "{came}");
    let seen = last_id(&(came + &stream.until("\"estado\":\"preparando\",\"change\":\"entered\"").await)).to_owned();
    drop(stream);
    app.advance_to(id, "entregando", DWELL).await;
    app.advance_to(id, "finalizado", DWELL).await;
    app.mails(4).await;
    // of what was missed, only how it stands now
    let rest = follow(&url, Some(&seen)).await.rest().await;
    assert!(rest.contains("\"estado\":\"finalizado\"") && rest.ends_with("event: end\ndata: \n\n"), "{rest}");
    assert!(!rest.contains("\"seq\":3,\"finished\""), "{rest}");
    let none = follow(&url, Some(last_id(&rest))).await.rest().await;
    assert!(!none.contains("event: change"), "{none}");
}

#[tokio::test]
async fn open_streams_end_at_a_stop_and_are_bounded() {
    let mut app = TestApp::start_with(&[("http.connections_max", "8")]).await;
    let (_, url) = placed(&app).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        let mut stream = follow(&url, None).await;
        stream.until("event: change").await;
        streams.push(stream);
    }
    let refused = reqwest::get(format!("{url}/events")).await.unwrap();
    assert_eq!((refused.status(), header(&refused, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    streams.pop();
    eventually("a place", async || {
        let status = reqwest::get(format!("{url}/events")).await.map_err(|e| e.to_string())?.status();
        if status == StatusCode::OK { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    app.stop().await;
    for stream in streams {
        stream.rest().await;
    }
}

/// Opens the stream of an order, reads that it is one, and never reads again.
async fn never_reads(app: &TestApp, url: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(app.app().addresses.tracking.unwrap()).await.unwrap();
    let path = url.strip_prefix(&app.tracking("")).unwrap();
    stream.write_all(format!("GET {path}/events HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut status)).await.expect("an answer").unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn who_never_reads_a_stream_is_dropped_and_others_miss_nothing() {
    // the longest flow has the longest events, so that the system's buffers are full before the order has changed too often
    let between: Vec<_> = (2..Flow::STEPS_MAX).map(|n| format!("s{n}")).collect();
    let settings = [
        ("flow.states", format!("recibido,{},finalizado", between.join(","))),
        ("http.connections_max", "8".to_owned()),
        ("http.request_timeout", "20s".to_owned()),
        ("http.command_wait", "9s".to_owned()),
        ("mail.url", "none:".to_owned()),
    ];
    let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let app = TestApp::start_with(&settings).await;
    let placed = app.place("1010", "cliente@example.org").await;
    let id = placed["orderid"].as_u64().unwrap();
    app.in_state(id, "recibido").await;
    let url = app.tracking(&format!("/track/{}", placed["handle"].as_str().unwrap()));
    let mut reader = follow(&url, None).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(never_reads(&app, &url).await);
    }
    let another = async || reqwest::get(format!("{url}/events")).await.unwrap();
    assert_eq!(another().await.status(), StatusCode::SERVICE_UNAVAILABLE, "six may follow orders, and do");

    let (mut seq, mut came, mut others) = (1, String::new(), Vec::new());
    while others.len() < held.len() {
        let answer = another().await;
        if answer.status() == StatusCode::OK {
            others.push(answer); // in the place of somebody who was dropped
            continue;
        }
        for verb in ["hold", "resume"] {
            let changed = app.http.post(app.tracking(&format!("/orders/{id}/{verb}"))).send().await.unwrap();
            assert_eq!(changed.status(), StatusCode::OK, "{seq}: {:?}", changed.text().await);
        }
        app.clock.advance(DWELL);
        seq += 3;
        came = reader.until(&format!("\"seq\":{seq},")).await;
    }
    println!("{seq} events, the last of {} bytes, until those who read none were dropped", came.len());
    for mut stream in held {
        let mut rest = Vec::new();
        let ends = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ends.is_ok(), "the server closes the connection");
        let rest = String::from_utf8_lossy(&rest);
        assert!(!rest.contains(&format!("\"seq\":{seq},")), "nobody keeps what they do not read");
    }
}
