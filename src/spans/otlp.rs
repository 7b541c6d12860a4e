//! Spans on their way to a collector: OTLP over HTTP with Protobuf, by OpenTelemetry's own libraries.
//!
//! While the collector is away or asks for patience, a batch is sent again and again, and others wait in the queue; what it
//! refuses otherwise is gone, as the protocol has it. All that is told of once, until it takes spans again.

mod convert;
mod post;

use std::time::Duration;

use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{convert::Converter, post::Post};
use super::{Fates, Options, Span};
use crate::{causes::with_causes, clock::Clock, domain::TraceParent, env::Backoff, tls};

/// Most spans in one request.
const BATCH_MAX: usize = 512;
/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// Pauses between tries of a batch.
const RETRY: std::ops::Range<Duration> = Duration::from_secs(1)..Duration::from_secs(30);
/// How long an orderly stop waits for the collector.
const FAREWELL: Duration = Duration::from_secs(3);
/// Where a collector takes traces.
const PATH: &str = "/v1/traces";

/// Sends what is in the queue, until it is told to stop.
#[derive(Debug)]
pub struct Exporter {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts sending. Fails, with nothing asked of the collector yet, on settings that cannot work.
    pub fn start(
        options: &Options,
        queued: mpsc::Receiver<(TraceParent, Span)>,
        fates: Fates,
        clock: Clock,
    ) -> Result<Self, String> {
        let base = options.url.trim_end_matches('/');
        let url = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") };
        let post = Post::new(tls::client(tls::Trust::Known(options.ca.as_deref()))?);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(post.clone())
            .with_endpoint(&url)
            .with_protocol(Protocol::HttpBinary)
            .with_retry_policy(RetryPolicy::disabled()) // it would block the thread
            .build();
        let mut exporter = exporter.map_err(|e| with_causes(&e))?;
        exporter.set_resource(&convert::resource(options));
        let (stop, converter, backoff) = (CancellationToken::new(), Converter::new(options.log), Backoff::new(RETRY));
        let sender = Sender { exporter, post, converter, url, fates, clock, backoff, is_away: false };
        Ok(Self { task: tokio::spawn(sender.run(queued, stop.clone())), stop })
    }

    /// Sends what is left, if the collector takes it soon.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if timeout(FAREWELL, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Sender {
    exporter: SpanExporter,
    post: Post,
    converter: Converter,
    url: String,
    fates: Fates,
    clock: Clock,
    backoff: Backoff,
    /// Whether the collector did not take the last batch.
    is_away: bool,
}

impl Sender {
    async fn run(mut self, mut queued: mpsc::Receiver<(TraceParent, Span)>, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            self.gather(&mut queued, &mut batch, &stop).await;
            if batch.is_empty() {
                return; // stopped, and nothing is left
            }
            let is_taken = self.deliver(&batch, &stop).await;
            let fate = self.fates.of(if is_taken { "exported" } else { "refused" });
            fate.inc_by(batch.len() as u64);
            batch.clear();
            if stop.is_cancelled() && !is_taken {
                return; // nor would it take the rest
            }
        }
    }

    /// A full batch, or what came within a while of its first span, or what is left after a stop.
    async fn gather(
        &self,
        queued: &mut mpsc::Receiver<(TraceParent, Span)>,
        batch: &mut Vec<(TraceParent, Span)>,
        stop: &CancellationToken,
    ) {
        let mut until = None;
        while batch.len() < BATCH_MAX {
            let late = async {
                match until {
                    Some(until) => self.clock.sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                taken = queued.recv_many(batch, BATCH_MAX - batch.len()) => {
                    if taken == 0 {
                        return; // nobody is there any more who could make one
                    }
                }
                () = stop.cancelled() => return,
                () = late => return,
            }
            until = until.or_else(|| Some(self.clock.monotonic() + GATHER));
        }
    }

    /// Whether the collector took it.
    async fn deliver(&mut self, batch: &[(TraceParent, Span)], stop: &CancellationToken) -> bool {
        loop {
            let spans = batch.iter().map(|(trace, span)| self.converter.span(*trace, span)).collect();
            let Err(error) = self.exporter.export(spans).await else {
                self.backoff.reset();
                if std::mem::take(&mut self.is_away) {
                    info!(collector = self.url, "the collector takes spans again");
                }
                return true;
            };
            let (why, is_worth_another_try) = self.post.failure().unwrap_or_else(|| (error.to_string(), false));
            if !std::mem::replace(&mut self.is_away, true) {
                warn!(
                    collector = self.url,
                    why, "the collector does not take spans; orders go on, and encargo_spans_total counts what is lost"
                );
            }
            if !is_worth_another_try || !self.clock.sleep_unless(stop, self.backoff.pause()).await {
                return false;
            }
        }
    }
}
