use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use hyper::body::{Frame, SizeHint};

/// The client speaks, or may.
const CLIENT: u8 = 0;
/// A request is read, worked on, or answered.
const SERVER: u8 = 1;
/// Nothing is added to the answer any more, but some of it may not be written yet.
const ENDING: u8 = 2;

/// Whose turn it is on a connection. The HTTP library tells nobody, so it is told by the service, which is called with
/// a request; by the answer's body, which is dropped at its end; and by the wire, on which it is written.
#[derive(Clone, Default)]
pub(super) struct Turn(Arc<AtomicU8>);

impl Turn {
    /// A request's head has been read.
    pub(super) fn begin(&self) {
        self.0.store(SERVER, Ordering::Relaxed);
    }

    /// All that was to be written is written; true if that ends the answer.
    pub(super) fn written(&self) -> bool {
        self.0.compare_exchange(ENDING, CLIENT, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn is_clients(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CLIENT
    }

    /// An answer with whose end the server's turn ends.
    pub(super) fn ending(&self, answer: Response) -> Response<Answer> {
        answer.map(|body| Answer { body, turn: self.clone() })
    }
}

/// The body of an answer.
pub(super) struct Answer {
    body: Body,
    turn: Turn,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.turn.0.store(ENDING, Ordering::Relaxed);
    }
}
