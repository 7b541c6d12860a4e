//! An SMTP server that does as it is told: it keeps of mails what is wanted, and refuses, drops, hangs or babbles where a script
//! or chance says so.

mod session;
mod trouble;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use session::Session;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
pub use trouble::Trouble;

use crate::audit;

/// Where in a session something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Before the greeting.
    Connect,
    /// The answer to EHLO.
    Ehlo,
    /// The answer to STARTTLS.
    StartTls,
    /// The answer to the login.
    Auth,
    /// The answer to MAIL FROM.
    Mail,
    /// The answer to RCPT TO.
    Rcpt,
    /// The answer to DATA.
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
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipient.
    pub to: String,
    /// Header and body, without dot-stuffing.
    pub raw: Vec<u8>,
}

impl Received {
    /// The value of a header field that is not folded.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.raw).ok()?.split("\r\n\r\n").next()?;
        head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What becomes of a mail that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is counted.
    Nothing,
    /// What the auditor judges by is kept, in the order of arrival: some 200 bytes.
    Facts,
    /// All of it is kept, and each command line.
    All,
}

/// The server; it ends when this is dropped.
pub struct Sink {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

/// How a server is set up.
#[derive(Clone)]
pub struct Setup {
    /// Keywords of its answer to EHLO; STARTTLS and AUTH come by themselves.
    pub capabilities: &'static str,
    /// What is kept of mails.
    pub keep: Keep,
    /// What TLS is made with, if it has any.
    pub tls: Option<TlsAcceptor>,
    /// TLS from the first byte on, and not by STARTTLS.
    pub implicit: bool,
    /// User and password without which it takes nothing.
    pub login: Option<(&'static str, &'static str)>,
    /// What it offers for that.
    pub mechanisms: &'static str,
    /// So many sessions at once; more are refused with 421.
    pub sessions_max: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            capabilities: "PIPELINING SMTPUTF8",
            keep: Keep::All,
            tls: None,
            implicit: false,
            login: None,
            mechanisms: "PLAIN LOGIN",
            sessions_max: u64::MAX,
        }
    }
}

impl Setup {
    /// With what most relays offer.
    pub fn usual() -> Self {
        Self { capabilities: "PIPELINING CHUNKING SMTPUTF8", ..Self::default() }
    }
}

struct State {
    setup: Setup,
    commands: Mutex<Vec<String>>,
    mails: Mutex<Vec<Received>>,
    facts: Mutex<Vec<(audit::Mail, SystemTime)>>,
    trouble: Mutex<Option<Trouble>>,
    script: Mutex<Vec<(Step, Fault, u32)>>,
    /// Recipients that are always refused, with the reply.
    refused: Mutex<Vec<(String, &'static str)>>,
    accepted: AtomicU64,
    connections: AtomicU64,
    /// Those that are there now.
    open: AtomicU64,
    packets: AtomicU64,
}

impl Sink {
    /// On a free port of loopback, with pipelining; keeps all.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// One that offers nothing.
    pub async fn plain() -> Self {
        Self::with(Setup { capabilities: "HELP", ..Setup::default() }).await
    }

    /// One that only counts.
    pub async fn counting() -> Self {
        Self::with(Setup { keep: Keep::Nothing, ..Setup::usual() }).await
    }

    /// On a free port of loopback, set up as it is wanted.
    pub async fn with(setup: Setup) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::on(any, setup).await.expect("loopback has a free port, or nothing here works")
    }

    /// On an address; port 0 is any that is free.
    pub async fn on(addr: SocketAddr, setup: Setup) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            setup,
            commands: Mutex::default(),
            mails: Mutex::default(),
            facts: Mutex::default(),
            trouble: Mutex::default(),
            script: Mutex::default(),
            refused: Mutex::default(),
            accepted: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
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
        Ok(Self { addr, state, accepting })
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
        locked(&self.state.script).push((step, fault, times));
    }

    /// From now on things go wrong by chance, beside what the script says.
    pub fn trouble(&self, trouble: Trouble) {
        *locked(&self.state.trouble) = Some(trouble);
    }

    /// How many things went wrong by chance, by name.
    pub fn troubles(&self) -> std::collections::BTreeMap<&'static str, u64> {
        locked(&self.state.trouble).as_ref().map(|trouble| trouble.counts().clone()).unwrap_or_default()
    }

    /// This recipient is refused from now on.
    pub fn refuse(&self, to: &str, reply: &'static str) {
        locked(&self.state.refused).push((to.to_owned(), reply));
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        if let Some(trouble) = locked(&self.state.trouble).as_mut() {
            trouble.end();
        }
        locked(&self.state.script).clear();
        locked(&self.state.refused).clear();
    }

    /// Faults that have not happened yet.
    pub fn faults_left(&self) -> u32 {
        locked(&self.state.script).iter().map(|(_, _, times)| times).sum()
    }

    /// Every command line so far, but for the mails' own lines.
    pub fn commands(&self) -> Vec<String> {
        locked(&self.state.commands).clone()
    }

    /// Command lines and mails since this was called last.
    pub fn take(&self) -> (Vec<String>, Vec<Received>) {
        let commands = std::mem::take(&mut *locked(&self.state.commands));
        (commands, std::mem::take(&mut *locked(&self.state.mails)))
    }

    /// What the auditor judges by, of each mail that came; with [`Keep::Facts`].
    pub fn facts(&self) -> Vec<audit::Mail> {
        locked(&self.state.facts).iter().map(|(mail, _)| mail.clone()).collect()
    }

    /// The order and state of each mail that came, and when that was in milliseconds since the epoch; with [`Keep::Facts`].
    pub fn arrivals(&self) -> Vec<(u64, String, i64)> {
        locked(&self.state.facts).iter().map(|(mail, at)| (mail.id, mail.estado.clone(), since_epoch(at))).collect()
    }

    /// The mails from such a place in the order of arrival on, each with when it came in milliseconds since the epoch; with
    /// [`Keep::Facts`].
    pub fn noted(&self, from: usize) -> Vec<(audit::Mail, i64)> {
        let facts = locked(&self.state.facts);
        facts.iter().skip(from).map(|(mail, at)| (mail.clone(), since_epoch(at))).collect()
    }

    /// The mails that came; with [`Keep::All`].
    pub fn mails(&self) -> Vec<Received> {
        locked(&self.state.mails).clone()
    }

    /// How many mails it accepted.
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Relaxed)
    }

    /// How many connections it had.
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
        locked(&self.refused).iter().find(|(refused, _)| refused == to).map(|(_, reply)| *reply)
    }

    fn fault(&self, step: Step) -> Option<Fault> {
        let mut script = locked(&self.script);
        if let Some((_, fault, times)) = script.iter_mut().find(|(at, _, times)| *at == step && *times > 0) {
            *times -= 1;
            return Some(fault.clone());
        }
        locked(&self.trouble).as_mut()?.strike(step)
    }

    /// A mail was accepted; `raw` makes it of `body`, which is as it came.
    fn keep(&self, secured: bool, from: &str, to: &str, body: &[u8], raw: fn(&[u8]) -> Vec<u8>) {
        match self.setup.keep {
            Keep::Nothing => {}
            Keep::Facts => {
                let head = body.windows(4).position(|four| four == b"\r\n\r\n").map_or(body, |end| &body[..end + 4]);
                // without the headers of an order's mail it is not one that is judged
                if let Some(mail) = audit::parse_mail(&String::from_utf8_lossy(head)) {
                    let mut facts = locked(&self.facts);
                    let arrival = Some(facts.len() as u64);
                    facts.push((audit::Mail { arrival, ..mail }, SystemTime::now()));
                }
            }
            Keep::All => {
                let (from, to, raw) = (from.to_owned(), to.to_owned(), raw(body));
                locked(&self.mails).push(Received { secured, from, to, raw });
            }
        }
        self.accepted.fetch_add(1, Relaxed);
    }
}

fn since_epoch(at: &SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

/// A list that a panic elsewhere has left is whole: each change of it is one push.
fn locked<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
