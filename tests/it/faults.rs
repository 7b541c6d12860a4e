//! The promises on three brokers and a database while these and our processes are struck: a selection of
//! `scripts/faults` (docs/faults.md), with servers of its own.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use crate::harness::{cluster::needed, process::end};

/// Runs a program of `tests/faults/`.
fn python(script: &str, arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(script);
    let mut command = Command::new(needed("ENCARGO_TEST_PYTHON"));
    end(Duration::from_mins(30), command.arg(script).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// How long things take is not judged here: the suite keeps the machine busy.
#[test]
fn a_selection_of_faults_breaks_no_promise() {
    let faults = "leader,transactions,intake,fulfilment,tracking,mail,stall,postgres,cut";
    let options = ["--together", "--untimed", "--rounds", "1", "--rate", "50", "--only", faults];
    let Output { status, stdout, stderr } =
        python("", &[&options[..], &["--binary", env!("CARGO_BIN_EXE_encargo")]].concat());
    let said = String::from_utf8_lossy(&stdout);
    println!("{said}");
    assert!(status.success(), "{said}\n{}", String::from_utf8_lossy(&stderr));
}

#[test]
fn slow_recoveries_are_told_from_quick_ones() {
    let Output { status, stderr, .. } = python("test_verdict.py", &[]);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
}
