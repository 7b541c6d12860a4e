//! What templates can call.

use minijinja::{Environment, Error, ErrorKind, State, Value, value::Kwargs};

use super::{Site, Tile, assets, format};
use crate::{
    domain::{Lang, Timestamp},
    words,
};

/// Adds the filters and functions of all pages.
///
/// - `t.key | fill(n=…)`: words with their places filled in; what is filled in may be markup
/// - `asset("pages.css")`: where an asset is
/// - `id | tile`: a product's tile, for the macro
/// - `n | number`, `"7.19" | price`, `seconds | duration`
/// - `at | time(now)`, `at | exact(now)`, `at | hour`, `at | date`: of milliseconds since 1970, as `<time>`
/// - `state | state`: a state's name
pub(super) fn add(env: &mut Environment<'static>, site: &Site) {
    env.add_filter("fill", fill);
    env.add_filter("tile", |id: &str| Tile::of(id).to_string());
    env.add_filter("number", |state: &State, number: u64| format::number(lang(state), number));
    let currency = site.currency.clone();
    env.add_filter("price", move |state: &State, price: &str| format::price(lang(state), &currency, price));
    env.add_filter("duration", |seconds: u64| format::duration(std::time::Duration::from_secs(seconds)));
    env.add_filter("state", |state: &State, name: &str| words::state(lang(state), name));
    let (here, there, whence, zone) = (site.clone(), site.clone(), site.clone(), site.zone.clone());
    env.add_filter("time", move |state: &State, at: i64, now: i64| {
        here.time(lang(state), Timestamp::from_millis(now), Timestamp::from_millis(at))
    });
    env.add_filter("exact", move |state: &State, at: i64, now: i64| {
        whence.exact(lang(state), Timestamp::from_millis(now), Timestamp::from_millis(at))
    });
    env.add_filter("hour", move |at: i64| {
        let at = Timestamp::from_millis(at);
        Value::from_safe_string(format!("<time datetime=\"{at}\" data-as=\"hour\">{}</time>", format::hour(&zone, at)))
    });
    env.add_filter("date", move |state: &State, at: i64| there.date(lang(state), Timestamp::from_millis(at)));
    env.add_function("asset", |name: &str| {
        let path = assets::path_of(name).map(Value::from_safe_string);
        path.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("no asset {name}")))
    });
}

fn lang(state: &State) -> Lang {
    let code = state.lookup("lang");
    code.as_ref().and_then(Value::as_str).and_then(Lang::meant_by).unwrap_or_default()
}

impl Site {
    /// A time of day as markup; as seen at `now`, with the day if it is another one. A script turns it into the reader's
    /// own zone.
    pub fn time(&self, lang: Lang, now: Timestamp, at: Timestamp) -> Value {
        let text = format::time(lang, &self.zone, now, at);
        Value::from_safe_string(format!("<time datetime=\"{at}\">{text}</time>"))
    }

    /// The same to the millisecond.
    pub fn exact(&self, lang: Lang, now: Timestamp, at: Timestamp) -> Value {
        let text = format::exact(lang, &self.zone, now, at);
        Value::from_safe_string(format!("<time datetime=\"{at}\" data-as=\"exact\">{text}</time>"))
    }

    /// A time with its day and its zone, likewise.
    pub fn date(&self, lang: Lang, at: Timestamp) -> Value {
        let text = format::date(lang, &self.zone, at);
        Value::from_safe_string(format!("<time datetime=\"{at}\" data-as=\"whole\">{text}</time>"))
    }
}

fn fill(words: &str, values: Kwargs) -> Result<Value, Error> {
    let names: Vec<_> = values.args().map(str::to_owned).collect();
    let pairs = names.iter().map(|name| Ok((name.as_str(), values.get(name)?)));
    let pairs = pairs.collect::<Result<Vec<(&str, Value)>, Error>>()?;
    filled(words, &pairs)
}

/// Puts values into the places of words, `{n}`: all of them, and no others. Markup among the values stays, everything
/// else is escaped.
pub fn filled(words: &str, values: &[(&str, Value)]) -> Result<Value, Error> {
    let mut text = escaped(words);
    for (name, value) in values {
        let place = format!("{{{name}}}");
        if !text.contains(&place) {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("no {place} in {words:?}")));
        }
        let value = if value.is_safe() { value.to_string() } else { escaped(&value.to_string()) };
        // what is filled in has no places
        text = text.replace(&place, &value.replace('{', "&#123;"));
    }
    match text.split_once('{') {
        None => Ok(Value::from_safe_string(text)),
        Some(_) => Err(Error::new(ErrorKind::MissingArgument, format!("not all places are filled in {words:?}"))),
    }
}

/// A text as markup that shows it.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            c => escaped.push(c),
        }
    }
    escaped
}
