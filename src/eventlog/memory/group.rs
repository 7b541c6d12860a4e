//! A consumer group: who is in it, who owns what, and what was committed. Partitions are handed over one by one, as by
//! Kafka's cooperative protocol: a member keeps what stays its own, and what goes is given up before another gets it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::Link;
use crate::{
    clock::Monotonic,
    eventlog::{Error, GroupOffset, Result, TopicPartition},
};

/// Tells members apart; a member that joins again is another one.
pub(super) type MemberId = u64;

#[derive(Default)]
pub(super) struct Group {
    members: BTreeMap<MemberId, Membership>,
    offsets: BTreeMap<TopicPartition, GroupOffset>,
    joined: MemberId,
}

/// A member as its group knows it.
pub(super) struct Membership {
    slot: u32,
    link: Link,
    subscribed: Vec<TopicPartition>,
    /// Also while it is asked to give a partition up, and before it was told that one is its own.
    owned: BTreeSet<TopicPartition>,
    leaving: BTreeSet<TopicPartition>,
    /// What it is not told yet.
    pub(super) changes: VecDeque<Change>,
    is_new: bool,
    /// Since when it has not asked for anything; `None` while it waits for something.
    pub(super) silent_since: Option<Monotonic>,
}

/// A change of what a member owns.
pub(super) enum Change {
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
}

impl Group {
    /// Lets a member in. A slot is held until its member leaves, or, when its process is cut off, until its session ends.
    pub(super) fn join(
        &mut self,
        name: &str,
        slot: u32,
        link: Link,
        subscribed: Vec<TopicPartition>,
        now: Monotonic,
    ) -> Result<MemberId> {
        if let Some(holder) = self.members.values().find(|member| member.slot == slot) {
            let text = format!("slot {slot} of {name} is held by another live instance: give each its own --slot");
            return Err(if holder.link.is_up() { Error::Fenced(text) } else { Error::Unavailable(text) });
        }
        self.joined += 1;
        let member = Membership {
            slot,
            link,
            subscribed,
            owned: BTreeSet::new(),
            leaving: BTreeSet::new(),
            changes: VecDeque::new(),
            is_new: true,
            silent_since: Some(now),
        };
        self.members.insert(self.joined, member);
        self.balance();
        Ok(self.joined)
    }

    pub(super) fn leave(&mut self, id: MemberId) {
        self.members.remove(&id);
        self.balance();
    }

    /// Puts members out that were silent for too long.
    pub(super) fn evict(&mut self, now: Monotonic, session: Duration) {
        let before = self.members.len();
        self.members.retain(|_, member| member.silent_since.is_none_or(|since| now.saturating_sub(since) < session));
        if self.members.len() < before {
            self.balance();
        }
    }

    /// A member has given partitions up.
    pub(super) fn release(&mut self, id: MemberId, gone: &[TopicPartition]) {
        if let Some(member) = self.members.get_mut(&id) {
            member.owned.retain(|tp| !gone.contains(tp));
            member.leaving.retain(|tp| !gone.contains(tp));
        }
        self.balance();
    }

    /// The member, unless the group has put it out.
    pub(super) fn member(&mut self, id: MemberId) -> Option<&mut Membership> {
        self.members.get_mut(&id)
    }

    pub(super) fn size(&self) -> usize {
        self.members.len()
    }

    pub(super) fn owners(&self) -> Vec<(TopicPartition, String)> {
        let owned = |member: &Membership| {
            let name = format!("slot {}", member.slot);
            member.owned.iter().map(|tp| (tp.clone(), name.clone())).collect::<Vec<_>>()
        };
        let mut owners: Vec<_> = self.members.values().flat_map(owned).collect();
        owners.sort();
        owners
    }

    pub(super) fn committed(&self) -> Vec<GroupOffset> {
        self.offsets.values().cloned().collect()
    }

    pub(super) fn committed_for(&self, tp: &TopicPartition) -> Option<&GroupOffset> {
        self.offsets.get(tp)
    }

    pub(super) fn commit(&mut self, offset: GroupOffset) {
        self.offsets.insert(offset.tp.clone(), offset);
    }

    /// Asks owners for what is to go, and gives what nobody owns to those who are to have it.
    fn balance(&mut self) {
        let target = self.target();
        let owned: BTreeSet<TopicPartition> = self.members.values().flat_map(|member| member.owned.clone()).collect();
        for (id, member) in &mut self.members {
            let goes = |tp: &&TopicPartition| target.get(tp) != Some(id) && !member.leaving.contains(tp);
            let gone: Vec<_> = member.owned.iter().filter(goes).cloned().collect();
            if !gone.is_empty() {
                member.leaving.extend(gone.clone());
                member.changes.push_back(Change::Revoke(gone));
            }
            let comes = |(tp, to): &(&TopicPartition, &MemberId)| *to == id && !owned.contains(tp);
            let new: Vec<_> = target.iter().filter(comes).map(|(tp, _)| tp.clone()).collect();
            // a new member hears also that there is nothing for it yet
            if std::mem::take(&mut member.is_new) || !new.is_empty() {
                member.owned.extend(new.clone());
                member.changes.push_back(Change::Assign(new));
            }
        }
    }

    /// Who should own what: all nearly the same number, and as much as can be where it is now.
    fn target(&self) -> BTreeMap<TopicPartition, MemberId> {
        let all: BTreeSet<&TopicPartition> = self.members.values().flat_map(|member| &member.subscribed).collect();
        let mut by_load: Vec<(MemberId, &Membership)> = self.members.iter().map(|(id, member)| (*id, member)).collect();
        by_load.sort_by_key(|(id, member)| (Reverse(member.owned.len()), *id));
        let (each, rest) = (all.len() / by_load.len().max(1), all.len() % by_load.len().max(1));
        let share = |(rank, (id, _)): (usize, &(MemberId, _))| (*id, each + usize::from(rank < rest));
        let mut room: BTreeMap<MemberId, usize> = by_load.iter().enumerate().map(share).collect();

        let (mut target, mut homeless) = (BTreeMap::new(), Vec::new());
        for tp in all {
            let owner = by_load.iter().find(|(id, member)| member.owned.contains(tp) && room[id] > 0);
            match owner {
                Some((id, _)) => settle(tp, *id, &mut room, &mut target),
                None => homeless.push(tp),
            }
        }
        for tp in homeless {
            let may = by_load.iter().filter(|(_, member)| member.subscribed.contains(tp));
            if let Some((id, _)) = may.max_by_key(|(id, _)| (room[id], Reverse(*id))) {
                settle(tp, *id, &mut room, &mut target);
            }
        }
        target
    }
}

fn settle(
    tp: &TopicPartition,
    id: MemberId,
    room: &mut BTreeMap<MemberId, usize>,
    target: &mut BTreeMap<TopicPartition, MemberId>,
) {
    target.insert(tp.clone(), id);
    room.entry(id).and_modify(|room| *room = room.saturating_sub(1));
}
