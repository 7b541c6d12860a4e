//! `encargo forecast`: how many orders will come, how many instances that takes, and when to start them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    Settings,
    document::{Document, Output},
    flags::StoreFlag,
    open,
    plot::{Line, Plot},
};
use crate::{
    app,
    clock::Clock,
    domain::{Lang, Timestamp},
    files,
    forecast::{self, BUCKET, History, InFlight, Model, PAST, Planned, Special, Start},
    pages::format,
    role::Role,
    scale,
};

/// No further than the profile of a week goes.
const NEXT_MAX: Duration = Duration::from_hours(24 * 7);
/// Buckets of an hour.
const HOUR: usize = 12;

/// Flags of `encargo forecast`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  encargo forecast\n  encargo forecast --next 6h --special days.txt --html forecast.html\n  \
                        encargo forecast --history orders.csv --json"
)]
pub(super) struct Forecast {
    /// How far ahead; a week at most
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    next: Duration,
    /// Take the past from a file of lines like 2026-01-31T12:00:00Z,17 [default: the store]
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Special days: lines of a date and how many times as many orders come, like 2026-11-27 3.5
    #[arg(long, value_name = "FILE")]
    special: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    store: StoreFlag,
}

/// What was found.
struct Found {
    lang: Lang,
    zone: TimeZone,
    forecast: forecast::Forecast,
    settings: scale::Settings,
    plan: Vec<Planned>,
    starts: Vec<Start>,
}

impl Forecast {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        if self.next < BUCKET || self.next > NEXT_MAX {
            bail!("--next must be between 5min and 7d");
        }
        let config = settings.load(&self.store.settings())?.config;
        let zone = config.mail.time_zone.0.clone();
        let special = special(self.special.as_ref(), &zone)?;
        let flow = config.flow()?;
        let (history, in_flight) = match &self.history {
            Some(path) => (read(path)?, None),
            None => {
                let (store, now) = (open::store(&config).await?, Clock::system().now());
                let in_flight = InFlight::new(&store.snapshot(now).await?.due, &flow, now);
                (History::of_minutes(&store.minutes(now - PAST).await?, now), Some(in_flight))
            }
        };
        let forecast = match forecast::Forecast::new(&history, &special) {
            Ok(forecast) => forecast,
            Err(short) => bail!("{short}\n  until then /scale goes by what comes and waits, without foresight"),
        };
        let settings = app::scaling(&config);
        let buckets = (self.next.as_secs() / BUCKET.as_secs()) as usize;
        let loads = app::loads(&config, &flow);
        let plan = forecast::plan(&forecast, buckets, &settings, &loads, in_flight.as_ref());
        let starts = forecast::starts(&plan, settings.rules.start + settings.rules.pause);
        let found = Found { lang: self.output.lang, zone, forecast, settings, plan, starts };
        self.output.show(&found.json(), &found.document())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Ten years by the minute are smaller.
const SIZE_MAX: u64 = 1 << 30;

/// A past from a file.
pub(super) fn read(path: &Path) -> Result<History> {
    let text = files::read_text(path, SIZE_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    History::of_csv(&text).with_context(|| format!("cannot use {}", path.display()))
}

/// Special days from a file, if there is one.
pub(super) fn special(path: Option<&PathBuf>, zone: &TimeZone) -> Result<Special> {
    let Some(path) = path else { return Ok(Special::none(zone.clone())) };
    let text = files::read_text(path, SIZE_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    Special::read(&text, zone.clone()).with_context(|| format!("cannot use {}", path.display()))
}

/// What will come, for programs.
#[derive(Serialize)]
struct ForecastJson {
    /// What the points count.
    unit: &'static str,
    /// The model that did best on the past.
    model: &'static str,
    error: ErrorJson,
    /// What an instance of each role does.
    capacity_per_s: BTreeMap<&'static str, f64>,
    points: Vec<PointJson>,
    /// When instances are to be started or stopped.
    starts: Vec<StartJson>,
}

/// How wrong each model was on the past, as a part of what came.
#[derive(Serialize)]
struct ErrorJson {
    naive: f64,
    profile: f64,
    /// From how many moments of the past it was tried.
    origins: usize,
}

/// What is expected in five minutes: at most so many in 10, 50, 90 and 99 of 100 cases.
#[derive(Serialize)]
struct PointJson {
    /// When they begin.
    at: Timestamp,
    p10: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    /// The instances of each role that this takes.
    instances: BTreeMap<&'static str, u32>,
}

impl From<&Planned> for PointJson {
    fn from(planned: &Planned) -> Self {
        let [p10, p50, p90, p99] = per_minute(planned).map(rounded);
        let instances = Role::ALL.map(|role| (role.name(), planned.instances[role as usize])).into();
        Self { at: planned.expected.at, p10, p50, p90, p99, instances }
    }
}

/// A change of the number of instances.
#[derive(Serialize)]
struct StartJson {
    at: Timestamp,
    role: &'static str,
    from: u32,
    to: u32,
}

impl Found {
    fn capacity(&self, role: Role) -> f64 {
        scale::Scaler::new(role, &self.settings).capacity().0
    }

    fn time(&self, at: Timestamp) -> String {
        let now = self.plan[0].expected.at;
        format::time(self.lang, &self.zone, now, at)
    }

    fn json(&self) -> ForecastJson {
        let tested = self.forecast.backtest();
        let [naive, profile] = [Model::Naive, Model::Profile].map(|model| tested.error(model));
        let start = |start: &Start| StartJson { at: start.at, role: start.role.name(), from: start.from, to: start.to };
        ForecastJson {
            unit: "orders per minute, over five minutes",
            model: tested.chosen().name(),
            error: ErrorJson { naive, profile, origins: tested.origins() },
            capacity_per_s: Role::ALL.map(|role| (role.name(), self.capacity(role))).into(),
            points: self.plan.iter().map(PointJson::from).collect(),
            starts: self.starts.iter().map(start).collect(),
        }
    }

    fn document(&self) -> Document {
        let lang = self.lang;
        let most = self
            .plan
            .iter()
            .max_by(|one, other| one.expected.p50.total_cmp(&other.expected.p50))
            .unwrap_or(&self.plan[0]);
        let places = [("n", whole(lang, per_minute(most)[1])), ("t", self.time(most.expected.at))];
        let title = crate::words::fill(crate::words::word(lang, "fc_title"), &places).into_owned();
        let mut document = Document::new(lang, title, true);
        let tested = self.forecast.backtest();
        let percent = |model| format!("{} %", format::decimal(lang, tested.error(model) * 100.0, 1));
        let places = [
            ("k", tested.origins().to_string()),
            ("m", document.word(model(tested.chosen())).to_owned()),
            ("e", percent(tested.chosen())),
            ("o", percent(Model::Naive)),
        ];
        document.say("fc_error", &places);
        let capacity =
            |role: Role| format!("{} {}/s", document.word(role.word()), document.decimal(self.capacity(role), 0));
        let capacity = Role::ALL.map(capacity);
        document.say("fc_capacity", &[("c", capacity.join(", "))]);
        self.plots(&mut document);
        document.heading("fc_hours");
        document.say("fc_hours_note", &[]);
        let titles = ["fc_from", "fc_p50", "fc_p90", "fc_p99"].into_iter().chain(Role::ALL.map(Role::word));
        document.table(&titles.collect::<Vec<_>>(), self.plan.chunks(HOUR).map(|hour| self.row(hour)).collect());
        self.told_starts(&mut document);
        document
    }

    /// The worst of an hour.
    fn row(&self, hour: &[Planned]) -> Vec<String> {
        let most = |place: usize| hour.iter().map(|planned| per_minute(planned)[place]).fold(0.0, f64::max);
        let instances = |role: Role| hour.iter().map(|planned| planned.instances[role as usize]).max().unwrap_or(0);
        let expected = [1, 2, 3].map(|place| whole(self.lang, most(place)));
        let instances = Role::ALL.map(|role| instances(role).to_string());
        [self.time(hour[0].expected.at)].into_iter().chain(expected).chain(instances).collect()
    }

    fn told_starts(&self, document: &mut Document) {
        document.heading("fc_starts");
        if self.starts.is_empty() {
            document.say("fc_no_starts", &[]);
            return;
        }
        let rules = &self.settings.rules;
        let places = [("s", format::duration(rules.start + rules.pause)), ("d", format::duration(rules.down_after))];
        document.say("fc_starts_note", &places);
        let row = |start: &Start| {
            let role = document.word(start.role.word()).to_owned();
            vec![self.time(start.at), role, start.from.to_string(), start.to.to_string()]
        };
        let rows = self.starts.iter().map(row).collect();
        document.table(&["fc_start_at", "fc_role", "fc_start_from", "fc_start_to"], rows);
    }

    fn plots(&self, document: &mut Document) {
        let over = |of: &dyn Fn(&Planned) -> f64| {
            let hour = |index: usize| index as f64 / HOUR as f64;
            self.plan.iter().enumerate().map(|(index, planned)| (hour(index), of(planned))).collect::<Vec<_>>()
        };
        let line = |document: &Document, key: &str, points| Line { name: document.word(key).to_owned(), points };
        let orders = ["fc_p50", "fc_p90", "fc_p99"].into_iter().zip(1..);
        let orders: Vec<_> =
            orders.map(|(key, place)| line(document, key, over(&|planned| per_minute(planned)[place]))).collect();
        let roles = Role::ALL
            .map(|role| line(document, role.word(), over(&|planned| f64::from(planned.instances[role as usize]))));
        for (title, lines) in [("fc_plot", orders), ("fc_plot_instances", roles.to_vec())] {
            let (title, x) = (document.word(title).to_owned(), document.word("fc_x").to_owned());
            document.plot(Plot { finding: title.clone(), title, x, lines, ..Plot::default() });
        }
    }
}

/// Orders per minute: 10 % of the cases, half, 90 % and 99 %.
fn per_minute(planned: &Planned) -> [f64; 4] {
    let minutes = BUCKET.as_secs_f64() / 60.0;
    let forecast::Expected { p10, p50, p90, p99, .. } = planned.expected;
    [p10, p50, p90, p99].map(|orders| orders / minutes)
}

/// With a tenth where that says something.
fn whole(lang: Lang, value: f64) -> String {
    format::decimal(lang, value, usize::from(value < 10.0))
}

/// The key of a model's name.
const fn model(model: Model) -> &'static str {
    match model {
        Model::Naive => "fc_naive",
        Model::Profile => "fc_profile",
    }
}

/// To a tenth.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
