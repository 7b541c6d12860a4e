//! What the shop does to one order: a page that says what will happen and asks, and the form that does it.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use minijinja::context;

use super::{
    Desk,
    form::Form,
    order::{find, label_key},
    says::Voice,
    unavailable,
};
use crate::{
    commands::{self, Answer},
    domain::{
        Command, CommandId, CommandOutcome, Lang, Timestamp,
        command::{Refusal, Verb, Verdict, allows},
        flow::Party,
        parse_duration, wire,
    },
    pages::Reader,
    store::orders::OrderView,
    web::Problem,
    words,
};

/// Who the shop is in an order's history where nobody gives a name.
const DESK: &str = "desk";

/// What is wrong with what was written, as the key of words.
type Flaw = &'static str;

/// `GET /orders/{id}/{verb}`: asks.
pub(super) async fn ask(
    State(desk): State<Desk>,
    reader: Reader,
    Path((id, verb)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let verb = Verb::named(&verb).ok_or_else(no_such_action)?;
    let (view, _) = find(&desk, &id).await?;
    let commands = desk.commands().ok_or_else(no_commands)?;
    let key = commands.fresh_id().map_err(|_| Problem::internal())?;
    let note =
        (!allows(view.waits, view.exits, Party::Operator, verb)).then(|| refusal(&desk, &view, verb, reader.lang));
    let is_possible = note.is_none();
    let asked = Asking { key: key.as_str(), note, is_possible, ..Asking::default() };
    Ok(asking(&desk, &reader, &view, verb, &asked).await)
}

/// What stands in the form, and what is said above it.
#[derive(Default)]
struct Asking<'a> {
    key: &'a str,
    reason: &'a str,
    by: &'a str,
    value: &'a str,
    note: Option<String>,
    /// Whether there is a form at all.
    is_possible: bool,
}

async fn asking(desk: &Desk, reader: &Reader, view: &OrderView, verb: Verb, asking: &Asking<'_>) -> Response {
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: desk.0.deps.env.clock.now() };
    let id = view.order.id.to_string();
    let (question, effect) = match verb {
        Verb::Cancel => ("ask_cancel", "does_cancel"),
        Verb::Advance => ("ask_advance", "does_advance"),
        Verb::Refuse => ("ask_refuse", "does_refuse"),
        Verb::Hold => ("ask_hold", "does_hold"),
        Verb::Resume => ("ask_resume", "does_resume"),
        Verb::Delay => ("ask_delay", "does_delay"),
        Verb::Address => ("ask_address", "does_address"),
    };
    let is_end = matches!(verb, Verb::Cancel | Verb::Refuse);
    let values = context! {
        id => view.order.id.get(), verb => verb.name(), title => voice.say(question, &[("n", &id)]), effect => voice.word(effect),
        label => voice.word(label_key(verb)), is_end, product => view.order.product.name.to_string(),
        state => voice.state(&view.estado), customer => view.recipient().as_str(),
        key => asking.key, reason => asking.reason, by => asking.by, value => asking.value, note => &asking.note,
        desk => desk_name(reader), is_possible => asking.is_possible,
    };
    desk.render("desk/act.html", reader, "/orders", values).await
}

/// `POST /orders/{id}/{verb}`: does it.
pub(super) async fn act(
    State(desk): State<Desk>,
    reader: Reader,
    Path((id, verb)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let form = Form::of(&body);
    let verb = Verb::named(&verb).ok_or_else(no_such_action)?;
    let (view, history) = find(&desk, &id).await?;
    let commands = desk.commands().ok_or_else(no_commands)?;
    let key: CommandId = match form.given("key").map(str::parse) {
        Some(Ok(key)) => key,
        _ => commands.fresh_id().map_err(|_| Problem::internal())?,
    };
    let again = async |note: String, status| {
        let asked = Asking {
            key: key.as_str(),
            reason: form.get("reason"),
            by: form.get("by"),
            value: form.get("value"),
            note: Some(note),
            is_possible: true,
        };
        let mut page = asking(&desk, &reader, &view, verb, &asked).await;
        *page.status_mut() = status;
        page
    };
    let command = match command(&form, &key, &view, verb, &reader, desk.0.deps.env.clock.now()) {
        Ok(command) => command,
        Err(flaw) => {
            return Ok(again(words::word(reader.lang, flaw).to_owned(), StatusCode::UNPROCESSABLE_ENTITY).await);
        }
    };
    match commands.carry_out(&command, true, &view, &history).await {
        Ok(Answer::Done(_)) => {
            Ok(Redirect::to(&format!("/orders/{}?done={}", view.order.id, verb.name())).into_response())
        }
        Ok(Answer::Pending(_)) => {
            Ok(Redirect::to(&format!("/orders/{}?sent={}", view.order.id, verb.name())).into_response())
        }
        Ok(Answer::Refused(outcome)) => Ok(again(refused(&outcome, reader.lang), StatusCode::CONFLICT).await),
        Err(commands::Error::Store(error)) => Err(unavailable(error)),
        Err(commands::Error::Failed) => Err(Problem::internal()),
        Err(commands::Error::KeyReused) => {
            Ok(again(words::word(reader.lang, "act_reused").to_owned(), StatusCode::CONFLICT).await)
        }
        // the same form may be sent again: its key makes sure that it is done once
        Err(commands::Error::Unconfirmed) => {
            Ok(again(words::word(reader.lang, "act_unconfirmed").to_owned(), StatusCode::SERVICE_UNAVAILABLE).await)
        }
        Err(error) => Err(Problem::unavailable(error.to_string())),
    }
}

/// What the form wants.
fn command(
    form: &Form,
    key: &CommandId,
    view: &OrderView,
    verb: Verb,
    reader: &Reader,
    now: Timestamp,
) -> Result<Command, Flaw> {
    let delayed = || {
        let more = parse_duration(form.get("value")).ok().filter(|more| !more.is_zero()).ok_or("bad_delay")?;
        Ok(view.waits.delayed_by(more, now))
    };
    let action = verb.action(delayed, || form.get("value").parse().map_err(|_| "bad_address"))?;
    let by = wire::read_by(&by(form.given("by"), reader)).map_err(|_| "bad_by")?;
    let reason = form.given("reason").map(wire::read_reason).transpose().map_err(|_| "bad_reason")?;
    Ok(Command { id: key.clone(), order: view.order.id, by, party: Party::Operator, action, reason })
}

/// What the desk is called in an order's history: with a session, that one.
pub(super) fn desk_name(reader: &Reader) -> String {
    reader.session().map_or_else(|| DESK.to_owned(), |session| format!("{DESK}-{session}"))
}

/// Who acts. Anybody can write any name, so that of the session is always told.
pub(super) fn by(given: Option<&str>, reader: &Reader) -> String {
    let desk = desk_name(reader);
    match given {
        Some(name) if reader.session().is_none() => name.to_owned(),
        Some(name) if name != desk => format!("{name} ({desk})"),
        _ => desk,
    }
}

/// Why an action is not possible for an order as it stands.
fn refusal(desk: &Desk, view: &OrderView, verb: Verb, lang: Lang) -> String {
    let (is_held, has_refusal) =
        (matches!(view.waits, crate::domain::Waits::Held(_)), desk.0.deps.flow.refused().is_some());
    let refusal = match (view.closes(), verb) {
        (Some(closing), _) => Refusal::Closed(closing),
        (None, Verb::Resume) => Refusal::NotHeld,
        (None, Verb::Refuse) if !has_refusal => Refusal::NoSuchEnd,
        (None, _) if is_held => Refusal::Held,
        (None, Verb::Delay) => Refusal::NoTimer,
        (None, Verb::Advance) => Refusal::OnlyByTimer,
        (None, _) => Refusal::TooLate,
    };
    words::refusal(lang, refusal.code(), &refusal.to_string())
}

fn refused(outcome: &CommandOutcome, lang: Lang) -> String {
    match &outcome.verdict {
        Verdict::Refused { code, detail } => words::refusal(lang, code, detail),
        _ => words::word(lang, "refusal_not_in_flight").to_owned(),
    }
}

fn no_such_action() -> Problem {
    Problem::not_found("there is no such action")
}

fn no_commands() -> Problem {
    let detail = "Este proceso no puede cambiar pedidos: hazlo en uno que lleve el seguimiento.\n\
                  This process cannot change orders: do it at one that does the tracking.";
    Problem::new(StatusCode::CONFLICT, "no-commands", "Orders cannot be changed here", detail)
}
