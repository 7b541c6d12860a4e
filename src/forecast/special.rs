use std::collections::BTreeMap;

use jiff::{civil::Date, tz::TimeZone};

use crate::domain::Timestamp;

/// A file of special days cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {0}: {1:?} is no special day: write a date and how many times as many orders come, like 2026-11-27 3.5")]
pub struct SpecialError(u64, String);

/// Days on which more or fewer orders come than on others, and where days begin.
#[derive(Debug, Clone)]
pub struct Special {
    zone: TimeZone,
    days: BTreeMap<Date, f64>,
}

impl Special {
    /// No day is special.
    pub const fn none(zone: TimeZone) -> Self {
        Self { zone, days: BTreeMap::new() }
    }

    /// From lines of a date and a factor, 0 where nobody is there; `#` begins a comment.
    pub fn read(text: &str, zone: TimeZone) -> Result<Self, SpecialError> {
        let mut days = BTreeMap::new();
        for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
            let said = line.split('#').next().unwrap_or_default().trim();
            if said.is_empty() {
                continue;
            }
            let day = said.split_once(char::is_whitespace).and_then(|(date, factor)| {
                let factor = factor.trim().parse().ok().filter(|factor: &f64| factor.is_finite() && *factor >= 0.0)?;
                Some((date.parse().ok()?, factor))
            });
            let (date, factor) = day.ok_or_else(|| SpecialError(number, said.to_owned()))?;
            days.insert(date, factor);
        }
        Ok(Self { zone, days })
    }

    /// How many times as many orders come at a time as on another day.
    pub fn factor(&self, at: Timestamp) -> f64 {
        if self.days.is_empty() {
            return 1.0;
        }
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.days.get(&at.to_zoned_datetime(self.zone.clone()).date()).copied().unwrap_or(1.0)
    }
}
