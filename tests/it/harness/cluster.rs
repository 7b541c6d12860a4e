//! The real binary on three Kafka brokers and a PostgreSQL, which the environment names: `scripts/test` sees to that.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use encargo::{
    app::offline,
    config::{self, Config},
    eventlog::EventLog,
    store::Store,
};
use tempfile::TempDir;

use super::{
    PATIENCE, UNHURRIED, eventually,
    process::{Process, output},
    turn::{self, Turn},
};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A server that the environment must name.
pub fn needed(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} must name a server; scripts/test starts one, scripts/test --quick does without")
    })
}

/// Topics, a database and a folder that no other test uses.
pub struct Cluster {
    pub folder: TempDir,
    settings: BTreeMap<&'static str, String>,
    _turn: Turn,
}

impl Cluster {
    /// Makes the names, with settings of the test's own; the topics are not there yet.
    pub async fn name(settings: &[(&'static str, &str)]) -> Self {
        let own = format!("{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut all: BTreeMap<&'static str, String> = [
            ("log.url", format!("kafka://{}", needed("ENCARGO_TEST_KAFKA3"))),
            ("log.session_timeout", "2s".to_owned()),
            // an order is taken, also when the machine stands still for a moment
            ("log.message_timeout", "30s".to_owned()),
            ("store.url", database(&format!("roles_{own}")).await),
            ("mail.url", format!("maildir:{}", path("mail"))),
            ("mail.lease", "3s".to_owned()),
            ("flow.dwell", "500ms".to_owned()),
            ("topics.orders", format!("compra_detalle_{own}")),
            ("topics.states", format!("compra_confirmada_{own}")),
            ("topics.dead", format!("compra_dead_letters_{own}")),
            ("topics.ids", format!("encargo_ids_{own}")),
            ("topics.flows", format!("encargo_flows_{own}")),
            ("topics.commands", format!("encargo_commands_{own}")),
            ("topics.outcomes", format!("encargo_outcomes_{own}")),
            ("intake.listen", "127.0.0.1:0".to_owned()),
            ("tracking.listen", "127.0.0.1:0".to_owned()),
            ("ops.listen", "127.0.0.1:0".to_owned()),
            ("tracking.public_url", "http://shop.example".to_owned()),
            ("data", path("data")),
        ]
        .into();
        all.extend(UNHURRIED.map(|(key, value)| (key, value.to_owned())));
        all.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let turn = Turn::take(&all["log.url"]).await;
        let this = Self { folder, settings: all, _turn: turn };
        turn::await_empty_groups(this.log().as_ref()).await;
        this
    }

    /// The same on the cluster of one broker, where others may have their set-up meanwhile.
    pub async fn name_on_one(settings: &[(&'static str, &str)]) -> Self {
        let url = format!("kafka://{}", needed("ENCARGO_TEST_KAFKA"));
        Self::name(&[&[("log.url", &*url), ("log.replication", "1"), ("log.min_insync", "1")], settings].concat()).await
    }

    /// The same, with its topics.
    pub async fn prepare(settings: &[(&'static str, &str)]) -> Self {
        let this = Self::name(settings).await;
        this.run(&["log", "init"]);
        this
    }

    /// Leaves a setting at its default.
    pub fn unset(&mut self, key: &str) {
        self.settings.remove(key);
    }

    /// The value of a setting that it has.
    pub fn setting(&self, key: &str) -> &str {
        &self.settings[key]
    }

    /// Changes a setting for what is started from now on.
    pub fn set(&mut self, key: &'static str, value: impl Into<String>) {
        self.settings.insert(key, value.into());
    }

    pub fn config(&self) -> Config {
        let flags: Vec<_> = self.settings.iter().map(|(key, value)| (*key, value.clone())).collect();
        config::load(None, &flags).expect("settings").config
    }

    /// The binary with the set-up's settings in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
        command.args(arguments).envs(self.settings.iter().map(|(key, value)| (config::variable(key), value)));
        command.current_dir(self.folder.path());
        command
    }

    /// Runs a command to its end, good or bad.
    pub fn output(&self, arguments: &[&str]) -> Output {
        output(&mut self.command(arguments))
    }

    /// Runs a command, which must succeed; what it printed. What cannot be done now is done again, as an operator would.
    pub fn run(&self, arguments: &[&str]) -> String {
        let (clock, mut output) = (crate::harness::real_clock(), self.output(arguments));
        let ends = clock.monotonic() + PATIENCE;
        while output.status.code() == Some(1) && is_for_now(&output) && clock.monotonic() < ends {
            output = self.output(arguments);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "encargo {arguments:?}: {}: {said}", output.status);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Starts `up` or a role, which need not be ready.
    pub fn spawn(&self, role: &str, slot: u32) -> Process {
        let mut command = self.command(&[role, "--json"]);
        command.env("ENCARGO_SLOT", slot.to_string());
        Process::spawn(command, self.log_of(role, slot))
    }

    /// Starts `up` or a role, and waits until it is ready.
    pub async fn start(&self, role: &str, slot: u32) -> Process {
        let process = self.spawn(role, slot);
        process.ready().await;
        process
    }

    /// Where a process logs.
    pub fn log_of(&self, role: &str, slot: u32) -> PathBuf {
        self.folder.path().join(format!("{role}-{slot}.log"))
    }

    pub fn log(&self) -> Arc<dyn EventLog> {
        let (clock, config) = (crate::harness::real_clock(), self.config());
        let ends = clock.monotonic() + PATIENCE;
        loop {
            match offline::log(&config) {
                Err(error) if format!("{error:#}").contains(FOR_NOW) && clock.monotonic() < ends => {}
                log => return log.expect("the log opens"),
            }
        }
    }

    pub async fn store(&self) -> Arc<dyn Store> {
        let config = self.config();
        let opened = eventually("a store that can be used", async || match offline::store(&config).await {
            Err(error) if format!("{error:#}").contains(FOR_NOW) => Err(format!("{error:#}")),
            store => Ok(store),
        });
        opened.await.expect("the store opens")
    }
}

/// What log and store say of what can be tried again.
const FOR_NOW: &str = "is unavailable: ";

/// Whether a command failed for a reason that passes.
fn is_for_now(output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    // brokers that were out of touch for a moment do not count as copies
    [FOR_NOW, "InvalidReplicationFactor"].iter().any(|words| said.contains(words))
}

/// Makes an empty database; its address.
async fn database(name: &str) -> String {
    let url = needed("ENCARGO_TEST_POSTGRES");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a database server");
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a user who may create databases");
    drop(client);
    connection.await.expect("no panic").expect("an orderly end");
    let (server, _) = url.rsplit_once('/').expect("an address that ends in /DATABASE");
    format!("{server}/{name}")
}
