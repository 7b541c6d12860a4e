//! How many instances of each role are wanted, by how far the log is read and by the mails that wait.

use std::{collections::BTreeMap, time::Duration};

use super::{
    lag::{Flow, Lags, Reading},
    windows::Window,
};
use crate::{
    clock::Monotonic,
    eventlog::{Lag, TopicPartition},
    role::Role,
    scale::{Decision, Observed, Pace, Scaler, Settings},
    store::ledger::{LedgerCounts, MailStatus},
};

/// The mails stand among the lags as if they were a topic of this name, read by a group of this name.
pub(super) const MAILS: &str = "mails";
/// Two measurements of what instances do are this far apart, or one moment would count again and again.
const LEARN_EVERY: Duration = Duration::from_secs(20);
/// States that enter later than this, in seconds, are not in time.
const LATE: f64 = 1.0;
/// What was learned is kept anew once it differs by this part from what is kept.
const KEEP_ANEW: f64 = 0.05;
/// For how long a decision is good when nothing can be seen any more.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// Decides, and remembers what it needs for that.
#[derive(Default)]
pub(super) struct Demand {
    roles: BTreeMap<Role, State>,
    settings: Settings,
    /// Whether instances share the log.
    is_shared: bool,
}

struct State {
    scaler: Scaler,
    learned_at: Monotonic,
    /// What an instance does, as it stands in the store.
    kept: f64,
    decided: Option<(Monotonic, Decision)>,
}

impl Demand {
    pub(super) fn new(settings: &Settings, is_shared: bool) -> Self {
        // roles that share a process cannot be stopped one by one
        let zero = if is_shared { settings.zero.clone() } else { Vec::new() };
        let settings = Settings { zero, ..settings.clone() };
        let state = |role| {
            let scaler = Scaler::new(role, &settings);
            (role, State { scaler, learned_at: Duration::ZERO, kept: 0.0, decided: None })
        };
        Self { roles: Role::ALL.map(state).into(), settings, is_shared }
    }

    /// Goes on with what was learned before this process started.
    pub(super) fn recall(&mut self, kept: &[(String, f64)]) {
        for (role, state) in &mut self.roles {
            if let Some((_, per_s)) = kept.iter().find(|(name, _)| *name == role.name()) {
                state.kept = *per_s;
                state.scaler.recall(*per_s);
            }
        }
    }

    /// What was learned and is not kept yet.
    pub(super) fn to_keep(&self) -> Vec<(Role, f64)> {
        let differing = |(role, state): (&Role, &State)| {
            let per_s = state.scaler.learned()?;
            ((per_s - state.kept).abs() > state.kept * KEEP_ANEW).then_some((*role, per_s))
        };
        self.roles.iter().filter_map(differing).collect()
    }

    /// It is kept.
    pub(super) fn kept(&mut self, role: Role, per_s: f64) {
        if let Some(state) = self.roles.get_mut(&role) {
            state.kept = per_s;
        }
    }

    /// How it is decided, with what an instance does as if that were set.
    pub(super) fn settings(&self) -> Settings {
        let mut settings = self.settings.clone();
        for (role, state) in &self.roles {
            settings.capacity[*role as usize] = Some(state.scaler.capacity().0);
        }
        settings
    }

    /// What was decided of late.
    pub(super) fn decided(&self, now: Monotonic) -> Vec<(Role, Decision)> {
        let fresh = |(role, state): (&Role, &State)| {
            let (at, decision) = state.decided?;
            (now.saturating_sub(at) <= GOOD_FOR).then_some((*role, decision))
        };
        self.roles.iter().filter_map(fresh).collect()
    }

    /// Decides about what reads the log and what writes to it. `work` names the group of fulfilment with the topic that is its
    /// work, then that of tracking; dead letters are no work.
    pub(super) fn decide<'a>(
        &mut self,
        work: impl Iterator<Item = (&'a str, &'a str)>,
        readings: &[Reading],
        lags: &Lags,
        late: Option<&Window>,
        now: Monotonic,
    ) {
        let is_late = late.is_some_and(|window| window.quantile(0.99) > LATE);
        for (role, (group, topic)) in [Role::Fulfilment, Role::Tracking].into_iter().zip(work) {
            let Some(flow) = lags.flow(group, topic) else { continue };
            let (there, most) = if self.is_shared { shared(group, topic, readings) } else { (1, 1) };
            self.decide_about(role, flow, is_late, (Some(there), Some(most)), now);
            if role == Role::Fulfilment {
                // what came to the log intake has done
                let rates = flow.rates.map(|(came, _)| (came, came));
                self.decide_about(Role::Intake, Flow { rates, ..Flow::default() }, is_late, self.unknown(), now);
            }
        }
    }

    /// Decides about the mailer.
    pub(super) fn decide_about_mails(&mut self, flow: Option<Flow>, now: Monotonic) {
        let unknown = self.unknown();
        if let Some(flow) = flow {
            self.decide_about(Role::Mail, flow, false, unknown, now);
        }
    }

    /// How many instances there are of what leaves no trace in the log, and how many there may be.
    fn unknown(&self) -> (Option<u32>, Option<u32>) {
        if self.is_shared { (None, None) } else { (Some(1), Some(1)) }
    }

    fn decide_about(
        &mut self,
        role: Role,
        flow: Flow,
        is_late: bool,
        (instances, shares): (Option<u32>, Option<u32>),
        now: Monotonic,
    ) {
        // what is not known yet, and not how many there are either, would be decided as if there were nothing to do
        if flow.rates.is_none() && instances.is_none() {
            return;
        }
        let Some(state) = self.roles.get_mut(&role) else { return };
        let (arriving, done) = flow.rates.unwrap_or_default();
        let is_behind = flow.behind > Duration::from_secs(1);
        let pace = match (is_behind, flow.was_full) {
            (true, true) => Some(Pace::Flat),
            (false, _) if !is_late => Some(Pace::InTime),
            _ => None,
        };
        if let (Some(pace), Some(instances @ 1..)) = (pace, instances)
            && now.saturating_sub(state.learned_at) >= LEARN_EVERY
        {
            state.scaler.learn(done / f64::from(instances), pace);
            state.learned_at = now;
        }
        let Flow { waiting, behind, .. } = flow;
        let seen = Observed { arriving, waiting, behind, instances, shares };
        state.decided = Some((now, state.scaler.decide(seen, now)));
    }
}

/// How many instances of a group read its work, and in how many partitions that is.
fn shared(group: &str, topic: &str, readings: &[Reading]) -> (u32, u32) {
    let is_work = |reading: &&Reading| reading.group == group && reading.lag.tp.topic == topic;
    let work: Vec<_> = readings.iter().filter(is_work).collect();
    let mut owners: Vec<_> = work.iter().filter_map(|reading| reading.owner.as_ref()).collect();
    owners.sort_unstable();
    owners.dedup();
    (owners.len() as u32, work.len() as u32)
}

/// The mails, as if they stood in a log: those that wait for a mailer are to be read. One that was tried and waits for its next
/// time, or is dead, is no work for another mailer.
pub(super) fn mails(counts: &LedgerCounts) -> Reading {
    let deferred = counts.by_class.iter().filter(|(status, ..)| *status == MailStatus::Pending).map(|(.., n)| n).sum();
    let waiting = counts.of(MailStatus::Pending).saturating_sub(deferred) + counts.of(MailStatus::Sending);
    let end: u64 = counts.by_status.iter().map(|(_, count)| count).sum();
    let tp = TopicPartition { topic: MAILS.to_owned(), partition: 0 };
    Reading { group: MAILS, lag: Lag { tp, next: end.saturating_sub(waiting), end }, ..Reading::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ledger::Class;

    fn reading(topic: &str, partition: u32, next: u64, end: u64) -> Reading {
        let tp = TopicPartition { topic: topic.into(), partition };
        let owner = Some(format!("instance-{}", partition % 2));
        Reading { group: "g_ful", lag: Lag { tp, next, end }, owner, ..Reading::default() }
    }

    /// What is decided when so many are read and written in each of four partitions, every ten seconds.
    fn decided(is_shared: bool, steps: &[(u64, u64)]) -> Vec<(Role, Decision)> {
        let (mut demand, mut lags) = (Demand::new(&Settings::default(), is_shared), Lags::default());
        let mut now = Monotonic::from_secs(100);
        for (next, end) in steps {
            now += Duration::from_secs(10);
            let readings: Vec<_> = (0..4)
                .map(|partition| reading("orders", partition, *next, *end))
                .chain([reading("dead", 0, 0, 1_000_000)])
                .collect();
            lags.note(&readings, now);
            demand.decide([("g_ful", "orders")].into_iter(), &readings, &lags, None, now);
        }
        demand.decided(now)
    }

    fn of(decided: &[(Role, Decision)], role: Role) -> Decision {
        decided.iter().find(|(other, _)| *other == role).unwrap().1
    }

    #[test]
    fn a_group_that_falls_behind_is_measured_and_helped() {
        // two instances read 4 × 2,000 in ten seconds of 4 × 6,000 that come
        let steps: Vec<_> = (1..8).map(|n| (n * 2_000, n * 6_000)).collect();
        let decided = decided(true, &steps);
        let fulfilment = of(&decided, Role::Fulfilment);
        assert!((340.0..400.0).contains(&fulfilment.capacity), "towards 400/s: {fulfilment:?}");
        assert_eq!((fulfilment.seen.instances, fulfilment.seen.shares), (Some(2), Some(4)), "dead letters are no work");
        assert_eq!(fulfilment.wanted, 4, "more would be needed than there are partitions: {fulfilment:?}");
        assert!(fulfilment.need.beyond.is_some());
        let intake = of(&decided, Role::Intake);
        assert!((intake.seen.arriving - 2_400.0).abs() < 1.0 && intake.wanted == 12, "{intake:?}");
    }

    #[test]
    fn what_was_learned_is_kept_and_gone_on_with() {
        let kept =
            [("fulfilment".to_owned(), 900.0), ("mail".to_owned(), f64::NAN), ("of_a_newer_version".to_owned(), 5.0)];
        let mut demand = Demand::new(&Settings::default(), true);
        demand.recall(&kept);
        let capacity = |demand: &Demand, role: Role| demand.settings().capacity[role as usize].unwrap().round() as u32;
        assert_eq!([Role::Fulfilment, Role::Mail].map(|role| capacity(&demand, role)), [900, 200]);
        assert_eq!(demand.to_keep(), [], "it is kept already");
        let learn = |demand: &mut Demand, did| {
            demand.roles.get_mut(&Role::Fulfilment).unwrap().scaler.learn(did, Pace::InTime);
            demand.to_keep()
        };
        assert_eq!(learn(&mut demand, 940.0), [], "nearly the same");
        assert_eq!(learn(&mut demand, 1_200.0), [(Role::Fulfilment, 1_200.0)]);
        assert_eq!(demand.to_keep().len(), 1, "until that is done");
        demand.kept(Role::Fulfilment, 1_200.0);
        assert_eq!(demand.to_keep(), []);
        demand.recall(&kept);
        assert_eq!(capacity(&demand, Role::Fulfilment), 1_200, "what was seen since counts");
    }

    #[test]
    fn a_log_of_one_process_is_not_shared() {
        let decided = decided(false, &[(0, 0), (10, 90_000), (20, 190_000)]);
        assert_eq!(decided.iter().map(|(_, decision)| decision.wanted).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        let roles = |decided: Vec<(Role, Decision)>| decided.into_iter().map(|(role, _)| role).collect::<Vec<_>>();
        assert_eq!(roles(decided(true, &[(0, 5)])), [Role::Fulfilment], "how much comes to intake takes two looks");
        let demand = Demand::new(&Settings::default(), true);
        assert_eq!(demand.decided(Duration::ZERO), []);
    }

    #[test]
    fn mails_that_wait_for_a_later_try_or_are_dead_are_no_work() {
        let by_status =
            vec![(MailStatus::Pending, 50), (MailStatus::Sending, 3), (MailStatus::Sent, 900), (MailStatus::Dead, 7)];
        let by_class = vec![(MailStatus::Pending, Class::Deferred, 40), (MailStatus::Dead, Class::Refused, 7)];
        let Reading { lag, .. } = mails(&LedgerCounts { by_status, by_class, ..LedgerCounts::default() });
        assert_eq!((lag.next, lag.end, lag.records()), (947, 960, 13));
    }
}
