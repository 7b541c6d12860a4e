//! Made-up mails, to try templates and to show them.

use super::{Composer, text::one_line};
use crate::{
    domain::{
        Closing, EmailAddress, Handle, HandleKey, Lang, Order, OrderId, Product, Step, Timestamp, Waits, flow::End,
        lifecycle,
    },
    mail::{
        Message, Result,
        templates::{CANCELLED, REFUSED, Rendered},
    },
    store::{
        ledger::{Mail, MailId},
        links::LINK,
    },
};

impl Composer {
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

    /// A made-up mail about a state, for trials and previews.
    pub(in crate::mail) fn sample(&self, state: &str, lang: Lang) -> Mail {
        let at = Timestamp::from_millis(1_767_261_600_000); // 2026-01-01T10:00:00Z
        let flow = &self.options.flow;
        let is_end = |end: Option<&End>, usual| end.map_or(usual, |end| &*end.state) == state;
        let closing = match flow.seq_of(state) {
            None if is_end(Some(flow.cancelled()), CANCELLED) => Some(Closing::Cancelled),
            None if is_end(flow.refused(), REFUSED) => Some(Closing::Refused),
            _ => None,
        };
        let step = flow.seq_of(state).unwrap_or(1);
        let seq = match state {
            LINK => 0,
            _ => step + u8::from(closing.is_some()), // whoever changes their mind does it early
        };
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

    /// A sample to be sent to an address at `now`, for trials. Its `Message-ID` is its own: where one that came before
    /// is known, a mail program may show nothing new.
    pub(in crate::mail) fn trial(&self, to: EmailAddress, now: Timestamp) -> Result<Message> {
        let mail = self.sample(&self.options.flow.steps()[0].state, self.options.lang);
        let (dwell, order) = (mail.waits.next_at().map(|next| next.since(mail.at)), Order { email: to, ..mail.order });
        let waits = dwell.map_or(mail.waits, |dwell| Waits::Until(now + dwell));
        let mail = Mail { order, at: now, begun_at: now, waits, ..mail };
        self.compose_as(format!("trial.{}.{}@{}", now.as_millis(), self.options.deployment, self.domain), &mail)
    }

    pub(super) fn try_all(&self) -> Result<()> {
        for state in self.states() {
            for lang in Lang::ALL {
                self.compose(&self.sample(&state, lang))?;
            }
        }
        Ok(())
    }
}

fn sample_handle(id: OrderId) -> Handle {
    HandleKey::new([0; 16]).seal(id)
}
