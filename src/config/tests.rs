use super::*;

fn file(text: &str) -> Result<Config, Error> {
    let mut layers = Layers::defaults();
    layers.file(Path::new("tienda.toml"), text)?;
    layers.settings()
}

fn error(text: &str) -> String {
    file(text).unwrap_err().to_string()
}

fn environment(variables: &[(&str, &str)]) -> Result<Layers, Error> {
    let mut layers = Layers::defaults();
    layers.environment(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))?;
    Ok(layers)
}

#[test]
fn the_commented_defaults_are_the_defaults() {
    let config = Layers::defaults().settings().unwrap();
    assert_eq!(config.flow().unwrap(), crate::domain::Flow::standard(std::time::Duration::from_secs(8)));
    assert_eq!(config.log_url(), LogUrl::Sqlite("encargo-data/log.db".into()));
    assert_eq!(file(DEFAULT).unwrap().intake.listen, config.intake.listen);
}

#[test]
fn later_layers_win_and_tell_where_they_are() {
    let mut layers = Layers::defaults();
    layers
        .file(Path::new("t.toml"), "data = \"a\"\n[flow]\ndwell = \"1s\"\n[flow.dwells]\npreparando = \"3s\"\n")
        .unwrap();
    layers.environment([("ENCARGO_DWELL".to_owned(), "2s".to_owned())].into_iter()).unwrap();
    layers.set("intake.listen", "127.0.0.1:0", Origin::Flag).unwrap();
    let config = layers.settings().unwrap();
    let dwells: Vec<u64> = config.flow().unwrap().steps().iter().map(|step| step.dwell.as_secs()).collect();
    assert_eq!(dwells, [2, 3, 2, 2]);
    let origin = |key: &str| layers.shown().find(|(other, _)| *other == key).unwrap().1.origin.to_string();
    assert_eq!(
        ["data", "flow.dwells.preparando", "flow.dwell", "intake.listen", "log.url"].map(origin),
        ["t.toml:1", "t.toml:5", "ENCARGO_DWELL", "flag", "default"],
    );
}

#[test]
fn errors_name_the_place_the_key_and_the_way_out() {
    insta::assert_snapshot!(error("\n[intake]\nlisten_on = \"x\""), @r#"tienda.toml:3: unknown key "intake.listen_on", did you mean "intake.listen"?"#);
    insta::assert_snapshot!(error("[intake]\nlisten = 3000"), @"tienda.toml:2: intake.listen must be a string, not a integer");
    insta::assert_snapshot!(error("[intake]\nlisten = \"3000\""), @r#"tienda.toml:2: intake.listen cannot be "3000": invalid socket address syntax"#);
    insta::assert_snapshot!(error("[flow]\ndwell = \"8\""), @r#"tienda.toml:2: flow.dwell must be a duration like "8s", "500ms" or "30d", not "8""#);
    insta::assert_snapshot!(error("[log]\nurl = \"redis://x\""), @r#"tienda.toml:2: log.url cannot be "redis://x": supported is sqlite:PATH"#);
    insta::assert_snapshot!(error("[log]\npartitions = 0"), @"tienda.toml:2: log.partitions must be at least 1");
    insta::assert_snapshot!(error("data = "), @"tienda.toml: line 1: string values must be quoted, expected literal string");
    insta::assert_snapshot!(error("[flow]\nstates = [\"a\", \"a\"]"), @r#"tienda.toml:2: flow.states flow: the state "a" is there twice"#);
}

#[test]
fn every_key_has_a_variable_and_secrets_come_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("key");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let layers = environment(&[
        ("ENCARGO_TRACKING_API_KEY_FILE", secret.to_str().unwrap()),
        ("ENCARGO_FLOW_STATES", "nuevo, listo"),
        ("ENCARGO_HTTP_BODY_MAX", "1024"),
    ])
    .unwrap();
    let config = layers.settings().unwrap();
    assert_eq!(config.tracking.api_key, "s3cret");
    assert_eq!((config.flow.states.len(), config.http.body_max), (2, 1024));
    assert!(layers.shown().all(|(_, entry)| !entry.value.to_string().contains("s3cret")));
    let error = environment(&[("ENCARGO_HTTP_BODY_MAX", "much")]).unwrap_err().to_string();
    insta::assert_snapshot!(error, @r#"ENCARGO_HTTP_BODY_MAX: http.body_max cannot be "much""#);
    let error = environment(&[("ENCARGO_TRACKING_API_KEY_FILE", "/nowhere/key")]).unwrap_err().to_string();
    insta::assert_snapshot!(error, @"ENCARGO_TRACKING_API_KEY_FILE: cannot read /nowhere/key: No such file or directory (os error 2)");
}
