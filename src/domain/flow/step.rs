use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dwell, Flaw, flaw, is_name};
use crate::domain::Product;

/// One state of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The state's name on the wire (`estado`).
    pub state: Arc<str>,
    /// How it is left. In a flow the last step has none, and every other has one.
    pub leave: Option<Leave>,
    /// The least of the parties that may cancel in it. In a flow the last step has none; every other that is made without
    /// one gets that of its place (`Party::by_default`).
    pub cancel: Option<Party>,
    /// The template of the mail about it; `None`: it is not mailed.
    pub mail: Option<Arc<str>>,
}

/// How an order leaves a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// When its time is over, and not before.
    Timer(Dwell),
    /// When somebody says so.
    Command {
        /// How long that usually takes: what customers are told, and when the order counts as stuck.
        expect: Option<Duration>,
    },
    /// When its time is over, or before that when somebody says so.
    Either {
        /// The time.
        dwell: Dwell,
        /// How long it usually takes until somebody does.
        expect: Option<Duration>,
    },
}

/// Who may do something with an order; whoever comes later may do what those before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// Who placed it.
    Customer,
    /// The shop.
    Operator,
}

/// A state beside the line in which an order's life ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The state's name on the wire (`estado`).
    pub state: Arc<str>,
    /// The template of the mail about it; `None`: it is not mailed.
    pub mail: Option<Arc<str>>,
}

impl Step {
    /// A step that is left after a time, whatever the product, and mailed with the template of its own name.
    pub fn timer(state: &str, dwell: Duration) -> Self {
        let state: Arc<str> = state.into();
        Self { leave: Some(Leave::Timer(Dwell::always(dwell))), cancel: None, mail: Some(state.clone()), state }
    }

    /// The timer, where there is one.
    pub fn dwell(&self) -> Option<&Dwell> {
        match self.leave.as_ref()? {
            Leave::Timer(dwell) | Leave::Either { dwell, .. } => Some(dwell),
            Leave::Command { .. } => None,
        }
    }

    /// How long an order for a product stays before the timer moves it on; `None` where there is no timer.
    pub fn dwell_of(&self, product: &Product) -> Option<Duration> {
        self.dwell().map(|dwell| dwell.of(product))
    }

    /// That of most products; zero where there is no timer.
    pub fn usual_dwell(&self) -> Duration {
        self.dwell().map_or(Duration::ZERO, |dwell| dwell.usual)
    }

    /// How long it usually takes until a command comes, where one is waited for and the flow says it.
    pub fn expect(&self) -> Option<Duration> {
        match self.leave.as_ref()? {
            Leave::Command { expect } | Leave::Either { expect, .. } => *expect,
            Leave::Timer(_) => None,
        }
    }

    /// The longest that an order stays, as far as the flow says it.
    pub(super) fn longest(&self) -> Duration {
        let dwells = self
            .dwell()
            .into_iter()
            .flat_map(|dwell| dwell.exceptions.iter().map(|exception| exception.dwell).chain([dwell.usual]));
        dwells.chain(self.expect()).max().unwrap_or_default()
    }

    /// Whether a command moves an order on from here.
    pub fn takes_command(&self) -> bool {
        matches!(self.leave, Some(Leave::Command { .. } | Leave::Either { .. }))
    }

    /// What depends on the step's place among so many.
    pub(super) fn fill_in(&mut self, index: usize, count: usize) {
        if index + 1 == count {
            (self.leave, self.cancel) = (None, None);
        } else {
            self.cancel = self.cancel.or(Some(Party::by_default(index, count)));
        }
    }

    pub(super) fn check(&self) -> Result<(), Flaw> {
        check_state(&self.state)?;
        check_mail(self.mail.as_ref())?;
        let times = self.dwell().map(|dwell| dwell.exceptions.iter().map(|exception| exception.dwell));
        let exceptions = times.into_iter().flatten().enumerate().map(|(i, time)| (format!("for[{i}].dwell"), time));
        let usual = self.dwell().map(|dwell| ("dwell".to_owned(), dwell.usual));
        let expect = self.expect().map(|time| ("expect".to_owned(), time));
        for (key, time) in usual.into_iter().chain(expect).chain(exceptions) {
            check_time(&key, time)?;
        }
        Ok(())
    }
}

impl Party {
    /// Who may cancel in the step at an index among so many, unless the flow says otherwise. The state before the last is
    /// usually the delivery, which cannot be called back by a click: there the customer has to talk to the shop.
    const fn by_default(index: usize, count: usize) -> Self {
        if index == 0 || index + 2 < count { Self::Customer } else { Self::Operator }
    }

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Operator => "operator",
        }
    }
}

impl End {
    /// An end that is mailed with the template of its own name.
    pub fn named(state: &str) -> Self {
        let state: Arc<str> = state.into();
        Self { mail: Some(state.clone()), state }
    }

    pub(super) fn check(&self) -> Result<(), Flaw> {
        check_state(&self.state)?;
        check_mail(self.mail.as_ref())
    }
}

/// A time is short enough to be counted.
pub(super) fn check_time(key: &str, time: Duration) -> Result<(), Flaw> {
    if time > Dwell::MAX { Err(flaw(key, "must be ten years (10y) at most".into())) } else { Ok(()) }
}

fn check_state(state: &str) -> Result<(), Flaw> {
    if is_name(state) { Ok(()) } else { Err(flaw("state", no_name(state))) }
}

fn check_mail(mail: Option<&Arc<str>>) -> Result<(), Flaw> {
    match mail.filter(|name| !is_name(name)) {
        None => Ok(()),
        Some(name) => Err(flaw("mail", no_name(name))),
    }
}

fn no_name(name: &str) -> String {
    format!("must be a name of 1 to 64 bytes, with letters, digits, spaces, - and _, not {name:?}")
}
