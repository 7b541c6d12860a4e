use std::sync::{Arc, OnceLock};

use minijinja::{Value, context};

use crate::domain::Timestamp;

/// Asks how the mails' destination fares; empty until a mailer works, and where none does.
pub type Relay = Arc<OnceLock<Box<dyn Fn() -> RelayState + Send + Sync>>>;

/// How the mails' destination fares. Reasons have no whole address in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayState {
    /// The destination, without secrets.
    pub name: String,
    /// `working`, `returning`, `paused` or `denied`.
    pub state: &'static str,
    /// Why, unless it works.
    pub trouble: Option<Trouble>,
    /// Recipients' domains that are slowed down.
    pub domains: Vec<(String, Trouble)>,
}

/// Why something does not take mails now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What went wrong last.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When one mail will be tried.
    pub probe_at: Timestamp,
    /// Failures in a row.
    pub failures: u32,
}

impl RelayState {
    pub(super) fn values(&self) -> Value {
        let trouble = |Trouble { reason, since, probe_at, failures }: &Trouble| {
            context! { reason, since => since.as_millis(), probe_at => probe_at.as_millis(), failures }
        };
        let domains = self.domains.iter().map(|(domain, why)| context! { domain, trouble => trouble(why) });
        let domains = domains.collect::<Value>();
        context! { name => self.name.as_str(), state => self.state, trouble => self.trouble.as_ref().map(trouble), domains }
    }
}
