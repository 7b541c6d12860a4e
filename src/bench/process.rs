//! `encargo up` as a process of its own.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::scrape::Ops;

/// Longest wait until a system is ready.
const READY_MAX: Duration = Duration::from_mins(2);
/// How often it is asked.
const ASK: Duration = Duration::from_millis(5);
/// Where servers listen that come up later, or again.
const PORTS: Range<u16> = 10_000..20_000;
/// So many of them are one process's, from a multiple of that on.
const BLOCK: u16 = 100;
/// How much of its log is shown when it does not start.
const LAST_LINES: usize = 12;
/// How our commands begin an error.
const ERROR: &str = "error: ";

/// The first of so many ports of loopback in a row on which nobody listens, for a server that comes up later, or again: below
/// those that the system usually hands out to whoever asks for any (32,768 and up on Linux). Of these, a connection that tries to
/// reach the server while it is away could be given the server's own, and keep it from coming back. Each is given once, and they are
/// this process's as long as it lives: another one that looks while the server is away is given others.
pub fn free_ports(count: u16) -> u16 {
    /// What is left of the last block, and a socket for each block, by which others see that it is claimed.
    static CLAIMED: Mutex<(Range<u16>, Vec<UdpSocket>)> = Mutex::new((0..0, Vec::new()));
    let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    let (left, claims) = &mut *claimed;
    loop {
        while left.len() >= usize::from(count) {
            let first = left.start;
            left.start += count;
            if (first..first + count).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
                return first;
            }
        }
        let (first, claim) = PORTS
            .step_by(BLOCK.into())
            .find_map(|first| Some((first, UdpSocket::bind((Ipv4Addr::LOCALHOST, first)).ok()?)))
            .expect("a hundred processes that look for ports are more than there are");
        claims.push(claim);
        *left = first..first + BLOCK;
    }
}

fn free_listeners() -> [SocketAddr; 3] {
    let first = free_ports(3);
    [first, first + 1, first + 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
}

/// How a system is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program: usually `std::env::current_exe()`.
    pub program: PathBuf,
    /// The data folder; the log of the process lies beside it, with the ending `.log`.
    pub data: PathBuf,
    /// What comes after `up` (or another role) and its addresses.
    pub arguments: Vec<String>,
    /// The three listeners, of intake, tracking and operations: the same at each start.
    pub listen: [SocketAddr; 3],
    /// Variables of its environment, which has no other `ENCARGO_…`.
    pub variables: Vec<(String, String)>,
}

/// A running system; killed when it is dropped.
pub struct Server {
    process: Process,
    /// Where orders are taken.
    pub intake: SocketAddr,
    /// Where orders are looked up.
    pub tracking: SocketAddr,
    /// Where it is operated.
    pub ops: SocketAddr,
    /// From the start of the process until `/readyz` said that all works.
    pub ready_after: Duration,
}

/// A process that does not outlive what started it, also where that is given up while the process comes up.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait()); // it may have ended before
    }
}

impl Launch {
    /// On free ports of loopback, on a data folder, with nothing but the defaults, and no limit for one client or address.
    pub fn new(program: PathBuf, data: &Path) -> Self {
        let variables = [
            ("ENCARGO_INTAKE_RATE_PER_ADDRESS", "off"),
            ("ENCARGO_INTAKE_RATE_PER_CLIENT", "off"),
            ("ENCARGO_LOGGING_LEVEL", "warn"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { program, data: data.to_owned(), arguments: Vec::new(), listen: free_listeners(), variables }
    }

    /// The same on other ports, with a data folder of its own.
    #[must_use]
    pub fn another(&self, data: PathBuf) -> Self {
        Self { data, listen: free_listeners(), ..self.clone() }
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&self) -> Result<Server> {
        let started = Instant::now();
        let child = self.command()?.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut process = Process(child);
        let stdout = process.0.stdout.take().context("the process has no standard output")?;
        let said = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = said.await.context("cannot wait for the process")?.context("cannot read what it prints")?;
        let addresses: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = |name: &str| addresses[name].as_str().and_then(|text| text.parse().ok());
        let (Some(intake), Some(tracking), Some(ops)) = (address("intake"), address("tracking"), address("ops")) else {
            drop(process); // it has ended or is of no use
            bail!("the system did not start:\n{}", self.last_lines());
        };
        let mut server = Server { process, intake, tracking, ops, ready_after: Duration::ZERO };
        let asked = server.ops()?;
        while !asked.is_ready().await {
            if let Some(status) = server.process.0.try_wait().context("cannot look after the process")? {
                bail!("the system ended with {status}:\n{}", self.last_lines());
            }
            if started.elapsed() > READY_MAX {
                bail!("the system was not ready after {READY_MAX:?}:\n{}", self.last_lines());
            }
            tokio::time::sleep(ASK).await;
        }
        server.ready_after = started.elapsed();
        Ok(server)
    }

    fn command(&self) -> Result<Command> {
        let log = self.log();
        let file = File::options().create(true).append(true).open(&log);
        let mut command = Command::new(&self.program);
        command.args(["up", "--json", "--data"]).arg(&self.data);
        for (name, address) in ["--intake-listen", "--tracking-listen", "--ops-listen"].into_iter().zip(self.listen) {
            command.arg(name).arg(address.to_string());
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ENCARGO_")) {
            command.env_remove(name);
        }
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        // a file encargo.toml in the working folder is another system's
        command.current_dir(self.data.parent().unwrap_or(Path::new("/")));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(file.with_context(|| format!("cannot write {}", log.display()))?);
        Ok(command)
    }

    /// Where it logs.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// The end of its log.
    fn last_lines(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Server {
    /// Its operations listener.
    pub fn ops(&self) -> Result<Ops> {
        Ops::at(&format!("http://{}", self.ops))
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Whether it ended by itself, and how.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.0.try_wait().ok().flatten()
    }

    /// Ends it the hard way (`kill -9`).
    pub fn kill(mut self) -> Result<()> {
        self.process.0.kill().and_then(|()| self.process.0.wait()).map(drop).context("cannot end the process")
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        let id = rustix::process::Pid::from_child(&self.process.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).context("cannot stop the process")?;
        let began = Instant::now();
        while self.process.0.try_wait().context("cannot wait for the process")?.is_none() {
            if began.elapsed() > READY_MAX {
                bail!("the system did not stop within {READY_MAX:?}");
            }
            tokio::time::sleep(ASK).await;
        }
        Ok(())
    }
}

/// What a command of ours that failed said on standard error, as a part of another error.
pub fn complaint(stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    let error = said.lines().position(|line| line.starts_with(ERROR));
    let lines: Vec<_> = said.lines().skip(error.unwrap_or(0)).collect();
    let said = lines.join("\n");
    said.strip_prefix(ERROR).unwrap_or(&said).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_within_an_error_says_so_once() {
        assert_eq!(complaint(b"warning: old\nerror: no broker\n  try later\n"), "no broker\n  try later");
        assert_eq!((complaint(b"Killed\n"), complaint(b"")), ("Killed".to_owned(), String::new()));
    }

    #[test]
    fn ports_are_given_once_and_others_see_that_they_are_claimed() {
        let given: Vec<_> = (0..u32::from(BLOCK)).map(|_| free_ports(3)).collect();
        for first in &given {
            let block = first - first % BLOCK;
            assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, block)).is_err(), "nobody claims {first}");
            assert!(block <= *first && first + 3 <= block + BLOCK);
        }
        let ports: std::collections::BTreeSet<_> = given.iter().flat_map(|first| *first..first + 3).collect();
        assert_eq!(ports.len(), given.len() * 3);
    }
}
