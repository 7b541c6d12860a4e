use std::time::Duration;

use super::*;
use crate::{
    domain::Step,
    eventlog::{
        TopicSpec,
        sqlite::{Options, SqliteLog},
    },
};

const TOPIC: &str = "encargo_flows";

struct Bench {
    log: Arc<dyn EventLog>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&folder.path().join("log.db"), Options::default()).unwrap();
        log.create(&TopicSpec { name: TOPIC.into(), partitions: 1 }).unwrap();
        Self { log: Arc::new(log), _folder: folder }
    }

    async fn publish(&self, flow: &Flow, is_numbered: bool) -> Result<(Versions, Arc<str>), Error> {
        let configured = Configured { flow: flow.clone(), from: "kitchen.toml of slot 0".into(), is_numbered };
        publish(self.log.clone(), TOPIC, configured, Timestamp::default()).await
    }

    async fn write(&self, key: Option<&str>, value: &str) {
        let key = key.map(|key| key.as_bytes().to_vec());
        let (value, headers, at) = (value.as_bytes().to_vec(), Headers::default(), Timestamp::default());
        let record = NewRecord { topic: TOPIC.into(), partition: Some(0), key, value, headers, at };
        self.log.append(vec![record]).await.unwrap();
    }

    fn records(&self) -> u64 {
        self.log.topic(TOPIC).unwrap().unwrap().partitions[0].end
    }
}

fn flow(seconds: u64) -> Flow {
    Flow::new(vec![Step::timer("a", Duration::from_secs(seconds)), Step::timer("b", Duration::ZERO)]).unwrap()
}

#[tokio::test]
async fn a_version_is_written_once_and_read_back() {
    let bench = Bench::new();
    let (versions, id) = bench.publish(&flow(8), true).await.unwrap();
    assert_eq!((&*id, versions.get("default@1").map(|known| (**known).clone())), ("default@1", Some(flow(8))));
    bench.publish(&flow(8), true).await.unwrap();
    assert_eq!(bench.records(), 1);
    let (versions, _) = bench.publish(&flow(9).with_version(2), true).await.unwrap();
    assert_eq!(versions.newest("default").map(|flow| flow.version()), Some(2));
    assert_eq!(versions.all().iter().map(|flow| flow.version()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((versions.get("default@3"), versions.newest("other")), (None, None));
}

#[tokio::test]
async fn one_version_with_other_content_is_refused_with_both_places() {
    let bench = Bench::new();
    bench.publish(&flow(8), true).await.unwrap();
    let error = bench.publish(&flow(9), true).await.unwrap_err();
    insta::assert_snapshot!(error, @"kitchen.toml of slot 0 and encargo_flows/0 at offset 0 (from kitchen.toml of slot 0) differ in what version 1 of the flow default is, and one version cannot mean two things: give the changed flow a higher version");
    assert_eq!(bench.records(), 1);
}

#[tokio::test]
async fn settings_that_change_get_the_next_number() {
    let bench = Bench::new();
    for (seconds, id, records) in [(8, "default@1", 1), (8, "default@1", 1), (9, "default@2", 2), (8, "default@3", 3)] {
        let (versions, known) = bench.publish(&flow(seconds), false).await.unwrap();
        assert_eq!((&*known, bench.records()), (id, records));
        assert_eq!(versions.get(&known).map(|known| known.fingerprint()), Some(flow(seconds).fingerprint()));
    }
}

#[tokio::test]
async fn of_two_that_write_one_version_the_first_counts() {
    let bench = Bench::new();
    bench.write(Some("default@1"), &flow(8).to_json()).await;
    bench.write(Some("default@1"), &flow(9).to_json()).await;
    let versions = load(bench.log.as_ref(), TOPIC).unwrap();
    assert_eq!(versions.get("default@1").map(|known| (**known).clone()), Some(flow(8)));
    assert!(matches!(bench.publish(&flow(9), true).await, Err(Error::Conflict { offset: 0, .. })));
    bench.publish(&flow(8), true).await.unwrap();
}

#[tokio::test]
async fn what_is_no_version_is_left_out_and_what_is_newer_is_refused() {
    let bench = Bench::new();
    for (key, value) in [
        (None, flow(8).to_json()),
        (Some("default@2"), flow(8).to_json()),
        (Some("default@1"), "{\"name\":\"x\",\"version\":1}".into()),
        (Some("default@1"), "not JSON".into()),
        (Some(""), String::new()),
    ] {
        bench.write(key, &value).await;
    }
    assert!(load(bench.log.as_ref(), TOPIC).unwrap().all().is_empty());
    bench.write(Some("default@1"), &flow(8).to_json().replacen('{', "{\"colour\":\"red\",", 1)).await;
    insta::assert_snapshot!(load(bench.log.as_ref(), TOPIC).unwrap_err(), @"the flow in encargo_flows/0 at offset 5 was written by a newer Encargo: upgrade this one (flow: unknown field `colour`, expected one of `name`, `version`, `dwell`, `step`, `cancelled`, `refused` at line 1 column 9)");
}

#[test]
fn without_a_topic_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&folder.path().join("log.db"), Options::default()).unwrap();
    assert!(load(&log, TOPIC).unwrap().all().is_empty());
}
