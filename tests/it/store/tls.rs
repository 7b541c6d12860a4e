//! A database that takes TLS and a password only.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use encargo::store::{
    Error, Store as _,
    postgres::{Options, PgStore},
};

use super::support::patient;
use crate::harness::{free_ports, process::output};

/// A server of the test's own, ended when it is dropped.
struct Server {
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // the server's user passes through
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let port = free_ports(1);
        let server = Self { folder, port };
        server.script("start");
        server
    }

    fn script(&self, command: &str) {
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres-local"));
        script.arg(command).env("PG_DIR", self.folder.path().join("pg")).env("PG_PORT", self.port.to_string());
        let output = output(script.env("PG_TLS", "1"));
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("pg/tls").join(name)
    }

    /// What a first call says with this protection, the right password, and the authority's certificate or none.
    async fn ask(&self, host: &str, sslmode: &str, ca: bool) -> Result<(), Error> {
        let mut options = self.options(host, sslmode);
        options.ca = ca.then(|| self.file("ca.pem"));
        PgStore::new(options)?.ping().await
    }

    fn options(&self, host: &str, sslmode: &str) -> Options {
        let url = format!("postgres://encargo@{host}:{}/encargo?sslmode={sslmode}", self.port);
        let password = std::fs::read_to_string(self.file("password")).unwrap();
        Options { password: Some(password.trim().to_owned()), ..patient(url) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.script("wipe");
    }
}

#[tokio::test]
async fn postgres_is_reached_by_tls_with_a_password_and_a_stranger_is_not() {
    let server = Server::start();
    server.ask("localhost", "verify-full", true).await.unwrap();
    server.ask("localhost", "require", true).await.unwrap();
    server.ask("127.0.0.1", "require", false).await.unwrap(); // encrypted, and nobody knows with whom
    server.ask("127.0.0.1", "prefer", false).await.unwrap();

    for (host, sslmode, ca, why) in [
        ("localhost", "disable", false, "no encryption"),
        ("localhost", "verify-full", false, "certificate"), // of an authority that nobody knows
        ("127.0.0.1", "verify-full", true, "certificate"),  // which is localhost's
        ("127.0.0.1", "require", true, "certificate"),
    ] {
        let refused = server.ask(host, sslmode, ca).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{host} {sslmode} {ca}: {refused:?}");
    }
    let mut wrong = server.options("localhost", "require");
    wrong.password = Some("wrong".into());
    let refused = PgStore::new(wrong).unwrap().ping().await.unwrap_err();
    assert!(matches!(&refused, Error::Fatal(text) if text.contains("password")), "{refused:?}");
}
