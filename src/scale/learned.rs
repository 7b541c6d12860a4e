/// Part of a new measurement that counts.
const WEIGHT: f64 = 0.3;

/// How hard instances worked while something was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All was done in time: they can do at least this.
    InTime,
    /// Work waited all the time: they can do no more than this.
    Flat,
}

/// What one instance does per second, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learned {
    capacity: f64,
    is_measured: bool,
}

impl Learned {
    /// Knows nothing, and takes this for true.
    pub const fn new(cautious: f64) -> Self {
        Self { capacity: cautious, is_measured: false }
    }

    /// Takes for measured what was measured earlier, unless something was since.
    pub const fn recall(&mut self, per_s: f64) {
        if !self.is_measured {
            (self.capacity, self.is_measured) = (per_s, true);
        }
    }

    /// Notes what an instance did per second. Where nothing was done something was away, which tells nothing.
    pub fn note(&mut self, did: f64, pace: Pace) {
        if !did.is_finite() || did <= 0.0 {
            return;
        }
        match pace {
            Pace::InTime if did <= self.capacity => return,
            Pace::InTime => self.capacity = did,
            Pace::Flat => self.capacity += (did - self.capacity) * WEIGHT,
        }
        self.is_measured = true;
    }

    /// Units of work per second.
    pub const fn capacity(&self) -> f64 {
        self.capacity
    }

    /// Whether it is more than a guess.
    pub const fn is_measured(&self) -> bool {
        self.is_measured
    }
}
