//! The pages in a real Chromium: `tests/browser`, on the binary of this build.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use crate::harness::process::end;

/// Far beyond what the walk takes; each wait in it has a bound of its own.
const PATIENCE: Duration = Duration::from_mins(20);

#[test]
fn people_walk_through_the_pages_in_a_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let installed = Command::new("npm").arg("ls").current_dir(&folder).output().unwrap();
    assert!(installed.status.success(), "run npm ci --ignore-scripts in tests/browser first, as scripts/test does");
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec"])
        .current_dir(&folder)
        .env("ENCARGO_BINARY", env!("CARGO_BIN_EXE_encargo"));
    let Output { status, stdout, stderr } = end(PATIENCE, node.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let said = String::from_utf8_lossy(&stdout);
    println!("{said}");
    assert!(status.success(), "{said}\n{}", String::from_utf8_lossy(&stderr));
}
