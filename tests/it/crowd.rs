//! More connections than a listener takes, to the real process.

use std::io::ErrorKind;

use encargo::config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::harness::{eventually, process::Process};

const CONNECTIONS: u64 = 10_000;
/// What half of them have asked for, and may want more.
const ASKED: &[u8] = b"GET /none HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// Most memory for a connection that idles, without optimisation.
const BYTES_EACH: u64 = 64 << 10;

/// As many connections as are wanted and the system lets this process open, beside what other tests need.
fn possible() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("as far as it may be raised");
    CONNECTIONS.min(maximum.unwrap_or(u64::MAX) / 4 * 3)
}

fn is_open(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0; 512]) {
        Ok(count) => count > 0, // an answer that nobody has read
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_keep_no_customer_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(&folder.path().join("data"), &[]).await;
    let (count, before) = (possible(), server.memory());
    let most = config::load(None, &[]).unwrap().config.http.connections_max;
    for listener in ["intake", "tracking", "ops"] {
        let url = server.url(listener, "");
        let address = url.strip_prefix("http://").unwrap();
        let mut idle = Vec::new();
        for n in 0..count {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if n % 2 == 0 {
                stream.write_all(ASKED).await.expect("it is the newest, and stays");
            }
            idle.push(stream);
        }
        eventually("room", async || {
            let open = idle.iter().filter(|stream| is_open(stream)).count();
            if open <= most { Ok(()) } else { Err(format!("{open} connections are open")) }
        })
        .await;
        let grown = server.memory().saturating_sub(before);
        println!("{listener}: {count} connections of {CONNECTIONS}, {} KiB more", grown >> 10);
        assert!(grown < most as u64 * BYTES_EACH, "{grown} bytes more");

        let http = reqwest::Client::new();
        let order = json!({ "product": "1010", "email": "ana@example.org" });
        let placed = http.post(server.url("intake", "/orders")).json(&order).send().await.unwrap();
        assert_eq!(placed.status(), 202, "{listener}");
        let track = placed.json::<serde_json::Value>().await.unwrap()["track"].as_str().unwrap().to_owned();
        eventually("the order", async || match http.get(&track).send().await.map_err(|e| e.to_string())?.status() {
            status if status.is_success() => Ok(()),
            status => Err(status.to_string()),
        })
        .await;
        server.ready().await;
        drop(idle);
    }
    assert!(server.terminate().success());
}
