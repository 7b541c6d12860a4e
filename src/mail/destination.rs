use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use super::{Error, Result};

/// Where mails go, as the configuration says it: `maildir:DIR`, `smtp://host:port` or `none:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into the `new` folder of a Maildir.
    Maildir(PathBuf),
    /// To an SMTP server.
    Smtp(SmtpServer),
    /// Nowhere: no ledger rows are made, and nothing is leased.
    None,
}

/// An SMTP server and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpServer {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Most connections at once.
    pub connections_max: usize,
    /// Most mails on one connection.
    pub mails_per_connection_max: u32,
}

impl SmtpServer {
    /// Connections unless `?connections=N` says otherwise.
    pub const CONNECTIONS: usize = 4;
    /// Mails per connection unless `?mails=N` says otherwise.
    pub const MAILS_PER_CONNECTION: u32 = 1_000;
}

impl Destination {
    /// Whether mail is switched off.
    pub fn is_off(&self) -> bool {
        *self == Self::None
    }
}

impl fmt::Display for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maildir(dir) => write!(f, "maildir:{}", dir.display()),
            Self::Smtp(server) => write!(f, "smtp://{server}"),
            Self::None => f.write_str("none:"),
        }
    }
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let parsed = match url.split_once(':') {
            Some(("none", "")) => Ok(Self::None),
            Some(("maildir", "")) => Err("a folder must follow, like maildir:encargo-data/mail".into()),
            Some(("maildir", dir)) => Ok(Self::Maildir(dir.into())),
            Some(("smtp", rest)) => smtp(rest).map(Self::Smtp),
            Some(("smtps", _)) => Err("TLS is not there yet: use smtp://HOST:PORT?tls=none for a relay that may be \
                                       spoken to in clear text"
                .into()),
            _ => Err("must be maildir:DIR, smtp://HOST:PORT or none:".into()),
        };
        parsed.map_err(|problem| Error::Url { url: without_password(url), problem })
    }
}

fn smtp(rest: &str) -> std::result::Result<SmtpServer, String> {
    let rest = rest.strip_prefix("//").ok_or("must look like smtp://HOST:PORT")?;
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains('@') {
        return Err("user and password need TLS, which is not there yet".into());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, "25"),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || "/[]@".contains(c)) {
        return Err("must name a host, like smtp://relay.example:25".into());
    }
    let mut server = SmtpServer {
        host: host.to_owned(),
        port: port.parse().map_err(|_| format!("{port:?} is no port"))?,
        connections_max: SmtpServer::CONNECTIONS,
        mails_per_connection_max: SmtpServer::MAILS_PER_CONNECTION,
    };
    let mut clear_text = is_loopback(host);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("tls", "none")) => clear_text = true,
            Some(("connections", n)) => server.connections_max = in_range(n, 1, 100)?,
            Some(("mails", n)) => server.mails_per_connection_max = in_range(n, 1, 100_000)?,
            _ => return Err(format!("unknown option {pair:?}: there are tls=none, connections=N and mails=N")),
        }
    }
    if clear_text {
        return Ok(server);
    }
    Err("mails would cross the network in clear text, as TLS is not there yet: add ?tls=none to accept that, or use a \
         relay on this machine"
        .into())
}

fn in_range<T: FromStr + PartialOrd + fmt::Display>(text: &str, min: T, max: T) -> std::result::Result<T, String> {
    let parsed = text.parse().ok().filter(|n| (&min..=&max).contains(&n));
    parsed.ok_or_else(|| format!("{text:?} must be a number from {min} to {max}"))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_password(url: &str) -> String {
    match (url.split_once("//"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}//***@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for url in ["maildir:/var/mail/encargo", "maildir:a b", "smtp://localhost:2525", "smtp://[::1]:25", "none:"] {
            assert_eq!(url.parse::<Destination>().unwrap().to_string(), url);
        }
        let Ok(Destination::Smtp(server)) = "smtp://relay.example/?tls=none&connections=9&mails=7".parse() else {
            panic!("must parse")
        };
        assert_eq!((&*server.host, server.port), ("relay.example", 25));
        assert_eq!((server.connections_max, server.mails_per_connection_max), (9, 7));
    }

    #[test]
    fn refuses_with_words_that_help() {
        for (url, expected) in [
            ("", "must be maildir:"),
            ("maildir:", "a folder must follow"),
            ("mailto:ana", "must be maildir:"),
            ("none:x", "must be maildir:"),
            ("smtp:localhost", "must look like"),
            ("smtp://", "must name a host"),
            ("smtp://localhost:x", "\"x\" is no port"),
            ("smtp://localhost:25?connections=0", "number from 1 to 100"),
            ("smtp://localhost:25?conections=1", "unknown option \"conections=1\""),
            ("smtp://relay.example:25", "add ?tls=none"),
            ("smtp://128.0.0.1:25", "add ?tls=none"),
            ("smtps://relay.example", "TLS is not there yet"),
        ] {
            let error = url.parse::<Destination>().unwrap_err().to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
        let error = "smtp://user:geheim@relay.example".parse::<Destination>().unwrap_err().to_string();
        assert!(error.contains("need TLS") && !error.contains("geheim"), "{error}");
    }
}
