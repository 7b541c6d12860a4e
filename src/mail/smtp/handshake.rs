//! From the first byte to a session that takes mails: greeting, EHLO, STARTTLS and EHLO again, AUTH.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use tokio::net::{TcpStream, lookup_host};

use super::{
    capabilities::Capabilities,
    connection::{Connection, Failure, Stream, within},
    login::{self, Refused},
    reply::Reply,
    tls::Connector,
};
use crate::{
    mail::{Outcome, SmtpServer, Timeouts, Tls},
    reach, tls,
};

/// Why there is no session.
#[derive(Debug, Clone)]
pub(super) enum ConnectError {
    /// It answers, and takes no session now.
    Crowded(String),
    /// It may be better later.
    Unreachable(String),
    /// Somebody has to change something, here or there.
    Denied(String),
}

impl From<ConnectError> for Outcome {
    fn from(not_open: ConnectError) -> Self {
        match not_open {
            ConnectError::Crowded(reason) | ConnectError::Unreachable(reason) => Self::Unreachable(reason),
            ConnectError::Denied(reason) => Self::Denied(reason),
        }
    }
}

/// Opens connections to one server.
pub(super) struct Opener {
    pub(super) server: SmtpServer,
    /// How this host introduces itself.
    pub(super) host: String,
    pub(super) timeouts: Timeouts,
    /// `None` where there is no TLS.
    pub(super) tls: Option<Connector>,
    /// Whether it keeps what it says of CHUNKING.
    pub(super) chunks: Arc<AtomicBool>,
}

impl Opener {
    /// A connection that takes mails; the error is for an operator.
    pub(super) async fn open(&self) -> Result<(Connection, Capabilities), ConnectError> {
        let stream = self.connect().await.map_err(|e| {
            let hint = match &e {
                Failure::Timeout(_) => ": does a firewall keep that port closed? (25 often is; try 587 or 465)",
                _ => "",
            };
            ConnectError::Unreachable(format!("cannot connect to {}: {}{hint}", self.server, in_words(&e)))
        })?;
        let stream = match (&self.tls, self.server.tls) {
            (Some(connector), Tls::Implicit) => self.handshake(connector, stream).await?,
            _ => Stream::Plain(stream),
        };
        let mut connection = Connection::new(stream, self.timeouts.step);
        let greeting = connection.read().await.map_err(|e| self.mute(&e))?;
        if greeting.code != 220 {
            return Err(self.crowded("does not greet", &greeting));
        }
        let mut caps = self.ehlo(&mut connection).await?;
        if let (Some(connector), Tls::StartTls) = (&self.tls, self.server.tls) {
            connection = self.start_tls(connector, connection, caps).await?;
            caps = self.ehlo(&mut connection).await?;
        }
        if let (Some(login), Some(_)) = (&self.server.login, &self.tls) {
            login::log_in(&mut connection, &caps, login, &self.server).await.map_err(|refused| match refused {
                Refused::ForNow(reason) => self.unreachable("does not take the login", &reason),
                Refused::ForGood(reason) => self.denied("does not take the login", &reason),
            })?;
        }
        Ok((connection, caps))
    }

    /// Tries each of the name's addresses, and gives each a fair share of the time.
    async fn connect(&self) -> Result<TcpStream, Failure> {
        let SmtpServer { host, port, .. } = &self.server;
        let addresses: Vec<_> = within(self.timeouts.connect, lookup_host((&**host, *port))).await?.collect();
        let share = self.timeouts.connect / (addresses.len().max(1) as u32);
        let mut last = Failure::Lost(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for address in addresses {
            match within(share, TcpStream::connect(address)).await {
                Ok(stream) => {
                    // without this a mail waits 40 ms for a delayed acknowledgement
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn ehlo(&self, connection: &mut Connection) -> Result<Capabilities, ConnectError> {
        let ask = async |connection: &mut Connection, verb| {
            let reply = connection.ask(&format!("{verb} {}", self.host)).await;
            reply.map_err(|e| self.unreachable("does not take EHLO", &e))
        };
        let reply = ask(connection, "EHLO").await?;
        match reply.code {
            250 => Ok(Capabilities::of(&reply)),
            // older than 1995 (RFC 5321 §3.2)
            500 | 502 => match ask(connection, "HELO").await? {
                reply if reply.code == 250 => Ok(Capabilities::default()),
                reply => Err(self.unreachable("does not take HELO", &reply.describe())),
            },
            _ => Err(self.crowded("does not take EHLO", &reply)),
        }
    }

    async fn start_tls(
        &self,
        connector: &Connector,
        mut connection: Connection,
        caps: Capabilities,
    ) -> Result<Connection, ConnectError> {
        if !caps.starttls {
            let hint = "nothing was sent, no login and no mail. Somebody in between may have taken the offer out of its \
                        answer; or it speaks TLS on another port (smtps://, 465), or is no server for this";
            return Err(self.denied("offers no STARTTLS", &hint));
        }
        let reply = connection.ask("STARTTLS").await.map_err(|e| self.unreachable("does not start TLS", &e))?;
        if reply.code != 220 {
            return Err(self.unreachable("does not start TLS", &reply.describe()));
        }
        let stream = connection.into_plain().map_err(|e| self.denied("cannot be trusted before TLS", &e))?;
        Ok(Connection::new(self.handshake(connector, stream).await?, self.timeouts.step))
    }

    async fn handshake(&self, connector: &Connector, stream: TcpStream) -> Result<Stream, ConnectError> {
        let error = match within(self.timeouts.step, connector.connect(stream)).await {
            Ok(stream) => return Ok(Stream::Tls(Box::new(stream))),
            Err(error) => error,
        };
        let words = in_words(&error);
        let flaw = if let Failure::Lost(error) = &error { tls::failure(error) } else { None };
        match flaw {
            Some(flaw) if tls::is_about_the_certificate(flaw) => {
                Err(self.denied("has a certificate that is not trusted", &words))
            }
            Some(flaw) if tls::is_clear_text(flaw) && self.server.tls == Tls::Implicit => {
                let hint = format!(
                    "{words}: write smtp:// (STARTTLS) in mail.url instead of smtps://, or the port of TLS (465)"
                );
                Err(self.unreachable("TLS handshake failed", &hint))
            }
            _ => Err(self.unreachable("TLS handshake failed", &words)),
        }
    }

    /// No greeting: often the port is another one's, or TLS is spoken there from the start.
    fn mute(&self, failure: &Failure) -> ConnectError {
        let hint = match (failure, self.server.tls) {
            (Failure::Malformed(_), _) => ": another service is on that port; is the port in mail.url right?",
            (Failure::Timeout(_) | Failure::Lost(_), Tls::StartTls | Tls::None) => {
                ": if TLS is spoken there from the start, as on port 465, write smtps:// in mail.url instead of smtp://"
            }
            _ => "",
        };
        self.unreachable("does not greet", &format!("{}{hint}", in_words(failure)))
    }

    fn crowded(&self, what: &str, reply: &Reply) -> ConnectError {
        ConnectError::Crowded(format!("{} {what}: {}", self.server, reply.describe()))
    }

    fn unreachable(&self, what: &str, why: &dyn std::fmt::Display) -> ConnectError {
        ConnectError::Unreachable(format!("{} {what}: {why}", self.server))
    }

    fn denied(&self, what: &str, why: &dyn std::fmt::Display) -> ConnectError {
        ConnectError::Denied(format!("{} {what}: {why}", self.server))
    }
}

fn in_words(failure: &Failure) -> String {
    match failure {
        Failure::Lost(error) => reach::explain(error, "mail.url", "mail.ca"),
        other => other.to_string(),
    }
}
