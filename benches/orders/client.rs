//! A load generator that costs little: raw HTTP/1.1 over kept connections, one request in flight on each.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// What a load run saw.
pub struct Outcome {
    pub accepted: u64,
    pub refused: u64,
    pub elapsed: Duration,
    /// Time to the answer in microseconds, of accepted requests.
    pub latency: Histogram<u64>,
}

impl Outcome {
    pub fn rate(&self) -> f64 {
        self.accepted as f64 / self.elapsed.as_secs_f64()
    }

    pub fn report(&self) {
        let (p50, p99) = (self.latency.value_at_quantile(0.5), self.latency.value_at_quantile(0.99));
        println!("client     {:.0} accepted/s, {} refused, p50 {p50} µs, p99 {p99} µs", self.rate(), self.refused);
    }
}

/// Sends requests on `connections` connections for `duration`; each connection waits for its answer before the next.
/// With `rate`, requests start on a common schedule of that many per second instead of at once.
pub async fn load(to: SocketAddr, connections: usize, duration: Duration, rate: Option<f64>) -> Outcome {
    let started = Instant::now();
    let ticket = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        tasks.spawn(connection(to, number as u64, started, duration, rate, ticket.clone()));
    }
    let empty = Histogram::new_with_bounds(1, 60_000_000, 3).expect("valid bounds");
    let mut outcome = Outcome { accepted: 0, refused: 0, elapsed: Duration::ZERO, latency: empty };
    while let Some(part) = tasks.join_next().await {
        let part: Outcome = part.expect("no panic in a connection");
        outcome.accepted += part.accepted;
        outcome.refused += part.refused;
        outcome.latency.add(&part.latency).expect("same bounds");
    }
    outcome.elapsed = started.elapsed();
    outcome
}

async fn connection(
    to: SocketAddr,
    number: u64,
    started: Instant,
    duration: Duration,
    rate: Option<f64>,
    ticket: Arc<AtomicU64>,
) -> Outcome {
    let latency = Histogram::new_with_bounds(1, 60_000_000, 3).expect("valid bounds");
    let mut outcome = Outcome { accepted: 0, refused: 0, elapsed: Duration::ZERO, latency };
    let mut stream = TcpStream::connect(to).await.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let body = format!(r#"{{"product":"1010","email":"c{number}@example.org"}}"#);
    let request = format!(
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = Vec::with_capacity(4096);
    loop {
        if let Some(rate) = rate {
            let place = ticket.fetch_add(1, Ordering::Relaxed) as f64;
            let due = started + Duration::from_secs_f64(place / rate);
            if due > started + duration {
                return outcome;
            }
            tokio::time::sleep_until(due.into()).await;
        } else if started.elapsed() >= duration {
            return outcome;
        }
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        match read_answer(&mut stream, &mut answer).await {
            200 | 202 => {
                outcome.accepted += 1;
                outcome.latency.saturating_record(sent.elapsed().as_micros() as u64);
            }
            429 | 503 => outcome.refused += 1,
            status => panic!("unexpected status {status}: {}", String::from_utf8_lossy(&answer)),
        }
    }
}

/// Reads one answer, which must have a Content-Length; returns its status.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> u16 {
    answer.clear();
    loop {
        let read = stream.read_buf(answer).await.expect("the server answers");
        assert!(read > 0, "the server closed: {}", String::from_utf8_lossy(answer));
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&answer[..head]).expect("headers are ASCII");
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
        });
        if answer.len() >= head + 4 + length.expect("answers have a Content-Length") {
            return text[9..12].parse().expect("a status");
        }
    }
}
