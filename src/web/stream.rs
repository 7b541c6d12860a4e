//! Answers that go on while somebody reads them: server-sent events (WHATWG HTML, § 9.2). They are bounded in number and in
//! what is not read yet, and end at a stop.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderName, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use hyper::body::Frame;
use tokio::sync::{Semaphore, mpsc};

use super::{Problem, Stopping};
use crate::clock::Clock;

/// How often something is written, so that proxies keep the connection, who reads knows that it stands, and who is gone is
/// noticed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What is written and not taken: one more, and the reader is dropped.
const UNREAD_MAX: usize = 4;
/// Some proxies collect what they pass on unless they are told not to.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The streams of a listener; a cheap handle.
#[derive(Debug, Clone)]
pub struct Streams {
    places: Arc<Semaphore>,
    pace: Clock,
}

/// Where the events of one stream are written.
#[derive(Debug, Clone)]
pub struct Events(Pieces);

impl Streams {
    /// At most `max` at the same time.
    pub fn new(max: usize, pace: Clock) -> Self {
        Self { places: Arc::new(Semaphore::new(max)), pace }
    }

    /// Answers with what `tell` writes, and a `beat` now and then, until it returns, nobody reads any more, or the listener
    /// stops. Where all places are taken, 503.
    pub fn open<T>(&self, Stopping(stop): Stopping, tell: impl FnOnce(Events) -> T) -> Result<Response, Problem>
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let place = self.places.clone().try_acquire_owned();
        let place = place
            .map_err(|_| Problem::overloaded("too many follow what happens here at this moment").retry_after(5))?;
        let (out, unread) = mpsc::channel(UNREAD_MAX);
        let events = Events(out);
        events.write("retry: 2000\n\n".into());
        let (telling, pace) = (tell(events.clone()), self.pace.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                () = stop.cancelled() => {}
                () = events.0.closed() => {}
                () = events.beat(&pace) => {}
                () = telling => {}
            }
        });
        let headers = [(CONTENT_TYPE, "text/event-stream"), (X_ACCEL_BUFFERING, "no")];
        Ok((headers, Body::new(Unread(unread))).into_response())
    }
}

impl Events {
    /// Writes an event, its data in one line; whether the reader still takes what is written.
    pub fn send(&self, name: &str, id: Option<&str>, data: &str) -> bool {
        debug_assert!(!data.contains(['\n', '\r']), "a second line would be another field");
        let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
        self.write(format!("{id}event: {name}\ndata: {data}\n\n"))
    }

    /// Until the reader no longer takes anything.
    async fn beat(&self, pace: &Clock) {
        loop {
            pace.sleep(HEARTBEAT).await;
            if !self.send("beat", None, "") {
                return;
            }
        }
    }

    fn write(&self, text: String) -> bool {
        self.0.try_send(Ok(text.into())).is_ok()
    }
}

/// A body of what `write` sends, piece by piece as the reader takes it; the writer waits for the reader. An error, or a stop,
/// breaks the answer off, so that nobody takes a part for the whole.
pub fn pour<T>(Stopping(stop): Stopping, write: impl FnOnce(Pieces) -> T) -> Body
where
    T: Future<Output = io::Result<()>> + Send + 'static,
{
    let (pieces, poured) = mpsc::channel(1);
    let writing = write(pieces.clone());
    tokio::spawn(async move {
        let end = tokio::select! {
            () = stop.cancelled() => Err(io::Error::other("the listener stops")),
            end = writing => end,
        };
        if let Err(error) = end {
            let _ = pieces.send(Err(error)).await; // who is gone needs no error
        }
    });
    Body::new(Unread(poured))
}

/// Where the pieces of an answer are written.
pub type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// What a client that comes back has seen last.
pub fn last_event_id(headers: &HeaderMap) -> Option<String> {
    headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
}

/// The body: what is written, until the writer ends.
struct Unread(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::domain::Timestamp;

    fn streams(max: usize) -> (Streams, Clock) {
        let clock = Clock::manual(Timestamp::from_millis(0));
        (Streams::new(max, clock.clone()), clock)
    }

    async fn next(body: &mut Body) -> Option<String> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().into()).unwrap())
    }

    #[tokio::test]
    async fn a_stream_beats_while_nothing_happens_and_ends_at_a_stop() {
        let (streams, clock) = streams(1);
        let stop = CancellationToken::new();
        let mut body = streams.open(Stopping(stop.clone()), |_| pending()).unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap(), "retry: 2000\n\n");
        tokio::task::yield_now().await; // until it waits
        for _ in 0..2 {
            clock.advance(HEARTBEAT);
            assert_eq!(next(&mut body).await.unwrap(), "event: beat\ndata: \n\n");
        }
        let refused = streams.open(Stopping::default(), |_| pending()).unwrap_err();
        assert_eq!(refused.status(), 503);
        stop.cancel();
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test]
    async fn an_answer_in_pieces_waits_for_its_reader_and_is_broken_off_by_an_error_or_a_stop() {
        let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = written.clone();
        let mut body = pour(Stopping::default(), async move |pieces| {
            for _ in 0..9 {
                pieces.send(Ok("piece".into())).await.map_err(io::Error::other)?;
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            Err(io::Error::other("the store is away"))
        });
        for read in 1..=9 {
            assert_eq!(next(&mut body).await.as_deref(), Some("piece"));
            assert!(written.load(std::sync::atomic::Ordering::Relaxed) <= read + 1);
        }
        let end = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert_eq!(end.unwrap().unwrap_err().to_string(), "the store is away");

        let stop = CancellationToken::new();
        let mut body = pour(Stopping(stop.clone()), |_| pending());
        stop.cancel();
        assert!(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn who_does_not_read_is_dropped_and_makes_room() {
        let (streams, _) = streams(1);
        let mut body = streams
            .open(Stopping::default(), async |events| {
                while events.send("change", Some("7"), "{}") {
                    tokio::task::yield_now().await;
                }
            })
            .unwrap()
            .into_body();
        let place = streams.places.acquire().await;
        assert!(place.is_ok(), "a reader that does not read holds no place");
        let mut read = Vec::new();
        while let Some(text) = next(&mut body).await {
            read.push(text);
        }
        assert_eq!(read.len(), UNREAD_MAX);
        assert_eq!(read.last().unwrap(), "id: 7\nevent: change\ndata: {}\n\n");
    }
}
