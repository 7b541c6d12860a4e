//! Records as the library gives them.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use rdkafka::{
    Message,
    message::{BorrowedHeaders, BorrowedMessage, Headers as _},
};

use crate::{
    domain::{
        Timestamp,
        wire::{Headers, UNREADABLE},
    },
    eventlog::{Record, TopicPartition},
};

/// Copies a record out of the library's memory.
pub(super) fn owned(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Headers::default, headers_of);
    Record {
        offset: message.offset() as u64,
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().unwrap_or_default().to_vec(),
        headers,
        at: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or_default()),
    }
}

thread_local! {
    /// Whether a panic of this thread is expected, and is nobody's business.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Copies the headers; anybody can write some with names that are not UTF-8, at which the library panics.
fn headers_of(headers: &BorrowedHeaders) -> Headers {
    let read = |index| {
        let header = headers.get(index);
        (header.key, header.value.unwrap_or_default())
    };
    quietly(|| (0..headers.count()).map(read).collect()).unwrap_or_else(|| {
        let read = |index| quietly(|| read(index)).unwrap_or((UNREADABLE, &[]));
        (0..headers.count()).map(read).collect()
    })
}

/// Calls what may panic, and has nothing half done then.
fn quietly<T>(call: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let called = panic::catch_unwind(AssertUnwindSafe(call)).ok();
    QUIET.set(false);
    called
}

pub(super) fn is_of(message: &BorrowedMessage<'_>, tp: &TopicPartition) -> bool {
    message.partition() == tp.partition as i32 && message.topic() == tp.topic
}
