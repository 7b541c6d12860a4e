//! Commands about orders. What was asked is written to the log, where fulfilment decides it; the answer says what became
//! of it, or where to look when that is not known soon. Nothing is decided here but what the store knows for certain: an
//! order whose life is over, and a customer who comes too late.

use std::{ops::Range, time::Duration};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, Uri},
    response::Response,
    routing::{MethodRouter, get, post},
};
use tokio::task::spawn_blocking;

use super::{
    Api, no_such_order,
    outcome::{key_reused, pending, refused, refused_by_view, told, unconfirmed},
    request::{self, Asked},
    unavailable,
};
use crate::{
    clock::Monotonic,
    domain::{
        Change, Closing, Command, CommandId, CommandOutcome, OrderId,
        command::{Refusal, Verb, Verdict},
        flow::Party,
        wire,
    },
    env::Backoff,
    eventlog::{self, NewRecord},
    store::orders::{HistoryEntry, OrderView},
    web::Problem,
};

/// Longest wait for what fulfilment decides, and for the order to show it.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Pauses between two looks.
const LOOK: Range<Duration> = Duration::from_millis(20)..Duration::from_millis(100);

/// Who asks, and where they find their order.
struct Asker {
    party: Party,
    /// `/orders/17`, `/track/HANDLE`.
    place: String,
}

/// The routes of the shop.
pub(super) fn of_shop(mut router: Router<Api>) -> Router<Api> {
    for verb in Verb::ALL {
        let handler = move |State(api): State<Api>, Path(id): Path<String>, request: Request| async move {
            by_shop(&api, verb, &id, request).await
        };
        router = router.route(&format!("/orders/{{id}}/{}", verb.name()), post(handler));
    }
    router.route("/orders/{id}/commands/{command}", get(look_by_id))
}

/// The customer's, each with its path.
pub(super) fn of_customer() -> [(&'static str, MethodRouter<Api>); 2] {
    [("/track/{handle}/cancel", post(by_customer)), ("/track/{handle}/commands/{command}", get(look_by_handle))]
}

async fn by_shop(api: &Api, verb: Verb, id: &str, request: Request) -> Result<Response, Problem> {
    api.authorize_change(request.uri(), request.headers())?;
    let id = id.parse().map_err(|_| no_such_order())?;
    let asked = request::of_shop(verb, request).await?;
    let (view, history) = api.find(id).await?.ok_or_else(no_such_order)?;
    let asker = Asker { party: Party::Operator, place: format!("/orders/{id}") };
    api.carry_out(&asker, asked, &view, &history).await
}

/// `POST /track/{handle}/cancel`. Whoever has the handle is the customer, or was given it.
async fn by_customer(
    State(api): State<Api>,
    Path(handle): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let id = api.open(&handle)?;
    let (asked, is_confirmed) = request::of_customer(request).await?;
    let (view, history) = api.find(id).await?.ok_or_else(no_such_order)?;
    if !is_confirmed && view.closes().is_none() && !is_too_late(&view, Party::Customer) {
        return Err(unconfirmed(&view));
    }
    let asker = Asker { party: Party::Customer, place: format!("/track/{handle}") };
    api.carry_out(&asker, asked, &view, &history).await
}

/// `GET /orders/{id}/commands/{command}`.
async fn look_by_id(
    State(api): State<Api>,
    headers: HeaderMap,
    uri: Uri,
    Path((id, command)): Path<(String, String)>,
) -> Result<Response, Problem> {
    api.authorize(&uri, &headers)?;
    let id = id.parse().map_err(|_| no_such_order())?;
    api.look(&Asker { party: Party::Operator, place: format!("/orders/{id}") }, id, &command).await
}

/// `GET /track/{handle}/commands/{command}`.
async fn look_by_handle(
    State(api): State<Api>,
    Path((handle, command)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = api.open(&handle)?;
    api.look(&Asker { party: Party::Customer, place: format!("/track/{handle}") }, id, &command).await
}

impl Asker {
    fn place_of(&self, command: &CommandId) -> String {
        format!("{}/commands/{command}", self.place)
    }
}

impl Api {
    async fn carry_out(
        &self,
        asker: &Asker,
        asked: Asked,
        view: &OrderView,
        history: &[HistoryEntry],
    ) -> Result<Response, Problem> {
        let Asked { key, by, reason, what } = asked;
        let (order, party, has_key) = (view.order.id, asker.party, key.is_some());
        let id = key.map_or_else(|| self.fresh_id(), Ok)?;
        let wish = what.wish(view, self.0.env.clock.now());
        let verb = wish.verb();
        let answer = async {
            let before = if has_key { self.outcome(&id).await? } else { None };
            if before.as_ref().is_some_and(|before| before.order != order) {
                return Err(key_reused());
            }
            if let Some(done) = done_before(&id, view, history, before.as_ref()) {
                return self.settled(asker, verb, done).await;
            }
            if let Some(closing) = view.closes() {
                return Err(refused_by_view(view, &id, Refusal::Closed(closing), party));
            }
            if verb == Verb::Cancel && is_too_late(view, party) {
                return Err(refused_by_view(view, &id, Refusal::TooLate, party));
            }
            let command = Command { id: id.clone(), order, by, party, wish, reason };
            self.send(&command, view.partition).await?;
            match self.decided(&command, before.as_ref()).await {
                Some(outcome) => self.settled(asker, verb, outcome).await,
                None => Ok(pending(order, &id, &asker.place_of(&id))),
            }
        };
        let answer: Result<Response, Problem> = answer.await;
        let status = answer.as_ref().map_or_else(Problem::status, Response::status);
        self.0.metrics.commanded(verb, status);
        answer
    }

    /// What became of a command, once the order shows it: whoever looks next sees what they were told.
    async fn settled(&self, asker: &Asker, verb: Verb, outcome: CommandOutcome) -> Result<Response, Problem> {
        let CommandOutcome { command, order, verdict, standing: left, .. } = &outcome;
        match verdict {
            Verdict::Done | Verdict::Repeated => {}
            Verdict::Refused { .. } | Verdict::Unknown => return self.refusal(asker, verb, outcome).await,
        }
        let seq = left.as_ref().map_or(0, |left| left.seq);
        let end = self.0.env.pace.monotonic() + WAIT_MAX;
        let mut pauses = Backoff::new(LOOK);
        while let Ok(Some((view, history))) = self.find(*order).await {
            if let Some(found) = history.iter().find(|entry| is_of(entry, command))
                && verb_of(found, &view) != verb
            {
                return Err(key_reused());
            }
            if view.seq >= seq || !self.may_pause(&mut pauses, end).await {
                break;
            }
        }
        Ok(told(&outcome, asker.party))
    }

    /// A refusal as the client reads it. What fulfilment does not know of any more may have ended; and the command that
    /// ended it may be this one.
    async fn refusal(&self, asker: &Asker, verb: Verb, outcome: CommandOutcome) -> Result<Response, Problem> {
        let is_over = |code: &str| code == Refusal::Closed(Closing::Finished).code();
        let may_be_over = match &outcome.verdict {
            Verdict::Refused { code, .. } => is_over(code),
            _ => true,
        };
        let found = if may_be_over { self.find(outcome.order).await? } else { None };
        let Some((view, history)) = found else { return Err(refused(&outcome, asker.party)) };
        if let Some(entry) = history.iter().find(|entry| is_of(entry, &outcome.command)) {
            let is_same = verb_of(entry, &view) == verb;
            let verdict = Verdict::Repeated;
            let done = CommandOutcome { verdict, standing: Some(view.standing()), ..outcome };
            return if is_same { Ok(told(&done, asker.party)) } else { Err(key_reused()) };
        }
        match view.closes() {
            Some(closing) => Err(refused_by_view(&view, &outcome.command, Refusal::Closed(closing), asker.party)),
            None => Err(refused(&outcome, asker.party)),
        }
    }

    /// Writes a command to the order's own partition. What is written is decided, whoever waits for that.
    async fn send(&self, command: &Command, partition: Option<u32>) -> Result<(), Problem> {
        let topic = self.0.options.commands.clone();
        let record = NewRecord {
            topic: topic.clone(),
            partition, // that of an order of before is told by its key
            key: Some(wire::key(command.order)),
            value: wire::encode_command(command),
            headers: wire::command_headers(&command.id),
            at: self.0.env.clock.now(),
        };
        let Err(error) = self.0.log.append(vec![record]).await else { return Ok(()) };
        let retry = |problem: Problem| problem.with("command", command.id.as_str());
        if let eventlog::Error::Overloaded(_) = error {
            return Err(retry(Problem::overloaded("the command was not taken; please try again")));
        }
        self.0.failures.warn(&self.0.env.clock, |more| {
            tracing::warn!(order.id = %command.order, %error, more_before = more, "cannot write a command");
        });
        Err(retry(match error {
            eventlog::Error::Unavailable(_) => {
                Problem::unavailable("the command cannot be stored now and was not taken")
            }
            eventlog::Error::Unconfirmed(_) => unconfirmed_by_log(),
            _ if self.lacks(topic.clone()).await => no_topic(&topic),
            _ => Problem::internal(),
        }))
    }

    async fn lacks(&self, topic: String) -> bool {
        let log = self.0.log.clone();
        let found = spawn_blocking(move || log.topic(&topic)).await;
        matches!(found, Ok(Ok(None)))
    }

    /// Waits for what becomes of a command that was sent. An answer that was there before is none to this one.
    async fn decided(&self, command: &Command, before: Option<&CommandOutcome>) -> Option<CommandOutcome> {
        let end = self.0.env.pace.monotonic() + WAIT_MAX;
        let mut pauses = Backoff::new(LOOK);
        while self.may_pause(&mut pauses, end).await {
            // a store that is away may be back in time
            if let Ok(Some(outcome)) = self.0.store.outcome(&command.id).await
                && outcome.order == command.order
                && before != Some(&outcome)
            {
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

    async fn look(&self, asker: &Asker, order: OrderId, command: &str) -> Result<Response, Problem> {
        let command: CommandId = command.parse().map_err(|_| no_such_order())?;
        let (view, history) = self.find(order).await?.ok_or_else(no_such_order)?;
        let outcome = self.outcome(&command).await?;
        if outcome.as_ref().is_some_and(|outcome| outcome.order != order) {
            return Err(no_such_order());
        }
        match outcome.clone().or_else(|| done_before(&command, &view, &history, None)) {
            Some(outcome) => Ok(told(&outcome, asker.party)),
            None => Ok(pending(order, &command, &asker.place_of(&command))),
        }
    }

    async fn outcome(&self, command: &CommandId) -> Result<Option<CommandOutcome>, Problem> {
        self.0.store.outcome(command).await.map_err(unavailable)
    }

    fn fresh_id(&self) -> Result<CommandId, Problem> {
        let mut random = [0; 16];
        self.0.env.random.fill(&mut random).map_err(|error| {
            tracing::error!(%error, "the system has no random numbers");
            Problem::internal()
        })?;
        Ok(format!("{:032x}", u128::from_be_bytes(random)).parse().expect("hexadecimal digits are plain"))
    }
}

/// What a command did before, if it did anything. What was answered is answered again; the history remembers longer.
fn done_before(
    id: &CommandId,
    view: &OrderView,
    history: &[HistoryEntry],
    before: Option<&CommandOutcome>,
) -> Option<CommandOutcome> {
    let is_done = |before: &&CommandOutcome| matches!(before.verdict, Verdict::Done | Verdict::Repeated);
    let remembered = || {
        let (verdict, standing) = (Verdict::Repeated, Some(view.standing()));
        CommandOutcome { command: id.clone(), order: view.order.id, verdict, standing, at: view.at }
    };
    let in_history = history.iter().any(|entry| is_of(entry, id));
    before.filter(is_done).cloned().or_else(|| in_history.then(remembered))
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

/// Whether somebody can no longer cancel; unknown of orders whose events do not tell.
fn is_too_late(view: &OrderView, party: Party) -> bool {
    view.exits.cancel.is_some_and(|least| party < least)
}

fn unconfirmed_by_log() -> Problem {
    let detail = "the command may have been taken or not; a retry with the Idempotency-Key given as `command` is safe";
    Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "unconfirmed", "Not confirmed", detail).retry_after(5)
}

fn no_topic(topic: &str) -> Problem {
    Problem::unavailable(format!(
        "there is no topic {topic} for commands, so the command was not taken: `encargo log init` creates it"
    ))
}
