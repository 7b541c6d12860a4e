//! An SMTP server that does as it is told: it keeps what it accepts, and refuses, drops or hangs where a script says
//! so. [`Sink::counting`] keeps nothing, for benchmarks.

#![allow(dead_code, reason = "the tests and the bench include this file and use a part of it each")]

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Where in a session something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Connect,
    Mail,
    Rcpt,
    Data,
    /// After the final dot.
    Dot,
}

/// What happens there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This reply, without line end.
    Reply(&'static str),
    /// The connection ends. At [`Step::Dot`] the mail was accepted.
    Drop,
    /// No answer ever comes. At [`Step::Dot`] the mail was accepted.
    Hang,
}

/// A mail as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub from: String,
    pub to: String,
    /// Without dot-stuffing.
    pub raw: Vec<u8>,
}

impl Received {
    /// The value of a header field that is not folded.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.raw).ok()?.split("\r\n\r\n").next()?;
        head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// The server; it ends when this is dropped.
pub struct Sink {
    pub addr: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    capabilities: &'static str,
    keep: bool,
    mails: Mutex<Vec<Received>>,
    script: Mutex<Vec<(Step, Fault, u32)>>,
    accepted: AtomicU64,
    connections: AtomicU64,
    packets: AtomicU64,
}

impl Sink {
    /// On a free port, with pipelining.
    pub async fn start() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), "250-PIPELINING\r\n250 SMTPUTF8\r\n", true).await
    }

    /// One that offers nothing.
    pub async fn plain() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), "250 HELP\r\n", true).await
    }

    /// One that only counts.
    pub async fn counting() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), "250 PIPELINING\r\n", false).await
    }

    /// On a port that was used before.
    pub async fn again(addr: SocketAddr) -> Self {
        Self::on(addr, "250-PIPELINING\r\n250 SMTPUTF8\r\n", true).await
    }

    async fn on(addr: SocketAddr, capabilities: &'static str, keep: bool) -> Self {
        let listener = TcpListener::bind(addr).await.expect("the port is free");
        let addr = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            capabilities,
            keep,
            mails: Mutex::default(),
            script: Mutex::default(),
            accepted: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            packets: AtomicU64::new(0),
        });
        let accepting = tokio::spawn({
            let state = state.clone();
            async move {
                let mut sessions = JoinSet::new(); // dropped with this task, and with it each session
                while let Ok((stream, _)) = listener.accept().await {
                    while sessions.try_join_next().is_some() {}
                    let session = Session { state: state.clone(), stream, buffer: Vec::new(), closing: false };
                    sessions.spawn(session.run());
                }
            }
        });
        Self { addr, state, accepting }
    }

    /// The URL by which the mailer finds it.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.addr)
    }

    /// The next `times` times, this goes wrong at that step.
    pub fn script(&self, step: Step, fault: Fault, times: u32) {
        self.state.script.lock().unwrap().push((step, fault, times));
    }

    /// Faults that have not happened yet.
    pub fn faults_left(&self) -> u32 {
        self.state.script.lock().unwrap().iter().map(|(_, _, times)| times).sum()
    }

    pub fn mails(&self) -> Vec<Received> {
        self.state.mails.lock().unwrap().clone()
    }

    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Relaxed)
    }

    pub fn connections(&self) -> u64 {
        self.state.connections.load(Relaxed)
    }

    /// Reads that brought something: how many packets the client needed.
    pub fn packets(&self) -> u64 {
        self.state.packets.load(Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn fault(&self, step: Step) -> Option<Fault> {
        let mut script = self.script.lock().unwrap();
        let (_, fault, times) = script.iter_mut().find(|(at, _, times)| *at == step && *times > 0)?;
        *times -= 1;
        Some(fault.clone())
    }
}

struct Session {
    state: Arc<State>,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// A 421 was said.
    closing: bool,
}

impl Session {
    async fn run(mut self) {
        let _ = self.serve().await; // clients may go at any time
    }

    async fn serve(&mut self) -> io::Result<()> {
        self.state.connections.fetch_add(1, Relaxed);
        self.stream.set_nodelay(true)?;
        let (mut from, mut to) = (String::new(), String::new());
        let mut replies = self.reply(Step::Connect, "220 sink ESMTP").await?;
        loop {
            self.stream.write_all(replies.as_bytes()).await?;
            if self.closing {
                return Ok(());
            }
            replies.clear();
            self.fill().await?;
            // every whole command, so that pipelined ones get their replies in one packet
            while let Some(line) = self.line().filter(|_| !self.closing) {
                let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                let verb = line.split([' ', ':']).next().unwrap_or_default();
                match verb {
                    "EHLO" => replies.extend(["250-sink\r\n", self.state.capabilities]),
                    "MAIL" => {
                        let reply = self.reply(Step::Mail, "250 2.1.0 ok").await?;
                        from = if reply.starts_with("250") { address() } else { String::new() };
                        to.clear();
                        replies += &reply;
                    }
                    "RCPT" if from.is_empty() => replies += "503 5.5.1 MAIL first\r\n",
                    "RCPT" => {
                        let reply = self.reply(Step::Rcpt, "250 2.1.5 ok").await?;
                        to = if reply.starts_with("250") { address() } else { String::new() };
                        replies += &reply;
                    }
                    "DATA" => {
                        let usual = if to.is_empty() { "554 5.5.1 no valid recipients" } else { "354 go on" };
                        let reply = self.reply(Step::Data, usual).await?;
                        replies += &reply;
                        if reply.starts_with("354") {
                            self.stream.write_all(replies.as_bytes()).await?;
                            replies = self.mail(&from, &to).await?;
                        }
                    }
                    "RSET" | "NOOP" => replies += "250 2.0.0 ok\r\n",
                    "QUIT" => return self.stream.write_all(b"221 2.0.0 bye\r\n").await,
                    _ => replies += "500 5.5.1 what?\r\n",
                }
            }
        }
    }

    /// Takes a mail to its final dot and returns the reply.
    async fn mail(&mut self, from: &str, to: &str) -> io::Result<String> {
        // no client here sends anything on after the dot, so it ends the buffer
        while !self.buffer.ends_with(b"\r\n.\r\n") {
            self.fill().await?;
        }
        let fault = self.state.fault(Step::Dot);
        if !matches!(fault, Some(Fault::Reply(_))) {
            self.state.accepted.fetch_add(1, Relaxed);
            if self.state.keep {
                let raw = unstuffed(&self.buffer[..self.buffer.len() - 3]);
                let mail = Received { from: from.to_owned(), to: to.to_owned(), raw };
                self.state.mails.lock().unwrap().push(mail);
            }
        }
        self.buffer.clear();
        self.answer(fault, "250 2.0.0 queued").await
    }

    async fn reply(&mut self, step: Step, usual: &str) -> io::Result<String> {
        let fault = self.state.fault(step);
        self.answer(fault, usual).await
    }

    async fn answer(&mut self, fault: Option<Fault>, usual: &str) -> io::Result<String> {
        let reply = match fault {
            None => usual,
            Some(Fault::Reply(reply)) => reply,
            Some(Fault::Drop) => return Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Fault::Hang) => std::future::pending().await,
        };
        self.closing = reply.starts_with("421");
        Ok(format!("{reply}\r\n"))
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

fn unstuffed(body: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(body.len());
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    raw
}
