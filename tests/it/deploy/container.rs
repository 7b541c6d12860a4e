//! Images, and the Compose file that brings them up.

use std::{fs, path::Path, process::Command};

use crate::{
    cli::Done,
    harness::{cluster::needed, process::output},
};

#[test]
fn the_image_runs_as_nobody_on_a_root_it_cannot_write() {
    let tried =
        output(Command::new("tests/deploy/containers.sh").arg("image").env("BINARY", env!("CARGO_BIN_EXE_encargo")));
    println!("{}", Done::from(tried).ok());
}

#[test]
fn both_dockerfiles_make_the_same_image() {
    let last_stage = |name: &str| {
        let text = fs::read_to_string(Path::new("deploy/container").join(name)).unwrap();
        let stage = text.rfind("\nFROM ").expect("a stage");
        let (copied, rest) =
            text[stage..].lines().map(str::to_owned).partition::<Vec<_>, _>(|line| line.starts_with("COPY "));
        assert_eq!(copied.len(), 1, "{name}: {copied:?}");
        rest
    };
    assert_eq!(last_stage("Dockerfile"), last_stage("Dockerfile.binary"));
}

#[test]
fn the_compose_file_keeps_to_its_specification() {
    let folder = tempfile::tempdir().unwrap();
    let python = needed("ENCARGO_TEST_PYTHON");
    let judge = |path: &Path| {
        let mut check = Command::new(&python);
        check.args(["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]).arg(path);
        Done::from(output(&mut check))
    };
    judge(Path::new("compose.yaml")).ok();
    let spoilt = folder.path().join("compose.yaml");
    fs::write(&spoilt, fs::read_to_string("compose.yaml").unwrap().replace("restart: unless", "restrat: unless"))
        .unwrap();
    let refused = judge(&spoilt);
    assert!(refused.status == 1 && refused.out.contains("'restrat' was unexpected"), "{refused:?}");
}
