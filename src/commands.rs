//! Commands about orders, for whoever takes them from people: what is wanted is written to the log, where fulfilment decides
//! it, and the answer is what became of it, once the store shows that. Nothing is decided here but what the store knows for
//! certain: an order whose life is over, and a customer who comes too late.

use std::{ops::Range, sync::Arc, time::Duration};

use tokio::task::spawn_blocking;

use crate::{
    clock::Monotonic,
    domain::{
        Change, Closing, Command, CommandCopy, CommandId, CommandOutcome, OrderId,
        command::{Action, Refusal, Verb, Verdict},
        flow::Party,
        wire,
    },
    env::{Backoff, Env},
    eventlog::{self, EventLog, NewRecord, Position},
    store::{
        self, Store,
        orders::{HistoryEntry, OrderView},
    },
    telemetry::ThrottledLog,
};

/// Pauses between two looks.
const LOOK: Range<Duration> = Duration::from_millis(20)..Duration::from_millis(100);

/// Where commands go.
#[derive(Debug, Clone)]
pub struct Options {
    /// Their topic.
    pub topic: String,
    /// Longest wait for what fulfilment decides, and as long again for the order to show it.
    pub wait: Duration,
}

/// Sends commands; a cheap handle.
#[derive(Clone)]
pub struct Commands(Arc<Inner>);

struct Inner {
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    env: Env,
    options: Options,
    failures: ThrottledLog,
}

/// What became of a command.
#[derive(Debug)]
pub enum Answer {
    /// It happened, now or before.
    Done(CommandOutcome),
    /// It changes nothing.
    Refused(CommandOutcome),
    /// This copy of it is written down, and not known yet what becomes of it.
    Pending(CommandCopy),
}

/// Why there is no answer to a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its id stands for another command already.
    #[error("the command's id was used for another order or for something else")]
    KeyReused,
    /// The order cannot be looked at.
    #[error(transparent)]
    Store(store::Error),
    /// Too much waits to be written: it was not taken.
    #[error("the command was not taken; please try again")]
    Overloaded,
    /// Not possible now: it was not taken.
    #[error("the command cannot be stored now and was not taken")]
    Unavailable,
    /// It may have been taken or not.
    #[error("the command may have been taken or not")]
    Unconfirmed,
    /// There is nowhere to write it.
    #[error("there is no topic {0} for commands, so the command was not taken: `encargo log init` creates it")]
    NoTopic(String),
    /// The log does not take it, for a reason that is logged.
    #[error("the event log does not take the command")]
    Failed,
}

impl Commands {
    /// Commands of one deployment.
    pub fn new(log: Arc<dyn EventLog>, store: Arc<dyn Store>, env: Env, options: Options) -> Self {
        Self(Arc::new(Inner { log, store, env, options, failures: ThrottledLog::default() }))
    }

    /// Has a command carried out about an order that stands like this. `is_named` says that the sender chose its id, and may
    /// have sent it before.
    pub async fn carry_out(
        &self,
        command: &Command,
        is_named: bool,
        view: &OrderView,
        history: &[HistoryEntry],
    ) -> Result<Answer, Error> {
        let (id, verb) = (&command.id, command.action.verb());
        let found = if is_named { self.outcome(id).await? } else { None };
        let is_other = found.as_ref().is_some_and(|found| found.order != command.order);
        let before = found.filter(|_| !is_other);
        // first what the order itself tells: the same id may have been sent for two at once, before there was an outcome of either
        if let Some(done) = done_before(id, view, history, before.as_ref()) {
            return if is_for_other_address(command, view, history) {
                Err(Error::KeyReused)
            } else {
                self.settled(verb, done).await
            };
        }
        if is_other {
            return Err(Error::KeyReused);
        }
        if let Some(closing) = view.closes() {
            return Ok(Answer::Refused(refused_by_view(view, id, Refusal::Closed(closing))));
        }
        if verb == Verb::Cancel && is_too_late(view, command.party) {
            return Ok(Answer::Refused(refused_by_view(view, id, Refusal::TooLate)));
        }
        let copy = self.send(command, view.partition).await?;
        match self.decided(command, copy, before.as_ref()).await {
            Some(outcome) => self.settled(verb, outcome).await,
            None => Ok(Answer::Pending(copy)),
        }
    }

    /// What became of a command that was sent, if that is known.
    pub async fn outcome(&self, command: &CommandId) -> Result<Option<CommandOutcome>, Error> {
        self.0.store.outcome(command).await.map_err(Error::Store)
    }

    /// An id that no other command has.
    pub fn fresh_id(&self) -> Result<CommandId, Error> {
        let mut random = [0; 16];
        self.0.env.random.fill(&mut random).map_err(|error| {
            tracing::error!(%error, "the system has no random numbers");
            Error::Failed
        })?;
        Ok(format!("{:032x}", u128::from_be_bytes(random)).parse().expect("hexadecimal digits are plain"))
    }

    /// What became of a command, once the order shows it: whoever looks next sees what they were told.
    async fn settled(&self, verb: Verb, outcome: CommandOutcome) -> Result<Answer, Error> {
        let CommandOutcome { command, order, verdict, status: left, .. } = &outcome;
        match verdict {
            Verdict::Done | Verdict::Repeated => {}
            Verdict::Refused { .. } | Verdict::Unknown => return self.refusal(verb, outcome).await,
        }
        let seq = left.as_ref().map_or(0, |left| left.seq);
        let end = self.0.env.pace.monotonic() + self.0.options.wait;
        let mut pauses = Backoff::new(LOOK);
        while let Ok(Some((view, history))) = self.find(*order).await {
            if let Some(found) = history.iter().find(|entry| is_of(entry, command))
                && verb_of(found, &view) != verb
            {
                return Err(Error::KeyReused);
            }
            if view.seq >= seq || !self.may_pause(&mut pauses, end).await {
                break;
            }
        }
        Ok(Answer::Done(outcome))
    }

    /// A refusal as it stands. What fulfilment does not know of any more may have ended; and the command that ended it may be
    /// this one.
    async fn refusal(&self, verb: Verb, outcome: CommandOutcome) -> Result<Answer, Error> {
        let is_over = |code: &str| code == Refusal::Closed(Closing::Finished).code();
        let may_be_over = match &outcome.verdict {
            Verdict::Refused { code, .. } => is_over(code),
            _ => true,
        };
        let found = if may_be_over { self.find(outcome.order).await? } else { None };
        let Some((view, history)) = found else { return Ok(Answer::Refused(outcome)) };
        if let Some(entry) = history.iter().find(|entry| is_of(entry, &outcome.command)) {
            let is_same = verb_of(entry, &view) == verb;
            let (verdict, status) = (Verdict::Repeated, Some(view.status()));
            let done = CommandOutcome { verdict, status, ..outcome };
            return if is_same { Ok(Answer::Done(done)) } else { Err(Error::KeyReused) };
        }
        Ok(Answer::Refused(match view.closes() {
            Some(closing) => refused_by_view(&view, &outcome.command, Refusal::Closed(closing)),
            None => outcome,
        }))
    }

    /// Writes a command to the order's own partition. What is written is decided, whoever waits for that.
    async fn send(&self, command: &Command, partition: Option<u32>) -> Result<CommandCopy, Error> {
        let Inner { log, env, options: Options { topic, .. }, failures, .. } = &*self.0;
        let at = env.clock.now();
        let record = NewRecord {
            topic: topic.clone(),
            partition, // that of an order of before is told by its key
            key: Some(wire::key(command.order)),
            value: wire::encode_command(command),
            headers: wire::command_headers(command, at),
            at,
        };
        let error = match log.append(vec![record]).await {
            Ok(positions) => {
                let Position { partition, offset } = positions[0];
                return Ok(CommandCopy { partition, offset });
            }
            Err(error) => error,
        };
        if let eventlog::Error::Overloaded(_) = error {
            return Err(Error::Overloaded);
        }
        failures.warn(&env.clock, |more| {
            tracing::warn!(order.id = %command.order, %error, more_before = more, "cannot write a command");
        });
        Err(match error {
            eventlog::Error::Unavailable(_) => Error::Unavailable,
            eventlog::Error::Unconfirmed(_) => Error::Unconfirmed,
            _ if self.lacks(topic.clone()).await => Error::NoTopic(topic.clone()),
            _ => Error::Failed,
        })
    }

    async fn lacks(&self, topic: String) -> bool {
        let log = self.0.log.clone();
        let found = spawn_blocking(move || log.topic(&topic)).await;
        matches!(found, Ok(Ok(None)))
    }

    /// Waits for what becomes of a command of which this copy was sent. A refusal that was there before is no answer to it, nor
    /// is that of an earlier copy: this one may still do what was refused then.
    async fn decided(
        &self,
        command: &Command,
        sent: CommandCopy,
        before: Option<&CommandOutcome>,
    ) -> Option<CommandOutcome> {
        let end = self.0.env.pace.monotonic() + self.0.options.wait;
        let mut pauses = Backoff::new(LOOK);
        while self.may_pause(&mut pauses, end).await {
            // a store that is away may be back in time
            let Ok(Some(outcome)) = self.0.store.outcome(&command.id).await else { continue };
            if outcome.order != command.order {
                // the same id was sent for two orders at once, and there is room for one outcome: ours shows in the order
                if let Ok(Some((view, history))) = self.find(command.order).await
                    && let Some(done) = done_before(&command.id, &view, &history, None)
                {
                    return Some(done);
                }
            } else if outcome.settles(sent) && before != Some(&outcome) {
                return Some(outcome);
            }
        }
        None
    }

    /// Pauses; not when the time is over.
    async fn may_pause(&self, pauses: &mut Backoff, end: Monotonic) -> bool {
        let left = end.saturating_sub(self.0.env.pace.monotonic());
        self.0.env.pace.sleep(pauses.pause().min(left)).await;
        !left.is_zero()
    }

    async fn find(&self, id: OrderId) -> Result<Option<(OrderView, Vec<HistoryEntry>)>, Error> {
        self.0.store.order(id).await.map_err(Error::Store)
    }
}

/// What a command did before, if it did anything. What was answered is answered again; the history remembers longer.
pub fn done_before(
    id: &CommandId,
    view: &OrderView,
    history: &[HistoryEntry],
    before: Option<&CommandOutcome>,
) -> Option<CommandOutcome> {
    let is_done = |before: &&CommandOutcome| matches!(before.verdict, Verdict::Done | Verdict::Repeated);
    let remembered = || {
        let (verdict, status) = (Verdict::Repeated, Some(view.status()));
        CommandOutcome { command: id.clone(), order: view.order.id, copy: None, verdict, status, at: view.at }
    };
    let in_history = history.iter().any(|entry| is_of(entry, id));
    before.filter(is_done).cloned().or_else(|| in_history.then(remembered))
}

/// Whether the command that is there under its id was about another address, as far as the order tells: it keeps the latest.
fn is_for_other_address(command: &Command, view: &OrderView, history: &[HistoryEntry]) -> bool {
    let Action::Readdress(address) = &command.action else { return false };
    let latest = history.iter().rfind(|entry| entry.change == Change::Readdressed);
    latest.is_some_and(|entry| is_of(entry, &command.id)) && view.address.as_ref() != Some(address)
}

/// Whether somebody can no longer cancel; unknown of orders whose events do not tell.
pub fn is_too_late(view: &OrderView, party: Party) -> bool {
    view.exits.cancel.is_some_and(|least| party < least)
}

/// What is known without asking anybody.
fn refused_by_view(view: &OrderView, command: &CommandId, refusal: Refusal) -> CommandOutcome {
    let (verdict, status) = (Verdict::from(refusal), Some(view.status()));
    CommandOutcome { command: command.clone(), order: view.order.id, copy: None, verdict, status, at: view.at }
}

fn is_of(entry: &HistoryEntry, command: &CommandId) -> bool {
    entry.command.as_deref() == Some(command.as_str())
}

/// What a command was, by what it did.
fn verb_of(entry: &HistoryEntry, view: &OrderView) -> Verb {
    match entry.change {
        Change::Held => Verb::Hold,
        Change::Resumed => Verb::Resume,
        Change::Delayed => Verb::Delay,
        Change::Readdressed => Verb::Address,
        // nothing comes after an end
        Change::Entered if entry.seq == view.seq => match view.closes() {
            Some(Closing::Cancelled) => Verb::Cancel,
            Some(Closing::Refused) => Verb::Refuse,
            Some(Closing::Finished) | None => Verb::Advance,
        },
        Change::Entered => Verb::Advance,
    }
}
