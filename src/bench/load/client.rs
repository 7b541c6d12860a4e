//! A customer's side of HTTP/1.1: one kept connection, one request at a time. It costs a fraction of what a general client does,
//! so that a load generator on the machine of the server leaves it to the server.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::domain::Handle;

/// Longest answer that is read; the answer to an order has some 300 bytes.
const ANSWER_MAX: usize = 64 << 10;

/// What a customer was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The order was accepted: its number, and the handle by which it is tracked.
    Accepted(u64, Option<Handle>),
    /// Not now: 429, 503, or 409 while the same key is worked on.
    Refused(u16),
    /// There was no whole answer: the order may have been accepted or not.
    Lost,
    /// The server will never take this; its words.
    Wrong(String),
}

/// A connection that is made when it is needed.
pub struct Client {
    to: SocketAddr,
    /// The lines of each request's head that say for whom and by whom it is.
    names: String,
    stream: Option<TcpStream>,
    answer: Vec<u8>,
}

/// The body of an answer to an accepted order.
#[derive(Deserialize)]
struct Accepted<'a> {
    orderid: u64,
    #[serde(borrow)]
    handle: Option<&'a str>,
}

impl Client {
    /// To an address, which calls itself `host`; where one is given, on behalf of a client, as a reverse proxy says it.
    pub fn new(to: SocketAddr, host: &str, client: Option<IpAddr>) -> Self {
        let client = client.map_or_else(String::new, |client| format!("X-Forwarded-For: {client}\r\n"));
        Self { to, names: format!("Host: {host}\r\n{client}"), stream: None, answer: Vec::with_capacity(4_096) }
    }

    /// Where it connects to.
    pub const fn to(&self) -> SocketAddr {
        self.to
    }

    /// Asks for an order; the body is JSON.
    pub async fn order(&mut self, body: &str, key: Option<&str>) -> Answer {
        match self.post(body, key).await {
            Ok(status @ (200 | 202)) => self.accepted().unwrap_or_else(|| self.wrong(status)),
            Ok(status @ (409 | 429 | 503)) => Answer::Refused(status),
            Ok(status) => self.wrong(status),
            Err(_) => {
                self.stream = None;
                Answer::Lost
            }
        }
    }

    fn accepted(&self) -> Option<Answer> {
        let Accepted { orderid, handle } = serde_json::from_slice(self.body()).ok()?;
        Some(Answer::Accepted(orderid, handle.and_then(|handle| handle.parse().ok())))
    }

    fn wrong(&self, status: u16) -> Answer {
        Answer::Wrong(format!("{status}: {}", String::from_utf8_lossy(self.body()).trim()))
    }

    fn body(&self) -> &[u8] {
        let head = self.answer.windows(4).position(|four| four == b"\r\n\r\n");
        &self.answer[head.map_or(self.answer.len(), |head| head + 4)..]
    }

    async fn post(&mut self, body: &str, key: Option<&str>) -> io::Result<u16> {
        let key = key.map_or_else(String::new, |key| format!("Idempotency-Key: {key}\r\n"));
        let (names, length) = (&self.names, body.len());
        let request = format!(
            "POST /orders HTTP/1.1\r\n{names}Content-Type: application/json\r\n{key}Content-Length: {length}\r\n\r\n{body}"
        );
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => {
                let stream = TcpStream::connect(self.to).await?;
                stream.set_nodelay(true)?;
                empty.insert(stream)
            }
        };
        stream.write_all(request.as_bytes()).await?;
        let (status, is_kept) = read(stream, &mut self.answer).await?;
        if !is_kept {
            self.stream = None;
        }
        Ok(status)
    }
}

/// Reads one answer, which must have a Content-Length; its status, and whether the connection goes on.
async fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<(u16, bool)> {
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            if answer.len() > ANSWER_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            continue;
        };
        let parsed = std::str::from_utf8(&answer[..head]).ok().and_then(parse);
        let Some((status, length, is_kept)) = parsed.filter(|(_, length, _)| *length <= ANSWER_MAX) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        if answer.len() >= head + 4 + length {
            return Ok((status, is_kept));
        }
    }
}

/// Of the head of an answer: status, length of the body, whether the connection goes on.
fn parse(head: &str) -> Option<(u16, usize, bool)> {
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut is_kept) = (None, true);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            is_kept = !value.trim().eq_ignore_ascii_case("close");
        }
    }
    Some((status, length?, is_kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_head_of_an_answer() {
        assert_eq!(parse("HTTP/1.1 202 Accepted\r\ncontent-length: 17"), Some((202, 17, true)));
        let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Length:0\r\nConnection: close";
        assert_eq!(parse(head), Some((503, 0, false)));
        assert_eq!(parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"), None);
        assert_eq!(parse("220 sink ESMTP"), None);
    }
}
