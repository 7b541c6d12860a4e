use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::{Notify, futures::OwnedNotified},
    time::timeout,
};

use super::{Limits, turn::Turn};

/// So much of an answer must be taken within a write's time: a client that reads a byte now and then reads nothing.
const PROGRESS_BYTES_MIN: usize = 16 << 10;
/// What is read of a client that still sends when its connection is being closed, so that it comes to read the answer.
const DISCARD_BYTES_MAX: usize = 64 << 20;
/// How long such a client may be silent; one that does not close is closed.
const DISCARD_SILENCE_MAX: Duration = Duration::from_secs(2);

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// No request came for a long time, or another connection needs the place.
    Idle,
    /// A request began, and its head did not come in time.
    SlowHead,
    /// The client does not read its answer.
    NotReading,
}

/// The socket of a connection, with the times that the HTTP library does not keep: between requests, for a head, and
/// for a write that makes no progress.
pub(super) struct Wire {
    stream: TcpStream,
    turn: Turn,
    times: Times,
    /// Tells the connection that idles longest to make room for another.
    room: Arc<Notify>,
    /// Whether a request has begun to come.
    has_begun: bool,
    is_at_end: bool,
    reading: Option<Pin<Box<dyn Sleep>>>,
    evicted: Option<Pin<Box<OwnedNotified>>>,
    writing: Option<Pin<Box<dyn Sleep>>>,
    written: usize,
    end: Option<End>,
    refused: Option<u16>,
}

struct Times {
    idle: Duration,
    head: Duration,
    write: Duration,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, turn: Turn, limits: &Limits, room: Arc<Notify>) -> Self {
        let times = Times { idle: limits.idle_timeout, head: limits.header_timeout, write: limits.request_timeout };
        Self {
            stream,
            turn,
            times,
            room,
            has_begun: false,
            is_at_end: false,
            reading: None,
            evicted: None,
            writing: None,
            written: 0,
            end: None,
            refused: None,
        }
    }

    /// Why this side ended the connection, if it did.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether a request has begun to come, and was not read.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun && self.turn.is_clients()
    }

    /// The status with which the HTTP library refused what it cannot read.
    pub(super) fn refused(&self) -> Option<u16> {
        self.refused
    }

    /// Closes as RFC 9112 §9.6 wants it: first what is written is ended, then what still comes is read and dropped until
    /// the client closes. Closing at once would reset the connection, and the client might lose the answer.
    pub(super) async fn close(mut self, within: Duration) {
        match self.end {
            Some(End::Idle) => return,
            // nothing of the answer is to wait in the system's buffers
            Some(End::NotReading) => return drop(self.stream.set_zero_linger()),
            Some(End::SlowHead) | None => {}
        }
        let drain = async {
            self.stream.shutdown().await?;
            let (mut left, mut piece) = (DISCARD_BYTES_MAX, [0; 8 << 10]);
            while left > 0 {
                match timeout(DISCARD_SILENCE_MAX, self.stream.read(&mut piece)).await?? {
                    0 => break,
                    n => left = left.saturating_sub(n),
                }
            }
            io::Result::Ok(())
        };
        if !self.is_at_end {
            let _ = timeout(within, drain).await; // it ends either way
        }
    }

    /// Ready, with an error, when the client has had its time.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Self { times, room, has_begun, reading, evicted, .. } = self;
        let time = if *has_begun { times.head } else { times.idle };
        let mut is_over = reading.get_or_insert_with(|| TokioTimer::new().sleep(time)).as_mut().poll(cx).is_ready();
        if !*has_begun {
            let evicted = evicted.get_or_insert_with(|| Box::pin(room.clone().notified_owned()));
            is_over |= evicted.as_mut().poll(cx).is_ready();
        }
        if !is_over {
            return Poll::Pending;
        }
        self.end = Some(if self.has_begun { End::SlowHead } else { End::Idle });
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    fn begin_waiting(&mut self) {
        (self.has_begun, self.reading, self.evicted) = (false, None, None);
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buffer) else {
            if this.turn.is_clients() {
                return Poll::Ready(Err(ready!(this.poll_patience(cx))));
            }
            return Poll::Pending;
        };
        let came = &buffer.filled()[before..];
        this.is_at_end = came.is_empty();
        // line ends before a request do not begin one: old clients send them after a body (RFC 9112 §2.2)
        if !this.has_begun && this.turn.is_clients() && came.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            (this.has_begun, this.reading, this.evicted) = (true, None, None);
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.turn.is_clients() {
            // the HTTP library's own answer to what it cannot read, which has no body; ours takes its place
            this.refused = bytes.get(9..12).and_then(|status| str::from_utf8(status).ok()?.parse().ok());
            return Poll::Ready(Ok(bytes.len()));
        }
        let Poll::Ready(result) = Pin::new(&mut this.stream).poll_write(cx, bytes) else {
            ready!(this.writing.get_or_insert_with(|| TokioTimer::new().sleep(this.times.write)).as_mut().poll(cx));
            this.end = Some(End::NotReading);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        this.written += result.as_ref().map_or(0, |n| *n);
        if this.written >= PROGRESS_BYTES_MIN {
            (this.written, this.writing) = (0, None);
        }
        Poll::Ready(result)
    }

    /// Called when nothing is left to be written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        (this.written, this.writing) = (0, None);
        if this.turn.written() {
            this.begin_waiting();
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the socket open: [`close`](Wire::close) has more to do.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
