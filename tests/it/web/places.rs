//! Connections are held as long as they are of use, and by nobody for ever.

use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;

use super::*;

#[tokio::test]
async fn a_slow_head_is_a_408_and_an_idle_connection_is_closed_without_a_word() {
    let server = Server::start(Limits { idle_timeout: NEVER, ..short() }).await;
    for begun in ["G", "GET / HTTP/1.1\r\nhost:", "\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n"] {
        let answer = server.raw(begun).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("application/problem+json"), "{answer}");
    }
    let server = Server::start(Limits { idle_timeout: SHORT, ..patient() }).await;
    assert!(server.raw(GET).await.ends_with("hello"));
    assert_eq!(server.raw("").await, "");
    assert_eq!(server.raw("\r\n").await, "");
}

/// Balancers keep connections for a minute and take them for open.
#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_heads_and_requests() {
    let server = Server::start(Limits { idle_timeout: NEVER, ..short() }).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        read_until(&mut stream, "hello").await;
        assert!(timeout(SHORT * 2, stream.read_u8()).await.is_err(), "closed");
    }
}

#[tokio::test]
async fn a_connection_too_many_waits_while_none_is_idle() {
    let server = Server::start(Limits { connections_max: 1, ..patient() }).await;
    let mut first = server.connect().await;
    first.write_all(GET_WAIT.as_bytes()).await.unwrap();
    server.entered.acquire().await.unwrap().forget();
    let mut second = server.connect().await;
    second.write_all(GET_CLOSE.as_bytes()).await.unwrap();
    assert!(timeout(SHORT, second.read_u8()).await.is_err(), "served beyond the limit");
    server.gate.add_permits(1);
    read_until(&mut first, "waited").await; // and now it is idle, and makes room
    assert!(read_all(&mut second).await.ends_with("hello"));
    assert_eq!(read_all(&mut first).await, "");
}

#[tokio::test]
async fn the_connection_that_idles_longest_makes_room_and_no_other() {
    let server = Server::start(Limits { connections_max: 3, ..patient() }).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(server.connect().await);
    }
    // the order in which they idle is not the one in which they came
    for n in [1, 2, 0] {
        streams[n].write_all(GET.as_bytes()).await.unwrap();
        read_until(&mut streams[n], "hello").await;
    }
    for n in [1, 2] {
        let mut more = server.connect().await;
        more.write_all(GET_WAIT.as_bytes()).await.unwrap();
        server.entered.acquire().await.unwrap().forget();
        assert_eq!(read_all(&mut streams[n]).await, "");
        streams.push(more);
    }
    streams[0].write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut streams[0], "hello").await;
}

/// Sends requests for large answers and reads none.
async fn never_reads(server: &Server) -> TcpStream {
    let mut stream = server.connect().await;
    let many = "GET /large HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    let (head, rest) = many.split_at(20);
    stream.write_all(head.as_bytes()).await.unwrap();
    // in pieces that end within a request; all of it only if the server takes it
    let _ = timeout(SHORT, stream.write_all(rest.as_bytes())).await;
    stream
}

#[tokio::test]
async fn who_never_reads_is_let_go_and_answers_do_not_pile_up() {
    let server = Server::start(Limits { connections_max: 2, request_timeout: SHORT, ..patient() }).await;
    let held = [never_reads(&server).await, never_reads(&server).await];
    // answered only once one of them has gone
    assert!(server.raw(GET_CLOSE).await.ends_with("hello"));
    // one answer in memory and what the system's buffers hold, of 2,000 that were asked for
    let begun = server.large.load(Ordering::Relaxed);
    assert!(begun < 100, "{begun} answers for clients that read none");
    drop(held);
}
