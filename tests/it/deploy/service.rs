//! The systemd unit, and what the process tells the manager that starts it.

use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command, sync::mpsc};

use crate::{
    cli::Done,
    harness::{
        PATIENCE,
        process::{Process, output},
    },
};

/// The socket of a service manager, which reads what it is told at once: the system keeps ten words for a reader, and who says one more
/// waits.
struct Manager(mpsc::Receiver<String>);

impl Manager {
    fn listen(socket: &Path) -> Self {
        let socket = UnixDatagram::bind(socket).unwrap();
        let (words, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while let Ok(length) = socket.recv(&mut buffer)
                && words.send(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()).is_ok()
            {}
        });
        Self(told)
    }

    /// What it is told next.
    fn told(&self) -> String {
        self.0.recv_timeout(PATIENCE).expect("it is told something in time")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_hears_of_start_life_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (data, socket) = (folder.path().join("data"), folder.path().join("notify"));
    let manager = Manager::listen(&socket);
    let mut command = Process::command(&data, &[]);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "100000");
    let server = Process::spawn(command, data.with_extension("log"));
    assert_eq!(manager.told(), "READY=1");
    server.ready().await;
    assert_eq!([manager.told(), manager.told()], ["WATCHDOG=1"; 2]);
    let url = server.url("ops", "");
    let health = || Done::from(output(Command::new(env!("CARGO_BIN_EXE_encargo")).args(["health", "--url", &url])));
    assert!(health().ok().contains(r#""ready":true"#));
    assert!(server.terminate().success());
    let gone = health();
    assert!(gone.status == 1 && gone.err.contains("does not answer: Connection refused"), "{gone:?}");
    let last = std::iter::repeat_with(|| manager.told()).find(|said| said != "WATCHDOG=1");
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
