//! TLS to one relay.

use std::{io, sync::Arc};

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    mail::{Error, Result, SmtpServer},
    tls::{self, Trust},
};

/// Puts TLS on connections to one server.
#[derive(Clone)]
pub(super) struct Connector {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Connector {
    pub(super) fn new(server: &SmtpServer) -> Result<Self> {
        let config = tls::client(Trust::Known(server.ca.as_deref()))
            .map_err(|why| Error::Settings(format!("cannot set up TLS to {server}: {why}")))?;
        let name = ServerName::try_from(server.host.clone())
            .map_err(|_| Error::Settings(format!("{server} has no name that a certificate could have")))?;
        Ok(Self { connector: Arc::new(config).into(), name })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}
