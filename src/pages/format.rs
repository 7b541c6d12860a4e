//! Numbers, prices, times and addresses as the reader of a page writes them.

use std::time::Duration;

use jiff::{ZonedDateTime, tz::TimeZone};

use crate::{
    domain::{EmailAddress, Lang, Timestamp},
    words::word,
};

/// Between a number and what belongs to it.
const NO_BREAK: char = '\u{a0}';

/// A count: `12.480` and `1042` in Spanish, `12,480` and `1,042` in English. Numbers of orders are names, and stay as they
/// are.
pub fn number(lang: Lang, number: u64) -> String {
    grouped(lang, &number.to_string())
}

/// A number with so many digits after its point or comma: `1.234,50` has two of them.
pub fn decimal(lang: Lang, value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (sign, text) = text.strip_prefix('-').map_or(("", &*text), |text| ("-", text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let point = if lang == Lang::Es { "," } else { "." };
    format!("{sign}{}{}{fraction}", grouped(lang, whole), if fraction.is_empty() { "" } else { point })
}

fn grouped(lang: Lang, digits: &str) -> String {
    let (separator, grouped_from) = match lang {
        Lang::Es => ('.', 5),
        Lang::En => (',', 4),
    };
    if digits.len() < grouped_from {
        return digits.to_owned();
    }
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

/// A price of the catalogue, which has no currency of its own: `7,19 €` and `€7.19`, or `Gratis` and `Free`.
pub fn price(lang: Lang, currency: &str, price: &str) -> String {
    if price.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
        return word(lang, "free").to_owned();
    }
    let (whole, fraction) = price.split_once('.').unwrap_or((price, ""));
    let mut text = grouped(lang, whole);
    if !fraction.is_empty() {
        text.push(if lang == Lang::Es { ',' } else { '.' });
        text.push_str(fraction);
        if fraction.len() == 1 {
            text.push('0'); // 12.5 is no price that anybody writes
        }
    }
    match lang {
        _ if currency.is_empty() => text,
        Lang::En if currency.ends_with(char::is_alphabetic) => format!("{currency}{NO_BREAK}{text}"),
        Lang::En => format!("{currency}{text}"),
        Lang::Es => format!("{text}{NO_BREAK}{currency}"),
    }
}

/// A length of time in its largest units: `24 s`, `3 min 5 s`, `2 h`, `3 d`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let Some(first) = units.iter().position(|(count, _)| *count > 0) else { return format!("0{NO_BREAK}s") };
    let shown = units[first..].iter().take(2).filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count}{NO_BREAK}{unit}")).collect::<Vec<_>>().join(" ")
}

/// A time of day, `21:06:41`; as seen at `now`, with the day if it is another one.
pub fn time(lang: Lang, zone: &TimeZone, now: Timestamp, at: Timestamp) -> String {
    of_day(lang, (local(zone, now), local(zone, at)), ["%H:%M:%S", "%H:%M"])
}

/// The same to the millisecond, `21:06:41,204`.
pub fn exact(lang: Lang, zone: &TimeZone, now: Timestamp, at: Timestamp) -> String {
    let form = if lang == Lang::Es { "%H:%M:%S,%3f" } else { "%H:%M:%S.%3f" };
    of_day(lang, (local(zone, now), local(zone, at)), [form, form])
}

/// In one form today, and in another with the day.
fn of_day(lang: Lang, (today, then): (ZonedDateTime, ZonedDateTime), [alone, dated]: [&str; 2]) -> String {
    if today.date() == then.date() {
        return then.strftime(alone).to_string();
    }
    let year = if today.year() == then.year() { String::new() } else { format!(" {}", then.year()) };
    let day = format!("{}{NO_BREAK}{}{year}", then.day(), month(lang, &then));
    let words = word(lang, "time_of_day").replace("{t}", &then.strftime(dated).to_string());
    words.replace("{d}", &day)
}

/// A time of day on an axis, `21:06`.
pub fn hour(zone: &TimeZone, at: Timestamp) -> String {
    local(zone, at).strftime("%H:%M").to_string()
}

/// A time with its day and its zone: `27 nov 2026, 21:06:41 (UTC)`.
pub fn date(lang: Lang, zone: &TimeZone, at: Timestamp) -> String {
    let then = local(zone, at);
    format!("{}{NO_BREAK}{} {}, {}", then.day(), month(lang, &then), then.year(), then.strftime("%H:%M:%S (%Z)"))
}

fn local(zone: &TimeZone, time: Timestamp) -> ZonedDateTime {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_zoned_datetime(zone.clone())
}

fn month(lang: Lang, date: &ZonedDateTime) -> &'static str {
    let names = word(lang, "months");
    names.split(' ').nth(date.month() as usize - 1).unwrap_or_default()
}

/// An address for a page that may be passed on: enough to know one's own, `c•••••e@example.org`.
pub fn masked(address: &EmailAddress) -> String {
    let whole = address.as_str();
    let (local, domain) = whole.rsplit_once('@').unwrap_or(("", whole));
    let mut chars = local.chars();
    let ends = (chars.next(), chars.next_back());
    match (ends, chars.next()) {
        ((Some(first), Some(last)), Some(_)) => format!("{first}•••••{last}@{domain}"),
        _ => format!("•••••@{domain}"), // of two letters, showing two would show all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_prices_are_in_the_readers_format() {
        let plain = |text: String| text.replace(NO_BREAK, " ");
        for (count, es, en) in [
            (0, "0", "0"),
            (1_042, "1042", "1,042"),
            (12_480, "12.480", "12,480"),
            (1_234_567, "1.234.567", "1,234,567"),
        ] {
            assert_eq!((number(Lang::Es, count), number(Lang::En, count)), (es.into(), en.into()));
        }
        for (value, digits, es, en) in [
            (0.0, 1, "0,0", "0.0"),
            (4.26, 1, "4,3", "4.3"),
            (-0.5, 2, "-0,50", "-0.50"),
            (12_480.25, 1, "12.480,2", "12,480.2"),
            (999_999.9, 0, "1.000.000", "1,000,000"),
        ] {
            assert_eq!(Lang::ALL.map(|lang| decimal(lang, value, digits)), [es, en]);
        }
        for (text, currency, es, en) in [
            ("7.19", "€", "7,19 €", "€7.19"),
            ("7.19", "", "7,19", "7.19"),
            ("1249", "EUR", "1249 EUR", "EUR 1,249"),
            ("12.5", "$", "12,50 $", "$12.50"),
            ("0.0", "€", "Gratis", "Free"),
            ("0", "", "Gratis", "Free"),
            ("19.990", "", "19,990", "19.990"),
        ] {
            let found = Lang::ALL.map(|lang| plain(price(lang, currency, text)));
            assert_eq!(found, [es, en], "{text} {currency}");
        }
    }

    #[test]
    fn times_are_those_of_the_zone_with_the_day_where_it_is_another() {
        let madrid = TimeZone::get("Europe/Madrid").unwrap();
        let now: Timestamp = "2026-12-31T22:50:00.000Z".parse().unwrap();
        let plain = |text: String| text.replace(NO_BREAK, " ");
        assert_eq!(time(Lang::Es, &madrid, now, now), "23:50:00");
        assert_eq!(plain(time(Lang::Es, &madrid, now, now + Duration::from_mins(20))), "00:10 del 1 ene 2027");
        assert_eq!(plain(time(Lang::En, &madrid, now, now - Duration::from_hours(48))), "23:50 on 29 Dec");
        assert_eq!(exact(Lang::Es, &madrid, now, now + Duration::from_millis(204)), "23:50:00,204");
        assert_eq!(plain(exact(Lang::En, &madrid, now + Duration::from_mins(20), now)), "23:50:00.000 on 31 Dec 2026");
        assert_eq!(plain(date(Lang::Es, &madrid, now)), "31 dic 2026, 23:50:00 (CET)");
    }

    #[test]
    fn lengths_of_time_have_two_units_at_most() {
        for (seconds, text) in
            [(0, "0 s"), (24, "24 s"), (185, "3 min 5 s"), (7_200, "2 h"), (7_260, "2 h 1 min"), (259_201, "3 d")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)).replace(NO_BREAK, " "), text);
        }
    }

    #[test]
    fn an_address_is_never_shown_whole() {
        for (address, shown) in [
            ("cliente@example.org", "c•••••e@example.org"),
            ("ana@example.org", "a•••••a@example.org"),
            ("an@example.org", "•••••@example.org"),
            ("a@localhost", "•••••@localhost"),
            ("ñandú@example.org", "ñ•••••ú@example.org"),
        ] {
            assert_eq!(masked(&address.parse().unwrap()), shown);
        }
    }
}
