//! TLS by rustls: the server's certificate is checked against the system's authorities, and those of one more file.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::mail::{Error, Result, SmtpServer};

/// Puts TLS on connections to one server.
#[derive(Clone)]
pub(super) struct Connector {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Connector {
    pub(super) fn new(server: &SmtpServer) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Error::Settings(format!("TLS to {server} cannot be set up: {e}"));
        let extra = server.ca.as_deref().map(authorities).transpose()?.unwrap_or_default();
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new_with_extra_roots(extra, provider.clone()).map_err(|e| failed(&e))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(&e))?
            .dangerous() // the builder's word for any verifier but its own
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let name = ServerName::try_from(server.host.clone()).map_err(|e| failed(&e))?;
        Ok(Self { connector: Arc::new(config).into(), name })
    }

    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

/// The certificates of a PEM file, at least one.
fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |source| Error::Path { path: path.display().to_string(), source };
    let pem = std::fs::read(path).map_err(failed)?;
    let certificates: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(failed(io::Error::other("there is no certificate in it (PEM is expected)"))),
        Err(e) => Err(failed(io::Error::other(e))),
    }
}

/// Whether a handshake failed because of the certificate, which trying again does not mend.
pub(super) fn is_about_the_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}
