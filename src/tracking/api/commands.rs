//! Commands about orders, over HTTP: the answer says what became of one, or where to look when that is not known soon.

use super::{
    Api, no_such_order,
    outcome::{key_reused, pending, refused, told, unconfirmed},
    request::{self, Asked},
    unavailable,
};
use crate::{
    commands::{self, Answer, done_before, is_too_late},
    domain::{Command, CommandId, OrderId, command::Verb, flow::Party},
    store::orders::{HistoryEntry, OrderView},
    web::Problem,
};
use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, Uri},
    response::Response,
    routing::{MethodRouter, get, post},
};

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
        let (order, party, is_named) = (view.order.id, asker.party, key.is_some());
        let id = key.map_or_else(|| self.0.commands.fresh_id(), Ok).map_err(|_| Problem::internal())?;
        let wish = what.wish(view, self.0.env.clock.now());
        let verb = wish.verb();
        let command = Command { id, order, by, party, wish, reason };
        let answer = match self.0.commands.carry_out(&command, is_named, view, history).await {
            Ok(Answer::Done(outcome)) => Ok(told(&outcome, party)),
            Ok(Answer::Refused(outcome)) => Err(refused(&outcome, party)),
            Ok(Answer::Pending) => Ok(pending(order, &command.id, &asker.place_of(&command.id))),
            Err(error) => Err(not_taken(error, &command.id)),
        };
        let status = answer.as_ref().map_or_else(Problem::status, Response::status);
        self.0.metrics.commanded(verb, status);
        answer
    }

    async fn look(&self, asker: &Asker, order: OrderId, command: &str) -> Result<Response, Problem> {
        let command: CommandId = command.parse().map_err(|_| no_such_order())?;
        let (view, history) = self.find(order).await?.ok_or_else(no_such_order)?;
        let outcome = self.0.commands.outcome(&command).await.map_err(|error| not_taken(error, &command))?;
        if outcome.as_ref().is_some_and(|outcome| outcome.order != order) {
            return Err(no_such_order());
        }
        match outcome.clone().or_else(|| done_before(&command, &view, &history, None)) {
            Some(outcome) => Ok(told(&outcome, asker.party)),
            None => Ok(pending(order, &command, &asker.place_of(&command))),
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
    Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, "unconfirmed", "Not confirmed", detail).retry_after(5)
}
