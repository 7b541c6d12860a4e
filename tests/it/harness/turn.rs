//! Turns on brokers: groups have the same names in every set-up, so there is one at a time.

use std::{fs::File, path::Path};

use encargo::{eventlog::EventLog, forward, fulfilment, tracking};
use tokio::task::spawn_blocking;

use super::eventually;

const GROUPS: [&str; 3] = [fulfilment::GROUP, tracking::GROUP, forward::GROUP];

/// The right to have a set-up on some brokers, until it is dropped. It holds between processes, since `scripts/test` runs two
/// at once.
pub struct Turn(#[expect(dead_code, reason = "locked while it is open")] File);

impl Turn {
    /// Waits until nobody has a set-up on these brokers.
    pub async fn take(brokers: &str) -> Self {
        let name = brokers.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).with_extension("lock");
        let file = File::create(path).expect("a file in the target folder");
        let locked = spawn_blocking(move || file.lock().map(|()| Self(file)));
        locked.await.expect("no panic").expect("a file system that knows locks")
    }
}

/// Waits until the members of the set-up before are put out. It was killed, may have had long sessions, and until these end
/// its members hold the slots of those that come.
pub async fn await_empty_groups(log: &dyn EventLog) {
    eventually("groups without members", async || {
        let groups = log.groups().map_err(|error| format!("{error:#}"))?;
        let left: Vec<_> = groups.iter().filter(|group| GROUPS.contains(&&*group.name) && group.members > 0).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}
