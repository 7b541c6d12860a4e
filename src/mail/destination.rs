use std::{fmt, num::NonZeroU32, path::PathBuf, str::FromStr};

use super::{Error, Result};

mod smtp_url;

/// Where mails go, as the configuration says it: `maildir:DIR`, `smtp://host:port`, `smtps://host:port` or `none:`.
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
    /// How the connection is protected.
    pub tls: Tls,
    /// Who logs in there, if somebody does; never without TLS.
    pub login: Option<Login>,
    /// A PEM file with authorities that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// Most connections at once.
    pub connections_max: usize,
    /// Most mails on one connection.
    pub mails_per_connection_max: u32,
    /// Most mails per second, over all connections.
    pub rate_max: Option<NonZeroU32>,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// By STARTTLS (RFC 3207): a server that does not offer it gets no mail.
    StartTls,
    /// From the first byte on (RFC 8314).
    Implicit,
}

/// A user with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// Where the password comes from.
    pub password: Password,
}

/// Where a password comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// It is here.
    Text(String),
    /// The first line of a file, read again for every connection.
    File(PathBuf),
    /// An OAuth token rather than a password: the first line of a file, read again for every connection.
    TokenFile(PathBuf),
    /// The same from what a command of the shell prints.
    TokenCommand(String),
    /// It has to come from elsewhere in the configuration.
    Missing,
}

impl fmt::Debug for Login {
    /// Without password, and without the user, which may be an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(hidden)")
    }
}

impl SmtpServer {
    /// Connections unless `?connections=N` says otherwise.
    pub const CONNECTIONS: usize = 16;
    /// Mails per connection unless `?mails=N` says otherwise.
    pub const MAILS_PER_CONNECTION: u32 = 1_000;
}

impl Destination {
    /// Whether mail is switched off.
    pub fn is_off(&self) -> bool {
        *self == Self::None
    }

    /// Adds what the configuration says beside the URL: a password or a token for the URL's user, and an authority's file.
    /// What the URL says itself wins. The error is for whoever wrote the configuration.
    pub fn complete(mut self, password: Option<Password>, ca: Option<PathBuf>) -> std::result::Result<Self, String> {
        let Self::Smtp(server) = &mut self else {
            let useless = password.is_some();
            return if useless { Err("means nothing without an SMTP server in mail.url".into()) } else { Ok(self) };
        };
        match (&mut server.login, password) {
            (None, Some(_)) => return Err("needs a user in mail.url, like smtps://user@relay.example".into()),
            (Some(Login { password: place @ Password::Missing, .. }), Some(password)) => *place = password,
            (Some(Login { password: Password::Missing, .. }), None) => {
                return Err(
                    "is missing: mail.url names a user (set mail.password_file, mail.token_file or mail.token_command)"
                        .into(),
                );
            }
            _ => {}
        }
        if server.ca.is_none() {
            server.ca = ca;
        }
        Ok(self)
    }
}

impl fmt::Display for SmtpServer {
    /// Host and port alone: this goes to logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maildir(dir) => write!(f, "maildir:{}", dir.display()),
            Self::Smtp(server) if server.tls == Tls::Implicit => write!(f, "smtps://{server}"),
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
            Some(("smtp", rest)) => smtp_url::parse(rest, false).map(Self::Smtp),
            Some(("smtps", rest)) => smtp_url::parse(rest, true).map(Self::Smtp),
            _ => Err("must be maildir:DIR, smtp://HOST:PORT, smtps://HOST:PORT or none:".into()),
        };
        parsed.map_err(|problem| Error::Url { url: without_login(url), problem })
    }
}

/// For an error message: without whatever could be a user or a password.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("//") else { return url.to_owned() };
    let address = rest.split('?').next().unwrap_or_default();
    match address.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}//***@{host}"),
        None => format!("{scheme}//{address}"),
    }
}

#[cfg(test)]
mod tests;
