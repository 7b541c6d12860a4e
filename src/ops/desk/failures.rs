//! `/failures`: what could not be processed or sent, grouped by reason, and whether trying again can help.

use std::{collections::BTreeMap, hash::Hasher as _};

use axum::{extract::State, response::Response};
use minijinja::{Value, context};
use siphasher::sip::SipHasher13;

use super::{
    Desk,
    says::{Voice, quoted},
    unavailable,
    watch::Seen,
};
use crate::{
    domain::{Timestamp, foreign_text::mask_addresses, wire},
    pages::Reader,
    store::{
        Store,
        dead::{DeadId, DeadItem},
        ledger::Class,
        mails::SuppressedQuery,
    },
    web::Problem,
};

/// Most failures that are read and grouped, of records only the beginnings.
pub(super) const ITEMS_MAX: usize = 5_000;
/// Rows of a group that are shown.
const ROWS: usize = 50;
/// Producers of a group that are shown, those of the most first.
const PRODUCERS: usize = 3;
/// Suppressed addresses that are shown.
const ADDRESSES: usize = 20;
/// The longest sample, in characters.
const SAMPLE_MAX: usize = 1_000;

/// Failures with the same reason.
pub(super) struct Group {
    /// Tells it from the others.
    pub(super) key: String,
    pub(super) kind: Kind,
    /// The oldest first.
    pub(super) items: Vec<DeadItem>,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mail(Option<Class>),
    Record,
    /// A record of which only the beginning was kept.
    Cut,
    /// Many records, of which only the beginning of the first one was kept.
    Flood,
}

impl Kind {
    pub(super) fn of(item: &DeadItem) -> Self {
        match &item.letter {
            None => Self::Mail(item.class),
            Some(letter) if wire::run(&letter.headers).is_some() => Self::Flood,
            Some(letter) if wire::cut(&letter.headers).is_some() => Self::Cut,
            Some(_) => Self::Record,
        }
    }

    /// The keys of its name, and of what can be done.
    pub(super) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Mail(Some(Class::Address)) => ("f_address", "f_address_do"),
            Self::Mail(Some(Class::Suppressed)) => ("f_suppressed", "f_address_do"),
            Self::Mail(Some(Class::Expired)) => ("f_expired", "f_expired_do"),
            Self::Mail(Some(Class::Composing)) => ("f_composing", "f_composing_do"),
            Self::Mail(_) => ("f_refused", "f_refused_do"),
            Self::Record => ("f_record", "f_record_do"),
            Self::Cut => ("f_cut", "f_cut_do"),
            Self::Flood => ("f_flood", "f_flood_do"),
        }
    }

    /// Whether trying again can help without anything being mended first.
    pub(super) const fn can_help(self) -> bool {
        matches!(self, Self::Mail(Some(Class::Expired)))
    }

    /// Whether it can be tried again at all.
    pub(super) const fn can_redrive(self) -> bool {
        !matches!(self, Self::Cut | Self::Flood)
    }

    /// Whether the address has to be let through first.
    pub(super) const fn is_about_the_address(self) -> bool {
        matches!(self, Self::Mail(Some(Class::Address | Class::Suppressed)))
    }
}

impl Group {
    /// How many failures there are; a letter may stand for many records.
    fn count(&self) -> u64 {
        self.items.iter().map(stands_for).fold(0, u64::saturating_add)
    }
}

fn stands_for(item: &DeadItem) -> u64 {
    item.letter.as_ref().map_or(1, |letter| wire::records(&letter.headers))
}

/// How many failures nobody has decided about.
pub(super) fn open(seen: &Seen) -> u64 {
    seen.dead_mails() + seen.snapshot.dead_records
}

/// All groups, the largest first, and whether there are more failures than were read.
pub(super) async fn groups(store: &dyn Store) -> crate::store::Result<(Vec<Group>, bool)> {
    let mut items = store.dead(None, ITEMS_MAX + 1).await?;
    let has_more = items.len() > ITEMS_MAX;
    items.truncate(ITEMS_MAX);
    let mut groups: Vec<Group> = Vec::new();
    for item in items {
        let (kind, key) = (Kind::of(&item), key(&item));
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => group.items.push(item),
            None => groups.push(Group { key, kind, items: vec![item] }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.count())); // of equal ones the oldest first
    Ok((groups, has_more))
}

/// How many reasons the failures have, of one look for all open pages; nothing while the store does not tell.
pub(super) async fn reasons(desk: &Desk) -> Option<usize> {
    let watch = desk.0.deps.watch.clone();
    let look = async move { groups(watch.store()?.as_ref()).await.map(|(groups, _)| groups.len()) };
    desk.0.reasons.look(&desk.0.deps.env.pace, look).await.ok()
}

fn key(item: &DeadItem) -> String {
    let mut hasher = SipHasher13::new();
    let of = match &item.id {
        DeadId::Mail(_) => item.class.map_or("mail", Class::name),
        DeadId::Record(source) => &source.topic,
    };
    for part in [of, "\n", &normalised(&item.reason)] {
        hasher.write(part.as_bytes());
    }
    hasher.write_u8(u8::from(Kind::of(item).can_redrive()));
    format!("{:016x}", hasher.finish())
}

/// A reason without what is different each time: addresses, texts in quotes, long numbers and ids.
fn normalised(reason: &str) -> String {
    let mut text = String::with_capacity(reason.len());
    let mut quoted = reason.split('"').enumerate().map(|(index, part)| if index % 2 == 0 { part } else { "…" });
    let unquoted = quoted.by_ref().collect::<Vec<_>>().join("\"");
    for (index, word) in unquoted.split(' ').enumerate() {
        if index > 0 {
            text.push(' ');
        }
        if word.contains('@') {
            text.push('@');
            continue;
        }
        // where in a text it is wrong says nothing of what is wrong
        let before = index.checked_sub(1).and_then(|before| unquoted.split(' ').nth(before));
        if matches!(before, Some("line" | "column" | "offset")) {
            text.push('#');
            continue;
        }
        let mut rest = word;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            let is_id = part.len() >= 6 && part.bytes().any(|byte| byte.is_ascii_digit());
            text.push_str(if is_id { "#" } else { part });
            let next = after.chars().next().map_or(0, char::len_utf8);
            text.push_str(&after[..next]);
            rest = &after[next..];
        }
    }
    text
}

pub(super) async fn page(State(desk): State<Desk>, reader: Reader, uri: axum::http::Uri) -> Result<Response, Problem> {
    let store = desk.0.deps.watch.store().map_err(unavailable)?;
    let (groups, has_more) = groups(store.as_ref()).await.map_err(unavailable)?;
    let query = SuppressedQuery { limit: ADDRESSES + 1, ..SuppressedQuery::default() };
    let suppressed = store.suppressed(query).await.map_err(unavailable)?;
    let seen = desk.look().await?;
    let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now: desk.0.deps.env.clock.now() };
    let all: usize = groups.iter().filter(|group| group.kind.can_redrive()).map(|group| group.items.len()).sum();
    let done = |name: &str, key: &str| {
        let n: u64 = crate::web::query_field(&uri, name)?.parse().ok()?;
        Some(voice.count(key, n))
    };
    // of one read with the list, which may be newer than what was seen
    let listed = suppressed.len() as u64;
    let count = if suppressed.len() > ADDRESSES { listed.max(seen.snapshot.mails.suppressed) } else { listed };
    let addresses = suppressed.iter().take(ADDRESSES).map(|found| context! { address => found.address.as_str(), at => found.at.as_millis(), reason => mask_addresses(&found.reason) });
    let values = context! {
        groups => groups.iter().map(|group| values(group, voice)).collect::<Vec<_>>(), has_more, most => ITEMS_MAX,
        all, addresses => addresses.collect::<Vec<_>>(), suppressed => count,
        done => done("redriven", "did_redrive").or_else(|| done("dropped", "did_drop")).or_else(|| done("released", "did_release")),
    };
    Ok(desk.render("desk/failures.html", &reader, "/failures", values).await)
}

fn values(group: &Group, voice: Voice<'_>) -> Value {
    let (first, last) = (group.items.first(), group.items.last());
    let at = |item: Option<&DeadItem>| item.map_or(0, |item| item.at.as_millis());
    let of = match first.map(|item| &item.id) {
        Some(DeadId::Record(source)) => voice.say("f_records_of", &[("t", &source.topic)]),
        _ => voice.word("f_mails").to_owned(),
    };
    let (title, advice) = group.kind.words();
    let rows = group.items.iter().take(ROWS).map(|item| row(item, voice));
    let more = group.items.len().saturating_sub(ROWS) as u64;
    context! {
        key => &group.key, count => group.count(), misfit => misfit(group, voice), redrive => voice.count("redrive_n", group.items.len() as u64), title => voice.word(title), advice => voice.word(advice), of,
        first => at(first), last => at(last), sample => first.map(sample), can_help => group.kind.can_help(),
        can_redrive => group.kind.can_redrive(), rows => rows.collect::<Vec<_>>(),
        more => (more > 0).then(|| voice.count("n_more", more)), command => first.map(command),
    }
}

/// Of records, which field is wrong by which schema, and how many of them each producer wrote, as far as they tell.
fn misfit(group: &Group, voice: Voice<'_>) -> Option<String> {
    let told = wire::told(&group.items.first()?.letter.as_ref()?.headers);
    let mut words = Vec::new();
    words.extend(told.pointer.map(|pointer| voice.say("f_field", &[("f", pointer)])));
    words.extend(told.schema.map(|schema| voice.say("f_schema", &[("s", schema)])));
    let mut producers = BTreeMap::<&str, u64>::new();
    for item in &group.items {
        let written_by = item.letter.as_ref().and_then(|letter| wire::told(&letter.headers).producer);
        *producers.entry(written_by.unwrap_or_else(|| voice.word("f_by_unknown"))).or_default() += stands_for(item);
    }
    let mut producers: Vec<_> = producers.into_iter().collect();
    producers.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most = producers.iter().take(PRODUCERS).map(|(name, count)| format!("{name} ({})", voice.number(*count)));
    let text = most.collect::<Vec<_>>().join(", ");
    words.push(voice.say("f_by", &[("w", &text)]));
    Some(mask_addresses(&words.join(" · ")).chars().filter(|c| crate::domain::foreign_text::is_legible(*c)).collect())
}

fn row(item: &DeadItem, voice: Voice<'_>) -> Value {
    let which = match &item.id {
        DeadId::Mail(mail) => context! { mail => voice.say("f_mail_no", &[("n", &mail.seq.to_string())]) },
        DeadId::Record(_) => context! { record => item.id.to_string() },
    };
    context! {
        order => item.order.map(crate::domain::OrderId::get), which, id => item.id.to_string(), at => Timestamp::as_millis(item.at),
        attempts => item.attempts, can_redrive => Kind::of(item).can_redrive(),
    }
}

/// The reason, and the record that it is about, both without whole addresses.
pub(super) fn sample(item: &DeadItem) -> String {
    let mut text = item.reason.clone();
    if let Some(letter) = &item.letter {
        text = format!("{}\n{text}", String::from_utf8_lossy(&letter.value));
    }
    let masked = mask_addresses(&text);
    let legible = masked.chars().filter(|c| *c == '\n' || crate::domain::foreign_text::is_legible(*c));
    legible.take(SAMPLE_MAX).collect()
}

/// What lists those of the same reason on the command line, and perhaps more.
pub(super) fn command(item: &DeadItem) -> String {
    let is_mail = matches!(item.id, DeadId::Mail(_));
    let is_apart = |c: char| matches!(c, '<' | '"' | '\'' | '@') || c.is_control();
    let stable: String = item.reason.split(is_apart).next().unwrap_or_default().trim().chars().take(60).collect();
    if is_mail && stable.len() >= 3 {
        format!("encargo dead list --reason={}", quoted(stable.trim()))
    } else {
        format!("encargo dead show {}", item.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_does_not_make_another_reason() {
        for (a, b, is_same) in [
            ("550 5.1.1 <ana@example.org>: User unknown", "550 5.1.1 <leo@example.net>: User unknown", true),
            ("451 4.3.0 queue id 4F1A2B3C4D", "451 4.3.0 queue id 99ABCDEF01", true),
            ("price: not a price: \"siete\"", "price: not a price: \"ocho mil\"", true),
            ("missing field `gameid` at line 1 column 76", "missing field `gameid` at line 1 column 9", true),
            ("550 5.1.1 User unknown", "550 5.7.1 User unknown", false),
            ("price: not a price", "gameid: not a key", false),
        ] {
            assert_eq!(normalised(a) == normalised(b), is_same, "{} | {}", normalised(a), normalised(b));
        }
        assert_eq!(normalised("é «ñ» 1234567é"), "é «ñ» #é");
        assert_eq!(normalised(""), "");
    }
}
