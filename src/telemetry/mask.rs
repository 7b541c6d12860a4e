//! What no line of a log may hold, whoever wrote it: whole e-mail addresses, what stands before the `@` of a URL, and
//! the secrets of the settings. A belt beside the braces: whoever writes a message masks by itself, but libraries,
//! servers and panics have words of their own.

use std::{
    borrow::Cow,
    sync::{OnceLock, PoisonError, RwLock},
};

use crate::domain::foreign_text::AT_SIGNS;

/// The secrets of this process, the longest first; set once the settings are read.
static SECRETS: OnceLock<RwLock<Vec<String>>> = OnceLock::new();
/// Shorter ones would be found in every other word.
const SECRET_BYTES_MIN: usize = 4;

/// Hides these texts in every line from now on.
pub fn hide(secrets: impl IntoIterator<Item = String>) {
    let mut hidden = SECRETS.get_or_init(RwLock::default).write().unwrap_or_else(PoisonError::into_inner);
    for secret in secrets.into_iter().filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
        // as it stands in a line of JSON, and in `{:?}`
        hidden.extend([secret.escape_debug().to_string(), secret]);
    }
    hidden.sort_unstable_by(|a, b| (b.len(), a).cmp(&(a.len(), b)));
    hidden.dedup();
}

/// The text without addresses and secrets.
pub fn masked(text: &str) -> Cow<'_, str> {
    without_secrets(without_logins(text, true))
}

/// The text without secrets and what stands before the `@` of a URL, for whoever typed it themselves: addresses stay.
pub fn masked_lightly(text: &str) -> Cow<'_, str> {
    without_secrets(without_logins(text, false))
}

fn without_secrets(mut text: Cow<'_, str>) -> Cow<'_, str> {
    let Some(secrets) = SECRETS.get() else { return text };
    for secret in secrets.read().unwrap_or_else(PoisonError::into_inner).iter() {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), "***").into();
        }
    }
    text
}

/// Without the logins of URLs, and without addresses if these are to go, too.
fn without_logins(text: &str, addresses: bool) -> Cow<'_, str> {
    let mut masked = String::new();
    let mut done = 0;
    while let Some((at, width)) = next_at(text, done) {
        let word = &text[done..at];
        let word = &word[word.rfind(ends_word).map_or(0, |end| end + width_of(word, end))..];
        if let Some((_, login)) = word.split_once("://") {
            // up to the last @ of the word: nobody is kept from writing one into a password
            let rest = &text[at..];
            let end = rest.find(ends_word).unwrap_or(rest.len());
            let host = rest[..end].rfind('@').map_or(at, |last| at + last);
            masked.push_str(&text[done..at - login.len()]);
            masked.push_str("***@");
            done = host + if host == at { width } else { 1 };
            continue;
        }
        let before = &text[done..at];
        let mut local = match before.strip_suffix('"').map(|quoted| quoted.rfind('"')) {
            Some(Some(quote)) => &before[quote..],
            _ => &before[before.rfind(|c: char| !is_local(c)).map_or(0, |end| end + width_of(before, end))..],
        };
        if before[..before.len() - local.len()].ends_with("\u{1b}[") {
            local = local.split_once('m').map_or(local, |(_, after)| after); // the end of a colour's sequence
        }
        let is_address =
            addresses && !local.is_empty() && text[at + width..].starts_with(|c: char| c.is_alphanumeric() || c == '[');
        masked.push_str(&text[done..at - if is_address { local.len() } else { 0 }]);
        if is_address {
            masked.extend(local.chars().next().filter(|first| *first != '*'));
            masked.push_str("***");
        }
        masked.push_str(&text[at..at + width]);
        done = at + width;
    }
    if done == 0 {
        return text.into();
    }
    masked.push_str(&text[done..]);
    masked.into()
}

/// The next at sign, and its width.
fn next_at(text: &str, from: usize) -> Option<(usize, usize)> {
    let rest = &text[from..];
    AT_SIGNS.iter().filter_map(|sign| Some((from + rest.find(sign)?, sign.len()))).min()
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\\' | '{' | '}')
}

/// What may stand before the `@` (RFC 5322 `atext`, RFC 6531): rather too much is hidden than too little.
fn is_local(c: char) -> bool {
    c.is_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

fn width_of(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_and_no_login_is_left() {
        for (text, expected) in [
            ("nothing here", "nothing here"),
            ("to ana.perez@example.org: 550", "to a***@example.org: 550"),
            ("<ana@example.org>,eva@b.example", "<a***@example.org>,e***@b.example"),
            ("usermail=ana%40example.org&x=1", "u***%40example.org&x=1"),
            ("o'brien@x.example, a/b=c@x.example", "o***@x.example, a***@x.example"),
            ("Key (usermail)=(ana@example.org) exists", "Key (usermail)=(a***@example.org) exists"),
            ("josé@españa.example", "j***@españa.example"),
            ("ñandú@x.example", "ñ***@x.example"),
            ("a***@example.org", "a***@example.org"),
            ("postgres://u:hunter2@db/x", "postgres://***@db/x"),
            ("postgres://u:p@ss@w0rd@db/x, ana@x.example", "postgres://***@db/x, a***@x.example"),
            ("\"smtps://ana%40shop.example:pw@relay\"", "\"smtps://***@relay\""),
            ("trace @ level, 3 @ 4", "trace @ level, 3 @ 4"),
            ("{\"to\":\"ana@example.org\"}", "{\"to\":\"a***@example.org\"}"),
            ("to \"a..b\"@carrier.example", "to \"***@carrier.example"),
            ("ana@1, \\\"a..b\\\"@localhost", "a***@1, \\\"***@localhost"),
            ("ana\\u0040x.example \u{ff20}", "a***\\u0040x.example \u{ff20}"),
            ("\\\"ana@example.org\\\"", "\\\"a***@example.org\\\""),
            ("@", "@"),
            ("\u{1b}[2m=\u{1b}[0mana@example.org", "\u{1b}[2m=\u{1b}[0ma***@example.org"),
            ("http://localhost:3000/?a=b@c", "http://***@c"),
        ] {
            assert_eq!(masked(text), expected, "{text}");
            assert_eq!(masked(&masked(text)), expected, "twice: {text}");
        }
    }

    #[test]
    fn what_somebody_typed_is_shown_to_them_but_for_logins() {
        for (text, expected) in [
            ("'--rates <RATE@TIME>': like 20@1m", "'--rates <RATE@TIME>': like 20@1m"),
            ("'ana@' must look like name@example.org", "'ana@' must look like name@example.org"),
            ("'--log' 'kafka://u:hunter2@k1,k2' or ana@x.example", "'--log' 'kafka://***@k1,k2' or ana@x.example"),
            ("'postgres://u:p@ss@db/x'", "'postgres://***@db/x'"),
        ] {
            assert_eq!(masked_lightly(text), expected, "{text}");
        }
    }

    #[test]
    fn secrets_are_hidden_in_any_dress() {
        hide(["geheim-123".to_owned(), "with\"quote".to_owned(), "no".to_owned()]);
        assert_eq!(masked("key=geheim-123;"), "key=***;");
        assert_eq!(masked("{\"m\":\"with\\\"quote\"}, no"), "{\"m\":\"***\"}, no");
        assert_eq!(masked_lightly("ana@x.example geheim-123"), "ana@x.example ***");
    }

    proptest::proptest! {
        #[test]
        fn an_address_is_gone_whatever_stands_around_it(before in ".{0,20}", after in ".{0,20}") {
            let line = format!("{before} ana.perez@example.org {after}");
            assert!(!masked(&line).contains("ana.perez@"), "{line}");
            let line = format!("{before} kafka://us:geheim@h {after}");
            assert!(!masked(&line).contains("us:geheim"), "{line}");
        }

        #[test]
        fn no_address_of_a_customer_is_left(
            before in "[a-z<: =/|{\"\\\\]{0,4}", local in "[a-z0-9!#$%&'*+/=?^_`{|}~é本.-]{1,12}",
            domain in "[a-z0-9é][a-z0-9-]{0,5}(\\.[a-z0-9]{1,4}){0,2}", after in "[a-z>: =/|}\"]{0,4}",
        ) {
            proptest::prop_assume!(local.contains(|c| c != '*')); // looks the same masked
            let Ok(address) = format!("{local}@{domain}").parse::<crate::domain::EmailAddress>() else { return Ok(()) };
            for address in [Some(address.as_str().into()), address.to_ascii()].into_iter().flatten() {
                let line = format!("{before} {address}{after}");
                assert!(!masked(&line).contains(&*address), "{line}");
            }
        }
    }
}
