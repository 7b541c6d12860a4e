mod accept;
#[cfg(feature = "kafka")]
mod check;
mod groups;
mod init;
mod read;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Settings,
    flags::LogFlag,
    open,
    output::{Out, explain, plain},
    table::Table,
};
use crate::{
    config::LogUrl,
    domain::Lang,
    eventlog::{EventLog, PartitionRange},
    role::Role,
};

/// `encargo log`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create the topics that are missing on Kafka, and show how the others differ from what is wanted
    Init(init::Init),
    /// Look for what is wrong with a Kafka cluster: topics, their settings, groups. Changes nothing. Ends with 0 when nothing was
    /// found, 3 when only risks were, 1 when something does not work
    #[command(after_help = "Examples:\n  encargo log check --log kafka://localhost:9092\n  \
                            encargo log check --role intake\n  \
                            encargo log check --lang es\n  encargo log check --json | jq -r .code")]
    Check(Check),
    /// Go on with an event log that is older than the store, or another one, when the right one is gone for good
    Accept(accept::Accept),
    /// List the topics with what each partition holds
    Topics(Flags),
    /// List the consumer groups with their members and how far each is behind
    Groups(Flags),
    /// Print the records of a topic
    #[command(after_help = "Examples:\n  encargo log read compra_detalle\n  \
                            encargo log read compra_confirmada --tail 5 --follow\n  \
                            encargo log read compra_detalle --partition 0 --from 100 --json | jq .value")]
    Read(read::Read),
}

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Print one line of JSON per partition
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: LogFlag,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print one line of JSON for each finding
    #[arg(long)]
    json: bool,
    /// Compare the brokers' clocks with this machine's, too, by a topic that is made for that and deleted again
    #[arg(long)]
    clocks: bool,
    /// Which role's rights the account must have: intake, fulfilment or tracking; all of them without it
    #[arg(long, value_name = "ROLE", value_parser = with_log)]
    role: Option<Role>,
    /// Language of what is found: es or en
    #[arg(long, value_name = "LANG", default_value = "en")]
    lang: Lang,
    #[command(flatten)]
    log: LogFlag,
}

/// A role that works with the event log.
fn with_log(name: &str) -> Result<Role, String> {
    let role = Role::named(name).ok_or("must be intake, fulfilment or tracking")?;
    if role.needs_log() { Ok(role) } else { Err(format!("{name} does nothing with the event log")) }
}

impl Check {
    fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&self.log.settings())?.config;
        match config.log_url() {
            LogUrl::Sqlite(path) => {
                explain(&format!("Nothing to check: sqlite:{} has no brokers.", path.display()));
                Ok(ExitCode::SUCCESS)
            }
            #[cfg(feature = "kafka")]
            LogUrl::Kafka(brokers) => check::check(&config, brokers, &self),
            #[cfg(not(feature = "kafka"))]
            LogUrl::Kafka(_) => Err(crate::app::without_kafka()),
        }
    }
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self {
            Self::Init(init) => return init.run(settings).await,
            Self::Check(check) => return check.run(settings),
            Self::Accept(accept) => accept.run(settings).await?,
            Self::Topics(flags) => topics(&*open::log(&settings.load(&flags.log.settings())?.config)?, flags.json)?,
            Self::Groups(flags) => {
                groups::print(&*open::log(&settings.load(&flags.log.settings())?.config)?, flags.json)?;
            }
            Self::Read(read) => read.run(settings).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A partition for programs.
#[derive(Serialize)]
struct PartitionJson<'a> {
    topic: &'a str,
    partition: usize,
    /// The first offset that is still there.
    start: u64,
    /// The offset of the next record.
    end: u64,
}

fn topics(log: &dyn EventLog, as_json: bool) -> Result<()> {
    let topics = log.topics()?;
    let mut out = Out::new();
    let mut table = Table::new(["TOPIC", ">PARTITION", ">START", ">END", ">RECORDS"]);
    for topic in &topics {
        for (partition, PartitionRange { start, end }) in topic.partitions.iter().copied().enumerate() {
            if as_json {
                out.json(&PartitionJson { topic: &topic.name, partition, start, end })?;
                continue;
            }
            let name = if partition == 0 { plain(&topic.name) } else { String::new() };
            table.row([name.into(), (partition as u64).into(), start.into(), end.into(), (end - start).into()]);
        }
    }
    table.print(&mut out)?;
    out.flush()?;
    if topics.is_empty() {
        explain("No topics yet.");
    }
    Ok(())
}
