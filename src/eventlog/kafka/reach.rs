//! Why a broker is not reached, in words that say what to write instead of what. The library tells it as text alone:
//! `sasl_ssl://kafka:9093/bootstrap: SSL handshake failed: … (after 19ms in state SSL_HANDSHAKE)`.

/// What a failed connection means.
pub(super) fn explain(reason: &str) -> String {
    let Some((server, rest)) = reason.split_once(": ") else { return reason.to_owned() };
    let (protocol, place) = server.split_once("://").unwrap_or(("plaintext", server));
    let Some((address, id)) = place.rsplit_once('/') else { return reason.to_owned() };
    let (cause, state) = rest.rsplit_once(" (after ").unwrap_or((rest, ""));
    let state = state.split_once(" in state ").map_or("", |(_, state)| state);
    let state = state.split([',', ')']).next().unwrap_or_default(); // how often it happened may follow
    let broker = match id {
        "bootstrap" => format!("the broker at {address}"),
        id => format!("broker {id}, which is at {address} as the cluster says (its advertised.listeners),"),
    };
    format!("{broker} {}", words(Connection { cause, state, protocol, address }))
}

/// A connection that failed.
#[derive(Clone, Copy)]
struct Connection<'a> {
    cause: &'a str,
    state: &'a str,
    /// As `security.protocol` says it, in lower case.
    protocol: &'a str,
    address: &'a str,
}

impl Connection<'_> {
    fn has(&self, text: &str) -> bool {
        self.cause.contains(text)
    }

    fn with_tls(&self) -> bool {
        self.protocol.ends_with("ssl")
    }

    fn with_login(&self) -> bool {
        self.protocol.starts_with("sasl")
    }

    /// The setting that differs from this one in TLS or in the login.
    fn protocol(tls: bool, login: bool) -> String {
        let name = match (tls, login) {
            (false, false) => "PLAINTEXT",
            (false, true) => "SASL_PLAINTEXT",
            (true, false) => "SSL",
            (true, true) => "SASL_SSL",
        };
        format!("\"security.protocol\" = \"{name}\" under [log.kafka]")
    }
}

fn words(of: Connection<'_>) -> String {
    let (tls, login, cause) = (of.with_tls(), of.with_login(), of.cause);
    if of.has("Failed to resolve") {
        return "has a name that is not known here: is the host right?".into();
    }
    if of.has("refused") && of.state.starts_with("CONNECT") {
        return "is not there (connection refused): is the port right, and is the broker running?".into();
    }
    if of.state.starts_with("CONNECT") {
        return format!("cannot be reached ({cause}): is the address right, and does no firewall keep it closed?");
    }
    if of.has("certificate verify failed") {
        let host = of.address.rsplit_once(':').map_or(of.address, |(host, _)| host);
        return format!(
            "has a certificate that is not trusted, or that is not for the name {host}: name the certificate of its \
             authority as \"ssl.ca.location\" under [log.kafka], and the broker as its certificate does"
        );
    }
    if tls && of.state == "SSL_HANDSHAKE" && (of.has("PLAINTEXT") || of.has("Disconnected") || of.has("wrong version"))
    {
        return format!(
            "speaks no TLS on that port: name its port for TLS, or set {}",
            Connection::protocol(false, login)
        );
    }
    if let Some((_, offered)) = cause.split_once("supported mechanisms:") {
        return match offered.trim() {
            "" => format!("wants no login on that port: set {}", Connection::protocol(tls, false)),
            offered => {
                format!("takes another kind of login: set \"sasl.mechanisms\" under [log.kafka] to one of {offered}")
            }
        };
    }
    if login && of.state.starts_with("AUTH") {
        return format!(
            "authentication failed ({cause}): are \"sasl.username\" and \"sasl.password\" (or \"sasl.password_file\") under \
             [log.kafka] right?"
        );
    }
    if !tls && of.state == "APIVERSION_QUERY" {
        return format!(
            "does not understand us ({cause}): if that port is for TLS, set {}; if not, is it Kafka's port?",
            Connection::protocol(true, login)
        );
    }
    if !login && of.has("Disconnected") {
        return format!(
            "closed the connection without a word: if it wants a login, set {}, and \"sasl.mechanisms\", \"sasl.username\" \
             and \"sasl.password_file\"",
            Connection::protocol(tls, true)
        );
    }
    format!("failed: {cause}")
}

/// What the library says about properties before anything is connected.
pub(super) fn refused(why: &str) -> String {
    let hint = if why.contains("GSSAPI") {
        "set \"sasl.mechanisms\" under [log.kafka] to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; Kerberos, which is \
         meant when it is not set, is not built in"
    } else if why.contains("ssl.ca.location failed") {
        "the file that \"ssl.ca.location\" names cannot be read, or holds no certificate in PEM"
    } else if why.contains("not supported in this build") || why.contains("OpenSSL not available") {
        "this program was built without TLS for Kafka: build it with `cargo build --release --features kafka-tls`"
    } else {
        return why.to_owned();
    };
    format!("{why}; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the library says, and what a person has to be told.
    #[test]
    fn every_failed_connection_says_what_to_write() {
        let table = [
            (
                "nohost.invalid:9092/bootstrap: Failed to resolve 'nohost.invalid:9092': Name or service not known (after 2ms in state CONNECT)",
                "name that is not known",
            ),
            (
                "127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: Connection refused (after 0ms in state CONNECT, 12 identical error(s) suppressed)",
                "is the broker running",
            ),
            (
                "10.9.9.9:9092/bootstrap: Connection setup timed out in state CONNECT (after 5001ms in state CONNECT)",
                "firewall",
            ),
            (
                "kafka.invalid:9092/1: Failed to resolve 'kafka.invalid:9092': Name or service not known (after 1ms in state CONNECT)",
                "advertised.listeners",
            ),
            (
                "k:9093/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 4ms in state APIVERSION_QUERY)",
                "\"security.protocol\" = \"SSL\"",
            ),
            (
                "sasl_plaintext://k:9093/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 4ms in state APIVERSION_QUERY)",
                "\"SASL_SSL\"",
            ),
            (
                "k:5432/bootstrap: Receive failed: Invalid response size 1157627904 (0..100000000): increase receive.message.max.bytes (after 2ms in state APIVERSION_QUERY)",
                "is it Kafka's port",
            ),
            (
                "ssl://k:9092/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker listener? (after 19ms in state SSL_HANDSHAKE)",
                "\"PLAINTEXT\"",
            ),
            (
                "sasl_ssl://k:9092/bootstrap: Disconnected: SSL connection closed by peer (after 2ms in state SSL_HANDSHAKE)",
                "\"SASL_PLAINTEXT\"",
            ),
            (
                "ssl://k:9093/bootstrap: Disconnected: SSL connection closed by peer (after 5ms in state UP)",
                "\"SASL_SSL\"",
            ),
            ("k:9092/bootstrap: Disconnected: connection closed by peer (after 5ms in state UP)", "\"SASL_PLAINTEXT\""),
            (
                "sasl_ssl://k:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured (after 10ms in state SSL_HANDSHAKE)",
                "\"ssl.ca.location\"",
            ),
            (
                "sasl_ssl://k:9093/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-256 (after 1ms in state AUTH_HANDSHAKE)",
                "to one of SCRAM-SHA-256",
            ),
            (
                "sasl_plaintext://k:9092/bootstrap: SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported mechanisms:  (after 0ms in state AUTH_HANDSHAKE)",
                "wants no login",
            ),
            (
                "sasl_ssl://k:9093/bootstrap: SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256 (after 9ms in state AUTH_REQ)",
                "\"sasl.password\"",
            ),
        ];
        for (reason, told) in table {
            let said = explain(reason);
            assert!(said.contains(told), "{reason}\n{said}");
        }
        assert_eq!(explain("1/1 brokers are down"), "1/1 brokers are down");
    }

    #[test]
    fn a_refused_property_says_what_to_do() {
        for (why, told) in [
            ("No provider for SASL mechanism GSSAPI: recompile librdkafka with libsasl2", "sasl.mechanisms"),
            ("ssl.ca.location failed: error:05880020:x509 certificate routines::BIO lib", "cannot be read"),
            (
                "Configuration property \"ssl.ca.location\" not supported in this build: OpenSSL not available at build time",
                "kafka-tls",
            ),
        ] {
            assert!(refused(why).contains(told), "{why}");
        }
    }
}
