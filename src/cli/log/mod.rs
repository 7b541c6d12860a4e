mod read;

use std::{collections::HashMap, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Settings,
    flags::LogFlag,
    open,
    output::{Out, Tone, explain, plain},
    table::{Cell, Table},
};
use crate::eventlog::{EventLog, GroupInfo, PartitionRange, TopicPartition};

/// `encargo log`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the topics with what each partition holds
    Topics(Flags),
    /// List the consumer groups with how far each is behind
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

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self {
            Self::Topics(flags) => topics(&*open::log(&settings.load(&flags.log.settings())?.config)?, flags.json)?,
            Self::Groups(flags) => groups(&*open::log(&settings.load(&flags.log.settings())?.config)?, flags.json)?,
            Self::Read(read) => read.run(settings).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn topics(log: &dyn EventLog, as_json: bool) -> Result<()> {
    let topics = log.topics()?;
    let mut out = Out::new();
    let mut table = Table::new(["TOPIC", ">PARTITION", ">START", ">END", ">RECORDS"]);
    for topic in &topics {
        for (partition, PartitionRange { start, end }) in topic.partitions.iter().copied().enumerate() {
            if as_json {
                out.json(&json!({ "topic": topic.name, "partition": partition, "start": start, "end": end }))?;
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

fn groups(log: &dyn EventLog, as_json: bool) -> Result<()> {
    // the groups first: a topic's end read later can only be further on, so that no lag is negative
    let groups = log.groups()?;
    let topics = log.topics()?;
    let mut ranges = HashMap::new();
    for topic in topics {
        for (partition, range) in topic.partitions.into_iter().enumerate() {
            ranges.insert(TopicPartition { topic: topic.name.clone(), partition: partition as u32 }, range);
        }
    }
    let mut out = Out::new();
    let mut table = Table::new(["GROUP", "TOPIC", ">PARTITION", ">NEXT", ">END", ">LAG"]);
    for group in &groups {
        add_group(&mut out, &mut table, group, &ranges, as_json)?;
    }
    table.print(&mut out)?;
    out.flush()?;
    if groups.is_empty() {
        explain("No consumer group has committed anything yet.");
    }
    Ok(())
}

fn add_group(
    out: &mut Out,
    table: &mut Table<6>,
    group: &GroupInfo,
    ranges: &HashMap<TopicPartition, PartitionRange>,
    as_json: bool,
) -> Result<()> {
    for (i, committed) in group.offsets.iter().enumerate() {
        let TopicPartition { topic, partition } = &committed.of;
        let end = ranges.get(&committed.of).map_or(committed.offset, |range| range.end);
        let lag = end.saturating_sub(committed.offset);
        if as_json {
            out.json(&json!({
                "group": group.name, "topic": topic, "partition": partition, "offset": committed.offset,
                "end": end, "lag": lag, "metadata": committed.metadata,
            }))?;
            continue;
        }
        let name = if i == 0 { plain(&group.name) } else { String::new() };
        table.row([
            name.into(),
            plain(topic).into(),
            u64::from(*partition).into(),
            committed.offset.into(),
            end.into(),
            Cell::from(lag).tone(if lag == 0 { Tone::Good } else { Tone::Busy }),
        ]);
    }
    Ok(())
}
