//! Commands about orders, over HTTP: the answer says what became of one, or where to look when that is not known soon.

use super::{
    Api, no_such_order,
    outcome::{key_reused, pending, refused, told, unconfirmed},
    request::{self, Asked},
    unavailable,
};
use crate::{
    commands::{self, Answer, done_before, is_too_late},
    domain::{
        Command, CommandCopy, CommandId, CommandOutcome, Invalid, OrderId,
        command::{Verb, Verdict},
        flow::Party,
    },
    pages::Reader,
    store::orders::{HistoryEntry, OrderView},
    tracking::pages::{Cancellation, Look, Trouble, to_order},
    web::{self, FieldError, Problem},
};
use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
    routing::{MethodRouter, get, post},
};

/// What may have been done or not.
const UNCONFIRMED: &str = "unconfirmed";

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
    [
        ("/track/{handle}/cancel", get(ask_customer).post(by_customer)),
        ("/track/{handle}/commands/{command}", get(look_by_handle)),
    ]
}

async fn by_shop(api: &Api, verb: Verb, id: &str, request: Request) -> Result<Response, Problem> {
    api.authorize_change(request.uri(), request.headers())?;
    let id = id.parse().map_err(|_| no_such_order())?;
    let asked = request::of_shop(verb, request).await?;
    let (view, history) = api.find(id).await?.ok_or_else(no_such_order)?;
    let asker = Asker { party: Party::Operator, place: format!("/orders/{id}") };
    api.carry_out(&asker, asked, &view, &history).await
}

/// `GET /track/{handle}/cancel`: the question, whose answer has a name before it is given.
async fn ask_customer(State(api): State<Api>, Path(handle): Path<String>, reader: Reader) -> Result<Response, Problem> {
    let (view, history) = api.by_handle(&handle).await?;
    let look = Look { reader: &reader, handle: &handle, view: &view, history: &history };
    Ok(api.0.pages.question(&look, &api.fresh_id()?, None).await)
}

/// `POST /track/{handle}/cancel`. Whoever has the handle is the customer, or was given it.
async fn by_customer(
    State(api): State<Api>,
    Path(handle): Path<String>,
    reader: Reader,
    request: Request,
) -> Result<Response, Problem> {
    let is_browser = web::accepts_html(request.headers());
    let (view, history) = api.by_handle(&handle).await?;
    let (mut asked, is_confirmed) = request::of_customer(request).await?;
    if !is_confirmed && view.closes().is_none() && !is_too_late(&view, Party::Customer) {
        return Err(unconfirmed(&view));
    }
    let asker = Asker { party: Party::Customer, place: format!("/track/{handle}") };
    if !is_browser {
        return api.carry_out(&asker, asked, &view, &history).await;
    }
    let command = asked.key.take().map_or_else(|| api.fresh_id(), Ok)?;
    let asked = Asked { key: Some(command.clone()), ..asked };
    match api.carry_out(&asker, asked, &view, &history).await {
        Ok(_) => Ok(to_order(&handle, Some(&command))),
        // the page of the order tells what it is, and why nothing came of this
        Err(problem) if problem.status() == StatusCode::CONFLICT => Ok(to_order(&handle, Some(&command))),
        Err(problem) if problem.status().is_server_error() => {
            let trouble = if problem.kind() == UNCONFIRMED { Trouble::Unsure } else { Trouble::Failed };
            let look = Look { reader: &reader, handle: &handle, view: &view, history: &history };
            Ok(api.0.pages.question(&look, &command, Some(trouble)).await)
        }
        Err(problem) => Err(problem),
    }
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
    api.look(&Asker { party: Party::Operator, place: format!("/orders/{id}") }, id, &command, sent_copy(&uri)?).await
}

/// `GET /track/{handle}/commands/{command}`.
async fn look_by_handle(
    State(api): State<Api>,
    uri: Uri,
    Path((handle, command)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = api.by_handle(&handle).await?.0.order.id;
    api.look(&Asker { party: Party::Customer, place: format!("/track/{handle}") }, id, &command, sent_copy(&uri)?).await
}

/// `?copy=`: the copy of the command that was sent; without it whatever is known of the command is the answer.
fn sent_copy(uri: &Uri) -> Result<Option<CommandCopy>, Problem> {
    let bad = |error: Invalid| Problem::invalid(vec![FieldError { field: "copy".into(), detail: error.rule }]);
    web::query_field(uri, "copy").map(|copy| copy.parse().map_err(bad)).transpose()
}

impl Asker {
    /// Where to look what becomes of a command, or of one copy of it.
    fn place_of(&self, command: &CommandId, copy: Option<CommandCopy>) -> String {
        let copy = copy.map(|copy| format!("?copy={copy}")).unwrap_or_default();
        format!("{}/commands/{command}{copy}", self.place)
    }
}

impl Api {
    fn fresh_id(&self) -> Result<CommandId, Problem> {
        self.0.commands.fresh_id().map_err(|_| Problem::internal())
    }

    async fn carry_out(
        &self,
        asker: &Asker,
        asked: Asked,
        view: &OrderView,
        history: &[HistoryEntry],
    ) -> Result<Response, Problem> {
        let Asked { key, by, reason, what } = asked;
        let (order, party, is_named) = (view.order.id, asker.party, key.is_some());
        let id = key.map_or_else(|| self.fresh_id(), Ok)?;
        let action = what.action(view, self.0.env.clock.now());
        let verb = action.verb();
        let command = Command { id, order, by, party, action, reason };
        let answer = match self.0.commands.carry_out(&command, is_named, view, history).await {
            Ok(Answer::Done(outcome)) => Ok(told(&outcome, party)),
            Ok(Answer::Refused(outcome)) => Err(refused(&outcome, party)),
            Ok(Answer::Pending(copy)) => Ok(pending(order, &command.id, &asker.place_of(&command.id, Some(copy)))),
            Err(error) => Err(not_taken(error, &command.id)),
        };
        let status = answer.as_ref().map_or_else(Problem::status, Response::status);
        self.0.metrics.commanded(verb, status);
        answer
    }

    /// What a page tells of a cancellation that its reader asked for; nothing once it is done, which the order shows.
    pub(super) async fn cancellation(
        &self,
        view: &OrderView,
        history: &[HistoryEntry],
        command: &CommandId,
    ) -> Result<Option<Cancellation>, Problem> {
        if view.closes().is_some() || done_before(command, view, history, None).is_some() {
            return Ok(None);
        }
        let outcome = self.0.commands.outcome(command).await.map_err(|error| not_taken(error, command))?;
        Ok(match outcome.filter(|outcome| outcome.order == view.order.id) {
            Some(CommandOutcome { verdict: Verdict::Refused { .. } | Verdict::Unknown, .. }) => {
                Some(Cancellation::Refused)
            }
            None if is_too_late(view, Party::Customer) => Some(Cancellation::Refused),
            // what was done shows in a moment
            Some(_) | None => Some(Cancellation::Pending),
        })
    }

    async fn look(
        &self,
        asker: &Asker,
        order: OrderId,
        command: &str,
        sent: Option<CommandCopy>,
    ) -> Result<Response, Problem> {
        let command: CommandId = command.parse().map_err(|_| no_such_order())?;
        let (view, history) = self.find(order).await?.ok_or_else(no_such_order)?;
        let outcome = self.0.commands.outcome(&command).await.map_err(|error| not_taken(error, &command))?;
        let is_other = outcome.as_ref().is_some_and(|outcome| outcome.order != order);
        if is_other && sent.is_none() && done_before(&command, &view, &history, None).is_none() {
            return Err(no_such_order());
        }
        // one id may have been sent for two orders at once: what it did to this one is in its history
        let outcome = outcome.filter(|outcome| !is_other && sent.is_none_or(|sent| outcome.settles(sent)));
        match outcome.or_else(|| done_before(&command, &view, &history, None)) {
            Some(outcome) => Ok(told(&outcome, asker.party)),
            None => Ok(pending(order, &command, &asker.place_of(&command, sent))),
        }
    }
}

/// Why there is no answer, to whoever asked.
fn not_taken(error: commands::Error, command: &CommandId) -> Problem {
    let problem = match error {
        commands::Error::KeyReused => return key_reused(),
        commands::Error::Store(error) => return unavailable(error),
        commands::Error::Overloaded => Problem::overloaded(error.to_string()),
        commands::Error::Unavailable | commands::Error::NoTopic(_) => Problem::unavailable(error.to_string()),
        commands::Error::Unconfirmed => unconfirmed_by_log(),
        commands::Error::Failed => Problem::internal(),
    };
    problem.with("command", command.as_str())
}

fn unconfirmed_by_log() -> Problem {
    let detail = "the command may have been taken or not; a retry with the Idempotency-Key given as `command` is safe";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, UNCONFIRMED, "Not confirmed", detail).retry_after(5)
}
