//! Why a transaction did not come to its end, and what that means for its producer.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::super::produce::{is_refusal, is_too_large};
use crate::eventlog::Error;

/// Why it did not.
pub(super) enum Failure {
    /// An error of the library.
    Kafka(KafkaError),
    /// The library says that it can only be aborted.
    Doomed(String),
    /// Not all of it was written in time.
    Late,
    /// A call that is not back in time, and keeps the producer busy.
    Hangs,
    /// Known without asking.
    Ours(Error),
}

impl Failure {
    fn code(&self) -> Option<Code> {
        if let Self::Kafka(error) = self { error.rdkafka_error_code() } else { None }
    }

    /// The producer can do no more.
    pub(super) fn is_fatal(&self) -> bool {
        match self {
            Self::Kafka(KafkaError::Transaction(error)) => error.is_fatal(),
            _ => self.code() == Some(Code::Fatal),
        }
    }

    /// A record is beyond a limit.
    pub(super) fn is_too_large(&self) -> bool {
        self.code().is_some_and(is_too_large)
    }

    /// A record that will be refused however often it is sent.
    pub(super) fn is_refused(&self) -> bool {
        self.code().is_some_and(is_refusal)
    }

    /// Somebody else has started a producer under our id.
    pub(super) fn is_usurped(&self) -> bool {
        matches!(self.code(), Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch))
    }

    /// Somebody else is in our place: in the group, or under our id. An old generation is no such thing: partitions moved
    /// between two looks, the member hears of it at its next call, and what it still owns can be committed then.
    pub(super) fn is_fence(&self) -> bool {
        self.is_usurped() || matches!(self.code(), Some(Code::UnknownMemberId | Code::FencedInstanceId))
    }
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kafka(KafkaError::Transaction(error)) => f.write_str(&error.string()),
            Self::Kafka(error) => error.fmt(f),
            Self::Doomed(why) => f.write_str(why),
            Self::Late => f.write_str("not written in time"),
            Self::Hangs => f.write_str("no answer in time"),
            Self::Ours(error) => error.fmt(f),
        }
    }
}
