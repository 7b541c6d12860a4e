//! `smtp[s]://[user[:password]@]host[:port][?option&option…]`

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;

use super::{Login, Password, SmtpServer, Tls};

type Result<T> = std::result::Result<T, String>;

const OPTIONS: &str = "tls=none, tls=required, ca=FILE, password_file=FILE, connections=N, mails=N and rate=N";

/// Reads what follows `smtp:` or `smtps:`. The error says what is wrong and never repeats a user or a password.
pub(super) fn parse(rest: &str, implicit: bool) -> Result<SmtpServer> {
    let rest = rest.strip_prefix("//").ok_or("must look like smtp://HOST:PORT")?;
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (login, address) = match authority.rsplit_once('@') {
        Some((login, address)) => (Some(self::login(login)?), address),
        None => (None, authority),
    };
    let default_port = match (implicit, &login) {
        (true, _) => "465",
        (false, Some(_)) => "587",
        (false, None) => "25",
    };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (address, default_port),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || "/[]@".contains(c)) {
        return Err("must name a host, like smtp://relay.example:25".into());
    }
    let tls = match implicit {
        true => Tls::Implicit,
        false if is_loopback(host) && login.is_none() => Tls::None,
        false => Tls::StartTls,
    };
    let mut server = SmtpServer {
        host: host.to_owned(),
        port: port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("{port:?} is no port"))?,
        tls,
        login,
        ca: None,
        connections_max: SmtpServer::CONNECTIONS,
        mails_per_connection_max: SmtpServer::MAILS_PER_CONNECTION,
        rate_max: None,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        option(&mut server, pair)?;
    }
    if server.tls == Tls::None && server.login.is_some() {
        return Err("a password is sent under TLS only: leave out tls=none, or the user".into());
    }
    Ok(server)
}

fn option(server: &mut SmtpServer, pair: &str) -> Result<()> {
    let Some((name, value)) = pair.split_once('=') else {
        return Err(format!("unknown option {pair:?}: there are {OPTIONS}"));
    };
    match (name, value) {
        ("tls", "none") if server.tls == Tls::Implicit => return Err("smtps: is TLS: leave out tls=none".into()),
        ("tls", "none") => server.tls = Tls::None,
        ("tls", "required") if server.tls == Tls::None => server.tls = Tls::StartTls,
        ("tls", "required") => {}
        ("tls", _) => return Err("tls must be none or required".into()),
        ("ca", path) => server.ca = Some(PathBuf::from(decoded(path, name)?)),
        ("password_file", path) => {
            let login = server.login.as_mut().ok_or("password_file needs a user, like smtps://user@relay.example")?;
            if login.password != Password::Missing {
                return Err("the URL has a password already: keep one of them".into());
            }
            login.password = Password::File(decoded(path, name)?.into());
        }
        ("connections", n) => server.connections_max = in_range(n, 1, 100)?,
        ("mails", n) => server.mails_per_connection_max = in_range(n, 1, 100_000)?,
        ("rate", n) => server.rate_max = in_range(n, 1, 100_000)?.try_into().ok(),
        // the value is left out: a misspelt password would be shown
        _ => return Err(format!("unknown option {name:?}: there are {OPTIONS}")),
    }
    Ok(())
}

/// Both percent-encoded, because either may have any character in it.
fn login(text: &str) -> Result<Login> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    };
    let user = decoded(user, "the user")?;
    if user.is_empty() {
        return Err("a user must come before the @, like smtps://user:password@relay.example".into());
    }
    let password = match password {
        Some(password) => Password::Text(decoded(password, "the password")?),
        None => Password::Missing,
    };
    Ok(Login { user, password })
}

/// NUL separates the fields of AUTH PLAIN (RFC 4616); none of the others can be meant.
fn decoded(text: &str, what: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| format!("{what} is not UTF-8"))?;
    if decoded.contains(char::is_control) {
        return Err(format!("{what} has a control character"));
    }
    Ok(decoded.into_owned())
}

fn in_range<T: FromStr + PartialOrd + fmt::Display>(text: &str, min: T, max: T) -> Result<T> {
    let parsed = text.parse().ok().filter(|n| (&min..=&max).contains(&n));
    parsed.ok_or_else(|| format!("{text:?} must be a number from {min} to {max}"))
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
