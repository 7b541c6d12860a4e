//! The store on PostgreSQL: for several processes, or a database that is there anyway.
//!
//! Reads and writes the tables of `migrations/`; any number of processes share them. Every call is one transaction (or
//! one statement) on a connection of the pool, made of statements that take whole batches as arrays.
//!
//! Guarantees: a call that returns is on disk there. A call that fails as unavailable was not done, or nobody knows;
//! each can be repeated, and a repeat of what was done changes nothing: offsets are compared and set, settlements carry
//! their attempt, a lease that nobody heard of is given back by the next one, a reservation knows its order. Rows are
//! locked in the order of their keys; what still meets (a deadlock, a serialization failure) is unavailability, too.
//!
//! Refused: NOTIFY to wake the mailers of other processes. It takes a lock of the whole database at every commit and
//! needs a connection and a recovery of its own; a mailer that asks for due mails every 100 ms is one look at an index.

mod apply;
mod capacities;
mod changes;
mod compact;
mod dead;
mod error;
mod keys;
mod ledger;
mod links;
mod mails;
mod marks;
mod offsets;
mod options;
mod orders;
mod outcomes;
mod overview;
mod pooler;
mod resend;
mod rows;
mod schema;
mod session;
mod suppressed;
mod tally;
mod tls;
mod url;

use std::{future::Future, pin::Pin, sync::Mutex};

use async_trait::async_trait;
use deadpool_postgres::Object;
use tokio::{sync::OnceCell, time::timeout};
use tracing::info;

use self::{options::Connections, session::Session};
pub use self::{options::Options, pooler::Pooling};
use super::{Error, Past, Pruned, Result, Store};

/// The store on PostgreSQL.
pub struct PgStore {
    connections: Connections,
    call_timeout: std::time::Duration,
    /// Set once the tables are known to be of this version.
    prepared: OnceCell<()>,
    /// Calls of `lease` whose commit nobody heard of.
    uncertain: Mutex<Vec<ledger::LeaseCall>>,
}

type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl PgStore {
    /// A store that connects when it is first called; until the database is there, every call is unavailable. Fails only
    /// when the settings are wrong.
    pub fn new(options: Options) -> Result<Self> {
        let connections = Connections::new(&options)?;
        let (prepared, uncertain) = (OnceCell::new(), Mutex::default());
        Ok(Self { connections, call_timeout: options.call_timeout, prepared, uncertain })
    }

    /// Connects, and brings the tables up to date.
    pub async fn open(options: Options) -> Result<Self> {
        let store = Self::new(options)?;
        store.run(|_| Box::pin(async { Ok(()) })).await?;
        Ok(store)
    }

    /// Runs a call on a connection of the pool, within the time for calls.
    async fn run<T: Send>(&self, call: impl for<'a> FnOnce(&'a mut Session) -> Call<'a, T> + Send) -> Result<T> {
        let bounded = async {
            let mut held = Held(Some(self.connections.get().await?));
            let session = held.0.as_mut().expect("held until it is given back");
            let mut result = match self.prepare(session).await {
                Ok(()) => call(session).await,
                Err(error) => Err(error),
            };
            if !matches!(result, Err(Error::Unavailable(_))) {
                let ended = session.end(result.is_ok()).await;
                if ended.is_ok() {
                    held.0 = None;
                }
                // what was not committed was not done; what failed anyway stays as it failed
                result = result.and_then(|done| ended.map(|()| done));
            }
            result
        };
        let in_time = timeout(self.call_timeout, bounded).await;
        in_time.unwrap_or_else(|_| Err(Error::Unavailable("the database did not answer in time".into())))
    }

    /// Once, brings the tables up to date.
    async fn prepare(&self, session: &mut Session) -> Result<()> {
        let prepare = async {
            schema::migrate(session).await?;
            info!("the tables of the store are up to date");
            Ok(())
        };
        self.prepared.get_or_try_init(|| prepare).await.copied()
    }
}

/// A connection that goes back to the pool only when it is let go of: one in the middle of something, after a time-out
/// say, is closed.
struct Held(Option<Session>);

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.take().map(|session| Object::take(session.into_inner())));
    }
}

#[async_trait]
impl Store for PgStore {
    async fn prune(&self, past: Past) -> Result<Pruned> {
        // in slices, each a transaction of its own: nothing is held up while a day's rows go
        let mut pruned = Pruned::default();
        loop {
            let gone = self.run(|client| Box::pin(keys::prune(client, past.keys))).await?;
            pruned.keys += gone;
            if gone == 0 {
                break;
            }
        }
        loop {
            let gone = self.run(|client| Box::pin(outcomes::prune(client, past.keys))).await?;
            pruned.outcomes += gone;
            if gone == 0 {
                break;
            }
        }
        self.run(|client| Box::pin(async move { overview::prune(client, past.minutes).await })).await?;
        loop {
            let gone = self.run(|client| Box::pin(compact::slice(client, past.mails))).await?;
            pruned.mails += gone;
            if gone == 0 {
                return Ok(pruned);
            }
        }
    }

    async fn ping(&self) -> Result<()> {
        // a database that only reads is of no use to an order
        let standby = self
            .run(|client| {
                Box::pin(async move {
                    let query = client.prepare("SELECT pg_is_in_recovery()").await?;
                    Ok(client.query_one(&query, &[]).await?.get::<_, bool>(0))
                })
            })
            .await?;
        if standby { Err(Error::Unavailable("the database is a standby".into())) } else { Ok(()) }
    }
}
