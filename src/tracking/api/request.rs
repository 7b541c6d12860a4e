//! What somebody asks of an order, as it stands in a request.

use std::{fmt, time::Duration};

use axum::{
    body::to_bytes,
    extract::Request,
    http::{HeaderMap, header::CONTENT_TYPE},
};
use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::Value;

use crate::{
    domain::{
        CommandId, Invalid, Timestamp,
        command::{Action, Onward, Verb},
        parse_duration, wire,
    },
    store::orders::OrderView,
    web::{FieldError, Problem},
};

/// The listener allows less; this bounds the router when something else serves it.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Who the shop is where a request does not say.
const SHOP: &str = "shop";
/// Who the customer is in an order's history.
const CUSTOMER: &str = "customer";

/// What is asked, and by whom.
#[derive(Debug)]
pub(super) struct Asked {
    /// The client's own name for it, if it gave one.
    pub(super) key: Option<CommandId>,
    pub(super) by: Box<str>,
    pub(super) reason: Option<Box<str>>,
    pub(super) what: What,
}

/// What is to happen.
#[derive(Debug)]
pub(super) enum What {
    Action(Action),
    /// The order's time ends so much later than it would.
    DelayFor(Duration),
}

impl What {
    /// The action, for an order as it stands. What has no time to add to is refused by who decides.
    pub(super) fn action(self, view: &OrderView, now: Timestamp) -> Action {
        match self {
            Self::Action(action) => action,
            Self::DelayFor(more) => Action::Delay(view.waits.delayed_by(more, now)),
        }
    }
}

/// Reads what the shop asks: a JSON object, or nothing.
pub(super) async fn of_shop(verb: Verb, request: Request) -> Result<Asked, Problem> {
    let (headers, body) = whole(request).await?;
    let fields = Fields::read(&headers, &body, "application/json")?;
    let key = key(&headers)?;
    let known: &[&str] = match verb {
        Verb::Delay => &["reason", "by", "until", "for"],
        Verb::Address => &["reason", "by", "usermail"],
        _ => &["reason", "by"],
    };
    let mut errors = fields.strangers(known);
    let reason = fields.parsed("reason", wire::read_reason, &mut errors);
    let by = fields.parsed("by", wire::read_by, &mut errors).unwrap_or_else(|| SHOP.into());
    let what = match verb {
        Verb::Cancel => Some(What::Action(Action::Cancel)),
        Verb::Advance => Some(What::Action(Action::Advance(Onward::Next))),
        Verb::Refuse => Some(What::Action(Action::Advance(Onward::Refused))),
        Verb::Hold => Some(What::Action(Action::Hold)),
        Verb::Resume => Some(What::Action(Action::Resume)),
        Verb::Delay => delay(&fields, &mut errors),
        Verb::Address => {
            let address = fields.parsed("usermail", str::parse, &mut errors);
            if address.is_none() && errors.is_empty() {
                errors.push(error("usermail", "must be there: the address to which the order's mails go from now on"));
            }
            address.map(|address| What::Action(Action::Readdress(address)))
        }
    };
    match what {
        Some(what) if errors.is_empty() => Ok(Asked { key, by, reason, what }),
        _ => Err(Problem::invalid(errors)),
    }
}

fn delay(fields: &Fields, errors: &mut Vec<FieldError>) -> Option<What> {
    let until = fields.parsed("until", str::parse, errors);
    let more = fields.parsed("for", parse_duration, errors);
    match (until, more) {
        (Some(until), None) => Some(What::Action(Action::Delay(until))),
        (None, Some(more)) if !more.is_zero() => Some(What::DelayFor(more)),
        (None, Some(_)) => {
            errors.push(error("for", "must be longer than nothing, like 20m"));
            None
        }
        _ if !errors.is_empty() => None,
        _ => {
            let rule = "a delay needs either until, a time like 2026-01-31T12:00:00Z, or for, a duration like 20m that \
                        is added to the time at which the order is due";
            errors.push(error("until", rule));
            None
        }
    }
}

/// Reads what a customer asks, and whether they confirm it: a form or a JSON object.
pub(super) async fn of_customer(request: Request) -> Result<(Asked, bool), Problem> {
    let (headers, body) = whole(request).await?;
    let fields = Fields::read(&headers, &body, "application/json or application/x-www-form-urlencoded")?;
    let mut errors = fields.strangers(&["confirm", "reason", "key"]);
    // a form cannot send the header
    let key = key(&headers)?.or(fields.parsed("key", str::parse, &mut errors));
    let reason = fields.parsed("reason", wire::read_reason, &mut errors);
    let is_confirmed = match fields.get("confirm") {
        Some(Value::Bool(is_confirmed)) => *is_confirmed,
        Some(Value::String(text)) if ["true", "false"].contains(&text.as_str()) => text == "true",
        Some(_) => {
            errors.push(error("confirm", "must be true or false"));
            false
        }
        None => false,
    };
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    Ok((Asked { key, by: CUSTOMER.into(), reason, what: What::Action(Action::Cancel) }, is_confirmed))
}

async fn whole(request: Request) -> Result<(HeaderMap, Vec<u8>), Problem> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Problem::malformed("the body cannot be read"))?;
    Ok((parts.headers, bytes.into()))
}

/// The client's own name for what it asks.
fn key(headers: &HeaderMap) -> Result<Option<CommandId>, Problem> {
    const RULE: &str = "Idempotency-Key: must be given once, with 1 to 64 letters, digits, '-', '_', '.' and ':'";
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
    key.map(Some).ok_or_else(|| Problem::malformed(RULE))
}

/// The fields of a body, as they came.
#[derive(Debug, Default)]
struct Fields(Vec<(String, Value)>);

impl Fields {
    /// From a body of one of the `expected` types; nothing at all is no fields.
    fn read(headers: &HeaderMap, body: &[u8], expected: &'static str) -> Result<Self, Problem> {
        let kind = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
        match &*essence {
            "" | "application/json" if body.is_empty() => Ok(Self::default()),
            "application/json" => serde_json::from_slice(body)
                .map_err(|error| Problem::malformed(format!("the body must be a JSON object: {error}"))),
            form if !form.is_empty() && expected.ends_with(form) && form.ends_with("urlencoded") => {
                let fields = form_urlencoded::parse(body).into_owned();
                Ok(Self(fields.map(|(name, value)| (name, value.into())).collect()))
            }
            _ => Err(Problem::unsupported_type(expected)),
        }
    }

    /// What is wrong with the names.
    fn strangers(&self, known: &[&str]) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (place, (name, _)) in self.0.iter().enumerate() {
            let short: String = name.chars().take(64).collect();
            if !known.contains(&name.as_str()) {
                errors.push(error(short, format!("is not a field of this command: these are {}", known.join(", "))));
            } else if self.0[..place].iter().any(|(other, _)| other == name) {
                errors.push(error(short, "must be given once"));
            }
        }
        errors
    }

    /// A field that is there and says something.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    fn parsed<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
        errors: &mut Vec<FieldError>,
    ) -> Option<T> {
        let Some(text) = self.get(name)?.as_str() else {
            errors.push(error(name, "must be a string"));
            return None;
        };
        parse(text).map_err(|invalid| errors.push(error(name, invalid.rule))).ok()
    }
}

impl<'de> Deserialize<'de> for Fields {
    /// A map keeps one of two equal fields, and nobody would hear of the other.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn error(
    field: impl Into<std::borrow::Cow<'static, str>>,
    detail: impl Into<std::borrow::Cow<'static, str>>,
) -> FieldError {
    FieldError { field: field.into(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, response::IntoResponse as _};

    use super::*;

    fn request(kind: &str, body: &str, key: &str) -> Request {
        let mut request = Request::new(Body::from(body.to_owned()));
        for (name, value) in [("content-type", kind), ("idempotency-key", key)] {
            if !value.is_empty() {
                request.headers_mut().append(name, value.parse().unwrap());
            }
        }
        request
    }

    async fn refusal<T>(asked: Result<T, Problem>) -> (u16, String) {
        let Err(problem) = asked else { return (200, String::new()) };
        let response = problem.into_response();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_shop_asks_with_json_or_nothing() {
        let asked = of_shop(Verb::Hold, request("", "", "")).await.unwrap();
        assert!(matches!(asked.what, What::Action(Action::Hold)));
        assert_eq!((&*asked.by, asked.reason, asked.key), ("shop", None, None));
        let body = r#"{"reason":" no queda pan ","by":"cocina"}"#;
        let asked = of_shop(Verb::Refuse, request("Application/JSON; charset=utf-8", body, "k-1")).await.unwrap();
        assert!(matches!(asked.what, What::Action(Action::Advance(Onward::Refused))));
        assert_eq!((&*asked.by, asked.reason.as_deref()), ("cocina", Some("no queda pan")));
        assert_eq!(asked.key, Some("k-1".parse().unwrap()));
        let none = of_shop(Verb::Hold, request("application/json", "{\"reason\":null}", "")).await.unwrap();
        assert_eq!(none.reason, None);
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let json = "application/json";
        let long = format!("{{\"reason\":\"{}\"}}", "r".repeat(501));
        for (verb, kind, body, status, word) in [
            (Verb::Hold, "text/plain", "x", 415, "application/json"),
            (Verb::Hold, "", "{}", 415, "application/json"),
            (Verb::Hold, "application/x-www-form-urlencoded", "", 415, "application/json"),
            (Verb::Hold, json, "{", 400, "JSON object"),
            (Verb::Hold, json, "[1]", 400, "JSON object"),
            (Verb::Hold, json, r#"{"reson":"x"}"#, 422, "\"reson\""),
            (Verb::Hold, json, r#"{"until":"2026-01-31T12:00:00Z"}"#, 422, "\"until\""),
            (Verb::Hold, json, r#"{"reason":"a","reason":"b"}"#, 422, "once"),
            (Verb::Hold, json, r#"{"reason":7}"#, 422, "a string"),
            (Verb::Hold, json, r#"{"reason":""}"#, 422, "1 to 500"),
            (Verb::Hold, json, &long, 422, "1 to 500"),
            (Verb::Hold, json, r#"{"by":"a\nb"}"#, 422, "1 to 64"),
            (Verb::Delay, json, "{}", 422, "20m"),
            (Verb::Delay, json, r#"{"for":"0s"}"#, 422, r#"{"field":"for","detail":"must be longer"#),
            (Verb::Hold, json, &long, 422, r#"{"field":"reason","detail":"must have"#),
            (Verb::Delay, json, r#"{"for":"soon"}"#, 422, "\"for\""),
            (Verb::Delay, json, r#"{"until":"noon"}"#, 422, "RFC 3339"),
            (Verb::Delay, json, r#"{"until":"2026-01-31T12:00:00Z","for":"1m"}"#, 422, "either"),
            (Verb::Address, json, "{}", 422, "must be there"),
            (Verb::Address, json, r#"{"usermail":"ana"}"#, 422, "usermail"),
        ] {
            let (found, text) = refusal(of_shop(verb, request(kind, body, "")).await).await;
            assert_eq!(found, status, "{verb:?} {body}: {text}");
            assert!(text.contains(word), "{verb:?} {body}: {text}");
        }
        for key in ["a b", "ñ", &"k".repeat(65)] {
            assert_eq!(refusal(of_shop(Verb::Hold, request("", "", key)).await).await.0, 400, "{key}");
        }
    }

    #[tokio::test]
    async fn a_customer_confirms_in_a_form_or_in_json() {
        let form = "application/x-www-form-urlencoded";
        for (kind, body, is_confirmed) in [
            ("", "", false),
            (form, "", false),
            (form, "confirm=true&reason=me+equivoqu%C3%A9", true),
            (form, "confirm=false", false),
            ("application/json", r#"{"confirm":true}"#, true),
            ("application/json", r#"{"confirm":false}"#, false),
            ("application/json", "{}", false),
        ] {
            let (asked, found) = of_customer(request(kind, body, "")).await.unwrap();
            assert_eq!(found, is_confirmed, "{body}");
            assert_eq!(&*asked.by, "customer");
            assert_eq!(asked.reason.is_some(), body.contains("reason"));
        }
        for (kind, body, status) in [
            (form, "confirm=yes", 422),
            (form, "confirm=true&confirm=false", 422),
            (form, "confirm=true&by=shop", 422),
            ("application/json", r#"{"confirm":1}"#, 422),
            ("multipart/form-data; boundary=x", "--x--", 415),
        ] {
            assert_eq!(refusal(of_customer(request(kind, body, "")).await).await.0, status, "{body}");
        }
    }
}
