//! Exact quantiles of what was seen.

use serde::Serialize;

/// What a set of measurements says, each in the unit of the measurements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// Half of them are not above this.
    pub p50: f64,
    /// 90 % are not above this.
    pub p90: f64,
    /// 99 % are not above this.
    pub p99: f64,
    /// 99.9 % are not above this.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// Of any numbers but NaN; all zero when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return Self::default() };
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|q| quantile(&sorted, q));
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        Self { count: sorted.len() as u64, min: *min, mean, p50, p90, p99, p999, max: *max }
    }

    /// The same in another unit.
    #[must_use]
    pub fn scaled(self, by: f64) -> Self {
        let Self { count, min, mean, p50, p90, p99, p999, max } = self;
        let [min, mean, p50, p90, p99, p999, max] = [min, mean, p50, p90, p99, p999, max].map(|value| value * by);
        Self { count, min, mean, p50, p90, p99, p999, max }
    }
}

/// The smallest value that at least the share `q` of them is not above (the nearest rank). `sorted` has a value.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let summary = Summary::of((1..=1_000).rev().map(f64::from));
        assert_eq!((summary.count, summary.min, summary.max), (1_000, 1.0, 1_000.0));
        assert_eq!((summary.p50, summary.p90, summary.p99, summary.p999), (500.0, 900.0, 990.0, 999.0));
        assert!((summary.mean - 500.5).abs() < 1e-9);
        assert_eq!(Summary::of([]), Summary::default());
        assert_eq!((Summary::of([7.0]).p999, Summary::of([2.0, 4.0]).scaled(0.5).max), (7.0, 2.0));
    }
}
