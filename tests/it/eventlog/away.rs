//! A broker of the test's own, which may be stopped and killed.

use std::{path::Path, process::Command};

use encargo::eventlog::kafka::{KafkaLog, Options};

use super::*;
use crate::harness::{free_ports, process::output};

/// One broker, ended when it is dropped.
pub struct Broker {
    folder: tempfile::TempDir,
    port: u16,
    /// More of what `scripts/kafka-local` takes.
    environment: Vec<(&'static str, &'static str)>,
}

impl Broker {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(environment: &[(&'static str, &'static str)]) -> Self {
        let environment = environment.to_vec();
        let broker = Self { folder: tempfile::tempdir().unwrap(), port: free_ports(3), environment };
        broker.script(&["start", "1"]);
        broker
    }

    fn script(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka-local");
        let mut command = Command::new(script);
        command.args(arguments).env("KAFKA_DIR", self.folder.path()).env("KAFKA_PORT", self.port.to_string());
        command.envs(self.environment.iter().copied());
        let output = output(&mut command);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn pid(&self) -> i32 {
        std::fs::read_to_string(self.folder.path().join("n1/pid")).unwrap().trim().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid().to_string()]).status().unwrap().success());
    }

    /// It answers nobody, until it is woken.
    pub fn freeze(&self) {
        self.signal("-STOP");
        let broker = procfs::process::Process::new(self.pid()).unwrap();
        let is_stopped =
            || broker.tasks().unwrap().flatten().all(|task| task.stat().is_ok_and(|stat| stat.state == 'T'));
        // until the thread that takes the signal has its turn, the others go on and answer
        while !is_stopped() {
            std::thread::yield_now();
        }
    }

    pub fn wake(&self) {
        self.signal("-CONT");
    }

    pub fn kill(&self) {
        self.script(&["kill9", "1"]);
    }

    pub fn restart(&self) {
        self.script(&["restart", "1"]);
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its second listener, with TLS and a password.
    #[cfg(feature = "kafka-tls")]
    pub fn secured_address(&self) -> String {
        format!("127.0.0.1:{}", self.port + 2)
    }

    /// A file that goes with that listener.
    #[cfg(feature = "kafka-tls")]
    pub fn tls_file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("tls").join(name)
    }

    pub fn options(&self) -> Options {
        Options {
            brokers: self.address(),
            replication: 1,
            min_insync_replicas: 1,
            retention: Duration::MAX,
            // long enough for a broker that has just started on a busy machine
            message_timeout: Duration::from_secs(20),
            transaction_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_mins(1),
            ..Options::default()
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.folder.path().join("n1/pid")).unwrap_or_default();
        // also when it is frozen, or dead already
        let _ = Command::new("kill").args(["-KILL", pid.trim()]).output();
    }
}

pub fn open(options: Options) -> KafkaLog {
    let log = KafkaLog::open(options).unwrap();
    for topic in ["in", "out"] {
        log.create(&TopicSpec { name: topic.into(), partitions: 1 }).unwrap();
    }
    log
}

/// Appends numbers until one is taken; returns it. Those before may be there or not.
fn append_until_taken(log: &KafkaLog, from: u64) -> u64 {
    let clock = crate::harness::real_clock();
    let ends = clock.monotonic() + PATIENCE;
    let mut number = from;
    loop {
        assert!(clock.monotonic() < ends, "nothing is taken again");
        match wait(log.append(numbered("in", 0, number..number + 1))) {
            Ok(_) => return number,
            Err(Error::Unconfirmed(_)) => {}
            Err(Error::Unavailable(_)) => crate::harness::real_clock().park(Duration::from_millis(20)),
            Err(other) => panic!("{other:?}"),
        }
        number += 1;
    }
}

#[test]
fn kafka_appends_end_in_time_and_go_on_when_the_broker_is_back() {
    let broker = Broker::start();
    let log = open(broker.options());
    let clock = crate::harness::real_clock();
    append(&log, numbered("in", 0, 0..1));

    broker.freeze();
    let begun = clock.monotonic();
    let result = wait(log.append(numbered("in", 0, 1..2)));
    let took = clock.monotonic().saturating_sub(begun);
    assert!(matches!(result, Err(Error::Unconfirmed(_))), "{result:?}");
    let bound = broker.options().message_timeout;
    assert!(took >= bound, "{took:?}");
    broker.wake();
    let mut sure = vec![0, append_until_taken(&log, 2)];

    broker.kill();
    let mut next = sure[1] + 1;
    let ends = clock.monotonic() + PATIENCE;
    loop {
        let result = wait(log.append(numbered("in", 0, next..next + 1)));
        next += 1;
        match result {
            Err(Error::Unavailable(_)) => break, // from now on it is known to be away, and nobody waits
            Err(Error::Unconfirmed(_)) => assert!(clock.monotonic() < ends, "it is never known to be away"),
            other => panic!("{other:?}"),
        }
    }
    broker.restart();
    sure.push(append_until_taken(&log, next));

    let read: Vec<_> = read_all(&log, &part("in", 0), 0).iter().map(number).collect();
    assert!(sure.iter().all(|number| read.contains(number)), "{sure:?} in {read:?}");
    assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "none twice, in order: {read:?}");
}

#[test]
fn kafka_a_commit_without_an_answer_is_unknown_or_aborted_and_a_new_member_knows() {
    let broker = Broker::start();
    let log = open(broker.options());
    append(&log, numbered("in", 0, 0..10));
    let (mut member, _) = join(&log, "g", &["in"]);
    commit(&mut *member, &numbered("out", 0, 0..1), &[offset("in", 0, 1, "")]);
    broker.freeze();
    let outcome = member.commit(&numbered("out", 0, 1..2), &[offset("in", 0, 2, "")]);
    assert!(matches!(outcome, Outcome::Unknown(_) | Outcome::Aborted(_)), "{outcome:?}");
    broker.wake();
    drop(member);
    let (mut member, assigned) = join(&log, "g", &["in"]);
    let written = read_all(&log, &part("out", 0), 0).len() as u64;
    assert_eq!(assigned, [offset("in", 0, written, "")], "outputs and offset agree");
    if matches!(outcome, Outcome::Aborted(_)) {
        assert_eq!(written, 1);
    }
    commit(&mut *member, &numbered("out", 0, 2..3), &[offset("in", 0, 3, "")]);
}

#[test]
fn kafka_one_broker_with_the_defaults_of_three_is_told_to_be_that() {
    let broker = Broker::start_with(&[(
        "KAFKA_EXTRA",
        "transaction.state.log.replication.factor=3 transaction.state.log.min.isr=2",
    )]);
    let told = |error: Error| match error {
        Error::Unavailable(text) => assert!(
            text.contains("transaction.state.log.replication.factor is 3")
                && text.contains("replication.factor=1 and transaction.state.log.min.isr=1"),
            "{text}"
        ),
        other => panic!("{other:?}"),
    };
    let log = open(Options { transaction_timeout: Duration::from_secs(2), ..broker.options() });
    told(log.check_brokers_own().unwrap_err());
    told(log.join("g", &["in"], 0, MemberMode::Outputs).map(drop).unwrap_err());
}

#[test]
fn kafka_a_broker_that_names_itself_wrongly_is_named() {
    let broker = Broker::start_with(&[("KAFKA_EXTRA", "advertised.listeners=PLAINTEXT://kafka.invalid:9092")]);
    let options = Options { request_timeout: Duration::from_secs(3), ..broker.options() };
    let said = KafkaLog::open(options).map(drop).unwrap_err().to_string();
    assert!(said.contains("kafka.invalid:9092") && said.contains("advertised.listeners"), "{said}");
}
