//! What tells one flow from another, and what that means for orders.

use super::keys;
use crate::domain::{
    Flow,
    flow::{End, Step},
};

/// Something that is not the same in both flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The state that it is about.
    pub state: String,
    /// The key as it stands in a file; `step` for a state that only one of the two has in its line, `order` for one that
    /// stands elsewhere in it.
    pub key: &'static str,
    /// What the first flow says; `None` when it says nothing.
    pub before: Option<String>,
    /// What the second one says.
    pub after: Option<String>,
}

/// What becomes of orders when the second flow is put in the first one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing: both say the same.
    Same,
    /// It is refused: one version cannot mean two things.
    Refused,
    /// Orders in flight go on under the first, new ones begin under the second.
    Newer,
    /// The first stays in force: it is the newer one.
    Older,
    /// As with a newer version; but versions of another name are counted for themselves.
    OtherName,
}

/// What putting `after` in the place of `before` means.
pub fn meaning(before: &Flow, after: &Flow) -> Meaning {
    if before.name() != after.name() {
        return Meaning::OtherName;
    }
    if before.fingerprint() == after.fingerprint() {
        return Meaning::Same;
    }
    match before.version().cmp(&after.version()) {
        std::cmp::Ordering::Less => Meaning::Newer,
        std::cmp::Ordering::Equal => Meaning::Refused,
        std::cmp::Ordering::Greater => Meaning::Older,
    }
}

/// All that differs, in the order of the second flow's line, then what only the first one has, then the ends.
pub fn compare(before: &Flow, after: &Flow) -> Vec<Change> {
    let mut changes = Vec::new();
    let common = |flow: &Flow, other: &Flow| -> Vec<String> {
        let states = flow.steps().iter().map(|step| step.state.to_string());
        states.filter(|state| other.seq_of(state).is_some()).collect()
    };
    let (old_order, new_order) = (common(before, after), common(after, before));
    for (i, step) in after.steps().iter().enumerate() {
        let Some(old) = before.seq_of(&step.state).and_then(|seq| before.step(seq)) else {
            changes.push(change(&step.state, "step", None, Some(whole(step, i))));
            continue;
        };
        let (was, is) = (neighbour(&old_order, &step.state), neighbour(&new_order, &step.state));
        if was != is {
            changes.push(change(&step.state, "order", Some(was), Some(is)));
        }
        changes.extend(differences(&step.state, &keys(old), &keys(step)));
    }
    for (i, step) in before.steps().iter().enumerate().filter(|(_, step)| after.seq_of(&step.state).is_none()) {
        changes.push(change(&step.state, "step", Some(whole(step, i)), None));
    }
    let ends = [
        ("cancelled", Some(before.cancelled()), Some(after.cancelled())),
        ("refused", before.refused(), after.refused()),
    ];
    for (key, before, after) in ends.into_iter().filter(|(_, before, after)| before != after) {
        let state = after.or(before).map_or("", |end| &end.state);
        changes.push(change(state, key, before.map(end), after.map(end)));
    }
    changes
}

fn differences(state: &str, before: &[(&'static str, String)], after: &[(&'static str, String)]) -> Vec<Change> {
    let find =
        |all: &[(&'static str, String)], key| all.iter().find(|(other, _)| *other == key).map(|(_, text)| text.clone());
    ["leave", "dwell", "for", "expect", "cancel", "mail"]
        .into_iter()
        .map(|key| change(state, key, find(before, key), find(after, key)))
        .filter(|change| change.before != change.after)
        .collect()
}

/// What a state follows, among those that both flows have: a state that is put between two others moves neither.
fn neighbour(order: &[String], state: &str) -> String {
    let at = order.iter().position(|other| other == state);
    match at.and_then(|at| at.checked_sub(1)) {
        Some(before) => format!("after {}", order[before]),
        None => "first".to_owned(),
    }
}

fn whole(step: &Step, index: usize) -> String {
    let keys: Vec<String> = keys(step).into_iter().map(|(key, words)| format!("{key} {words}")).collect();
    format!("place {}: {}", index + 1, if keys.is_empty() { "the end".to_owned() } else { keys.join(", ") })
}

fn end(end: &End) -> String {
    let mail = end.mail.as_ref().map_or_else(|| "no mail".to_owned(), |name| format!("mail {name}"));
    format!("{}, {mail}", end.state)
}

fn change(state: &str, key: &'static str, before: Option<String>, after: Option<String>) -> Change {
    Change { state: state.to_owned(), key, before, after }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::flows::file;

    fn flow(version: u32, steps: &str) -> Flow {
        let text = format!("name = \"a\"\nversion = {version}\ndwell = \"8s\"\n{steps}");
        file::parse(Path::new("t.toml"), &text).unwrap()
    }

    fn states(version: u32, states: &[&str]) -> Flow {
        let steps: Vec<String> = states.iter().map(|state| format!("[[step]]\nstate = \"{state}\"\n")).collect();
        flow(version, &steps.concat())
    }

    fn lines(before: &Flow, after: &Flow) -> Vec<String> {
        let text = |part: Option<String>| part.unwrap_or("-".into());
        let line = |c: Change| format!("{} {}: {} > {}", c.state, c.key, text(c.before), text(c.after));
        compare(before, after).into_iter().map(line).collect()
    }

    #[test]
    fn a_state_that_is_put_in_moves_no_other() {
        let before = states(1, &["a", "b", "c"]);
        let after = states(2, &["a", "n", "b", "c"]);
        let new = "n step: - > place 2: leave timer, dwell 8s, cancel customer, mail n";
        assert_eq!(lines(&before, &after), [new]);
        assert_eq!(lines(&after, &before), [new.replace("- > ", "") + " > -"]);
        assert_eq!(
            lines(&before, &states(1, &["b", "a", "c"])),
            [
                "b order: after a > first",
                "b cancel: operator > customer",
                "a order: first > after b",
                "a cancel: customer > operator",
                "c order: after b > after a"
            ]
        );
    }

    #[test]
    fn keys_and_ends_are_compared_one_by_one() {
        let before = flow(1, "[[step]]\nstate = \"a\"\n[[step]]\nstate = \"b\"\n");
        let after = flow(
            1,
            "[[step]]\nstate = \"a\"\nleave = \"either\"\ndwell = \"9s\"\nexpect = \"4s\"\nmail = false\n\
             for = [{ product = \"1*\", name = \"x?\", dwell = \"1s\" }]\n[[step]]\nstate = \"b\"\n\
             [refused]\nstate = \"no\"\n[cancelled]\nstate = \"cancelado\"\nmail = false\n",
        );
        insta::assert_snapshot!(lines(&before, &after).join("\n"), @r#"
        a leave: timer > timer or command
        a dwell: 8s > 9s
        a for: - > 1s for product 1* and name x?
        a expect: - > 4s
        a mail: a > -
        cancelado cancelled: cancelado, mail cancelado > cancelado, no mail
        no refused: - > no, mail no
        "#);
    }

    #[test]
    fn what_it_means_goes_by_name_version_and_content() {
        let (one, two) = (states(1, &["a", "b"]), states(2, &["a", "b", "c"]));
        assert_eq!(meaning(&one, &two), Meaning::Newer);
        assert_eq!(meaning(&two, &one), Meaning::Older);
        assert_eq!(meaning(&one, &one.with_version(7)), Meaning::Same);
        assert_eq!(meaning(&one, &two.with_version(1)), Meaning::Refused);
        assert_eq!(meaning(&one, &Flow::standard(std::time::Duration::ZERO)), Meaning::OtherName);
    }
}
