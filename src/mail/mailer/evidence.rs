//! Whether a refusal stands. A relay that is set up wrongly refuses everybody, with codes that ought to be about one
//! mailbox; so a refusal is believed only beside mails that were taken, and never what is said to one after the other.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::{BuildHasher as _, Hash},
    time::Duration,
};

use crate::{
    clock::Monotonic,
    domain::EmailAddress,
    mail::{About, Refusal},
    store::ledger::MailId,
};

/// The same words to so many different recipients, and nobody was taken in between: they are about us.
pub(super) const IN_A_ROW: usize = 3;
/// The same where the words are about a mailbox each time: shops do get runs of mistyped addresses.
const MAILBOXES_IN_A_ROW: usize = 10;
/// For so long a mail that was taken shows that the server takes ours.
const LATELY: Duration = Duration::from_hours(1);
/// A mailbox is given up when it was refused so often: what is in flight at the same moment is heard first.
const MAILBOX_TRIES: u32 = 2;
/// The same for a refusal that may be about anything.
const UNCLEAR_TRIES: u32 = 3;
/// Refused mails and domains that are remembered; what is forgotten waits for longer.
const REMEMBERED_MAX: usize = 4_096;
/// Different words that are counted at once.
const WORDS_MAX: usize = 16;

/// What the destination took and refused, as far as it has to be remembered.
#[derive(Default)]
pub(super) struct Evidence {
    hasher: RandomState,
    /// Mails taken so far.
    taken: u64,
    taken_at: Option<Monotonic>,
    /// Since the last one was taken.
    everywhere: Runs,
    /// By domain, since the last one was taken there.
    domains: HashMap<String, Runs>,
    held: HashMap<MailId, Held>,
}

/// A mail that was refused and waits.
struct Held {
    /// How many had been taken when it was refused first.
    taken: u64,
    refusals: u32,
}

/// Whom the same words were said to.
#[derive(Default)]
struct Runs(HashMap<Box<str>, HashSet<u64>>);

/// What becomes of a refused mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is dead.
    Stands,
    /// It waits, and others go on.
    Hold,
    /// It waits, and so does all that is for its domain.
    HoldDomain,
    /// It waits, and so does everything.
    HoldAll,
}

impl Evidence {
    pub(super) fn took(&mut self, mail: MailId, domain: &str, now: Monotonic) {
        self.taken += 1;
        self.taken_at = Some(now);
        self.everywhere.0.clear();
        self.domains.remove(&domain.to_lowercase());
        self.held.remove(&mail);
    }

    pub(super) fn judge(&mut self, mail: MailId, to: &EmailAddress, refusal: &Refusal, now: Monotonic) -> Judgement {
        let who = self.hasher.hash_one(to.as_str().to_lowercase());
        let domain = to.domain().to_lowercase();
        make_room(&mut self.domains, &domain);
        let there = self.domains.entry(domain).or_default().note(&refusal.words, who);
        let everywhere = self.everywhere.note(&refusal.words, who);
        make_room(&mut self.held, &mail);
        let held = self.held.entry(mail).or_insert(Held { taken: self.taken, refusals: 0 });
        held.refusals += 1;
        let taken_lately = self.taken_at.is_some_and(|at| now.saturating_sub(at) < LATELY);
        let taken_since = self.taken > held.taken;
        let judgement = match refusal.about {
            About::All => Judgement::HoldAll,
            About::Us if !taken_lately || everywhere >= IN_A_ROW => Judgement::HoldAll,
            About::Unclear if everywhere >= IN_A_ROW => Judgement::HoldAll,
            About::Us | About::Unclear if there >= IN_A_ROW => Judgement::HoldDomain,
            About::Mailbox if everywhere >= MAILBOXES_IN_A_ROW => Judgement::HoldAll,
            About::Mailbox if everywhere.max(there) >= IN_A_ROW => Judgement::Hold,
            About::Mailbox if taken_lately && held.refusals >= MAILBOX_TRIES => Judgement::Stands,
            About::Unclear if taken_since && held.refusals >= UNCLEAR_TRIES => Judgement::Stands,
            About::Us | About::Mailbox | About::Unclear => Judgement::Hold,
        };
        if judgement == Judgement::Stands {
            self.held.remove(&mail);
        }
        judgement
    }
}

impl Runs {
    /// Returns how many different recipients have heard these words.
    fn note(&mut self, words: &str, who: u64) -> usize {
        if self.0.len() >= WORDS_MAX && !self.0.contains_key(words) {
            self.0.clear();
        }
        let heard = self.0.entry(words.into()).or_default();
        if heard.len() < MAILBOXES_IN_A_ROW {
            heard.insert(who);
        }
        heard.len()
    }
}

/// Forgets any one when there are too many.
fn make_room<K: Hash + Eq + Clone, V>(known: &mut HashMap<K, V>, key: &K) {
    if known.len() >= REMEMBERED_MAX
        && !known.contains_key(key)
        && let Some(any) = known.keys().next().cloned()
    {
        known.remove(&any);
    }
}

#[cfg(test)]
mod tests;
