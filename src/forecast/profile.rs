use super::{History, Special, WEEK};
use crate::domain::Timestamp;

/// Weeks that are looked back on.
const WEEKS: usize = 5;
/// Buckets on either side over which a time of the week is smoothed: single orders come by chance.
const AROUND: usize = 3;
/// Buckets over which the level of now is compared with what was to be expected: two hours.
const RECENT: usize = 24;
/// Buckets after which what is out of the ordinary now has worn off to 37 %: three hours.
const WEARS_OFF: f64 = 36.0;
/// What happens now may be out of the ordinary by this much, either way.
const OUTLIER: f64 = 3.0;

/// The median of the last weeks at a time of the week, times the level of now.
///
/// Each week counts by its own level, so growth does not blur the shape of a week, and one week that was unlike the others (a
/// rush of visitors, an outage) does not change it. The level of now is that of the last seven days, carried on as it has
/// changed since the seven before; what differs in the last two hours wears off.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Orders, on special days divided by how special they were.
    usual: Vec<f64>,
    /// The same, smoothed.
    smooth: Vec<f64>,
    /// The mean of a bucket in each of the last weeks, the newest first.
    levels: Vec<f64>,
    /// What the last two hours were of what was to be expected.
    surprise: f64,
    special: Special,
    end: Timestamp,
}

impl Profile {
    /// Learns from the past, of which there must be a week.
    pub fn new(history: &History, special: &Special) -> Self {
        let factor = |index| special.factor(history.at(index));
        // a day on which the shop is closed tells nothing: it is left as it is
        let usual = |(index, orders): (usize, &f64)| match factor(index) {
            0.0 => *orders,
            factor => orders / factor,
        };
        let usual: Vec<f64> = history.orders().iter().enumerate().map(usual).collect();
        let weeks = (usual.len() / WEEK).min(WEEKS);
        let level = |back: usize| {
            let end = usual.len() - back * WEEK;
            usual[end - WEEK..end].iter().sum::<f64>() / WEEK as f64
        };
        let levels: Vec<f64> = (0..weeks).map(level).collect();
        let smooth = smoothed(&usual);
        let end = history.at(history.len());
        let mut profile = Self { usual, smooth, levels, surprise: 1.0, special: special.clone(), end };
        profile.surprise = profile.surprise();
        profile
    }

    /// When the five minutes begin that are so many buckets after the end of the past.
    pub fn at(&self, ahead: usize) -> Timestamp {
        self.end + super::BUCKET * ahead as u32
    }

    /// Orders that are to be expected then, of which there must be a past: no more than a week ahead.
    pub fn expected(&self, ahead: usize) -> f64 {
        let worn_off = (-(ahead as f64) / WEARS_OFF).exp();
        self.shape(self.usual.len() + ahead)
            * self.level()
            * self.surprise.powf(worn_off)
            * self.special.factor(self.at(ahead))
    }

    /// Orders that came at the same time a week before; the naive forecast.
    pub fn last_week(&self, ahead: usize) -> f64 {
        self.usual[self.usual.len() + ahead - WEEK] * self.special.factor(self.at(ahead))
    }

    /// The median of the weeks before at a bucket, each by its level.
    fn shape(&self, index: usize) -> f64 {
        let by_week = |back: usize| {
            let before = index.checked_sub((back + 1) * WEEK)?;
            let level = self.levels[back];
            (level > 0.0 && before < self.smooth.len()).then(|| self.smooth[before] / level)
        };
        let mut shapes: Vec<f64> = (0..self.levels.len()).filter_map(by_week).collect();
        shapes.sort_unstable_by(f64::total_cmp);
        match shapes.len() {
            0 => 0.0,
            n if n % 2 == 1 => shapes[n / 2],
            n => f64::midpoint(shapes[n / 2 - 1], shapes[n / 2]),
        }
    }

    /// The mean of a bucket as it is now: half of what changed from one week to the next goes on.
    fn level(&self) -> f64 {
        match self.levels[..] {
            [now, before, ..] if before > 0.0 => now * (now / before).sqrt().clamp(0.8, 1.25),
            [now, ..] => now,
            [] => 0.0,
        }
    }

    fn surprise(&self) -> f64 {
        let recent = self.usual.len() - RECENT..self.usual.len();
        let came: f64 = self.usual[recent.clone()].iter().sum();
        let expected: f64 = recent.map(|index| self.shape(index)).sum::<f64>() * self.level();
        // few orders are chance: as if ten more had come as expected
        ((came + 10.0) / (expected + 10.0)).clamp(1.0 / OUTLIER, OUTLIER)
    }
}

/// The mean of some buckets around each.
fn smoothed(orders: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; orders.len() + 1];
    for (index, orders) in orders.iter().enumerate() {
        sums[index + 1] = sums[index] + orders;
    }
    let around = |index: usize| {
        let (from, to) = (index.saturating_sub(AROUND), (index + AROUND + 1).min(orders.len()));
        (sums[to] - sums[from]).max(0.0) / (to - from) as f64
    };
    (0..orders.len()).map(around).collect()
}
