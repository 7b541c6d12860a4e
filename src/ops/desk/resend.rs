//! `/orders/{id}/resend`: the last mail of an order is sent again, for a customer who says that it has not come. It is the same
//! mail under the same `Message-ID`, and the ledger counts it as a repeat. Nothing of it stands in the log, for nothing happens
//! to the order, which may have ended.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use minijinja::context;

use super::{
    Desk,
    actions::{by, desk_name},
    form::Form,
    order::{RESEND, find, last_mail},
    says::Voice,
    unavailable,
};
use crate::{
    domain::{Timestamp, wire},
    pages::Reader,
    store::{
        ledger::{MailId, MailStatus},
        mails::{MailEntry, Resend},
        orders::OrderView,
    },
    web::Problem,
    words,
};

/// Why it is not possible, as the key of words.
type Flaw = &'static str;

/// `GET /orders/{id}/resend`: asks.
pub(super) async fn ask(State(desk): State<Desk>, reader: Reader, Path(id): Path<String>) -> Result<Response, Problem> {
    let (view, _) = find(&desk, &id).await?;
    asking(&desk, &reader, &view, &Form::of(&Bytes::new()), None).await
}

/// `POST /orders/{id}/resend`: does it.
pub(super) async fn act(
    State(desk): State<Desk>,
    reader: Reader,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let form = Form::of(&body);
    let (view, _) = find(&desk, &id).await?;
    let again = async |flaw: Flaw, status| {
        let mut page = asking(&desk, &reader, &view, &form, Some(flaw)).await?;
        *page.status_mut() = status;
        Ok(page)
    };
    let resend = match wanted(&form, &view, &reader, desk.0.deps.env.clock.now()) {
        Ok(resend) => resend,
        Err(flaw) => return again(flaw, StatusCode::UNPROCESSABLE_ENTITY).await,
    };
    let store = desk.0.deps.watch.store().map_err(unavailable)?;
    // its address may have been refused since the page was made
    let is_possible = last_sent(&desk, &view).await?.is_ok();
    if !is_possible || !store.resend(resend.clone()).await.map_err(unavailable)? {
        return again("resend_stale", StatusCode::CONFLICT).await;
    }
    tracing::info!(order.id = resend.id.order.get(), by = %resend.by, "the last mail of an order is sent again");
    Ok(Redirect::to(&format!("/orders/{}?done={RESEND}", view.order.id)).into_response())
}

/// The last mail, if it can be sent again.
async fn last_sent(desk: &Desk, view: &OrderView) -> Result<Result<MailEntry, Flaw>, Problem> {
    let store = desk.0.deps.watch.store().map_err(unavailable)?;
    let mails = store.mails_of(view.order.id).await.map_err(unavailable)?;
    let Some(last) = last_mail(&mails) else { return Ok(Err("resend_none")) };
    if store.suppression(view.recipient()).await.map_err(unavailable)?.is_some() {
        return Ok(Err("resend_suppressed"));
    }
    Ok(match last.status {
        MailStatus::Sent => Ok(last.clone()),
        MailStatus::Pending | MailStatus::Sending => Err("resend_waits"),
        MailStatus::Dead => Err("resend_dead"),
        MailStatus::Dropped => Err("resend_dropped"),
    })
}

async fn asking(
    desk: &Desk,
    reader: &Reader,
    view: &OrderView,
    form: &Form,
    flaw: Option<Flaw>,
) -> Result<Response, Problem> {
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: desk.0.deps.env.clock.now() };
    let found = last_sent(desk, view).await?;
    let about = found.as_ref().map(|mail| voice.state(&mail.estado)).unwrap_or_default();
    let note = flaw.or(found.as_ref().err().copied()).map(|flaw| words::word(reader.lang, flaw));
    let key = found.as_ref().map(|mail| format!("{}.{}", mail.id.seq, mail.attempts)).unwrap_or_default();
    let values = context! {
        id => view.order.id.get(), verb => RESEND, title => voice.say("ask_resend", &[("n", &view.order.id.to_string())]),
        effect => voice.say("does_resend", &[("s", &about), ("a", view.recipient().as_str())]), label => voice.word("act_resend"),
        is_end => false, product => view.order.product.name.to_string(), state => voice.state(&view.estado),
        customer => view.recipient().as_str(), key, reason => form.get("reason"), by => form.get("by"), value => "", note,
        desk => desk_name(reader), is_possible => found.is_ok(),
    };
    Ok(desk.render("desk/act.html", reader, "/orders", values).await)
}

/// What the form wants: the mail, and the attempts that it had when the page spoke of it.
fn wanted(form: &Form, view: &OrderView, reader: &Reader, at: Timestamp) -> Result<Resend, Flaw> {
    let (seq, attempts) = form.get("key").split_once('.').ok_or("resend_stale")?;
    let (seq, attempts) = (seq.parse().map_err(|_| "resend_stale")?, attempts.parse().map_err(|_| "resend_stale")?);
    let by = wire::read_by(&by(form.given("by"), reader)).map_err(|_| "bad_by")?;
    let reason = form.given("reason").map(wire::read_reason).transpose().map_err(|_| "bad_reason")?;
    let id = MailId { order: view.order.id, seq };
    Ok(Resend { id, attempts, at, by, reason })
}
