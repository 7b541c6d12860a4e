//! Forwarding without a broker: where it begins, what it writes, and what it leaves alone.

use std::{sync::Arc, thread::JoinHandle};

use encargo::{
    domain::{StateEvent, Timestamp, wire},
    env::Env,
    eventlog::{
        self, EventLog, GroupOffset, MemberEvent, MemberMode, NewRecord, Outcome, TopicSpec,
        sqlite::{Options, SqliteLog},
    },
    forward::{self, Forward},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{eventlog::part, harness::PATIENCE};

/// Two topics, and what forwards from one to the other.
struct Shop {
    _folder: TempDir,
    log: Arc<SqliteLog>,
}

struct Running {
    stop: CancellationToken,
    thread: JoinHandle<eventlog::Result<()>>,
}

impl Shop {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = SqliteLog::open(&folder.path().join("log.db"), Options::default()).unwrap();
        for name in ["ours", "theirs"] {
            log.create(&TopicSpec { name: name.into(), partitions: 1 }).unwrap();
        }
        Self { _folder: folder, log: Arc::new(log) }
    }

    fn start(&self) -> Running {
        let options =
            forward::Options { from: "ours".into(), to: "theirs".into(), tracking: "tracking".into(), slot: 0 };
        let env = Env::real(crate::harness::real_clock());
        let forward = Forward::new(self.log.clone(), env, options, Arc::new(|_, _| Ok(true)), Handle::current());
        let stop = CancellationToken::new();
        let token = stop.clone();
        Running { stop, thread: std::thread::spawn(move || forward.run(&token)) }
    }

    async fn write(&self, topic: &str, value: &[u8], headers: wire::Headers) {
        let record = NewRecord {
            topic: topic.into(),
            partition: Some(0),
            key: Some(b"1".to_vec()),
            value: value.to_vec(),
            headers,
            at: Timestamp::default(),
        };
        self.log.append(vec![record]).await.unwrap();
    }

    /// A state as fulfilment writes it.
    async fn state(&self, seq: u8) {
        let event = event(seq);
        self.write("ours", &wire::encode_event(&event), wire::event_headers(&event)).await;
    }

    /// The group has read so far.
    fn stand(&self, group: &str, offset: u64) {
        let mut member = self.log.join(group, &["ours"], 0, MemberMode::Offsets).unwrap();
        assert!(matches!(member.next(PATIENCE).unwrap(), MemberEvent::Assigned(_)));
        let offset = GroupOffset { tp: part("ours", 0), offset, metadata: String::new() };
        assert!(matches!(member.commit(&[], &[offset]), Outcome::Committed(_)));
    }

    /// What old readers are told, once there is as much.
    async fn told(&self, count: usize) -> Vec<Value> {
        crate::harness::eventually("forwarded states", async || {
            let mut reader = self.log.read(&part("theirs", 0), 0).map_err(|e| e.to_string())?;
            let records = reader.next(100).map_err(|e| e.to_string())?;
            if records.len() < count {
                return Err(format!("{} records", records.len()));
            }
            assert!(records.iter().all(|record| wire::is_forwarded(&record.headers)));
            Ok(records.iter().map(|record| serde_json::from_slice(&record.value).unwrap()).collect())
        })
        .await
    }
}

impl Running {
    fn end(self) {
        self.stop.cancel();
        self.thread.join().unwrap().unwrap();
    }
}

fn event(seq: u8) -> StateEvent {
    let estado = ["recibido", "preparando", "entregando", "finalizado"][usize::from(seq) - 1];
    let value = json!({
        "orderid": 1, "gameid": "1010", "name": "Ñandú", "price": "12.50", "usermail": "ana@example.org",
        "estado": estado, "seq": seq, "at": "2026-11-23T21:06:41Z", "lang": "es",
    });
    wire::decode_event(value.to_string().as_bytes(), &wire::Headers::default(), Timestamp::default()).unwrap()
}

fn old(estado: &str) -> Value {
    json!({
        "orderid": 1, "gameid": "1010", "name": "Ñandú", "price": "12.50", "usermail": "ana@example.org",
        "estado": estado,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_the_six_old_fields_once_over_a_restart_and_passes_over_what_is_none() {
    let shop = Shop::open();
    shop.state(1).await;
    let first = shop.start();
    assert_eq!(shop.told(1).await, [old("recibido")]);
    first.end();

    shop.write("ours", b"no state\xff", wire::Headers::default()).await;
    // what another process forwards to here is not forwarded again, or the two would go on for ever
    shop.write("ours", &wire::encode_old_event(&event(4)), wire::forwarded_headers(&event(4))).await;
    shop.state(2).await;
    let second = shop.start();
    assert_eq!(shop.told(2).await, [old("recibido"), old("preparando")]);
    second.end();
    assert_eq!(shop.told(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_begins_where_tracking_stands_and_keeps_to_that() {
    let shop = Shop::open();
    shop.state(1).await;
    shop.state(2).await;
    shop.stand("tracking", 1);
    let first = shop.start();
    assert_eq!(shop.told(1).await, [old("preparando")]);
    first.end();

    // tracking runs ahead while nothing is forwarded
    shop.state(3).await;
    shop.stand("tracking", 3);
    let second = shop.start();
    assert_eq!(shop.told(2).await, [old("preparando"), old("entregando")]);
    second.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_deleted_does_not_end_it() {
    let shop = Shop::open();
    shop.state(1).await;
    let first = shop.start();
    assert_eq!(shop.told(1).await, [old("recibido")]);
    first.end();

    shop.state(2).await;
    shop.state(3).await;
    shop.log.delete_before(&part("ours", 0), 2).unwrap();
    let second = shop.start();
    assert_eq!(shop.told(2).await, [old("recibido"), old("entregando")]);
    second.end();
}
