//! What all mails of a kind have in common: their texts with holes for what differs from order to order. A mail is then a few
//! copies, where rendering and encoding its page takes ten times as long.

use std::borrow::Cow;

use minijinja::HtmlEscape;

use super::quoted;
use crate::{domain::Lang, mail::templates::Rendered};

/// What differs between mails of a kind, as templates call it.
pub(super) const HOLES: [&str; 7] = ["order", "product", "product_short", "product_id", "price", "track", "next_time"];

/// What fills them; absent ones are not told.
pub(super) type Holes<'a> = [Option<Cow<'a, str>>; HOLES.len()];

/// All that decides what a mail says but for the [`HOLES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind<'a> {
    pub(super) lang: Lang,
    pub(super) templates: [Cow<'a, str>; 2],
    pub(super) estado: Cow<'a, str>,
    pub(super) next: Option<Cow<'a, str>>,
    /// The state's place in the flow, from 0, for an order that goes through the states of the settings.
    pub(super) place: Option<usize>,
    /// Which of the holes are filled.
    pub(super) has: [bool; HOLES.len()],
}

impl Kind<'_> {
    pub(super) fn into_owned(self) -> Kind<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Kind { templates: self.templates.map(owned), estado: owned(self.estado), next: self.next.map(owned), ..self }
    }
}

/// The three texts.
pub(super) struct Mould {
    subject: Vec<Piece<Box<str>>>,
    text: Vec<Piece<Box<str>>>,
    html: Vec<Piece<Box<[u8]>>>,
    /// Bytes for the page and more than what fills its holes as a rule.
    room: usize,
}

enum Piece<T> {
    Fixed(T),
    Hole(usize),
}

/// The first of as many characters for private use, which stand for the holes.
const MARK: u32 = 0xF5D0;

/// What a hole is rendered as.
pub(super) fn mark(hole: usize) -> String {
    char::from_u32(MARK + hole as u32).expect("it is for private use").to_string()
}

fn hole(c: char) -> Option<usize> {
    u32::from(c).checked_sub(MARK).map(|hole| hole as usize).filter(|hole| *hole < HOLES.len())
}

/// Whether a text could be taken for a hole.
pub(super) fn has_marks(text: &str) -> bool {
    text.contains(|c| hole(c).is_some())
}

impl Mould {
    /// From templates that were rendered with marks.
    pub(super) fn of(rendered: &Rendered) -> Self {
        let encoded = |text: &str| {
            let mut out = Vec::new();
            quoted::append(text, &mut out);
            out.into()
        };
        let html: Vec<Piece<Box<[u8]>>> = pieces(&rendered.html, encoded);
        Self {
            subject: pieces(&rendered.subject, |text| text.into()),
            text: pieces(&rendered.text, |text| text.into()),
            room: html.iter().map(|piece| if let Piece::Fixed(bytes) = piece { bytes.len() } else { 256 }).sum(),
            html,
        }
    }

    /// Subject, text, and the page in quoted-printable.
    pub(super) fn fill(&self, holes: &Holes) -> (String, String, Vec<u8>) {
        let mut html = Vec::with_capacity(self.room);
        for piece in &self.html {
            match piece {
                Piece::Fixed(bytes) => html.extend_from_slice(bytes),
                Piece::Hole(hole) => quoted::append(&HtmlEscape(told(holes, *hole)).to_string(), &mut html),
            }
        }
        (joined(&self.subject, holes), joined(&self.text, holes), html)
    }
}

fn pieces<T>(text: &str, fixed: impl Fn(&str) -> T) -> Vec<Piece<T>> {
    let mut pieces = Vec::new();
    for part in text.split_inclusive(|c| hole(c).is_some()) {
        let mark = part.chars().next_back().and_then(|last| Some((hole(last)?, last.len_utf8())));
        let (before, hole) = mark.map_or((part, None), |(hole, length)| (&part[..part.len() - length], Some(hole)));
        if !before.is_empty() {
            pieces.push(Piece::Fixed(fixed(before)));
        }
        pieces.extend(hole.map(Piece::Hole));
    }
    pieces
}

fn joined(pieces: &[Piece<Box<str>>], holes: &Holes) -> String {
    let texts = pieces.iter().map(|piece| match piece {
        Piece::Fixed(text) => text,
        Piece::Hole(hole) => told(holes, *hole),
    });
    let mut joined = String::with_capacity(texts.clone().map(str::len).sum());
    joined.extend(texts);
    joined
}

fn told<'a>(holes: &'a Holes, hole: usize) -> &'a str {
    holes[hole].as_deref().unwrap_or_default()
}
