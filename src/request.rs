//! One request over a connection of its own, for what asks seldom: no connection is worth being kept open.

use std::{io, sync::Arc, time::Duration};

use axum::body::{Body, Bytes, to_bytes};
use hyper::{
    Request, Response,
    client::conn::http1,
    header::{HOST, HeaderValue},
    http::uri::{Authority, Scheme},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Largest answer that is read, in bytes.
const BODY_MAX: usize = 4 << 20;

/// Why there is no answer.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests; a cheap handle.
#[derive(Clone)]
pub struct Client(TlsConnector);

impl Client {
    /// With what is trusted where an address begins with https.
    pub fn new(tls: ClientConfig) -> Self {
        Self(Arc::new(tls).into())
    }

    /// Sends a request to the server of its whole address; the answer, if it comes within that time.
    pub async fn send(&self, request: Request<Body>, within: Duration) -> Result<Response<Bytes>, Failure> {
        let answer = timeout(within, self.exchange(request)).await;
        answer.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("within {within:?}")).into()))
    }

    async fn exchange(&self, mut request: Request<Body>) -> Result<Response<Bytes>, Failure> {
        let address = std::mem::take(request.uri_mut()).into_parts();
        let server = address.authority.ok_or("the address names no host")?;
        let is_https = address.scheme == Some(Scheme::HTTPS);
        *request.uri_mut() = address.path_and_query.map(Into::into).unwrap_or_default();
        request.headers_mut().insert(HOST, named(&server)?);
        let bare = server.host().trim_start_matches('[').trim_end_matches(']'); // of an IPv6 address
        let port = server.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let stream = TcpStream::connect((bare, port)).await?;
        if is_https {
            let name = ServerName::try_from(bare.to_owned())?;
            return converse(self.0.connect(name, stream).await?, request).await;
        }
        converse(stream, request).await
    }
}

/// As the server is called in the request: without a user.
fn named(server: &Authority) -> Result<HeaderValue, Failure> {
    let host = server.host();
    let named = server.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok(HeaderValue::from_str(&named)?)
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Body>,
) -> Result<Response<Bytes>, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok::<_, Failure>(Response::from_parts(head, to_bytes(Body::new(body), BODY_MAX).await?))
    };
    // the connection moves the bytes, and ends before the answer only when it fails
    tokio::pin!(answered, connection);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        ended = &mut connection => match ended {
            Ok(()) => answered.await,
            Err(error) => Err(error.into()),
        },
    }
}
