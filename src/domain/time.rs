use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Invalid;

/// Wall-clock time in whole milliseconds since the Unix epoch; RFC 3339 in UTC on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch, clamped to the years 0000–9999 that RFC 3339 can write.
    pub const fn from_millis(millis: i64) -> Self {
        const MIN: i64 = -62_167_219_200_000;
        const MAX: i64 = 253_402_207_200_000;
        Self(if millis < MIN {
            MIN
        } else if millis > MAX {
            MAX
        } else {
            millis
        })
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time that passed since `earlier`; zero when `earlier` is later (a clock was set back).
    pub const fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(if millis < 0 { 0 } else { millis as u64 })
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_sub(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{time:.3}")
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let time: jiff::Timestamp = match text.parse() {
            Ok(time) => time,
            Err(_) if is_in_the_last_days(text) => jiff::Timestamp::MAX,
            Err(_) => return Err(Invalid::of("time", "must be RFC 3339, like 2026-01-31T12:00:00.000Z")),
        };
        Ok(Self::from_millis(time.as_millisecond()))
    }
}

/// Whether it is a time at the end of the year 9999, which RFC 3339 can write and which is later than any that is counted here.
fn is_in_the_last_days(text: &str) -> bool {
    let pieces = jiff::fmt::temporal::Pieces::parse(text);
    pieces.is_ok_and(|pieces| {
        let date = pieces.date();
        pieces.time().is_some() && pieces.offset().is_some() && (date.year(), date.month()) == (9999, 12)
    })
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "examples": ["2025-11-24T16:00:08.000Z"] })
    }
}

/// A duration in words, like `8s`, `500ms`, `1h 30m`, `30d`.
pub fn parse_duration(text: &str) -> Result<Duration, Invalid> {
    let like = "\"8s\", \"500ms\" or \"30d\"";
    humantime::parse_duration(text)
        .map_err(|_| Invalid::from(format!("must be a duration with its unit, like {like}, not {text:?}")))
}

/// The same in words that it can be read from. Days are the longest: months and years have no length that everybody knows.
pub fn format_duration(time: Duration) -> String {
    const DAY: u64 = 86_400;
    let days = time.as_secs() / DAY;
    let rest = Duration::new(time.as_secs() % DAY, time.subsec_nanos());
    let rest = (days == 0 || !rest.is_zero()).then(|| humantime::format_duration(rest).to_string());
    let days = (days > 0).then(|| format!("{days}day{}", if days == 1 { "" } else { "s" }));
    days.into_iter().chain(rest).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_milliseconds_and_reads_them_back() {
        let time = Timestamp::from_millis(1_764_000_000_007);
        assert_eq!(time.to_string(), "2025-11-24T16:00:00.007Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(Timestamp::default().to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn elapsed_time_is_never_negative() {
        let early = Timestamp::from_millis(1_000);
        assert_eq!(early.since(early + Duration::from_hours(1)), Duration::ZERO);
        assert_eq!((early + Duration::from_secs(3)).since(early), Duration::from_secs(3));
    }

    #[test]
    fn what_rfc_3339_can_write_is_a_time() {
        let last = Timestamp::from_millis(i64::MAX);
        for text in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999-12:00", "9999-12-30T23:00:00+00:00"] {
            assert_eq!(text.parse(), Ok(last), "{text}");
        }
        assert!("9999-12-30T21:59:00Z".parse::<Timestamp>().unwrap() < last);
        assert!("0000-01-01T00:00:00Z".parse::<Timestamp>().is_ok());
        for text in ["9999-12-31", "9999-12-31T23:59:59", "9999-12-32T00:00:00Z", "9999-12-31T25:00:00Z", "x"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn days_are_the_longest_that_is_told() {
        for text in ["3650days", "1day", "1day 2h", "36days 5ms", "23h 59m", "0s"] {
            let time = parse_duration(text).unwrap();
            assert_eq!(format_duration(time), text);
        }
    }

    #[test]
    fn absurd_times_still_print() {
        let max = Timestamp::from_millis(i64::MAX);
        assert_eq!(max.to_string().parse(), Ok(max));
        let min = Timestamp::from_millis(i64::MIN);
        assert_eq!(min.to_string().parse(), Ok(min));
    }
}
