//! One connection to the server.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::{Fault, Keep, Setup, State, Step};

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a connection")]
pub(super) struct Session {
    state: Arc<State>,
    stream: Box<dyn Duplex>,
    buffer: Vec<u8>,
    secured: bool,
    logged_in: bool,
    /// The next replies go byte by byte.
    dripping: bool,
    /// A 421 was said.
    closing: bool,
}

/// One of the sessions that are there now, until this is dropped.
struct Place {
    state: Arc<State>,
    is_one_too_many: bool,
}

impl Place {
    fn take(state: &Arc<State>) -> Self {
        let is_one_too_many = state.open.fetch_add(1, Relaxed) >= state.setup.sessions_max;
        Self { state: state.clone(), is_one_too_many }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.state.open.fetch_sub(1, Relaxed);
    }
}

impl Session {
    pub(super) async fn run(state: Arc<State>, stream: TcpStream) {
        state.connections.fetch_add(1, Relaxed);
        let place = Place::take(&state);
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let stream: Box<dyn Duplex> = match &state.setup.tls {
            Some(acceptor) if state.setup.implicit => match acceptor.accept(stream).await {
                Ok(stream) => Box::new(stream),
                Err(_) => return,
            },
            _ => Box::new(stream),
        };
        let secured = state.setup.implicit;
        let mut this =
            Self { state, stream, buffer: Vec::new(), secured, logged_in: false, dripping: false, closing: false };
        let greeting = if place.is_one_too_many { "421 4.7.0 too many sessions from you" } else { "220 sink ESMTP" };
        let _ = this.serve(greeting).await; // clients may go at any time
    }

    async fn serve(&mut self, greeting: &str) -> io::Result<()> {
        let (mut from, mut to) = (String::new(), String::new());
        let mut replies = self.reply(Step::Connect, greeting).await?;
        loop {
            self.write(&replies).await?;
            if self.closing {
                return Ok(());
            }
            replies.clear();
            self.fill().await?;
            // every whole command, so that pipelined ones get their replies in one packet
            while let Some(line) = self.line().filter(|_| !self.closing) {
                if self.state.setup.keep == Keep::All {
                    super::locked(&self.state.commands).push(line.clone());
                }
                let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                let verb = line.split([' ', ':']).next().unwrap_or_default();
                match verb {
                    // as Postfix's smtp-source says
                    "HELO" => replies.extend(self.reply(Step::Ehlo, "250 sink").await?),
                    "EHLO" => replies.extend(self.ehlo().await?),
                    "STARTTLS" => {
                        let reply = self.reply(Step::StartTls, "220 2.0.0 go on").await?;
                        self.write(&reply).await?;
                        if reply.starts_with(b"220") {
                            self.start_tls().await?;
                        }
                    }
                    "AUTH" => replies.extend(self.log_in(&line).await?),
                    "MAIL" if self.state.setup.login.is_some() && !self.logged_in => {
                        replies.extend(b"530 5.7.0 authentication required\r\n");
                    }
                    "MAIL" => {
                        let reply = self.reply(Step::Mail, "250 2.1.0 ok").await?;
                        from = if reply.starts_with(b"250") { address() } else { String::new() };
                        to.clear();
                        replies.extend(reply);
                    }
                    "RCPT" if from.is_empty() => replies.extend(b"503 5.5.1 MAIL first\r\n"),
                    "RCPT" => {
                        let reply = self.state.refusal_of(&address()).unwrap_or("250 2.1.5 ok");
                        let reply = self.reply(Step::Rcpt, reply).await?;
                        to = if reply.starts_with(b"250") { address() } else { String::new() };
                        replies.extend(reply);
                    }
                    "DATA" => {
                        let usual = if to.is_empty() { "554 5.5.1 no valid recipients" } else { "354 go on" };
                        let reply = self.reply(Step::Data, usual).await?;
                        let go_on = reply.starts_with(b"354");
                        replies.extend(reply);
                        if go_on {
                            self.write(&replies).await?;
                            replies = self.mail(&from, &to).await?;
                        }
                    }
                    "BDAT" => replies.extend(self.chunk(&line, &from, &to).await?),
                    "RSET" | "NOOP" => replies.extend(b"250 2.0.0 ok\r\n"),
                    "QUIT" => return self.write(b"221 2.0.0 bye\r\n").await,
                    _ => replies.extend(b"500 5.5.1 what?\r\n"),
                }
            }
        }
    }

    async fn ehlo(&mut self) -> io::Result<Vec<u8>> {
        let Setup { capabilities, tls, login, mechanisms, .. } = &self.state.setup;
        let mut lines: Vec<_> = capabilities.split(' ').map(str::to_owned).collect();
        if tls.is_some() && !self.secured {
            lines.push("STARTTLS".into());
        }
        if login.is_some() && (self.secured || tls.is_none()) {
            lines.push(format!("AUTH {mechanisms}"));
        }
        let last = lines.pop().unwrap_or_default();
        let mut usual = String::from("250-sink\r\n");
        for line in &lines {
            usual.extend(["250-", line, "\r\n"]);
        }
        usual.extend(["250 ", &last]);
        let fault = self.state.fault(Step::Ehlo);
        self.answer(fault, &usual).await
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        let plain = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let acceptor = self.state.setup.tls.clone().expect("it was offered");
        self.stream = Box::new(acceptor.accept(plain).await?);
        (self.secured, self.logged_in) = (true, false);
        self.buffer.clear();
        Ok(())
    }

    async fn log_in(&mut self, line: &str) -> io::Result<Vec<u8>> {
        let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
        let decode = |text: &str| {
            let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok()?;
            String::from_utf8(bytes).ok()
        };
        let (user, password) = self.state.setup.login.unwrap_or_default();
        let good = if line == "AUTH LOGIN" {
            let mut good = true;
            for (prompt, expected) in [("334 VXNlcm5hbWU6\r\n", user), ("334 UGFzc3dvcmQ6\r\n", password)] {
                self.write(prompt.as_bytes()).await?;
                while !self.buffer.ends_with(b"\r\n") {
                    self.fill().await?;
                }
                good &= self.line() == Some(encode(expected));
            }
            good
        } else if let Some((mechanism @ ("XOAUTH2" | "OAUTHBEARER"), response)) =
            line.strip_prefix("AUTH ").and_then(|rest| rest.split_once(' '))
        {
            let bearer = format!("auth=Bearer {password}\x01\x01");
            let good = match mechanism {
                "XOAUTH2" => response == encode(&format!("user={user}\x01{bearer}")),
                _ => decode(response).is_some_and(|said| {
                    let start = format!("n,a={user},\x01host=127.0.0.1\x01port=");
                    said.starts_with(&start) && said.ends_with(&format!("\x01{bearer}"))
                }),
            };
            if !good {
                // the reason as a challenge, which the client has to answer before it hears the verdict
                self.write(format!("334 {}\r\n", encode("{\"status\":\"401\"}")).as_bytes()).await?;
                while !self.buffer.ends_with(b"\r\n") {
                    self.fill().await?;
                }
                let expected = if mechanism == "XOAUTH2" { "" } else { "AQ==" };
                if self.line().as_deref() != Some(expected) {
                    return Err(io::ErrorKind::InvalidData.into()); // the client hears no verdict
                }
            }
            good
        } else {
            line == format!("AUTH PLAIN {}", encode(&format!("\0{user}\0{password}")))
        };
        let reply =
            self.reply(Step::Auth, if good { "235 2.7.0 welcome" } else { "535 5.7.8 wrong user or password" }).await?;
        self.logged_in = reply.starts_with(b"235");
        Ok(reply)
    }

    /// Takes a mail to its final dot and returns the reply.
    async fn mail(&mut self, from: &str, to: &str) -> io::Result<Vec<u8>> {
        // no client here sends anything on after the dot, so it ends the buffer
        while !self.buffer.ends_with(b"\r\n.\r\n") {
            self.fill().await?;
        }
        let fault = self.state.fault(Step::Dot);
        if !is_refusal(fault.as_ref()) {
            self.state.keep(self.secured, from, to, &self.buffer[..self.buffer.len() - 3], unstuffed);
        }
        self.buffer.clear();
        self.answer(fault, "250 2.0.0 queued").await
    }

    /// Takes a mail that is one chunk, and returns the reply.
    async fn chunk(&mut self, line: &str, from: &str, to: &str) -> io::Result<Vec<u8>> {
        let Some(length) = line.strip_prefix("BDAT ").and_then(|rest| rest.strip_suffix(" LAST")?.parse().ok()) else {
            return Ok(b"501 5.5.4 one chunk for each mail here\r\n".to_vec());
        };
        while self.buffer.len() < length {
            self.fill().await?;
        }
        let mail: Vec<u8> = self.buffer.drain(..length).collect();
        if to.is_empty() {
            return Ok(b"554 5.5.1 no valid recipients\r\n".to_vec());
        }
        let fault = self.state.fault(Step::Dot);
        if !is_refusal(fault.as_ref()) {
            self.state.keep(self.secured, from, to, &mail, <[u8]>::to_vec);
        }
        self.answer(fault, "250 2.0.0 queued").await
    }

    async fn reply(&mut self, step: Step, usual: &str) -> io::Result<Vec<u8>> {
        let fault = self.state.fault(step);
        self.answer(fault, usual).await
    }

    async fn answer(&mut self, fault: Option<Fault>, usual: &str) -> io::Result<Vec<u8>> {
        let reply = match fault {
            None => usual,
            Some(Fault::Reply(reply)) => reply,
            Some(Fault::Bytes(bytes)) => return Ok(bytes),
            Some(Fault::Drip(reply)) => {
                self.dripping = true;
                reply
            }
            Some(Fault::Drop) => return Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Fault::Hang) => std::future::pending().await,
        };
        self.closing = reply.starts_with("421");
        Ok(format!("{reply}\r\n").into_bytes())
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = if std::mem::take(&mut self.dripping) { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(size) {
            self.stream.write_all(piece).await?;
            self.stream.flush().await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(64 << 10);
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.state.packets.fetch_add(1, Relaxed);
        Ok(())
    }

    fn line(&mut self) -> Option<String> {
        let end = self.buffer.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 2);
        Some(line)
    }
}

/// Whether what happens at the end of a mail says that it was not taken.
fn is_refusal(fault: Option<&Fault>) -> bool {
    matches!(fault, Some(Fault::Reply(reply) | Fault::Drip(reply)) if !reply.starts_with('2'))
}

fn unstuffed(body: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    raw
}
