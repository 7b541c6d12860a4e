//! Who holds a slot: two live instances under one would fence each other for ever.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::consumer::Consumer;

use super::{
    Shared,
    client::{self, question_error},
    options::{CLIENT, client_id},
};
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
        Self { clock: client::real_clock(), fenced: Mutex::default() }
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
    /// membership the brokers replace the older member, and it hears of that. No other program may be in the group: its
    /// way to share partitions out is not ours, and the brokers would keep us waiting for as long as it lives.
    pub(super) fn await_free(&self, group: &str, slot: u32) -> Result<()> {
        // counted in looks, not in time: a moment in which the machine or a broker stood still is no sign of life
        let looks = (self.options.session_timeout + Duration::from_secs(2)).as_millis() / POLL.as_millis();
        for _ in 0..looks {
            if self.occupied(group, slot)?.is_none() {
                return Ok(());
            }
            self.clock.park(POLL);
        }
        self.occupied(group, slot)?.map_or(Ok(()), |why| Err(Error::Fenced(why)))
    }

    /// Why we cannot join now.
    fn occupied(&self, group: &str, slot: u32) -> Result<Option<String>> {
        let asked = format!("members of {group}");
        let client = self.group_client(group)?;
        let list = client.fetch_group_list(Some(group), self.options.request_timeout);
        let list = list.map_err(|error| question_error(&asked, &error))?;
        let name = client_id(slot);
        let mut members = list.groups().iter().flat_map(rdkafka::groups::GroupInfo::members);
        Ok(members.find_map(|member| match member.client_id() {
            held if held == name && !self.options.static_membership => Some(format!(
                "slot {slot} of {group} is held by another live instance: give each instance its own --slot"
            )),
            ours if ours.starts_with(CLIENT) => None,
            foreign => Some(format!(
                "the consumer group {group} has a member that is not Encargo's: {foreign} on {}. Stop that program or give \
                 it a group of its own, then start this again; one that died is put out when its session times out",
                member.client_host().trim_start_matches('/')
            )),
        }))
    }
}
