//! What the library calls back, and how its errors become ours.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as TaskContext, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use rdkafka::{
    Statistics,
    client::Client,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

use super::reach;
use crate::{
    clock::{Clock, Monotonic},
    eventlog::{Error, Result},
};

/// The same words are not logged again within this time.
const QUIET: Duration = Duration::from_mins(1);

/// Brokers, and the library, live by the machine's time, whatever time a service is given.
#[expect(clippy::disallowed_methods, reason = "what a broker does takes real time")]
pub(super) fn real_clock() -> Clock {
    Clock::system()
}

/// What every client of ours shares: words of the library go to the log, each once a minute, and whether any broker
/// can be reached is noted. The library never says passwords.
#[derive(Clone, Default)]
pub(super) struct ClientContext(Arc<Shared>);

struct Shared {
    clock: Clock,
    said: Mutex<Vec<(String, Monotonic)>>,
    down: AtomicBool,
    /// How the last connection failed, in the library's words.
    failed: Mutex<Option<String>>,
    /// Why authentication failed.
    refused: Mutex<Option<String>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            clock: real_clock(),
            said: Mutex::default(),
            down: AtomicBool::default(),
            failed: Mutex::default(),
            refused: Mutex::default(),
        }
    }
}

impl ClientContext {
    /// Whether no broker could be reached when the library last tried.
    pub(super) fn is_down(&self) -> bool {
        self.0.down.load(Ordering::Relaxed)
    }

    /// A broker answered.
    pub(super) fn up(&self) {
        self.0.down.store(false, Ordering::Relaxed);
        *self.failed() = None;
    }

    /// Why no broker is reached, if one was not since the last that was.
    pub(super) fn why(&self) -> Option<String> {
        self.failed().as_deref().map(reach::explain)
    }

    fn failed(&self) -> MutexGuard<'_, Option<String>> {
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the brokers refused our name or password, if they did.
    pub(super) fn refused(&self) -> Option<String> {
        let refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        refused.map(|error| self.why().unwrap_or(error))
    }

    fn remember(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.0.down.store(true, Ordering::Relaxed),
            Some(RDKafkaErrorCode::Authentication) => {
                *self.0.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
            _ => {}
        }
    }

    /// Notes an error that a poll brought; `error` was told the same of a connection, and why.
    pub(super) fn note(&self, error: &KafkaError) {
        self.remember(error);
        if !is_connection(error) && self.is_news(&error.to_string()) {
            tracing::warn!(%error, "Kafka");
        }
    }

    fn is_news(&self, words: &str) -> bool {
        // numbers (ports, times, counts) do not make it another message
        let words: String = words.chars().filter(|c| !c.is_ascii_digit()).collect();
        let now = self.0.clock.monotonic();
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|(_, at)| now.saturating_sub(*at) < QUIET);
        let news = said.iter().all(|(known, _)| *known != words);
        if news {
            said.push((words, now));
        }
        news
    }
}

impl rdkafka::ClientContext for ClientContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // `error` is told the same of a connection that failed, but for one that was closed early
            _ if facility == "FAIL" => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
                let reason = message.split_once("]: ").map_or(message, |(_, reason)| reason);
                *self.failed() = Some(reason.to_owned());
            }
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                if self.is_news(message) {
                    tracing::warn!(target: "librdkafka", facility, "{message}");
                }
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return; // a reader asked to be told
        }
        self.remember(&error);
        if self.is_news(reason) {
            let reason = reach::explain(reason);
            tracing::warn!(%error, reason, "Kafka");
        }
    }
}

impl ConsumerContext for ClientContext {}

/// The error that ended a client for good, if one did.
pub(super) fn fatal<C: rdkafka::ClientContext>(client: &Client<C>) -> Option<String> {
    client.fatal_error().map(|(code, reason)| format!("{code}: {reason}"))
}

/// A refused configuration names its key.
pub(super) fn config_error(error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, why, key, _) => {
            Error::Fatal(format!("the Kafka property {key} is refused: {}", reach::refused(&why)))
        }
        other => Error::Fatal(format!("the Kafka client cannot start: {}", reach::refused(&other.to_string()))),
    }
}

/// Whether a connection failed, or nobody answered.
pub(super) fn is_connection(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let codes = [
        Code::BrokerTransportFailure,
        Code::AllBrokersDown,
        Code::OperationTimedOut,
        Code::Resolve,
        Code::SSL,
        Code::Authentication,
        Code::BadMessage,
    ];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}

/// What an error of a question (topics, offsets, groups) means: nothing was written by it.
pub(super) fn question_error(asked: &str, error: &KafkaError) -> Error {
    use RDKafkaErrorCode as Code;
    let text = format!("{asked}: {error}");
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopic) => {
            Error::Unknown(asked.to_owned())
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::InvalidArgument
            | Code::PolicyViolation
            | Code::InvalidConfig
            | Code::InvalidReplicationFactor,
        ) => Error::Fatal(text),
        _ => Error::Unavailable(text),
    }
}

/// Runs a future of the library, which has threads of its own, to its end.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Offsets are signed there.
pub(super) fn signed(offset: u64) -> Result<i64> {
    i64::try_from(offset).map_err(|_| Error::Fatal(format!("offset {offset} is beyond any end")))
}
