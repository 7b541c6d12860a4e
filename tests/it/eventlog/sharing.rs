//! What only a cluster does.

use super::{
    kafka::{Cluster, ONE},
    named::Named,
    rebalancing::{Player, until},
    *,
};
use encargo::eventlog::kafka::{KafkaLog, Options};

const STEP: Duration = Duration::from_millis(50);

/// A log whose members stay in their group, also on a slow machine. Some tests wait for a session to end.
fn cluster() -> Cluster {
    Cluster::one().with(|options| {
        options.session_timeout = Duration::from_secs(15);
    })
}

fn open(cluster: &Cluster) -> Named<KafkaLog> {
    let log = cluster.kafka();
    log.create(&TopicSpec { name: "in".into(), partitions: 4 }).unwrap();
    log.create(&TopicSpec { name: "out".into(), partitions: 4 }).unwrap();
    log
}

/// Two members under one slot. The second gets in only when it starts before the first is seen in the group, which a busy
/// machine may take a few tries for.
fn join_unseen(log: &dyn EventLog, rival_log: &dyn EventLog) -> (Player, Player) {
    let join = |log: &dyn EventLog| log.join("g", &["in"], 0, MemberMode::Outputs);
    for _ in 0..10 {
        let first = join(log);
        if let (Ok(first), Ok(rival)) = (first, join(rival_log)) {
            return (Player::of(first), Player::of(rival));
        }
    }
    panic!("the second member never started before the first was seen");
}

#[test]
fn kafka_a_fenced_producer_is_told_and_the_slot_named_when_it_joins_again() {
    let cluster = cluster();
    let log = open(&cluster);
    let rival_log = cluster.kafka();
    let (mut first, mut rival) = join_unseen(&log, &rival_log);
    first.last_words = false; // it is fenced already
    until(&mut [&mut first, &mut rival], "they share", |all| all.iter().all(|player| player.owned.len() == 2));
    let mine = *first.owned.keys().next().unwrap();
    let outcome = first.member.commit(&[record("out", mine, "1")], &[offset("in", mine, 0, "")]);
    assert!(matches!(outcome, Outcome::Aborted(Error::Fenced(_)) | Outcome::Unknown(Error::Fenced(_))), "{outcome:?}");
    assert!(read_all(&log, &part("out", mine), 0).is_empty());
    drop(first);
    until(&mut [&mut rival], "the rival has all", |all| all[0].owned.len() == 4);
    let again = std::thread::scope(|scope| {
        let again = scope.spawn(|| log.join("g", &["in"], 0, MemberMode::Outputs).map(drop));
        while !again.is_finished() {
            rival.step();
        }
        again.join().unwrap()
    });
    assert!(matches!(&again, Err(Error::Fenced(text)) if text.contains("slot 0 of g")), "{again:?}");
}

#[test]
fn kafka_a_static_member_comes_back_to_its_partitions() {
    let cluster = cluster().with(|options| options.static_membership = true);
    let log = open(&cluster);
    append(&log, (0..4).flat_map(|partition| numbered("in", partition, 0..10)).collect());
    let mut stays = Player::join(&log, 0, MemberMode::Outputs);
    let mut restarts = Player::join(&log, 1, MemberMode::Outputs);
    until(&mut [&mut stays, &mut restarts], "they share", |all| all.iter().all(|player| player.owned.len() == 2));
    let before: Vec<u32> = restarts.owned.keys().copied().collect();
    stays.heard.clear();
    drop(restarts);
    let mut restarts = Player::join(&log, 1, MemberMode::Outputs);
    until(&mut [&mut stays, &mut restarts], "it is back", |all| all[1].owned.len() == 2);
    assert_eq!(restarts.owned.keys().copied().collect::<Vec<_>>(), before);
    assert!(stays.heard.is_empty(), "{:?}", stays.heard);
}

/// A static member that was replaced joins again, since it may have replaced itself. Two that are alive go on like that until
/// one gives up.
#[test]
fn kafka_of_two_static_members_under_one_slot_one_gives_up() {
    let cluster = cluster().with(|options| options.static_membership = true);
    let logs = [open(&cluster), cluster.kafka()];
    let join = |log: &Named<KafkaLog>| log.join("g", &["in"], 0, MemberMode::Offsets);
    let mut members = logs.each_ref().map(|log| join(log).unwrap());
    let clock = crate::harness::real_clock();
    let ends = clock.monotonic() + PATIENCE;
    let refused = 'playing: loop {
        assert!(clock.monotonic() < ends, "both live on");
        for (log, member) in logs.iter().zip(&mut members) {
            match member.next(STEP) {
                Ok(_) => {}
                Err(Error::Unavailable(_)) => match join(log) {
                    Ok(again) => *member = again,
                    Err(error) => break 'playing error,
                },
                Err(error) => panic!("{error}"),
            }
        }
    };
    assert!(
        matches!(&refused, Error::Fatal(text) if text.contains("slot 0 of") && text.contains("--slot")),
        "{refused:?}"
    );
}

#[test]
fn kafka_too_many_waiting_appends_are_refused() {
    let cluster = Cluster::one().with(|options| options.waiting_max = 10);
    let log = open(&cluster);
    append(&log, numbered("in", 0, 0..10));
    let full = log.append(numbered("in", 0, 10..20));
    let refused = log.append(numbered("in", 0, 20..21));
    let (full, refused) = (wait(full), wait(refused));
    assert_eq!(full.unwrap().len(), 10);
    if let Err(error) = refused {
        assert!(matches!(error, Error::Overloaded(_)), "{error:?}");
    }
    append(&log, numbered("in", 0, 20..21));
}

#[test]
fn kafka_a_wrong_set_up_says_what_to_do() {
    let refused = |change: fn(&mut Options)| {
        let mut options = Options { request_timeout: Duration::from_secs(2), ..Options::default() };
        options.brokers = std::env::var(ONE).unwrap_or_else(|_| panic!("{ONE} is not set"));
        change(&mut options);
        KafkaLog::open(options).map(drop).unwrap_err()
    };
    let away = refused(|options| options.brokers = "127.0.0.1:1".into());
    assert!(matches!(away, Error::Unavailable(_)), "{away:?}");
    for (name, value) in [("enable.idempotence", "false"), ("acks", "1"), ("no.such.property", "1"), ("linger.ms", "x")]
    {
        let mut options = Options { brokers: std::env::var(ONE).unwrap(), ..Options::default() };
        options.properties.insert(name.into(), value.into());
        let error = KafkaLog::open(options).map(drop).unwrap_err();
        assert!(matches!(&error, Error::Fatal(text) if text.contains(name)), "{name}: {error:?}");
    }
    let copies = refused(|options| options.min_insync_replicas = options.replication + 1);
    assert!(matches!(copies, Error::Fatal(_)), "{copies:?}");
}

#[test]
fn kafka_differences_of_topics_are_told() {
    let cluster = Cluster::one();
    let log = open(&cluster);
    let spec = |name: &str, partitions| TopicSpec { name: format!("{}{name}", log.prefix), partitions };
    let told = |wanted: &[TopicSpec]| -> Vec<(String, String, String, bool)> {
        let differences = log.log.differences(wanted).unwrap();
        differences.into_iter().map(|d| (d.what, d.wanted, d.found, d.refuses)).collect()
    };
    assert_eq!(told(&[spec("in", 4), spec("out", 4)]), []);
    assert_eq!(told(&[spec("in", 6)]), [("partitions".into(), "6".into(), "4".into(), true)]);
    let missing = told(&[spec("none", 3)]);
    assert!(missing.len() == 1 && missing[0].0 == "missing" && missing[0].3, "{missing:?}");
    let other = cluster.with(|options| options.retention = Duration::from_mins(1));
    let differences = other.kafka().log.differences(&[spec("in", 4)]).unwrap();
    assert_eq!(
        (&*differences[0].what, &*differences[0].wanted, differences[0].refuses),
        ("retention.ms", "60000", false)
    );
}
