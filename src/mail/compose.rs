//! Makes a mail out of a ledger row. The same row and settings make the same bytes, so that a repeat can be told as one.

mod mould;
mod quoted;
mod samples;
mod text;

use std::{
    borrow::Cow,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::tz::TimeZone;
use mail_builder::{
    MessageBuilder,
    headers::{address::Address, date::Date, message_id::MessageId, raw::Raw},
};
use minijinja::{Value, context};

use self::{
    mould::{HOLES, Holes, Kind, Mould, has_marks, mark},
    text::{Html, alternative, one_line, shortened, unstructured, visible},
};
use super::{
    Error, Result,
    templates::{CANCELLED, GENERIC, REFUSED, Rendered, Templates},
    words::{due, labels},
};
use crate::{
    domain::{Closing, EmailAddress, Flow, HandleKey, Lang, Order, Timestamp},
    store::ledger::{Mail, MailId},
    words,
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
    moulds: Mutex<Vec<(Kind<'static>, Arc<Mould>)>>,
}

/// Kinds of mails whose moulds are kept: those of a flow are two dozen.
const MOULDS_MAX: usize = 64;

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
            labels: Lang::ALL.map(|lang| Value::from(labels(lang))),
            steps: Lang::ALL.map(|lang| steps(lang, &options.flow)),
            moulds: Mutex::default(),
            domain,
            options,
        };
        composer.templates.require(&composer.options.flow)?;
        composer.try_all()?;
        Ok(composer)
    }

    /// Composes a mail. It fails only when an overriding template does not cope with this order.
    pub fn compose(&self, mail: &Mail) -> Result<Message> {
        let message_id = if mail.id.is_link() {
            // each that is asked for is a mail of its own
            format!("{}.link.{}.{}@{}", mail.id.order, mail.at.as_millis(), self.options.deployment, self.domain)
        } else {
            self.message_id(mail.id)
        };
        self.compose_as(message_id, mail)
    }

    fn compose_as(&self, message_id: String, mail: &Mail) -> Result<Message> {
        let lang = mail.order.lang.unwrap_or(self.options.lang);
        let (subject, text, html) = self.parts(mail)?;
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
        let builder = builder.header("X-Order-Id", Raw::new(mail.id.order.to_string()));
        let builder = if mail.id.is_link() {
            builder.header("X-Order-Mail", Raw::new("link"))
        } else {
            builder.header("X-Order-State", unstructured(visible(&mail.estado)))
        };
        let builder = builder
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

    /// Subject and both parts of a mail, by its mould where the templates allow that.
    fn parts(&self, mail: &Mail) -> Result<(String, String, Html)> {
        let kind = self.kind(mail);
        let has_plain_templates = || self.templates.are_plain(kind.lang, [&kind.templates[0], &kind.templates[1]]);
        let is_odd = || [Some(&kind.estado), kind.next.as_ref()].into_iter().flatten().any(|text| has_marks(text));
        if !has_plain_templates() || is_odd() {
            let Rendered { subject, text, html } = self.render(mail)?;
            return Ok((subject, text, Html::Plain(html)));
        }
        let holes = self.holes(mail, kind.lang);
        let (subject, text, html) = self.mould(kind)?.fill(&holes);
        Ok((subject, text, Html::Encoded(html)))
    }

    fn mould(&self, kind: Kind<'_>) -> Result<Arc<Mould>> {
        let moulds = || self.moulds.lock().unwrap_or_else(PoisonError::into_inner); // only ever added to
        if let Some((_, mould)) = moulds().iter().find(|(known, _)| *known == kind) {
            return Ok(mould.clone());
        }
        let marks = std::array::from_fn(|hole| if kind.has[hole] { Value::from(mark(hole)) } else { Value::from(()) });
        let mould = Arc::new(Mould::of(&self.render_as(&kind, marks)?));
        let mut moulds = moulds();
        if moulds.len() < MOULDS_MAX {
            moulds.push((kind.into_owned(), mould.clone()));
        }
        Ok(mould)
    }

    /// Subject and both parts of a mail.
    pub(super) fn render(&self, mail: &Mail) -> Result<Rendered> {
        let kind = self.kind(mail);
        let mut values =
            self.holes(mail, kind.lang).map(|hole| hole.map_or(Value::from(()), |text| Value::from(&*text)));
        values[0] = Value::from(mail.id.order.get()); // a number to templates
        self.render_as(&kind, values)
    }

    fn render_as(&self, kind: &Kind, holes: [Value; HOLES.len()]) -> Result<Rendered> {
        let [first, second] = &kind.templates;
        self.templates.render(kind.lang, [first, second], &self.values(kind, holes))
    }

    /// The domain of the message ids.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    fn message_id(&self, id: MailId) -> String {
        format!("{}.{}.{}@{}", id.order, id.seq, self.options.deployment, self.domain)
    }

    fn kind<'a>(&'a self, mail: &'a Mail) -> Kind<'a> {
        let of_its_kind = match mail.waits.closes() {
            Some(Closing::Cancelled) => CANCELLED,
            Some(Closing::Refused) => REFUSED,
            Some(Closing::Finished) | None => GENERIC,
        };
        let in_flow = self.is_in_flow(mail);
        // records of version 1 do not tell what comes next
        let of_flow = || self.options.flow.step(mail.step + 1).filter(|_| in_flow).map(|step| &*step.state);
        let next: Option<&str> = mail.next.as_deref().or_else(of_flow);
        let is_tracked =
            self.options.track.is_some() && (self.options.handles.is_some() || mail.order.handle.is_some());
        Kind {
            lang: mail.order.lang.unwrap_or(self.options.lang),
            templates: [(&*mail.template).into(), of_its_kind.into()],
            estado: (&*mail.estado).into(),
            next: next.map(Into::into),
            place: usize::from(mail.step).checked_sub(1).filter(|_| in_flow),
            has: [true, true, true, true, true, is_tracked, next.and(promised(mail)).is_some()],
        }
    }

    fn holes<'a>(&self, mail: &'a Mail, lang: Lang) -> Holes<'a> {
        let Order { product, .. } = &mail.order;
        let seal = |key: &HandleKey| key.seal(mail.id.order);
        let handle = self.options.handles.as_ref().map(seal).or(mail.order.handle);
        let track = self.options.track.as_ref().zip(handle).map(|(track, handle)| format!("{track}{handle}").into());
        let next_time = promised(mail).map(|time| due(lang, &self.options.zone, mail.at, time).into());
        let (name, id) = (visible(&product.name), visible(&product.id));
        let short = match &name {
            Cow::Borrowed(name) => shortened(name),
            Cow::Owned(name) => shortened(name).into_owned().into(),
        };
        let order = mail.id.order.to_string().into();
        [Some(order), Some(name), Some(short), Some(id), Some(product.price.as_str().into()), track, next_time]
    }

    /// What the templates can say.
    fn values(&self, kind: &Kind, holes: [Value; HOLES.len()]) -> Value {
        let Kind { lang, ref estado, ref next, place, .. } = *kind;
        let label = |state: &str| visible(&words::state(lang, state)).into_owned();
        let [order, product, product_short, product_id, price, track, next_time] = holes;
        context! {
            lang => lang.code(),
            t => self.labels[lang as usize].clone(),
            order => order,
            state => visible(estado).as_ref(),
            label => label(estado),
            product => product,
            product_short => product_short,
            product_id => product_id,
            price => price,
            track => track,
            next_label => next.as_deref().map(label),
            next_time => next_time,
            steps => place.and_then(|place| self.steps[lang as usize].get(place).cloned()),
        }
    }

    /// Whether the order goes through the states of the settings, as far as the mail tells. It may be in another flow or in
    /// another version, it may have left the line, and records of the old services may number their states differently.
    fn is_in_flow(&self, mail: &Mail) -> bool {
        if mail.id.is_link() {
            return false;
        }
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
}

/// When the order is said to go on.
fn promised(mail: &Mail) -> Option<Timestamp> {
    mail.expect_at.or(mail.waits.next_at())
}

/// For each state of the flow the list of all of them, with what is behind and ahead.
fn steps(lang: Lang, flow: &Flow) -> Vec<Value> {
    if flow.steps().len() > STEPS_SHOWN_MAX {
        return Vec::new();
    }
    let step = |now: usize, i: usize, state: &str| {
        context! { label => words::state(lang, state), now => i == now, ahead => i > now }
    };
    let row = |now| flow.steps().iter().enumerate().map(|(i, s)| step(now, i, &s.state)).collect::<Vec<Value>>();
    (0..flow.steps().len()).map(|now| Value::from(row(now))).collect()
}

#[cfg(test)]
mod tests;
