use std::{collections::VecDeque, time::Duration};

use super::Rules;
use crate::clock::Monotonic;

/// The time between two steps down.
const STEP: Duration = Duration::from_mins(1);
/// The part of the instances that are too many that goes in a step.
const PART: u32 = 3;

/// What is wanted, from what is needed: up at once, and down after a while in steps, so that nothing flaps.
#[derive(Debug, Clone, Default)]
pub struct Steady {
    /// What was needed since when, falling: one that is followed by more no longer counts.
    needs: VecDeque<(Monotonic, u32)>,
    began: Option<Monotonic>,
    wanted: u32,
    lowered: Monotonic,
}

impl Steady {
    /// Notes what is needed, and tells what is wanted. Until the past is known those that are there stay: who restarts would
    /// otherwise send away what its predecessor wanted.
    pub fn note(&mut self, need: u32, there: Option<u32>, now: Monotonic, rules: &Rules) -> u32 {
        let began = *self.began.get_or_insert(now);
        while self.needs.back().is_some_and(|(_, earlier)| *earlier <= need) {
            self.needs.pop_back();
        }
        self.needs.push_back((now, need));
        while self.needs.len() > 1
            && self.needs.front().is_some_and(|(at, _)| now.saturating_sub(*at) > rules.down_after)
        {
            self.needs.pop_front();
        }
        let mut least = self.needs.front().map_or(need, |(_, most)| *most);
        if now.saturating_sub(began) < rules.down_after {
            least = least.max(there.unwrap_or(0));
        }
        if least >= self.wanted {
            (self.wanted, self.lowered) = (least, now);
        } else if now.saturating_sub(self.lowered) >= STEP {
            self.wanted -= (self.wanted - least).div_ceil(PART);
            self.lowered = now;
        }
        self.wanted
    }
}
