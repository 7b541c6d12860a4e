//! Which step of moving over is next. No I/O.

use super::survey::Survey;

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Topics of ours are missing.
    Topics,
    /// `peticiones.py` → intake. First, since ids that begin again at 1 are the one thing that cannot be mended.
    Intake,
    /// `procesamiento.py` → fulfilment.
    Processing,
    /// `notificaciones.py` → tracking and mail.
    Notifications,
    /// All are ours.
    Done,
}

impl Step {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Topics => "topics",
            Self::Intake => "intake",
            Self::Processing => "processing",
            Self::Notifications => "notifications",
            Self::Done => "done",
        }
    }
}

/// What to do, and what is wrong.
#[derive(Debug)]
pub(super) struct Advice {
    pub(super) next: Step,
    pub(super) text: String,
    pub(super) troubles: Vec<String>,
}

pub(super) fn advise(survey: &Survey) -> Advice {
    let (next, text) = next(survey);
    Advice { next, text, troubles: troubles(survey) }
}

fn next(survey: &Survey) -> (Step, String) {
    if !survey.missing.is_empty() {
        let names = survey.missing.join(", ");
        return (Step::Topics, format!("create what is missing ({names}): `encargo log init`"));
    }
    if survey.takes_old_orders || survey.next_id <= survey.highest_id {
        return (Step::Intake, intake(survey));
    }
    if survey.ours.processing.is_empty() || !survey.old.processing.is_empty() {
        let text = if survey.old.processing.is_empty() {
            "start `encargo fulfilment`: it carries on what the old one began".to_owned()
        } else {
            format!("stop procesamiento.py ({}), then look again", survey.old.processing.join(", "))
        };
        return (Step::Processing, text);
    }
    if survey.ours.notifications.is_empty() || !survey.old.notifications.is_empty() {
        return (Step::Notifications, notifications(survey));
    }
    let text = if survey.forwards {
        "all are ours; once you will not go back, take topics.forward_states and mail.since out of the settings"
    } else {
        "all are ours"
    };
    (Step::Done, text.to_owned())
}

fn intake(survey: &Survey) -> String {
    if survey.next_id > survey.highest_id {
        return "stop peticiones.py if it still runs, and start `encargo intake`".to_owned();
    }
    let stopped = if survey.next_id > 1 { " --intake-stopped" } else { "" };
    format!(
        "stop peticiones.py and every intake of ours, look again, then `encargo log init --first-id {}{stopped}`, and start \
         `encargo intake`",
        survey.highest_id + 1
    )
}

fn notifications(survey: &Survey) -> String {
    if !survey.old.notifications.is_empty() {
        let members = survey.old.notifications.join(", ");
        return format!(
            "stop notificaciones.py ({members}), then look again for the time from which on ours have to mail"
        );
    }
    let since = survey.mail_since.map_or_else(
        || "nobody has mailed what the topic holds, so leave mail.since empty: start".to_owned(),
        |since| format!("set mail.since = \"{since}\" and start"),
    );
    format!("{since} `encargo tracking` and `encargo mail`")
}

fn troubles(survey: &Survey) -> Vec<String> {
    let mut troubles = Vec::new();
    for (what, old, ours) in [
        ("procesamiento.py and fulfilment", &survey.old.processing, &survey.ours.processing),
        ("notificaciones.py and tracking", &survey.old.notifications, &survey.ours.notifications),
    ] {
        if !old.is_empty() && !ours.is_empty() {
            troubles.push(format!("{what} both run, so customers are mailed twice: stop one ({})", old.join(", ")));
        }
    }
    if survey.ids_given_twice > 0 {
        troubles.push(format!(
            "{} ids stand for two orders each, as the old intake counts from 1 at every start: the later ones become dead \
             letters of ours (`encargo dead list`)",
            survey.ids_given_twice
        ));
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::{super::survey::Who, *};
    use crate::domain::Timestamp;

    type Change = fn(&mut Survey, Vec<String>);

    fn step(change: impl FnOnce(&mut Survey)) -> (&'static str, String, usize) {
        let all = Who { processing: vec!["encargo-slot-0".into()], notifications: vec!["encargo-slot-0".into()] };
        let mut survey = Survey { highest_id: 9, next_id: 10, ours: all, ..Survey::default() };
        change(&mut survey);
        let Advice { next, text, troubles } = advise(&survey);
        (next.name(), text, troubles.len())
    }

    #[test]
    fn each_state_of_the_move_has_its_step() {
        let old = || vec!["kafka-python@127.0.0.1".to_owned()];
        let cases: [(Change, &str, &str, usize); 12] = [
            (|_, _| {}, "done", "all are ours", 0),
            (|s, _| s.forwards = true, "done", "forward_states", 0),
            (|s, _| s.missing = vec!["encargo_ids".into()], "topics", "encargo_ids", 0),
            (|s, _| s.next_id = 1, "intake", "--first-id 10`", 0),
            (|s, _| s.next_id = 5, "intake", "--first-id 10 --intake-stopped`", 0),
            (|s, _| s.takes_old_orders = true, "intake", "start `encargo intake`", 0),
            (|s, _| s.ours.processing.clear(), "processing", "start `encargo fulfilment`", 0),
            (|s, old| s.old.processing = old, "processing", "stop procesamiento.py (kafka-python@127.0.0.1)", 1),
            (|s, old| s.old.notifications = old, "notifications", "stop notificaciones.py", 1),
            (|s, _| s.ours.notifications.clear(), "notifications", "leave mail.since empty", 0),
            (
                |s, _| {
                    s.ours.notifications.clear();
                    s.mail_since = Some(Timestamp::from_millis(0));
                },
                "notifications",
                "mail.since = \"1970-01-01T00:00:00.000Z\"",
                0,
            ),
            (|s, _| s.ids_given_twice = 2, "done", "all are ours", 1),
        ];
        for (change, name, text, troubles) in cases {
            let found = step(|survey| change(survey, old()));
            assert_eq!((found.0, found.2), (name, troubles), "{}", found.1);
            assert!(found.1.contains(text), "{} lacks {text}", found.1);
        }
    }
}
