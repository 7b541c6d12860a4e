//! Who has how many of the orders that wait, so that the burst of one client does not refuse the others.
//!
//! Whoever has orders waiting may have so many times as many as there is still room for ([`MORE`], [`LESS`]): the *dynamic
//! threshold* of shared buffers (Choudhury and Hahne, 1998). While little waits it bounds nobody. A client that is alone gets four
//! fifths of the room, ten busy ones get a tenth each, and some of it is always left for whoever comes next.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use crate::{
    clock::Monotonic,
    eventlog::{Pace, Progress},
};

/// How many times the free room a client may take: one that has more than an equal part of what waits is refused before those
/// that have less.
const MORE: u64 = 2;
const LESS: u64 = 4;
/// Nobody is told to wait longer.
const WAIT_MAX_S: f64 = 3_600.0;

/// What stands for a client, as [`crate::web::network`] tells it.
pub(super) type Client = [u8; 8];

/// What a refused order would have to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queue {
    /// Records before it.
    pub(super) waiting: u64,
    /// Those of them that are known to be orders of its client.
    pub(super) own: u64,
    /// Seconds until it would be taken, if what waits goes on being read as it is; unknown while nothing of it is.
    pub(super) wait_s: Option<u32>,
}

/// The orders that wait, by client. Bounded: there are no more of them than there is room for.
pub(super) struct Shares {
    room: u64,
    /// Records that waited at the last look.
    waiting: u64,
    held: HashMap<Client, u64>,
    /// Their sum.
    known: u64,
    /// Orders since the last look began; then those before it, the oldest last, with where the topics ended by then: once
    /// all of that is read, they do not wait any more.
    open: Orders,
    closed: VecDeque<(Vec<u64>, Orders)>,
    pace: Pace,
}

/// Orders that were admitted between two looks.
#[derive(Default)]
struct Orders {
    count: u64,
    of: HashMap<Client, u64>,
}

impl Shares {
    /// With room for so many records.
    pub(super) fn new(room: u64) -> Self {
        Self {
            room,
            waiting: 0,
            held: HashMap::new(),
            known: 0,
            open: Orders::default(),
            closed: VecDeque::new(),
            pace: Pace::default(),
        }
    }

    /// Whether a client has its share already. Who has nothing waiting never has.
    pub(super) fn check(&self, client: Client) -> Result<(), Queue> {
        let own = self.held_by(Some(client));
        let part = if own * self.held.len() as u64 > self.known { MORE } else { LESS };
        let waiting = self.waiting + self.unseen();
        let most = part * self.room.saturating_sub(waiting);
        if own == 0 || own < most {
            return Ok(());
        }
        // each record that is read makes room, and may be one of its own
        let nearer = part as f64 + own as f64 / waiting.max(1) as f64;
        let wait_s = self.wait_s((own - most + 1) as f64 / nearer);
        Err(Queue { waiting, own, wait_s })
    }

    /// Counts an order that is let in; those of clients that cannot be told apart take room all the same.
    pub(super) fn count(&mut self, client: Option<Client>) {
        self.open.count += 1;
        if let Some(client) = client {
            *self.held.entry(client).or_default() += 1;
            self.known += 1;
            *self.open.of.entry(client).or_default() += 1;
        }
    }

    /// What waits where only so many records may before an order is let in.
    pub(super) fn queue(&self, client: Option<Client>, most: u64) -> Queue {
        let waiting = self.waiting + self.unseen();
        Queue { waiting, own: self.held_by(client), wait_s: self.wait_s(waiting.saturating_sub(most).max(1) as f64) }
    }

    /// A look begins: what is let in from here on it may not see.
    pub(super) fn begin_look(&mut self) {
        if self.open.count > 0 {
            self.closed.push_front((Vec::new(), std::mem::take(&mut self.open)));
        }
    }

    /// A look has ended.
    pub(super) fn looked(&mut self, now: Monotonic, seen: &[Progress]) {
        let ends: Vec<_> = seen.iter().map(|progress| progress.end).collect();
        for (end, _) in self.closed.iter_mut().take_while(|(ends, _)| ends.is_empty()) {
            end.clone_from(&ends);
        }
        let is_read = |ends: &[u64]| ends.iter().zip(seen).all(|(end, progress)| progress.next >= *end);
        while self.closed.back().is_some_and(|(ends, _)| is_read(ends)) {
            let (_, orders) = self.closed.pop_back().expect("it was just seen");
            self.release(orders);
        }
        self.waiting = seen.iter().map(|progress| progress.waiting()).max().unwrap_or_default();
        self.pace.note(now, seen);
    }

    /// Nothing can be seen, so nothing is known any more.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.room);
    }

    fn held_by(&self, client: Option<Client>) -> u64 {
        client.and_then(|client| self.held.get(&client).copied()).unwrap_or_default()
    }

    fn release(&mut self, orders: Orders) {
        for (client, count) in orders.of {
            let Entry::Occupied(mut held) = self.held.entry(client) else { continue };
            *held.get_mut() -= count;
            self.known -= count;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }

    /// Orders that the last look may not have seen.
    fn unseen(&self) -> u64 {
        let closing = self.closed.iter().take_while(|(ends, _)| ends.is_empty());
        self.open.count + closing.map(|(_, orders)| orders.count).sum::<u64>()
    }

    /// Seconds until so many records are read where most wait.
    fn wait_s(&self, records: f64) -> Option<u32> {
        let rate = self.pace.slowest()?.1?;
        let seconds = records / rate;
        // less than one in an hour is standing still
        seconds.is_finite().then(|| seconds.ceil().clamp(1.0, WAIT_MAX_S) as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const STEP: Duration = Duration::from_millis(100);
    const ROOM: u64 = 20_000;

    /// A reader of so many records in each step, behind what was let in.
    struct Line {
        shares: Shares,
        now: Monotonic,
        progress: Progress,
    }

    impl Line {
        fn new() -> Self {
            Self { shares: Shares::new(ROOM), now: STEP, progress: Progress { next: 0, end: 0 } }
        }

        /// Orders of a client; how many of them are refused.
        fn order(&mut self, client: u8, orders: u64) -> u64 {
            let refused = |_: &u64| {
                let is_refused = self.shares.check([client; 8]).is_err();
                if !is_refused {
                    self.shares.count(Some([client; 8]));
                    self.progress.end += 1;
                }
                is_refused
            };
            (0..orders).filter(refused).count() as u64
        }

        fn read(&mut self, records: u64) {
            self.shares.begin_look();
            self.progress.next = self.progress.end.min(self.progress.next + records);
            self.now += STEP;
            self.shares.looked(self.now, &[self.progress]);
        }
    }

    #[test]
    fn a_client_with_fifty_times_its_share_refuses_nobody_else() {
        // ten clients, and one reads what they may send together: 1,000 a second
        let mut line = Line::new();
        let mut refused = 0;
        for _ in 0..600 {
            refused += line.order(0, 50 * 10);
            for client in 1..10 {
                assert_eq!(line.order(client, 10), 0, "{client} sends no more than its share");
            }
            assert!(line.progress.waiting() < ROOM, "there is always room left");
            line.read(100);
        }
        let sent = 600 * 500;
        assert!(sent - refused > 600 * 10, "it still gets what is left: {refused} of {sent} are refused");
    }

    #[test]
    fn busy_clients_share_alike() {
        let mut line = Line::new();
        for _ in 0..600 {
            for client in 0..10 {
                line.order(client, 100);
            }
            line.read(100);
        }
        let held: Vec<_> = line.shares.held.values().collect();
        assert!(held.len() == 10 && held.iter().all(|held| (1_200..2_400).contains(*held)), "{held:?}");
    }

    #[test]
    fn the_wait_that_is_told_is_the_one_there_is() {
        let mut line = Line::new();
        for _ in 0..100 {
            line.order(0, 1_000);
            line.read(100);
        }
        line.order(1, 2_000); // which takes of the room that the other's share depends on
        let told = line.shares.check([0; 8]).unwrap_err();
        let mut steps = 0;
        while line.shares.check([0; 8]).is_err() {
            line.read(100);
            steps += 1;
        }
        let took = STEP.as_secs_f64() * f64::from(steps);
        let told = f64::from(told.wait_s.unwrap());
        assert!((took - told).abs() <= 1.0, "{told} s were told, it took {took} s");
    }

    #[test]
    fn nothing_is_remembered_of_what_was_read() {
        let mut line = Line::new();
        for client in 0..200 {
            line.order(client, 3);
            line.read(2);
        }
        line.read(1_000);
        assert!(line.shares.held.is_empty() && line.shares.closed.is_empty());
    }

    #[test]
    fn how_long_it_takes_is_unknown_while_nothing_is_read() {
        let mut line = Line::new();
        assert_eq!(line.shares.queue(None, 0).wait_s, None);
        line.order(0, 30_000);
        line.read(0);
        line.read(0);
        assert_eq!(line.shares.check([0; 8]).unwrap_err().wait_s, None);
    }
}
