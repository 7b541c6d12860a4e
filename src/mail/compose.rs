//! Makes a mail out of a ledger row. The same row and settings make the same bytes, so that a repeat can be told as one.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use jiff::tz::TimeZone;
use mail_builder::{
    MessageBuilder,
    headers::{HeaderType, address::Address, content_type::ContentType, date::Date, message_id::MessageId, raw::Raw},
    mime::MimePart,
};
use minijinja::{Value, context};

use super::{
    Error, Result,
    templates::{CANCELLED, GENERIC, REFUSED, Rendered, Templates},
    words,
};
use crate::{
    domain::{
        Closing, EmailAddress, Flow, Handle, HandleKey, Lang, Order, OrderId, Product, Step, Timestamp, Waits,
        flow::End, lifecycle,
    },
    store::ledger::{Mail, MailId},
};

/// What the composer needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The sender's address.
    pub from: EmailAddress,
    /// The sender's name, if it has one.
    pub from_name: Option<String>,
    /// The domain of the `Message-ID`; that of the sender if absent. ASCII.
    pub domain: Option<String>,
    /// The deployment's own part of each `Message-ID`, in letters and digits. Orders are numbered from 1 in every shop and in
    /// every fresh data folder, and mailboxes that know an id keep the first mail under it only.
    pub deployment: String,
    /// The language of orders that have none.
    pub lang: Lang,
    /// The time zone in which mails tell times.
    pub zone: TimeZone,
    /// Where handles are followed, without the handle: `https://shop.example/track/`.
    pub track: Option<String>,
    /// Makes the handles of orders that do not carry theirs.
    pub handles: Option<HandleKey>,
    /// A folder whose templates override the built-in ones.
    pub templates: Option<PathBuf>,
    /// The states, to tell how far an order is, and the templates of their mails.
    pub flow: Flow,
}

impl Options {
    /// The domain of message ids, by which this host introduces itself, too.
    pub(super) fn domain(&self) -> String {
        let of_sender = || self.from.ascii_domain().unwrap_or_else(|| self.from.domain().into()).into_owned();
        self.domain.clone().unwrap_or_else(of_sender)
    }
}

/// A mail ready for the transport.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Which ledger row it is.
    pub id: MailId,
    /// The envelope's sender.
    pub from: EmailAddress,
    /// The envelope's recipient.
    pub to: EmailAddress,
    /// Without angle brackets: `17.2.8f3a52c1d09b7e64@shop.example`.
    pub message_id: String,
    /// When the order entered the state.
    pub at: Timestamp,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// An earlier attempt may have been accepted.
    pub ambiguous: bool,
    /// The whole message, lines ending in CRLF, not dot-stuffed.
    pub raw: Vec<u8>,
}

impl fmt::Debug for Message {
    /// Without the contents, which name the customer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("message_id", &self.message_id).field("to", &self.to).finish_non_exhaustive()
    }
}

/// Composes mails; templates are parsed once.
pub struct Composer {
    options: Options,
    domain: String,
    templates: Templates,
    labels: [Value; Lang::ALL.len()],
    /// The progress bar's steps, by language and by place in the flow less one; none for a long flow.
    steps: [Vec<Value>; Lang::ALL.len()],
}

/// Longest product name in a subject, in characters.
const SUBJECT_PRODUCT_MAX: usize = 60;
/// More states than this do not fit beside each other.
const STEPS_SHOWN_MAX: usize = 6;

impl Composer {
    /// Loads the templates and tries each of them on a sample.
    pub fn new(options: Options) -> Result<Self> {
        let domain = options.domain();
        if !domain.is_ascii() || format!("x@{domain}").parse::<EmailAddress>().is_err() {
            let problem = format!("the domain of message ids must be plain ASCII like shop.example, not {domain:?}");
            return Err(Error::Settings(problem));
        }
        if options.from_name.as_ref().is_some_and(|name| name.contains(char::is_control)) {
            return Err(Error::Settings("the sender's name must have no control characters".into()));
        }
        let composer = Self {
            templates: Templates::load(options.templates.as_deref())?,
            labels: Lang::ALL.map(|lang| Value::from(BTreeMap::from(words::labels(lang)))),
            steps: Lang::ALL.map(|lang| steps(lang, &options.flow)),
            domain,
            options,
        };
        composer.require_templates()?;
        composer.try_all()?;
        Ok(composer)
    }

    /// Composes a mail. It fails only when an overriding template does not cope with this order.
    pub fn compose(&self, mail: &Mail) -> Result<Message> {
        self.compose_as(self.message_id(mail.id), mail)
    }

    /// A sample to be sent to an address at `now`, for trials. Its `Message-ID` is its own: where one that came before
    /// is known, a mail program may show nothing new.
    pub(super) fn trial(&self, to: EmailAddress, now: Timestamp) -> Result<Message> {
        let mail = self.sample(&self.options.flow.steps()[0].state, self.options.lang);
        let (dwell, order) = (mail.waits.next_at().map(|next| next.since(mail.at)), Order { email: to, ..mail.order });
        let waits = dwell.map_or(mail.waits, |dwell| Waits::Until(now + dwell));
        let mail = Mail { order, at: now, begun_at: now, waits, ..mail };
        self.compose_as(format!("trial.{}.{}@{}", now.as_millis(), self.options.deployment, self.domain), &mail)
    }

    fn compose_as(&self, message_id: String, mail: &Mail) -> Result<Message> {
        let lang = mail.order.lang.unwrap_or(self.options.lang);
        let Rendered { subject, text, html } = self.render(mail)?;
        let email = mail.recipient();
        // ASCII where it can be
        let [from, to] = [&self.options.from, email].map(|one| one.to_ascii().unwrap_or_else(|| one.as_str().into()));
        let mut builder = MessageBuilder::new()
            .from(Address::new_address(self.options.from_name.as_deref(), &*from))
            .to(&*to)
            .header("Subject", unstructured(one_line(&subject)))
            // of the first attempt, so that all have the same bytes: filters refuse what is days old
            .date(Date::new(mail.begun_at.as_millis().div_euclid(1_000)))
            .message_id(message_id.as_str());
        if mail.id.seq != 1 {
            let first = self.message_id(MailId { seq: 1, ..mail.id });
            builder = builder.in_reply_to(MessageId::new(first.clone())).references(MessageId::new(first));
        }
        let builder = builder
            .header("X-Order-Id", Raw::new(mail.id.order.to_string()))
            .header("X-Order-State", unstructured(visible(&mail.estado)))
            // all mails of the shop about orders, for filters (RFC 2919)
            .header("List-Id", Raw::new(format!("<orders.{}>", self.domain)))
            // nobody wants an out-of-office notice back: RFC 3834, and the same for Exchange
            .header("Auto-Submitted", Raw::new("auto-generated"))
            .header("X-Auto-Response-Suppress", Raw::new("All"))
            .header("Content-Language", Raw::new(lang.code()))
            .body(alternative(mail.id, &text, &html));
        let mut raw = Vec::with_capacity(2_048 + text.len() + html.len() * 5 / 4);
        builder.serialize(&mut raw);
        Ok(Message {
            id: mail.id,
            from: self.options.from.clone(),
            to: email.clone(),
            message_id,
            at: mail.at,
            attempt: mail.attempt,
            ambiguous: mail.ambiguous,
            raw,
        })
    }

    /// Subject and both parts of a mail.
    pub(super) fn render(&self, mail: &Mail) -> Result<Rendered> {
        let lang = mail.order.lang.unwrap_or(self.options.lang);
        let of_its_kind = match mail.waits.closes() {
            Some(Closing::Cancelled) => CANCELLED,
            Some(Closing::Refused) => REFUSED,
            Some(Closing::Finished) | None => GENERIC,
        };
        self.templates.render(lang, [&mail.template, of_its_kind], &self.values(mail, lang))
    }

    /// The domain of the message ids.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    fn message_id(&self, id: MailId) -> String {
        format!("{}.{}.{}@{}", id.order, id.seq, self.options.deployment, self.domain)
    }

    /// What the templates can say.
    fn values(&self, mail: &Mail, lang: Lang) -> Value {
        let Order { product, .. } = &mail.order;
        let seal = |key: &HandleKey| key.seal(mail.id.order);
        let handle = self.options.handles.as_ref().map(seal).or(mail.order.handle);
        let in_flow = self.is_in_flow(mail);
        // records of version 1 do not tell what comes next
        let of_flow = || self.options.flow.step(mail.step + 1).filter(|_| in_flow).map(|step| &*step.state);
        let next = mail.next.as_deref().or_else(of_flow);
        let promised = mail.expect_at.or(mail.waits.next_at());
        let place = usize::from(mail.step).wrapping_sub(1);
        let track = match (&self.options.track, handle) {
            (Some(track), Some(handle)) => Some(format!("{track}{handle}")),
            _ => None,
        };
        let name = visible(&product.name);
        context! {
            lang => lang.code(),
            t => self.labels[lang as usize].clone(),
            order => mail.id.order.get(),
            state => visible(&mail.estado).as_ref(),
            label => visible(&words::state(lang, &mail.estado)).as_ref(),
            product => name.as_ref(),
            product_short => shortened(&name).as_ref(),
            product_id => visible(&product.id).as_ref(),
            price => product.price.as_str(),
            track => track,
            next_label => next.map(|next| visible(&words::state(lang, next)).into_owned()),
            next_time => next.and(promised).map(|time| words::due(lang, &self.options.zone, mail.at, time)),
            steps => if in_flow { self.steps[lang as usize].get(place).cloned() } else { None },
        }
    }

    /// Whether the order goes through the states of the settings, as far as the mail tells. It may be in another flow or in
    /// another version, it may have left the line, and records of the old services may number their states differently.
    fn is_in_flow(&self, mail: &Mail) -> bool {
        let flow = &self.options.flow;
        let follows = mail.step.checked_add(1).and_then(|step| flow.step(step));
        flow.step(mail.step).is_some_and(|step| *step.state == *mail.estado)
            && follows.is_none() == mail.waits.closes().is_some()
            && mail.next.as_deref().is_none_or(|next| follows.is_some_and(|step| *step.state == *next))
    }

    /// The states for which mails are known to be wanted: those of the flow, those with templates, and any other.
    pub(super) fn states(&self) -> Vec<String> {
        let mut states: Vec<_> = self.options.flow.mails().map(|(state, _)| state.to_owned()).collect();
        for state in self.templates.states().chain([GENERIC]) {
            if states.iter().all(|other| other != state) {
                states.push(state.to_owned());
            }
        }
        states
    }

    /// A sample about every state in every language: state, language, subject, HTML.
    pub fn samples(&self) -> Vec<(String, Lang, String, String)> {
        let mut samples = Vec::new();
        for state in self.states() {
            for lang in Lang::ALL {
                // each was tried when the composer was made
                if let Ok(Rendered { subject, html, .. }) = self.render(&self.sample(&state, lang)) {
                    samples.push((state.clone(), lang, one_line(&subject).into_owned(), html));
                }
            }
        }
        samples
    }

    /// A state without a template of its own is told in general words; a template that the flow names has to be there.
    fn require_templates(&self) -> Result<()> {
        let flow = &self.options.flow;
        let mut own = flow.mails().filter(|(state, template)| state != template);
        let known: BTreeSet<&str> = self.templates.states().chain([GENERIC]).collect();
        let Some((state, template)) = own.find(|(_, template)| !known.contains(template)) else { return Ok(()) };
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        Err(Error::Settings(format!(
            "the flow {} mails {state} with the template {template:?}, which is not there: there are {known}; put \
             es/{template}.txt and its like into the folder of mail.templates, or let the flow name another",
            flow.name()
        )))
    }

    fn try_all(&self) -> Result<()> {
        for state in self.states() {
            for lang in Lang::ALL {
                self.compose(&self.sample(&state, lang))?;
            }
        }
        Ok(())
    }

    /// A made-up mail about a state, for trials and previews.
    pub(super) fn sample(&self, state: &str, lang: Lang) -> Mail {
        let at = Timestamp::from_millis(1_767_261_600_000); // 2026-01-01T10:00:00Z
        let flow = &self.options.flow;
        let is_end = |end: Option<&End>, usual| end.map_or(usual, |end| &*end.state) == state;
        let closing = match flow.seq_of(state) {
            None if is_end(Some(flow.cancelled()), CANCELLED) => Some(Closing::Cancelled),
            None if is_end(flow.refused(), REFUSED) => Some(Closing::Refused),
            _ => None,
        };
        let step = flow.seq_of(state).unwrap_or(1);
        let seq = step + u8::from(closing.is_some()); // whoever changes their mind does it early
        let id = OrderId::new(1_024).expect("it is between 1 and 2^53");
        let order = Order {
            id,
            product: Product::new("3170", "King's Bounty: Armored Princess", "7.99").expect("a plain product"),
            email: "cliente@example.org".parse().expect("a plain address"),
            lang: Some(lang),
            placed_at: at,
            handle: Some(sample_handle(id)),
            trace: None,
        };
        let waits = closing.map_or_else(|| lifecycle::waits(flow, step, &order.product, at), Waits::Closed);
        let follows = flow.seq_of(state).and_then(|step| flow.step(step + 1));
        let expect = flow.step(step).and_then(Step::expect).filter(|_| follows.is_some());
        Mail {
            id: MailId { order: id, seq },
            order,
            address: None,
            estado: state.into(),
            template: flow.mail_of(state).unwrap_or(state).into(),
            step,
            at,
            next: follows.map(|step| (&*step.state).into()),
            waits,
            expect_at: expect.map(|expect| at + expect),
            begun_at: at,
            attempt: 1,
            tries: 1,
            copies: 0,
            ambiguous: false,
            suppressed: None,
        }
    }
}

fn sample_handle(id: OrderId) -> Handle {
    HandleKey::new([0; 16]).seal(id)
}

/// For each state of the flow the list of all of them, with what is behind and ahead.
fn steps(lang: Lang, flow: &Flow) -> Vec<Value> {
    if flow.steps().len() > STEPS_SHOWN_MAX {
        return Vec::new();
    }
    let step = |now: usize, i: usize, state: &str| {
        context! { label => words::state(lang, state).as_ref(), now => i == now, ahead => i > now }
    };
    let row = |now| flow.steps().iter().enumerate().map(|(i, s)| step(now, i, &s.state)).collect::<Vec<Value>>();
    (0..flow.steps().len()).map(|now| Value::from(row(now))).collect()
}

fn alternative<'a>(id: MailId, text: &'a str, html: &'a str) -> MimePart<'a> {
    let boundary = boundary(id, text, html);
    let kind = |name| ContentType::new(name).attribute("charset", "utf-8");
    let parts = vec![MimePart::new(kind("text/plain"), text), MimePart::new(kind("text/html"), html)];
    MimePart::new(ContentType::new("multipart/alternative").attribute("boundary", boundary), parts)
}

/// The same for the same mail, and in neither part: `=_` never stands in quoted-printable text, and the others are
/// searched for it.
fn boundary(id: MailId, text: &str, html: &str) -> String {
    let mut boundary = format!("=_{}.{}", id.order, id.seq);
    while text.contains(&boundary) || html.contains(&boundary) {
        boundary.push('_');
    }
    boundary
}

/// Without what could break a line or turn the reading direction of what stands around it.
fn visible(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(harmful) { Cow::Owned(text.replace(harmful, "")) } else { Cow::Borrowed(text) }
}

fn one_line(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.contains(char::is_control) { Cow::Owned(text.replace(char::is_control, " ")) } else { Cow::Borrowed(text) }
}

/// A header's text. The builder leaves ASCII as it is, and a reader would decode what looks like an encoded word there,
/// line ends in it included: such a text is encoded as a whole (RFC 2047).
fn unstructured(text: Cow<'_, str>) -> HeaderType<'_> {
    if !text.is_ascii() || !text.contains("=?") {
        return HeaderType::Text(text.into());
    }
    let encoded = |piece: &[u8]| piece.iter().map(|byte| format!("={byte:02X}")).collect::<Vec<_>>().concat();
    // 20 × 3 and what stands around it fit the 75 characters of a word
    let words: Vec<_> = text.as_bytes().chunks(20).map(|piece| format!("=?utf-8?Q?{}?=", encoded(piece))).collect();
    Raw::new(words.join(" ")).into()
}

fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(SUBJECT_PRODUCT_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", name[..end].trim_end())),
        None => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests;
