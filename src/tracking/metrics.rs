use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use crate::{
    domain::{Fault, command::Verb},
    refusals::Refusals,
    spans::Spans,
    store::orders::Applied,
};

/// What tracking tells about itself.
#[derive(Debug, Clone)]
pub struct Metrics {
    events: Family<[(&'static str, &'static str); 1], Counter>,
    denied: Family<[(&'static str, &'static str); 1], Counter>,
    commands: Family<[(&'static str, &'static str); 2], Counter>,
    links: Family<[(&'static str, &'static str); 1], Counter>,
    delay: Histogram,
    refusals: Refusals,
    spans: Spans,
    ready: Arc<AtomicBool>,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let delay = Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0]);
        let (events, denied, commands, links, refusals, spans, ready) = Default::default();
        let metrics = Self { events, denied, commands, links, delay, refusals, spans, ready };
        let help = "State events by what became of them";
        registry.register("encargo_events_projected", help, metrics.events.clone());
        let help = "Lookups by number that were refused, for a wrong key or for none";
        registry.register("encargo_lookups_denied", help, metrics.denied.clone());
        for key in ["wrong", "none"] {
            drop(metrics.denied.get_or_create(&[("key", key)])); // so that a rise from nothing is seen
        }
        let help = "Commands about orders by what was asked and how that was answered";
        registry.register("encargo_commands", help, metrics.commands.clone());
        for verb in Verb::ALL {
            for result in ["done", "pending", "refused", "key-reused", "failed"] {
                drop(metrics.commands.get_or_create(&[("do", verb.name()), ("result", result)]));
            }
        }
        let help = "Links to orders that somebody asked for, by whether one was mailed";
        registry.register("encargo_links_asked", help, metrics.links.clone());
        for mailed in ["yes", "no"] {
            drop(metrics.links.get_or_create(&[("mailed", mailed)]));
        }
        let help = "Age of the newest event of a batch once it can be looked up, in seconds";
        registry.register("encargo_projection_delay_seconds", help, metrics.delay.clone());
        metrics
    }

    /// Counts refused records there, too.
    #[must_use]
    pub fn counting(self, refusals: &Refusals) -> Self {
        Self { refusals: refusals.clone(), ..self }
    }

    /// Tells of the states that can be looked up there, too.
    #[must_use]
    pub fn spanning(self, spans: &Spans) -> Self {
        Self { spans: spans.clone(), ..self }
    }

    pub(super) const fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Whether the projection has its partitions.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Not ready any more: the log has to be joined again.
    pub fn waiting(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }

    pub(super) fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    pub(super) fn denied(&self, has_key: bool) {
        self.denied.get_or_create(&[("key", if has_key { "wrong" } else { "none" })]).inc();
    }

    pub(super) fn refused(&self, topic: &str, producer: Option<Cow<'_, str>>, fault: Fault) {
        self.refusals.count(topic, producer.as_deref(), fault);
    }

    pub(super) fn link_asked(&self, is_mailed: bool) {
        self.links.get_or_create(&[("mailed", if is_mailed { "yes" } else { "no" })]).inc();
    }

    pub(super) fn commanded(&self, verb: Verb, answered: StatusCode) {
        let result = match answered {
            StatusCode::OK => "done",
            StatusCode::ACCEPTED => "pending",
            StatusCode::CONFLICT => "refused",
            StatusCode::UNPROCESSABLE_ENTITY => "key-reused",
            _ => "failed",
        };
        self.commands.get_or_create(&[("do", verb.name()), ("result", result)]).inc();
    }

    pub(super) fn applied(&self, applied: &Applied, dead: u64, delay: Option<Duration>) {
        for (name, count) in [
            ("accepted", applied.accepted),
            ("late", applied.late),
            ("ignored", applied.ignored),
            ("gap", applied.gaps),
            ("conflict", applied.conflicts),
            ("unmailed", applied.unmailed),
            ("dead", dead),
        ] {
            self.events.get_or_create(&[("result", name)]).inc_by(count);
        }
        if let Some(delay) = delay {
            self.delay.observe(delay.as_secs_f64());
        }
    }
}
