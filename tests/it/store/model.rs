//! Any interleaving of batches, repeats, leases, results, decisions and restarts agrees with a model that fits a screen.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use encargo::{
    domain::{Closing, Flow, Timestamp, Waits},
    store::{
        Store,
        dead::{Action, DeadId},
        ledger::{Class, Leasing, Mail, MailId, MailStatus, Reason, Verdict},
        links::LinkRequest,
        orders::Incoming,
    },
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Place, support::*};

const ORDERS: u64 = 2; // few, so that much happens to each
const SEQS: u8 = 4;
/// After so long another link can be asked for.
const ASKED_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
enum Step {
    /// Events by order and number; one that is an end cancels its order.
    Apply {
        events: Vec<(u64, u8, bool)>,
        mail: bool,
        /// How many mails are leased with them, if any may be.
        lease: Option<usize>,
    },
    Lease {
        limit: usize,
        seconds: u64,
    },
    Settle {
        leased: usize,
        verdict: u8,
    },
    Expire,
    Decide {
        mail: (u64, u8),
        action: Action,
    },
    /// Somebody asks for the link to an order.
    Ask {
        order: u64,
    },
    Wait {
        seconds: u64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let mail = (1..=ORDERS, 0..=SEQS);
    prop_oneof![
        5 => (prop::collection::vec((1..=ORDERS, 1..=SEQS, prop::bool::weighted(0.1)), 1..6), prop::bool::weighted(0.9),
                prop::option::of(1_usize..5))
            .prop_map(|(events, mail, lease)| Step::Apply { events, mail, lease }),
        6 => (1_usize..5, 1_u64..10).prop_map(|(limit, seconds)| Step::Lease { limit, seconds }),
        8 => (0_usize..6, 0_u8..6).prop_map(|(leased, verdict)| Step::Settle { leased, verdict }),
        2 => Just(Step::Expire),
        3 => (mail, prop::bool::weighted(0.8)).prop_map(|(mail, again)| Step::Decide {
            mail,
            action: if again { Action::Redrive } else { Action::Drop },
        }),
        3 => (1..=ORDERS).prop_map(|order| Step::Ask { order }),
        3 => (1_u64..10).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Row {
    status: MailStatus,
    due: Timestamp,
    attempt: u32,
    ambiguous: bool,
}

impl Row {
    fn unsettled(&self) -> bool {
        matches!(self.status, MailStatus::Pending | MailStatus::Sending)
    }
}

/// What the store should hold.
#[derive(Default)]
struct Model {
    seconds: u64,
    /// And whether they are ends.
    states: BTreeMap<u64, BTreeMap<u8, bool>>,
    mails: BTreeMap<MailId, Row>,
    /// When the link to an order was last asked for.
    asked: BTreeMap<u64, Timestamp>,
    leased: Vec<(MailId, u32)>,
    repeated: u64,
}

impl Model {
    fn now(&self) -> Timestamp {
        at(self.seconds)
    }

    /// Accepts what is new; returns how many events moved their order on.
    fn apply(&mut self, events: &[(u64, u8, bool)], mail: bool) -> u64 {
        let due = self.now();
        let mut accepted = 0;
        for &(order, seq, is_end) in events {
            let states = self.states.entry(order).or_default();
            let moves = states.last_key_value().is_none_or(|(last, _)| *last < seq);
            if states.contains_key(&seq) {
                continue;
            }
            states.insert(seq, is_end);
            accepted += u64::from(moves);
            let id = mail_id(order, seq);
            if mail {
                let status = if self.is_dropped(id) { MailStatus::Dropped } else { MailStatus::Pending };
                self.mails.insert(id, Row { status, due, attempt: 0, ambiguous: false });
            }
            if is_end && self.states[&order].range(seq + 1..).all(|(_, is_end)| !is_end) {
                let earlier = self.mails.range_mut(MailId { seq: 1, ..id }..id).map(|(_, row)| row);
                for row in earlier.filter(|row| row.status == MailStatus::Pending) {
                    row.status = MailStatus::Dropped;
                }
            }
        }
        accepted
    }

    /// Whether its order was cancelled by a later event.
    fn is_dropped(&self, id: MailId) -> bool {
        !id.is_link() && self.states[&id.order.get()].range(id.seq + 1..).any(|(_, is_end)| *is_end)
    }

    /// Makes the mail with the link to an order; returns whether it did.
    fn ask(&mut self, order: u64) -> bool {
        let (now, id) = (self.now(), mail_id(order, 0));
        let attempt = match self.mails.get(&id) {
            _ if !self.states.contains_key(&order) => return false,
            Some(row) if row.unsettled() || self.asked[&order] + ASKED_AGAIN > now => return false,
            row => row.map_or(0, |row| row.attempt),
        };
        self.mails.insert(id, Row { status: MailStatus::Pending, due: now, attempt, ambiguous: false });
        self.asked.insert(order, now);
        true
    }

    /// Unsettled mails whose order has no earlier unsettled one about an event, and unsettled links.
    fn heads(&self) -> impl Iterator<Item = (MailId, Row)> {
        let earlier =
            |id: MailId| !id.is_link() && self.mails.range(MailId { seq: 1, ..id }..id).any(|(_, row)| row.unsettled());
        self.mails.iter().filter(move |(id, row)| row.unsettled() && !earlier(**id)).map(|(id, row)| (*id, *row))
    }

    fn settle(&mut self, id: MailId, attempt: u32, status: MailStatus, due: Timestamp) -> bool {
        let is_dropped = self.is_dropped(id);
        let row = self.mails.get_mut(&id).expect("what was leased is in the model");
        let current = row.status == MailStatus::Sending && row.attempt == attempt;
        let status = if is_dropped && status == MailStatus::Pending { MailStatus::Dropped } else { status };
        if current {
            *row = Row { status, due: if status == MailStatus::Pending { due } else { row.due }, ..*row };
        }
        current
    }
}

pub async fn any_interleaving_agrees_with_the_model(place: &dyn Place) {
    let place = place.another();
    let search = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = Config { cases: 50, failure_persistence: None, ..Config::default() };
        let steps = prop::collection::vec(step(), 1..60);
        TestRunner::new(config).run(&steps, |steps| {
            runtime.block_on(play(&*place.another(), &steps));
            Ok(())
        })
    });
    // the error names the shortest list of steps that fails
    search.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
}

async fn play(place: &dyn Place, steps: &[Step]) {
    let mut store = place.open().await;
    let mut model = Model::default();
    for step in steps {
        if let Step::Reopen = step {
            drop(store);
            store = place.open().await;
        }
        take(&*store, &mut model, step).await;
        compare(&*store, &model).await;
    }
}

/// An event of the order, which may cancel it.
fn told(number: u64, seq: u8, is_end: bool) -> Incoming {
    let mut incoming = event(order(number), seq);
    if is_end {
        let event = &mut incoming.event;
        (event.estado, event.waits) = ("cancelado".into(), Waits::Closed(Closing::Cancelled));
    }
    incoming
}

async fn take(store: &dyn Store, model: &mut Model, step: &Step) {
    let now = model.now();
    match step {
        Step::Apply { events, mail, lease } => {
            let incoming = events.iter().map(|(number, seq, is_end)| told(*number, *seq, *is_end)).collect();
            let until = now + Duration::from_secs(4);
            let leasing = lease.map(|limit| Leasing { until, limit });
            let batch = encargo::store::orders::Batch { mail: *mail, now, lease: leasing, ..batch(incoming) };
            let applied = store.apply(batch.into()).await.unwrap();
            assert_eq!(applied.accepted, model.apply(events, *mail));
            check_leased(store, model, lease.unwrap_or(0), until, applied.leased).await;
        }
        Step::Lease { limit, seconds } => lease_some(store, model, *limit, *seconds).await,
        Step::Settle { leased, verdict } if !model.leased.is_empty() => {
            let (id, attempt) = model.leased[leased % model.leased.len()];
            let due = now + Duration::from_secs(3);
            let (verdict, status) = match verdict {
                0..3 => (sent(), MailStatus::Sent),
                3 => (Verdict::Retry(due, Reason::new(Class::Deferred, "451")), MailStatus::Pending),
                _ => (refused(), MailStatus::Dead),
            };
            let counted = settle(store, id, attempt, verdict).await == 1;
            assert_eq!(counted, model.settle(id, attempt, status, due));
        }
        Step::Expire => {
            let mut ended = 0;
            for row in model.mails.values_mut().filter(|row| row.status == MailStatus::Sending) {
                *row = Row { status: MailStatus::Pending, due: now, ambiguous: true, ..*row };
                ended += 1;
            }
            assert_eq!(store.expire_leases(now).await.unwrap(), ended);
        }
        Step::Decide { mail: (order, seq), action } => {
            let id = mail_id(*order, *seq);
            let row = model.mails.get_mut(&id).filter(|row| row.status == MailStatus::Dead);
            let decided = store.decide(&DeadId::Mail(id), *action, now).await.unwrap();
            assert_eq!(decided, row.is_some());
            if let Some(row) = row {
                *row = match action {
                    Action::Redrive | Action::Release => Row { status: MailStatus::Pending, due: now, ..*row },
                    Action::Drop => Row { status: MailStatus::Dropped, ..*row },
                };
            }
        }
        Step::Ask { order: number } => {
            let unless_since = now - ASKED_AGAIN + Duration::from_millis(1);
            let request = LinkRequest { order: id(*number), email: order(*number).email, at: now, unless_since };
            assert_eq!(store.ask_link(request).await.unwrap(), model.ask(*number));
        }
        Step::Wait { seconds } => model.seconds += seconds,
        Step::Settle { .. } | Step::Reopen => {}
    }
}

/// Whatever is leased must be due heads, the oldest of them, and as many as asked for.
async fn lease_some(store: &dyn Store, model: &mut Model, limit: usize, seconds: u64) {
    let until = at(model.seconds + seconds);
    let mails = store.lease(model.now(), until, limit).await.unwrap();
    check_leased(store, model, limit, until, mails).await;
}

async fn check_leased(store: &dyn Store, model: &mut Model, limit: usize, until: Timestamp, mails: Vec<Mail>) {
    let due: BTreeMap<MailId, Row> = model.heads().filter(|(_, row)| row.due <= model.now()).collect();
    let mut taken: BTreeSet<MailId> = mails.iter().map(|mail| mail.id).collect();
    assert!(taken.iter().all(|id| !model.is_dropped(*id)), "{taken:?}");
    // what waits again though its order was cancelled is dropped when it would be sent
    let over: Vec<_> = due.iter().filter(|(id, _)| model.is_dropped(**id)).collect();
    for (id, row) in over {
        let (_, history) = store.order(id.order).await.unwrap().unwrap();
        if history.iter().any(|line| line.seq == id.seq && line.mail == Some(MailStatus::Dropped)) {
            model.mails.insert(*id, Row { status: MailStatus::Dropped, ..*row });
            taken.insert(*id);
        }
    }
    assert_eq!(taken.len(), due.len().min(limit));
    let newest_taken = taken.iter().filter_map(|id| due.get(id)).map(|row| row.due).max();
    let oldest_left = due.iter().filter(|(id, _)| !taken.contains(id)).map(|(_, row)| row.due).min();
    assert!(oldest_left.is_none() || newest_taken <= oldest_left, "oldest first");
    for mail in mails {
        let row = due.get(&mail.id).unwrap_or_else(|| panic!("{:?} is not a due head", mail.id));
        let ambiguous = row.ambiguous || row.status == MailStatus::Sending;
        assert_eq!((mail.attempt, mail.ambiguous), (row.attempt + 1, ambiguous));
        model.repeated += u64::from(ambiguous);
        model.leased.push((mail.id, mail.attempt));
        let leased = Row { status: MailStatus::Sending, due: until, attempt: mail.attempt, ambiguous };
        model.mails.insert(mail.id, leased);
    }
}

/// The read model, the counts and the due time, all of it.
async fn compare(store: &dyn Store, model: &Model) {
    let (mut by_state, mut finished, mut cancelled) = (BTreeMap::new(), 0, 0);
    for (number, states) in &model.states {
        let (view, history) = store.order(id(*number)).await.unwrap().unwrap();
        let (&last, &is_cancelled) = states.last_key_value().unwrap();
        let finishes = (last == SEQS).then_some(Closing::Finished);
        let closes = if is_cancelled { Some(Closing::Cancelled) } else { finishes };
        assert_eq!((view.seq, view.closes()), (last, closes));
        let mails = states.keys().map(|seq| (*seq, model.mails.get(&mail_id(*number, *seq)).map(|row| row.status)));
        let lines = history.iter().map(|line| (line.seq, line.mail));
        assert!(lines.eq(mails), "{history:?}");
        let state = if is_cancelled { "cancelado" } else { Flow::STATES[usize::from(last) - 1] };
        *by_state.entry(Box::from(state)).or_insert(0) += 1;
        finished += u64::from(closes == Some(Closing::Finished));
        cancelled += u64::from(closes == Some(Closing::Cancelled));
    }
    let counts = store.order_counts().await.unwrap();
    assert_eq!((counts.finished, counts.cancelled), (finished, cancelled));
    assert_eq!(counts.by_state.into_iter().collect::<BTreeMap<_, _>>(), by_state);

    let counts = store.ledger_counts().await.unwrap();
    for status in MailStatus::ALL {
        let expected = model.mails.values().filter(|row| row.status == status).count() as u64;
        let counted = counts.by_status.iter().find(|(other, _)| *other == status).map_or(0, |(_, n)| *n);
        assert_eq!(counted, expected, "{status:?}");
    }
    assert_eq!(counts.repeated, model.repeated);
    let unsettled = model.mails.iter().filter(|(_, row)| row.unsettled());
    let told = |id: &MailId| if id.is_link() { model.asked[&id.order.get()] } else { at(8 * (u64::from(id.seq) - 1)) };
    let oldest = unsettled.map(|(id, _)| told(id)).min();
    assert_eq!(counts.oldest_unsettled_at, oldest);
    assert_eq!(store.next_due().await.unwrap(), model.heads().map(|(_, row)| row.due).min());
    let dead = store.dead(None, 100).await.unwrap().len();
    assert_eq!(dead, model.mails.values().filter(|row| row.status == MailStatus::Dead).count());
}
