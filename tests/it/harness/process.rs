//! The real binary as a child process.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use encargo::config;
use serde_json::Value;

use super::{PATIENCE, UNHURRIED, cluster::needed, eventually};

/// Time for a child that was interrupted to end what it has started.
const TO_CLEAN_UP: Duration = Duration::from_mins(1);

/// `encargo up`, or a role, running; killed when dropped.
pub struct Process {
    child: Child,
    addresses: Value,
    log: PathBuf,
}

impl Process {
    /// The command on a data folder, with free ports; its log goes to `log` in the folder above it.
    pub fn command(data: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
        command
            .args(["up", "--json", "--intake-listen", "127.0.0.1:0", "--tracking-listen", "127.0.0.1:0"])
            .envs(UNHURRIED.map(|(key, value)| (config::variable(key), value)))
            .args(["--ops-listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(open_log(&data.with_extension("log")));
        command
    }

    /// Starts it and waits until it is ready.
    pub async fn start(data: &Path, arguments: &[&str]) -> Self {
        let process = Self::spawn(Self::command(data, arguments), data.with_extension("log"));
        process.ready().await;
        process
    }

    /// Starts a command that prints its addresses as JSON; its log goes to a file.
    pub fn spawn(mut command: Command, log: PathBuf) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(open_log(&log)).spawn().expect("the binary starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        within(PATIENCE, child.id(), || stdout.read_line(&mut line)).expect("it prints");
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let addresses = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it failed: {}", said()));
        Self { child, addresses, log }
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        eventually("/readyz", async || {
            let said = match self.readyz().await {
                Ok((200, _)) => return Ok(()),
                Ok((_, checks)) => checks.to_string(),
                Err(error) => error,
            };
            Err(format!("{said}\n{}", std::fs::read_to_string(&self.log).unwrap_or_default()))
        })
        .await;
    }

    /// What `/readyz` says.
    pub async fn readyz(&self) -> Result<(u16, Value), String> {
        let response = reqwest::get(self.url("ops", "/readyz")).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        Ok((status, response.json().await.map_err(|e| e.to_string())?))
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener].as_str().and_then(|text| text.parse().ok()).expect("an address")
    }

    pub fn url(&self, listener: &str, path: &str) -> String {
        format!("http://{}{path}", self.address(listener))
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> u64 {
        memory_of(&self.child.id().to_string())
    }

    /// Ends it the hard way.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop, and waits for that.
    pub fn terminate(mut self) -> ExitStatus {
        signal("-TERM", self.child.id());
        within(PATIENCE, self.child.id(), || self.child.wait()).expect("it ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of memory that a process holds: its number, or `self`.
pub fn memory_of(process: &str) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).expect("it runs");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4_096
}

/// Sends a signal to a process that runs.
pub fn signal(name: &str, id: u32) {
    assert!(Command::new("kill").args([name, &id.to_string()]).status().expect("kill runs").success());
}

/// Runs a command to its end, good or bad; what it printed.
pub fn output(command: &mut Command) -> Output {
    end(PATIENCE, command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// The lines that a Python program prints about what it is given to read.
pub fn lines_of(script: &str, arguments: &[&str], input: &str) -> Vec<String> {
    let mut command = Command::new(needed("ENCARGO_TEST_PYTHON"));
    command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = command.spawn().expect("Python starts");
    let mut unread = python.stdin.take().expect("piped");
    let done = thread::scope(|scope| {
        // it prints before it has read all, and neither pipe holds much
        scope.spawn(move || unread.write_all(input.as_bytes()).expect("it reads"));
        python.wait_with_output().expect("it ends")
    });
    assert!(done.status.success());
    String::from_utf8(done.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

/// Runs a command to its end, with the streams that it was given.
pub fn end(patience: Duration, command: &mut Command) -> Output {
    let child = command.spawn().expect("the program starts");
    within(patience, child.id(), || child.wait_with_output()).expect("its output can be read")
}

/// Waits for something of a child. A child that lets us wait too long is ended: the test fails, and does not hang. It is
/// interrupted first, since scripts end what they have started then.
pub fn within<T>(patience: Duration, id: u32, wait: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let is_late = |patience| is_done.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout);
        if !is_late(patience) {
            return false;
        }
        signal("-INT", id);
        if is_late(TO_CLEAN_UP) {
            signal("-KILL", id);
        }
        true
    });
    let result = wait();
    drop(done);
    assert!(!watch.join().expect("no panic"), "ended by force, since it took longer than {patience:?}");
    result
}

fn open_log(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a log file")
}

/// What it logged so far.
pub fn read_log(data: &Path) -> String {
    std::fs::read_to_string(data.with_extension("log")).expect("a log file")
}
