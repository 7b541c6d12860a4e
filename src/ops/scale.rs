//! `/scale`: how many instances of each role are wanted, and why, as JSON that KEDA's `metrics-api` reads as it is; the numbers
//! are metrics, too. `docs/elasticity.md` says how they come about.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use serde_json::{Map, Value, json};

use super::{Ops, desk::Watch};
use crate::{
    domain::Lang,
    pages::{Reader, format},
    scale::{Decision, Need, Source, Why},
    web::Problem,
    words::{fill, word},
};

/// `GET /scale`. 503 when nothing is known: a number that is guessed would stop instances that are needed.
pub(super) async fn scale(State(ops): State<Ops>, reader: Reader) -> Response {
    let wanted = ops.watch.wanted().await;
    if wanted.is_empty() {
        let detail = "neither the log nor the store has answered yet; keep what runs, and ask again in a moment";
        return Problem::unavailable(detail).into_response();
    }
    let roles = wanted.iter().map(|(role, decision)| (role.name().to_owned(), as_json(reader.lang, decision)));
    Json(Value::Object(roles.collect::<Map<_, _>>())).into_response()
}

/// The numbers as metrics; of roles about which nothing is known there are none.
pub(super) async fn measure(watch: &Watch, registry: &mut Registry) {
    let wanted = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    for (role, decision) in watch.wanted().await {
        wanted.get_or_create(&[("role", role.name())]).set(i64::from(decision.wanted));
    }
    registry.register("encargo_scale_wanted", "Instances of a role that are wanted, as /scale tells", wanted);
}

fn as_json(lang: Lang, decision: &Decision) -> Value {
    let Decision { wanted, need, seen, capacity, source } = decision;
    json!({
        "wanted": wanted, "reason": reason(lang, decision), "needed": need.instances, "arriving_per_s": rounded(seen.arriving),
        "waiting": seen.waiting, "behind_s": rounded(seen.behind.as_secs_f64()), "instances": seen.instances,
        "at_most": seen.shares, "capacity_per_s": rounded(*capacity), "capacity": source.name(),
    })
}

/// Why, in words.
fn reason(lang: Lang, decision: &Decision) -> String {
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
fn rate(lang: Lang, per_s: f64) -> String {
    if per_s >= 10.0 {
        return format::number(lang, per_s.round() as u64);
    }
    let text = format!("{per_s:.1}");
    if lang == Lang::Es { text.replace('.', ",") } else { text }
}

/// To a tenth.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
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
