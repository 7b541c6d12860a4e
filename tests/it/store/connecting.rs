//! What somebody reads who connects a database for the first time and has something wrong.

use encargo::store::{
    Store as _,
    postgres::{Options, PgStore},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::PgSchema;
use crate::harness::free_ports;

/// What a first call says.
async fn words(url: &str) -> String {
    match PgStore::new(Options::new(url)) {
        Ok(store) => store.ping().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn every_mistake_is_told_with_what_to_do() {
    let host = PgSchema::host();
    let (name, port) = host.rsplit_once(':').unwrap();
    let user = PgSchema::database().split_once("://").unwrap().1.split('@').next().unwrap().to_owned();
    let free = free_ports(1);
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = other.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            // what is unread at the end would reset the connection
            let _ = stream.read(&mut [0; 1_000]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for (url, expected) in [
        (format!("postgres://{user}@nowhere.invalid/encargo"), &["name is not known", "store.url"][..]),
        (format!("postgres://{user}@127.0.0.1:{free}/encargo"), &["nothing listens", "the port in store.url"]),
        (format!("postgres://{user}@{name}:{port}/no_such_database"), &["no_such_database", "3D000", "create it"]),
        (
            format!("postgres://{user}@{name}:{port}/encargo?schema=no_such_schema"),
            &["3F000", "CREATE SCHEMA", "leave it out"],
        ),
        (format!("postgres://no_such_user@{name}:{port}/encargo"), &["no_such_user", "28000", "the user in store.url"]),
        (
            format!("postgres://{user}@{name}:{port}/encargo?sslmode=require"),
            &["does not support TLS", "sslmode=disable"],
        ),
        (
            format!("postgres://{user}@127.0.0.1:{http}/encargo?sslmode=disable"),
            &["is it PostgreSQL that listens there?"],
        ),
        (format!("postgres://{name}:{port}/encargo"), &["names no user"]),
        (format!("postgres://{user}:a@b@{name}:x/encargo"), &["not a valid postgres:// URL", "%40"]),
        (format!("postgres://{user}@{name}:{port}/encargo?sslmode=on"), &["sslmode=on", "must be disable"]),
    ] {
        let text = words(&url).await;
        assert!(expected.iter().all(|part| text.contains(part)), "{url}: {text}");
    }
    served.abort();
}

/// Messages of a server come in its language; what to do about them must not depend on that.
#[tokio::test]
async fn a_server_that_speaks_spanish_is_understood() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://ana@{}/encargo?sslmode=disable", server.local_addr().unwrap());
    let served = tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let _ = stream.read(&mut [0; 1_000]).await;
            let fields = [
                "SFATAL",
                "VFATAL",
                "C28000",
                "Mno hay una línea en pg_hba.conf para «127.0.0.1», usuario «ana», base de datos «encargo», sin cifrado",
                "RClientAuthentication",
            ];
            let fields = fields.map(|field| format!("{field}\0")).concat() + "\0";
            let length = 4 + fields.len() as u32;
            let _ = stream.write_all(&[b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()).await;
        }
    });
    let text = words(&url).await;
    assert!(
        ["sin cifrado", "let this user and host in", "sslmode=require"].iter().all(|part| text.contains(part)),
        "{text}"
    );
    served.abort();
}
