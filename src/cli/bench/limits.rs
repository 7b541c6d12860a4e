//! What this machine can do at best, measured beside each run: figures mean something only as ratios to these.

use std::{
    io::{ErrorKind, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    bench::{
        load::{Customers, Load, Pace},
        sink::Sink,
        stats::Summary,
    },
    web,
};

/// Bytes of an order's record in the log, about.
const RECORD: usize = 320;
/// Bytes of one of our mails.
const MAIL: &str = "5700";
const SECOND: Duration = Duration::from_secs(1);
/// Connections at which the handler that does nothing is asked for as much as it can.
pub(super) const CONNECTIONS: usize = 64;

/// Limits of the machine; times in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Limits {
    /// The answer of a handler that does nothing, one request at a time.
    pub nothing_ms: Summary,
    /// Its answers per second at 64 connections.
    pub nothing_per_s: f64,
    /// Appending a record's bytes to a bare file, with fsync.
    pub fsync_ms: Summary,
    /// Mails per second of Postfix's `smtp-source` into the same server of ours, at four sessions; none where it is not installed.
    pub smtp_source_per_s: Option<f64>,
}

impl Limits {
    /// Takes some four seconds; writes into a folder for temporary files.
    pub(super) async fn measure() -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let stop = CancellationToken::new();
        let nothing = nothing(&stop).await?;
        let one = closed(nothing, 1).await;
        let many = closed(nothing, CONNECTIONS).await;
        stop.cancel();
        let file = folder.path().join("appended");
        let fsync_ms = tokio::task::spawn_blocking(move || fsyncs(&file)).await??;
        Ok(Self {
            nothing_ms: one.scaled(1e3),
            nothing_per_s: many.count as f64 / SECOND.as_secs_f64(),
            fsync_ms,
            smtp_source_per_s: smtp_source().await?,
        })
    }

    /// What an acknowledgement takes at least: an answer and an fsync, in milliseconds.
    pub(super) fn acknowledgement_ms(&self) -> f64 {
        self.nothing_ms.p50 + self.fsync_ms.p50
    }
}

/// The same HTTP server as ours, with a handler that does nothing.
async fn nothing(stop: &CancellationToken) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/orders", post(|_: Bytes| async { (StatusCode::ACCEPTED, r#"{"orderid":1}"#) }));
    tokio::spawn(web::serve(listener, router, web::Limits::default(), stop.clone()));
    Ok(address)
}

/// Seconds to the answers within a second.
async fn closed(to: SocketAddr, connections: usize) -> Summary {
    let customers = Customers { run: "limit".into(), products: vec!["1010".into()], unkeyed: 1 };
    let load = Load { connections, ..Load::new(vec![to], customers, Pace::For(SECOND)) };
    let outcome = load.run(Arc::default(), CancellationToken::new()).await;
    Summary::of(outcome.latencies())
}

fn fsyncs(path: &Path) -> Result<Summary> {
    let mut file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed() < SECOND {
        let each = Instant::now();
        file.write_all(&[b'x'; RECORD])?;
        file.sync_data()?;
        took.push(each.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Summary::of(took))
}

/// Mails per second; `None` where Postfix is not installed.
async fn smtp_source() -> Result<Option<f64>> {
    const MAILS: u32 = 4_000;
    let sink = Sink::counting().await;
    let mut command = Command::new("smtp-source");
    command.args(["-d", "-s", "4", "-m", &MAILS.to_string(), "-l", MAIL]);
    command.args(["-f", "pedidos@shop.example", "-t", "ana@example.org", &sink.addr.to_string()]);
    command.stdin(Stdio::null());
    let began = Instant::now();
    let ended = match tokio::task::spawn_blocking(move || command.output()).await? {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        ended => ended.context("cannot start smtp-source")?,
    };
    let seconds = began.elapsed().as_secs_f64();
    if !ended.status.success() {
        bail!("smtp-source ended with {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim());
    }
    Ok(Some(f64::from(MAILS) / seconds))
}
