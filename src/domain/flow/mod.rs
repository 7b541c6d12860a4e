//! The flow of an order: the states that it goes through, how it leaves each, and how else its life can end.
//!
//! A flow is a line of steps. The last one is the end of an order that went well; the other ends stand beside the line,
//! since an order can come to them from every step. A flow has a name and a version: an order stays with the version that
//! it began with.

mod document;
mod dwell;
mod step;

use std::{sync::Arc, time::Duration};

pub use document::Document;
pub use dwell::{Dwell, Exception, Pattern};
pub use step::{End, Leave, Party, Step};

use super::{Invalid, Product};

/// What is wrong with a flow, and which part of it has to be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Flaw {
    /// The key as it stands in a file: `version`, `step[1].dwell` (counted from 0).
    pub key: String,
    /// What is wrong, and what would be right; it goes on after the key's name.
    pub text: String,
}

impl From<Flaw> for Invalid {
    fn from(flaw: Flaw) -> Self {
        Self { field: Some("flow"), rule: flaw.text.into() }
    }
}

/// The steps of an order, in a line, with the ends beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    name: Arc<str>,
    version: u32,
    id: Arc<str>,
    steps: Vec<Step>,
    cancelled: End,
    refused: Option<End>,
}

/// What a flow is made of, before it is known to hold together.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The name of all its versions.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// The line, in order.
    pub steps: Vec<Step>,
    /// Where cancelled orders end; [`Flow::CANCELLED`] when it is not given.
    pub cancelled: Option<End>,
    /// Where refused orders end; without it none can be refused.
    pub refused: Option<End>,
}

impl Flow {
    /// The states of the old services.
    pub const STATES: [&'static str; 4] = ["recibido", "preparando", "entregando", "finalizado"];
    /// The name of a flow that comes from the settings alone.
    pub const DEFAULT_NAME: &'static str = "default";
    /// The states of cancelled orders where a flow names none: the second when a step is called like the first.
    pub const CANCELLED: [&'static str; 2] = ["cancelado", "anulado"];
    /// Most states a flow can have; their places stay one byte.
    pub const STEPS_MAX: usize = 100;

    /// A flow of these steps as the settings give it, with the default name, version 1, and the default end.
    pub fn new(steps: Vec<Step>) -> Result<Self, Flaw> {
        let name = Self::DEFAULT_NAME.to_owned();
        Self::of(Parts { name, version: 1, steps, cancelled: None, refused: None })
    }

    /// Checks the parts: names short, plain and different from each other, dwells that can be counted.
    pub fn of(parts: Parts) -> Result<Self, Flaw> {
        let Parts { name, version, mut steps, cancelled, refused } = parts;
        if !is_name(&name) || name.contains(' ') {
            return Err(flaw("name", "must have 1 to 64 bytes of letters, digits, - and _".into()));
        }
        if version == 0 {
            return Err(flaw("version", "must be a whole number from 1".into()));
        }
        if steps.is_empty() || steps.len() > Self::STEPS_MAX {
            return Err(flaw("step", "must have 1 to 100 states".into()));
        }
        let Some(cancelled) = cancelled.or_else(|| default_end(&steps)) else {
            let names = Self::CANCELLED.join(" and ");
            let text =
                format!("needs a name: steps are called {names}; a flow file says [cancelled] and state = \"…\"");
            return Err(flaw("cancelled", text));
        };
        let count = steps.len();
        for (i, step) in steps.iter_mut().enumerate() {
            step.fill_in(i, count);
            step.check().map_err(|Flaw { key, text }| flaw(&format!("step[{i}].{key}"), text))?;
        }
        for (key, end) in [("cancelled", Some(&cancelled)), ("refused", refused.as_ref())] {
            let Some(end) = end else { continue };
            end.check().map_err(|Flaw { key: inner, text }| flaw(&format!("{key}.{inner}"), text))?;
        }
        let places = (0..count).map(|i| (format!("step[{i}].state"), &steps[i].state));
        let ends = [("cancelled", Some(&cancelled)), ("refused", refused.as_ref())];
        let ends = ends.into_iter().filter_map(|(key, end)| Some((format!("{key}.state"), &end?.state)));
        let mut seen: Vec<&str> = Vec::with_capacity(count + 2);
        for (key, state) in places.chain(ends) {
            if seen.contains(&&**state) {
                return Err(flaw(&key, format!("names {state:?} a second time")));
            }
            seen.push(state);
        }
        let id = format!("{name}@{version}").into();
        Ok(Self { name: name.into(), version, id, steps, cancelled, refused })
    }

    /// The four states of the old services, with the same dwell in each.
    pub fn standard(dwell: Duration) -> Self {
        let steps = Self::STATES.map(|state| Step::timer(state, dwell.min(Dwell::MAX)));
        Self::new(steps.into()).expect("four plain names")
    }

    /// The same flow under another version.
    #[must_use]
    pub fn with_version(&self, version: u32) -> Self {
        Self { version, id: format!("{}@{version}", self.name).into(), ..self.clone() }
    }

    /// The name of all versions.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version, from 1.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Name and version as they stand in events: `name@version`.
    pub fn id(&self) -> Arc<str> {
        self.id.clone()
    }

    /// A hash of everything but the version: the same for the same content, whoever computes it.
    pub fn fingerprint(&self) -> u64 {
        super::fingerprint(&[self.with_version(0).to_json().as_bytes()])
    }

    /// The steps in order; `steps()[place - 1]` is the step with that place.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Number of states in the line, which is also the last place.
    pub fn last_seq(&self) -> u8 {
        self.steps.len() as u8
    }

    /// The step at a place, counted from 1.
    pub fn step(&self, seq: u8) -> Option<&Step> {
        self.steps.get(usize::from(seq).checked_sub(1)?)
    }

    /// The longest that an order can take by timers, and by commands that come when they are expected.
    pub fn longest(&self) -> Duration {
        self.steps.iter().map(Step::longest).fold(Duration::ZERO, Duration::saturating_add)
    }

    /// The place of a state in the line, counted from 1; the ends beside the line have none.
    pub fn seq_of(&self, state: &str) -> Option<u8> {
        self.steps.iter().position(|step| &*step.state == state).map(|i| i as u8 + 1)
    }

    /// How long an order for a product stays at a place before its timer moves it on; `None` where there is no timer.
    pub fn dwell_of(&self, seq: u8, product: &Product) -> Option<Duration> {
        self.step(seq)?.dwell_of(product)
    }

    /// Whether somebody may cancel an order at a place: the operator until the end, the customer where the flow lets them.
    pub fn may_cancel(&self, seq: u8, party: Party) -> bool {
        self.step(seq).and_then(|step| step.cancel).is_some_and(|least| party >= least)
    }

    /// Where cancelled orders end.
    pub const fn cancelled(&self) -> &End {
        &self.cancelled
    }

    /// Where refused orders end; without it none can be refused.
    pub const fn refused(&self) -> Option<&End> {
        self.refused.as_ref()
    }

    /// Every state that is mailed, with its template: the line, then the ends beside it.
    pub fn mails(&self) -> impl Iterator<Item = (&str, &str)> {
        let line = self.steps.iter().map(|step| (&step.state, &step.mail));
        let ends = [Some(&self.cancelled), self.refused.as_ref()].into_iter().flatten();
        let all = line.chain(ends.map(|end| (&end.state, &end.mail)));
        all.filter_map(|(state, mail)| Some((&**state, mail.as_deref()?)))
    }

    /// Every state: the line, then the ends beside it.
    pub fn states(&self) -> impl Iterator<Item = &str> {
        let ends = [Some(&self.cancelled), self.refused.as_ref()].into_iter().flatten();
        self.steps.iter().map(|step| &*step.state).chain(ends.map(|end| &*end.state))
    }

    /// The template with which a state is mailed; `None` when it is not mailed.
    pub fn mail_of(&self, state: &str) -> Option<&str> {
        self.mails().find(|(other, _)| *other == state).map(|(_, template)| template)
    }
}

/// None where steps have all the names that are left to it.
fn default_end(steps: &[Step]) -> Option<End> {
    let is_free = |state: &&str| steps.iter().all(|step| &*step.state != *state);
    Flow::CANCELLED.into_iter().find(is_free).map(End::named)
}

fn flaw(key: &str, text: String) -> Flaw {
    Flaw { key: key.to_owned(), text }
}

/// The rule for all names in a flow: short and plain, so that they fit a header, a line and a file's name.
fn is_name(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_alphanumeric() || "-_ ".contains(c));
    !name.trim().is_empty() && name.len() <= 64 && plain
}

#[cfg(test)]
mod tests;
