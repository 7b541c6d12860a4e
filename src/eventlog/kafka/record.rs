//! Records as the library gives them.

use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers as _},
};

use crate::{
    domain::Timestamp,
    eventlog::{Record, TopicPartition},
};

/// Copies a record out of the library's memory.
pub(super) fn owned(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
    });
    Record {
        offset: message.offset() as u64,
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().unwrap_or_default().to_vec(),
        headers,
        at: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or_default()),
    }
}

pub(super) fn is_of(message: &BorrowedMessage<'_>, of: &TopicPartition) -> bool {
    message.partition() == of.partition as i32 && message.topic() == of.topic
}
