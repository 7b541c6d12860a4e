//! `encargo bench sink`: the mail server of the load by itself, which writes down what comes.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::system::facts_only;
use crate::{bench::sink::Sink, cli::output::Out};

/// Between two looks at what came.
const PAUSE: Duration = Duration::from_millis(250);

/// Flags of `encargo bench sink`.
#[derive(Debug, Args)]
#[command(
    after_help = "It runs until it is told to stop, and prints first where it listens. What it writes, encargo-audit --mails reads.\n\n\
                  Example:\n  encargo bench sink --listen 127.0.0.1:1025 --mails mails.jsonl"
)]
pub(super) struct SinkFlags {
    /// Listen here; port 0: any that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write here of each mail of an order, as it arrives: a line of JSON with id, estado, message_id, to and at (milliseconds)
    #[arg(long, value_name = "FILE")]
    mails: PathBuf,
}

impl SinkFlags {
    pub(super) async fn run(self, stop: &CancellationToken) -> Result<ExitCode> {
        let cannot = || format!("cannot write {}", self.mails.display());
        let mut file = BufWriter::new(File::create(&self.mails).with_context(cannot)?);
        let sink = Sink::on(self.listen, facts_only()).await;
        let sink = sink.with_context(|| format!("--listen {}: cannot listen there", self.listen))?;
        let mut out = Out::new();
        out.raw(format!("{}\n", json!({ "smtp": sink.addr.to_string() })).as_bytes())?;
        out.flush()?;
        drop(out);
        let mut written = 0;
        loop {
            let is_last = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none();
            for (mail, at) in sink.noted(written) {
                let line = json!({
                    "id": mail.id, "estado": mail.estado, "message_id": mail.message_id, "to": mail.to, "at": at,
                });
                writeln!(file, "{line}").with_context(cannot)?;
                written += 1;
            }
            file.flush().with_context(cannot)?;
            if is_last {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}
