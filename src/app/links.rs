//! Where links in answers, pages and mails lead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Addresses;
use crate::{config::Config, mail, pages::Site, web};

/// Where the tracking listener is, in this process or as the settings say.
pub(super) fn tracking_address(config: &Config, addresses: Addresses) -> SocketAddr {
    addresses.tracking.unwrap_or(config.tracking.listen)
}

/// How customers reach the tracking listener.
pub(super) fn public_url(config: &Config, addresses: Addresses) -> String {
    let configured = config.tracking.public_url.trim_end_matches('/');
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let mut address = tracking_address(config, addresses);
    // "all addresses" is none that a link can lead to; on this machine its own address does
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("http://{address}")
}

/// What all pages know of the shop.
pub(super) fn site(config: &Config, addresses: Addresses) -> Site {
    let tracking = is_reachable(config, addresses).then(|| public_url(config, addresses));
    let configured = config.intake.public_url.trim_end_matches('/');
    // who publishes one listener under a name of its own has to say where the other one is
    let is_local = config.tracking.public_url.is_empty();
    let shop = match addresses.intake {
        _ if !configured.is_empty() => Some(configured.to_owned()),
        Some(address) if is_local && !address.ip().is_unspecified() => Some(format!("http://{address}")),
        _ => None,
    };
    let lookup = tracking.as_ref().filter(|_| !config.mail_url().is_off()).map(|tracking| format!("{tracking}/lookup"));
    Site { shop, tracking, lookup, zone: config.mail.time_zone.0.clone(), currency: config.catalog.currency.clone() }
}

/// Whether links can be followed at all.
pub(super) fn is_reachable(config: &Config, addresses: Addresses) -> bool {
    let address = tracking_address(config, addresses);
    !config.tracking.public_url.is_empty() || !address.ip().is_unspecified() && address.port() != 0
}

/// What is odd about the links in answers and mails, and what to do about it.
pub(super) fn link_trouble(config: &Config, addresses: Addresses) -> Option<String> {
    let url = public_url(config, addresses);
    if !is_reachable(config, addresses) {
        return Some(format!(
            "tracking listens on {}, which is no address for links: answers link to {url}, which is this machine alone, and \
             mails have no link, until tracking.public_url says how customers reach it",
            tracking_address(config, addresses)
        ));
    }
    let mail::Destination::Smtp(server) = config.mail_url() else { return None };
    let is_here = |host: &str| web::is_loopback_name(host);
    let leads_here = reqwest::Url::parse(&url).is_ok_and(|url| url.host_str().is_some_and(is_here));
    (leads_here && !is_here(&server.host)).then(|| {
        format!(
            "mails go out by {}, but their links lead to {url}, which is this machine alone: set tracking.public_url to how \
             customers reach it",
            server.host
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_told_at_the_start() {
        let trouble = |tracking: &str, mail: &str, public: &str| {
            let flags = [("mail.url", mail.to_owned()), ("tracking.public_url", public.to_owned())];
            let config = crate::config::load(None, &flags).unwrap().config;
            let addresses =
                Addresses { intake: None, tracking: Some(tracking.parse().unwrap()), ops: config.ops.listen };
            link_trouble(&config, addresses)
        };
        let (relay, here) = ("smtp://relay.example", "smtp://127.0.0.1:25");
        for (tracking, mail, public, word) in [
            ("0.0.0.0:5000", "none:", "", Some("mails have no link")),
            ("[::]:5000", here, "", Some("mails have no link")),
            ("127.0.0.1:5000", relay, "", Some("relay.example")),
            ("0.0.0.0:5000", relay, "http://localhost:5000", Some("relay.example")),
            ("127.0.0.1:5000", relay, "https://shop.example", None),
            ("0.0.0.0:5000", relay, "https://shop.example", None),
            ("192.0.2.1:5000", relay, "", None),
            ("127.0.0.1:5000", here, "", None),
            ("127.0.0.1:5000", "none:", "", None),
        ] {
            let told = trouble(tracking, mail, public);
            assert_eq!(told.is_some(), word.is_some(), "{tracking} {mail} {public}: {told:?}");
            let has = |told: String| told.contains(word.unwrap_or_default()) && told.contains("tracking.public_url");
            assert!(told.is_none_or(has), "{tracking} {mail} {public}");
        }
    }
}
