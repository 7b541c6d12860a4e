//! Where the spans of this process go.

use anyhow::Result;
use prometheus_client::registry::Registry;

use crate::{
    config::{Config, Telemetry},
    env::Env,
    role::Role,
    spans::{Fates, Options, Spans, otlp::Exporter},
};

/// Where spans go, and who sends them, if the settings name a collector.
pub(super) fn open(
    config: &Config,
    roles: &[Role],
    env: &Env,
    registry: &mut Registry,
) -> Result<(Spans, Option<Exporter>)> {
    let Telemetry { otlp, ca, sample } = &config.telemetry;
    if otlp.is_empty() {
        return Ok((Spans::default(), None));
    }
    let fates = Fates::register(registry);
    let (spans, queued) = Spans::queue(fates.clone(), sample.0, env.random.u64()?);
    let options = Options {
        url: otlp.clone(),
        ca: Some(ca.clone()).filter(|path| !path.as_os_str().is_empty()),
        service: service(roles),
        instance: config.slot.to_string(),
        log: if config.log_url().is_shared() { "kafka" } else { "sqlite" },
    };
    let exporter = Exporter::start(&options, queued, fates, env.pace.clone()).map_err(anyhow::Error::msg)?;
    Ok((spans, Some(exporter)))
}

/// A process that does everything is one service of a trace, and each role by itself is one.
fn service(roles: &[Role]) -> String {
    match roles {
        [role] => format!("encargo-{}", role.name()),
        _ => "encargo".to_owned(),
    }
}
