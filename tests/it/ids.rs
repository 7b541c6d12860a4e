//! Order ids: 1, 2, 3, …, never a repeat, in blocks under load.

use std::{collections::HashSet, sync::Arc, time::Duration};

use encargo::{
    clock::Clock,
    domain::Timestamp,
    eventlog::{Error, EventLog, TopicPartition, TopicSpec},
    faults::{Fault, FaultyLog},
    intake::ids::{self, Ids},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    harness::PATIENCE,
    support::{
        faulty::Script,
        shop::{self, Shop},
    },
};

const TOPIC: &str = "encargo_ids";

struct Bench {
    ids: Ids,
    log: Arc<FaultyLog>,
    faults: Arc<Script>,
    clock: Clock,
    stop: CancellationToken,
    refill: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = shop::open_log(folder.path());
        log.create(&TopicSpec { name: TOPIC.into(), partitions: 1 }).unwrap();
        let clock = Clock::manual(Timestamp::from_millis(0));
        let faults = Script::of_appends_to(TOPIC);
        let log = Arc::new(FaultyLog::new(Arc::new(log), faults.clone(), clock.clone()));
        clock.advance(Duration::from_hours(1));
        let ids = Ids::new(log.clone(), clock.clone(), TOPIC.into());
        let stop = CancellationToken::new();
        let refill = tokio::spawn(ids.clone().refill(stop.clone()));
        Self { ids, log, faults, clock, stop, refill, _folder: folder }
    }

    async fn take(&self, count: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.ids.take().await.unwrap().get());
        }
        taken
    }

    fn records(&self) -> u64 {
        let topics = self.log.topics().unwrap();
        topics.iter().find(|topic| topic.name == TOPIC).unwrap().partitions[0].end
    }
}

#[tokio::test]
async fn a_quiet_shop_takes_one_at_a_time() {
    let bench = Bench::start();
    for id in 1..=5 {
        assert_eq!(bench.take(1).await, [id]);
        assert_eq!(bench.records(), id, "no id is fetched ahead");
        bench.clock.advance(Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_quiet_shop_counts_on_over_a_restart() {
    let mut shop = Shop::start().await;
    for _ in 0..3 {
        shop.clock.advance(Duration::from_secs(2));
        shop.form("value=1").send().await.unwrap();
        shop = shop.restart().await;
    }
    assert_eq!(shop.ids(), [1, 2, 3]);
}

#[tokio::test]
async fn load_makes_blocks_and_quiet_ends_them() {
    let bench = Bench::start();
    // the clock stands: all of this is at once
    let taken = bench.take(3_000).await;
    assert_eq!(taken, (1..=3_000).collect::<Vec<_>>());
    let fetched = bench.records();
    assert!(fetched > 3_000 && fetched <= 3_000 + 2 * 1_024, "{fetched} were fetched");
    // what is left is used first, later one at a time again
    let mut next = 3_001;
    while next <= fetched {
        bench.clock.advance(Duration::from_secs(2));
        assert_eq!(bench.take(1).await, [next]);
        next += 1;
    }
    for id in next..next + 3 {
        bench.clock.advance(Duration::from_secs(2));
        assert_eq!(bench.take(1).await, [id]);
        assert_eq!(bench.records(), id);
    }
}

#[tokio::test]
async fn many_at_once_get_different_ids_without_a_gap() {
    let bench = Bench::start();
    let tasks: Vec<_> = (0..500)
        .map(|_| {
            let ids = bench.ids.clone();
            tokio::spawn(async move { ids.take().await.unwrap().get() })
        })
        .collect();
    let mut taken = HashSet::new();
    for task in tasks {
        taken.insert(task.await.unwrap());
    }
    assert_eq!(taken, (1..=500).collect());
}

#[tokio::test]
async fn an_id_that_came_back_is_the_next() {
    let bench = Bench::start();
    let first = bench.ids.take().await.unwrap();
    bench.ids.put_back(first);
    assert_eq!(bench.ids.take().await.unwrap(), first);
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.take(1).await, [2]);
}

#[tokio::test]
async fn who_waits_hears_of_a_failure_and_the_next_one_succeeds() {
    let bench = Bench::start();
    bench.faults.then(Fault::Refused(Error::Overloaded(9)));
    assert!(matches!(bench.ids.take().await, Err(ids::Error::Overloaded)));
    bench.clock.advance(Duration::from_secs(2));
    bench.faults.then(Fault::Unanswered(Error::Unconfirmed("no answer".into())));
    assert!(matches!(bench.ids.take().await, Err(ids::Error::Unavailable(_))));
    bench.clock.advance(Duration::from_secs(2));
    // the lost one leaves a gap, never a repeat
    assert_eq!(bench.take(1).await, [2]);
}

#[tokio::test]
async fn used_records_are_deleted() {
    let mut bench = Bench::start();
    let partition = TopicPartition { topic: TOPIC.into(), partition: 0 };
    let taken = bench.take(205_000).await;
    assert_eq!(taken.last(), Some(&205_000));
    bench.stop.cancel();
    (&mut bench.refill).await.unwrap();
    let kept_from = |log: &FaultyLog| log.topics().unwrap()[0].partitions[0].start;
    let deadline = async {
        while kept_from(&bench.log) < 100_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, deadline).await.expect("old records must be deleted");
    assert!(kept_from(&bench.log) < bench.records());
    assert!(matches!(bench.log.read(&partition, 0), Err(Error::Trimmed { .. })));
    assert!(matches!(bench.ids.take().await, Err(ids::Error::Stopping)), "stopped");
}

/// Two intakes on one cluster.
#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn kafka_intakes_share_the_ids() {
    let cluster = crate::eventlog::kafka::Cluster::one();
    let stop = CancellationToken::new();
    let mut takers = Vec::new();
    for _ in 0..2 {
        let log = cluster.kafka();
        let log = tokio::task::spawn_blocking(move || {
            log.create(&TopicSpec { name: TOPIC.into(), partitions: 1 }).unwrap();
            Arc::new(log)
        });
        let ids = Ids::new(log.await.unwrap(), crate::harness::real_clock(), TOPIC.into());
        tokio::spawn(ids.clone().refill(stop.clone()));
        takers.extend((0..8).map(|_| {
            let ids = ids.clone();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                for _ in 0..100 {
                    taken.push(ids.take().await.unwrap().get());
                }
                taken
            })
        }));
    }
    let mut all = HashSet::new();
    for taker in takers {
        let taken = taker.await.unwrap();
        assert!(taken.windows(2).all(|pair| pair[0] < pair[1]), "one taker's ids grow");
        all.extend(taken);
    }
    assert_eq!(all.len(), 1_600, "no id twice");
    assert!(all.contains(&1), "they begin at 1");
    stop.cancel();
}
