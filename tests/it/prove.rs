//! `encargo prove`: a sound system keeps its promises, and what is planted in one is found.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::harness::{
    eventually,
    process::{output, signal},
};

/// A small trial with that flaw in the system, if any; its status and its certificate.
fn prove(arguments: &[&str], flaw: Option<&str>) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
    command.args(["prove", "--json", "--rate", "20", "--seed", "5"]).args(arguments);
    command.envs(flaw.map(|flaw| ("PLANTED_FLAW", flaw)));
    let Output { status, stdout, stderr } = output(&mut command);
    let certificate = serde_json::from_slice(&stdout);
    (status.code(), certificate.unwrap_or_else(|_| panic!("{status}: {}", String::from_utf8_lossy(&stderr))))
}

/// The promises that are broken, each with its first objection.
fn broken(certificate: &Value) -> Vec<(&str, &str)> {
    let promises = certificate["promises"].as_array().unwrap().iter().filter(|promise| promise["kept"] == false);
    promises.map(|promise| (promise["id"].as_str().unwrap(), promise["objections"][0].as_str().unwrap())).collect()
}

fn count(counts: &Value, what: &str) -> u64 {
    counts
        .as_array()
        .unwrap()
        .iter()
        .find(|count| count["what"] == what)
        .map_or(0, |count| count["count"].as_u64().unwrap())
}

#[test]
fn a_sound_system_keeps_its_promises_and_its_certificate_says_what_was_tried() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("certificate.html");
    let page = page.to_str().unwrap();
    let (status, certificate) = prove(&["--orders", "100", "--kills", "4", "--html", page, "--lang", "es"], None);
    assert_eq!((status, broken(&certificate)), (Some(0), vec![]), "{certificate:#}");
    assert_eq!((count(&certificate["tried"], "orders"), count(&certificate["tried"], "kills")), (100, 4));
    assert_eq!(certificate["promises"].as_array().unwrap().len(), 8);
    for (promise, what) in
        [(0, "acknowledged"), (1, "events"), (2, "mails"), (3, "lookups"), (4, "balances"), (7, "foreign")]
    {
        assert!(count(&certificate["promises"][promise]["counts"], what) > 0, "{what}: {certificate:#}");
    }
    assert!(certificate["command"].as_str().unwrap().ends_with("--smtp flaky --seed 5"), "{certificate:#}");
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("Todas las promesas se han cumplido") && html.contains("--seed 5"), "{html}");
    assert!(!html.contains("href=\"/") && !html.contains("src="), "it needs a server");
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_tried_on_kafka_and_postgresql() {
    let cluster = crate::harness::cluster::Cluster::name(&[]).await; // alone there, and with an empty database
    let back_ends = ["--log", cluster.setting("log.url"), "--store", cluster.setting("store.url")];
    let arguments = [&["--orders", "40", "--kills", "1"], &back_ends[..]].concat();
    let (status, certificate) = tokio::task::block_in_place(|| prove(&arguments, None));
    assert_eq!((status, broken(&certificate)), (Some(0), vec![]), "{certificate:#}");
    assert_eq!(certificate["back_ends"], "Kafka, PostgreSQL");
    assert!(count(&certificate["promises"][1]["counts"], "events") > 0, "{certificate:#}");
    let command = certificate["command"].as_str().unwrap();
    assert!(command.contains(" --log kafka://… --store postgres://… "), "an address may hold a password: {command}");
}

/// Flaws are compiled into debug builds only.
#[cfg(debug_assertions)]
#[test]
fn what_is_planted_is_found() {
    let calm = ["--orders", "60", "--kill", "never", "--smtp", "fine", "--patience", "20s"];
    for (flaw, promise, words) in [
        ("record-lost", "I1", "was acknowledged and is not in the log"),
        ("mail-twice", "I3", "the ledger knows of no doubt"),
        ("early", "I2", "ms before that began"),
    ] {
        let (status, certificate) = prove(&calm, Some(flaw));
        let broken = broken(&certificate);
        assert_eq!(status, Some(1), "{flaw}: {certificate:#}");
        let is_found = broken.iter().any(|(id, _)| *id == promise) && certificate.to_string().contains(words);
        assert!(is_found, "{flaw}: {broken:?}");
    }
    let (status, certificate) = prove(&calm, None);
    assert_eq!((status, broken(&certificate)), (Some(0), vec![]), "without a flaw: {certificate:#}");
}

#[test]
fn what_cannot_be_tried_is_neither_kept_nor_broken() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
    let tried = output(command.args(["prove", "--orders", "1", "--folder", "/dev/null"]));
    let words = String::from_utf8_lossy(&tried.stderr);
    assert_eq!(tried.status.code(), Some(2), "{words}");
    assert!(words.contains("it could not be tried: cannot make a folder in /dev/null"), "{words}");
    let tried = output(command.args(["--html", "/dev/null/page.html"]));
    let words = String::from_utf8_lossy(&tried.stderr);
    assert!(tried.status.code() == Some(2) && words.contains("'--html <FILE>': cannot be written"), "{words}");
}

/// A trial in a folder of its own, begun with a signal's disposition that `env` sets, such as `--default-signal=HUP`.
fn trial(folder: &Path, disposition: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args([disposition, env!("CARGO_BIN_EXE_encargo"), "prove", "--folder"]).arg(folder).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Numbers of the processes that were told of a folder.
fn processes(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let is_told = |id: &u32| {
        let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(folder)
    };
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_trial_leaves_nothing() {
    for (disposition, name) in
        [("--default-signal=HUP", "-HUP"), ("--default-signal=HUP", "-TERM"), ("--ignore-signal=HUP", "-INT")]
    {
        let folder = tempfile::tempdir().unwrap();
        let child = trial(folder.path(), disposition, &["--orders", "100000"]).spawn().unwrap();
        let id = child.id();
        eventually("a system", async || match processes(folder.path()).len() {
            few @ 0..2 => Err(format!("{few} processes")),
            _ => Ok(()),
        })
        .await;
        // `nohup` keeps its promise
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
        let is_ignored = u64::from_str_radix(ignored, 16).unwrap() & 1 == 1;
        assert_eq!(is_ignored, disposition.starts_with("--ignore"), "{ignored}");
        signal(name, id);
        let done = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        let words = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(2) && words.contains("it was interrupted"), "{name}: {words}");
        assert_eq!(
            (processes(folder.path()), std::fs::read_dir(folder.path()).unwrap().count()),
            (vec![], 0),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_whose_page_cannot_be_written_is_printed_all_the_same() {
    let (folder, pages) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let page = pages.path().join("page.html");
    let calm = ["--orders", "20", "--kill", "never", "--smtp", "fine", "--dwell", "100ms", "--json", "--html"];
    let arguments = [&calm[..], &[page.to_str().unwrap()]].concat();
    let child = trial(folder.path(), "--default-signal=HUP", &arguments).spawn().unwrap();
    eventually("a trial", async || match std::fs::read_dir(folder.path()).unwrap().count() {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    })
    .await;
    pages.close().unwrap();
    let done = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let words = String::from_utf8_lossy(&done.stderr);
    let certificate: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{words}"));
    assert_eq!((done.status.code(), &certificate["kept"]), (Some(2), &true.into()), "{certificate:#}");
    assert!(words.contains("cannot write") && words.contains("page.html"), "{words}");
}
