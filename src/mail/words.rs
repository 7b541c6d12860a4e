//! What every mail says in the same words: the labels of its layout, and when the next state is due.

use std::{collections::BTreeMap, time::Duration};

use jiff::{ZonedDateTime, tz::TimeZone};

use crate::{
    domain::{Lang, Timestamp},
    words::{fill, word},
};

/// Steps shorter than this are told to the second.
const SECONDS_SHOWN_BELOW: Duration = Duration::from_mins(10);

/// The names under which templates find the fixed words of the layouts in `t`.
const LABELS: [&str; 7] = ["product", "price", "order", "state", "next", "follow", "footer"];

/// The fixed words of the layouts, by these names.
pub(super) fn labels(lang: Lang) -> BTreeMap<&'static str, &'static str> {
    LABELS.map(|name| (name, word(lang, &format!("mail_{name}")))).into()
}

/// When the next state is due, as seen at `at`: the time in the zone, with the date unless it is that of `at`.
pub(super) fn due(lang: Lang, zone: &TimeZone, at: Timestamp, next: Timestamp) -> String {
    let (today, then) = (local(zone, at), local(zone, next));
    let format = if next.since(at) < SECONDS_SHOWN_BELOW { "%H:%M:%S" } else { "%H:%M" };
    let (time, zone) = (then.strftime(format), then.strftime("%Z"));
    let key = if today.date() == then.date() {
        "due_today"
    } else if today.year() == then.year() {
        "due_later"
    } else {
        "due_next_year"
    };
    let month = word(lang, "whole_months").split(' ').nth(then.month() as usize - 1).unwrap_or_default();
    let places = [
        ("time", time.to_string()),
        ("zone", zone.to_string()),
        ("day", then.day().to_string()),
        ("month", month.to_owned()),
        ("year", then.year().to_string()),
    ];
    fill(word(lang, key), &places).into_owned()
}

fn local(zone: &TimeZone, time: Timestamp) -> ZonedDateTime {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_zoned_datetime(zone.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_say_as_much_as_is_needed() {
        let at: Timestamp = "2026-12-31T23:50:00.000Z".parse().unwrap();
        let in_minutes = |minutes| at + Duration::from_mins(minutes);
        assert_eq!(due(Lang::Es, &TimeZone::UTC, at, at + Duration::from_secs(8)), "hacia las 23:50:08 (UTC)");
        assert_eq!(due(Lang::En, &TimeZone::UTC, at - Duration::from_mins(30), at), "at about 23:50 (UTC)");
        assert_eq!(due(Lang::En, &TimeZone::UTC, at, in_minutes(60)), "on 1 January 2027, at about 00:50 (UTC)");
        assert_eq!(
            due(Lang::Es, &TimeZone::UTC, at - Duration::from_hours(72), at),
            "el 31 de diciembre, hacia las 23:50 (UTC)"
        );
    }

    #[test]
    fn due_times_are_those_of_the_shop() {
        let madrid = TimeZone::get("Europe/Madrid").unwrap();
        let at: Timestamp = "2026-12-31T22:50:00.000Z".parse().unwrap();
        assert_eq!(due(Lang::Es, &madrid, at, at + Duration::from_secs(8)), "hacia las 23:50:08 (CET)");
        let next = at + Duration::from_mins(20);
        assert_eq!(due(Lang::En, &madrid, at, next), "on 1 January 2027, at about 00:10 (CET)");
        let summer: Timestamp = "2026-07-01T10:00:00.000Z".parse().unwrap();
        assert_eq!(due(Lang::En, &madrid, summer, summer + Duration::from_mins(30)), "at about 12:30 (CEST)");
    }
}
