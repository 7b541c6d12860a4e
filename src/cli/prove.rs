use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::{
    interrupt::{interrupted, unless},
    output::{Out, StatusLine, explain},
    values::writable,
};
use crate::{domain::Lang, env::Random, prove::Trial};

/// `encargo prove`.
#[derive(Debug, Args)]
#[command(
    after_help = "It starts a system of its own in a temporary folder, and ends it. Exit status: 0 all promises were kept, 1 one was \
                        broken, 2 it could not be tried, or its page not be written.\n\n\
                        Examples:\n  encargo prove\n  encargo prove --orders 2000 --rate 100 --smtp fine\n  \
                        encargo prove --html certificate.html --lang en\n  sudo encargo prove --disk-full\n  \
                        encargo prove --log kafka://k1:9092 --store postgres://encargo@db/empty --broker-restart 'systemctl restart kafka'"
)]
pub(super) struct Prove {
    /// Orders that are placed
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    orders: u64,
    /// Orders a second
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How long an order stays in each state
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    dwell: Duration,
    /// When the system is killed with kill -9, and started again
    #[arg(long, value_name = "WHEN", default_value = "random")]
    kill: Kill,
    /// How often, in a trial with kills
    #[arg(long, value_name = "N", default_value_t = 10)]
    kills: u32,
    /// What the mail server is like
    #[arg(long, value_name = "HOW", default_value = "flaky")]
    smtp: Smtp,
    /// Fill the disk twice for two seconds; as root on a small one in memory, else --folder must lie on one
    #[arg(long)]
    disk_full: bool,
    /// Restart the broker twice by this shell command, which returns once it serves again
    #[arg(long, value_name = "COMMAND", requires = "log")]
    broker_restart: Option<String>,
    /// What chance is made of; the same seed tries the same things [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A Kafka cluster for the trial alone: kafka://HOST:PORT,… [default: SQLite]
    #[arg(long, value_name = "URL", requires = "store")]
    log: Option<String>,
    /// An empty database for the trial alone: postgres://… [default: SQLite]
    #[arg(long, value_name = "URL", requires = "log")]
    store: Option<String>,
    /// Copies of each partition, on Kafka
    #[arg(long, value_name = "N", default_value_t = 3, requires = "log")]
    replication: u32,
    /// Where the temporary folder is made
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Longest wait for the end of it all, once no more orders come
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Print the certificate as one line of JSON
    #[arg(long)]
    json: bool,
    /// Write the certificate as one HTML page, too
    #[arg(long, value_name = "FILE", value_parser = writable)]
    html: Option<PathBuf>,
    /// The language of the certificate: es or en
    #[arg(long, value_name = "LANG", default_value = "en")]
    lang: Lang,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kill {
    /// At moments that the seed chooses
    Random,
    /// Not at all
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Smtp {
    /// At one step of a mail in twenty it is busy, slow, garbled or gone
    Flaky,
    /// It takes everything
    Fine,
}

/// The share of the steps of a mail at which a flaky server does something wrong.
const FLAKY: f64 = 0.05;
/// The exit status of a trial that could not be made, or whose page could not be written.
const UNTRIED: u8 = 2;

impl Prove {
    pub(super) fn run(self) -> Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.tried()).or_else(|error| {
            explain(&format!("it could not be tried: {error:#}"));
            Ok(ExitCode::from(UNTRIED))
        })
    }

    async fn tried(self) -> Result<ExitCode> {
        let trial = self.trial()?;
        let certificate = {
            let status = StatusLine::new();
            unless(&interrupted()?, Box::pin(trial.run(|doing| status.show(doing)))).await?
        };
        let written = self.html.as_ref().map_or(Ok(()), |path| {
            let html = certificate.html(self.lang)?;
            std::fs::write(path, html).with_context(|| format!("cannot write {}", path.display()))
        });
        let mut out = Out::new();
        if self.json {
            out.json(&certificate)?;
        } else {
            out.raw(certificate.text(self.lang).as_bytes())?;
        }
        out.flush()?;
        if let Err(error) = &written {
            explain(&format!("error: {error:#}"));
        }
        Ok(match (certificate.kept, written) {
            (false, _) => ExitCode::FAILURE,
            (true, Err(_)) => ExitCode::from(UNTRIED),
            (true, Ok(())) => ExitCode::SUCCESS,
        })
    }

    fn trial(&self) -> Result<Trial> {
        let mut seed = [0; 4];
        Random::system().fill(&mut seed).context("there are no random numbers")?;
        let seed = self.seed.unwrap_or_else(|| u32::from_le_bytes(seed).into());
        Ok(Trial {
            program: std::env::current_exe().context("cannot find the program itself")?,
            orders: self.orders,
            rate: self.rate.into(),
            dwell: self.dwell,
            kills: if self.kill == Kill::Random { self.kills } else { 0 },
            smtp_trouble: if self.smtp == Smtp::Flaky { FLAKY } else { 0.0 },
            disk_full: self.disk_full,
            broker_restart: self.broker_restart.clone(),
            seed,
            log: self.log.clone(),
            store: self.store.clone(),
            replication: self.replication,
            folder: self.folder.clone().unwrap_or_else(std::env::temp_dir),
            patience: self.patience,
            command: self.command(seed),
        })
    }

    /// The command that tries the same again. Passwords in addresses are left out.
    fn command(&self, seed: u64) -> String {
        let dwell = humantime::format_duration(self.dwell);
        let kill = match self.kill {
            Kill::Random => format!("random --kills {}", self.kills),
            Kill::Never => "never".to_owned(),
        };
        let smtp = if self.smtp == Smtp::Flaky { "flaky" } else { "fine" };
        let is_wanted = [
            (self.disk_full, " --disk-full"),
            (self.log.is_some(), " --log kafka://… --store postgres://…"),
            (self.broker_restart.is_some(), " --broker-restart …"),
        ];
        let more: String = is_wanted.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, flags)| flags).collect();
        let (orders, rate) = (self.orders, self.rate);
        format!(
            "encargo prove --orders {orders} --rate {rate} --dwell {dwell} --kill {kill} --smtp {smtp}{more} --seed {seed}"
        )
    }
}
