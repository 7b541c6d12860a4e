//! Why an order stands where it stands, in words.

use std::{borrow::Cow, time::Duration};

use super::{fill, word};
use crate::domain::{
    Lang, Timestamp,
    why::{Facts, Road, Why},
};

/// In a sentence.
pub fn title(why: &Why, lang: Lang) -> &'static str {
    word(lang, &format!("why_{}", why.code().replace('-', "_")))
}

/// The same with all that is known, as sentences. `time` and `span` are how the reader sees times.
pub fn details(
    why: &Why,
    facts: &Facts<'_>,
    lang: Lang,
    time: &dyn Fn(Timestamp) -> String,
    span: &dyn Fn(Duration) -> String,
    text: &dyn Fn(&str) -> String,
) -> String {
    let since = ("since", time(facts.at));
    let say = |key: &str, places: &[(&str, String)]| fill(word(lang, key), places);
    let due = |at: &Timestamp| ("due", time(*at));
    let mut sentences: Vec<Cow<'_, str>> = match why {
        Why::Timer { due: at } => vec![say("why_since_timer", &[since, due(at)])],
        Why::Late { due: at, road } => vec![say("why_since_late", &[since, due(at)]), of_road(road, lang, text)],
        Why::Command { expect_at: Some(at) } | Why::Overdue { expect_at: at } => {
            vec![say("why_since_expected", &[since, due(at)])]
        }
        Why::Command { expect_at: None } | Why::Untold => vec![say("why_since", &[since])],
        Why::Held { left: None } => vec![say("why_since_held", &[since])],
        Why::Held { left: Some(left) } => {
            vec![say("why_since_held", &[since]), say("why_left", &[("left", span(*left))])]
        }
        Why::Closed(_) => vec![say("why_since_closed", &[since])],
    };
    if let Some(by) = facts.by.filter(|_| !matches!(why, Why::Timer { .. } | Why::Late { .. } | Why::Overdue { .. })) {
        sentences.push(say("why_by", &[("by", text(by))]));
        sentences.extend(facts.reason.map(|reason| say("why_reason", &[("reason", text(reason))])));
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.join(" ")
}

fn of_road(road: &Road, lang: Lang, text: &dyn Fn(&str) -> String) -> Cow<'static, str> {
    let (key, partition, records) = match road {
        Road::Unknown => return Cow::Borrowed(""),
        Road::Clear => return Cow::Borrowed(word(lang, "why_road_clear")),
        Road::Unread { partition } => ("why_road_unread", partition, None),
        Road::Behind { partition, records } => ("why_road_behind", partition, Some(records)),
        Road::Untold { partition, records } => ("why_road_untold", partition, Some(records)),
    };
    let records = records.map(|records| ("records", records.to_string()));
    fill(word(lang, key), &[("partition", text(partition))].into_iter().chain(records).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Closing, Exits, Waits};

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn told(waits: Waits, exits: Exits, road: Road) -> String {
        let why = Why::of(waits, exits, road, NOW);
        let facts =
            Facts { at: NOW - Duration::from_mins(1), waits, exits, by: Some("cocina"), reason: Some("sin pan") };
        let time = |at: Timestamp| at.to_string()[11..19].to_owned();
        let span = |span: Duration| format!("{} s", span.as_secs());
        let of = |lang| format!("{} {}", title(&why, lang), details(&why, &facts, lang, &time, &span, &str::to_owned));
        format!("{}: {}\n{}", why.code(), of(Lang::Es), of(Lang::En))
    }

    #[test]
    fn every_reason_has_a_code_and_words() {
        let (second, none) = (Duration::from_secs(1), Exits::default());
        let (soon, past) = (NOW + second * 5, NOW - second * 5);
        let expected = |at| Exits { expect_at: Some(at), ..none };
        let partition = || "compra_detalle/2".to_owned();
        let all = [
            told(Waits::Until(soon), none, Road::Clear),
            told(Waits::Until(NOW - second), none, Road::Unknown), // not late yet
            told(Waits::Until(past), none, Road::Clear),
            told(Waits::Until(past), none, Road::Unread { partition: partition() }),
            told(Waits::Until(past), none, Road::Behind { partition: partition(), records: 218 }),
            told(Waits::Until(past), none, Road::Untold { partition: "compra_confirmada/2".into(), records: 3 }),
            told(Waits::ForCommand, none, Road::Unknown),
            told(Waits::ForCommand, expected(past), Road::Unknown),
            told(Waits::Held(Some(second * 3)), none, Road::Unknown),
            told(Waits::Closed(Closing::Cancelled), none, Road::Unknown),
            told(Waits::Untold, none, Road::Unknown),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        timer: Espera a que pase su tiempo. Está así desde 15:59:00 y sigue a las 16:00:05.
        It waits for its time to pass. It has been like this since 15:59:00 and goes on at 16:00:05.
        timer: Espera a que pase su tiempo. Está así desde 15:59:00 y sigue a las 15:59:59.
        It waits for its time to pass. It has been like this since 15:59:00 and goes on at 15:59:59.
        late: Va con retraso, y desde aquí no se ve por qué. Está así desde 15:59:00 y tenía que seguir a las 15:59:55. Su partición se lee y está al día.
        It is late, and the cause cannot be seen from here. It has been like this since 15:59:00 and was due to go on at 15:59:55. Its partition is read and has caught up.
        late-unread: Espera a que alguien se ocupe de su partición. Está así desde 15:59:00 y tenía que seguir a las 15:59:55. Nadie lee su partición, compra_detalle/2.
        It waits for someone to take its partition. It has been like this since 15:59:00 and was due to go on at 15:59:55. Nobody reads its partition, compra_detalle/2.
        late-behind: Su partición va con retraso. Está así desde 15:59:00 y tenía que seguir a las 15:59:55. Su partición, compra_detalle/2, se lee con retraso; registros pendientes: 218.
        Its partition is behind. It has been like this since 15:59:00 and was due to go on at 15:59:55. Its partition, compra_detalle/2, is read behind time; records left: 218.
        late-untold: Puede que ya haya avanzado: lo que se ve aquí va con retraso. Está así desde 15:59:00 y tenía que seguir a las 15:59:55. Registros de compra_confirmada/2 por contar: 3.
        It may have moved on: what is seen here is behind. It has been like this since 15:59:00 and was due to go on at 15:59:55. Records of compra_confirmada/2 still to be told: 3.
        command: Espera a que alguien lo haga avanzar. Está así desde 15:59:00. Lo hizo cocina. Motivo: sin pan
        It waits for somebody to move it on. It has been like this since 15:59:00. It was done by cocina. Reason: sin pan
        command-late: Alguien tenía que haberlo hecho avanzar. Está así desde 15:59:00; se esperaba para 15:59:55.
        Somebody should have moved it on. It has been like this since 15:59:00; that was expected by 15:59:55.
        held: Está detenido. Está detenido desde 15:59:00. Cuando se reanude le quedarán 3 s. Lo hizo cocina. Motivo: sin pan
        It is held. It has been held since 15:59:00. Once it is resumed, 3 s of its time are left. It was done by cocina. Reason: sin pan
        cancelled: Está cancelado. Lo está desde 15:59:00. Lo hizo cocina. Motivo: sin pan
        It is cancelled. It has been since 15:59:00. It was done by cocina. Reason: sin pan
        untold: Lo escribió un servicio anterior, que no dice a qué espera. Está así desde 15:59:00. Lo hizo cocina. Motivo: sin pan
        An old service wrote it, which does not say what it waits for. It has been like this since 15:59:00. It was done by cocina. Reason: sin pan
        ");
    }
}
