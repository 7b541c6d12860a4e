//! TLS to a relay or a database, by rustls: which certificates are trusted, and what went wrong, in words.

use std::{error::Error as StdError, io, path::Path, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, PeerIncompatible,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;

/// Which servers are believed.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// Those with a certificate of the system's authorities, or of one in this file.
    Known(Option<&'a Path>),
    /// All.
    Any,
}

/// How connections are made; the error says what is wrong with the file.
pub fn client(trust: Trust<'_>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |e: Error| format!("TLS cannot be used: {e}");
    let named = match trust {
        Trust::Known(Some(path)) => certificates(path)?,
        _ => Vec::new(),
    };
    let verifier = Verifier::new_with_extra_roots(named.clone(), provider.clone()).map_err(unusable)?;
    let believe_all = matches!(trust, Trust::Any);
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(unusable)?;
    Ok(builder
        .dangerous() // the builder's word for any verifier but its own
        .with_custom_certificate_verifier(Arc::new(Judge { verifier, named, believe_all }))
        .with_no_client_auth())
}

/// The certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let refused = |why: &dyn std::fmt::Display| format!("the certificates in {} cannot be used: {why}", path.display());
    let pem = std::fs::read(path).map_err(|e| refused(&e))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|e| refused(&e))?;
    match found.is_empty() {
        false => Ok(found),
        true if pem.starts_with(&[0x30]) => {
            Err(refused(&"it is DER, and PEM is expected: openssl x509 -inform DER -in FILE -out FILE.pem"))
        }
        true => Err(refused(&"there is none in it (PEM is expected: -----BEGIN CERTIFICATE-----)")),
    }
}

/// Checks certificates as the system does, and takes one that was named itself: who made a certificate with
/// `openssl req -x509` names that very file. It holds whatever it says of its names and uses (RFC 6125 §6.6.2), in its time.
#[derive(Debug)]
struct Judge {
    verifier: Verifier,
    named: Vec<CertificateDer<'static>>,
    believe_all: bool,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.believe_all {
            return Ok(ServerCertVerified::assertion());
        }
        match self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(flaw)) if self.named.contains(end_entity) && !is_of_time(&flaw) => {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn is_of_time(flaw: &CertificateError) -> bool {
    use CertificateError::{BadEncoding, Expired, ExpiredContext, NotValidYet, NotValidYetContext, Revoked};
    matches!(flaw, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } | Revoked | BadEncoding)
}

/// The failure of TLS behind an error, if that is what it is.
pub fn failure<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // an io::Error's source is what its inner error stems from, not that error
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// Whether the server is not whom it should be, which trying again does not mend.
pub fn is_about_the_certificate(failure: &Error) -> bool {
    matches!(failure, Error::InvalidCertificate(_) | Error::NoCertificatesPresented)
}

/// Whether the other side does not speak TLS at all.
pub fn is_clear_text(failure: &Error) -> bool {
    matches!(failure, Error::InvalidMessage(_))
}

/// What is wrong, and what to do about it. `ca` is the setting that names a file of certificates.
pub fn explain(failure: &Error, ca: &str) -> String {
    use AlertDescription as Alert;
    match failure {
        Error::InvalidCertificate(flaw) => about_certificate(flaw, ca),
        Error::InvalidMessage(_) => "the server answers in clear text, not in TLS".into(),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
        | Error::AlertReceived(Alert::ProtocolVersion) => {
            "the server speaks none of TLS 1.2 and 1.3: older versions are not safe and not spoken here".into()
        }
        Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) | Error::PeerIncompatible(_) => {
            format!("the server and Encargo have no cipher or key exchange in common ({failure})")
        }
        Error::AlertReceived(
            Alert::CertificateRequired | Alert::BadCertificate | Alert::UnknownCA | Alert::AccessDenied,
        ) => {
            "the server wants a certificate of the client's, and Encargo shows none: let the server ask for a password \
              instead"
                .into()
        }
        Error::AlertReceived(Alert::UnrecognisedName) => {
            "the server does not know itself by that name: use its own name in the address".into()
        }
        other => other.to_string(),
    }
}

fn about_certificate(flaw: &CertificateError, ca: &str) -> String {
    use CertificateError as Flaw;
    match flaw {
        Flaw::UnknownIssuer => format!(
            "it is signed by an authority that is not trusted here: name the authority's certificate (PEM) in {ca}, \
             or the server's own if it is self-signed"
        ),
        Flaw::Other(OtherError(other)) if matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) => {
            format!(
                "it is a self-signed certificate of an authority (CA:TRUE): name this very certificate (PEM) in {ca}, \
             or give the server one that is signed by the authority"
            )
        }
        Flaw::ExpiredContext { not_after, .. } => {
            format!("it expired at {}: renew it on the server (or set this machine's clock)", when(*not_after))
        }
        Flaw::NotValidYetContext { not_before, .. } => {
            format!("it is valid from {} on: is this machine's clock right?", when(*not_before))
        }
        Flaw::NotValidForNameContext { expected, presented } => {
            let names: Vec<String> = presented.iter().take(8).map(|name| readable(name)).collect();
            let expected = expected.to_str();
            if names.is_empty() {
                format!(
                    "it names no server (no subjectAltName), so not {expected}: make it with -addext \
                     subjectAltName=DNS:{expected}, or name this very certificate in {ca}"
                )
            } else {
                format!(
                    "it is for {}, not for {expected}: write the server's name in the address as the certificate has it",
                    names.join(", ")
                )
            }
        }
        Flaw::BadSignature => format!(
            "it is not signed by the authority of that name that is trusted here: is the certificate in {ca} an older one?"
        ),
        other => other.to_string(),
    }
}

/// `DnsName("localhost")` as the library shows it.
fn readable(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').chars().filter(|c| !c.is_control()).take(80).collect()
}

fn when(time: UnixTime) -> String {
    let second = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(second).map_or_else(|_| format!("second {second}"), |time| time.to_string())
}
