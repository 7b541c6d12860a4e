//! What records mean that bear the number of a schema. Numbers stay what they are for ever, so each is looked up once, beside
//! the work: who needs one that is not known yet goes on without it, and asks again.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Registry, Schema, avro::Avro};
use crate::{
    clock::{Clock, Monotonic},
    domain::wire::{Framed, Schemas},
    env::Backoff,
};

/// Most schemas that are known at a time; beyond that all are looked up again.
const KNOWN_MAX: usize = 10_000;
/// Most that are wanted at a time; who wants another one asks again later.
const WANTED_MAX: usize = 256;
/// How many are looked up side by side.
const ASKED_AT_ONCE: usize = 8;
/// How long the registry is believed that it has no such schema: it may be written down there a moment later.
const MISSING: Duration = Duration::from_secs(10);
/// Pauses while the registry is away.
const RETRY: std::ops::Range<Duration> = Duration::from_millis(500)..Duration::from_secs(30);

/// How records of a schema are read.
#[derive(Clone)]
enum Known {
    Json,
    Avro(Arc<Avro>),
    /// Never, in words that follow those on the schema.
    Never(Cow<'static, str>),
    /// The registry had none of that number.
    Missing(Monotonic),
}

/// The schemas of a registry that records bear.
pub struct Reader {
    registry: Registry,
    clock: Clock,
    known: Mutex<HashMap<u32, Known>>,
    wanted: Mutex<BTreeSet<u32>>,
    called: Notify,
}

impl Reader {
    /// Looks nothing up before it runs.
    pub fn new(registry: Registry, clock: Clock) -> Self {
        Self { registry, clock, known: Mutex::default(), wanted: Mutex::default(), called: Notify::new() }
    }

    /// Looks up what is wanted, until `stop`. While the registry is away it tries again and again.
    pub async fn run(&self, stop: CancellationToken) {
        let (mut backoff, mut last) = (Backoff::new(RETRY), 0);
        while !stop.is_cancelled() {
            let wanted = self.after(last);
            if wanted.is_empty() {
                tokio::select! {
                    () = self.called.notified() => continue,
                    () = stop.cancelled() => return,
                }
            }
            last = wanted.last().copied().unwrap_or_default();
            let looked_up = tokio::select! {
                looked_up = self.look_up(wanted) => looked_up,
                () = stop.cancelled() => return, // an answer may take longer than a stop may
            };
            match looked_up {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    let retry_in = backoff.pause();
                    warn!(%error, ?retry_in, "records wait for their schema");
                    // one that cannot be had keeps nobody from those that are wanted anew
                    tokio::select! {
                        _ = self.clock.sleep_unless(&stop, retry_in) => {}
                        () = self.called.notified() => {}
                    }
                }
            }
        }
    }

    /// What is looked up next: each has its turn, also when some fail every time.
    fn after(&self, last: u32) -> Vec<u32> {
        let wanted = lock(&self.wanted);
        let (later, sooner) = (wanted.iter().filter(|id| **id > last), wanted.iter().filter(|id| **id <= last));
        later.chain(sooner).copied().take(ASKED_AT_ONCE).collect()
    }

    /// Looks some up; the error is that of one of those that are still wanted.
    async fn look_up(&self, wanted: Vec<u32>) -> super::Result<()> {
        let mut asked = JoinSet::new();
        for id in wanted {
            let registry = self.registry.clone();
            asked.spawn(async move { (id, registry.schema(id).await) });
        }
        let mut failed = Ok(());
        while let Some(Ok((id, answer))) = asked.join_next().await {
            match answer {
                Ok(found) => self.learn(id, found),
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    fn learn(&self, id: u32, found: Option<Schema>) {
        let known = match found {
            Some(schema) => {
                info!(schema = id, kind = schema.kind, "the schema of records was looked up");
                understand(&schema)
            }
            None => Known::Missing(self.clock.monotonic() + MISSING),
        };
        let mut all = lock(&self.known);
        if all.len() >= KNOWN_MAX {
            all.clear();
        }
        all.insert(id, known);
        lock(&self.wanted).remove(&id);
    }

    fn known(&self, id: u32) -> Option<Known> {
        let known = lock(&self.known).get(&id).cloned()?;
        let is_over = matches!(known, Known::Missing(until) if until < self.clock.monotonic());
        (!is_over).then_some(known)
    }
}

impl Schemas for Reader {
    fn want(&self, schema: u32) {
        if self.known(schema).is_some() {
            return;
        }
        let mut wanted = lock(&self.wanted);
        if wanted.len() < WANTED_MAX && wanted.insert(schema) {
            self.called.notify_one();
        }
    }

    fn translate(&self, framed: Framed<'_>) -> Option<Result<Vec<u8>, Cow<'static, str>>> {
        let id = framed.schema;
        Some(match self.known(id)? {
            Known::Json => Ok(framed.payload.to_vec()),
            Known::Avro(avro) => avro
                .json(framed.payload)
                .map_err(|why| format!("bears the number of Avro schema {id}, and {why}").into()),
            Known::Never(why) => Err(format!("bears the number of schema {id}, which {why}").into()),
            Known::Missing(_) => {
                Err(format!("bears the number of schema {id}, which the registry does not have").into())
            }
        })
    }
}

fn understand(schema: &Schema) -> Known {
    match &*schema.kind {
        "JSON" => Known::Json,
        "AVRO" if !schema.references.is_empty() => {
            Known::Never("refers to other schemas: give it one that is whole".into())
        }
        "AVRO" => match Avro::parse(&schema.text) {
            Ok(avro) => Known::Avro(Arc::new(avro)),
            Err(why) => Known::Never(why),
        },
        "PROTOBUF" => Known::Never("is of Protobuf: JSON and Avro are read here".into()),
        _ => Known::Never("is of a type that is not known here: JSON and Avro are read".into()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
