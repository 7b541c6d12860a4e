//! The system under trial: what is done to it, and whether it comes back.

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::plan::Strike;
use crate::bench::{
    process::{Launch, Server, complaint},
    usage::Usage,
};

/// How long nothing can be written.
const FULL: Duration = Duration::from_secs(2);
/// A disk that is larger is nobody's to fill.
const DISK_MAX: u64 = 2 << 30;

/// The system, running or not.
pub(super) struct System {
    launch: Launch,
    server: Option<Server>,
    broker_restart: Option<String>,
    pub(super) done: Done,
}

/// What was done to it, and what came of that.
#[derive(Debug, Clone, Default)]
pub(super) struct Done {
    /// `kill -9`.
    pub(super) kills: u64,
    /// Times that nothing could be written.
    pub(super) disk_full: u64,
    /// Restarts of the broker.
    pub(super) broker_restarts: u64,
    /// From the start of the process until it was ready, at the worst of all starts.
    pub(super) ready_after_max: Duration,
    /// The most memory that it held, in bytes.
    pub(super) memory_max: u64,
    /// Ends that nobody asked for, and starts that failed.
    pub(super) objections: Vec<String>,
}

impl System {
    /// Starts it.
    pub(super) async fn start(launch: Launch, broker_restart: Option<String>) -> Result<Self> {
        let server = launch.start().await?;
        let done = Done { ready_after_max: server.ready_after, ..Done::default() };
        Ok(Self { launch, server: Some(server), broker_restart, done })
    }

    /// Intake, tracking and operations, as addresses of the web.
    pub(super) fn urls(&self) -> [String; 3] {
        self.launch.listen.map(|address| format!("http://{address}"))
    }

    /// Where orders are taken.
    pub(super) fn intake(&self) -> SocketAddr {
        self.launch.listen[0]
    }

    /// Where it logs.
    pub(super) fn log(&self) -> PathBuf {
        self.launch.log()
    }

    /// Strikes, and sees to it that the system is there again.
    pub(super) async fn strike(&mut self, strike: Strike) -> Result<()> {
        match strike {
            Strike::Kill => {
                self.done.kills += 1;
                self.measure();
                if let Some(server) = self.server.take() {
                    server.kill()?;
                }
            }
            Strike::DiskFull => {
                self.done.disk_full += 1;
                let folder = self.launch.data.parent().unwrap_or(Path::new("/")).to_owned();
                let ballast = tokio::task::spawn_blocking(move || fill(&folder)).await??;
                tokio::time::sleep(FULL).await;
                std::fs::remove_file(&ballast).with_context(|| format!("cannot remove {}", ballast.display()))?;
            }
            Strike::BrokerRestart => {
                self.done.broker_restarts += 1;
                let command = self.broker_restart.clone().unwrap_or_default();
                tokio::task::spawn_blocking(move || run(&command)).await??;
            }
        }
        self.stand_up().await;
        Ok(())
    }

    /// Starts it again if it is not there. That it does not come back breaks a promise, and ends the trial.
    pub(super) async fn stand_up(&mut self) {
        if let Some(status) = self.server.as_mut().and_then(Server::ended) {
            self.done.objections.push(format!("the system ended by itself with {status}"));
            self.server = None;
        }
        if self.server.is_some() || !self.is_alive() {
            return;
        }
        match self.launch.start().await {
            Ok(server) => {
                self.done.ready_after_max = self.done.ready_after_max.max(server.ready_after);
                self.server = Some(server);
            }
            Err(error) => self.done.objections.push(format!("the system did not come back: {error:#}")),
        }
    }

    /// Whether it has always come back so far.
    pub(super) fn is_alive(&self) -> bool {
        self.done.objections.is_empty()
    }

    /// Asks it to stop.
    pub(super) async fn stop(&mut self) -> Result<()> {
        self.measure();
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    fn measure(&mut self) {
        let usage = self.server.as_ref().and_then(|server| Usage::of(server.id()).ok());
        self.done.memory_max = self.done.memory_max.max(usage.map_or(0, |usage| usage.memory_max));
    }
}

/// Writes until there is no room; the file that has it all.
fn fill(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("ballast");
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let piece = vec![0_u8; 64 << 10];
    loop {
        match file.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(path),
            Err(error) => return Err(error).with_context(|| format!("cannot fill {}", folder.display())),
        }
    }
}

fn run(command: &str) -> Result<()> {
    let status = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.context("cannot run a shell")?;
    if !status.success() {
        bail!("`{command}` ended with {status}");
    }
    Ok(())
}

/// Makes the topics of a trial on Kafka.
pub(super) async fn make_topics(program: &Path, config: &Path) -> Result<()> {
    let mut init = Command::new(program);
    init.args(["log", "init", "--config"]).arg(config).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ENCARGO_")) {
        init.env_remove(name);
    }
    let done = tokio::task::spawn_blocking(move || init.output()).await?.context("cannot start `encargo log init`")?;
    if !done.status.success() {
        bail!("cannot make the topics: {}", complaint(&done.stderr));
    }
    Ok(())
}

/// A small disk in memory, over a folder; it is taken away when this is dropped.
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Makes one of so many bytes, which only root may. Without, the folder must lie on a small disk already.
    pub(super) fn over(folder: &Path, bytes: u64) -> Result<Option<Self>> {
        let options = format!("size={bytes},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "encargo-prove"]).arg(folder);
        if mount.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return Ok(Some(Self(folder.to_owned())));
        }
        let disk = rustix::fs::statvfs(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
        if disk.f_bfree * disk.f_frsize > DISK_MAX {
            bail!(
                "--disk-full needs a small disk: run it as root, which makes one in memory, or name a folder on a disk with at most 2 GiB \
                 free by --folder"
            );
        }
        Ok(None)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status(); // it is gone with the machine at the latest
    }
}
