use super::{Learned, Need, Observed, Pace, Rules, Settings, Steady, cautious, need};
use crate::{clock::Monotonic, role::Role};

/// Decides for one role, and remembers what it needs for that.
#[derive(Debug, Clone)]
pub struct Scaler {
    rules: Rules,
    may_be_none: bool,
    /// What was set; learned otherwise.
    set: Option<f64>,
    learned: Learned,
    steady: Steady,
}

/// How many instances are wanted, and why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// How many.
    pub wanted: u32,
    /// How many are needed now: fewer, if they have not been enough for long.
    pub need: Need,
    /// What was seen.
    pub seen: Observed,
    /// What one instance does per second.
    pub capacity: f64,
    /// How that is known.
    pub source: Source,
}

/// How the capacity of an instance is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It is set.
    Set,
    /// Instances did it.
    Learned,
    /// It is guessed, cautiously.
    Guessed,
}

impl Source {
    /// For programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Learned => "learned",
            Self::Guessed => "guessed",
        }
    }
}

impl Scaler {
    /// Has seen nothing yet.
    pub fn new(role: Role, settings: &Settings) -> Self {
        Self {
            rules: settings.rules,
            may_be_none: role.may_be_none() && settings.zero.contains(&role),
            set: settings.capacity[role as usize],
            learned: Learned::new(cautious(role)),
            steady: Steady::default(),
        }
    }

    /// Notes what an instance did per second.
    pub fn learn(&mut self, did: f64, pace: Pace) {
        self.learned.note(did, pace);
    }

    /// Takes for learned what was learned earlier, unless something was since.
    pub fn recall(&mut self, per_s: f64) {
        if per_s.is_finite() && per_s > 0.0 {
            self.learned.recall(per_s);
        }
    }

    /// What instances did per second, if that was measured; also where another number is set.
    pub fn learned(&self) -> Option<f64> {
        self.learned.is_measured().then(|| self.learned.capacity())
    }

    /// Decides by what is seen now.
    pub fn decide(&mut self, seen: Observed, now: Monotonic) -> Decision {
        let (capacity, source) = self.capacity();
        let need = need(&seen, capacity, self.may_be_none, &self.rules);
        let most = seen.shares.unwrap_or(u32::MAX).max(1);
        let there = seen.instances.map(|there| there.min(most));
        let wanted = self.steady.note(need.instances, there, now, &self.rules).min(most);
        Decision { wanted, need, seen, capacity, source }
    }

    /// What one instance does per second, and how that is known.
    pub fn capacity(&self) -> (f64, Source) {
        match self.set {
            Some(set) => (set, Source::Set),
            None if self.learned.is_measured() => (self.learned.capacity(), Source::Learned),
            None => (self.learned.capacity(), Source::Guessed),
        }
    }
}
