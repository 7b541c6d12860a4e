//! The server's limits, seen by clients that keep to no rule.

mod answers;
mod malformed;
mod places;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::ConnectInfo,
    routing::{get, post},
};
use encargo::web::{self, Limits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_mins(2);
const SHORT: Duration = Duration::from_millis(200);
const NEVER: Duration = Duration::from_hours(1);
/// More than the system's buffers of a few connections hold.
const LARGE: usize = 1 << 20;

struct Server {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<web::Result<()>>,
    gate: Arc<Semaphore>,
    /// One permit for each request that waits at the gate.
    entered: Arc<Semaphore>,
    /// How many large answers were made.
    large: Arc<AtomicUsize>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let entered = Arc::new(Semaphore::new(0));
        let large = Arc::new(AtomicUsize::new(0));
        let (wait, enter, answer) = (gate.clone(), entered.clone(), large.clone());
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
            .route("/peer", get(|ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>| async move { peer.to_string() }))
            .route(
                "/large",
                get(move || async move {
                    answer.fetch_add(1, Ordering::Relaxed);
                    "x".repeat(LARGE)
                }),
            )
            .route("/panic", get(|| async { panic!("a handler that panics") as &'static str }))
            .route(
                "/wait",
                get(move || async move {
                    enter.add_permits(1);
                    wait.acquire().await.unwrap().forget();
                    "waited"
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let task = tokio::spawn(web::serve(listener, web::with_fallbacks(router), limits, stop.clone()));
        Self { address, stop, task, gate, entered, large }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a new connection and reads all until the server closes it.
    async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut text)).await;
    read.expect("the server must close the connection").unwrap();
    text
}

/// Reads one answer, which must have a body of known text.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("an answer must come");
        text.push(byte.unwrap());
    }
    String::from_utf8(text).unwrap()
}

fn short() -> Limits {
    let (idle_timeout, header_timeout, request_timeout, drain_timeout) = (SHORT, SHORT, SHORT, SHORT);
    Limits { idle_timeout, header_timeout, request_timeout, drain_timeout, ..Limits::default() }
}

/// No limit of time that a test could meet.
fn patient() -> Limits {
    let (idle_timeout, header_timeout, request_timeout, drain_timeout) = (NEVER, NEVER, NEVER, NEVER);
    Limits { idle_timeout, header_timeout, request_timeout, drain_timeout, ..Limits::default() }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_WAIT: &str = "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n";
const GET_CLOSE: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn one_connection_serves_many_requests_also_pipelined() {
    let server = Server::start(Limits::default()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        read_until(&mut stream, "hello").await;
    }
    let text = server.raw(format!("{GET}{GET}{GET_CLOSE}")).await;
    assert_eq!(text.matches("200 OK").count(), 3, "{text}");
    let peer = server.raw("GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(peer.contains("127.0.0.1:"), "{peer}");
}

#[tokio::test]
async fn a_slow_body_is_a_408() {
    let server = Server::start(short()).await;
    let text = server.raw("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345").await;
    assert!(text.starts_with("HTTP/1.1 408") && text.contains("application/problem+json"), "{text}");
}

#[tokio::test]
async fn a_long_body_is_a_413_that_the_client_can_read() {
    let server = Server::start(Limits { body_bytes_max: 1_000, ..Limits::default() }).await;
    // more than the system's buffers hold: the client can only write it all if the server goes on reading
    let body = "x".repeat(7_000_000);
    let whole = server.raw(format!("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 7000000\r\n\r\n{body}")).await;
    assert!(whole.starts_with("HTTP/1.1 413") && whole.contains("1000 bytes"), "{whole}");
    let head = "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600));
    let chunked = server.raw(format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    // who asks before sending is answered before sending
    let expects = "POST /length HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000000\r\n\r\n";
    let expects = server.raw(expects).await;
    assert!(expects.starts_with("HTTP/1.1 413"), "{expects}");
    // and in pieces below the limit a body arrives whole
    let chunk = format!("{:x}\r\n{}\r\n", 300, "x".repeat(300));
    let mut stream = server.connect().await;
    stream.write_all(format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n").as_bytes()).await.unwrap();
    let fits = read_until(&mut stream, "900").await;
    assert!(fits.starts_with("HTTP/1.1 200"), "{fits}");
}

#[tokio::test]
async fn a_slow_handler_is_a_503() {
    let server = Server::start(short()).await;
    let text = server.raw("GET /wait HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("retry-after: 2"), "{text}");
}

#[tokio::test]
async fn too_many_requests_are_a_503_until_one_ends() {
    let server = Server::start(Limits { requests_max: 1, ..Limits::default() }).await;
    let mut first = server.connect().await;
    first.write_all(GET_WAIT.as_bytes()).await.unwrap();
    let refused = async {
        loop {
            let text = server.raw(GET_CLOSE).await;
            if text.starts_with("HTTP/1.1 503") {
                return text;
            }
        }
    };
    let refused = timeout(PATIENCE, refused).await.expect("the first request must be counted");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    server.gate.add_permits(1);
    read_until(&mut first, "waited").await;
    assert!(server.raw(GET_CLOSE).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let server = Server::start(Limits { requests_max: 1, ..Limits::default() }).await;
    assert_eq!(server.raw("GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await, "");
    assert!(server.raw(GET_CLOSE).await.ends_with("hello"));
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_waits_no_longer_than_stated_for_others() {
    let limits = Limits { drain_timeout: SHORT, request_timeout: Duration::from_hours(1), ..Limits::default() };
    let server = Server::start(limits).await;
    let mut idle = server.connect().await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    read_until(&mut idle, "hello").await;
    let mut busy = server.connect().await;
    busy.write_all(GET_WAIT.as_bytes()).await.unwrap();
    server.entered.acquire().await.unwrap().forget();
    server.stop.cancel();
    assert_eq!(read_all(&mut idle).await, "");
    timeout(PATIENCE, server.task).await.expect("the server must end").unwrap().unwrap();
}
