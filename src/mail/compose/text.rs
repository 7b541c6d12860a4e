//! Text as it may stand in a message: one line, visible, encoded; and both parts of one.

use std::borrow::Cow;

use mail_builder::{
    headers::{HeaderType, content_type::ContentType, raw::Raw},
    mime::MimePart,
};

use crate::store::ledger::MailId;

/// Longest product name in a subject, in characters.
const SUBJECT_PRODUCT_MAX: usize = 60;

/// The page of a mail.
pub(super) enum Html {
    Plain(String),
    /// In quoted-printable.
    Encoded(Vec<u8>),
}

impl Html {
    /// In bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(html) => html.len(),
            Self::Encoded(html) => html.len(),
        }
    }
}

pub(super) fn alternative<'a>(id: MailId, text: &'a str, html: &'a Html) -> MimePart<'a> {
    let kind = |name| ContentType::new(name).attribute("charset", "utf-8");
    let (plain, page) = match html {
        Html::Plain(html) => (&**html, MimePart::new(kind("text/html"), &**html)),
        Html::Encoded(html) => ("", MimePart::new(kind("text/html"), &**html).transfer_encoding("quoted-printable")),
    };
    let boundary = boundary(id, text, plain);
    let parts = vec![MimePart::new(kind("text/plain"), text), page];
    MimePart::new(ContentType::new("multipart/alternative").attribute("boundary", boundary), parts)
}

/// The same for the same mail, and in neither part: `=_` never stands in quoted-printable text, and the others are
/// searched for it.
pub(super) fn boundary(id: MailId, text: &str, html: &str) -> String {
    let mut boundary = format!("=_{}.{}", id.order, id.seq);
    while text.contains(&boundary) || html.contains(&boundary) {
        boundary.push('_');
    }
    boundary
}

/// Without what could break a line or turn the reading direction of what stands around it.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(harmful) { Cow::Owned(text.replace(harmful, "")) } else { Cow::Borrowed(text) }
}

pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    if text.contains(char::is_control) { Cow::Owned(text.replace(char::is_control, " ")) } else { Cow::Borrowed(text) }
}

/// A header's text. The builder leaves ASCII as it is, and a reader would decode what looks like an encoded word there,
/// line ends in it included: such a text is encoded as a whole (RFC 2047).
pub(super) fn unstructured(text: Cow<'_, str>) -> HeaderType<'_> {
    if !text.is_ascii() || !text.contains("=?") {
        return HeaderType::Text(text.into());
    }
    let encoded = |piece: &[u8]| piece.iter().map(|byte| format!("={byte:02X}")).collect::<Vec<_>>().concat();
    // 20 × 3 and what stands around it fit the 75 characters of a word
    let words: Vec<_> = text.as_bytes().chunks(20).map(|piece| format!("=?utf-8?Q?{}?=", encoded(piece))).collect();
    Raw::new(words.join(" ")).into()
}

pub(super) fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(SUBJECT_PRODUCT_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", name[..end].trim_end())),
        None => Cow::Borrowed(name),
    }
}
