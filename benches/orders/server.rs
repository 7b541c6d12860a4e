//! The real binary as a child process, and what can be read off it from outside.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub struct Server {
    child: Child,
    pub intake: SocketAddr,
    pub ops: SocketAddr,
    pub ready_after: Duration,
}

impl Server {
    /// Starts `encargo up` on free ports and waits until it is ready.
    pub async fn start(data: &Path, arguments: &[&str]) -> Self {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_encargo"))
            .args(["up", "--json", "--data"])
            .arg(data)
            .args(["--intake-listen", "127.0.0.1:0", "--tracking-listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
            .args(arguments)
            // each client of the benches orders for one address
            .env("ENCARGO_INTAKE_RATE_PER_ADDRESS", "off")
            .env("ENCARGO_LOGGING_LEVEL", std::env::var("ENCARGO_LOGGING_LEVEL").unwrap_or_else(|_| "warn".into()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it prints its addresses");
        let addresses: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        let address = |name: &str| addresses[name].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let server = Self { intake: address("intake"), ops: address("ops"), child, ready_after: started.elapsed() };
        while !server.get("/readyz").await.starts_with("HTTP/1.1 200") {
            assert!(started.elapsed() < Duration::from_mins(1), "not ready after 60 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { ready_after: started.elapsed(), ..server }
    }

    /// Ends it the hard way.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Resident memory in MB, and CPU seconds so far.
    pub fn usage(&self) -> (f64, f64) {
        let id = self.child.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        let kilobytes: f64 = rss.trim().trim_end_matches(" kB").parse().expect("a number");
        (kilobytes / 1024.0, cpu(id))
    }

    pub async fn metrics(&self) -> Metrics {
        Metrics(self.get("/metrics").await)
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = self.ask(path, "*/*").await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("it answers");
        text
    }

    async fn ask(&self, path: &str, accept: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.ops).await.expect("the ops listener listens");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        stream
    }

    /// Follows the desk's first page, as a browser does that has it open, until the server ends.
    pub async fn follow_desk(&self) {
        let mut stream = self.ask("/", "text/event-stream").await;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.expect("it answers");
        assert_eq!(&start, b"HTTP/1.1 200", "the desk can be followed");
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
        });
    }
}

/// CPU seconds of a process so far, with those of its children that have ended.
fn cpu(id: u32) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return 0.0 };
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name in brackets").1.split(' ').collect();
    let ticks: f64 = fields[11..15].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum();
    ticks / 100.0
}

/// Another program that works for the orders, such as a broker: a name and the id of its first process.
pub struct Companion {
    pub name: String,
    id: u32,
}

impl Companion {
    /// All that `--beside NAME=PID,…` names.
    pub fn all(text: &str) -> Vec<Self> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, id)| Self { name: name.to_owned(), id: id.parse().expect("a process id") }).collect()
    }

    /// CPU seconds so far, of its children too: PostgreSQL has a process for each connection.
    pub fn cpu(&self) -> f64 {
        let lists = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.id)).unwrap_or_default();
        let children = lists.split_whitespace().filter_map(|id| id.parse().ok());
        cpu(self.id) + children.map(cpu).sum::<f64>()
    }
}

/// A scrape.
pub struct Metrics(String);

impl Metrics {
    /// The value of a sample, given as it is written: `name{label="value"}`.
    pub fn value(&self, sample: &str) -> f64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }

    /// The smallest bucket bound that holds the share `q` of a histogram's samples since `earlier`.
    pub fn quantile_since(&self, earlier: &Self, name: &str, q: f64) -> f64 {
        let buckets = |metrics: &Self| -> Vec<(f64, f64)> {
            let prefix = format!("{name}_bucket{{le=\"");
            let parse = |line: &str| {
                let (bound, count) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
                Some((bound, count.trim().parse().ok()?))
            };
            metrics.0.lines().filter_map(parse).collect()
        };
        let before = buckets(earlier);
        let now: Vec<(f64, f64)> = buckets(self)
            .into_iter()
            .map(|(bound, count)| (bound, count - before.iter().find(|(b, _)| *b == bound).map_or(0.0, |(_, c)| *c)))
            .collect();
        let total = now.last().map_or(0.0, |(_, count)| *count);
        now.iter().find(|(_, count)| *count >= total * q).map_or(0.0, |(bound, _)| *bound)
    }
}
