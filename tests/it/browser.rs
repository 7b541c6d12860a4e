//! The pages in a real Chromium: `tests/browser`, on the binary of this build.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use crate::harness::{cluster::Cluster, process::end};

/// Far beyond what the walks take; each wait in them has a bound of its own.
const PATIENCE: Duration = Duration::from_mins(20);

/// Runs Node's tests, with what is in the environment of another command.
fn run(arguments: &[&str], settings: &Command) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let installed = Command::new("npm").arg("ls").current_dir(&folder).output().unwrap();
    assert!(installed.status.success(), "run npm ci --ignore-scripts in tests/browser first, as scripts/test does");
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec"])
        .args(arguments)
        .current_dir(&folder)
        .envs(settings.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("ENCARGO_BINARY", env!("CARGO_BIN_EXE_encargo"));
    let Output { status, stdout, stderr } = end(PATIENCE, node.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let said = String::from_utf8_lossy(&stdout);
    println!("{said}");
    assert!(status.success(), "{said}\n{}", String::from_utf8_lossy(&stderr));
}

#[test]
fn people_walk_through_the_pages_in_a_browser() {
    run(&[], &Command::new("node"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_follows_what_another_process_projects() {
    // without mails nothing but the other process's word wakes a stream
    let mut cluster = Cluster::prepare(&[("mail.url", "none:"), ("log.session_timeout", "30s")]).await;
    cluster.unset("flow.dwell");
    let settings = cluster.command(&[]);
    tokio::task::spawn_blocking(move || run(&["cluster.mjs"], &settings)).await.unwrap();
}
