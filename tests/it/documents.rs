//! What documents say about the tree is true, and the tree keeps to what they say.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where paths of this repository begin, as documents write them.
const ROOTS: [&str; 6] = ["src/", "tests/", "docs/", "benches/", "scripts/", "deploy/"];
/// What each folder of `src` may import of the others, from the inside out: rules, what everything stands on, services, and
/// what puts them together. Services meet on topics and tables only, and never import each other.
const MAY_IMPORT: [(&str, &[&str]); 31] = [
    ("domain", &[]),
    ("sqlite", &["clock", "domain", "files"]),
    ("eventlog", &["causes", "clock", "domain", "sqlite"]),
    ("store", &["clock", "domain", "env", "eventlog", "planted", "reach", "sqlite", "tls"]),
    ("faults", &["clock", "domain", "env", "eventlog", "store"]),
    ("flows", &["domain", "eventlog", "files"]),
    ("contract", &["domain", "role"]),
    ("catalog", &["domain", "files"]),
    ("telemetry", &["clock", "config", "domain"]),
    ("scale", &["clock", "role"]),
    ("forecast", &["domain", "role", "scale", "store"]),
    ("demand", &["domain", "forecast", "role", "scale"]),
    ("words", &["domain"]),
    ("web", &["busy", "clock", "domain", "telemetry", "words"]),
    ("pages", &["domain", "web", "words"]),
    ("registry", &["clock", "domain", "env", "reach", "request", "tls", "web"]),
    ("spans", &["causes", "clock", "domain", "env", "reach", "request", "tls"]),
    // services
    (
        "intake",
        &[
            "catalog",
            "clock",
            "commands",
            "domain",
            "env",
            "eventlog",
            "flaws",
            "flows",
            "pages",
            "spans",
            "store",
            "telemetry",
            "web",
            "words",
        ],
    ),
    ("fulfilment", &["causes", "clock", "domain", "env", "eventlog", "flaws", "flows", "planted", "refusals", "spans"]),
    ("forward", &["clock", "domain", "env", "eventlog"]),
    (
        "tracking",
        &[
            "causes",
            "catalog",
            "clock",
            "commands",
            "domain",
            "env",
            "eventlog",
            "flows",
            "pages",
            "refusals",
            "spans",
            "store",
            "telemetry",
            "web",
            "words",
        ],
    ),
    (
        "mail",
        &["busy", "causes", "clock", "domain", "env", "files", "flaws", "reach", "spans", "store", "tls", "words"],
    ),
    (
        "ops",
        &[
            "busy",
            "catalog",
            "clock",
            "commands",
            "contract",
            "domain",
            "env",
            "eventlog",
            "files",
            "flows",
            "forecast",
            "pages",
            "role",
            "scale",
            "sqlite",
            "store",
            "telemetry",
            "web",
            "words",
        ],
    ),
    // what knows several of them
    ("config", &["causes", "domain", "files", "flows", "mail", "role", "store", "web"]),
    ("app", &EVERYTHING),
    ("cli", &EVERYTHING),
    ("audit", &["domain", "eventlog", "files", "store"]),
    ("bench", &["audit", "domain"]),
    ("prove", &["app", "audit", "bench", "clock", "config", "domain", "pages", "store", "words"]),
    (
        "sim",
        &[
            "causes",
            "audit",
            "clock",
            "domain",
            "env",
            "eventlog",
            "faults",
            "flows",
            "fulfilment",
            "mail",
            "planted",
            "store",
            "tracking",
        ],
    ),
    ("bin", &[]),
];
/// All but tools that nothing else needs.
const EVERYTHING: [&str; 37] = [
    "app",
    "audit",
    "bench",
    "busy",
    "catalog",
    "causes",
    "clock",
    "commands",
    "config",
    "contract",
    "demand",
    "domain",
    "env",
    "eventlog",
    "files",
    "flows",
    "forecast",
    "forward",
    "fulfilment",
    "intake",
    "mail",
    "ops",
    "pages",
    "prove",
    "refusals",
    "registry",
    "role",
    "scale",
    "spans",
    "sqlite",
    "store",
    "telemetry",
    "tls",
    "tracking",
    "web",
    "words",
    "reach",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// What stands between single backticks, outside fenced blocks, and looks like a path of this repository.
fn paths_in(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut paths = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let quoted = line.split('`').skip(1).step_by(2);
            paths.extend(quoted.filter(|text| ROOTS.iter().any(|root| text.starts_with(root))));
        }
    }
    paths
}

/// All Rust files below a folder.
pub fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot list {}: {e}", folder.display())) {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The modules that a source names below `root`, which is `crate::` or `super::`: `crate::a::…`, and the members of
/// `use crate::{a, b::…}`. Comments do not count.
fn imports(source: &str, root: &str) -> Vec<String> {
    let code: String =
        source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut modules = Vec::new();
    for (at, found) in code.match_indices(root) {
        // `mycrate::` is another crate, and the second `super::` in a row another folder
        let goes_on = code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':'));
        if goes_on {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(members(group)),
            None => modules.push(first_name(rest)),
        }
    }
    modules
}

/// The first names of a group's members; the text begins after its opening brace.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut member, mut modules) = (0_u32, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => modules.push(first_name(&std::mem::take(&mut member))),
            _ if depth == 0 => member.push(c),
            _ => {}
        }
    }
    modules.push(first_name(&member));
    modules.retain(|module| !module.is_empty());
    modules
}

fn first_name(path: &str) -> String {
    path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The modules of one folder, by name; those with a folder of their own by its `mod.rs`.
fn siblings(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot list {}: {e}", folder.display())) {
        let path = entry.expect("a folder entry").path();
        let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        let file = if path.is_dir() { path.join("mod.rs") } else { path };
        if name != "mod" && file.extension().is_some_and(|extension| extension == "rs") && file.exists() {
            found.push((name, file));
        }
    }
    found
}

/// Pairs of modules of a folder that import each other: neither can be read, or moved, without the other.
fn circles(folder: &Path) -> Vec<String> {
    let named: Vec<_> =
        siblings(folder).into_iter().map(|(name, file)| (name, imports(&read(&file), "super::"))).collect();
    let mut found = Vec::new();
    for (i, (one, of_one)) in named.iter().enumerate() {
        for (other, of_other) in &named[..i] {
            if of_one.contains(other) && of_other.contains(one) {
                found.push(format!("{}: {one} and {other} import each other", folder.display()));
            }
        }
    }
    found
}

/// Every import of a module under `src`, with the file it stands in.
fn imports_of(module: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join("src").join(module);
    let files = sources(&folder);
    assert!(!files.is_empty(), "{} has no sources", folder.display());
    let named = |file: PathBuf| imports(&read(&file), "crate::").into_iter().map(move |name| (file.clone(), name));
    files.into_iter().flat_map(named).collect()
}

/// Imports of a module that are not allowed, in words.
fn forbidden(module: &str, is_allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let imports = imports_of(module).into_iter();
    let wrong = imports.filter(|(_, name)| name != module && !is_allowed(name));
    wrong.map(|(file, name)| format!("{} imports crate::{name}", file.display())).collect()
}

#[test]
fn every_path_in_the_documents_exists() {
    for document in ["ARCHITECTURE.md", "docs/guarantees.md"] {
        let text = read(&root().join(document));
        let paths = paths_in(&text);
        assert!(paths.len() > 2, "{document} names {} paths: does this test still read it?", paths.len());
        let missing: Vec<_> = paths.into_iter().filter(|path| !root().join(path).exists()).collect();
        assert_eq!(missing, Vec::<&str>::new(), "{document} names what is not there");
    }
}

#[test]
fn folders_import_only_what_the_table_allows() {
    let src = root().join("src");
    let folders = fs::read_dir(&src).expect("sources").map(|entry| entry.expect("a folder entry").path());
    let names = folders.filter(|path| path.is_dir()).map(|path| path.file_name().expect("a name").to_owned());
    let mut wrong = Vec::new();
    for name in names.map(|name| name.into_string().expect("UTF-8")) {
        match MAY_IMPORT.iter().find(|(folder, _)| *folder == name) {
            Some((_, allowed)) => wrong.extend(forbidden(&name, |other| allowed.contains(&other))),
            None => wrong.push(format!("src/{name} is not in the table")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_two_files_of_a_folder_import_each_other() {
    let mut folders: Vec<_> =
        sources(&root().join("src")).iter().filter_map(|file| file.parent()).map(Path::to_owned).collect();
    folders.sort();
    folders.dedup();
    let found: Vec<_> = folders.iter().flat_map(|folder| circles(folder)).collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn these_checks_can_object() {
    let source = "use crate::{\n    clock::Clock, // crate::ops\n    store::{self, ledger::{Mail, MailId}},\n    \
                  intake,\n};\nfn f() -> crate::mail::Result<()> { mycrate::tracking::f() }\n//! crate::fulfilment\n";
    assert_eq!(imports(source, "crate::"), ["clock", "store", "intake", "mail"]);
    let source = "use super::{One, ledger::{Mail, MailId}};\nuse super::super::mails;\nfn f() { super::orders::f() }";
    assert_eq!(imports(source, "super::"), ["One", "ledger", "super", "orders"]);
    assert!(siblings(&root().join("src/store")).iter().any(|(name, _)| name == "memory"));
    let document = "`src/lib.rs` and `cargo run`\n```\n`src/fenced.rs`\n```\n`docs/none.md`";
    assert_eq!(paths_in(document), ["src/lib.rs", "docs/none.md"]);
    let seen = imports_of("fulfilment");
    assert!(seen.iter().any(|(_, name)| name == "eventlog"), "{seen:?}");
}

#[test]
fn the_tests_that_show_what_holds_are_there() {
    let document = read(&root().join("docs/security.md"));
    let files = ["src", "tests"].iter().flat_map(|folder| sources(&root().join(folder)));
    let tests: String = files.map(|path| read(&path)).collect();
    let (_, holds) = document.split_once("## What holds\n").expect("what holds");
    let (holds, _) = holds.split_once("\n## ").expect("what does not");
    let threats: Vec<_> = holds.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(threats.len() > 15, "{threats:?}");
    for threat in threats {
        let (_, shown) = threat.trim_end_matches(" |").rsplit_once(" | ").expect("a cell");
        let names = shown.split('`').skip(1).step_by(2).filter(|name| !name.contains('/'));
        let missing: Vec<_> = names.clone().filter(|name| !tests.contains(&format!("fn {name}("))).collect();
        assert!(names.count() > 0 && missing.is_empty(), "docs/security.md: {threat}: no such tests: {missing:?}");
    }
}
