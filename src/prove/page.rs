//! The certificate as one page, which is a file of its own: to be sent, printed, hung on the wall.

use anyhow::{Context as _, Result};
use minijinja::{Value, context};

use super::certificate::{Certificate, Count, Promise, Repeat};
use crate::{
    domain::Lang,
    pages::{Pages, Site},
    words::word,
};

const TEMPLATES: [(&str, &str); 1] = [("certificate.html", include_str!("templates/certificate.html"))];

impl Certificate {
    /// As a page without anything beside it.
    pub fn html(&self, lang: Lang) -> Result<String> {
        let counts = |counts: &[Count]| -> Value {
            counts.iter().map(|count| context! { words => count.words(lang), count => count.count }).collect()
        };
        let promise = |promise: &Promise| {
            context! {
                id => promise.id, kept => promise.kept, words => promise.words(lang), counts => counts(&promise.counts),
                objections => promise.shown().iter().collect::<Value>(), more => promise.more(lang),
            }
        };
        let values = context! {
            kept => self.kept, verdict => word(lang, self.verdict()), scene => self.scene(lang),
            tried => counts(&self.tried), promises => self.promises.iter().map(promise).collect::<Value>(),
            repeats => self.repeats_in_words(lang),
            repeated => self.repeats.iter().map(|repeat: &Repeat| repeat.words(lang)).collect::<Value>(),
            command => &self.command,
        };
        let pages = Pages::new(&Site::default(), &TEMPLATES);
        pages.document("certificate.html", lang, values).context("cannot render the certificate")
    }
}
