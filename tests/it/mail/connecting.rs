//! What somebody reads who connects a relay for the first time and has something wrong.

use std::{io::Write as _, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::harness::authority::Authority;

/// What `encargo mail check` says.
async fn words(url: &str) -> Result<String, String> {
    let timeouts = mail::Timeouts { connect: SECOND * 60, step: SECOND * 5, dot: SECOND * 5 };
    let relay = match mail::open(&url.parse().unwrap(), "shop.example", timeouts, &crate::harness::real_clock()) {
        Ok(relay) => relay.unwrap(),
        Err(error) => return Err(error.to_string()),
    };
    relay.probe().await
}

async fn relay(tls: Option<TlsAcceptor>, implicit: bool) -> Sink {
    Sink::with(Setup { tls, implicit, ..Setup::default() }).await
}

/// A certificate that signed itself, as `openssl req -x509` makes it; with its PEM in a file.
struct SelfSigned {
    der: CertificateDer<'static>,
    key: KeyPair,
    pem: tempfile::NamedTempFile,
}

impl SelfSigned {
    fn new(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "self-signed");
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        let mut pem = tempfile::NamedTempFile::new().unwrap();
        pem.write_all(certificate.pem().as_bytes()).unwrap();
        Self { der: certificate.der().clone(), key, pem }
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.config(false)
    }

    fn config(&self, wants_certificate: bool) -> TlsAcceptor {
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = if wants_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.der.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        Arc::new(builder.with_single_cert(vec![self.der.clone()], key).unwrap()).into()
    }
}

fn authority_too(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// OpenSSL's users name a server's own certificate as its authority, and it works.
#[tokio::test]
async fn a_certificate_that_is_named_itself_is_trusted() {
    for own in [
        SelfSigned::new(&["127.0.0.1"], authority_too),
        SelfSigned::new(&["127.0.0.1"], |_| {}),
        SelfSigned::new(&["other.example"], authority_too),
        SelfSigned::new(&[], authority_too),
    ] {
        let sink = relay(Some(own.acceptor()), true).await;
        let ca = own.pem.path().display();
        words(&format!("smtps://{}?ca={ca}", sink.addr)).await.unwrap();
        // and no other one that calls itself the same
        let other = SelfSigned::new(&["127.0.0.1"], authority_too);
        let text = words(&format!("smtps://{}?ca={}", sink.addr, other.pem.path().display())).await.unwrap_err();
        assert!(text.contains("not trusted"), "{text}");
    }
}

#[tokio::test]
async fn every_mistake_with_a_certificate_is_told_with_what_to_do() {
    let (authority, older) = (Authority::new(), Authority::new());
    let issued = |name: &str| authority.acceptor(&[name]);
    let own = SelfSigned::new(&["127.0.0.1"], authority_too);
    let expired = SelfSigned::new(&["127.0.0.1"], |params| {
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2019, 1, 1), rcgen::date_time_ymd(2020, 1, 1));
    });
    let early = SelfSigned::new(&["127.0.0.1"], |params| params.not_before = rcgen::date_time_ymd(4000, 1, 1));
    let nameless = SelfSigned::new(&[], authority_too);
    let (ca, older_ca) = (authority.ca(), older.ca());
    for (acceptor, ca, expected) in [
        (issued("other.example"), &*ca, &["it is for other.example, not for 127.0.0.1", "in the address"][..]),
        (issued("127.0.0.1"), own.pem.path(), &["authority that is not trusted here", "in mail.ca"]),
        (issued("127.0.0.1"), &*older_ca, &["not signed by the authority of that name", "in mail.ca an older one"]),
        (own.acceptor(), &*ca, &["self-signed", "name this very certificate (PEM) in mail.ca"]),
        (nameless.acceptor(), &*ca, &["self-signed", "name this very certificate (PEM) in mail.ca"]),
        (expired.acceptor(), expired.pem.path(), &["it expired at 2020-01-01", "renew it"]),
        (early.acceptor(), early.pem.path(), &["it is valid from 4000-01-01", "clock"]),
        (own.config(true), own.pem.path(), &["wants a certificate of the client's", "password"]),
    ] {
        let sink = relay(Some(acceptor), true).await;
        let text = words(&format!("smtps://{}?ca={}", sink.addr, ca.display())).await.unwrap_err();
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    for (content, expected) in [
        (&b""[..], "BEGIN CERTIFICATE"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "BEGIN CERTIFICATE"),
        (&own.der, "it is DER"),
    ] {
        std::fs::write(file.path(), content).unwrap();
        let text = words(&format!("smtps://127.0.0.1?ca={}", file.path().display())).await.unwrap_err();
        assert!(text.contains(expected) && text.contains(&*file.path().to_string_lossy()), "{text}");
    }
    assert!(words("smtps://127.0.0.1?ca=/nonexistent").await.unwrap_err().contains("/nonexistent cannot be used"));
}

/// A server that says this to whoever comes.
async fn saying(greeting: &'static [u8]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, greeting).await;
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            });
        }
    });
    address.to_string()
}

#[tokio::test]
async fn every_mistake_with_an_address_is_told_with_what_to_do() {
    let own = SelfSigned::new(&["127.0.0.1"], authority_too);
    let free = format!("127.0.0.1:{}", free_ports(1));
    let plain = relay(None, false).await;
    let (secured, ssh) = (relay(Some(own.acceptor()), true).await, saying(b"SSH-2.0-OpenSSH_9.2\r\n").await);
    let (mute, http) = (saying(b"").await, saying(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
    let starts = relay(Some(own.acceptor()), false).await;
    for (url, expected) in [
        ("smtp://nowhere.invalid".to_owned(), &["name is not known", "host in mail.url"][..]),
        (format!("smtp://{free}"), &["nothing listens there", "port in mail.url"]),
        (format!("smtp://{ssh}"), &["the answer is not SMTP", "another service is on that port"]),
        (format!("smtp://{http}"), &["the answer is not SMTP", "another service is on that port"]),
        (format!("smtp://{mute}"), &["no answer within 5s", "write smtps:// in mail.url"]),
        (format!("smtp://{}?tls=required", secured.addr), &["no answer within 5s", "write smtps:// in mail.url"]),
        (format!("smtps://{}", plain.addr), &["in clear text", "write smtp:// (STARTTLS) in mail.url"]),
        (format!("smtps://{}", starts.addr), &["in clear text", "write smtp:// (STARTTLS) in mail.url"]),
        (format!("smtps://{ssh}"), &["in clear text", "the port of TLS (465)"]),
        (format!("smtp://{}?tls=required", plain.addr), &["offers no STARTTLS", "Somebody in between"]),
    ] {
        let text = words(&url).await.unwrap_err();
        assert!(expected.iter().all(|part| text.contains(part)), "{url}: {text}");
    }
}
