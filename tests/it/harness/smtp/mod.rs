//! An SMTP server that does as it is told: it keeps what it accepts, and refuses, drops, hangs or babbles where a
//! script says so. [`Sink::counting`] keeps nothing, for benchmarks.

#![allow(dead_code, reason = "the tests and the bench include this file and use a part of it each")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use session::Session;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

mod session;

/// A port on loopback that nobody listens on, for a server that cannot pick one itself.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    listener.local_addr().expect("it is bound").port()
}

/// Where in a session something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Connect,
    Ehlo,
    StartTls,
    Auth,
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
    /// These bytes, as they stand; whoever writes the script knows whether that accepts anything.
    Bytes(Vec<u8>),
    /// This reply, one byte at a time.
    Drip(&'static str),
    /// The connection ends. At [`Step::Dot`] the mail was accepted.
    Drop,
    /// No answer ever comes. At [`Step::Dot`] the mail was accepted.
    Hang,
}

/// A mail as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Whether it came under TLS.
    pub secured: bool,
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

/// How a server is set up.
#[derive(Clone)]
pub struct Setup {
    /// Keywords of its answer to EHLO; STARTTLS and AUTH come by themselves.
    pub capabilities: &'static str,
    /// Whether mails are kept.
    pub keep: bool,
    pub tls: Option<TlsAcceptor>,
    /// TLS from the first byte on, and not by STARTTLS.
    pub implicit: bool,
    /// User and password without which it takes nothing.
    pub login: Option<(&'static str, &'static str)>,
    /// What it offers for that.
    pub mechanisms: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            capabilities: "PIPELINING SMTPUTF8",
            keep: true,
            tls: None,
            implicit: false,
            login: None,
            mechanisms: "PLAIN LOGIN",
        }
    }
}

struct State {
    setup: Setup,
    commands: Mutex<Vec<String>>,
    mails: Mutex<Vec<Received>>,
    script: Mutex<Vec<(Step, Fault, u32)>>,
    /// Recipients that are always refused, with the reply.
    refused: Mutex<Vec<(String, &'static str)>>,
    accepted: AtomicU64,
    connections: AtomicU64,
    packets: AtomicU64,
}

impl Sink {
    /// On a free port, with pipelining.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// One that offers nothing.
    pub async fn plain() -> Self {
        Self::with(Setup { capabilities: "HELP", ..Setup::default() }).await
    }

    /// One that only counts.
    pub async fn counting() -> Self {
        Self::with(Setup { capabilities: "PIPELINING", keep: false, ..Setup::default() }).await
    }

    /// Set up as it is wanted.
    pub async fn with(setup: Setup) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), setup).await
    }

    /// On a port that was used before.
    pub async fn again(addr: SocketAddr) -> Self {
        Self::on(addr, Setup::default()).await
    }

    pub async fn on(addr: SocketAddr, setup: Setup) -> Self {
        let listener = TcpListener::bind(addr).await.expect("the port is free");
        let addr = listener.local_addr().expect("it is bound");
        let state = Arc::new(State {
            setup,
            commands: Mutex::default(),
            mails: Mutex::default(),
            script: Mutex::default(),
            refused: Mutex::default(),
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
                    sessions.spawn(Session::run(state.clone(), stream));
                }
            }
        });
        Self { addr, state, accepting }
    }

    /// The URL by which the mailer finds it.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.addr)
    }

    /// Ends it, listener and all connections, wherever they are.
    pub async fn end(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await; // it was aborted: that is no error
    }

    /// The next `times` times, this goes wrong at that step.
    pub fn script(&self, step: Step, fault: Fault, times: u32) {
        self.state.script.lock().unwrap().push((step, fault, times));
    }

    /// This recipient is refused from now on.
    pub fn refuse(&self, to: &str, reply: &'static str) {
        self.state.refused.lock().unwrap().push((to.to_owned(), reply));
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        self.state.script.lock().unwrap().clear();
        self.state.refused.lock().unwrap().clear();
    }

    /// Faults that have not happened yet.
    pub fn faults_left(&self) -> u32 {
        self.state.script.lock().unwrap().iter().map(|(_, _, times)| times).sum()
    }

    /// Every command line so far, but for the mails' own lines.
    pub fn commands(&self) -> Vec<String> {
        self.state.commands.lock().unwrap().clone()
    }

    /// Command lines and mails since this was called last.
    pub fn take(&self) -> (Vec<String>, Vec<Received>) {
        let commands = std::mem::take(&mut *self.state.commands.lock().unwrap());
        (commands, std::mem::take(&mut *self.state.mails.lock().unwrap()))
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
    fn refusal_of(&self, to: &str) -> Option<&'static str> {
        self.refused.lock().unwrap().iter().find(|(refused, _)| refused == to).map(|(_, reply)| *reply)
    }

    fn fault(&self, step: Step) -> Option<Fault> {
        let mut script = self.script.lock().unwrap();
        let (_, fault, times) = script.iter_mut().find(|(at, _, times)| *at == step && *times > 0)?;
        *times -= 1;
        Some(fault.clone())
    }
}
