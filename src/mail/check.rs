use std::time::Duration;

use super::{Composer, Destination, Error, Result, compose, transport};
use crate::{clock::Clock, domain::Lang};

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

/// Checks that every mail can be made and that the destination takes mails: the Maildir is writable, the SMTP server
/// answers EHLO. Sends nothing.
pub async fn check(options: compose::Options, to: &Destination, step_timeout: Duration, clock: &Clock) -> Report {
    let mut report = Report::default();
    let mut add = |result: std::result::Result<String, String>| match result {
        Ok(text) => report.fine.push(text),
        Err(text) => report.problems.push(text),
    };
    let host = options.domain.clone().unwrap_or_else(|| options.from.domain().to_owned());
    let composed = Composer::new(options).map(|composer| {
        let states = composer.states().len();
        format!("{states} states in {} languages render", Lang::ALL.len())
    });
    add(composed.map_err(|e| in_words(&e)));
    match transport::open(to, &host, step_timeout, clock) {
        Ok(None) => add(Ok("mail is switched off".into())),
        Ok(Some(transport)) => add(transport.probe().await),
        Err(e) => add(Err(in_words(&e))),
    }
    report
}

/// An error with its causes, on one line.
fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
