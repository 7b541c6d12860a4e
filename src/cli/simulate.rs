//! `encargo simulate demand`: what following demand costs, beside enough for the peak at all times.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Settings,
    document::{Document, Output},
    forecast::{read, special},
    plot::{Line, Plot},
    values::positive,
};
use crate::{
    app,
    demand::{Outcome, Policy, Scenario},
    forecast::{BUCKET, DAY, History, WEEK, shop::Shop},
    pages::format,
    role::Role,
    scale::{self, Rules},
    words::{fill, word},
};

/// Weeks that forecasts know of a made-up shop; as many as a store keeps.
const PAST_WEEKS: usize = 5;
/// Days of a plot: in more of them nobody could tell the policies apart.
const PLOT_DAYS: usize = 3;
/// Longest time that an instance may take to work, or the group to pause: beyond that nobody follows demand.
const START_MAX: Duration = Duration::from_hours(24);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Follow the orders of some weeks with instances that come and go, under several policies
    #[command(
        after_help = "Examples:\n  encargo simulate demand\n  encargo simulate demand --shop office --weeks 4 --html demand.html\n  \
                            encargo simulate demand --history orders.csv --capacity 450 --start 2min --price 0.04"
    )]
    Demand(Demand),
}

/// Flags of `encargo simulate demand`.
#[derive(Debug, Args)]
pub(super) struct Demand {
    /// Which made-up shop: meals (noon and evening, a sale, crowds), calm (the same without these), office, growing
    #[arg(long, value_name = "NAME", default_value = "meals", value_parser = shop)]
    shop: Shop,
    /// Follow real orders instead: a file of lines like 2026-01-31T12:00:00Z,17, two weeks of which are only the past
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shop", "peak", "seed"])]
    history: Option<PathBuf>,
    /// Special days, which forecasts then know: lines like 2026-11-27 3.5
    #[arg(long, value_name = "FILE")]
    special: Option<PathBuf>,
    /// How many weeks are followed
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=26))]
    weeks: u8,
    /// Orders per second of a made-up shop when it is busiest
    #[arg(long, value_name = "N", default_value = "1500", value_parser = positive)]
    peak: f64,
    /// The same seed gives the same orders
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Orders per second that one instance does [default: scale.fulfilment, or what is guessed]
    #[arg(long, value_name = "N", value_parser = positive)]
    capacity: Option<f64>,
    /// Most instances that can share the work
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    partitions: u32,
    /// How long it takes until an instance works [default: scale.start]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    start: Option<Duration>,
    /// How long the group pauses when an instance comes or goes
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// What an hour of an instance costs
    #[arg(long, value_name = "AMOUNT", default_value = "0.05", value_parser = positive)]
    price: f64,
    #[command(flatten)]
    output: Output,
}

/// What was tried, and how each policy did.
struct Trial<'a> {
    flags: &'a Demand,
    scenario: &'a Scenario<'a>,
    outcomes: [Outcome; Policy::ALL.len()],
}

fn shop(name: &str) -> Result<Shop, String> {
    Shop::named(name).ok_or_else(|| format!("must be {}", Shop::ALL.map(Shop::name).join(", ")))
}

impl Command {
    pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
        let Self::Demand(demand) = self;
        demand.run(settings)
    }
}

impl Demand {
    fn run(self, settings: &Settings) -> Result<ExitCode> {
        let config = settings.load(&[])?.config;
        for (flag, value) in [("start", self.start.unwrap_or_default()), ("pause", self.pause)] {
            if value > START_MAX {
                bail!("--{flag} must be 24h at most");
            }
        }
        let set = app::scaling(&config);
        let known = scale::Scaler::new(Role::Fulfilment, &set).capacity().0;
        let (history, from) = self.past()?;
        let special = special(self.special.as_ref(), &config.mail.time_zone.0)?;
        let rules = Rules { start: self.start.unwrap_or(set.rules.start), pause: self.pause, ..set.rules };
        let scenario = Scenario {
            history: &history,
            from,
            special: &special,
            capacity: self.capacity.unwrap_or(known),
            partitions: self.partitions,
            rules,
            backlog_max: config.intake.backlog_max as f64,
        };
        let mut outcomes = Vec::new();
        for policy in Policy::ALL {
            outcomes.push(scenario.run(policy)?);
        }
        let outcomes = outcomes.try_into().expect("one of each policy");
        let trial = Trial { flags: &self, scenario: &scenario, outcomes };
        self.output.show(&trial.json(), &trial.document())?;
        Ok(ExitCode::SUCCESS)
    }

    /// The orders, and from where on they are followed.
    fn past(&self) -> Result<(History, usize)> {
        let weeks = usize::from(self.weeks);
        let Some(path) = &self.history else {
            return Ok((self.shop.orders(PAST_WEEKS + weeks, self.peak, self.seed), PAST_WEEKS * WEEK));
        };
        let history = read(path)?;
        let days = history.len() / DAY;
        if history.len() < 3 * WEEK {
            bail!(
                "{} has the orders of {days} days: three weeks are needed, two of which forecasts learn from",
                path.display()
            );
        }
        let from = history.len().saturating_sub(weeks * WEEK).max(2 * WEEK);
        Ok((history, from))
    }
}

/// What following demand costs, for programs.
#[derive(Serialize)]
struct TrialJson<'a> {
    orders: f64,
    /// What one instance does.
    capacity_per_s: f64,
    policies: Vec<PolicyJson<'a>>,
}

/// What came of a policy.
#[derive(Serialize)]
struct PolicyJson<'a> {
    policy: &'static str,
    instance_hours: f64,
    /// These at the price that was given.
    cost: f64,
    /// The hours as a part of those that fixed instances take.
    of_fixed: f64,
    /// Which part of the orders waited for more than a second.
    late_share: f64,
    refused: f64,
    /// Most orders that waited.
    backlog_max: f64,
    /// How often instances came or went.
    changes: u32,
    instances_by_five_minutes: &'a [u32],
}

impl Trial<'_> {
    fn of(&self, policy: Policy) -> &Outcome {
        &self.outcomes[policy as usize]
    }

    fn rows(&self) -> impl Iterator<Item = (Policy, &Outcome)> {
        Policy::ALL.into_iter().zip(&self.outcomes)
    }

    /// Whether as many as there may be carry the peak: if not, every policy is late, whatever it foresees.
    fn is_enough(&self) -> bool {
        let fixed = self.of(Policy::Fixed);
        fixed.late < 1.0 && fixed.refused < 1.0
    }

    /// The hours of a policy as a part of those that fixed instances take.
    fn part(&self, outcome: &Outcome) -> f64 {
        outcome.instance_hours / self.of(Policy::Fixed).instance_hours.max(f64::MIN_POSITIVE)
    }

    fn json(&self) -> TrialJson<'_> {
        let policy = |(policy, outcome)| self.policy_json(policy, outcome);
        TrialJson {
            orders: self.of(Policy::Fixed).orders,
            capacity_per_s: self.scenario.capacity,
            policies: self.rows().map(policy).collect(),
        }
    }

    fn policy_json<'a>(&self, policy: Policy, outcome: &'a Outcome) -> PolicyJson<'a> {
        PolicyJson {
            policy: policy.name(),
            instance_hours: outcome.instance_hours,
            cost: outcome.instance_hours * self.flags.price,
            of_fixed: self.part(outcome),
            late_share: outcome.late / outcome.orders.max(1.0),
            refused: outcome.refused,
            backlog_max: outcome.backlog_max,
            changes: outcome.changes,
            instances_by_five_minutes: &outcome.instances,
        }
    }

    fn document(&self) -> Document {
        let (lang, both) = (self.flags.output.lang, self.of(Policy::Both));
        let saved = format!("{:.0} %", (1.0 - self.part(both)) * 100.0);
        let most = [("m", self.flags.partitions.to_string())];
        let title = if self.is_enough() { ("sd_title", [("s", saved)]) } else { ("sd_short_title", most.clone()) };
        let title = fill(word(lang, title.0), &title.1).into_owned();
        let mut document = Document::new(lang, title, self.is_enough());
        let Scenario { history, from, capacity, rules, .. } = self.scenario;
        let number = |n: f64| format::number(lang, n.round() as u64);
        let places = [
            ("n", number(both.orders)),
            ("d", ((history.len() - from) / DAY).to_string()),
            ("c", number(*capacity)),
            ("s", format::duration(rules.start)),
            ("p", format::duration(rules.pause)),
            ("m", self.flags.partitions.to_string()),
        ];
        document.say("sd_scene", &places);
        let row = |(policy, outcome): (Policy, &Outcome)| {
            vec![
                document.word(name(policy)).to_owned(),
                number(outcome.instance_hours),
                number(outcome.instance_hours * self.flags.price),
                format!("{:.0} %", self.part(outcome) * 100.0),
                format!("{} %", format::decimal(lang, outcome.late / outcome.orders.max(1.0) * 100.0, 3)),
                number(outcome.backlog_max),
                number(outcome.refused),
                number(outcome.changes.into()),
            ]
        };
        let rows = self.rows().map(row).collect();
        document.table(
            &["sd_policy", "sd_hours", "sd_cost", "sd_part", "sd_late", "sd_backlog", "sd_refused", "sd_changes"],
            rows,
        );
        if self.is_enough() {
            document.say("sd_fixed_note", &[]);
            document.say("sd_both_note", &[]);
        } else {
            document.say("sd_short_note", &most);
        }
        document.say("sd_oracle_note", &[]);
        self.plots(&mut document);
        document
    }

    /// The last days.
    fn plots(&self, document: &mut Document) {
        let Scenario { history, .. } = self.scenario;
        let day = |index: usize| index as f64 / DAY as f64;
        let last = |len: usize| len.saturating_sub(PLOT_DAYS * DAY)..len;
        let orders = last(history.len())
            .zip(0..)
            .map(|(bucket, index)| (day(index), history.orders()[bucket] / BUCKET.as_secs_f64()));
        let orders = Line { name: document.word("sd_orders").to_owned(), points: orders.collect() };
        let line = |policy: Policy, key: &str| {
            let instances = &self.of(policy).instances;
            let points = last(instances.len()).zip(0..).map(|(at, index)| (day(index), f64::from(instances[at])));
            Line { name: document.word(key).to_owned(), points: points.collect() }
        };
        let followed = vec![
            line(Policy::Fixed, "sd_line_fixed"),
            line(Policy::Reactive, "sd_line_reactive"),
            line(Policy::Both, "sd_line_both"),
        ];
        for (title, lines) in [("sd_plot_orders", vec![orders]), ("sd_plot_instances", followed)] {
            let (title, x) = (document.word(title).to_owned(), document.word("sd_days").to_owned());
            document.plot(Plot { finding: title.clone(), title, x, lines, ..Plot::default() });
        }
    }
}

/// The key of a policy's name.
fn name(policy: Policy) -> &'static str {
    ["sd_fixed", "sd_reactive", "sd_forecast", "sd_both", "sd_oracle"][policy as usize]
}
