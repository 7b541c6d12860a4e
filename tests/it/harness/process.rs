//! The real binary as a child process.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use serde_json::Value;

use super::eventually;

/// `encargo up`, running; killed when dropped.
pub struct Process {
    child: Child,
    addresses: Value,
}

impl Process {
    /// The command on a data folder, with free ports; its log goes to `log` in the folder above it.
    pub fn command(data: &Path, arguments: &[&str]) -> Command {
        let log = File::options().create(true).append(true).open(data.with_extension("log")).expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
        command
            .args(["up", "--json", "--intake-listen", "127.0.0.1:0", "--tracking-listen", "127.0.0.1:0"])
            .args(["--ops-listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log);
        command
    }

    /// Starts it and waits until it is ready.
    pub async fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut child = Self::command(data, arguments).spawn().expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it prints");
        let addresses = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it failed: {}", read_log(data)));
        let process = Self { child, addresses };
        let url = process.url("ops", "/readyz");
        eventually("/readyz", async || {
            let response = reqwest::get(&url).await.map_err(|e| e.to_string())?;
            if response.status().is_success() { Ok(()) } else { Err(response.text().await.unwrap_or_default()) }
        })
        .await;
        process
    }

    pub fn url(&self, listener: &str, path: &str) -> String {
        format!("http://{}{path}", self.addresses[listener].as_str().expect("an address"))
    }

    /// Ends it the hard way.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop, and waits for that.
    pub fn terminate(mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
        self.child.wait().expect("it ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it logged so far.
pub fn read_log(data: &Path) -> String {
    std::fs::read_to_string(data.with_extension("log")).expect("a log file")
}
