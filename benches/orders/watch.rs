//! What a server, and the programs that work beside it, did in a span of time.

use std::time::{Duration, Instant};

use encargo::bench::{
    process::Server,
    scrape::Scrape,
    usage::{Usage, cpu_of_family},
};

use crate::option;

/// Readings at the beginning and at the end of a span.
pub struct Span {
    before: Scrape,
    pub after: Scrape,
    seconds: f64,
    /// Resident memory of the server at the end, in MB.
    pub memory: f64,
    /// CPU seconds of the server, then of each program beside it.
    cpu: Vec<(String, f64)>,
}

/// Watches for a while. Programs beside the server are those of `--beside NAME=PID,…`.
pub async fn watch(server: &Server, duration: Duration) -> Span {
    let ops = server.ops().expect("a client");
    let scrape = async || ops.scrape().await.expect("it answers");
    let usage = || Usage::of(server.id()).expect("it runs");
    let beside = option("--beside", String::new());
    let beside: Vec<(&str, u32)> = beside
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, id)| (name, id.parse().expect("a process id")))
        .collect();
    let readings =
        || -> Vec<f64> { [usage().cpu].into_iter().chain(beside.iter().map(|(_, id)| cpu_of_family(*id))).collect() };
    let (before, cpu_before, started) = (scrape().await, readings(), Instant::now());
    tokio::time::sleep(duration).await;
    let (after, cpu_after, seconds) = (scrape().await, readings(), started.elapsed().as_secs_f64());
    let names = ["server"].into_iter().chain(beside.iter().map(|(name, _)| *name));
    let spent = cpu_after.iter().zip(cpu_before).map(|(after, before)| after - before);
    let cpu = names.map(str::to_owned).zip(spent).collect();
    Span { before, after, seconds, memory: usage().memory as f64 / 1e6, cpu }
}

impl Span {
    /// By how much a sample grew in a second.
    pub fn per_second(&self, sample: &str) -> f64 {
        self.after.since(&self.before, sample) / self.seconds
    }

    /// The smallest bucket bound that holds the share `q` of the span's samples.
    pub fn quantile(&self, histogram: &str, q: f64) -> f64 {
        self.after.quantile_since(&self.before, histogram, q).unwrap_or_default()
    }

    /// How long timers, commits and acknowledgements took, and what an order cost.
    pub fn report(&self) {
        let finished = self.per_second("encargo_orders{state=\"finished\"}");
        println!("finished   {finished:8.0} orders/s");
        println!("projected  {:8.0} events/s", self.per_second("encargo_events_projected_total{result=\"accepted\"}"));
        println!("mailed     {:8.0} mails/s", self.per_second("encargo_mails_total{result=\"sent\"}"));
        println!("waiting    {:8.0} mails", self.after.value("encargo_ledger_mails{status=\"pending\"}"));
        for q in [0.5, 0.9, 0.99, 0.999] {
            println!("lateness   p{:<5} <= {} s", q * 100.0, self.quantile("encargo_transition_lateness_seconds", q));
        }
        println!(
            "commits    {:.0}/s, p50 <= {} s, p99 <= {} s",
            self.per_second("encargo_commit_seconds_count"),
            self.quantile("encargo_commit_seconds", 0.5),
            self.quantile("encargo_commit_seconds", 0.99)
        );
        for (name, cpu) in &self.cpu {
            let (share, each) = (cpu / self.seconds * 100.0, cpu / (finished * self.seconds) * 1e6);
            println!("{name:10} {share:.0} % of a core, {each:.0} µs CPU per finished order");
        }
        println!("memory     {:.0} MB", self.memory);
    }
}
