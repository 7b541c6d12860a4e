use super::{About, Composer, Destination, Error, Outcome, Refusal, Result, Transport, compose, transport};
use crate::{
    causes::with_causes,
    clock::Clock,
    domain::{EmailAddress, Lang},
};

/// What of a mail to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The subject and the text part.
    Text,
    /// The HTML part.
    Html,
    /// The whole message as it would be sent.
    Raw,
}

/// A sample mail about a state. States without templates of their own, real or not, show the generic one.
pub fn preview(options: compose::Options, state: &str, lang: Lang, format: Format) -> Result<Vec<u8>> {
    if state.is_empty() || state.len() > 64 || state.contains(char::is_control) {
        return Err(Error::Settings(format!("{state:?} cannot be a state's name")));
    }
    let composer = Composer::new(options)?;
    let mail = composer.sample(state, lang);
    Ok(match format {
        Format::Raw => composer.compose(&mail)?.raw,
        Format::Html => composer.render(&mail)?.html.into_bytes(),
        Format::Text => {
            let rendered = composer.render(&mail)?;
            format!("{}\n\n{}", rendered.subject.trim(), rendered.text).into_bytes()
        }
    })
}

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What is fine.
    pub fine: Vec<String>,
    /// What is not.
    pub problems: Vec<String>,
}

/// Checks that every mail can be made and that the destination takes mails: the Maildir is writable; the SMTP server
/// answers, its certificate is good and it takes the login. Sends nothing, but for a sample mail to `trial`, if given.
pub async fn check(
    options: compose::Options,
    destination: &Destination,
    trial: Option<EmailAddress>,
    timeouts: super::Timeouts,
    clock: &Clock,
) -> Report {
    let mut report = Report::default();
    let host = options.domain();
    let composer = Composer::new(options);
    report.add(composer.as_ref().map_err(|e| with_causes(e)).map(|composer| {
        let states = composer.states().len();
        format!("{states} states in {} languages render", Lang::ALL.len())
    }));
    let transport = match transport::open(destination, &host, timeouts, clock) {
        Ok(None) => return report.with(Ok("mail is switched off".into())),
        Err(e) => return report.with(Err(with_causes(&e))),
        Ok(Some(transport)) => transport,
    };
    report.add(transport.probe().await);
    if let (Some(to), Ok(composer), true) = (trial, composer, report.problems.is_empty()) {
        report.add(send(transport.as_ref(), &composer, to, clock).await);
    }
    transport.close().await;
    report
}

/// Sends the sample; the outcome in words.
async fn send(
    transport: &dyn Transport,
    composer: &Composer,
    to: EmailAddress,
    clock: &Clock,
) -> std::result::Result<String, String> {
    let message = composer.trial(to.clone(), clock.now()).map_err(|e| with_causes(&e))?;
    let outcome = transport.deliver(vec![message]).await.pop();
    let to = to.as_str();
    match outcome {
        Some(Outcome::Sent(reply)) => Ok(format!("a test mail to {to} was accepted: {reply}")),
        Some(Outcome::Refused(Refusal { about: About::All | About::Us, text, .. })) => Err(format!(
            "a test mail was refused, and that is about the sender, the login or the right to relay, not about {to}: {text}"
        )),
        Some(Outcome::Permanent(reason) | Outcome::Denied(reason) | Outcome::Refused(Refusal { text: reason, .. })) => {
            Err(format!("a test mail to {to} was refused: {reason}"))
        }
        Some(Outcome::Transient(_, reason) | Outcome::Busy(reason) | Outcome::Unreachable(reason)) => {
            Err(format!("a test mail to {to} was not accepted now: {reason}"))
        }
        Some(Outcome::Ambiguous(reason)) => Err(format!("a test mail to {to} may have been accepted: {reason}")),
        None => Err(format!("the test mail to {to} had no outcome")),
    }
}

impl Report {
    fn add(&mut self, result: std::result::Result<String, String>) {
        match result {
            Ok(text) => self.fine.push(text),
            Err(text) => self.problems.push(text),
        }
    }

    fn with(mut self, result: std::result::Result<String, String>) -> Self {
        self.add(result);
        self
    }
}
