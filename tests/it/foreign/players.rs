//! Their side: the Python programs of `tests/foreign/`, each a child process.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::ours::Ours;
use crate::harness::{
    PATIENCE,
    cluster::needed,
    process::{output, within},
};

/// The client libraries, as the players name them.
pub const LIBRARIES: [&str; 2] = ["kafka-python", "confluent-kafka"];

fn command(script: &str, arguments: &[&str]) -> Command {
    let python = needed("ENCARGO_TEST_PYTHON");
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(script)).args(arguments);
    command
}

/// A player that works; killed when dropped, as the old services die.
pub struct Player {
    child: Child,
    ready: Value,
}

impl Player {
    /// Starts a player and waits until it says that it is ready.
    pub fn start(script: &str, library: &str, ours: &Ours, more: &[&str]) -> Self {
        let mut arguments = vec!["--brokers", &ours.brokers, "--library", library];
        arguments.extend(["--orders", &ours.orders, "--states", &ours.states]);
        arguments.extend(more);
        let mut child = command(script, &arguments).stdout(Stdio::piped()).spawn().expect("Python starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        within(PATIENCE, child.id(), || stdout.read_line(&mut line)).expect("it prints");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{script} failed: {line:?}"));
        Self { child, ready }
    }

    /// The old intake, whose ids count from `first`.
    pub fn intake(library: &str, compression: &str, first: u64, ours: &Ours) -> Self {
        let (catalog, first) = (catalog(), first.to_string());
        let more = ["--catalog", catalog.to_str().expect("UTF-8"), "--compression", compression, "--first-id", &first];
        Self::start("peticiones.py", library, ours, &more)
    }

    /// The old notifications, which note their mails in the file.
    pub fn notifications(library: &str, mails: &Path, ours: &Ours) -> Self {
        let group = format!("notificaciones-{}-{library}", ours.states);
        Self::start("notificaciones.py", library, ours, &["--group", &group, "--mails", mails.to_str().expect("UTF-8")])
    }

    /// The old fulfilment; each in a group of its own, since a group waits long for a player that was killed.
    pub fn processing(library: &str, dwell: &str, at_once: &str, ours: &Ours) -> Self {
        let group = format!("procesamiento-{}", ours.states);
        let more = ["--group", &group, "--dwell", dwell, "--at-once", at_once];
        Self::start("procesamiento.py", library, ours, &more)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ready["listening"].as_str().expect("an address"))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end; what it printed.
pub fn run(script: &str, arguments: &[&str]) -> String {
    let output = output(&mut command(script, arguments));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What the other reader shows of a topic: a line of JSON per record.
pub fn dump(ours: &Ours, topic: &str) -> String {
    run("dump.py", &["--brokers", &ours.brokers, topic])
}

/// Has a shop write events to a topic by the CloudEvents SDK, each with its mode, key and data.
pub fn write_events(ours: &Ours, topic: &str, events: &[Value]) {
    let file = ours.cluster.folder.path().join("events.jsonl");
    let lines: Vec<_> = events.iter().map(Value::to_string).collect();
    std::fs::write(
        &file,
        lines.join(
            "
",
        ),
    )
    .expect("a file");
    run("events.py", &["--brokers", &ours.brokers, "write", topic, "--events", file.to_str().expect("UTF-8")]);
}

/// What the CloudEvents SDK reads from topics.
pub fn read_events(ours: &Ours, topics: &[&str]) -> Vec<Value> {
    let lines = run("events.py", &[&["--brokers", &ours.brokers, "read"], topics].concat());
    lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Sets a group's offsets to the end of a topic.
pub fn to_end(ours: &Ours, group: &str, topic: &str) {
    run("to_end.py", &[&ours.brokers, group, topic]);
}

/// The built-in catalogue, as a file that everybody can read.
pub fn catalog() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/catalog/sample.csv")
}
