//! How many instances of each role are wanted now, and why, in words.

use minijinja::{Value, context};

use super::{says::Voice, watch::Watch};
use crate::{
    domain::Lang,
    pages::format,
    role::Role,
    scale::{Decision, Need, Source, Why},
    words::{fill, word},
};

/// What `/scale` says, as rows of a table.
pub(super) fn rows(watch: &Watch, voice: Voice<'_>) -> Vec<Value> {
    let row = |(role, decision): &(Role, Decision)| {
        context! {
            role => voice.word(role.word()), wanted => decision.wanted, there => decision.seen.instances,
            reason => reason(voice.lang, decision),
        }
    };
    watch.decided().iter().map(row).collect()
}

/// How many instances of a role there are, where that is known.
pub(super) fn there(watch: &Watch) -> impl Fn(Role) -> Option<u32> {
    let decided = watch.decided();
    move |role| decided.iter().find(|(other, _)| *other == role)?.1.seen.instances
}

/// Why so many, in words.
pub(in crate::ops) fn reason(lang: Lang, decision: &Decision) -> String {
    let Decision { wanted, need: Need { instances, why, beyond }, seen, capacity, source } = decision;
    let number = |n: u64| format::number(lang, n);
    let places = [
        ("a", rate(lang, seen.arriving)),
        ("c", rate(lang, *capacity)),
        ("n", number(seen.waiting)),
        ("t", format::duration(seen.behind)),
        ("k", number(u64::from(*instances))),
        ("b", number(u64::from(beyond.unwrap_or_default()))),
        ("m", number(u64::from(seen.shares.unwrap_or_default()))),
    ];
    let why = match why {
        Why::Idle => "scale_idle",
        Why::Arriving => "scale_arriving",
        Why::Backlog => "scale_backlog",
        Why::CatchingUp => "scale_catching_up",
    };
    let more = [
        ("scale_guessed", *source == Source::Guessed && seen.arriving > 0.0),
        ("scale_beyond", beyond.is_some()),
        ("scale_kept", wanted > instances),
    ];
    let keys = [why].into_iter().chain(more.into_iter().filter(|(_, is_so)| *is_so).map(|(key, _)| key));
    keys.map(|key| fill(word(lang, key), &places).into_owned()).collect::<Vec<_>>().join("; ")
}

/// A rate with a tenth where that says something.
pub(super) fn rate(lang: Lang, per_s: f64) -> String {
    if per_s >= 10.0 {
        return format::number(lang, per_s.round() as u64);
    }
    let text = format!("{per_s:.1}");
    if lang == Lang::Es { text.replace('.', ",") } else { text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        role::Role,
        scale::{Observed, Scaler, Settings},
    };

    fn decided(seen: Observed) -> Decision {
        let settings = Settings { capacity: [Some(2_100.0); 4], ..Settings::default() };
        Scaler::new(Role::Fulfilment, &settings).decide(seen, Duration::ZERO)
    }

    #[test]
    fn reasons_are_told_in_words() {
        let seen = Observed { arriving: 4_000.0, instances: Some(1), shares: Some(3), ..Observed::default() };
        let behind = Observed { waiting: 150_000, behind: Duration::from_secs(40), ..seen };
        let said = |lang, seen| reason(lang, &decided(seen));
        insta::assert_snapshot!(said(Lang::En, seen), @"4,000/s come, and one instance does 2,100/s");
        insta::assert_snapshot!(said(Lang::En, behind), @"150,000 wait, 40 s behind, and one instance does 2,100/s; 4 would be needed, and no more than 3 can share the work");
        insta::assert_snapshot!(said(Lang::Es, behind), @"esperan 150.000, 40 s por detrás, y una instancia hace 2100/s; harían falta 4, y no pueden repartirse el trabajo más de 3");
        insta::assert_snapshot!(said(Lang::En, Observed { arriving: 0.4, waiting: 40, ..behind }), @"40 wait, 40 s behind; those that are there are done before another one would help");
        insta::assert_snapshot!(said(Lang::En, Observed { arriving: 0.0, instances: Some(3), ..seen }), @"nothing comes, and nothing waits; 1 would be enough now, but not for long enough yet");
    }
}
