//! A flow as it is written down: by people in TOML, and by Encargo in JSON, under the same keys.
//!
//! People leave out what goes without saying. What Encargo writes has all of it, so that it means the same for ever,
//! whatever a later version takes for granted.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Dwell, End, Exception, Flaw, Flow, Leave, Parts, Party, Pattern, Step, flaw, step::check_time};
use crate::domain::{Invalid, parse_duration};

/// The keys of a flow.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    name: String,
    version: u32,
    /// For steps with a timer that say nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dwell: Option<Span>,
    step: Vec<StepKeys>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancelled: Option<EndKeys>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<EndKeys>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepKeys {
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leave: Option<LeaveKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dwell: Option<Span>,
    #[serde(default, rename = "for", skip_serializing_if = "Vec::is_empty")]
    exceptions: Vec<ExceptionKeys>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expect: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancel: Option<Party>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mail: Option<MailKey>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LeaveKey {
    Timer,
    Command,
    Either,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExceptionKeys {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    product: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    dwell: Span,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndKeys {
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mail: Option<MailKey>,
}

impl Document {
    /// The flow, if it holds together.
    pub fn flow(self) -> Result<Flow, Flaw> {
        let Self { name, version, dwell, step, cancelled, refused } = self;
        // where it stands itself, and not at the steps that have it from there
        dwell.map_or(Ok(()), |Span(time)| check_time("dwell", time))?;
        let count = step.len();
        let read = |(i, keys): (usize, StepKeys)| {
            let step = if i + 1 == count { keys.last() } else { keys.step(dwell) };
            step.map_err(|Flaw { key, text }| flaw(&format!("step[{i}].{key}"), text))
        };
        let steps = step.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Flow::of(Parts { name, version, steps, cancelled: cancelled.map(Into::into), refused: refused.map(Into::into) })
    }
}

impl StepKeys {
    fn step(self, general: Option<Span>) -> Result<Step, Flaw> {
        let kind = self.leave.unwrap_or(LeaveKey::Timer);
        let expect = self.expect.map(|Span(time)| time);
        let leave = if kind == LeaveKey::Command {
            if self.dwell.is_some() || !self.exceptions.is_empty() {
                let key = if self.dwell.is_some() { "dwell" } else { "for" };
                let text = "is a timer, and this step has none: leave it out, or write leave = \"either\"";
                return Err(flaw(key, text.into()));
            }
            Leave::Command { expect }
        } else {
            let Some(Span(usual)) = self.dwell.or(general) else {
                let text = "has no timer: give it a dwell, like dwell = \"8s\", or write leave = \"command\"";
                return Err(flaw("state", format!("{:?} {text}", self.state)));
            };
            let exceptions = self.exceptions.into_iter().enumerate().map(|(i, keys)| keys.exception(i));
            let dwell = Dwell { usual, exceptions: exceptions.collect::<Result<_, _>>()? };
            match (kind, expect) {
                (LeaveKey::Timer, Some(_)) => {
                    let text = "is for steps that a command ends: leave it out, or write leave = \"either\"";
                    return Err(flaw("expect", text.into()));
                }
                (LeaveKey::Timer, None) => Leave::Timer(dwell),
                _ => Leave::Either { dwell, expect },
            }
        };
        let state: Arc<str> = self.state.into();
        Ok(Step { mail: template(self.mail, &state), state, leave: Some(leave), cancel: self.cancel })
    }

    /// The end of the line: nothing comes after it.
    fn last(self) -> Result<Step, Flaw> {
        let given = [
            ("leave", self.leave.is_some()),
            ("dwell", self.dwell.is_some()),
            ("for", !self.exceptions.is_empty()),
            ("expect", self.expect.is_some()),
            ("cancel", self.cancel.is_some()),
        ];
        if let Some((key, _)) = given.into_iter().find(|(_, given)| *given) {
            return Err(flaw(key, "has no place in the last step, which is the end of the order: leave it out".into()));
        }
        let state: Arc<str> = self.state.into();
        Ok(Step { mail: template(self.mail, &state), state, leave: None, cancel: None })
    }
}

impl ExceptionKeys {
    fn exception(self, index: usize) -> Result<Exception, Flaw> {
        let products = Pattern::new(self.product.as_deref(), self.name.as_deref()).ok_or_else(|| {
            flaw(&format!("for[{index}].dwell"), "needs products: write product = \"KEY\" or name = \"*words*\"".into())
        })?;
        Ok(Exception { products, dwell: self.dwell.0 })
    }
}

impl From<EndKeys> for End {
    fn from(EndKeys { state, mail }: EndKeys) -> Self {
        let state: Arc<str> = state.into();
        Self { mail: template(mail, &state), state }
    }
}

fn template(mail: Option<MailKey>, state: &Arc<str>) -> Option<Arc<str>> {
    match mail.unwrap_or(MailKey::Own) {
        MailKey::Off => None,
        MailKey::Own => Some(state.clone()),
        MailKey::Template(name) => Some(name),
    }
}

impl Flow {
    /// All of it on one line; [`Flow::from_json`] reads it back.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Document::from(self)).expect("strings and numbers always serialise")
    }

    /// Reads what [`Flow::to_json`] wrote.
    pub fn from_json(text: &[u8]) -> Result<Self, Invalid> {
        let document: Document =
            serde_json::from_slice(text).map_err(|e| Invalid { field: Some("flow"), rule: e.to_string().into() })?;
        Ok(document.flow()?)
    }
}

impl From<&Flow> for Document {
    fn from(flow: &Flow) -> Self {
        let end =
            |End { state, mail }: &End| EndKeys { state: (**state).into(), mail: Some(MailKey::of(mail.as_ref())) };
        Self {
            name: flow.name.to_string(),
            version: flow.version,
            dwell: None,
            step: flow.steps.iter().map(Into::into).collect(),
            cancelled: Some(end(&flow.cancelled)),
            refused: flow.refused.as_ref().map(end),
        }
    }
}

impl From<&Step> for StepKeys {
    fn from(step: &Step) -> Self {
        let exception = |Exception { products, dwell }: &Exception| ExceptionKeys {
            product: products.key(),
            name: products.name(),
            dwell: Span(*dwell),
        };
        Self {
            state: (*step.state).into(),
            leave: step.leave.as_ref().map(|leave| match leave {
                Leave::Timer(_) => LeaveKey::Timer,
                Leave::Command { .. } => LeaveKey::Command,
                Leave::Either { .. } => LeaveKey::Either,
            }),
            dwell: step.dwell().map(|dwell| Span(dwell.usual)),
            exceptions: step.dwell().into_iter().flat_map(|dwell| &dwell.exceptions).map(exception).collect(),
            expect: step.expect().map(Span),
            cancel: step.cancel,
            mail: Some(MailKey::of(step.mail.as_ref())),
        }
    }
}

/// A duration in words, like `8s`, `500ms`, `1h 30m`.
#[derive(Clone, Copy)]
struct Span(Duration);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl de::Visitor<'_> for Words {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes, like \"8s\", \"500ms\" or \"30d\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                parse_duration(text).map(Span).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Words)
    }
}

/// Whether a state is mailed, and with which template.
enum MailKey {
    Off,
    Own,
    Template(Arc<str>),
}

impl MailKey {
    fn of(mail: Option<&Arc<str>>) -> Self {
        mail.map_or(Self::Off, |name| Self::Template(name.clone()))
    }
}

impl Serialize for MailKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::Own => serializer.serialize_bool(true),
            Self::Template(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for MailKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl de::Visitor<'_> for Either {
            type Value = MailKey;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, or the name of a template in quotes")
            }
            fn visit_bool<E>(self, on: bool) -> Result<MailKey, E> {
                Ok(if on { MailKey::Own } else { MailKey::Off })
            }
            fn visit_str<E>(self, name: &str) -> Result<MailKey, E> {
                Ok(MailKey::Template(name.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
