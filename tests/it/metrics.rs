//! Metrics are documented one and all; a real Prometheus reads them, and finds what the dashboard and the alerts ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use encargo::{domain::wire::Headers, eventlog::NewRecord};
use serde_json::Value;

use crate::harness::{
    PATIENCE,
    app::TestApp,
    eventually, free_ports,
    process::{Process, end, output},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DOCUMENT: &str = "docs/metrics.md";
/// Between these lines stands what is made here.
const BEGIN: &str = "<!-- from here on made by the test metrics::all_are_documented -->\n";
/// What only a build with the feature `otlp` tells.
const OF_OTLP: &str = "| `encargo_spans_total` |";
/// Labels whose values depend on the deployment, or are many.
const OPEN_LABELS: [&str; 7] = ["estado", "group", "le", "partition", "producer", "topic", "version"];

/// What a text of metrics tells of one.
#[derive(Default)]
struct Family<'a> {
    help: &'a str,
    kind: &'a str,
    labels: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

/// The metrics of a text in Prometheus' own format.
fn families(text: &str) -> BTreeMap<&str, Family<'_>> {
    let mut families = BTreeMap::<&str, Family>::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name).or_default().help = help;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name).or_default().kind = kind;
        } else if let Some((name, rest)) = line.split_once('{') {
            let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            let Some(family) = families.get_mut(name) else { continue };
            let labels = rest.rsplit_once('}').expect("labels end").0;
            for (label, value) in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
                family.labels.entry(label).or_default().insert(value.trim_end_matches('"'));
            }
        }
    }
    families
}

fn table(families: &BTreeMap<&str, Family>) -> String {
    let mut table = "| metric | type | labels | what it tells |\n|---|---|---|---|\n".to_owned();
    for (name, Family { help, kind, labels }) in families {
        let label = |(label, values): (&&str, &BTreeSet<&str>)| match OPEN_LABELS.contains(label) {
            true if *label == "le" => None,
            true => Some(format!("`{label}`")),
            false => Some(format!("`{label}`: {}", values.iter().copied().collect::<Vec<_>>().join(", "))),
        };
        let labels: Vec<_> = labels.iter().filter_map(label).collect();
        let (labels, help) = (labels.join("; "), help.trim_end_matches('.'));
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    table
}

/// The metrics of a process with all roles that has done something.
async fn told() -> String {
    // nobody is there, which is no matter
    let exports: &[_] = if cfg!(feature = "otlp") { &[("telemetry.otlp", "http://127.0.0.1:9")] } else { &[] };
    let mut app = TestApp::start_with(exports).await;
    let id = app.place("1010", "ana@example.org").await["orderid"].as_u64().unwrap();
    app.in_state(id, "recibido").await;
    let misfits = [
        "no JSON",
        "{}",
        r#"{"orderid":"1"}"#,
        r#"{"orderid":0,"gameid":"1","name":"n","price":"1","usermail":"ana@example.org"}"#,
        r#"{"orderid":1,"gameid":"1","name":"another","price":"1","usermail":"ana@example.org"}"#,
    ];
    let record = |value: &str| NewRecord {
        topic: app.config.topics.orders.clone(),
        partition: None,
        key: Some(b"1".to_vec()),
        value: value.into(),
        headers: Headers::default(),
        at: app.clock.now(),
    };
    app.app().log().append(misfits.map(record).into()).await.unwrap();
    let text = eventually("each fault is counted", async || {
        app.clock.advance(Duration::from_secs(1));
        let text = app.http.get(app.ops("/metrics")).send().await.unwrap().text().await.unwrap();
        let counted = text.lines().filter(|line| line.starts_with("encargo_records_refused_total{")).count();
        if counted == misfits.len() { Ok(text) } else { Err(format!("{counted} of {}", misfits.len())) }
    })
    .await;
    app.stop().await;
    text
}

/// `ENCARGO_UPDATE_DOCS=1 cargo test --test it metrics::` writes the table anew.
#[tokio::test(flavor = "multi_thread")]
async fn all_are_documented() {
    let text = told().await;
    let families = families(&text);
    let path = Path::new(ROOT).join(DOCUMENT);
    let is = || fs::read_to_string(&path).unwrap();
    let document = is();
    let (head, _) = document.split_once(BEGIN).unwrap_or_else(|| panic!("{DOCUMENT} has no line {BEGIN}"));
    let expected = format!("{head}{BEGIN}\n{}", table(&families));
    if std::env::var_os("ENCARGO_UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let without = |line: &&str| cfg!(feature = "otlp") || !line.contains(OF_OTLP);
    assert!(
        is().lines().filter(without).eq(expected.lines()),
        "{DOCUMENT} is not what the program tells; write it anew with ENCARGO_UPDATE_DOCS=1:\n{expected}"
    );
    let unexplained: Vec<_> =
        families.iter().filter(|(_, family)| family.help.is_empty()).map(|(name, _)| name).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

/// Everything that the source registers was seen by the test above.
#[test]
fn what_is_registered_is_documented() {
    let document = fs::read_to_string(Path::new(ROOT).join(DOCUMENT)).unwrap();
    let mut names = BTreeSet::new();
    for path in crate::documents::sources(&Path::new(ROOT).join("src")) {
        let source = fs::read_to_string(&path).unwrap();
        for call in source.split("register(").skip(1) {
            let argument = call.trim_start();
            let name = argument.strip_prefix('"').and_then(|rest| rest.split('"').next());
            names.extend(name.filter(|name| name.starts_with("encargo_")).map(str::to_owned));
        }
    }
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !document.contains(&format!("| `{name}"))).collect();
    assert!(missing.is_empty(), "{DOCUMENT} does not tell of {missing:?}");
}

#[test]
fn prometheus_alerts_speak_when_they_should() {
    let mut promtool = Command::new("promtool");
    let output = output(
        promtool.args(["test", "rules", "alerts.test.yml"]).current_dir(Path::new(ROOT).join("deploy/prometheus")),
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn every_alert_has_a_case() {
    let read = |name| fs::read_to_string(Path::new(ROOT).join("deploy/prometheus").join(name)).unwrap();
    let (rules, cases) = (read("alerts.yml"), read("alerts.test.yml"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let fires = cases
            .split(&format!("alertname: {alert}\n"))
            .skip(1)
            .any(|case| case.trim_start().starts_with("exp_alerts:\n"));
        assert!(fires, "no case has {alert} speak");
    }
}

/// Prometheus in a folder of its own; ended when dropped.
struct Prometheus {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = Path::new(ROOT).join("deploy/prometheus/alerts.yml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
             scrape_configs: [{{job_name: encargo, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let port = free_ports(1);
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .expect("Debian's prometheus is installed");
        Self { child, url: format!("http://127.0.0.1:{port}"), _folder: folder }
    }

    /// The series that answer a question; an error is what it says.
    async fn ask(&self, query: &str) -> Result<Vec<Value>, String> {
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
        let request = reqwest::get(format!("{}/api/v1/query?{form}", self.url));
        let answer: Value = request.await.map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())?;
        match &answer["data"]["result"] {
            Value::Array(series) => Ok(series.clone()),
            _ => Err(answer.to_string()),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every question of the dashboard, and what KEDA is to ask.
fn questions() -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(ROOT).join("deploy/grafana/encargo.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of = |panel: &Value| {
        let title = panel["title"].as_str().unwrap().to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| (title.clone(), target["expr"].as_str().unwrap().to_owned()))
    };
    let fill_in =
        |query: String| query.replace("$__rate_interval", "1m").replace("$job", "encargo").replace("$instance", ".*");
    let guide = fs::read_to_string(Path::new(ROOT).join("docs/elasticity.md")).unwrap();
    let scaled: Vec<_> = guide.lines().filter_map(|line| line.trim().strip_prefix("query: ")).collect();
    assert!(!scaled.is_empty());
    let scaled = scaled.into_iter().map(|query| ("KEDA".to_owned(), query.to_owned()));
    panels.iter().flat_map(of).map(|(title, query)| (title, fill_in(query))).chain(scaled).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_a_real_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(&folder.path().join("data"), &["--dwell", "100ms"]).await;
    let http = reqwest::Client::new();
    let order = serde_json::json!({ "product": "1010", "email": "ana@example.org" });
    let placed: Value =
        http.post(server.url("intake", "/orders")).json(&order).send().await.unwrap().json().await.unwrap();
    let cancel = server.url("tracking", &format!("/orders/{}/cancel", placed["orderid"]));
    eventually("a decision about the order", async || {
        let status = http.post(&cancel).send().await.unwrap().status();
        if status == 404 { Err("the order is not known yet".to_owned()) } else { Ok(()) }
    })
    .await;
    let ops = server.url("ops", "");
    let prometheus = Prometheus::start(ops.strip_prefix("http://").unwrap());
    let questions = questions();
    assert!(questions.len() > 20);
    // a rate wants two looks at what has happened in between, or before the first
    eventually("an answer to every question", async || {
        for (title, query) in &questions {
            let series = prometheus.ask(query).await.map_err(|error| format!("{title}: {query}: {error}"))?;
            if series.is_empty() {
                return Err(format!("{title}: no series: {query}"));
            }
        }
        Ok(())
    })
    .await;
    let up = prometheus.ask("up{job=\"encargo\"} == 1").await.unwrap();
    assert_eq!(up.len(), 1);
    let unhealthy: Value =
        reqwest::get(format!("{}/api/v1/rules", prometheus.url)).await.unwrap().json().await.unwrap();
    let rules = unhealthy["data"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 10 && rules.iter().all(|rule| rule["health"] != "err"), "{unhealthy}");
    let firing = prometheus.ask("ALERTS{alertstate=\"firing\"}").await.unwrap();
    assert!(firing.is_empty(), "{firing:?}");
    assert!(server.terminate().success());
}

/// A scraper that knows nothing but the older format minds nothing in it.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_minds_nothing_in_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics");
    fs::write(&file, told().await).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(fs::File::open(&file).unwrap()).stderr(Stdio::piped());
    let output = end(PATIENCE, &mut promtool);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
