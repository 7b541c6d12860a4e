//! Real clusters, which `scripts/kafka-local` starts and whose addresses come from the environment.

use std::sync::atomic::{AtomicU32, Ordering};

use encargo::eventlog::kafka::{KafkaLog, Options};

use super::{named::Named, rebalancing::Sharing, *};

/// Where a broker of one node is.
pub const ONE: &str = "ENCARGO_TEST_KAFKA";
/// Where a cluster of three nodes is.
pub const THREE: &str = "ENCARGO_TEST_KAFKA3";

/// Longer than any machine stands still.
const PATIENT: Duration = Duration::from_mins(1);

/// A cluster, and names on it that no other test uses.
#[derive(Clone)]
pub struct Cluster {
    options: Options,
    prefix: String,
}

impl Cluster {
    pub fn one() -> Self {
        Self::at(ONE, 1, 1)
    }

    pub fn three() -> Self {
        Self::at(THREE, 3, 2)
    }

    fn at(variable: &str, replication: u16, min_insync_replicas: u16) -> Self {
        let brokers = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: it says where a Kafka cluster for tests is (see scripts/kafka-local)")
        });
        let options = Options {
            brokers,
            replication,
            min_insync_replicas,
            // the checks write records of long ago
            retention: Duration::MAX,
            // a machine that stands still for a moment decides nothing
            message_timeout: PATIENT,
            transaction_timeout: PATIENT,
            session_timeout: PATIENT,
            request_timeout: PATIENT,
            ..Options::default()
        };
        Self::of(options)
    }

    /// Whatever cluster the options lead to.
    pub fn of(options: Options) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let now = crate::harness::real_clock().now().as_millis();
        Self { options, prefix: format!("t{now}-{}-{number}-", std::process::id()) }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    pub fn kafka(&self) -> Named<KafkaLog> {
        Named { log: KafkaLog::open(self.options.clone()).unwrap(), prefix: self.prefix.clone(), patient: false }
    }

    /// The same for a check that is not about a cluster that cannot be asked.
    pub fn patient(&self) -> Named<KafkaLog> {
        Named { patient: true, ..self.kafka() }
    }
}

impl Harness for Cluster {
    fn open(&self) -> Arc<dyn EventLog> {
        Arc::new(self.patient())
    }

    fn shares_groups(&self) -> bool {
        true
    }
}

impl Sharing for Cluster {
    fn with_session(&self, session: Duration) -> Box<dyn Harness> {
        // the names stay the same, so that each of the members may open the log itself
        Box::new(self.clone().with(|options| {
            options.session_timeout = session;
            options.properties.insert("max.poll.interval.ms".into(), session.as_millis().to_string());
        }))
    }
}
