//! Whoever asks hears an answer, at once, in whatever form the request comes.

use tokio::io::AsyncWriteExt;

use super::*;

const POST: &str = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\nvalue=1";

/// What old clients and pipelines send after a body.
#[tokio::test]
async fn what_follows_a_request_does_not_withhold_its_answer() {
    let server = Server::start(patient()).await;
    for more in [
        "",
        "\r\n",
        "\r\n\r\n",
        "G",
        "GET / HTT",
        "\0\0\0",
        "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\nval",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(format!("{POST}{more}").as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "\r\n\r\n7").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{more:?}: {answer}");
    }
    // line ends between requests are no request
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(format!("\r\n{POST}\r\n").as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\n7").await;
    }
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_still_gets_its_answer() {
    let server = Server::start(patient()).await;
    let mut stream = server.connect().await;
    stream.write_all(GET_WAIT.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    server.entered.acquire().await.unwrap().forget();
    server.gate.add_permits(1);
    assert!(read_all(&mut stream).await.ends_with("waited"));
}

/// What is refused before it is whole, by a client that writes all before it reads: a reset would cost it the answer.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_goes_on_sending() {
    let server = Server::start(patient()).await;
    let body = "x".repeat(7_000_000);
    for (head, status) in [
        ("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 7000000\r\n\r\n", "413"),
        ("POST /length HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: 7000000\r\n\r\n", "415"),
        ("POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n", "400"),
        ("POST /length HTTP/1.1\r\ncontent-length: 7000000\r\n\r\n", "400"),
        ("this is not HTTP\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost: x\r\ncookie: ", "431"),
    ] {
        let answer = server.raw(format!("{head}{body}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head:?}: {answer}");
        assert!(answer.contains("application/problem+json") && answer.contains("connection: close"), "{answer}");
    }
}

/// Forms that proxies and clients of every age use.
#[tokio::test]
async fn every_form_that_the_standards_know_is_understood() {
    let server = Server::start(patient()).await;
    let close = "host: x\r\nconnection: close\r\n";
    for (request, status, end) in [
        (format!("HEAD / HTTP/1.1\r\n{close}\r\n"), "200", "\r\n\r\n"),
        (format!("HEAD /none HTTP/1.1\r\n{close}\r\n"), "404", "\r\n\r\n"),
        (format!("TRACE / HTTP/1.1\r\n{close}\r\n"), "405", "}"),
        (format!("OPTIONS * HTTP/1.1\r\n{close}\r\n"), "405", "}"),
        (format!("BREW / HTTP/1.1\r\n{close}\r\n"), "405", "}"),
        (format!("CONNECT x:80 HTTP/1.1\r\n{close}\r\n"), "501", "}"),
        (format!("GET http://shop.example/ HTTP/1.1\r\n{close}\r\n"), "200", "hello"),
        (format!("GET / HTTP/1.1\n{}\n", close.replace('\r', "")), "200", "hello"),
        (format!("GET / HTTP/1.1\r\n{close}connection: upgrade\r\nupgrade: h2c\r\n\r\n"), "200", "hello"),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "200", "hello"),
        ("POST /length HTTP/1.0\r\ncontent-length: 7\r\n\r\nvalue=1".to_owned(), "200", "7"),
        (format!("POST /length HTTP/1.1\r\n{close}content-length: 7, 7\r\n\r\nvalue=1"), "400", "}"),
        (
            format!("POST /length HTTP/1.1\r\n{close}transfer-encoding: chunked\r\n\r\n3;a=b;c=\"d\"\r\nval\r\n4 \r\nue=1\r\n0\r\nx-trailer: 1\r\n\r\n"),
            "200",
            "7",
        ),
        // the length does not count, and the connection has no other request (RFC 9112 §6.3)
        ("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n".to_owned(), "200", "1"),
    ] {
        let answer = server.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.") && answer[9..].starts_with(status), "{request}\n{answer}");
        assert!(answer.ends_with(end), "{request}\n{answer}");
    }
    let mut old = server.connect().await;
    for _ in 0..2 {
        old.write_all(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
        let answer = read_until(&mut old, "hello").await;
        assert!(answer.contains("connection: keep-alive"), "{answer}");
    }
    let mut careful = server.connect().await;
    careful
        .write_all(b"POST /length HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_until(&mut careful, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    careful.write_all(b"ab").await.unwrap();
    assert!(read_until(&mut careful, "\r\n\r\n2").await.starts_with("HTTP/1.1 200"));
}
