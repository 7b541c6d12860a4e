//! The mails that arrived, as the auditor judges them, and whether those that came twice were the same to the byte.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    audit::{self, Event, Mail},
    bench::sink::{Received, Sink},
    clock::Clock,
};

/// How often mails are taken from the sink: so much later than it came a mail may be noted.
const TAKE: Duration = Duration::from_millis(20);

/// What arrived so far.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pub(super) mails: Vec<Mail>,
    /// When each of them had arrived, in milliseconds since the epoch.
    at: Vec<i64>,
    /// Copies of each mail by its Message-ID: to whom, and a hash of the bytes.
    copies: BTreeMap<String, Vec<(String, u64)>>,
    pub(super) objections: Vec<String>,
}

/// A mail that arrived more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Twice {
    pub(super) order: u64,
    pub(super) estado: String,
    pub(super) copies: usize,
    pub(super) is_same: bool,
}

impl Arrivals {
    /// Takes what arrives, until it is told to stop.
    pub(super) async fn take(mut self, sink: Arc<Sink>, stop: CancellationToken) -> Self {
        while stop.run_until_cancelled(tokio::time::sleep(TAKE)).await.is_some() {
            self.all(&sink);
        }
        self.all(&sink);
        self
    }

    fn all(&mut self, sink: &Sink) {
        for received in sink.take().1 {
            self.one(&received, Clock::system().now().as_millis());
        }
    }

    fn one(&mut self, received: &Received, at: i64) {
        let Some(mail) = audit::parse_mail(&String::from_utf8_lossy(&received.raw)) else {
            self.objections.push(format!("I3: a mail to {} is about no order", received.to));
            return;
        };
        if mail.to != received.to {
            self.objections
                .push(format!("I3: order {}'s mail to {} was handed over for {}", mail.id, mail.to, received.to));
        }
        let mut hasher = DefaultHasher::new();
        received.raw.hash(&mut hasher);
        self.copies.entry(mail.message_id.clone()).or_default().push((mail.to.clone(), hasher.finish()));
        let arrival = Some(self.mails.len() as u64);
        self.mails.push(Mail { arrival, ..mail });
        self.at.push(at);
    }

    /// I2, as customers see it: nobody hears of a state before it has begun. Its event may not say so, since events are dated with
    /// the end of the state before at the earliest, however early they come.
    pub(super) fn too_early(&self, events: &[Event]) -> Vec<String> {
        let begin: BTreeMap<_, _> = events
            .iter()
            .filter(|event| event.change.is_none())
            .map(|event| ((event.id, &*event.estado), event.at))
            .collect();
        let early = |(mail, at): (&Mail, &i64)| {
            let by = begin.get(&(mail.id, &*mail.estado))? - at;
            (by > 0).then(|| format!("I2: order {} was mailed {:?} {by} ms before that began", mail.id, mail.estado))
        };
        self.mails.iter().zip(&self.at).filter_map(early).collect()
    }

    /// The mails that came more than once, by order.
    pub(super) fn twice(&self) -> Vec<Twice> {
        let mut twice = Vec::new();
        for (message_id, copies) in self.copies.iter().filter(|(_, copies)| copies.len() > 1) {
            let first = self.mails.iter().find(|mail| mail.message_id == *message_id);
            twice.extend(first.map(|mail| Twice {
                order: mail.id,
                estado: mail.estado.clone(),
                copies: copies.len(),
                is_same: are_same(copies),
            }));
        }
        twice.sort_by(|one, other| (one.order, &one.estado).cmp(&(other.order, &other.estado)));
        twice
    }
}

/// Whether copies to one address are the same: what is sent again after the address was corrected names another one.
fn are_same(copies: &[(String, u64)]) -> bool {
    let first = |to: &str| copies.iter().find(|(other, _)| other == to).map(|(_, bytes)| *bytes);
    copies.iter().all(|(to, bytes)| first(to) == Some(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(to: &str, id: &str, body: &str) -> Received {
        let raw =
            format!("To: <{to}>\r\nX-Order-Id: 7\r\nX-Order-State: recibido\r\nMessage-ID: <{id}>\r\n\r\n{body}\r\n");
        Received { secured: false, from: "shop@example.org".into(), to: to.into(), raw: raw.into_bytes() }
    }

    #[test]
    fn a_mail_that_comes_twice_is_found_and_compared() {
        let mut arrivals = Arrivals::default();
        for (id, body) in [("a", "one"), ("b", "one"), ("a", "one"), ("b", "two"), ("c", "one")] {
            arrivals.one(&received("ana@example.org", id, body), 1_000);
        }
        arrivals.one(&received("corrected@example.org", "a", "one"), 1_000);
        let twice: Vec<_> = arrivals.twice().iter().map(|twice| (twice.copies, twice.is_same)).collect();
        assert_eq!((twice, arrivals.mails.len()), (vec![(3, true), (2, false)], 6));
        assert_eq!(arrivals.objections, Vec::<String>::new());
        arrivals.one(&Received { to: "eva@example.org".into(), ..received("ana@example.org", "d", "") }, 1_000);
        arrivals
            .one(&Received { raw: b"Subject: hello\r\n\r\n".to_vec(), ..received("ana@example.org", "e", "") }, 1_000);
        assert_eq!(arrivals.objections.len(), 2);
        let event = |at| [Event { id: 7, estado: "recibido".into(), at, ..Event::default() }];
        assert_eq!((arrivals.too_early(&event(1_000)).len(), arrivals.too_early(&event(1_001)).len()), (0, 7));
    }
}
