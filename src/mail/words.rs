//! The words that every mail shares, in both languages.

use std::{borrow::Cow, time::Duration};

use jiff::{ZonedDateTime, tz::TimeZone};

use crate::{
    domain::{Lang, Timestamp},
    store::links::LINK,
};

/// Steps shorter than this are told to the second.
const SECONDS_SHOWN_BELOW: Duration = Duration::from_mins(10);

/// The fixed words of the layouts, by the name under which a template finds them in `t`.
pub(super) fn labels(lang: Lang) -> [(&'static str, &'static str); 7] {
    match lang {
        Lang::Es => [
            ("product", "Producto"),
            ("price", "Precio"),
            ("order", "Pedido"),
            ("state", "Estado"),
            ("next", "Lo siguiente"),
            ("follow", "Seguir mi pedido"),
            ("footer", "Te escribimos porque hiciste este pedido. El mensaje es automático: no hace falta responder."),
        ],
        Lang::En => [
            ("product", "Product"),
            ("price", "Price"),
            ("order", "Order"),
            ("state", "State"),
            ("next", "What comes next"),
            ("follow", "Follow my order"),
            ("footer", "We write because you placed this order. This message is automatic: no need to reply."),
        ],
    }
}

/// A state as a customer reads it; states of other flows are shown by their own name.
pub(super) fn state(lang: Lang, state: &str) -> Cow<'_, str> {
    let known = match (lang, state) {
        (Lang::Es, "recibido") => "Recibido",
        (Lang::Es, "preparando") => "En preparación",
        (Lang::Es, "entregando") => "En camino",
        (Lang::Es, "finalizado") => "Completado",
        (Lang::Es, "cancelado") => "Cancelado",
        (Lang::Es, "rechazado") => "No aceptado",
        (Lang::Es, LINK) => "Enlace al pedido",
        (Lang::En, "recibido") => "Received",
        (Lang::En, "preparando") => "Being prepared",
        (Lang::En, "entregando") => "On its way",
        (Lang::En, "finalizado") => "Complete",
        (Lang::En, "cancelado") => "Cancelled",
        (Lang::En, "rechazado") => "Not accepted",
        (Lang::En, LINK) => "Link to the order",
        _ => return capitalised(state),
    };
    Cow::Borrowed(known)
}

fn capitalised(text: &str) -> Cow<'_, str> {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if first.is_lowercase() => Cow::Owned(first.to_uppercase().chain(chars).collect()),
        _ => Cow::Borrowed(text),
    }
}

/// When the next state is due, as seen at `at`: the time in the zone, with the date unless it is that of `at`.
pub(super) fn due(lang: Lang, zone: &TimeZone, at: Timestamp, next: Timestamp) -> String {
    let (today, then) = (local(zone, at), local(zone, next));
    let format = if next.since(at) < SECONDS_SHOWN_BELOW { "%H:%M:%S" } else { "%H:%M" };
    let (time, zone) = (then.strftime(format), then.strftime("%Z"));
    if today.date() == then.date() {
        return match lang {
            Lang::Es => format!("hacia las {time} ({zone})"),
            Lang::En => format!("at about {time} ({zone})"),
        };
    }
    let (day, month) = (then.day(), month(lang, &then));
    let year = if today.year() == then.year() { None } else { Some(then.year()) };
    match (lang, year) {
        (Lang::Es, None) => format!("el {day} de {month}, hacia las {time} ({zone})"),
        (Lang::Es, Some(year)) => format!("el {day} de {month} de {year}, hacia las {time} ({zone})"),
        (Lang::En, None) => format!("on {day} {month}, at about {time} ({zone})"),
        (Lang::En, Some(year)) => format!("on {day} {month} {year}, at about {time} ({zone})"),
    }
}

fn local(zone: &TimeZone, time: Timestamp) -> ZonedDateTime {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_zoned_datetime(zone.clone())
}

fn month(lang: Lang, date: &ZonedDateTime) -> &'static str {
    const ES: [&str; 12] = [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ];
    const EN: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let names = match lang {
        Lang::Es => ES,
        Lang::En => EN,
    };
    names[date.month() as usize - 1]
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

    #[test]
    fn states_of_other_flows_keep_their_name() {
        assert_eq!(state(Lang::En, "preparando"), "Being prepared");
        assert_eq!(state(Lang::En, "ñandú listo"), "Ñandú listo");
        assert_eq!(state(Lang::Es, ""), "");
    }
}
