//! `encargo bench report`: the tables of the report on the Python services, measured again, beside its figures; and its open
//! question, how more messages in the topics change latency and throughput.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    Shared, customers,
    document::Document,
    figures::Verdict,
    in_digits,
    limits::Limits,
    measure::Trial,
    page::{self, SUMMARY},
    plot::{Line, Plot},
    system::System,
};
use crate::{
    audit::Placed,
    bench::{
        load::{Customers, Outcome, Pace},
        stats::Summary,
        usage::machine,
    },
    cli::{Settings, output::StatusLine},
    domain::Lang,
    pages::format,
};

/// Orders of each of the first batches, and the mean latency in milliseconds that the old report gives.
const BATCHES: [(u64, f64); 3] = [(5, 9.8), (10, 10.5), (15, 9.9)];
/// Dwell of each state in the old deployment.
const DWELL: Duration = Duration::from_secs(3);
/// Orders at once.
const AT_ONCE: u64 = 20;
/// What the old report says of that many at once: intake in milliseconds, seconds per order, seconds per mail.
const OLD_INTAKE: &str = "13.8 (4.4–50.4)";
const OLD_PROCESSING: &str = "12.01–12.07";
const OLD_MAIL: &str = "0.52–0.72";
/// In so many equal steps the topics are filled. Of each step so many orders at most are placed one after the other, to time their
/// answers; the others by all connections at once.
const STEPS: u64 = 6;
const TIMED: u64 = 200;
const CONNECTIONS: usize = 64;

/// Flags of `encargo bench report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  encargo bench report > report.md\n  encargo bench report --lang es --html informe.html"
)]
pub(super) struct ReportFlags {
    /// Orders with which the topics are filled, step by step
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    messages: u64,
    #[command(flatten)]
    shared: Shared,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    machine: String,
    dwell_s: f64,
    audit: Verdict,
    /// None when the audit objects.
    tables: Option<Tables>,
    limits: Limits,
}

#[derive(Debug, Serialize)]
struct Tables {
    /// Milliseconds to the answer, one order after the other, by the number of orders.
    batches: Vec<(u64, Summary)>,
    /// Each of those at once: milliseconds to the answer, seconds through all states, mean seconds from a state to its mail.
    requests: Vec<Request>,
    /// Seconds until all of them were through.
    all_s: f64,
    /// By the number of orders in the topics before.
    growth: Vec<Growth>,
}

#[derive(Debug, Serialize)]
struct Request {
    order: u64,
    intake_ms: f64,
    processing_s: f64,
    mail_s: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Growth {
    orders: u64,
    answer_ms: Summary,
    accepted_per_s: f64,
}

impl ReportFlags {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        if self.messages < STEPS * 2 {
            bail!("--messages {}: must be {} at least", self.messages, STEPS * 2);
        }
        let status = StatusLine::new();
        status.show("what this machine can do at best");
        let limits = Limits::measure().await?;
        let system = System::own(settings, &self.shared.own(DWELL, Vec::new())).await?;
        let all = customers("1010")?;
        let mut session = Session { system, customers: all, told: Vec::new(), batches: 0 };
        let tables = session.tables(self.messages, &status).await?;
        status.show("the auditor recounts log, store and mails");
        let acknowledged = session.told.len() as u64;
        let audit = session.system.audit(session.told, &session.customers, true).await;
        let audit = audit.map_err(|error| format!("{error:#}"));
        let verdict = Verdict::of(acknowledged, audit.as_ref());
        let is_kept = verdict.is_kept();
        let report = Report {
            version: env!("CARGO_PKG_VERSION"),
            machine: machine().to_string(),
            dwell_s: self.shared.dwell.unwrap_or(DWELL).as_secs_f64(),
            audit: verdict,
            tables: is_kept.then_some(tables),
            limits,
        };
        drop(status);
        self.shared.output.show(&report, &report.document(&self.shared))?;
        Ok(ExitCode::from(u8::from(!is_kept)))
    }
}

/// A system, and all that was placed.
struct Session {
    system: System,
    customers: Customers,
    told: Vec<Placed>,
    batches: u32,
}

impl Session {
    async fn tables(&mut self, messages: u64, status: &StatusLine) -> Result<Tables> {
        self.batch(Pace::Count(1), 1).await?; // the first finds nothing warm
        let mut batches = Vec::new();
        for (count, _) in BATCHES {
            status.show(&format!("{count} orders, one after the other"));
            batches.push((count, milliseconds(&self.batch(Pace::Count(count), 1).await?)));
        }
        self.settle().await?;
        status.show(&format!("{AT_ONCE} orders at once, through all states"));
        let outcome = self.batch(Pace::Count(AT_ONCE), AT_ONCE as usize).await?;
        self.settle().await?;
        let (requests, all_s) = self.requests(&outcome).await?;
        let mut growth = Vec::new();
        let step = messages / STEPS;
        let timed = TIMED.min(step / 2);
        for _ in 0..STEPS {
            let orders = self.told.len() as u64;
            status.show(&format!("{orders} orders in the topics"));
            let answer_ms = milliseconds(&self.batch(Pace::Count(timed), 1).await?);
            let full = self.batch(Pace::Count(step - timed), CONNECTIONS).await?;
            let accepted_per_s = full.accepted().count() as f64 / full.elapsed.as_secs_f64();
            growth.push(Growth { orders, answer_ms, accepted_per_s });
            self.settle().await?;
        }
        Ok(Tables { batches, requests, all_s, growth })
    }

    /// Places orders of a batch of their own.
    async fn batch(&mut self, pace: Pace, connections: usize) -> Result<Outcome> {
        self.batches += 1;
        let run = format!("{}-{}", self.customers.run, self.batches);
        let customers = Customers { run: run.clone(), ..self.customers.clone() };
        let (about, settle) = (Duration::ZERO, Duration::ZERO);
        let load = Trial { customers: customers.clone(), pace, connections, about, settle }.load(&self.system);
        let outcome = load.run(Arc::default(), CancellationToken::new()).await;
        if let Some(complaint) = outcome.complaint() {
            bail!("the system does not take these orders: {complaint}");
        }
        if outcome.accepted().next().is_none() {
            bail!("no order of {run} was acknowledged");
        }
        self.told.extend(outcome.acknowledged(&customers));
        Ok(outcome)
    }

    async fn settle(&self) -> Result<()> {
        let most = Duration::from_mins(10);
        if !self.system.settle(self.told.len() as f64, most, |_, _| {}).await? {
            bail!("orders were in flight, or mails waited, for more than {most:?}");
        }
        Ok(())
    }

    /// Each order of a batch that is over, and the seconds from the first to the last.
    async fn requests(&self, outcome: &Outcome) -> Result<(Vec<Request>, f64)> {
        let audit = self.system.audit(self.told.clone(), &self.customers, true).await?;
        let mut times: BTreeMap<u64, Vec<(String, i64)>> = BTreeMap::new();
        for event in &audit.facts.events {
            times.entry(event.id).or_default().push((event.estado.clone(), event.at));
        }
        let mut requests = Vec::new();
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for (told, order, _) in outcome.accepted() {
            let states = times.get(&order).map(Vec::as_slice).unwrap_or_default();
            let (Some(from), Some(to)) =
                (states.iter().map(|(_, at)| *at).min(), states.iter().map(|(_, at)| *at).max())
            else {
                continue;
            };
            (first, last) = (first.min(from), last.max(to));
            let of_order = audit.arrivals.iter().filter(|(id, ..)| *id == order);
            let delays = of_order.filter_map(|(_, state, arrived)| {
                let (_, entered) = states.iter().find(|(other, _)| other == state)?;
                Some((arrived - entered) as f64 / 1e3)
            });
            let mails = Summary::of(delays);
            requests.push(Request {
                order,
                intake_ms: told.latency.as_secs_f64() * 1e3,
                processing_s: (to - from) as f64 / 1e3,
                mail_s: (mails.count > 0).then_some(mails.mean),
            });
        }
        requests.sort_by_key(|request| request.order);
        Ok((requests, (last - first).max(0) as f64 / 1e3))
    }
}

fn milliseconds(outcome: &Outcome) -> Summary {
    Summary::of(outcome.latencies()).scaled(1e3)
}

impl Report {
    fn document(&self, shared: &Shared) -> Document {
        let mut document = page::verdict(shared.output.lang, &self.audit);
        let lang = shared.output.lang;
        document.text(page::measured_on(lang));
        let Some(tables) = &self.tables else { return document };
        document.heading("bench_report_batches");
        let rows = tables.batches.iter().zip(BATCHES).map(|((count, ours), (_, old))| {
            vec![
                count.to_string(),
                format::decimal(lang, old, 1),
                format::decimal(lang, ours.mean, 2),
                format!("× {}", format::decimal(lang, old / ours.mean, 1)),
            ]
        });
        document.table(&["bench_orders", "bench_old_ms", "bench_ours_ms", "bench_ratio"], rows.collect());
        document.heading("bench_report_at_once");
        self.at_once(&mut document, lang, tables);
        document.heading("bench_report_growth");
        growth(&mut document, lang, &tables.growth);
        document.heading("bench_limits");
        let (least, p50) = (self.limits.acknowledgement_ms(), tables.growth.first().map_or(0.0, |at| at.answer_ms.p50));
        let places = [("least", document.decimal(least, 2)), ("ratio", document.decimal(p50 / least, 1))];
        document.say("bench_report_limit", &places);
        document
    }

    fn at_once(&self, document: &mut Document, lang: Lang, tables: &Tables) {
        let decimal = |value: f64, digits: usize| format::decimal(lang, value, digits);
        let old = |text: &str| if lang == Lang::Es { text.replace('.', ",") } else { text.to_owned() };
        let of = |value: fn(&Request) -> Option<f64>| Summary::of(tables.requests.iter().filter_map(value));
        let (intake, processing) = (of(|r| Some(r.intake_ms)), of(|r| Some(r.processing_s)));
        let mail = of(|request| request.mail_s);
        let range = |Summary { mean, min, max, .. }: Summary, digits: usize| {
            format!("{} ({}–{})", decimal(mean, digits), decimal(min, digits), decimal(max, digits))
        };
        let mut rows = vec![
            vec![document.word("bench_intake_ms").to_owned(), old(OLD_INTAKE), range(intake, 2)],
            vec![document.word("bench_processing_s").to_owned(), old(OLD_PROCESSING), range(processing, 2)],
            vec![document.word("bench_all_s").to_owned(), "240".to_owned(), decimal(tables.all_s, 2)],
        ];
        if mail.count > 0 {
            rows.push(vec![document.word("bench_mail_s").to_owned(), old(OLD_MAIL), range(mail, 3)]);
        }
        document.table(&["", "bench_old", "bench_ours"], rows);
        let places = [("dwell", in_digits(lang, self.dwell_s)), ("timers", in_digits(lang, self.dwell_s * 3.0))];
        document.say("bench_report_processing", &places);
        let rows = tables.requests.iter().zip(1..).map(|(request, number)| {
            let mail = request.mail_s.map_or_else(|| "–".to_owned(), |seconds| decimal(seconds, 3));
            let cells = [decimal(request.intake_ms, 2), decimal(request.processing_s, 3), mail];
            [number.to_string()].into_iter().chain(cells).collect()
        });
        let titles = ["bench_request", "bench_intake_ms", "bench_processing_s", "bench_mail_s"];
        document.table(&titles, rows.collect());
    }
}

fn growth(document: &mut Document, lang: Lang, growth: &[Growth]) {
    let decimal = |value: f64, digits: usize| format::decimal(lang, value, digits);
    let count = |count: u64| format::number(lang, count);
    let (Some(first), Some(last)) = (growth.first(), growth.last()) else { return };
    let (latency, rates) = (|at: &Growth| at.answer_ms.p50, |at: &Growth| at.accepted_per_s);
    let (p50, rate) = (Summary::of(growth.iter().map(latency)), Summary::of(growth.iter().map(rates)));
    let places = [
        ("from", count(first.orders)),
        ("to", count(last.orders)),
        ("latency", decimal(latency(last) / latency(first), 2)),
        ("latencies", format!("{}–{}", decimal(p50.min, 2), decimal(p50.max, 2))),
        ("throughput", decimal(rates(last) / rates(first), 2)),
        ("rates", format!("{}–{}", decimal(rate.min, 0), decimal(rate.max, 0))),
    ];
    document.say("bench_report_answer", &places);
    let mut titles = SUMMARY.to_vec();
    titles[0] = "bench_messages";
    titles.push("bench_accepted_s");
    let rows = growth.iter().map(|at| {
        let mut row = page::row(lang, &count(at.orders), &at.answer_ms);
        row.push(decimal(at.accepted_per_s, 0));
        row
    });
    document.table(&titles, rows.collect());
    let line = |key: &str, of: fn(&Growth) -> f64| Line {
        name: document.word(key).to_owned(),
        points: growth.iter().map(|at| (at.orders as f64, of(at))).collect(),
    };
    let latency = vec![line("bench_p50", |at| at.answer_ms.p50), line("bench_p99", |at| at.answer_ms.p99)];
    let throughput = vec![line("bench_line_accepted", |at| at.accepted_per_s)];
    let x = document.word("bench_messages").to_owned();
    for (title, lines) in [("bench_plot_growth_latency", latency), ("bench_plot_growth_throughput", throughput)] {
        let finding = format!("{} → {}", count(first.orders), count(last.orders));
        let title = document.word(title).to_owned();
        document.plot(Plot { title, finding, x: x.clone(), lines, ..Plot::default() });
    }
}
