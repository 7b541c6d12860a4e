//! Clients that others' generators make of the OpenAPI documents: they place, follow and cancel an order.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    cli::Done,
    harness::{
        cluster::needed,
        process::{Process, output},
    },
};

const LISTENERS: [&str; 2] = ["intake", "tracking"];

/// What came of a command that must end well.
fn done(command: &mut Command) -> Done {
    let done = Done::from(output(command));
    assert_eq!(done.status, 0, "{command:?}\n{}\n{}", done.out, done.err);
    done
}

/// A command of the Node packages that judge documents.
fn node(package: &str, folder: &Path) -> Command {
    let tool = fs::canonicalize(Path::new("tests/contract/node_modules/.bin").join(package)).expect("npm ci has run");
    let mut command = Command::new("node");
    command.arg(tool).current_dir(folder);
    command
}

/// A folder with what drives the clients, and the documents of a running system.
async fn prepared(up: &Process) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir("tests/contract/clients").unwrap() {
        let file = entry.unwrap();
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    for listener in LISTENERS {
        let document = reqwest::get(up.url(listener, "/openapi.json")).await.unwrap().text().await.unwrap();
        fs::write(folder.path().join(format!("{listener}.json")), document).unwrap();
    }
    folder
}

async fn system(folder: &Path) -> Process {
    Process::start(&folder.join("data"), &["--mail", "none:", "--dwell", "1h"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_in_python_places_follows_and_cancels() {
    let data = tempfile::tempdir().unwrap();
    let up = system(data.path()).await;
    let folder = prepared(&up).await;
    let python = PathBuf::from(needed("ENCARGO_TEST_PYTHON"));
    for listener in LISTENERS {
        let mut generate = Command::new(&python);
        generate.args(["-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"]);
        generate.args(["--config", "python.yml", "--path", &format!("{listener}.json"), "--output-path", listener]);
        done(generate.current_dir(folder.path()));
    }
    let mut order = Command::new(&python);
    done(order.arg("order.py").args(LISTENERS.map(|listener| up.url(listener, ""))).current_dir(folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_in_typescript_places_follows_and_cancels() {
    let data = tempfile::tempdir().unwrap();
    let up = system(data.path()).await;
    let folder = prepared(&up).await;
    let modules = fs::canonicalize("tests/contract/node_modules").expect("npm ci has run");
    std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
    for listener in LISTENERS {
        let mut generate = node("openapi-typescript", folder.path());
        done(generate.args([&format!("{listener}.json"), "--output", &format!("{listener}.ts")]));
    }
    done(&mut node("tsc", folder.path()));
    let mut order = Command::new("node");
    done(order.arg("order.js").args(LISTENERS.map(|listener| up.url(listener, ""))).current_dir(folder.path()));
}
