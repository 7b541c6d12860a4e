use std::time::Duration;

use crate::domain::{
    flow::{Dwell, Exception, Leave, Step},
    format_duration,
};

/// A step in words, under the keys of a file; what it does not have is left out.
pub fn keys(step: &Step) -> Vec<(&'static str, String)> {
    let leave = step.leave.as_ref().map(|leave| match leave {
        Leave::Timer(_) => "timer".to_owned(),
        Leave::Command { .. } => "command".to_owned(),
        Leave::Either { .. } => "timer or command".to_owned(),
    });
    [
        ("leave", leave),
        ("dwell", step.dwell().map(|dwell| span(dwell.usual))),
        ("for", step.dwell().filter(|dwell| !dwell.exceptions.is_empty()).map(exceptions)),
        ("expect", step.expect().map(span)),
        ("cancel", step.cancel.map(|party| party.name().to_owned())),
        ("mail", step.mail.as_ref().map(ToString::to_string)),
    ]
    .into_iter()
    .filter_map(|(key, words)| Some((key, words?)))
    .collect()
}

fn exceptions(dwell: &Dwell) -> String {
    dwell.exceptions.iter().map(exception).collect::<Vec<_>>().join(", ")
}

/// The dwell of some products, in words.
pub fn exception(Exception { products, dwell }: &Exception) -> String {
    let parts =
        [products.key().map(|key| format!("product {key}")), products.name().map(|name| format!("name {name}"))];
    format!("{} for {}", span(*dwell), parts.into_iter().flatten().collect::<Vec<_>>().join(" and "))
}

fn span(time: Duration) -> String {
    format_duration(time)
}
