//! A run as a document.

use super::{
    document::Document,
    figures::{Figures, Run, Verdict},
    limits::{CONNECTIONS, Limits},
    measure::per_second,
    plot::{Line, Plot, distribution},
};
use crate::{
    bench::{
        stats::Summary,
        usage::{Machine, machine},
    },
    domain::Lang,
    pages::format,
    words::{self, fill, word},
};

/// Columns of a table of summaries.
pub(super) const SUMMARY: [&str; 8] =
    ["", "bench_count", "bench_mean", "bench_p50", "bench_p90", "bench_p99", "bench_p999", "bench_max"];

/// A document whose title says what the auditor found; what it objects to, if it does.
pub(super) fn verdict(lang: Lang, audit: &Verdict) -> Document {
    let key = match audit {
        Verdict { objections, .. } if !objections.is_empty() => "bench_broken",
        Verdict { acknowledged: 0, .. } => "bench_nothing",
        Verdict { not_audited: Some(_), .. } => "bench_not_audited",
        Verdict { in_flight: 1.., .. } => "bench_not_over",
        _ => "bench_kept",
    };
    let numbers = [
        ("orders", format::number(lang, audit.orders)),
        ("mails", format::number(lang, audit.mails)),
        ("open", format::number(lang, audit.in_flight)),
        ("n", format::number(lang, audit.objections.len() as u64)),
    ];
    let mut document = Document::new(lang, fill(word(lang, key), &numbers).into_owned(), audit.is_kept());
    if let Some(why) = &audit.not_audited {
        document.text(why);
    }
    for objection in &audit.objections {
        document.text(objection);
    }
    if audit.repeats_counted > 0 {
        let places = [("n", document.count(audit.repeats)), ("counted", document.count(audit.repeats_counted))];
        document.say("bench_repeats", &places);
    }
    document
}

/// This machine and version, in a sentence each.
pub(super) fn measured_on(lang: Lang) -> String {
    let Machine { processor, cores, memory, system } = machine();
    let places = [
        ("processor", processor),
        ("cores", cores.to_string()),
        ("memory", format::decimal(lang, memory, 1)),
        ("system", system),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    fill(word(lang, "bench_machine"), &places).into_owned()
}

pub(super) fn of_run(lang: Lang, run: &Run) -> Document {
    let mut document = verdict(lang, &run.audit);
    document.text(format!("{}. {}", run.load, measured_on(lang)));
    document.heading("bench_orders");
    let answers = [run.accepted, run.refused, run.lost].map(|count| document.count(count));
    document.table(&["bench_accepted", "bench_refused", "bench_lost"], vec![answers.to_vec()]);
    let Some(figures) = &run.figures else { return document };
    let rates = [figures.accepted_per_s, figures.completed_per_s, figures.mails_per_s];
    let rates = rates.map(|rate| document.decimal(rate, 1));
    document.table(&["bench_accepted_s", "bench_completed_s", "bench_mails_s"], vec![rates.to_vec()]);
    times(&mut document, lang, figures);
    rates_plot(&mut document, figures);
    cost(&mut document, figures);
    if let Some(limits) = &run.limits {
        beside_limits(&mut document, lang, figures, limits);
    }
    document
}

fn times(document: &mut Document, lang: Lang, figures: &Figures) {
    document.heading("bench_times");
    let mut rows = vec![row(lang, document.word("bench_acknowledgement"), &figures.acknowledgement_ms)];
    for (state, _) in &figures.lateness {
        rows.push(row(lang, &words::state(lang, state), &figures.lateness_ms[state]));
    }
    document.table(&SUMMARY, rows);
    document.say("bench_times_note", &[]);
    let [p50, p99] = [figures.acknowledgement_ms.p50, figures.acknowledgement_ms.p99].map(|ms| document.decimal(ms, 1));
    document.plot(Plot {
        title: document.word("bench_plot_acknowledgement").to_owned(),
        finding: format!("p50 {p50} ms, p99 {p99} ms"),
        x: "ms".to_owned(),
        log: true,
        lines: vec![distribution("%", figures.acknowledgements.iter().copied())],
        ..Plot::default()
    });
    let late = |(state, late): &(String, Vec<f64>)| distribution(&words::state(lang, state), late.iter().copied());
    let worst = figures.lateness_ms.values().map(|late| late.p99).fold(0.0, f64::max);
    document.plot(Plot {
        title: document.word("bench_plot_lateness").to_owned(),
        finding: format!("p99 ≤ {} ms", document.decimal(worst, 0)),
        x: "ms".to_owned(),
        lines: figures.lateness.iter().map(late).collect(),
        ..Plot::default()
    });
}

/// A name and a summary, as cells; milliseconds.
pub(super) fn row(lang: Lang, name: &str, summary: &Summary) -> Vec<String> {
    let Summary { count, mean, p50, p90, p99, p999, max, .. } = *summary;
    let times = [mean, p50, p90, p99, p999, max].map(|ms| format::decimal(lang, ms, 1));
    [name.to_owned(), format::number(lang, count)].into_iter().chain(times).collect()
}

fn rates_plot(document: &mut Document, figures: &Figures) {
    let samples = &figures.samples;
    document.heading("bench_over_time");
    let line = |name: &str, points| Line { name: document.word(name).to_owned(), points };
    let over = |of: fn(&super::measure::Sample) -> f64| samples.iter().map(|sample| (sample.at, of(sample))).collect();
    let plots = [
        (
            "bench_plot_rates",
            vec![
                line("bench_line_accepted", per_second(samples, |sample| sample.accepted as f64)),
                line("bench_line_completed", per_second(samples, |sample| sample.finished)),
                line("bench_line_mails", per_second(samples, |sample| sample.mails as f64)),
            ],
        ),
        (
            "bench_plot_queues",
            vec![line("bench_line_behind", over(|s| s.behind)), line("bench_line_waiting", over(|s| s.waiting))],
        ),
        ("bench_plot_in_flight", vec![line("bench_line_in_flight", over(|s| s.in_flight))]),
        ("bench_plot_cpu", vec![line("bench_line_cpu", per_second(samples, |sample| sample.cpu * 100.0))]),
        ("bench_plot_memory", vec![line("bench_line_memory", over(|s| s.memory as f64 / 1e6))]),
    ];
    for (title, lines) in plots {
        let ends: Vec<_> = lines
            .iter()
            .map(|line: &Line| {
                let most = line.points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
                format!("{}: ≤ {}", line.name, document.decimal(most, 0))
            })
            .collect();
        let (title, x) = (document.word(title).to_owned(), "s".to_owned());
        document.plot(Plot { title, finding: ends.join(", "), x, lines, ..Plot::default() });
    }
}

fn cost(document: &mut Document, figures: &Figures) {
    let Some(cost) = &figures.cost else { return };
    document.heading("bench_cost");
    let mut rows = vec![vec![document.word("bench_cpu").to_owned(), document.decimal(cost.cpu_per_1000, 3)]];
    let parts = cost.threads_per_1000.iter().filter(|(_, cpu)| **cpu >= 0.0005);
    rows.extend(parts.map(|(kind, cpu)| vec![part(document, kind), document.decimal(*cpu, 3)]));
    rows.extend(cost.beside_per_1000.iter().map(|(name, cpu)| vec![name.clone(), document.decimal(*cpu, 3)]));
    let megabytes = |bytes: &f64| document.decimal(bytes / 1e6, 2);
    rows.push(vec![document.word("bench_written").to_owned(), megabytes(&cost.written_per_1000)]);
    rows.extend(cost.written_by_per_1000.iter().map(|(file, bytes)| vec![part(document, file), megabytes(bytes)]));
    let fsyncs: f64 = cost.fsyncs_per_order.values().sum();
    if fsyncs > 0.0 {
        rows.push(vec![document.word("bench_fsyncs").to_owned(), document.decimal(fsyncs, 2)]);
        rows.extend(
            cost.fsyncs_per_order.iter().map(|(file, count)| vec![part(document, file), document.decimal(*count, 2)]),
        );
    }
    for (key, value) in [("bench_commits", cost.commits_per_order), ("bench_memory", cost.memory_max as f64 / 1e6)] {
        rows.push(vec![document.word(key).to_owned(), document.decimal(value, 2)]);
    }
    document.table(&["", "bench_value"], rows);
}

/// What a row is a part of stands above it.
fn part(document: &Document, kind: &str) -> String {
    format!("– {}", document.word(&format!("bench_part_{kind}")))
}

fn beside_limits(document: &mut Document, lang: Lang, figures: &Figures, limits: &Limits) {
    document.heading("bench_limits");
    let row = |key: &str, ours: f64, limit: f64, ratio: String| {
        let numbers = [ours, limit].map(|number| format::decimal(lang, number, 2));
        [word(lang, key).to_owned()].into_iter().chain(numbers).chain([ratio]).collect()
    };
    let (p50, least) = (figures.acknowledgement_ms.p50, limits.acknowledgement_ms());
    let percent = |ours: f64, limit: f64| format!("{} %", format::decimal(lang, ours / limit * 100.0, 1));
    let (accepted, mails) = (figures.accepted_per_s, figures.mails_per_s);
    let mut rows: Vec<Vec<String>> = vec![
        row("bench_limit_acknowledgement", p50, least, format!("× {}", format::decimal(lang, p50 / least, 1))),
        row("bench_limit_nothing", accepted, limits.nothing_per_s, percent(accepted, limits.nothing_per_s)),
    ];
    match limits.smtp_source_per_s {
        Some(most) => rows.push(row("bench_limit_smtp", mails, most, percent(mails, most))),
        None => document.say("bench_no_postfix", &[]),
    }
    document.table(&["", "bench_measured", "bench_limit", "bench_ratio"], rows);
    document.say("bench_limits_note", &[("n", CONNECTIONS.to_string())]);
}
