//! A thousand requests that are wrong in some way: each is answered or closed, and the server goes on.

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::{BoxedStrategy, ValueTree},
    test_runner::TestRunner,
};
use tokio::task::JoinSet;

use super::*;

const COUNT: usize = 1_000;
/// At a time: each may last as long as a time-out.
const TOGETHER: usize = 50;

const HEAD: &str = "POST /length HTTP/1.1\r\nhost: x\r\n";
/// Of each: where a byte is changed, put in or taken out.
const GOOD: [&str; 4] = [
    "GET / HTTP/1.1\r\nhost: x\r\naccept: */*\r\n\r\n",
    "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\nvalue=1",
    "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nval\r\n4\r\nue=1\r\n0\r\n\r\n",
    "GET http://x/ HTTP/1.0\r\nconnection: keep-alive\r\nexpect: 100-continue\r\n\r\n",
];
/// No answer but a refusal is right.
const BAD: [&str; 34] = [
    "\0",
    "\x16\x03\x01\x02\0\x01\0\x01\u{7f}\x03\x03",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET\r\n\r\n",
    "GET /\r\n\r\n",
    "GET / HTTP/0.9\r\nhost: x\r\n\r\n",
    "GET / HTTP/2.0\r\nhost: x\r\n\r\n",
    "GET / HTTP/1.11\r\nhost: x\r\n\r\n",
    "GET / http/1.1\r\nhost: x\r\n\r\n",
    "G@T / HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET  / HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET a HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: x, y\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: \r\n\r\n",
    "GET / HTTP/1.1\r\nhost : x\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: x\rcookie: y\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: x\r\ncookie: a\0b\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: x\r\n: y\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: x\r\nexpect: a-pony\r\n\r\n",
    "GET ftp://x/ HTTP/1.1\r\nhost: x\r\n\r\n",
    "CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    "POST /length HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
    "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\na",
    "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
    "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /length HTTP/1.1\r\nhost: x\r\ncontent-encoding: br\r\ncontent-length: 1\r\n\r\na",
];
const BAD_CHUNKS: [&str; 9] = [
    "\r\n",
    "g\r\n",
    "-1\r\na\r\n",
    "0x1\r\na\r\n",
    "1\r\nab\r\n",
    "1\ra\r\n",
    "ffffffffffffffffff\r\na",
    "1;\n\r\na\r\n",
    "0\r\nno trailer\0\r\n\r\n",
];

/// A good request with a few bytes changed, which may be good still.
fn changed() -> BoxedStrategy<Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 1..4);
    let change = |(good, changes): (&str, Vec<(prop::sample::Index, u8, u8)>)| {
        let mut bytes = good.as_bytes().to_vec();
        for (at, how, byte) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    };
    (select(&GOOD[..]), changes).prop_map(change).boxed()
}

fn wrong() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let surely = |bad: BoxedStrategy<Vec<u8>>| bad.prop_map(|bytes| (bytes, true));
    let chunks = select(&BAD_CHUNKS[..])
        .prop_map(|chunk| format!("{HEAD}transfer-encoding: chunked\r\n\r\n3\r\nval\r\n{chunk}").into_bytes());
    let long = (33_000..80_000_usize, select(&["/", "x: ", "x"][..])).prop_map(|(length, what)| {
        let long = what.repeat(length / what.len());
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n{long}", if what == "/" { &*long } else { "" }).into_bytes()
    });
    let lines = (101..900_usize)
        .prop_map(|n| format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(n)).into_bytes());
    let cut = (select(&GOOD[..]), any::<prop::sample::Index>())
        .prop_map(|(good, at)| good.as_bytes()[..=at.index(good.len() - 1)].to_vec());
    prop_oneof![
        4 => surely(select(&BAD[..]).prop_map(|bad| bad.as_bytes().to_vec()).boxed()),
        1 => surely(chunks.boxed()),
        1 => surely(long.boxed()),
        1 => surely(lines.boxed()),
        1 => surely(cut.boxed()),
        2 => vec(any::<u8>(), 1..300).prop_map(|bytes| (bytes, false)),
        4 => changed().prop_map(|bytes| (bytes, false)),
    ]
}

/// Sends all and reads until the server closes, whichever way.
async fn outcome(address: std::net::SocketAddr, bytes: Vec<u8>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let exchange = async {
        let _ = stream.write_all(&bytes).await;
        let mut piece = [0; 4_096];
        while let Ok(n @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..n]);
        }
    };
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("neither answered nor closed: {shown:?}"));
    answer
}

/// A refusal, as a problem such as the standard has it.
fn is_refusal(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let status = head.get(9..12).unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    ["4", "5"].iter().any(|class| status.starts_with(class))
        && head.contains("application/problem+json")
        && head.contains("date: ")
        && problem["status"].as_u64() == status.parse().ok()
}

#[tokio::test]
async fn a_thousand_malformed_requests_are_answered_or_closed() {
    let server = Server::start(Limits { connections_max: TOGETHER, ..short() }).await;
    let mut runner = TestRunner::deterministic();
    let wrong = wrong();
    let mut asking = JoinSet::new();
    for n in 0..COUNT {
        // each of those that are surely bad, and then as they come
        let (bytes, is_bad) = match BAD.get(n) {
            Some(bad) => (bad.as_bytes().to_vec(), true),
            None => wrong.new_tree(&mut runner).unwrap().current(),
        };
        let address = server.address;
        asking.spawn(async move { (outcome(address, bytes.clone()).await, bytes, is_bad) });
        if asking.len() < TOGETHER && n + 1 < COUNT {
            continue;
        }
        while let Some(done) = asking.join_next().await {
            let (answer, bytes, is_bad) = done.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
            assert!(!is_bad || is_refusal(&answer), "{shown:?} was answered {answer:?}");
        }
    }
    assert!(server.raw(GET_CLOSE).await.ends_with("hello"));
}
