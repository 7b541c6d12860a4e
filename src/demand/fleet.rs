use std::{collections::VecDeque, time::Duration};

/// The instances of a group.
pub(super) struct Fleet {
    working: u32,
    /// When those that were started will work.
    starting: VecDeque<Duration>,
    paused_until: Duration,
    changes: u32,
    start: Duration,
    pause: Duration,
}

impl Fleet {
    pub(super) fn new(working: u32, start: Duration, pause: Duration) -> Self {
        Self { working, starting: VecDeque::new(), paused_until: Duration::ZERO, changes: 0, start, pause }
    }

    /// Starts or stops instances until there are so many. Those that do not work yet go first.
    pub(super) fn want(&mut self, wanted: u32, now: Duration) {
        while self.paid() < wanted {
            self.starting.push_back(now + self.start);
        }
        while self.paid() > wanted && self.starting.pop_back().is_some() {}
        if self.paid() > wanted {
            self.working = wanted;
            self.joined(now);
        }
    }

    /// Lets those work that are there by now; how many instances' work the group does in this second.
    pub(super) fn second(&mut self, now: Duration) -> f64 {
        let before = self.working;
        while self.starting.front().is_some_and(|at| *at <= now) {
            self.starting.pop_front();
            self.working += 1;
        }
        if self.working > before {
            self.joined(now);
        }
        f64::from(self.working) * (1.0 - self.pause_left(now).min(1.0))
    }

    /// The group shares its work anew.
    fn joined(&mut self, now: Duration) {
        self.changes += 1;
        self.paused_until = now + self.pause;
    }

    /// Seconds that the group will not work.
    pub(super) fn pause_left(&self, now: Duration) -> f64 {
        self.paused_until.saturating_sub(now).as_secs_f64()
    }

    pub(super) fn working(&self) -> u32 {
        self.working
    }

    pub(super) fn paid(&self) -> u32 {
        self.working + self.starting.len() as u32
    }

    pub(super) fn changes(&self) -> u32 {
        self.changes
    }
}
