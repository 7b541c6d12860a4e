//! Why an order stands where it stands: as a code for programs, and in words.

use std::time::Duration;

use super::{Closing, Exits, Lang, Timestamp, Waits};

/// An order is late once its time was over for longer than this.
pub const LATE: Duration = Duration::from_secs(1);

/// What is known of an order, beside the words of a language.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Since when it is like this: its latest event that is about more than an address.
    pub at: Timestamp,
    /// What it waits for.
    pub waits: Waits,
    /// How else its state can be left.
    pub exits: Exits,
    /// Who did that, if somebody did.
    pub by: Option<&'a str>,
    /// Why, in their words.
    pub reason: Option<&'a str>,
}

/// What is known of the way that an order's events take, from where they are decided to where they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Road {
    /// Nothing.
    #[default]
    Unknown,
    /// Nothing is in the way.
    Clear,
    /// Nobody reads the partition in which its next state is decided.
    Unread {
        /// The partition.
        partition: String,
    },
    /// Whoever reads it has not come far enough.
    Behind {
        /// The partition.
        partition: String,
        /// How many records are before them.
        records: u64,
    },
    /// It may have gone on: whoever tells of it has not come far enough.
    Untold {
        /// The partition.
        partition: String,
        /// How many records are before them.
        records: u64,
    },
}

/// Why an order stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Its time in the state is not over.
    Timer {
        /// When it is.
        due: Timestamp,
    },
    /// Its time is over, and it is still there.
    Late {
        /// When it was over.
        due: Timestamp,
        /// What may be the cause.
        road: Road,
    },
    /// Somebody is to move it on.
    Command {
        /// By when that is expected.
        expect_at: Option<Timestamp>,
    },
    /// Somebody should have moved it on.
    Overdue {
        /// By then.
        expect_at: Timestamp,
    },
    /// Its time was stopped.
    Held {
        /// How much of it is left, if it had one.
        left: Option<Duration>,
    },
    /// Its life is over.
    Closed(Closing),
    /// An old service wrote it, which does not tell.
    Untold,
}

/// How far one partition on that way is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The partition.
    pub partition: String,
    /// How many records are left in it.
    pub records: u64,
    /// Whether somebody reads it.
    pub is_read: bool,
    /// Whether its reader is behind, by what can be seen: in records to who looks once, in seconds to who watches.
    pub is_behind: bool,
}

impl Road {
    /// Over the partition in which the next state is decided, and the one in which it is told.
    pub fn over(input: Option<Stretch>, output: impl FnOnce() -> Option<Stretch>) -> Self {
        let Some(Stretch { partition, records, is_read, is_behind }) = input else { return Self::Unknown };
        if !is_read {
            return Self::Unread { partition };
        }
        if is_behind {
            return Self::Behind { partition, records };
        }
        match output() {
            Some(Stretch { partition, records, is_behind: true, .. }) => Self::Untold { partition, records },
            Some(_) => Self::Clear,
            None => Self::Unknown,
        }
    }
}

impl Why {
    /// Why an order stands like this at a time.
    pub fn of(waits: Waits, exits: Exits, road: Road, now: Timestamp) -> Self {
        match waits {
            Waits::Until(due) if due + LATE < now => Self::Late { due, road },
            Waits::Until(due) => Self::Timer { due },
            Waits::ForCommand => match exits.expect_at.filter(|expect| *expect + LATE < now) {
                Some(expect_at) => Self::Overdue { expect_at },
                None => Self::Command { expect_at: exits.expect_at },
            },
            Waits::Held(left) => Self::Held { left },
            Waits::Closed(closing) => Self::Closed(closing),
            Waits::Untold => Self::Untold,
        }
    }

    /// Its name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timer { .. } => "timer",
            Self::Late { road: Road::Unread { .. }, .. } => "late-unread",
            Self::Late { road: Road::Behind { .. }, .. } => "late-behind",
            Self::Late { road: Road::Untold { .. }, .. } => "late-untold",
            Self::Late { .. } => "late",
            Self::Command { .. } => "command",
            Self::Overdue { .. } => "command-late",
            Self::Held { .. } => "held",
            Self::Closed(closing) => closing.name(),
            Self::Untold => "untold",
        }
    }

    /// Whether somebody should look.
    pub const fn is_late(&self) -> bool {
        matches!(self, Self::Late { .. } | Self::Overdue { .. })
    }

    /// In a sentence.
    pub const fn title(&self, lang: Lang) -> &'static str {
        let (es, en) = match self {
            Self::Timer { .. } => ("Espera a que pase su tiempo.", "It waits for its time to pass."),
            Self::Late { road: Road::Unread { .. }, .. } => {
                ("Espera a que alguien se ocupe de su partición.", "It waits for someone to take its partition.")
            }
            Self::Late { road: Road::Behind { .. }, .. } => {
                ("Su partición va con retraso.", "Its partition is behind.")
            }
            Self::Late { road: Road::Untold { .. }, .. } => (
                "Puede que ya haya avanzado: lo que se ve aquí va con retraso.",
                "It may have moved on: what is seen here is behind.",
            ),
            Self::Late { .. } => (
                "Va con retraso, y desde aquí no se ve por qué.",
                "It is late, and the cause cannot be seen from here.",
            ),
            Self::Command { .. } => ("Espera a que alguien lo haga avanzar.", "It waits for somebody to move it on."),
            Self::Overdue { .. } => ("Alguien tenía que haberlo hecho avanzar.", "Somebody should have moved it on."),
            Self::Held { .. } => ("Está detenido.", "It is held."),
            Self::Closed(Closing::Finished) => ("Está completo.", "It is complete."),
            Self::Closed(Closing::Cancelled) => ("Está cancelado.", "It is cancelled."),
            Self::Closed(Closing::Refused) => ("Está rechazado.", "It is refused."),
            Self::Untold => (
                "Lo escribió un servicio anterior, que no dice a qué espera.",
                "An old service wrote it, which does not say what it waits for.",
            ),
        };
        in_words(lang, es, en)
    }

    /// The same with all that is known, as sentences. `time` and `span` are how the reader sees times.
    pub fn details(
        &self,
        facts: &Facts<'_>,
        lang: Lang,
        time: &dyn Fn(Timestamp) -> String,
        span: &dyn Fn(Duration) -> String,
    ) -> String {
        let say = |es: String, en: String| if lang == Lang::Es { es } else { en };
        let since = time(facts.at);
        let mut text = match self {
            Self::Timer { due } => {
                let due = time(*due);
                say(
                    format!("Está así desde {since} y sigue a las {due}."),
                    format!("It has been there since {since} and goes on at {due}."),
                )
            }
            Self::Late { due, road } => {
                let (due, road) = (time(*due), road.words(lang));
                let (es, en) = (
                    format!("Está así desde {since} y tenía que seguir a las {due}."),
                    format!("It has been there since {since} and was due to go on at {due}."),
                );
                say(es, en) + &road
            }
            Self::Command { expect_at: Some(expect) } | Self::Overdue { expect_at: expect } => {
                let expect = time(*expect);
                say(
                    format!("Está así desde {since}; se esperaba para {expect}."),
                    format!("It has been there since {since}; that was expected by {expect}."),
                )
            }
            Self::Command { expect_at: None } | Self::Untold => {
                say(format!("Está así desde {since}."), format!("It has been there since {since}."))
            }
            Self::Held { left } => {
                let left = left.map(span);
                let (es, en) = left.map_or_else(Default::default, |left| {
                    (
                        format!(" Cuando se reanude le quedarán {left}."),
                        format!(" Once it is resumed, {left} of its time are left."),
                    )
                });
                say(format!("Está detenido desde {since}.{es}"), format!("It has been held since {since}.{en}"))
            }
            Self::Closed(_) => say(format!("Lo está desde {since}."), format!("It has been since {since}.")),
        };
        if let Some(by) = facts.by.filter(|_| !matches!(self, Self::Timer { .. } | Self::Late { .. })) {
            text += &say(format!(" Lo hizo {by}."), format!(" It was done by {by}."));
            if let Some(reason) = facts.reason {
                text += &say(format!(" Motivo: {reason}"), format!(" Reason: {reason}"));
            }
        }
        text
    }
}

impl Road {
    fn words(&self, lang: Lang) -> String {
        let say = |es: String, en: String| if lang == Lang::Es { es } else { en };
        match self {
            Self::Unknown => String::new(),
            Self::Clear => {
                say(" Su partición se lee y está al día.".into(), " Its partition is read and has caught up.".into())
            }
            Self::Unread { partition } => say(
                format!(" Nadie lee su partición, {partition}."),
                format!(" Nobody reads its partition, {partition}."),
            ),
            Self::Behind { partition, records } => say(
                format!(" A quien lee su partición, {partition}, le quedan {records} registros."),
                format!(" Whoever reads its partition, {partition}, has {records} records left."),
            ),
            Self::Untold { partition, records } => say(
                format!(" De {partition} quedan {records} registros por contar."),
                format!(" {records} records of {partition} are still to be told."),
            ),
        }
    }
}

const fn in_words(lang: Lang, es: &'static str, en: &'static str) -> &'static str {
    match lang {
        Lang::Es => es,
        Lang::En => en,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn told(waits: Waits, exits: Exits, road: Road) -> String {
        let why = Why::of(waits, exits, road, NOW);
        let facts =
            Facts { at: NOW - Duration::from_mins(1), waits, exits, by: Some("cocina"), reason: Some("sin pan") };
        let time = |at: Timestamp| at.to_string()[11..19].to_owned();
        let span = |span: Duration| format!("{} s", span.as_secs());
        let of = |lang| format!("{} {}", why.title(lang), why.details(&facts, lang, &time, &span));
        format!("{}: {}\n{}", why.code(), of(Lang::Es), of(Lang::En))
    }

    #[test]
    fn the_first_thing_in_the_way_is_told() {
        let stretch =
            |records, is_read, is_behind| Some(Stretch { partition: "p/0".to_owned(), records, is_read, is_behind });
        let (partition, fine) = ("p/0".to_owned(), stretch(1, true, false));
        for (input, output, road) in [
            (None, fine.clone(), Road::Unknown),
            (stretch(3, false, true), fine.clone(), Road::Unread { partition: partition.clone() }),
            (stretch(3, true, true), fine.clone(), Road::Behind { partition: partition.clone(), records: 3 }),
            (fine.clone(), stretch(2, true, true), Road::Untold { partition, records: 2 }),
            (fine.clone(), fine.clone(), Road::Clear),
            (fine, None, Road::Unknown),
        ] {
            assert_eq!(Road::over(input, || output), road);
        }
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
        It waits for its time to pass. It has been there since 15:59:00 and goes on at 16:00:05.
        timer: Espera a que pase su tiempo. Está así desde 15:59:00 y sigue a las 15:59:59.
        It waits for its time to pass. It has been there since 15:59:00 and goes on at 15:59:59.
        late: Va con retraso, y desde aquí no se ve por qué. Está así desde 15:59:00 y tenía que seguir a las 15:59:55. Su partición se lee y está al día.
        It is late, and the cause cannot be seen from here. It has been there since 15:59:00 and was due to go on at 15:59:55. Its partition is read and has caught up.
        late-unread: Espera a que alguien se ocupe de su partición. Está así desde 15:59:00 y tenía que seguir a las 15:59:55. Nadie lee su partición, compra_detalle/2.
        It waits for someone to take its partition. It has been there since 15:59:00 and was due to go on at 15:59:55. Nobody reads its partition, compra_detalle/2.
        late-behind: Su partición va con retraso. Está así desde 15:59:00 y tenía que seguir a las 15:59:55. A quien lee su partición, compra_detalle/2, le quedan 218 registros.
        Its partition is behind. It has been there since 15:59:00 and was due to go on at 15:59:55. Whoever reads its partition, compra_detalle/2, has 218 records left.
        late-untold: Puede que ya haya avanzado: lo que se ve aquí va con retraso. Está así desde 15:59:00 y tenía que seguir a las 15:59:55. De compra_confirmada/2 quedan 3 registros por contar.
        It may have moved on: what is seen here is behind. It has been there since 15:59:00 and was due to go on at 15:59:55. 3 records of compra_confirmada/2 are still to be told.
        command: Espera a que alguien lo haga avanzar. Está así desde 15:59:00. Lo hizo cocina. Motivo: sin pan
        It waits for somebody to move it on. It has been there since 15:59:00. It was done by cocina. Reason: sin pan
        command-late: Alguien tenía que haberlo hecho avanzar. Está así desde 15:59:00; se esperaba para 15:59:55. Lo hizo cocina. Motivo: sin pan
        Somebody should have moved it on. It has been there since 15:59:00; that was expected by 15:59:55. It was done by cocina. Reason: sin pan
        held: Está detenido. Está detenido desde 15:59:00. Cuando se reanude le quedarán 3 s. Lo hizo cocina. Motivo: sin pan
        It is held. It has been held since 15:59:00. Once it is resumed, 3 s of its time are left. It was done by cocina. Reason: sin pan
        cancelled: Está cancelado. Lo está desde 15:59:00. Lo hizo cocina. Motivo: sin pan
        It is cancelled. It has been since 15:59:00. It was done by cocina. Reason: sin pan
        untold: Lo escribió un servicio anterior, que no dice a qué espera. Está así desde 15:59:00. Lo hizo cocina. Motivo: sin pan
        An old service wrote it, which does not say what it waits for. It has been there since 15:59:00. It was done by cocina. Reason: sin pan
        ");
    }
}
