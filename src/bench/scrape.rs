//! Reads `/metrics`: what counters, gauges and histograms say, and what they said since an earlier reading.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use reqwest::StatusCode;

/// Longest wait for an answer of the operations listener.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What all instances read from the same place, by the beginning of its name.
const SAME: [&str; 5] = [
    "encargo_ledger_",
    "encargo_dead_records",
    "encargo_suppressed_addresses",
    "encargo_group_lag_",
    "encargo_intake_backlog_records",
];

/// The operations listener of a system.
#[derive(Clone)]
pub struct Ops {
    http: reqwest::Client,
    url: String,
    /// Empty: none is wanted.
    token: String,
}

impl Ops {
    /// At an address such as `http://127.0.0.1:9000`. Proxies are not asked: metrics are read where they are made.
    pub fn at(url: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build();
        Ok(Self {
            http: http.context("cannot start an HTTP client")?,
            url: url.trim_end_matches('/').to_owned(),
            token: String::new(),
        })
    }

    /// The same with the token that opens it; empty: none.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self }
    }

    /// Whether `/readyz` says that all works.
    pub async fn is_ready(&self) -> bool {
        self.http.get(format!("{}/readyz", self.url)).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// What `/metrics` says now.
    pub async fn scrape(&self) -> Result<Scrape> {
        let url = format!("{}/metrics", self.url);
        let mut request = self.http.get(&url).header("Accept", "text/plain");
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        let answer = request.send().await;
        if answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED) {
            bail!("{url} wants another token: set ops.token, or ops.token_file, as the system has it");
        }
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let text = answer.with_context(|| format!("cannot read {url}"))?.text().await;
        Ok(Scrape::parse(&text.with_context(|| format!("cannot read {url}"))?))
    }
}

/// A reading: values by sample as it is written, `name{label="value"}`.
#[derive(Debug, Clone, Default)]
pub struct Scrape(HashMap<String, f64>);

impl Scrape {
    /// Prometheus' text, or OpenMetrics. Lines that are no samples are passed over.
    pub fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            // a label's value may have a blank in it, what comes after the labels has none but before value and time
            let end = line.find("} ").map_or_else(|| line.find(' '), |brace| Some(brace + 1))?;
            let value = line[end..].split_ascii_whitespace().next()?.parse().ok()?;
            Some((line[..end].to_owned(), value))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// What several instances of one system say, as one: counts add up, but for what each reads from the same place.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        for (sample, value) in other.0 {
            let is_same = SAME.iter().any(|same| sample.starts_with(same));
            let ours = self.0.entry(sample).or_insert(0.0);
            *ours = if is_same { ours.max(value) } else { *ours + value };
        }
        self
    }

    /// The value of a sample; 0 when it is not there, as a counter that nothing has counted yet.
    pub fn value(&self, sample: &str) -> f64 {
        self.0.get(sample).copied().unwrap_or(0.0)
    }

    /// The values of all samples of that name, whatever their labels, added up.
    pub fn sum(&self, name: &str) -> f64 {
        let is_of =
            |sample: &str| sample.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        self.0.iter().filter(|(sample, _)| is_of(sample)).map(|(_, value)| value).sum()
    }

    /// By how much a sample grew since an earlier reading.
    pub fn since(&self, earlier: &Self, sample: &str) -> f64 {
        self.value(sample) - earlier.value(sample)
    }

    /// Of what a histogram counted since an earlier reading, the smallest bound of a bucket that the share `q` is not above, in the
    /// histogram's unit; `None` when it counted nothing.
    pub fn quantile_since(&self, earlier: &Self, histogram: &str, q: f64) -> Option<f64> {
        let before: HashMap<u64, f64> =
            earlier.buckets(histogram).into_iter().map(|(bound, count)| (bound.to_bits(), count)).collect();
        let mut buckets = self.buckets(histogram);
        for (bound, count) in &mut buckets {
            *count -= before.get(&bound.to_bits()).copied().unwrap_or(0.0);
        }
        buckets.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        let total = buckets.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
        buckets.into_iter().find(|(_, count)| *count >= total * q).map(|(bound, _)| bound)
    }

    /// Bounds of a histogram and how many measurements are not above each.
    fn buckets(&self, histogram: &str) -> Vec<(f64, f64)> {
        let bucket = |(sample, count): (&String, &f64)| {
            let labels = sample.strip_prefix(histogram)?.strip_prefix("_bucket{le=\"")?;
            let bound = labels.strip_suffix("\"}")?;
            Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? }, *count))
        };
        self.0.iter().filter_map(bucket).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: &str =
        "t_seconds_bucket{le=\"0.1\"} 10\nt_seconds_bucket{le=\"1.0\"} 10\nt_seconds_bucket{le=\"+Inf\"} 10\n";
    const LATER: &str = "# HELP t_seconds Time.\n# TYPE t_seconds histogram\nt_seconds_sum 9.5\nt_seconds_bucket{le=\"0.1\"} 11\n\
                         t_seconds_bucket{le=\"1.0\"} 108\nt_seconds_bucket{le=\"+Inf\"} 110\nmails_total{why=\"no room\"} 3 1700000000\n\
                         mails_total{why=\"\"} 4\nmails_totals 100\n# EOF\n";

    #[test]
    fn counts_since_an_earlier_reading() {
        let (earlier, later) = (Scrape::parse(EARLIER), Scrape::parse(LATER));
        let quantile = |q| later.quantile_since(&earlier, "t_seconds", q);
        assert_eq!((quantile(0.01), quantile(0.5), quantile(0.999)), (Some(0.1), Some(1.0), Some(f64::INFINITY)));
        assert_eq!(later.quantile_since(&later, "t_seconds", 0.5), None);
        assert_eq!((later.value("mails_total{why=\"no room\"}"), later.sum("mails_total")), (3.0, 7.0));
        let two = |text| Scrape::parse(text).with(Scrape::parse(text));
        let ledger = two("encargo_ledger_mails{status=\"sent\"} 4");
        assert_eq!((two(LATER).value("t_seconds_sum"), ledger.sum("encargo_ledger_mails")), (19.0, 4.0));
        let since = |sample| later.since(&earlier, sample);
        assert_eq!((since("t_seconds_sum"), since("t_seconds_bucket{le=\"1.0\"}")), (9.5, 98.0));
    }
}
