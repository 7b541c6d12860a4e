//! In a program that was built without it.

use tokio::sync::mpsc;

use super::{Fates, Options, Span};
use crate::{clock::Clock, domain::TraceParent};

/// There is none.
#[derive(Debug)]
pub enum Exporter {}

impl Exporter {
    /// Says what to do about it.
    pub fn start(
        options: &Options,
        _: mpsc::Receiver<(TraceParent, Span)>,
        _: Fates,
        _: Clock,
    ) -> Result<Self, String> {
        Err(format!(
            "telemetry.otlp names the collector {}, and this program was built without OTLP: build it with \
             `cargo build --release --features otlp`, or leave the setting out",
            options.url
        ))
    }

    /// Never called.
    #[expect(clippy::unused_async, reason = "as the other one is called")]
    pub async fn stop(self) {
        match self {}
    }
}
