//! What each service is told, from the settings.

use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use prometheus_client::registry::Registry;

use super::{
    Addresses,
    links::{is_reachable, public_url, site, tracking_address},
};
use crate::{
    clock::Clock,
    commands,
    config::Config,
    domain::{Flow, HandleKey},
    env::Env,
    forward,
    fulfilment::{self, CommandTopics, retention},
    intake, mail, ops,
    pages::Site,
    tracking, web,
};

/// How long a request keeps its idempotency key to itself at least; longer than the embedded log takes to write or give
/// up.
const RESERVATION_MIN: Duration = Duration::from_secs(15);
/// How often a mailer looks for work that nobody in its process tells it of.
const MAIL_POLL: Duration = Duration::from_millis(200);
/// How often one that is told looks all the same: commands of other processes change the ledger, too.
const MAIL_POLL_TOLD: Duration = Duration::from_secs(3);

pub(super) fn fulfilment(config: &Config, flow: Arc<Flow>, commands: Option<CommandTopics>) -> fulfilment::Options {
    fulfilment::Options {
        flow,
        flows: config.topics.flows.clone(),
        orders: config.topics.orders.clone(),
        states: config.topics.states.clone(),
        dead: config.topics.dead.clone(),
        commands,
        old_states: config.topics.forward_states.clone(),
        old_group: config.fulfilment.old_group.clone(),
        tick: config.tick(),
        in_flight_max: config.fulfilment.in_flight_max,
        remember: config.fulfilment.remember,
        slot: config.slot,
    }
}

/// What is forwarded to old readers, while there are any.
pub(super) fn forward(config: &Config) -> Option<forward::Options> {
    Some(forward::Options {
        from: config.topics.states.clone(),
        to: config.topics.forward_states.clone()?,
        tracking: tracking::GROUP.to_owned(),
        slot: config.slot,
    })
}

/// Topics whose records are deleted here, and not by the log.
pub(super) fn deleted(config: &Config) -> Vec<(String, Duration)> {
    let retention::Policy { topics, keep, .. } = retention(config);
    topics.into_iter().map(|(topic, _)| (topic, keep)).collect()
}

pub(super) fn retention(config: &Config) -> retention::Policy {
    let (fulfilment, tracking) = (fulfilment::GROUP.to_owned(), tracking::GROUP.to_owned());
    retention::Policy {
        orders: config.topics.orders.clone(),
        states: config.topics.states.clone(),
        topics: vec![
            (config.topics.orders.clone(), vec![fulfilment.clone()]),
            (config.topics.commands.clone(), vec![fulfilment]),
            (config.topics.states.clone(), vec![tracking.clone()]),
            (config.topics.outcomes.clone(), vec![tracking.clone()]),
            (config.topics.dead.clone(), vec![tracking]),
        ],
        keep: config.log.retention,
    }
}

/// `outcomes`: the topic of what becomes of commands, if there is one.
pub(super) fn tracking(config: &Config, mail: bool, outcomes: Option<String>) -> tracking::Options {
    tracking::Options {
        states: config.topics.states.clone(),
        dead: config.topics.dead.clone(),
        outcomes,
        old_states: config.topics.forward_states.clone(),
        mail,
        mail_since: config.mail.since,
        slot: config.slot,
    }
}

pub(super) fn intake(config: &Config, addresses: Addresses, flow: Arc<Flow>) -> intake::Options {
    let readers = [
        ("fulfilment", fulfilment::GROUP, &config.topics.orders),
        ("tracking", tracking::GROUP, &config.topics.states),
    ];
    let watched = readers.into_iter().filter(|(role, ..)| config.intake.backlog_of.iter().any(|other| other == role));
    let watched = watched.map(|(_, group, topic)| intake::Watched { group: group.to_owned(), topic: topic.clone() });
    intake::Options {
        orders_topic: config.topics.orders.clone(),
        ids_topic: config.topics.ids.clone(),
        usermail: config.intake.usermail.clone(),
        tracking_url: public_url(config, addresses),
        watched: watched.collect(),
        backlog_max: config.intake.backlog_max,
        // on a cluster, the time for the id's record and the order's, and some more
        reservation: RESERVATION_MIN.max(config.log.message_timeout * 2 + Duration::from_secs(5)),
        rate_per_address: config.intake.rate_per_address,
        rate_per_client: config.intake.rate_per_client,
        trusted_hops: config.http.trusted_hops,
        allowed_origins: config.intake.allowed_origins.clone(),
        site: site(config, addresses),
        flow,
    }
}

pub(super) fn limits(config: &Config) -> web::Limits {
    web::Limits {
        connections_max: config.http.connections_max,
        requests_max: config.http.requests_max,
        body_bytes_max: config.http.body_max,
        idle_timeout: config.http.idle_timeout,
        header_timeout: config.http.header_timeout,
        request_timeout: config.http.request_timeout,
        drain_timeout: config.shutdown_deadline / 2,
    }
}

/// Where commands about orders go.
pub(super) fn commands(config: &Config) -> commands::Options {
    commands::Options { topic: config.topics.commands.clone(), wait: config.http.command_wait }
}

pub(super) fn api(config: &Config, addresses: Addresses) -> tracking::ApiOptions {
    let api_key = Some(config.tracking.api_key.clone()).filter(|key| !key.is_empty());
    tracking::ApiOptions {
        open: tracking_address(config, addresses).ip().is_loopback(),
        api_key,
        commands: commands(config),
        allowed_origins: config.intake.allowed_origins.clone(),
        flows: config.topics.flows.clone(),
        site: site(config, addresses),
        streams_max: streams_max(config),
        lookup_rate_per_client: config.tracking.lookup_rate_per_client,
        trusted_hops: config.http.trusted_hops,
        readers: [(fulfilment::GROUP, &config.topics.orders), (tracking::GROUP, &config.topics.states)]
            .map(|(group, topic)| (group.to_owned(), topic.clone()))
            .into(),
    }
}

/// How many may follow what happens at a listener: those who look once find a place, too.
pub(super) fn streams_max(config: &Config) -> usize {
    config.http.connections_max * 3 / 4
}

/// The guard of the listener at an address; `origins` are those of foreign pages that may use it.
pub(super) fn guard(config: &Config, at: SocketAddr, origins: &[web::Origin]) -> web::Guard {
    let mut hosts = config.http.allowed_hosts.clone();
    let public = [&config.tracking.public_url, &config.intake.public_url];
    let public = public.into_iter().filter_map(|url| reqwest::Url::parse(url).ok()?.host_str()?.parse().ok());
    let on_loopback = at.ip().is_loopback();
    if on_loopback || !hosts.is_empty() {
        hosts.extend(public);
    }
    web::Guard { on_loopback, hosts, origins: origins.to_vec() }
}

/// Who is let in at the operations listener. Off loopback nothing stands in front of it but a token.
pub(super) fn access(config: &Config, addresses: Addresses, env: &Env) -> Result<ops::Access> {
    let token = Some(config.ops.token.clone()).filter(|token| !token.is_empty());
    let Addresses { ops: at, .. } = addresses;
    if token.is_none() && !at.ip().is_loopback() {
        bail!(
            "ops.listen is {at}, not on loopback, and there is no token: anyone who reaches it could read customers' addresses \
             and change orders. Make one (openssl rand -hex 16 > FILE; chmod 600 FILE) and set ops.token_file or \
             ENCARGO_OPS_TOKEN_FILE to FILE; or leave ops.listen at 127.0.0.1:9000 and come through a tunnel (ssh -L \
             9000:127.0.0.1:9000 HOST)"
        );
    }
    let options = ops::AccessOptions { token, trusted_hops: config.http.trusted_hops, port: at.port() };
    ops::Access::new(options, env, &site(config, addresses)).context("the system has no random numbers")
}

/// What is odd about who can listen in on the desk.
pub(super) fn access_trouble(config: &Config, addresses: Addresses) -> Option<String> {
    let is_bare = !addresses.ops.ip().is_loopback() && config.http.trusted_hops == 0;
    is_bare.then(|| {
        format!(
            "the desk is on {} without TLS, so its token and customers' addresses cross the network in the clear: put a proxy \
             with TLS before it, and set http.trusted_hops to 1",
            addresses.ops
        )
    })
}

/// For samples: links are made with a key of no order.
pub(super) fn composing(config: &Config, addresses: Addresses, flow: &Flow) -> mail::compose::Options {
    mail::compose::Options {
        from: config.mail.from.address.clone(),
        from_name: config.mail.from.name.clone(),
        domain: None,
        deployment: "sample".into(),
        lang: config.mail.lang,
        zone: config.mail.time_zone.0.clone(),
        // a mail goes anywhere: better no link than one that leads nowhere
        track: is_reachable(config, addresses).then(|| format!("{}/track/", public_url(config, addresses))),
        templates: Some(config.mail.templates.clone()).filter(|path| !path.as_os_str().is_empty()),
        flow: flow.clone(),
        handles: Some(HandleKey::new([0; 16])),
    }
}

/// `is_told`: the projection runs in the same process and wakes the mailer.
pub(super) fn mail(config: &Config, is_told: bool) -> mail::Options {
    let defaults = mail::Options::default();
    mail::Options {
        in_flight_max: config.mail.batch * 4,
        lease_max: config.mail.batch,
        lease: config.mail.lease,
        retry_min: config.mail.retry_min,
        retry_max: config.mail.retry_max,
        deadline: config.mail.deadline,
        copies_max: config.mail.copies_max,
        stop_deadline: config.shutdown_deadline / 2,
        poll: if is_told { MAIL_POLL_TOLD } else { MAIL_POLL },
        // in a shared store others may be at work: leases of a process that is gone end by their time
        only_mailer: !config.store_url().is_shared(),
        ..defaults
    }
}

/// The mailbox of the operations listener, with samples made as the mails are.
pub(super) fn mailbox(
    composing: mail::compose::Options,
    destination: &mail::Destination,
    clock: Clock,
    site: &Site,
) -> mail::Result<ops::Mailbox> {
    let composer = mail::Composer::new(composing)?;
    let place = match destination {
        mail::Destination::Maildir(root) => ops::Place::Maildir(root.clone()),
        mail::Destination::Smtp(_) => ops::Place::Smtp(destination.to_string()),
        mail::Destination::None => ops::Place::Off,
    };
    let samples = move || {
        let sample = |(state, lang, subject, html)| ops::Sample { state, lang, subject, html };
        composer.samples().into_iter().map(sample).collect()
    };
    Ok(ops::Mailbox::new(place, Arc::new(samples), clock, site))
}

/// What the desk watches, but for the log and the store themselves.
pub(super) fn watched(config: &Config, env: Env, registry: Arc<RwLock<Registry>>) -> ops::Watched {
    let topics = &config.topics;
    let backlog_max =
        |role: &str| config.intake.backlog_of.iter().any(|other| other == role).then_some(config.intake.backlog_max);
    ops::Watched {
        log: None,
        store: None,
        env,
        registry,
        groups: vec![
            ops::Group {
                name: fulfilment::GROUP.to_owned(),
                word: "g_ful",
                topics: vec![topics.orders.clone()],
                backlog_max: backlog_max("fulfilment"),
            },
            ops::Group {
                name: tracking::GROUP.to_owned(),
                word: "g_tra",
                topics: vec![topics.states.clone(), topics.dead.clone()],
                backlog_max: backlog_max("tracking"),
            },
        ],
        topics: [
            (&topics.orders, "t_orders"),
            (&topics.states, "t_states"),
            (&topics.dead, "t_dead"),
            (&topics.commands, "t_commands"),
            (&topics.outcomes, "t_outcomes"),
            (&topics.flows, "t_flows"),
            (&topics.ids, "t_ids"),
        ]
        .map(|(name, word)| (name.clone(), word))
        .to_vec(),
        has_owners: config.log_url().is_shared(),
        read_accounts: |metadata| {
            let counters = fulfilment::Progress::parse(metadata).ok()??.counters;
            let ended = counters.finished + counters.cancelled;
            Some(ops::Accounts { accepted: counters.accepted, ended, dead: counters.dead })
        },
        scale: super::scaling::scaling(config),
    }
}

/// How the mails' destination fares, as the operations listener shows it.
pub(super) fn relay(snapshot: mail::Snapshot) -> ops::RelayState {
    use mail::RelayState::{Denied, Paused, Returning, Working};
    let trouble = |reason, since, probe_at, failures| Some(ops::Trouble { reason, since, probe_at, failures });
    let (state, trouble) = match snapshot.state {
        Working => ("working", None),
        Returning(_) => ("returning", None),
        Paused { reason, since, probe_at, failures } => ("paused", trouble(reason, since, probe_at, failures)),
        Denied { reason, since, probe_at, failures } => ("denied", trouble(reason, since, probe_at, failures)),
    };
    let slowed = |domain: mail::DomainState| {
        let mail::DomainState { domain, reason, since, probe_at, failures } = domain;
        (domain, ops::Trouble { reason, since, probe_at, failures })
    };
    ops::RelayState { name: snapshot.name, state, trouble, domains: snapshot.domains.into_iter().map(slowed).collect() }
}
