//! Bytes to and from a server: one write a step, one reply at a time, a time-out on everything.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::reply::{Malformed, Reader, Reply};

const READ_BUFFER: usize = 4 << 10;

/// Why a step had no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Lost(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("it says more than it was asked")]
    OutOfStep,
}

/// A connection in clear text or under TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream with what was read and not used yet.
pub(super) struct Connection {
    stream: Stream,
    timeout: Duration,
    /// The bytes from `at` on are unread.
    buffer: Vec<u8>,
    at: usize,
    /// Written as a whole by [`Connection::flush`]; kept, so that each mail need not allocate it anew.
    pub(super) out: Vec<u8>,
    /// What was said here and must not be repeated to anybody.
    secrets: Vec<String>,
}

impl Connection {
    pub(super) fn new(stream: Stream, timeout: Duration) -> Self {
        Self { stream, timeout, buffer: Vec::with_capacity(READ_BUFFER), at: 0, out: Vec::new(), secrets: Vec::new() }
    }

    /// The stream under the connection, to put TLS on it. Bytes that came early are refused: they were written in
    /// clear text, perhaps by somebody else, and must not be taken for what came under TLS (CVE-2011-0411).
    pub(super) fn into_plain(self) -> Result<TcpStream, Failure> {
        match self.stream {
            Stream::Plain(stream) if self.at == self.buffer.len() => Ok(stream),
            _ => Err(Failure::OutOfStep),
        }
    }

    /// From now on replies are read without these words; longer ones first, so that no part of one is left.
    pub(super) fn hide(&mut self, mut secrets: Vec<String>) {
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.secrets = secrets;
    }

    /// Whether the server has said nothing since the last reply. `false` for one that went away, too.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.at == self.buffer.len() && self.peek().is_pending()
    }

    /// Whether the server has said something since the last reply, as far as the runtime has noticed; it is read next. `false` for one
    /// that only went away.
    pub(super) fn says_more(&mut self) -> bool {
        if self.at == self.buffer.len()
            && let Poll::Ready(Ok(Some(byte))) = self.peek()
        {
            self.buffer.push(byte);
        }
        self.at < self.buffer.len()
    }

    /// Takes one byte, if there is one; none at the end.
    fn peek(&mut self) -> Poll<io::Result<Option<u8>>> {
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        // the runtime knows whether there is something: this costs no system call
        let mut context = Context::from_waker(std::task::Waker::noop());
        let read = Pin::new(&mut self.stream).poll_read(&mut context, &mut byte);
        read.map_ok(|()| byte.filled().first().copied())
    }

    /// Sends one command and reads its reply.
    pub(super) async fn ask(&mut self, command: &str) -> Result<Reply, Failure> {
        self.out.extend_from_slice(command.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.flush().await?;
        self.read().await
    }

    /// Writes what stands in `out`, at once.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let Self { stream, out, timeout, .. } = self;
        let write = async {
            stream.write_all(out).await?;
            stream.flush().await
        };
        let written = within(*timeout, write).await;
        out.clear();
        written
    }

    /// Reads exactly one reply and leaves what follows it in the buffer: pipelined replies come in one packet.
    pub(super) async fn read(&mut self) -> Result<Reply, Failure> {
        self.read_within(self.timeout).await
    }

    /// The same with a time-out of its own, which is for the whole reply however slowly it drips.
    pub(super) async fn read_within(&mut self, timeout: Duration) -> Result<Reply, Failure> {
        let mut reader = Reader::default();
        let read = async {
            loop {
                let (used, reply) = reader.read(&self.buffer[self.at..])?;
                self.at += used;
                if let Some(mut reply) = reply {
                    reply.hide(&self.secrets);
                    return Ok(reply);
                }
                self.buffer.clear();
                self.at = 0;
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(Failure::Lost(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        };
        within(timeout, read).await
    }
}

/// Bounds a step in time.
pub(super) async fn within<T, E: Into<Failure>>(
    timeout: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, step).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Failure::Timeout(timeout)),
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
