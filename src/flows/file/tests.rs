use std::time::Duration;

use super::*;
use crate::domain::{Product, flow::Party};

fn read(text: &str) -> Result<Flow, Error> {
    parse(Path::new("cocina.toml"), text)
}

const HEAD: &str = "name = \"cocina\"\nversion = 2\n";
const LAST: &str = "[[step]]\nstate = \"fin\"\n";

/// What is wrong with a file whose first step has these lines.
fn step_error(lines: &str) -> String {
    read(&format!("{HEAD}[[step]]\nstate = \"uno\"\n{lines}\n{LAST}")).unwrap_err().to_string()
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn the_documented_example_is_a_flow() {
    let text = include_str!("../../../docs/flows.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let flow = read(example).unwrap();
    assert_eq!(&*flow.id(), "cocina@1");
    let states: Vec<&str> = flow.steps().iter().map(|step| &*step.state).collect();
    assert_eq!(states, ["recibido", "cocinando", "mostrador", "entregado"]);
    let minutes = |seq, name| {
        let product = Product::new("7", name, "4").unwrap();
        flow.dwell_of(seq, &product).map(|dwell| dwell.as_secs() / 60)
    };
    assert_eq!((minutes(3, "Tarta de manzana"), minutes(3, "Pan"), minutes(2, "Pan")), (Some(120), Some(60), None));
    assert!(flow.may_cancel(1, Party::Customer) && !flow.may_cancel(2, Party::Customer));
    assert_eq!(flow.refused().map(|end| &*end.state), Some("rechazado"));
    assert_eq!(flow.mail_of("mostrador"), Some("entregando"));
    assert_eq!(flow.mail_of("cocinando"), None);
}

#[test]
fn what_goes_without_saying_need_not_be_said() {
    let flow = read(
        "name = \"default\"\nversion = 1\ndwell = \"8s\"\n[[step]]\nstate = \"recibido\"\n[[step]]\nstate = \
                     \"preparando\"\n[[step]]\nstate = \"entregando\"\n[[step]]\nstate = \"finalizado\"\n",
    );
    assert_eq!(flow.unwrap(), Flow::standard(Duration::from_secs(8)));
}

#[test]
fn unknown_and_missing_keys_are_told_with_their_line() {
    insta::assert_snapshot!(step_error("dwel = \"1s\""), @"cocina.toml:5: there is no key dwel; did you mean dwell?");
    insta::assert_snapshot!(step_error("colour = \"red\""), @"cocina.toml:5: there is no key colour here; there are state, leave, dwell, for, expect, cancel, mail");
    insta::assert_snapshot!(error("version = 1"), @r#"cocina.toml:1: name is missing: write a name for all versions of the flow, like name = "kitchen""#);
    insta::assert_snapshot!(error("name = \"a\"\nversion = 1"), @r#"cocina.toml:1: step is missing: write [[step]] once for each state, with state = "…" below"#);
    insta::assert_snapshot!(error(&format!("{HEAD}[[step]]\ndwell = \"1s\"\n")), @r#"cocina.toml:3: state is missing: write the state's name, like state = "recibido""#);
    insta::assert_snapshot!(error(&format!("{HEAD}[step]\nstate = \"a\"\n")), @"cocina.toml:3: step is a list: write [[step]] in double brackets, once for each");
    insta::assert_snapshot!(error("name = "), @"cocina.toml:1: not valid TOML: string values must be quoted, expected literal string");
    insta::assert_snapshot!(error(&format!("{HEAD}{LAST}{HEAD}")), @"cocina.toml:5: there is no key name here; there are state, leave, dwell, for, expect, cancel, mail");
}

#[test]
fn wrong_values_are_told_with_what_would_be_right() {
    insta::assert_snapshot!(step_error("dwell = 8"), @r#"cocina.toml:5: dwell must be a duration in quotes, like "8s", "500ms" or "30d", not the integer `8`"#);
    insta::assert_snapshot!(step_error("dwell = \"8\""), @r#"cocina.toml:5: dwell must be a duration with its unit, like "8s", "500ms" or "30d", not "8""#);
    insta::assert_snapshot!(step_error("dwell = \"99999d\""), @"cocina.toml:5: dwell must be ten years (10y) at most");
    insta::assert_snapshot!(step_error("leave = \"clock\""), @r#"cocina.toml:5: leave must be "timer" or "command" or "either", not "clock""#);
    insta::assert_snapshot!(step_error("dwell = \"1s\"\ncancel = \"cook\""), @r#"cocina.toml:6: cancel must be "customer" or "operator", not "cook""#);
    insta::assert_snapshot!(step_error("dwell = \"1s\"\nmail = 3"), @"cocina.toml:6: mail must be false, or the name of a template in quotes, not the integer `3`");
    insta::assert_snapshot!(step_error("dwell = \"1s\"\nmail = \"../x\""), @r#"cocina.toml:6: mail must be a name of 1 to 64 bytes, with letters, digits, spaces, - and _, not "../x""#);
    insta::assert_snapshot!(step_error("dwell = \"1s\"\nfor = [{ dwell = \"2s\" }]"), @r#"cocina.toml:6: dwell needs products: write product = "KEY" or name = "*words*""#);
    insta::assert_snapshot!(step_error("dwell = \"1s\"\nfor = [{ product = \"1\", dwell = \"2\" }]"), @r#"cocina.toml:6: dwell must be a duration with its unit, like "8s", "500ms" or "30d", not "2""#);
    insta::assert_snapshot!(error(&format!("name = \"a b\"\nversion = 1\n{LAST}")), @"cocina.toml:1: name must have 1 to 64 bytes of letters, digits, - and _");
    insta::assert_snapshot!(error(&format!("name = \"a\"\nversion = 0\n{LAST}")), @"cocina.toml:2: version must be a whole number from 1");
    insta::assert_snapshot!(error(&format!("name = \"a\"\nversion = -1\n{LAST}")), @"cocina.toml:2: version must be a whole number from 1 to 4294967295, not the integer `-1`");
    insta::assert_snapshot!(error(&format!("name = \"a\"\nversion = \"1\"\n{LAST}")), @r#"cocina.toml:2: version must be a whole number from 1 to 4294967295, not the string "1""#);
}

#[test]
fn what_goes_for_all_steps_is_told_where_it_stands() {
    let general = |dwell: &str, rest: &str| format!("{HEAD}dwell = \"{dwell}\"\n[[step]]\nstate = \"a\"\n{rest}{LAST}");
    insta::assert_snapshot!(error(&general("11y", "")), @"cocina.toml:3: dwell must be ten years (10y) at most");
    assert!(parse(Path::new("cocina.toml"), &general("10y", "")).is_ok());
    let names = error(&general("1s", "[[step]]\nstate = \"cancelado\"\n[[step]]\nstate = \"anulado\"\n"));
    insta::assert_snapshot!(names, @r#"cocina.toml:1: cancelled needs a name: steps are called cancelado and anulado; a flow file says [cancelled] and state = "…""#);
}

#[test]
fn what_contradicts_itself_is_told() {
    insta::assert_snapshot!(step_error(""), @r#"cocina.toml:4: state "uno" has no timer: give it a dwell, like dwell = "8s", or write leave = "command""#);
    insta::assert_snapshot!(step_error("leave = \"either\""), @r#"cocina.toml:4: state "uno" has no timer: give it a dwell, like dwell = "8s", or write leave = "command""#);
    insta::assert_snapshot!(step_error("leave = \"command\"\ndwell = \"1s\""), @r#"cocina.toml:6: dwell is a timer, and this step has none: leave it out, or write leave = "either""#);
    insta::assert_snapshot!(step_error("dwell = \"1s\"\nexpect = \"1s\""), @r#"cocina.toml:6: expect is for steps that a command ends: leave it out, or write leave = "either""#);
    insta::assert_snapshot!(error(&format!("{HEAD}{LAST}dwell = \"1s\"")), @"cocina.toml:5: dwell has no place in the last step, which is the end of the order: leave it out");
    insta::assert_snapshot!(error(&format!("{HEAD}dwell = \"1s\"\n{LAST}{LAST}")), @r#"cocina.toml:7: state names "fin" a second time"#);
    insta::assert_snapshot!(error(&format!("{HEAD}{LAST}[cancelled]\nstate = \"fin\"")), @r#"cocina.toml:6: state names "fin" a second time"#);
    insta::assert_snapshot!(error(&format!("{HEAD}{LAST}[refused]\nstate = \"a/b\"")), @r#"cocina.toml:6: state must be a name of 1 to 64 bytes, with letters, digits, spaces, - and _, not "a/b""#);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no.toml");
    assert!(load(&path).unwrap_err().to_string().ends_with("no.toml"));
    std::fs::write(&path, vec![b'#'; 1 << 21]).unwrap();
    assert!(matches!(load(&path), Err(Error::Unreadable { .. })));
}
