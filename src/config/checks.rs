//! What types cannot say of settings: bounds, and what does not go together.

use std::time::Duration;

use super::settings::{Config, FlowSettings, Framing, Topics};
use crate::{domain::Flow, mail::Destination, role::Role};

/// Shortest key or token that opens something.
const KEY_MIN: usize = 16;

/// The default of `flow.dwell`.
const DWELL: Duration = Duration::from_secs(8);

/// Why customers cannot be led to an address; nothing of an empty one, where there are no links.
fn wrong_url(url: &str) -> Option<&'static str> {
    if url.is_empty() {
        return None;
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Some("must begin with http:// or https://");
    }
    let host = reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let is_nowhere = host.is_none_or(|host| ["0.0.0.0", "[::]"].contains(&host.as_str()));
    is_nowhere.then_some("must name a host that customers can reach, like https://shop.example")
}

impl Topics {
    /// The topics that are ours alone, with their keys.
    pub fn own(&self) -> [(&'static str, &String); 7] {
        [
            ("topics.orders", &self.orders),
            ("topics.states", &self.states),
            ("topics.dead", &self.dead),
            ("topics.ids", &self.ids),
            ("topics.flows", &self.flows),
            ("topics.commands", &self.commands),
            ("topics.outcomes", &self.outcomes),
        ]
    }
}

impl Config {
    /// What types cannot say; names the key.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, text: &str| Err((key.to_owned(), text.to_owned()));
        self.check_flow()?;
        for (key, too_small) in self.too_small() {
            if too_small {
                return bad(key, "must not be zero");
            }
        }
        if let Err(reason) = self.mail.url.clone().map_or(Ok(Destination::None), |url| self.complete(url)) {
            return bad("mail.password", &reason);
        }
        if self.mail.retry_min > self.mail.retry_max {
            return bad("mail.retry_min", "must not be longer than mail.retry_max");
        }
        self.check_log()?;
        if let Some(other) = self.intake.backlog_of.iter().find(|role| !["fulfilment", "tracking"].contains(&&***role))
        {
            return bad("intake.backlog_of", &format!("can name fulfilment and tracking, not {other:?}"));
        }
        self.check_scale()?;
        let topics = self.topics.own();
        for (index, (key, name)) in topics.iter().enumerate() {
            if topics[..index].iter().any(|(_, other)| other == name) {
                return bad(key, &format!("must be a separate topic: {name:?} is used for another setting"));
            }
        }
        self.check_forwarding()?;
        self.check_tracking()?;
        self.check_keys()?;
        self.check_telemetry()?;
        let level = self.logging.level.as_str();
        if !["off", "error", "warn", "info", "debug", "trace"].contains(&level) && !level.contains('=') {
            return bad(
                "logging.level",
                "must be error, warn, info, debug or trace, or filters like \"info,encargo=debug\"",
            );
        }
        Ok(())
    }

    fn check_flow(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, text: &str| Err((key.to_owned(), text.to_owned()));
        if let Err(flaw) = self.flow() {
            let key = if flaw.key.ends_with("dwell") { "flow.dwell" } else { "flow.states" };
            return bad(key, &flaw.text);
        }
        let FlowSettings { file, states, dwell, dwells } = &self.flow;
        if let Some(stranger) = dwells.keys().find(|name| !states.contains(name)) {
            return bad(&format!("flow.dwells.{stranger}"), &format!("is none of the states {}", states.join(", ")));
        }
        let beside = [
            ("flow.states", *states != Flow::STATES),
            ("flow.dwell", *dwell != DWELL),
            ("flow.dwells", !dwells.is_empty()),
        ];
        match beside.into_iter().find(|(_, changed)| *changed) {
            Some((key, _)) if file.is_some() => {
                let key = dwells
                    .keys()
                    .next()
                    .filter(|_| key == "flow.dwells")
                    .map_or(key.to_owned(), |name| format!("{key}.{name}"));
                bad(&key, "has no place beside flow.file, which defines the whole flow: leave one of them out")
            }
            _ => Ok(()),
        }
    }

    fn check_scale(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, text: String| Err((key.to_owned(), text));
        if !(1..=100).contains(&self.scale.load) {
            return bad("scale.load", format!("must be a percentage from 1 to 100, not {}", self.scale.load));
        }
        for (key, value) in [("scale.start", self.scale.start), ("scale.down_after", self.scale.down_after)] {
            if value > Duration::from_hours(24) {
                return bad(key, "must be 24h at most".into());
            }
        }
        for name in &self.scale.zero {
            match Role::named(name) {
                Some(role) if role.may_be_none() => {}
                Some(Role::Intake) => {
                    return bad("scale.zero", "cannot name intake: without it orders are refused".into());
                }
                Some(_) => return bad("scale.zero", format!("cannot name {name}: without it timers are late")),
                None => return bad("scale.zero", format!("can name mail and tracking, not {name:?}")),
            }
        }
        Ok(())
    }

    fn check_tracking(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, text: &str| Err((key.to_owned(), text.to_owned()));
        for (key, url) in
            [("tracking.public_url", &self.tracking.public_url), ("intake.public_url", &self.intake.public_url)]
        {
            if let Some(wrong) = wrong_url(url) {
                return bad(key, wrong);
            }
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), (String, String)> {
        for (name, key) in [("tracking.api_key", &self.tracking.api_key), ("ops.token", &self.ops.token)] {
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err((name.into(), "must be visible ASCII characters: no header can carry others".into()));
            }
            if (1..KEY_MIN).contains(&key.len()) {
                let text =
                    format!("must have {KEY_MIN} characters at least, or it can be guessed: openssl rand -hex 16");
                return Err((name.into(), text));
            }
        }
        Ok(())
    }

    fn check_telemetry(&self) -> Result<(), (String, String)> {
        let bad = |text: &str| Err(("telemetry.otlp".to_owned(), text.to_owned()));
        if self.telemetry.otlp.is_empty() {
            return Ok(());
        }
        // not what it is: a password may stand in it
        match reqwest::Url::parse(&self.telemetry.otlp) {
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                bad("must name no user: what the collector wants to know stands in OTEL_EXPORTER_OTLP_HEADERS")
            }
            Ok(url)
                if ["http", "https"].contains(&url.scheme()) && url.query().is_none() && url.fragment().is_none() =>
            {
                Ok(())
            }
            _ => bad("must look like http://localhost:4318"),
        }
    }

    fn check_forwarding(&self) -> Result<(), (String, String)> {
        let bad = |text: &str| Err(("topics.forward_states".to_owned(), text.to_owned()));
        let Some(forward) = &self.topics.forward_states else { return Ok(()) };
        if self.topics.own().iter().any(|(_, name)| *name == forward) {
            return bad(
                "must be the topic that old readers read, and not one that Encargo uses for something else: give \
                 topics.states its own name, like \"encargo_states\"",
            );
        }
        if !self.log_url().is_shared() {
            return bad("is for old services on Kafka: set log.url to kafka://HOST:PORT");
        }
        Ok(())
    }

    fn check_log(&self) -> Result<(), (String, String)> {
        let bad = |key: &str, text: &str| Err((key.to_owned(), text.to_owned()));
        if self.log.min_insync > self.log.replication {
            return bad("log.replication", "must not be less than log.min_insync: no record could ever be written");
        }
        if self.log.framing == Framing::Confluent && self.registry.url.is_empty() {
            return bad("log.framing", "needs a schema registry, which gives the numbers: set registry.url, or plain");
        }
        // an order writes two records one after the other: one for its id, and itself
        if self.http.request_timeout <= self.log.message_timeout * 2 {
            return bad(
                "log.message_timeout",
                "must be less than half of http.request_timeout, or no client would get the reason",
            );
        }
        // a command waits twice: until it is decided, and until the order shows it
        if self.http.request_timeout <= self.http.command_wait * 2 {
            return bad(
                "http.command_wait",
                "must be less than half of http.request_timeout, or no client would be told where to look",
            );
        }
        if self.log.kafka.contains_key("bootstrap.servers") {
            return bad("log.kafka.bootstrap.servers", "belongs in log.url: kafka://HOST:PORT,HOST:PORT");
        }
        Ok(())
    }

    fn too_small(&self) -> [(&'static str, bool); 21] {
        [
            ("log.partitions", self.log.partitions == 0),
            ("log.queue_max", self.log.queue_max == 0),
            ("log.replication", self.log.replication == 0),
            ("log.min_insync", self.log.min_insync == 0),
            ("log.message_timeout", self.log.message_timeout.is_zero()),
            ("log.transaction_timeout", self.log.transaction_timeout.is_zero()),
            ("log.session_timeout", self.log.session_timeout.is_zero()),
            ("store.queue_max", self.store.queue_max == 0),
            ("store.pool_max", self.store.pool_max == 0),
            ("intake.backlog_max", self.intake.backlog_max == 0),
            ("http.body_max", self.http.body_max == 0),
            ("http.connections_max", self.http.connections_max == 0),
            ("http.requests_max", self.http.requests_max == 0),
            ("http.idle_timeout", self.http.idle_timeout.is_zero()),
            ("http.header_timeout", self.http.header_timeout.is_zero()),
            ("http.request_timeout", self.http.request_timeout.is_zero()),
            ("fulfilment.tick", self.fulfilment.tick.is_some_and(|tick| tick.is_zero())),
            ("fulfilment.in_flight_max", self.fulfilment.in_flight_max == 0),
            ("mail.batch", self.mail.batch == 0),
            ("mail.lease", self.mail.lease.is_zero()),
            ("mail.copies_max", self.mail.copies_max == 0),
        ]
    }
}
