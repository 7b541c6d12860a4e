//! Somebody has the desk open.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Follows the desk's first page, as a browser does that has it open, until the server ends.
pub async fn follow(ops: SocketAddr) {
    let mut stream = TcpStream::connect(ops).await.expect("the ops listener listens");
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.expect("it answers");
    assert_eq!(&start, b"HTTP/1.1 200", "the desk can be followed");
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
    });
}
