use std::{io, time::Duration};

use mail_send::SmtpClient;
use smtp_proto::{EXT_PIPELINING, EXT_SMTP_UTF8, Response, response::parser::ResponseReceiver};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use super::reply;
use crate::mail::{Message, Outcome, SmtpServer};

/// Holds nearly every mail whole, so that its body and the final dot leave in one write.
const WRITE_BUFFER: usize = 64 << 10;
const READ_BUFFER: usize = 4 << 10;
/// The final reply may take longer: some servers scan the mail before they give it.
const FINAL_REPLY_FACTOR: u32 = 4;

/// A connection after EHLO.
pub(super) struct Session {
    client: SmtpClient<BufStream<TcpStream>>,
    pipelining: bool,
    smtputf8: bool,
    mails: u32,
}

/// How an attempt to send a mail left the session.
pub(super) enum End {
    /// Ready for the next mail.
    InStep(Outcome),
    /// Not to be used again.
    Broken(Outcome),
    /// It had ended before this mail was begun.
    Stale,
}

/// How the server took MAIL, RCPT and DATA.
enum Envelope {
    /// It waits for the mail.
    Accepted,
    /// The first refusal, with its step.
    Refused(&'static str, Reply),
    /// The same, but it waits for the mail nevertheless.
    Crossed(&'static str, Reply),
}

/// Why a step had no reply.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Lost(#[from] io::Error),
    #[error("the answer is not SMTP")]
    Unparseable,
}

type Reply = Response<String>;

impl Session {
    /// Connects and introduces this host; the error says what went wrong, for an operator.
    pub(super) async fn open(server: &SmtpServer, host: &str, timeout: Duration) -> Result<Self, String> {
        let failed = |e: Failure| format!("cannot connect to {server}: {e}");
        let connect = async {
            let stream = TcpStream::connect((&*server.host, server.port)).await?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        let stream = within(timeout, connect).await.map_err(failed)?;
        let stream = BufStream::with_capacity(READ_BUFFER, WRITE_BUFFER, stream);
        let mut client = SmtpClient { stream, timeout };
        let greeting = within(timeout, read_reply(&mut client.stream)).await.map_err(failed)?;
        if greeting.code != 220 {
            return Err(format!("{server} does not greet: {}", reply::greeting(&greeting)));
        }
        let ehlo = client.ehlo(host).await.map_err(|e| format!("{server} does not take EHLO: {e}"))?;
        Ok(Self {
            client,
            pipelining: ehlo.has_capability(EXT_PIPELINING),
            smtputf8: ehlo.has_capability(EXT_SMTP_UTF8),
            mails: 0,
        })
    }

    /// Mails begun so far.
    pub(super) fn mails(&self) -> u32 {
        self.mails
    }

    /// What the server offers, for an operator.
    pub(super) fn abilities(&self) -> &'static str {
        match (self.pipelining, self.smtputf8) {
            (true, true) => "offers pipelining and non-ASCII addresses",
            (true, false) => "offers pipelining",
            (false, true) => "offers non-ASCII addresses",
            (false, false) => "offers neither pipelining nor non-ASCII addresses",
        }
    }

    /// Sends one mail.
    pub(super) async fn send(&mut self, message: &Message) -> End {
        let international = !message.to.as_str().is_ascii() || !message.from.as_str().is_ascii();
        if international && !self.smtputf8 {
            let reason = "the address has non-ASCII characters, which the server does not take (no SMTPUTF8)";
            return End::InStep(Outcome::Permanent(reason.into()));
        }
        let used = self.mails > 0;
        self.mails += 1;
        match self.envelope(message, international).await {
            Ok(Envelope::Accepted) => self.data(message).await,
            Ok(Envelope::Refused(_, reply)) if used && reply.code == 421 => End::Stale,
            Ok(Envelope::Refused(step, reply)) => self.reset(reply::refusal(step, &reply, &message.to)).await,
            Ok(Envelope::Crossed(step, reply)) => End::Broken(reply::refusal(step, &reply, &message.to)),
            Err(Failure::Lost(_)) if used => End::Stale,
            Err(failure) => End::Broken(Outcome::Transient(format!("before the mail was written: {failure}"))),
        }
    }

    /// MAIL, RCPT and DATA: together where the server allows that, else one after the other.
    async fn envelope(&mut self, message: &Message, international: bool) -> Result<Envelope, Failure> {
        // the addresses are checked where they are made: no character of them ends a command
        let utf8 = if international { " SMTPUTF8" } else { "" };
        let steps = [
            ("MAIL FROM", format!("MAIL FROM:<{}>{utf8}\r\n", message.from.as_str())),
            ("RCPT TO", format!("RCPT TO:<{}>\r\n", message.to.as_str())),
            ("DATA", "DATA\r\n".to_owned()),
        ];
        if self.pipelining {
            let [(_, mail), (_, rcpt), (_, data)] = &steps;
            self.write(&[mail, rcpt, data]).await?;
        }
        let mut refused = None;
        for (step, command) in &steps {
            if !self.pipelining {
                self.write(&[command]).await?;
            }
            let reply = self.read().await?;
            if reply.code == 421 {
                // nothing follows it
                return Ok(Envelope::Refused(step, reply));
            }
            let accepted = if *step == "DATA" { reply.code == 354 } else { (250..=259).contains(&reply.code) };
            refused = match refused {
                None if accepted => None,
                None => Some((*step, reply)),
                // it would take a mail without a recipient; only closing the connection surely ends that
                Some((step, first)) if reply.code == 354 => return Ok(Envelope::Crossed(step, first)),
                first => first,
            };
            if refused.is_some() && !self.pipelining {
                break;
            }
        }
        Ok(refused.map_or(Envelope::Accepted, |(step, reply)| Envelope::Refused(step, reply)))
    }

    /// The mail itself, and what becomes of it.
    async fn data(&mut self, message: &Message) -> End {
        let timeout = self.client.timeout;
        // the dot goes last and with the rest, so a failed write means that the server does not have it
        if let Err(e) = within(timeout, self.client.write_message(&message.raw)).await {
            return End::Broken(Outcome::Transient(format!("while the mail was written: {e}")));
        }
        let answer = match within(timeout * FINAL_REPLY_FACTOR, read_reply(&mut self.client.stream)).await {
            Ok(answer) => answer,
            Err(e) => return End::Broken(Outcome::Ambiguous(format!("after the mail was written: {e}"))),
        };
        match answer.code {
            200..=299 => End::InStep(Outcome::Sent(reply::describe(&answer, &message.to))),
            421 => End::Broken(reply::refusal("end of mail", &answer, &message.to)),
            400..=599 => End::InStep(reply::refusal("end of mail", &answer, &message.to)),
            _ => End::Broken(Outcome::Ambiguous(reply::describe(&answer, &message.to))),
        }
    }

    /// After a refusal: back to a state in which the next mail can begin.
    async fn reset(&mut self, refusal: Outcome) -> End {
        if matches!(refusal, Outcome::Unreachable(_)) {
            return End::Broken(refusal);
        }
        let answer = match self.write(&["RSET\r\n"]).await {
            Ok(()) => self.read().await,
            Err(e) => Err(e),
        };
        match answer {
            Ok(answer) if answer.code == 250 => End::InStep(refusal),
            _ => End::Broken(refusal),
        }
    }

    /// Says goodbye, without waiting for the answer.
    pub(super) async fn quit(mut self) {
        let _ = self.write(&["QUIT\r\n"]).await; // the session is over either way
    }

    /// Writes commands, in one packet.
    async fn write(&mut self, commands: &[&str]) -> Result<(), Failure> {
        let stream = &mut self.client.stream;
        let write = async {
            for command in commands {
                stream.write_all(command.as_bytes()).await?;
            }
            stream.flush().await
        };
        within(self.client.timeout, write).await
    }

    async fn read(&mut self) -> Result<Reply, Failure> {
        within(self.client.timeout, read_reply(&mut self.client.stream)).await
    }
}

async fn within<T, E: Into<Failure>>(
    timeout: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, step).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Failure::Timeout(timeout)),
    }
}

/// Reads exactly one reply and leaves what follows it in the buffer: pipelined replies come in one packet.
async fn read_reply(stream: &mut BufStream<TcpStream>) -> Result<Reply, Failure> {
    let mut parser = ResponseReceiver::default();
    loop {
        let bytes = stream.fill_buf().await?;
        if bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut rest = bytes.iter();
        let parsed = parser.parse(&mut rest);
        let used = bytes.len() - rest.len();
        stream.consume(used);
        match parsed {
            Ok(reply) => return Ok(reply),
            Err(smtp_proto::Error::NeedsMoreData { .. }) => {}
            Err(_) => return Err(Failure::Unparseable),
        }
    }
}
