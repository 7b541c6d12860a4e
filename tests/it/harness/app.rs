//! The whole application in this process, with a clock that the test drives.

use std::{path::Path, time::Duration};

use encargo::{
    app::App,
    audit::{self, Mail},
    clock::Clock,
    config::{self, Config},
    domain::Timestamp,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{UNHURRIED, eventually};

/// Whether a start was refused since the last run has not let go of its files yet.
pub fn is_in_use(said: &str) -> bool {
    said.contains("is in use by another Encargo process")
}

/// A running application on a data folder of its own.
pub struct TestApp {
    pub clock: Clock,
    pub config: Config,
    pub http: reqwest::Client,
    app: Option<App>,
    folder: TempDir,
}

impl TestApp {
    /// Starts with the built-in settings, free ports and a fresh folder.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts with settings of the test's own.
    pub async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut flags: Vec<(&'static str, String)> =
            ["intake.listen", "tracking.listen", "ops.listen"].map(|key| (key, "127.0.0.1:0".to_owned())).into();
        flags.extend(UNHURRIED.map(|(key, value)| (key, value.to_owned())));
        flags.push(("data", folder.path().join("data").display().to_string()));
        flags.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let config = config::load(None, &flags).expect("settings").config;
        let clock = Clock::manual(Timestamp::from_millis(1_764_000_000_000));
        let mut this = Self { clock, config, http: reqwest::Client::new(), app: None, folder };
        this.start_again().await;
        this
    }

    /// Starts on the same folder after [`stop`](Self::stop).
    pub async fn start_again(&mut self) {
        // a thread of the last run may still be about to let go of the files
        let started = eventually("free files", async || match App::start(&self.config, self.clock.clone()).await {
            Err(error) if is_in_use(&format!("{error:#}")) => Err(format!("{error:#}")),
            started => Ok(started),
        });
        self.app = Some(started.await.expect("it starts"));
        eventually("/readyz", async || {
            let response = self.http.get(self.ops("/readyz")).send().await.map_err(|e| e.to_string())?;
            if response.status().is_success() { Ok(()) } else { Err(response.text().await.unwrap_or_default()) }
        })
        .await;
    }

    /// Stops in order.
    pub async fn stop(&mut self) {
        self.app.take().expect("it runs").stop().await.expect("an orderly stop");
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().expect("it runs")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn intake(&self, path: &str) -> String {
        format!("http://{}{path}", self.app().addresses.intake.expect("all roles run"))
    }

    pub fn tracking(&self, path: &str) -> String {
        format!("http://{}{path}", self.app().addresses.tracking.expect("all roles run"))
    }

    pub fn ops(&self, path: &str) -> String {
        format!("http://{}{path}", self.app().addresses.ops)
    }

    /// Places an order; returns the answer.
    pub async fn place(&self, product: &str, email: &str) -> Value {
        let body = json!({ "product": product, "email": email });
        let response = self.http.post(self.intake("/orders")).json(&body).send().await.expect("an answer");
        assert_eq!(response.status(), 202, "{:?}", response.text().await);
        response.json().await.expect("JSON")
    }

    /// The order as the shop sees it, once it is in that state.
    pub async fn in_state(&self, id: u64, estado: &str) -> Value {
        let url = self.tracking(&format!("/orders/{id}"));
        eventually(&format!("order {id} in {estado}"), async || {
            let response = self.http.get(&url).send().await.map_err(|e| e.to_string())?;
            let order: Value = response.json().await.map_err(|e| e.to_string())?;
            if order["estado"] == estado { Ok(order) } else { Err(order.to_string()) }
        })
        .await
    }

    /// Moves the clock on by one dwell, once every event so far is projected, and waits for the state.
    pub async fn advance_to(&self, id: u64, estado: &str, dwell: Duration) -> Value {
        self.clock.advance(dwell);
        self.in_state(id, estado).await
    }

    /// What a task answers that waits for the clock.
    pub async fn in_its_time<T>(&self, task: JoinHandle<T>) -> T {
        eventually("an answer", async || {
            self.clock.advance(Duration::from_millis(100));
            if task.is_finished() { Ok(()) } else { Err("none yet".to_owned()) }
        })
        .await;
        task.await.expect("no panic")
    }

    /// The mails in the Maildir, once there are so many.
    pub async fn mails(&self, count: usize) -> Vec<Mail> {
        let path = self.config.data.join("mail");
        eventually(&format!("{count} mails"), async || {
            let mails = audit::read_maildir(&path).map_err(|e| format!("{e:#}"))?;
            if mails.len() >= count { Ok(mails) } else { Err(format!("{} mails", mails.len())) }
        })
        .await
    }

    /// A counting metric's value.
    pub async fn metric(&self, sample: &str) -> u64 {
        let text = self.http.get(self.ops("/metrics")).send().await.expect("an answer").text().await.expect("text");
        sample_in(&text, sample)
    }
}

/// A sample's value in a text of metrics. One that is missing has another name now, which is no zero.
pub fn sample_in(metrics: &str, sample: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("no metric is called {sample}:\n{metrics}"));
    value.trim().parse().expect("a whole number")
}
