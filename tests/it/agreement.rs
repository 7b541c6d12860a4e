//! A store and a log that do not belong together are refused, at every start and before anything is written; what belongs
//! together runs, and a log that is accepted by a person goes on with numbers that nobody has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use encargo::{
    config::Config,
    eventlog::{EventLog as _, TopicPartition, sqlite::SqliteLog},
    store::{
        Marks as _,
        sqlite::{Options, SqliteStore},
    },
};

use crate::harness::{
    PATIENCE,
    app::{TestApp, is_in_use},
    process::{Process, end, output, read_log},
    real_clock,
};

/// As often as a supervisor would start it before somebody looks.
const STARTS: usize = 4;

/// What is put in the place of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    /// A copy of before the last orders.
    Older,
    /// That copy, after it went on by itself, longer than the one that was lost.
    OlderGrown,
    /// The log of another shop, longer than ours.
    Another,
    /// None.
    Nothing,
}

/// The files of the log: itself, and what SQLite keeps beside it.
fn log_files(data: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log.db")).collect()
}

fn replace_log(data: &Path, by: Option<&Path>) {
    for path in log_files(data) {
        fs::remove_file(path).unwrap();
    }
    if let Some(by) = by {
        copy_log(by, data);
    }
}

fn copy_log(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in log_files(from) {
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Places orders, one after the other, until each can be looked up; the last one's number.
async fn place(app: &TestApp, count: u64) -> u64 {
    let mut last = 0;
    for _ in 0..count {
        app.clock.advance(Duration::from_secs(2)); // numbers are given one by one while orders are rare
        last = app.place("1010", "ana@example.org").await["orderid"].as_u64().unwrap();
        app.in_state(last, "recibido").await;
    }
    last
}

/// Every partition with its end.
fn ends(data: &Path) -> Vec<(String, Vec<u64>)> {
    let topics = SqliteLog::open_read_only(&data.join("log.db")).unwrap().topics().unwrap();
    topics.into_iter().map(|topic| (topic.name, topic.partitions.iter().map(|range| range.end).collect())).collect()
}

/// A start that is refused for what it reads; what it logged.
fn refused_once(data: &Path) -> String {
    let clock = real_clock();
    let ends_at = clock.monotonic() + PATIENCE;
    loop {
        let _ = fs::remove_file(data.with_extension("log"));
        let Output { status, .. } = end(PATIENCE, &mut Process::command(data, &[]));
        let said = read_log(data);
        assert_eq!(status.code(), Some(1), "{said}");
        if !is_in_use(&said) || clock.monotonic() > ends_at {
            return said;
        }
    }
}

/// Starts that must be refused, every time in the same words, with nothing written.
fn refused(app: &TestApp) -> String {
    let data = &app.config.data;
    let mut before = None; // a log that is not there is made
    let mut all: Vec<String> = (0..STARTS)
        .map(|_| {
            let said = refused_once(data);
            let ends = ends(data);
            assert_eq!(before.get_or_insert_with(|| ends.clone()), &ends, "something was written");
            said.lines().skip_while(|line| !line.starts_with("error: ")).collect::<Vec<_>>().join("\n")
        })
        .collect();
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// A person accepts the log; what is said.
fn accept(app: &TestApp) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encargo"));
    let Output { status, stderr, .. } = output(command.args(["log", "accept", "--data"]).arg(&app.config.data));
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.success(), "{said}");
    said
}

/// Another shop, with the log that `put` names.
async fn log_of(put: Put, older: &Path, lost: u64) -> Option<TestApp> {
    if matches!(put, Put::Older | Put::Nothing) {
        return None;
    }
    let mut other = TestApp::start().await;
    if put == Put::OlderGrown {
        other.stop().await;
        replace_log(&other.config.data, Some(older));
        // with a store that knows nothing, which is fine
        fs::remove_file(other.config.data.join("store.db")).unwrap();
        other.start_again().await;
    }
    place(&other, lost + 3).await;
    other.stop().await;
    Some(other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_the_stores_is_refused_at_every_start() {
    for put in [Put::Older, Put::OlderGrown, Put::Another, Put::Nothing] {
        for (before, lost) in [(1, 1), (3, 6)] {
            let mut app = TestApp::start().await;
            let data = app.config.data.clone();
            let [older, newer] = ["older", "newer"].map(|name| app.folder().join(name));
            place(&app, before).await;
            app.stop().await;
            copy_log(&data, &older);
            app.start_again().await;
            let last = place(&app, lost).await;
            app.stop().await;
            copy_log(&data, &newer);

            let other = log_of(put, &older, before + lost).await;
            let by = match put {
                Put::Older => Some(&older),
                Put::Nothing => None,
                Put::OlderGrown | Put::Another => other.as_ref().map(|other| &other.config.data),
            };
            replace_log(&data, by.map(|path| &**path));
            let said = refused(&app);
            for word in ["encargo log accept", "fresh store", "put back the log"] {
                assert!(said.contains(word), "{put:?}: {said}");
            }

            // the right one comes back
            replace_log(&data, Some(&newer));
            app.start_again().await;
            assert_eq!(place(&app, 1).await, last + 1, "{put:?}");
            app.stop().await;

            // or never, and a person decides so
            replace_log(&data, by.map(|path| &**path));
            refused(&app);
            assert!(accept(&app).contains("The next order is number "), "{put:?}");
            assert!(accept(&app).contains("Nothing to do"), "{put:?}");
            app.start_again().await;
            let eva = app.place("1010", "eva@example.org").await["orderid"].as_u64().unwrap();
            assert!(eva > last + 1, "{put:?}: number {eva} was given out before");
            assert_eq!(app.in_state(eva, "recibido").await["usermail"], "eva@example.org");
            app.stop().await;
            app.start_again().await;
            app.stop().await;
        }
    }
}

fn store_of(config: &Config) -> SqliteStore {
    SqliteStore::open(&config.data.join("store.db"), Options::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn order_numbers_that_were_given_out_are_known_before_their_orders_are() {
    let mut app = TestApp::start().await;
    let last = place(&app, 2).await;
    app.stop().await;
    let ids = TopicPartition { topic: app.config.topics.ids.clone(), partition: 0 };
    let known = store_of(&app.config).marks().await.unwrap();
    assert!(known.iter().any(|mark| mark.tp == ids && mark.offset == last), "{known:?}");
    // as if the log had been put back to before an order that was not projected yet
    store_of(&app.config).note_ids(&ids, last + 3).await.unwrap();
    let said = refused(&app);
    assert!(said.contains(&format!("encargo_ids/0 was seen up to {} and ends at {last}", last + 3)), "{said}");
    assert!(accept(&app).contains(&format!("The next order is number {}.", last + 4)));
    app.start_again().await;
    assert_eq!(place(&app, 1).await, last + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_an_older_version_is_taken_over_and_watched_from_then_on() {
    let mut app = TestApp::start().await;
    place(&app, 2).await;
    app.stop().await;
    let older = app.folder().join("older");
    copy_log(&app.config.data, &older);
    app.start_again().await;
    place(&app, 2).await;
    app.stop().await;
    let forget = || {
        let conn = rusqlite::Connection::open(app.config.data.join("store.db")).unwrap();
        let forget = "UPDATE projected SET print = NULL; DELETE FROM projected WHERE group_name = 'encargo-intake'";
        conn.execute_batch(forget).unwrap();
    };
    forget();
    app.start_again().await;
    assert_eq!(place(&app, 1).await, 5);
    app.stop().await;
    replace_log(&app.config.data, Some(&older));
    assert!(refused(&app).contains("ends at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_store_takes_an_old_log() {
    let mut app = TestApp::start().await;
    let last = place(&app, 3).await;
    app.stop().await;
    fs::remove_file(app.config.data.join("store.db")).unwrap();
    app.start_again().await;
    app.in_state(last, "recibido").await;
    assert_eq!(place(&app, 1).await, last + 1);
}

#[cfg(feature = "kafka")]
mod on_kafka {
    use rdkafka::{
        ClientConfig,
        admin::{AdminClient, AdminOptions},
        client::DefaultClientContext,
    };

    use crate::{
        harness::{cluster::Cluster, eventually},
        roles::{finished, place},
    };

    async fn delete(cluster: &Cluster, topic: &str) {
        let brokers = cluster.config().log_url().to_string();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers.trim_start_matches("kafka://"));
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        for result in admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap() {
            result.unwrap();
        }
        let log = cluster.log();
        eventually("the topic goes", async || match log.topic(topic) {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_topic_that_was_made_anew_is_refused_until_it_is_accepted() {
        let cluster = Cluster::prepare(&[("log.replication", "1"), ("log.min_insync", "1")]).await;
        let topics = cluster.config().topics;
        let mut last = 0;
        for topic in [&topics.states, &topics.ids] {
            let up = cluster.start("up", 0).await;
            for _ in 0..3 {
                let placed = place(&up, "ana@example.org").await;
                finished(&up, &placed["orderid"]).await;
                last = placed["orderid"].as_u64().unwrap();
            }
            assert!(up.terminate().success());
            delete(&cluster, topic).await;
            if *topic == topics.states {
                delete(&cluster, &topics.orders).await; // what fulfilment has done is in the other
            }
            cluster.run(&["log", "init"]);
            for role in ["intake", "tracking", "up"].repeat(2) {
                let refused = cluster.output(&[role]);
                let said = String::from_utf8_lossy(&refused.stderr);
                assert!(!refused.status.success(), "{role} runs");
                assert!(said.contains(topic.as_str()) && said.contains("encargo log accept"), "{said}");
            }
            let accepted = cluster.output(&["log", "accept"]);
            let said = String::from_utf8_lossy(&accepted.stderr);
            assert!(accepted.status.success() && said.contains(&format!("number {}", last + 1)), "{said}");
        }
        let up = cluster.start("up", 0).await;
        let placed = place(&up, "eva@example.org").await;
        assert_eq!(placed["orderid"], last + 1);
        assert_eq!(finished(&up, &placed["orderid"]).await["usermail"], "eva@example.org");
    }
}
