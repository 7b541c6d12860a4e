//! `/metrics`: what the services count, and what only the store, the log and the system know at the moment that somebody
//! asks. `docs/metrics.md` names them all.

use std::{
    fmt::Write as _,
    sync::{PoisonError, atomic::AtomicU64},
};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::text::encode_registry,
    metrics::{family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use super::{
    Ops,
    desk::{Desk, Watch},
    exposition,
    exposition::Format,
    ledger, process, scale,
};
use crate::web::Problem;

pub(super) async fn metrics(
    State(ops): State<Ops>,
    Extension(desk): Extension<Option<Desk>>,
    headers: HeaderMap,
) -> Response {
    let mut now = Registry::default();
    now.register("encargo_build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    ready(&ops, &mut now).await;
    lags(&ops.watch, &mut now).await;
    scale::measure(&ops.watch, desk.as_ref(), &mut now).await;
    if let Some(store) = ops.store()
        && let Err(error) = ledger::measure(store.as_ref(), &ops.clock, &mut now).await
    {
        tracing::warn!(%error, "cannot read the store for metrics");
    }
    process::measure(&ops.data, &mut now);
    let mut text = String::new();
    // the end marker must come once, after both
    let counted = ops.registry.read().unwrap_or_else(PoisonError::into_inner);
    let encoded = encode_registry(&mut text, &counted)
        .and_then(|()| encode_registry(&mut text, &now))
        .and_then(|()| text.write_str("# EOF\n"));
    if encoded.is_err() {
        return Problem::internal().into_response();
    }
    let format = Format::accepted(&headers);
    let text = if format == Format::Plain { exposition::plain(&text) } else { text };
    ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
}

/// What `/readyz` tells, for whoever alerts on it.
async fn ready(ops: &Ops, registry: &mut Registry) {
    let checks = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    for (name, is_met) in ops.checked().await {
        checks.get_or_create(&[("check", name)]).set(i64::from(is_met));
    }
    registry.register("encargo_ready", "1 when this check of /readyz is met, else 0", checks);
}

/// How far the log is read, by whom. Nothing while the log does not answer.
async fn lags(watch: &Watch, registry: &mut Registry) {
    type Of = [(&'static str, String); 3];
    let (records, seconds) = (Family::<Of, Gauge>::default(), Family::<Of, Gauge<f64, AtomicU64>>::default());
    for reading in watch.readings().await {
        let group = watch.groups().iter().find(|group| group.word == reading.group);
        let group = group.map(|group| group.name.clone()).unwrap_or_default();
        let of = [
            ("group", group),
            ("topic", reading.lag.tp.topic.clone()),
            ("partition", reading.lag.tp.partition.to_string()),
        ];
        records.get_or_create(&of).set(reading.lag.records() as i64);
        seconds.get_or_create(&of).set(reading.behind.as_secs_f64());
    }
    registry.register("encargo_group_lag_records", "Records of a partition that a group has still to read", records);
    let help = "Age of the oldest record of a partition that a group has not read, at least";
    registry.register("encargo_group_lag_seconds", help, seconds);
}
