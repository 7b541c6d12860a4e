//! TLS to the database, with the provider and the roots that the mailer uses as well.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{super::Error, Result, options::Protection};

/// Checks the server's certificate where the address asks for it (`verify-full`), or a file of certificates is given.
/// Otherwise the connection is encrypted and nobody knows with whom, as with the database's own tools.
pub(super) fn connector(protection: Protection, ca: Option<&Path>) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match (protection, ca) {
        (Protection::VerifyFull, None) => Arc::new(Verifier::new(provider.clone()).map_err(unusable)?),
        (_, Some(ca)) => Arc::new(Verifier::new_with_extra_roots(read(ca)?, provider.clone()).map_err(unusable)?),
        (_, None) => Arc::new(Unchecked(provider.clone())),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn unusable(error: rustls::Error) -> Error {
    Error::Fatal(format!("TLS cannot be used: {error}"))
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let refused = |why: String| Error::Fatal(format!("the certificates in {} cannot be used: {why}", path.display()));
    let found = CertificateDer::pem_file_iter(path).map_err(|e| refused(e.to_string()))?;
    let certificates: Vec<_> = found.collect::<std::result::Result<_, _>>().map_err(|e| refused(e.to_string()))?;
    if certificates.is_empty() {
        return Err(refused("there are none".into()));
    }
    Ok(certificates)
}

/// Takes any certificate.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
