//! Who holds a slot: two live instances under one would fence each other for ever.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::consumer::Consumer;

use super::{Shared, client::question_error, options::client_id};
use crate::{
    clock::{Clock, Monotonic},
    eventlog::{Error, Result},
};

/// So often within that time nobody is fenced by a stall or by the fall of a broker alone.
const FENCES_MAX: usize = 3;
const SOON: Duration = Duration::from_mins(1);
/// Between two looks at whether a dead predecessor was put out of the group.
const POLL: Duration = Duration::from_millis(200);

/// When our transactional ids and our static members were fenced.
pub(super) struct Slots {
    clock: Clock,
    fenced: Mutex<HashMap<String, Vec<Monotonic>>>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { clock: Clock::system(), fenced: Mutex::default() }
    }
}

impl Slots {
    /// Our producer or static member with this id was fenced: by a rival, or because it stalled past its time-out, which
    /// looks the same.
    pub(super) fn fenced(&self, id: &str) {
        let mut fenced = self.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        fenced.entry(id.to_owned()).or_default().push(self.clock.monotonic());
    }

    /// Refuses to start what was fenced again and again just now.
    pub(super) fn check(&self, id: &str, group: &str, slot: u32) -> Result<()> {
        let now = self.clock.monotonic();
        let mut fenced = self.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        let times = fenced.entry(id.to_owned()).or_default();
        times.retain(|at| now.saturating_sub(*at) < SOON);
        if times.len() < FENCES_MAX {
            return Ok(());
        }
        Err(Error::Fatal(format!(
            "slot {slot} of {group} is used by another live instance, which took it over {FENCES_MAX} times within a minute: \
             give each instance its own --slot"
        )))
    }
}

impl Shared {
    /// Waits until no live member of the group has this slot; a dead one is put out after its session. With static
    /// membership the brokers replace the older member, and it hears of that.
    pub(super) fn await_free(&self, group: &str, slot: u32) -> Result<()> {
        if self.options.static_membership {
            return Ok(());
        }
        let ends = self.clock.monotonic() + self.options.session_timeout + Duration::from_secs(2);
        while self.holder(group, slot)? {
            if self.clock.monotonic() > ends {
                return Err(Error::Fenced(format!(
                    "slot {slot} of {group} is held by another live instance: give each instance its own --slot"
                )));
            }
            std::thread::park_timeout(POLL);
        }
        Ok(())
    }

    fn holder(&self, group: &str, slot: u32) -> Result<bool> {
        let asked = format!("members of {group}");
        let client = self.group_client(group)?;
        let list = client.fetch_group_list(Some(group), self.options.request_timeout);
        let list = list.map_err(|error| question_error(&asked, &error))?;
        let name = client_id(slot);
        Ok(list.groups().iter().flat_map(rdkafka::groups::GroupInfo::members).any(|member| member.client_id() == name))
    }
}
