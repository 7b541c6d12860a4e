//! The address as providers and other programs write it: what of it is for us, for the driver, or for nobody here.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::{super::Error, Result, tls::Protection};

/// An address taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// What the driver reads.
    pub(super) url: String,
    pub(super) protection: Protection,
    /// `sslrootcert`.
    pub(super) ca: Option<PathBuf>,
    /// `pgbouncer=true`.
    pub(super) pooled: bool,
    /// `connection_limit`.
    pub(super) pool_max: Option<usize>,
    /// `schema`, `currentSchema`.
    pub(super) schema: Option<String>,
    /// Parameters without a meaning here.
    pub(super) ignored: Vec<String>,
}

/// What the driver knows.
const DRIVER: [&str; 17] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "sslnegotiation",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "channel_binding",
    "load_balance_hosts",
];
/// What is for other programs, and means nothing here that matters.
const IGNORED: [&str; 27] = [
    "allow_public_key_retrieval",
    "binary_parameters",
    "client_encoding",
    "connection_timeout",
    "fallback_application_name",
    "gssencmode",
    "idle_timeout",
    "krbsrvname",
    "max_lifetime",
    "min_pool_size",
    "pool",
    "pool_mode",
    "pool_timeout",
    "preparethreshold",
    "prepared_statements",
    "reconnect",
    "socket_timeout",
    "sslcompression",
    "sslcrl",
    "sslsni",
    "ssl_min_protocol_version",
    "statement_cache_mode",
    "statement_cache_size",
    "supa",
    "tcpkeepalive",
    "uselibpqcompat",
    "workaround",
];

impl Address {
    /// The error names a parameter, and never a value that could be a secret.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut address = Self {
            url: String::new(),
            protection: Protection::Prefer,
            ca: None,
            pooled: false,
            pool_max: None,
            schema: None,
            ignored: Vec::new(),
        };
        let mut rest = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if DRIVER.contains(&name) {
                rest.push(parameter);
            } else {
                let value = percent_decode_str(value).decode_utf8().map_err(|_| wrong(name, "is not UTF-8"))?;
                address.take(name, &value)?;
            }
        }
        // whoever names the authority wants it checked
        if address.ca.is_some() && address.protection == Protection::Prefer {
            address.protection = Protection::VerifyFull;
        }
        address.url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        Ok(address)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<()> {
        match (name, value) {
            ("sslmode", "disable") | ("ssl", "false" | "0") => self.protection = Protection::Disable,
            ("sslmode", "allow" | "prefer") => self.protection = Protection::Prefer,
            ("sslmode", "require" | "no-verify") | ("ssl", "true" | "1") => self.protection = Protection::Require,
            // the name is checked as well: stricter than it was asked for
            ("sslmode", "verify-ca" | "verify-full") | ("sslrootcert", "system") => {
                self.protection = Protection::VerifyFull;
            }
            ("sslmode", other) => {
                return Err(wrong(
                    &format!("sslmode={}", other.escape_debug().take(40).collect::<String>()),
                    "must be disable, prefer, require or verify-full",
                ));
            }
            ("sslrootcert", path) => self.ca = Some(path.into()),
            ("sslcert" | "sslkey" | "sslpassword", _) => {
                return Err(wrong(name, "is not supported: log in with a password rather than a client certificate"));
            }
            ("pgbouncer", value) => self.pooled = matches!(value, "true" | "1"),
            ("connection_limit" | "pool_size" | "max_pool_size" | "pool_max_conns", n) => {
                let n = n.parse().ok().filter(|n| *n > 0);
                self.pool_max = Some(n.ok_or_else(|| wrong(name, "must be a number from 1"))?);
            }
            ("schema" | "currentSchema" | "search_path", schema) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',');
                if schema.is_empty() || !schema.chars().all(plain) {
                    return Err(wrong(name, "must be the name of a schema"));
                }
                self.schema = Some(schema.to_owned());
            }
            // every connection has to be to a database that writes
            ("target_session_attrs" | "targetServerType", "any" | "read-write" | "primary" | "master") => {}
            ("target_session_attrs" | "targetServerType", _) => {
                return Err(wrong(name, "must be read-write: a standby takes no orders"));
            }
            _ if IGNORED.contains(&&*name.to_ascii_lowercase()) || name.starts_with("gss") => {
                self.ignored.push(name.to_owned());
            }
            _ => return Err(wrong(&name.escape_debug().take(40).collect::<String>(), "is not known: leave it out")),
        }
        Ok(())
    }
}

fn wrong(name: &str, why: &str) -> Error {
    Error::Fatal(format!("the parameter {name} in the store's address {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_providers_give_them_out_are_taken() {
        let parse = |url: &str| Address::parse(url).unwrap();
        let plain = parse("postgres://a@b/c");
        assert_eq!((&*plain.url, plain.protection), ("postgres://a@b/c", Protection::Prefer));
        for (query, protection, rest) in [
            ("sslmode=disable", Protection::Disable, ""),
            ("sslmode=require&channel_binding=require", Protection::Require, "?channel_binding=require"), // Neon
            ("sslmode=require&options=endpoint%3Dep-x", Protection::Require, "?options=endpoint%3Dep-x"), // Neon
            ("pgbouncer=true&connection_limit=1", Protection::Prefer, ""),                                // Supabase
            ("sslmode=require&supa=base-pooler.x&pool_timeout=0", Protection::Require, ""),
            ("sslmode=no-verify", Protection::Require, ""), // Heroku
            ("ssl=true", Protection::Require, ""),
            ("sslmode=verify-full&sslrootcert=/etc/rds.pem", Protection::VerifyFull, ""), // RDS
            ("sslrootcert=%2Fetc%2Frds.pem", Protection::VerifyFull, ""),
            ("sslrootcert=system", Protection::VerifyFull, ""),
            ("sslmode=verify-ca", Protection::VerifyFull, ""),
            ("sslmode=require&target_session_attrs=primary", Protection::Require, ""), // Azure
            (
                "application_name=x&sslmode=verify-full&connect_timeout=9",
                Protection::VerifyFull,
                "?application_name=x&connect_timeout=9",
            ),
            ("schema=public&statement_cache_size=0", Protection::Prefer, ""), // Prisma
        ] {
            let address = parse(&format!("postgres://a:p@b/c?{query}"));
            assert_eq!(
                (&*address.url, address.protection),
                (&*format!("postgres://a:p@b/c{rest}"), protection),
                "{query}"
            );
        }
        let pooled = parse("postgres://a@b/c?pgbouncer=true&connection_limit=3&schema=shop&pool_timeout=5");
        assert_eq!((pooled.pooled, pooled.pool_max, pooled.schema.as_deref()), (true, Some(3), Some("shop")));
        assert_eq!(pooled.ignored, ["pool_timeout"]);
        assert_eq!(parse("postgres://a@b/c?sslrootcert=%2Fetc%2Frds.pem").ca, Some("/etc/rds.pem".into()));
    }

    #[test]
    fn what_cannot_be_taken_is_named_without_its_value() {
        for (query, expected) in [
            ("sslmode=none", "sslmode=none in the store's address must be disable, prefer"),
            ("sslkey=geheim", "sslkey in the store's address is not supported: log in with a password"),
            ("nonsense=geheim", "nonsense in the store's address is not known"),
            ("connection_limit=geheim", "connection_limit in the store's address must be a number"),
            ("schema=a;geheim", "schema in the store's address must be the name of a schema"),
            ("target_session_attrs=standby", "must be read-write: a standby"),
        ] {
            let text = Address::parse(&format!("postgres://a:geheim@b/c?{query}")).unwrap_err().to_string();
            assert!(text.contains(expected) && !text.contains("geheim"), "{text}");
        }
    }
}
