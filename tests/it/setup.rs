//! A bad set-up fails at once, with an error that says what to do; a good one stops when it is told to.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use crate::harness::{
    PATIENCE, eventually, free_ports,
    process::{Process, end, output, read_log, signal, within},
};

/// Runs `encargo up`, which must fail; what it says on standard error.
fn refused(data: &Path, arguments: &[&str]) -> String {
    let Output { status, .. } = end(PATIENCE, &mut Process::command(data, arguments));
    let said = read_log(data);
    assert!(matches!(status.code(), Some(1 | 2)), "{status}: {said}");
    said
}

/// `encargo up` with just these arguments.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
    let Output { status, stderr, .. } = output(command.arg("up").args(arguments));
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_collector_is_refused_by_a_program_that_cannot_export() {
    let folder = tempfile::tempdir().unwrap();
    let said = refused(&folder.path().join("data"), &["--otlp", "http://localhost:4318"]);
    assert!(said.contains("telemetry.otlp") && said.contains("cargo build --release --features otlp"), "{said}");
}

/// `encargo up | head`: whoever read the greeting has gone, and so has whoever read the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_when_nobody_reads_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let port = free_ports(1);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
    command.args(["up", "--intake-listen", "127.0.0.1:0", "--tracking-listen", "127.0.0.1:0"]);
    command.args(["--ops-listen", &format!("127.0.0.1:{port}"), "--data"]).arg(&data);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut server = command.spawn().unwrap();
    let ready = eventually("/readyz", async || match server.try_wait().unwrap() {
        Some(status) => Ok(Err(status)),
        None => match reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await {
            Ok(answer) if answer.status().is_success() => Ok(Ok(())),
            other => Err(format!("{other:?}")),
        },
    })
    .await;
    assert_eq!(ready, Ok(()), "it ended");
    let id = server.id();
    for name in ["-HUP", "-TERM"] {
        signal(name, id);
    }
    assert!(within(PATIENCE, id, || server.wait()).unwrap().success(), "SIGHUP is no end, SIGTERM an orderly one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_writes_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new/data");
    fs::create_dir(folder.path().join("new")).unwrap();
    let server = Process::start(&data, &[]).await;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for entry in fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    assert!(server.terminate().success());
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let again = Process::start(&data, &[]).await;
    assert!(read_log(&data).contains("chmod 700"), "{}", read_log(&data));
    assert_eq!(mode(&data), 0o755, "whoever let somebody in may want that");
    assert!(again.terminate().success());
}

#[test]
fn no_misuse_shows_a_password() {
    for arguments in [
        &["postgres://ana:hunter2@db/x"][..],
        &["--store", "postgress://ana:hunter2@db/x"],
        &["--mail", "smtp//ana:hunter2@relay"],
        &["--mail", "smtps://ana:hunter2@relay?x=y"],
        &["--dwell", "postgres://ana:hunter2@db/x"],
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().join("data");
    let (code, said) = run(&["--intake-listen", &address, "--data", data.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("port 0"), "{said}");
}

#[test]
fn a_missing_or_broken_catalogue_is_named_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let (data, catalog) = (folder.path().join("data"), folder.path().join("products.csv"));
    let arguments = ["--catalog", catalog.to_str().unwrap()];
    assert!(refused(&data, &arguments).contains("products.csv"));
    for (text, hint) in [("", "appid"), ("a,b\n1,2\n", "appid"), ("appid,name,price\n1,Uno,1.0\n2,Dos,gratis\n", "3")] {
        fs::remove_file(data.with_extension("log")).unwrap();
        fs::write(&catalog, text).unwrap();
        let said = refused(&data, &arguments);
        assert!(said.contains("products.csv") && said.contains(hint), "{text:?}: {said}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let below_a_file = folder.path().join("file/data");
    let (code, said) = run(&["--data", below_a_file.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("file/data") && said.contains("--data"), "{said}");
}

#[test]
fn a_role_refuses_what_other_processes_cannot_share() {
    let role = |arguments: &[&str]| {
        let output = output(Command::new(env!("CARGO_BIN_EXE_encargo")).args(arguments));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for name in ["intake", "fulfilment", "tracking"] {
        let said = role(&[name]);
        assert!(said.contains("cannot share the event log sqlite:") && said.contains("encargo up"), "{name}: {said}");
    }
    for name in ["intake", "tracking", "mail"] {
        let log = ["--log", "kafka://127.0.0.1:1"];
        let arguments = [name].into_iter().chain(log.into_iter().filter(|_| name != "mail")).collect::<Vec<_>>();
        let said = role(&arguments);
        assert!(said.contains("cannot share the store sqlite:") && said.contains("postgres://"), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_on_the_same_data_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let first = Process::start(&data, &[]).await;
    let said = refused(&data, &[]);
    assert!(said.contains("in use by another Encargo process"), "{said}");
    assert!(reqwest::get(first.url("ops", "/readyz")).await.unwrap().status().is_success());
    assert!(first.terminate().success(), "SIGTERM is an orderly stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_named_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(Process::start(&data, &[]).await.terminate().success());
    for name in ["log.db", "store.db"] {
        let path = data.join(name);
        let sound = fs::read(&path).unwrap();
        let damaged = vec![0x5a; sound.len()];
        fs::write(&path, &damaged).unwrap();
        let said = refused(&data, &[]);
        assert!(said.contains(name) && said.contains("damaged"), "{said}");
        assert_eq!(fs::read(&path).unwrap(), damaged, "evidence is left alone");
        fs::write(&path, sound).unwrap();
        fs::remove_file(data.with_extension("log")).unwrap();
    }
    assert!(Process::start(&data, &[]).await.terminate().success());
}

/// Where no start looks: the server works, says so, and is not ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_page_is_found_beside_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(Process::start(&data, &[]).await.terminate().success());
    let path = data.join("store.db");
    let store = rusqlite::Connection::open(&path).unwrap();
    store
        .execute_batch(
            "CREATE TABLE spare (x TEXT NOT NULL); WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n
             WHERE n < 2000) INSERT INTO spare SELECT 'row ' || n FROM n",
        )
        .unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let last_page = bytes.len() - 4096;
    bytes[last_page] ^= 0x80; // its kind
    fs::write(&path, bytes).unwrap();
    let server = Process::spawn(Process::command(&data, &[]), data.with_extension("log"));
    eventually("the damage to be told", async || {
        let (status, checks) = server.readyz().await?;
        if status == 503 && checks["checks"]["files"] == false { Ok(()) } else { Err(checks.to_string()) }
    })
    .await;
    let said = read_log(&data);
    assert!(said.contains("store.db is damaged") && said.contains("backup"), "{said}");
    assert!(server.terminate().success());
}

/// The output topic is replaced behind the back of fulfilment: it must not go on as if no order had been in flight.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_records_ends_the_process_with_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, &["--dwell", "1h"]).await;
    let order = serde_json::json!({ "product": "1010", "email": "ana@example.org" });
    let placed = reqwest::Client::new().post(process.url("intake", "/orders")).json(&order).send().await.unwrap();
    assert_eq!(placed.status(), 202);
    crate::harness::eventually("the order in flight", async || {
        let status = reqwest::get(process.url("tracking", "/?value=1")).await.map_err(|e| e.to_string())?.status();
        if status.is_success() { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    assert!(process.terminate().success());
    let log = rusqlite::Connection::open(data.join("log.db")).unwrap();
    let lost = log.execute("DELETE FROM records WHERE CAST(value AS TEXT) LIKE '%\"estado\"%'", []).unwrap();
    assert_eq!(lost, 1);
    drop(log);
    let said = refused(&data, &[]);
    assert!(said.contains("compra_confirmada") && said.contains("records are missing"), "{said}");
    // without the store, which knows it at once, fulfilment finds out by itself
    fs::remove_file(data.join("store.db")).unwrap();
    fs::remove_file(data.with_extension("log")).unwrap();
    let said = refused(&data, &[]);
    assert!(said.contains("fulfilment") && said.contains("records are missing"), "{said}");
}
