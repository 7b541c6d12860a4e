use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::{domain::Step, mail::Destination};

fn file(text: &str) -> Result<Config> {
    let mut layers = Layers::defaults();
    layers.file(Path::new("tienda.toml"), text)?;
    layers.settings()
}

/// The message with its causes.
fn words(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn error(text: &str) -> String {
    words(&file(text).unwrap_err())
}

fn layers(variables: &[(&str, &str)]) -> Result<(Layers, Vec<String>)> {
    let mut layers = Layers::defaults();
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let warnings = layers.environment(variables)?;
    Ok((layers, warnings))
}

fn environment_error(name: &str, value: &str) -> String {
    words(&layers(&[(name, value)]).and_then(|(layers, _)| layers.settings()).unwrap_err())
}

fn origin(layers: &Layers, key: &str) -> String {
    layers.shown().find(|(other, _)| *other == key).unwrap().1.origin.to_string()
}

fn value(layers: &Layers, key: &str) -> String {
    layers.shown().find(|(other, _)| *other == key).unwrap().1.value.to_string()
}

#[test]
fn the_commented_defaults_are_the_defaults() {
    let config = Layers::defaults().settings().unwrap();
    assert_eq!(config.flow().unwrap(), crate::domain::Flow::standard(std::time::Duration::from_secs(8)));
    assert_eq!(config.log_url(), LogUrl::Sqlite("encargo-data/log.db".into()));
    assert_eq!(config.mail_url().to_string(), "maildir:encargo-data/mail");
    assert_eq!(config.mail.from.name.as_deref(), Some("Encargo"));
    assert_eq!(file(DEFAULT).unwrap().intake.listen, config.intake.listen);
}

#[test]
fn later_layers_win_and_tell_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    std::fs::write(&path, "data = \"a\"\n[flow]\ndwell = \"1s\"\n[flow.dwells]\npreparando = \"3s\"\n").unwrap();
    let variables = [("ENCARGO_DWELL", "2s"), ("ENCARGO_OPS_LISTEN", "localhost:7"), ("HOME", "/root")];
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let loaded = load_from(Some(&path), variables, &[("ops.listen", "127.0.0.1:0".into())]).unwrap();
    let Loaded { config, layers, warnings } = loaded;
    let flow = config.flow().unwrap();
    let dwells: Vec<u64> = flow.steps().iter().filter_map(Step::dwell).map(|dwell| dwell.usual.as_secs()).collect();
    assert_eq!(dwells, [2, 3, 2]);
    assert_eq!((config.ops.listen.port(), warnings.len()), (0, 0));
    let place = path.display();
    assert_eq!(
        ["data", "flow.dwells.preparando", "flow.dwell", "ops.listen", "log.url"].map(|key| origin(&layers, key)),
        [&format!("{place}:1"), &format!("{place}:5"), "ENCARGO_DWELL", "--ops-listen", "default"],
    );
}

#[test]
fn unknown_keys_name_the_place_and_the_nearest_key() {
    insta::assert_snapshot!(error("\n[intake]\nlistn = \"x\""), @"tienda.toml:3: there is no key intake.listn; did you mean intake.listen?");
    insta::assert_snapshot!(error("[intak]\nlisten = \"x\""), @"tienda.toml:2: there is no key intak.listen; did you mean intake.listen?");
    assert!(error("[scale]\nstart = \"48h\"").contains("scale.start must be 24h at most"));
    insta::assert_snapshot!(error("retention = \"3d\""), @"tienda.toml:1: there is no key retention; did you mean log.retention?");
    insta::assert_snapshot!(error("retenton = \"3d\""), @"tienda.toml:1: there is no key retenton; did you mean log.retention?");
    insta::assert_snapshot!(error("lisen = \"x\""), @"tienda.toml:1: there is no key lisen");
    insta::assert_snapshot!(error("[intake]\ncolour = \"blue\""), @"tienda.toml:2: there is no key intake.colour");
    insta::assert_snapshot!(error("log = \"sqlite:x\""), @"tienda.toml:1: log is a section: write [log] and its keys below");
}

#[test]
fn wrong_types_name_the_place_and_what_is_expected() {
    insta::assert_snapshot!(error("[intake]\nlisten = 3000"), @r#"tienda.toml:2: intake.listen must be text in quotes, like "127.0.0.1:3000", not 3000"#);
    insta::assert_snapshot!(error("[log]\npartitions = \"four\""), @r#"tienda.toml:2: log.partitions must be a whole number, like 4, not "four""#);
    insta::assert_snapshot!(error("[log]\npartitions = -1"), @"tienda.toml:2: log.partitions must not be negative");
    insta::assert_snapshot!(error("[log]\npartitions = 0"), @"tienda.toml:2: log.partitions must not be zero");
    insta::assert_snapshot!(error("[log]\npartitions = 9999999999"), @"tienda.toml:2: log.partitions is too large");
    insta::assert_snapshot!(error("[flow]\nstates = \"recibido\""), @r#"tienda.toml:2: flow.states must be a list, like ["recibido", "preparando", "entregando", "finalizado"], not "recibido""#);
    insta::assert_snapshot!(error("[flow]\nstates = [1]"), @"tienda.toml:2: flow.states[0] cannot be the integer `1`, expected a string");
    insta::assert_snapshot!(error("data = "), @"tienda.toml:1: not valid TOML: string values must be quoted, expected literal string");
}

#[test]
fn wrong_values_name_the_place_and_the_way_out() {
    insta::assert_snapshot!(error("[intake]\nlisten = \"3000\""), @r#"tienda.toml:2: intake.listen must be an address with its port, like "127.0.0.1:3000", not "3000""#);
    insta::assert_snapshot!(error("[intake]\nusermail = \"ana\""), @r#"tienda.toml:2: intake.usermail cannot be "ana": e-mail address: must look like name@example.org"#);
    insta::assert_snapshot!(error("[flow]\ndwell = \"8\""), @r#"tienda.toml:2: flow.dwell must be a duration with its unit, like "8s", "500ms" or "30d", not "8""#);
    insta::assert_snapshot!(error("[flow.dwells]\npreparando = \"8\""), @r#"tienda.toml:2: flow.dwells.preparando must be a duration with its unit, like "8s", "500ms" or "30d", not "8""#);
    insta::assert_snapshot!(error("[flow.dwells]\n\"a.b\" = \"8s\""), @"tienda.toml:2: flow.dwells.a.b is none of the states recibido, preparando, entregando, finalizado");
    insta::assert_snapshot!(error("[flow]\nstates = [\"a\", \"a\"]"), @r#"tienda.toml:2: flow.states names "a" a second time"#);
    insta::assert_snapshot!(error("[log]\nurl = \"redis://x\""), @"tienda.toml:2: log.url cannot be that: redis: is not supported, sqlite:PATH and kafka://HOST:PORT are");
    insta::assert_snapshot!(error("[store]\nurl = \"sqlite:\""), @"tienda.toml:2: store.url cannot be that: a path must follow, like sqlite:data/file.db");
    insta::assert_snapshot!(error("[mail]\nurl = \"mailto:ana\""), @r#"tienda.toml:2: mail.url cannot be that: mail URL "mailto:ana": must be maildir:DIR, smtp://HOST:PORT, smtps://HOST:PORT or none:"#);
    insta::assert_snapshot!(error("[mail]\nfrom = \"Shop\""), @r#"tienda.toml:2: mail.from cannot be "Shop": must look like "Shop <orders@shop.example>""#);
    insta::assert_snapshot!(error("[mail]\nlang = \"fr\""), @r#"tienda.toml:2: mail.lang cannot be "fr", expected "es" or "en""#);
    insta::assert_snapshot!(error("[mail]\ntime_zone = \"Madrid\""), @r#"tienda.toml:2: mail.time_zone cannot be "Madrid": must be the name of a time zone, like UTC or Europe/Madrid"#);
    insta::assert_snapshot!(error("[logging]\nlevel = \"inof\""), @r#"tienda.toml:2: logging.level must be error, warn, info, debug or trace, or filters like "info,encargo=debug""#);
    insta::assert_snapshot!(error("[telemetry]\notlp = \"localhost:4318\""), @"tienda.toml:2: telemetry.otlp must look like http://localhost:4318");
    insta::assert_snapshot!(error("[telemetry]\notlp = \"https://ana:secret@collector.example\""), @"tienda.toml:2: telemetry.otlp must name no user: what the collector wants to know stands in OTEL_EXPORTER_OTLP_HEADERS");
    for sample in ["50", "101%", "-1%", "NaN%", "%"] {
        let said = error(&format!("[telemetry]\nsample = \"{sample}\""));
        assert!(said.ends_with("must be from 0% to 100%, like 0.5%"), "{said}");
    }
    insta::assert_snapshot!(error("[topics]\nstates = \"compra_detalle\""), @r#"tienda.toml:2: topics.states must be a separate topic: "compra_detalle" is used for another setting"#);
    insta::assert_snapshot!(error("[mail]\nretry_min = \"9m\""), @"tienda.toml:2: mail.retry_min must not be longer than mail.retry_max");
}

#[test]
fn a_moment_has_a_zone_or_milliseconds() {
    let since = |text: &str| {
        let settings = layers(&[("ENCARGO_MAIL_SINCE", text)]).and_then(|(layers, _)| layers.settings());
        settings.map(|config| config.mail.since.map(crate::domain::Timestamp::as_millis))
    };
    for (text, millis) in [
        ("2026-01-31T12:00:00Z", Some(1_769_860_800_000)),
        ("2026-01-31T13:00:00.5+01:00", Some(1_769_860_800_500)),
        (" 1769860800000 ", Some(1_769_860_800_000)),
        ("", None),
    ] {
        assert_eq!(since(text).unwrap(), millis, "{text}");
    }
    for text in ["2026-01-31", "2026-01-31T12:00:00", "1769860800", "-1769860800000", "now", "17698608000000"] {
        let said = words(&since(text).unwrap_err());
        assert!(said.contains("must") && said.contains(text), "{text}: {said}");
    }
}

#[test]
fn every_key_has_a_variable() {
    let (layers, warnings) = layers(&[
        ("ENCARGO_FLOW_STATES", "nuevo, listo"),
        ("ENCARGO_FLOW_DWELLS", "nuevo=1s, listo=2s"),
        ("ENCARGO_HTTP_BODY_MAX", "1024"),
        ("ENCARGO_LOG", "sqlite:a.db"),
        ("ENCARGO_STORE_URL", "sqlite:b.db"),
        ("ENCARGO_SHUTDOWN_DEADLINE", "1m"),
        ("ENCARGO_MAIL", ""),
        ("ENCARGO_CONFIG", "elsewhere.toml"),
        ("ENCARGO_TEST_KAFKA", "127.0.0.1:9092"),
        ("ENCARGO_INTAKE_LISTN", "x"),
        ("ENCARGO_COLOUR", "blue"),
    ])
    .unwrap();
    let config = layers.settings().unwrap();
    assert_eq!((config.flow.states.len(), config.flow.dwells.len(), config.http.body_max), (2, 2, 1024));
    assert_eq!(config.log_url(), LogUrl::Sqlite("a.db".into()));
    assert_eq!(config.store_url(), StoreUrl::Sqlite("b.db".into()));
    assert_eq!(config.shutdown_deadline.as_secs(), 60);
    assert_eq!(origin(&layers, "mail.url"), "default");
    assert_eq!(
        warnings,
        [
            "the environment variable ENCARGO_COLOUR means nothing here",
            "the environment variable ENCARGO_INTAKE_LISTN means nothing here; did you mean ENCARGO_INTAKE_LISTEN?",
        ]
    );
    insta::assert_snapshot!(environment_error("ENCARGO_HTTP_BODY_MAX", "much"), @r#"ENCARGO_HTTP_BODY_MAX: http.body_max must be a whole number, like 65536, not "much""#);
    insta::assert_snapshot!(environment_error("ENCARGO_DWELL", "8"), @r#"ENCARGO_DWELL: flow.dwell must be a duration with its unit, like "8s", "500ms" or "30d", not "8""#);
    insta::assert_snapshot!(environment_error("ENCARGO_FLOW_DWELLS", "8s"), @r#"ENCARGO_FLOW_DWELLS: flow.dwells must look like STATE=8s,STATE=500ms, not "8s""#);
}

#[test]
fn a_variable_that_is_not_text_is_refused_only_if_it_is_ours() {
    use std::os::unix::ffi::OsStringExt as _;
    let broken = || OsString::from_vec(vec![0xff]);
    let mut layers = Layers::defaults();
    assert!(layers.environment([("PATH".into(), broken())].into_iter()).is_ok());
    let error = layers.environment([("ENCARGO_DATA".into(), broken())].into_iter()).unwrap_err();
    assert_eq!(error.to_string(), "the environment variable ENCARGO_DATA is not UTF-8");
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("key");
    std::fs::write(&secret, "s3cret-s3cret-s3cret\n").unwrap();
    let path = secret.to_str().unwrap();
    let (from_variable, _) = layers(&[("ENCARGO_TRACKING_API_KEY_FILE", path)]).unwrap();
    let mut from_file = Layers::defaults();
    from_file.file(Path::new("t.toml"), &format!("[tracking]\napi_key_file = {path:?}")).unwrap();
    for (layers, place) in [(&from_variable, "ENCARGO_TRACKING_API_KEY_FILE"), (&from_file, "t.toml:2")] {
        assert_eq!(layers.settings().unwrap().tracking.api_key, "s3cret-s3cret-s3cret");
        assert_eq!(value(layers, "tracking.api_key"), "\"(set, hidden)\"");
        assert_eq!(origin(layers, "tracking.api_key"), place);
        assert!(!format!("{layers:?}").contains("s3cret"));
    }
    let (url, _) = layers(&[("ENCARGO_MAIL", "smtp://ana:s3cret@relay.example:587")]).unwrap();
    assert_eq!(value(&url, "mail.url"), "\"smtp://ana:(hidden)@relay.example:587\"");
    assert!(!format!("{:?}", url.settings().unwrap().mail.url).contains("s3cret"));
    assert!(!environment_error("ENCARGO_MAIL", "smtp://ana:s3cret@relay.example:port").contains("s3cret"));
    std::fs::write(&secret, "\n").unwrap();
    assert!(environment_error("ENCARGO_TRACKING_API_KEY_FILE", path).ends_with("which is empty"));
    insta::assert_snapshot!(environment_error("ENCARGO_TRACKING_API_KEY_FILE", "/nowhere/key"), @"ENCARGO_TRACKING_API_KEY_FILE: cannot read the value of tracking.api_key from /nowhere/key: No such file or directory (os error 2)");
    insta::assert_snapshot!(error("[tracking]\napi_key = \"a\"\napi_key_file = \"b\""), @"tienda.toml:3: tracking.api_key_file is set together with tracking.api_key: keep one of them");
}

#[test]
fn kafka_and_postgres_are_named_by_their_addresses() {
    let config =
        file("[log]\nurl = \"kafka://a:9092,b:9093\"\n[store]\nurl = \"postgres://e:s3cret@db/shop\"").unwrap();
    assert_eq!(config.log_url(), LogUrl::Kafka("a:9092,b:9093".into()));
    assert!(config.log_url().is_shared() && config.store_url().is_shared());
    let tick = |text: &str| file(text).unwrap().tick().as_millis();
    assert_eq!(
        [tick(""), tick("[log]\nurl = \"kafka://a:9092\""), tick("[fulfilment]\ntick = \"20ms\"")],
        [40, 80, 20]
    );
    assert_eq!(config.store_url().to_string(), "postgres://e:(hidden)@db/shop");
    let (layers, _) =
        layers(&[("ENCARGO_STORE", "postgres://db/shop?user=e&password=s3cret&sslmode=require")]).unwrap();
    assert_eq!(value(&layers, "store.url"), "\"postgres://db/shop?user=e&password=(hidden)&sslmode=require\"");
    insta::assert_snapshot!(error("[log]\nurl = \"kafka://broker\""), @"tienda.toml:2: log.url cannot be that: must name brokers with their ports, like kafka://host1:9092,host2:9092; a login goes under [log.kafka]");
    insta::assert_snapshot!(error("[log]\nurl = \"kafka://a:9092,\""), @"tienda.toml:2: log.url cannot be that: must name brokers with their ports, like kafka://host1:9092,host2:9092; a login goes under [log.kafka]");
    insta::assert_snapshot!(error("[store]\nurl = \"postgres:\""), @"tienda.toml:2: store.url cannot be that: must look like postgres://USER@HOST/DATABASE");
    insta::assert_snapshot!(error("[log]\nreplication = 1"), @"tienda.toml:2: log.replication must not be less than log.min_insync: no record could ever be written");
    insta::assert_snapshot!(error("[log]\nmessage_timeout = \"5s\""), @"tienda.toml:2: log.message_timeout must be less than half of http.request_timeout, or no client would get the reason");
    insta::assert_snapshot!(error("[http]\ncommand_wait = \"5s\""), @"tienda.toml:2: http.command_wait must be less than half of http.request_timeout, or no client would be told where to look");
}

#[test]
fn any_property_of_the_kafka_client_can_be_given_and_secrets_stay_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("password");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let path = secret.to_str().unwrap();
    let text = format!(
        "[log.kafka]\n\"linger.ms\" = 5\n\"socket.keepalive.enable\" = true\n\"sasl.password_file\" = {path:?}\n"
    );
    let mut from_file = Layers::defaults();
    from_file.file(Path::new("t.toml"), &text).unwrap();
    let properties = from_file.settings().unwrap().log.kafka;
    let expected = [("linger.ms", "5"), ("sasl.password", "s3cret"), ("socket.keepalive.enable", "true")];
    assert_eq!(properties, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(origin(&from_file, "log.kafka.sasl.password"), "t.toml:4");
    assert_eq!(value(&from_file, "log.kafka.sasl.password"), "\"(set, hidden)\"");

    let variables = [
        ("ENCARGO_LOG_KAFKA_SASL_USERNAME", "ana"),
        ("ENCARGO_LOG_KAFKA_SASL_PASSWORD_FILE", path),
        ("ENCARGO_SLOT", "2"),
    ];
    let (from_variables, warnings) = layers(&variables).unwrap();
    let config = from_variables.settings().unwrap();
    let expected = [("sasl.password", "s3cret"), ("sasl.username", "ana")];
    assert_eq!(config.log.kafka, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!((config.slot, warnings), (2, vec![]));
    assert!(!format!("{from_variables:?}").contains("s3cret"));
    insta::assert_snapshot!(error("[log.kafka]\n\"linger.ms\" = [5]"), @r#"tienda.toml:2: log.kafka.linger.ms must be text in quotes, not a list"#);
    insta::assert_snapshot!(error("[log.kafka]\n\"bootstrap.servers\" = \"a:1\""), @"tienda.toml:2: log.kafka.bootstrap.servers belongs in log.url: kafka://HOST:PORT,HOST:PORT");
    insta::assert_snapshot!(error("[log]\nkafka = \"a:1\""), @"tienda.toml:2: log.kafka is a section: write [log.kafka] and its keys below");
}

#[test]
fn the_mail_password_belongs_to_the_user_in_the_address() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "geheim\n").unwrap();
    let text = |url: &str| format!("[mail]\nurl = {url:?}\npassword_file = {:?}", secret.path().display().to_string());
    let mut layers = Layers::defaults();
    layers.file(Path::new("t.toml"), &text("smtps://ana@relay.example")).unwrap();
    let Destination::Smtp(server) = layers.settings().unwrap().mail_url() else { panic!() };
    assert!(server.login.unwrap().password == crate::mail::Password::Text("geheim".into()));
    assert_eq!(value(&layers, "mail.password"), "\"(set, hidden)\"");
    for (text, expected) in [
        (text("smtps://relay.example"), "mail.password needs a user in mail.url"),
        ("[mail]\nurl = \"smtps://ana@relay.example\"".into(), "mail.password is missing"),
    ] {
        let mut layers = Layers::defaults();
        layers.file(Path::new("t.toml"), &text).unwrap();
        let error = layers.settings().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_flow_file_says_all_of_the_flow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flow.toml");
    let flow = "name = \"cocina\"\nversion = 2\ndwell = \"1m\"\n[[step]]\nstate = \"uno\"\n[[step]]\nstate = \"dos\"\n";
    std::fs::write(&path, flow).unwrap();
    let name = path.display();
    let config = file(&format!("[flow]\nfile = \"{name}\"")).unwrap();
    assert_eq!(&*config.flow().unwrap().id(), "cocina@2");
    for (beside, key) in [
        ("dwell = \"2s\"", "flow.dwell"),
        ("states = [\"uno\", \"dos\"]", "flow.states"),
        ("dwells.recibido = \"2s\"", "flow.dwells.recibido"),
    ] {
        let said = error(&format!("[flow]\nfile = \"{name}\"\n{beside}"));
        assert_eq!(
            said,
            format!(
                "tienda.toml:3: {key} has no place beside flow.file, which defines the whole flow: leave one of them out"
            )
        );
    }
    std::fs::write(&path, flow.replace("\"1m\"", "\"1\"")).unwrap();
    let said = error(&format!("[flow]\nfile = \"{name}\""));
    let like = "\"8s\", \"500ms\" or \"30d\"";
    let wrong = format!("{name}:3: dwell must be a duration with its unit, like {like}, not \"1\"");
    assert_eq!(said, format!("tienda.toml:2: flow.file cannot be used: {wrong}"));
    let said = error("[flow]\nfile = \"none/flow.toml\"");
    assert!(
        said.starts_with("tienda.toml:2: flow.file cannot be used: cannot read the flow file none/flow.toml: "),
        "{said}"
    );
}

#[test]
fn forwarded_states_need_a_topic_that_is_none_of_ours() {
    let kafka = "[log]\nurl = \"kafka://a:9092\"\n[topics]\n";
    for ours in ["compra_detalle", "compra_confirmada", "compra_dead_letters", "encargo_ids"] {
        let said = error(&format!("{kafka}forward_states = \"{ours}\""));
        assert!(said.starts_with("tienda.toml:4: topics.forward_states must be"), "{said}");
    }
    for ours in ["orders", "states", "dead", "ids"] {
        let said = error(&format!("{kafka}forward_states = \"theirs\"\n{ours} = \"theirs\""));
        assert!(said.starts_with("tienda.toml:4: topics.forward_states must be"), "{said}");
    }
    let config = file(&format!("{kafka}states = \"ours\"\nforward_states = \"compra_confirmada\"")).unwrap();
    assert_eq!(config.topics.forward_states.as_deref(), Some("compra_confirmada"));
    assert_eq!(file(&format!("{kafka}forward_states = \"\"")).unwrap().topics.forward_states, None);
    insta::assert_snapshot!(error("[topics]\nforward_states = \"theirs\""), @"tienda.toml:2: topics.forward_states is for old services on Kafka: set log.url to kafka://HOST:PORT");
}

#[test]
fn a_file_with_a_password_that_others_may_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("encargo.toml");
    for (text, mode, told) in [
        ("mail.password = \"geheim\"", 0o644, true),
        ("store.url = \"postgres://encargo:geheim@db.example/encargo\"", 0o640, true),
        ("mail.password = \"geheim\"", 0o600, false),
        ("mail.from = \"pedidos@shop.example\"", 0o644, false),
    ] {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let mut layers = Layers::defaults();
        layers.file(&path, text).unwrap();
        let said = others_read_secrets(&path, &layers);
        assert_eq!(said.as_ref().is_some_and(|said| said.contains("chmod 600")), told, "{text} {mode:o}: {said:?}");
        assert!(!said.unwrap_or_default().contains("geheim"));
    }
}
