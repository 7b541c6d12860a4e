//! Shops that were made up, to try forecasts and policies on: the same seed gives the same orders.

use fastrand::Rng;

use super::{DAY, History, WEEK};
use crate::domain::Timestamp;

/// A Monday, at midnight UTC.
const BEGIN: Timestamp = Timestamp::from_millis(1_767_571_200_000);

/// What a shop is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shop {
    /// Meals: noon and evening, more from Friday to Sunday; a sale, and now and then a crowd from nowhere.
    Meals,
    /// The same without a sale and without crowds.
    Calm,
    /// Offices order: working days, working hours.
    Office,
    /// It doubles in two months, with much chance in each day.
    Growing,
}

impl Shop {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Meals, Self::Calm, Self::Office, Self::Growing];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meals => "meals",
            Self::Calm => "calm",
            Self::Office => "office",
            Self::Growing => "growing",
        }
    }

    /// The shop of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shop| shop.name() == name)
    }

    /// Its orders by five minutes over some weeks, at `peak` orders per second in the busiest ones of an ordinary week.
    pub fn orders(self, weeks: usize, peak: f64, seed: u64) -> History {
        let mut rng = Rng::with_seed(seed);
        let shape: Vec<f64> = (0..WEEK).map(|index| self.shape(index)).collect();
        let most = shape.iter().copied().fold(0.0, f64::max);
        let scale = peak * super::BUCKET.as_secs_f64() / most;
        let mut moods = Vec::new();
        let days = weeks * 7;
        for _ in 0..days {
            let spread = if self == Self::Growing { 0.2 } else { 0.06 };
            moods.push((normal(&mut rng) * spread).exp());
        }
        let crowds = self.crowds(days, &mut rng);
        let orders = (0..weeks * WEEK).map(|index| {
            let day = index / DAY;
            let growth = if self == Self::Growing { 2_f64.powf(day as f64 / 60.0) } else { 1.0 };
            let sale = if self == Self::Meals && day % 28 == 25 { 1.6 } else { 1.0 };
            let crowd: f64 = crowds.iter().map(|begin| crowd(index, *begin)).sum();
            let rate = scale * (shape[index % WEEK] * moods[day] * growth * sale + crowd * most);
            // by the normal distribution, which that of chance comes near where there are many
            (rate + normal(&mut rng) * rate.sqrt()).round().max(0.0)
        });
        History::new(BEGIN, orders.collect())
    }

    /// How busy it is in a bucket of the week.
    fn shape(self, index: usize) -> f64 {
        let (day, hour) = (index / DAY, (index % DAY) as f64 / 12.0);
        let hill = |at: f64, width: f64| (-((hour - at) / width).powi(2)).exp();
        match self {
            Self::Office if day >= 5 => 0.02,
            Self::Office => 0.02 + hill(10.5, 1.8) + 0.8 * hill(15.5, 1.6),
            Self::Meals | Self::Calm | Self::Growing => {
                let weekend = if day >= 4 { 1.35 } else { 1.0 };
                0.02 + 0.12 * hill(17.0, 4.0) + 0.75 * hill(13.5, 0.9) + weekend * hill(21.0, 1.1)
            }
        }
    }

    /// When crowds begin that nobody could know of: about one in ten days.
    fn crowds(self, days: usize, rng: &mut Rng) -> Vec<usize> {
        if self != Self::Meals {
            return Vec::new();
        }
        (0..days)
            .filter(|_| rng.f64() < 0.1)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|day| day * DAY + rng.usize(120..260))
            .collect()
    }
}

/// A crowd as part of the peak: all at once, and gone in half an hour.
fn crowd(index: usize, begin: usize) -> f64 {
    match index.checked_sub(begin) {
        Some(since) if since < 24 => 0.6 * (-(since as f64) / 4.0).exp(),
        _ => 0.0,
    }
}

/// A number of the standard normal distribution (Box and Muller).
fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}
