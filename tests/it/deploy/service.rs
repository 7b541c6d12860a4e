//! The systemd unit, and what the process tells the manager that starts it.

use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command};

use crate::{
    cli::Done,
    harness::{
        PATIENCE,
        process::{Process, output},
    },
};

/// What the service manager is told next.
fn told(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = manager.recv(&mut buffer).expect("it is told something in time");
    String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_hears_of_start_life_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (data, socket) = (folder.path().join("data"), folder.path().join("notify"));
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Process::command(&data, &[]);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "100000");
    let server = Process::spawn(command, data.with_extension("log"));
    assert_eq!(told(&manager), "READY=1");
    server.ready().await;
    assert_eq!([told(&manager), told(&manager)], ["WATCHDOG=1"; 2]);
    let url = server.url("ops", "");
    let health = || Done::from(output(Command::new(env!("CARGO_BIN_EXE_encargo")).args(["health", "--url", &url])));
    assert!(health().ok().contains(r#""ready":true"#));
    assert!(server.terminate().success());
    let gone = health();
    assert!(gone.status == 1 && gone.err.contains("does not answer: Connection refused"), "{gone:?}");
    let last = std::iter::repeat_with(|| told(&manager)).find(|said| said != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}

/// Tenths of a point in systemd's count of what a service may do: 0 is nothing, 100 is all.
const EXPOSURE_MAX: &str = "15";

#[test]
fn the_unit_is_understood_and_allows_little() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("encargo.service");
    let text = fs::read_to_string("deploy/systemd/encargo.service").unwrap();
    assert!(text.contains("ExecStart=/usr/bin/encargo up\n"));
    // the program must be there, too
    fs::write(&unit, text.replace("/usr/bin/encargo", env!("CARGO_BIN_EXE_encargo"))).unwrap();
    let analyze = |arguments: &[&str], unit: &Path| {
        let judged = output(Command::new("systemd-analyze").args(arguments).arg(unit));
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&[judged.stdout, judged.stderr].concat()));
    };
    // without this an unknown key is only warned of
    analyze(&["verify", "--man=no", "--recursive-errors=yes"], &unit);
    analyze(&["security", "--offline=true", &format!("--threshold={EXPOSURE_MAX}")], &unit);
}
