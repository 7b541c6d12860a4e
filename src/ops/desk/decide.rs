//! Decisions about failures: a page that says how many there are and what will happen, and the form that does it, if they are
//! still the same.

use std::{hash::Hasher as _, sync::Arc};

use axum::{
    body::Bytes,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Redirect, Response},
};
use minijinja::context;
use siphasher::sip::SipHasher13;
use tokio::task::JoinSet;

use super::{
    Desk,
    failures::{self, Group, Kind},
    form::Form,
    says::{Voice, quoted},
    unavailable,
};
use crate::{
    domain::{EmailAddress, Timestamp},
    pages::Reader,
    store::{
        self, Store,
        dead::{Action, DeadId, DeadItem},
    },
    web::{Problem, query_field},
};

/// Decisions that wait for the store at the same time: it takes many in one go.
const AT_ONCE: usize = 32;

/// What is decided about what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    verb: What,
    about: About,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Redrive,
    Drop,
    /// An address gets mail again.
    Release,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    All,
    Group(String),
    One(DeadId),
    Address(EmailAddress),
}

impl Choice {
    fn of(field: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let verb = match field("do")?.as_str() {
            "redrive" => What::Redrive,
            "drop" => What::Drop,
            "release" => What::Release,
            _ => return None,
        };
        let about = if verb == What::Release {
            About::Address(field("address")?.parse().ok()?)
        } else if let Some(id) = field("id") {
            About::One(id.parse().ok()?)
        } else if let Some(group) = field("group") {
            About::Group(group)
        } else {
            About::All
        };
        Some(Self { verb, about })
    }

    /// Its fields, for the form.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let verb = match self.verb {
            What::Redrive => "redrive",
            What::Drop => "drop",
            What::Release => "release",
        };
        let about = match &self.about {
            About::All => None,
            About::Group(key) => Some(("group", key.clone())),
            About::One(id) => Some(("id", id.to_string())),
            About::Address(address) => Some(("address", address.as_str().to_owned())),
        };
        [Some(("do", verb.to_owned())), about].into_iter().flatten().collect()
    }

    /// The failures that it is about.
    async fn items(&self, store: &dyn Store) -> store::Result<Vec<DeadItem>> {
        let groups = match &self.about {
            About::One(id) => return Ok(store.dead_one(id).await?.into_iter().collect()),
            About::Address(_) => return Ok(Vec::new()),
            About::All => failures::groups(store).await?.0,
            About::Group(key) => {
                let (groups, _) = failures::groups(store).await?;
                groups.into_iter().filter(|group| group.key == *key).collect::<Vec<Group>>()
            }
        };
        let can = |item: &DeadItem| self.verb == What::Drop || Kind::of(item).can_redrive();
        Ok(groups.into_iter().flat_map(|group| group.items).filter(can).collect())
    }
}

/// Stands for these failures and no others. One that was tried again and failed again is another.
fn digest(items: &[DeadItem]) -> String {
    let mut names: Vec<String> = items.iter().map(|item| format!("{} {}\n", item.id, item.at.as_millis())).collect();
    names.sort_unstable();
    let mut hasher = SipHasher13::new();
    hasher.write(names.concat().as_bytes());
    format!("{:016x}", hasher.finish())
}

fn nothing() -> Problem {
    Problem::not_found("that failure is already resolved").shown_as("decided")
}

/// `GET /failures/decide?do=redrive&group=…`: asks.
pub(super) async fn ask(State(desk): State<Desk>, reader: Reader, uri: Uri) -> Result<Response, Problem> {
    let choice = Choice::of(|name| query_field(&uri, name)).ok_or_else(nothing)?;
    asking(&desk, &reader, &choice, None).await
}

async fn asking(
    desk: &Desk,
    reader: &Reader,
    choice: &Choice,
    note: Option<&'static str>,
) -> Result<Response, Problem> {
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: desk.0.deps.env.clock.now() };
    let store = desk.0.deps.watch.store().map_err(unavailable)?;
    let items = choice.items(store.as_ref()).await.map_err(unavailable)?;
    let n = items.len() as u64;
    if n == 0 && choice.verb != What::Release {
        return Err(nothing());
    }
    let mails = items.iter().filter(|item| matches!(item.id, DeadId::Mail(_))).count() as u64;
    let of_addresses = items.iter().any(|item| Kind::of(item).is_about_the_address());
    let what = match (mails, n - mails) {
        (mails, 0) => voice.count("n_mails", mails),
        (0, records) => voice.count("n_records", records),
        (mails, records) => format!("{} + {}", voice.count("n_mails", mails), voice.count("n_records", records)),
    };
    let (title, label, effects) = match choice.verb {
        What::Redrive => {
            let effects = [
                (mails > 0, "conf_queue"),
                (of_addresses, "conf_release"),
                (mails > 0, "conf_same"),
                (n > mails, "conf_records"),
            ];
            (voice.say("conf_redrive", &[("w", &what)]), voice.count("redrive_n", n), effects.to_vec())
        }
        What::Drop => {
            let effects = [(mails > 0, "conf_unsent"), (n > mails, "conf_unread"), (true, "conf_kept")];
            (voice.say("conf_drop", &[("w", &what)]), voice.count("drop_n", n), effects.to_vec())
        }
        What::Release => (
            voice.word("conf_let").to_owned(),
            voice.word("release").to_owned(),
            vec![(true, "conf_let_1"), (true, "conf_let_2")],
        ),
    };
    let effects = effects.into_iter().filter(|(is_so, _)| *is_so).map(|(_, key)| voice.word(key));
    let about = match &choice.about {
        About::Address(address) => Some(address.as_str().to_owned()),
        About::All => None,
        _ => items.first().map(failures::sample),
    };
    let values = context! {
        title, label, effects => effects.collect::<Vec<_>>(), about, shown => digest(&items), note => note.map(|key| voice.word(key)),
        fields => choice.fields(), is_drop => choice.verb == What::Drop, is_redrive => choice.verb == What::Redrive,
        command => command(choice, &items),
    };
    let mut page = desk.render("desk/decide.html", reader, "/failures", values).await;
    if note.is_some() {
        *page.status_mut() = StatusCode::CONFLICT;
    }
    Ok(page)
}

/// What does the same on the command line, or shows what it is about: groups are made here only, and nothing there lets
/// addresses through on the way.
fn command(choice: &Choice, items: &[DeadItem]) -> String {
    let is_drop = choice.verb == What::Drop;
    let is_same = is_drop || !items.iter().any(|item| Kind::of(item).is_about_the_address());
    let verb = if is_drop { "drop" } else { "redrive" };
    match &choice.about {
        About::Address(address) => format!("encargo mail suppressed release {}", quoted(address.as_str())),
        About::All if is_same => format!("encargo dead {verb} --all"),
        About::All => "encargo dead list".into(),
        About::One(id) if is_same => format!("encargo dead {verb} {id}"),
        About::One(id) => format!("encargo dead show {id}"),
        About::Group(_) => items.first().map_or_else(|| "encargo dead list".into(), failures::command),
    }
}

/// `POST /failures/decide`: does it.
pub(super) async fn act(State(desk): State<Desk>, reader: Reader, body: Bytes) -> Result<Response, Problem> {
    let form = Form::of(&body);
    let choice = Choice::of(|name| form.given(name).map(str::to_owned)).ok_or_else(nothing)?;
    let store = desk.0.deps.watch.store().map_err(unavailable)?;
    if let About::Address(address) = &choice.about {
        let released = store.release_address(address).await.map_err(unavailable)?;
        return Ok(Redirect::to(&format!("/failures?released={}", u8::from(released))).into_response());
    }
    let items = choice.items(store.as_ref()).await.map_err(unavailable)?;
    if form.get("shown") != digest(&items) {
        return asking(&desk, &reader, &choice, Some("conf_changed")).await;
    }
    let now = desk.0.deps.env.clock.now();
    // a task of its own: what was begun is carried through, whoever still waits for the answer
    let deciding = tokio::spawn(decide(store.clone(), items, choice.verb, now));
    let decided = deciding.await.map_err(|_| Problem::internal())?.map_err(unavailable)?;
    let session = reader.session();
    tracing::info!(decided, verb = ?choice.verb, session, "failures were resolved at the operations desk");
    let name = if choice.verb == What::Drop { "dropped" } else { "redriven" };
    Ok(Redirect::to(&format!("/failures?{name}={decided}")).into_response())
}

/// What is to be done with one failure. An address is let through in the same step, by who really decides.
fn action(verb: What, item: &DeadItem) -> Action {
    match verb {
        What::Drop => Action::Drop,
        _ if Kind::of(item).is_about_the_address() => Action::Release,
        _ => Action::Redrive,
    }
}

/// Decides about each; returns about how many. Those that somebody else was faster with do not count.
async fn decide(store: Arc<dyn Store>, items: Vec<DeadItem>, verb: What, now: Timestamp) -> store::Result<u64> {
    let (mut running, mut decided, mut first) = (JoinSet::new(), 0, Ok(()));
    let mut take = |ended: Result<store::Result<bool>, tokio::task::JoinError>| match ended {
        Ok(Ok(is_new)) => decided += u64::from(is_new),
        Ok(Err(error)) => first = first.clone().and(Err(error)),
        Err(error) => first = first.clone().and(Err(store::Error::Unavailable(error.to_string()))),
    };
    for item in items {
        if running.len() >= AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            take(ended);
        }
        let store = store.clone();
        running.spawn(async move { store.decide(&item.id, action(verb, &item), now).await });
    }
    while let Some(ended) = running.join_next().await {
        take(ended);
    }
    // what was decided stays so, whatever failed after it
    first.map(|()| decided)
}
