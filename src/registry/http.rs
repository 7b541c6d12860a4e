//! One request over a connection of its own: few are sent, and none of them is worth keeping a connection open.

use std::{io, sync::Arc, time::Duration};

use axum::body::{Body, Bytes, to_bytes};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Largest answer that is read, in bytes; schemas have some thousand.
const BODY_MAX: usize = 4 << 20;
/// As the API calls its JSON.
const MEDIA: &str = "application/vnd.schemaregistry.v1+json";

/// Why there is no answer.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sends requests.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
    login: Option<HeaderValue>,
}

impl Client {
    /// With what is sent as `Authorization`, if the server wants a login.
    pub(super) fn new(tls: ClientConfig, login: Option<HeaderValue>) -> Self {
        Self { tls: Arc::new(tls).into(), login }
    }

    /// The status and the body of the answer.
    pub(super) async fn send(&self, method: Method, url: &Url, body: String) -> Result<(StatusCode, Bytes), Failure> {
        let answer = timeout(ANSWER_MAX, self.exchange(method, url, body)).await;
        answer.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("within {ANSWER_MAX:?}")).into()))
    }

    async fn exchange(&self, method: Method, url: &Url, body: String) -> Result<(StatusCode, Bytes), Failure> {
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        let mut request = Request::builder().method(method).uri(target).header(ACCEPT, MEDIA);
        request = request.header(HOST, url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")));
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, MEDIA);
        }
        let request = request.body(Body::from(body))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']'); // of an IPv6 address
        let stream = TcpStream::connect((bare, port)).await?;
        if url.scheme() == "https" {
            let name = ServerName::try_from(bare.to_owned())?;
            return converse(self.tls.connect(name, stream).await?, request).await;
        }
        converse(stream, request).await
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Body>,
) -> Result<(StatusCode, Bytes), Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        Ok::<_, Failure>((status, to_bytes(Body::new(answer.into_body()), BODY_MAX).await?))
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
