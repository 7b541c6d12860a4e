use super::{DAY, History, PAST, Profile, Special, WEEK};

/// Buckets between two origins: six hours.
const EVERY: usize = DAY / 4;
/// Parts of the forecasts by how busy they were told to be, whose errors are kept apart.
const PARTS: usize = 4;

/// How orders are foretold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// As many as at the same time last week.
    Naive,
    /// By the profile of a week.
    Profile,
}

impl Model {
    /// For programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Profile => "profile",
        }
    }
}

/// How the models did on the past, told a day ahead from every six hours, without what came later.
#[derive(Debug, Clone)]
pub struct Backtest {
    /// Share of all orders by which each model was wrong: sum of absolute errors by sum of orders (WAPE).
    naive: f64,
    profile: f64,
    /// How many origins there were.
    origins: usize,
    /// For each part, up to which forecast it goes, and how many times as many came: 10 %, half, 90 % and 99 % of the cases.
    bands: Vec<(f64, [f64; 4])>,
}

impl Backtest {
    pub(super) fn new(history: &History, special: &Special) -> Self {
        let (mut naive, mut profile, mut all, mut origins) = (0.0, 0.0, 0.0, 0);
        let mut told: [Vec<(f64, f64)>; 2] = Default::default();
        for origin in (WEEK..=history.len() - DAY).step_by(EVERY) {
            let model = Profile::new(&history.window(origin, PAST), special);
            origins += 1;
            for ahead in 0..DAY {
                let came = history.orders()[origin + ahead];
                let forecasts = [model.last_week(ahead), model.expected(ahead)];
                all += came;
                naive += (forecasts[0] - came).abs();
                profile += (forecasts[1] - came).abs();
                for (told, forecast) in told.iter_mut().zip(forecasts) {
                    told.push((forecast, came));
                }
            }
        }
        let mut backtest = Self { naive: share(naive, all), profile: share(profile, all), origins, bands: Vec::new() };
        let [of_naive, of_profile] = told;
        backtest.bands = bands(match backtest.chosen() {
            Model::Naive => of_naive,
            Model::Profile => of_profile,
        });
        backtest
    }

    /// The model that was less wrong.
    pub fn chosen(&self) -> Model {
        if self.profile < self.naive { Model::Profile } else { Model::Naive }
    }

    /// By which share of all orders a model was wrong, from 0 on.
    pub fn error(&self, model: Model) -> f64 {
        match model {
            Model::Naive => self.naive,
            Model::Profile => self.profile,
        }
    }

    /// How many times a day ahead was told.
    pub fn origins(&self) -> usize {
        self.origins
    }

    /// How many orders come in 10, 50, 90 and 99 % of the cases where the model says so many.
    pub(super) fn bands(&self, middle: f64) -> [f64; 4] {
        let part = self.bands.iter().find(|(most, _)| middle <= *most).or(self.bands.last());
        part.map_or([middle; 4], |(_, times)| times.map(|times| ((middle + 1.0) * times - 1.0).max(0.0)))
    }
}

fn share(part: f64, all: f64) -> f64 {
    if all > 0.0 { part / all } else { 0.0 }
}

/// Errors of forecasts that were about as busy.
fn bands(mut told: Vec<(f64, f64)>) -> Vec<(f64, [f64; 4])> {
    told.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let size = told.len().div_ceil(PARTS).max(1);
    let part = |part: &[(f64, f64)]| {
        // one more on both sides, so that nothing is divided by nothing
        let mut times: Vec<f64> = part.iter().map(|(forecast, came)| (came + 1.0) / (forecast + 1.0)).collect();
        times.sort_unstable_by(f64::total_cmp);
        let quantile = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
        (part[part.len() - 1].0, [0.1, 0.5, 0.9, 0.99].map(quantile))
    };
    told.chunks(size).map(part).collect()
}
