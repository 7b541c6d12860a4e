use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::{
    cli::{
        Settings,
        flags::{LogFlag, MinInsyncFlag, PartitionsFlag, ReplicationFlag},
        output::explain,
    },
    config::LogUrl,
};

/// Numbers below the first one cost a record each, for a while.
const FIRST_ID_MAX: u64 = 10_000_000;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo log init --log kafka://localhost:9092 --dry-run\n  \
                        encargo log init --log kafka://localhost:9092 --partitions 12\n  \
                        encargo log init --log kafka://localhost:9092 --replication 1 --min-insync 1")]
pub(in crate::cli) struct Init {
    /// Only say what would be created and what differs
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON per topic
    #[arg(long)]
    json: bool,
    /// Let order numbers begin here, above those of an old service
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u64).range(1..=FIRST_ID_MAX))]
    first_id: Option<u64>,
    /// With --first-id: no intake runs, so none can still give lower numbers that it has taken already
    #[arg(long, requires = "first_id")]
    intake_stopped: bool,
    #[command(flatten)]
    log: LogFlag,
    #[command(flatten)]
    partitions: PartitionsFlag,
    #[command(flatten)]
    replication: ReplicationFlag,
    #[command(flatten)]
    min_insync: MinInsyncFlag,
}

impl Init {
    #[cfg_attr(not(feature = "kafka"), expect(clippy::unused_async, reason = "only Kafka is waited for"))]
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let flags =
            [self.log.setting(), self.partitions.setting(), self.replication.setting(), self.min_insync.setting()];
        let config = settings.load(&flags)?.config;
        match config.log_url() {
            LogUrl::Sqlite(path) => {
                explain(&format!("Nothing to do: `encargo up` makes the topics of sqlite:{} itself.", path.display()));
                Ok(ExitCode::SUCCESS)
            }
            #[cfg(feature = "kafka")]
            LogUrl::Kafka(brokers) => {
                let failed = on_kafka::init(&config, brokers.clone(), self.dry_run, self.json)?;
                if let (Some(first), false) = (self.first_id, self.dry_run || failed) {
                    on_kafka::begin_at(&config, brokers, first, self.intake_stopped).await?;
                }
                Ok(ExitCode::from(u8::from(failed)))
            }
            #[cfg(not(feature = "kafka"))]
            LogUrl::Kafka(_) => Err(crate::app::without_kafka()),
        }
    }
}

#[cfg(feature = "kafka")]
mod on_kafka {
    use std::collections::BTreeMap;

    use anyhow::{Context as _, Result, bail};
    use serde::Serialize;

    use crate::{
        app::kafka::{all_topics, connect, namesakes},
        cli::{
            migrate::survey::highest_id,
            output::{Out, Tone, count, explain, plain},
            table::{Cell, Table},
        },
        clock::Clock,
        config::Config,
        domain::wire::Headers,
        eventlog::{
            EventLog as _, NewRecord, TopicSpec,
            kafka::{Difference, KafkaLog},
        },
    };

    /// Order numbers used up at once.
    const BLOCK: u64 = 1_000;

    /// A topic, with how it differs from what is wanted.
    struct Topic {
        spec: TopicSpec,
        differences: Vec<Difference>,
    }

    /// A topic for programs.
    #[derive(Serialize)]
    struct TopicJson<'a> {
        topic: &'a str,
        /// `fits`, `missing`, `created`, `cannot be used`, `differs, works`.
        state: &'static str,
        /// Each setting as it should be, as brokers call it.
        wanted: BTreeMap<&'a str, &'a str>,
        /// Those that are otherwise.
        differs: BTreeMap<&'a str, DiffersJson<'a>>,
    }

    /// A setting of a topic that is not as it should be.
    #[derive(Serialize)]
    struct DiffersJson<'a> {
        found: &'a str,
        /// Whether Encargo cannot run like that.
        refuses: bool,
    }

    /// Returns whether a topic cannot be used.
    pub(super) fn init(config: &Config, brokers: String, dry_run: bool, as_json: bool) -> Result<bool> {
        let log = connect(config, brokers)?;
        let topics = compare(&log, all_topics(&log, config)?)?;
        let missing: Vec<&str> =
            topics.iter().filter(|topic| topic.is_missing()).map(|topic| topic.spec.name.as_str()).collect();
        let alike = namesakes(&log, config, &missing)?;
        for namesake in &alike {
            explain(&format!("Attention: {namesake}."));
        }
        let is_refused = !dry_run && !alike.is_empty();
        let dry_run = dry_run || is_refused;
        let (mut created, mut wrong) = (0, 0);
        for topic in &topics {
            if topic.is_missing() {
                created += 1;
                if !dry_run {
                    create(&log, &topic.spec, config)?;
                }
            } else if topic.differences.iter().any(|difference| difference.refuses) {
                wrong += 1;
            }
        }
        print(&topics, config, dry_run, as_json)?;
        tell_of_partitions(&topics, config);
        match (created, dry_run) {
            (0, _) => {}
            (_, true) => explain(&format!("Would create {}; nothing was changed.", count(created, "topic"))),
            (_, false) => explain(&format!("Created {}.", count(created, "topic"))),
        }
        if wrong > 0 {
            let text = "cannot be used as it is: give it another name (topics.*), or use the brokers' own tools";
            explain(&format!("{} {text}.", count(wrong, "topic")));
        }
        log.check_brokers_own()?;
        Ok(wrong > 0 || is_refused)
    }

    /// Uses up the order numbers below `first`: each is an offset of the ids topic. Refuses when that number, or a higher one,
    /// is in use, and when an intake could still give lower ones.
    pub(super) async fn begin_at(config: &Config, brokers: String, first: u64, intake_stopped: bool) -> Result<()> {
        let log = connect(config, brokers)?;
        let topic = &config.topics.ids;
        let used = log.lag("encargo-asking", &[topic])?.first().map_or(0, |lag| lag.end);
        let highest = highest_id(&log, config)?;
        refuse_used(topic, first, used, highest, intake_stopped)?;
        let record = NewRecord {
            topic: topic.clone(),
            partition: Some(0),
            key: None,
            value: Vec::new(),
            headers: Headers::default(),
            at: Clock::system().now(),
        };
        let mut left = (first - 1).saturating_sub(used);
        while left > 0 {
            let some = left.min(BLOCK);
            let places = log.append(vec![record.clone(); some as usize]).await?;
            let expected = first - 1 - left;
            if let Some((_, place)) = (expected..).zip(&places).find(|(offset, place)| *offset != place.offset) {
                bail!(
                    "an intake gave order numbers from {topic} meanwhile ({} is not free any more): stop every intake, then \
                     repeat this with --intake-stopped",
                    place.offset
                );
            }
            left -= some;
        }
        explain(&format!("The next order is number {first}."));
        Ok(())
    }

    fn refuse_used(topic: &str, first: u64, used: u64, highest: u64, intake_stopped: bool) -> Result<()> {
        if used >= first {
            bail!(
                "order numbers up to {used} were given from {topic} already, so {first} cannot be the first; the next order is \
                 number {}. Nothing was changed",
                used + 1
            );
        }
        if highest >= first {
            bail!(
                "order {highest} is in the topics already, and a second order under a number that is in use becomes a dead \
                 letter: stop the old intake and begin with --first-id {} or higher. Nothing was changed",
                highest + 1
            );
        }
        if used > 0 && first > used + 1 && !intake_stopped {
            bail!(
                "order numbers up to {used} were given from {topic}, so an intake may run and still hold numbers below {first}, \
                 which it would give: stop every intake, then repeat this with --intake-stopped. Nothing was changed"
            );
        }
        Ok(())
    }

    fn compare(log: &KafkaLog, wanted: Vec<TopicSpec>) -> Result<Vec<Topic>> {
        let all = log.differences(&wanted)?;
        let of = |spec: TopicSpec| {
            let differences = all.iter().filter(|difference| difference.topic == spec.name).cloned().collect();
            Topic { spec, differences }
        };
        Ok(wanted.into_iter().map(of).collect())
    }

    fn create(log: &KafkaLog, spec: &TopicSpec, config: &Config) -> Result<()> {
        log.create(spec).with_context(|| {
            format!(
                "cannot create {} with {} copies (log.replication, --replication: at most one for each broker)",
                spec.name, config.log.replication
            )
        })
    }

    fn print(topics: &[Topic], config: &Config, dry_run: bool, as_json: bool) -> Result<()> {
        let mut out = Out::new();
        let mut table =
            Table::new(["TOPIC", ">PARTITIONS", ">COPIES", ">MIN IN SYNC", ">RETENTION MS", "STATE"]).whole();
        for topic in topics {
            let (state, tone) = topic.state(dry_run);
            let values = topic.wanted(config);
            if as_json {
                let there = topic.differences.iter().filter(|difference| !difference.found.is_empty());
                out.json(&TopicJson {
                    topic: &topic.spec.name,
                    state,
                    wanted: values.iter().map(|(what, value)| (*what, &**value)).collect(),
                    differs: there
                        .map(|one| (&*one.what, DiffersJson { found: &one.found, refuses: one.refuses }))
                        .collect(),
                })?;
                continue;
            }
            let cells = values.map(|(what, wanted)| topic.cell(what, wanted));
            let [partitions, copies, in_sync, retention] = cells;
            let name = plain(&topic.spec.name).into();
            table.row([name, partitions, copies, in_sync, retention, Cell::from(state).tone(tone)]);
        }
        table.print(&mut out)?;
        out.flush()
    }

    /// Records are in the partitions already, so the settings do not change their number.
    fn tell_of_partitions(topics: &[Topic], config: &Config) {
        let there = topics.iter().find(|topic| topic.spec.name == config.topics.orders && !topic.is_missing());
        if let Some(Topic { spec, .. }) = there
            && spec.partitions != config.log.partitions
        {
            explain(&format!(
                "{} has {} already; log.partitions = {} is for topics that are created.",
                spec.name,
                count(u64::from(spec.partitions), "partition"),
                config.log.partitions
            ));
        }
    }

    impl Topic {
        fn is_missing(&self) -> bool {
            self.differences.iter().any(|difference| difference.found.is_empty())
        }

        fn state(&self, dry_run: bool) -> (&'static str, Tone) {
            match self.differences.as_slice() {
                [] => ("fits", Tone::Good),
                _ if self.is_missing() && dry_run => ("missing", Tone::Busy),
                _ if self.is_missing() => ("created", Tone::Good),
                all if all.iter().any(|difference| difference.refuses) => ("cannot be used", Tone::Bad),
                _ => ("differs, works", Tone::Plain),
            }
        }

        fn wanted(&self, config: &Config) -> [(&'static str, String); 4] {
            let is_kept = self.spec.name == config.topics.flows;
            let retention = i64::try_from(config.log.retention.as_millis()).ok().filter(|_| !is_kept).unwrap_or(-1);
            [
                ("partitions", self.spec.partitions.to_string()),
                ("replication", config.log.replication.to_string()),
                ("min.insync.replicas", config.log.min_insync.to_string()),
                ("retention.ms", retention.to_string()),
            ]
        }

        /// What is there, and beside it what is wanted where that is something else.
        fn cell(&self, what: &str, wanted: String) -> Cell {
            let difference = self.differences.iter().find(|difference| difference.what == what);
            difference.map_or(Cell::from(wanted), |one| {
                let tone = if one.refuses { Tone::Bad } else { Tone::Busy };
                Cell::from(format!("{} (wanted {})", one.found, one.wanted)).tone(tone)
            })
        }
    }
}
