//! Whether there is a pooler between here and the database.
//!
//! At its start each session of the server says its process id, for cancelling. A pooler shows its clients a number of its
//! own, since they have no session of their own; a plain proxy passes the server's on.

use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    str::FromStr,
    task::{Context, Poll},
};

use deadpool_postgres::tokio_postgres::{
    self, Client, SimpleQueryMessage,
    tls::{ChannelBinding, TlsConnect, TlsStream},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How the connections of the pool may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// As is found out.
    #[default]
    Auto,
    /// Each is a session of the server.
    Session,
    /// Each transaction may be on another session.
    Transaction,
}

impl FromStr for Pooling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "session" => Ok(Self::Session),
            "transaction" => Ok(Self::Transaction),
            _ => Err("must be auto, session or transaction".into()),
        }
    }
}

/// Whether the connection is to a pooler.
pub(super) async fn is_between(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let mut request = Request::default();
    client.cancel_token().cancel_query_raw(&mut request, Unchanged).await?;
    let shown = request.process();
    let rows = client.simple_query("SELECT pg_backend_pid()").await?;
    let real = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).and_then(|pid| pid.parse::<i32>().ok()),
        _ => None,
    });
    Ok(shown != real)
}

/// Keeps the driver's request to cancel, which names the process, and sends it nowhere. Says yes to TLS, and has none.
#[derive(Default)]
struct Request(Vec<u8>);

impl Request {
    /// The last 16 bytes are length, code, process and secret.
    fn process(&self) -> Option<i32> {
        let (_, last) = self.0.split_last_chunk::<16>()?;
        last[8..12].try_into().ok().map(i32::from_be_bytes)
    }
}

impl AsyncRead for Request {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buf.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Request {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for &mut Request {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

/// TLS that leaves the stream as it is.
struct Unchanged;

impl<'a> TlsConnect<&'a mut Request> for Unchanged {
    type Stream = &'a mut Request;
    type Error = io::Error;
    type Future = Ready<io::Result<&'a mut Request>>;

    fn connect(self, stream: &'a mut Request) -> Self::Future {
        ready(Ok(stream))
    }
}
