//! One mail, taken apart for the page. Whatever a file holds: broken MIME shows what there is, and its source.

use std::borrow::Cow;

use mail_parser::{Address, Message, MessageParser, PartType};
use minijinja::{Value, context};

/// What the pages show of a mail; everything in it is foreign text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) subject: String,
    pub(super) from: String,
    pub(super) to: String,
    /// The state, as our mails tell.
    pub(super) state: String,
    pub(super) order: String,
    pub(super) text: Option<String>,
    pub(super) html: Option<String>,
    /// Name and value, unfolded, not decoded.
    pub(super) headers: Vec<(String, String)>,
    /// Parts beyond text and HTML.
    pub(super) attachments: usize,
}

impl View {
    /// For a template.
    pub(super) fn values(self) -> Value {
        let Self { subject, from, to, state, order, text, headers, attachments, .. } = self;
        let headers: Vec<_> = headers.into_iter().map(|(name, value)| Value::from(vec![name, value])).collect();
        context! { subject, from, to, state, order, text, headers, attachments }
    }
}

/// Takes a message apart; nothing when it has no headers at all.
pub(super) fn view(raw: &[u8]) -> View {
    MessageParser::new().parse(raw).map_or_else(View::default, |message| View {
        text: message.text_part(0).and_then(|part| match &part.body {
            PartType::Text(text) => Some(text.clone().into_owned()),
            _ => None,
        }),
        html: message.html_part(0).and_then(|part| match &part.body {
            PartType::Html(html) => Some(html.clone().into_owned()),
            _ => None,
        }),
        headers: message.headers_raw().map(|(name, value)| (name.to_owned(), unfolded(value))).collect(),
        attachments: message.attachment_count(),
        ..summary(&message)
    })
}

/// What a list shows, from the headers alone.
pub(super) fn summary_of(head: &[u8]) -> View {
    MessageParser::new().parse_headers(head).map_or_else(View::default, |message| summary(&message))
}

fn summary(message: &Message<'_>) -> View {
    let ours =
        |name: &'static str| message.header(name).and_then(|value| value.as_text()).unwrap_or_default().to_owned();
    View {
        subject: message.subject().unwrap_or_default().to_owned(),
        from: first(message.from()),
        to: first(message.to()),
        state: ours("X-Order-State"),
        order: ours("X-Order-Id"),
        ..View::default()
    }
}

/// `Name <address>` of the first address.
fn first(address: Option<&Address<'_>>) -> String {
    let Some(first) = address.and_then(Address::first) else { return String::new() };
    let address = first.address().unwrap_or_default();
    match first.name() {
        Some(name) => format!("{name} <{address}>"),
        None => address.to_owned(),
    }
}

fn unfolded(value: &str) -> String {
    let lines: Vec<_> = value.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// The bytes as text; what is no UTF-8 is marked.
pub(super) fn source(raw: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_mail_apart() {
        let raw = "From: =?utf-8?Q?La_Tienda_=C3=91?= <pedidos@shop.example>\nTo: <ana@example.org>\n\
                   Subject: =?utf-8?Q?Pedido_en_?=\n =?utf-8?Q?preparaci=C3=B3n?=\nX-Order-Id: 17\n\
                   X-Order-State: preparando\nMIME-Version: 1.0\n\
                   Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\nhola\n--b\n\
                   Content-Type: text/html\n\n<p>hola</p>\n--b--\n";
        let view = view(raw.as_bytes());
        assert_eq!(view.subject, "Pedido en preparación");
        assert_eq!((&*view.from, &*view.to), ("La Tienda Ñ <pedidos@shop.example>", "ana@example.org"));
        assert_eq!((&*view.order, &*view.state), ("17", "preparando"));
        assert_eq!((view.text.as_deref(), view.html.as_deref()), (Some("hola"), Some("<p>hola</p>")));
        assert_eq!(view.headers[2], ("Subject".into(), "=?utf-8?Q?Pedido_en_?= =?utf-8?Q?preparaci=C3=B3n?=".into()));
        let head = summary_of(raw.as_bytes());
        assert_eq!((head.subject, head.text), (view.subject, None));
    }

    #[test]
    fn broken_mails_show_what_there_is() {
        assert_eq!(view(b""), View::default());
        let text_only = view(b"Subject: x\n\njust text");
        assert_eq!((text_only.text.as_deref(), text_only.html), (Some("just text"), None));
        let html_only = view(b"Content-Type: text/html\n\n<b>x</b>");
        assert_eq!((html_only.text, html_only.html.as_deref()), (None, Some("<b>x</b>")));
        let unclosed =
            b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhalf";
        assert_eq!(view(unclosed).subject, "x");
        assert_eq!(source(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        // no depth of nesting overflows the stack
        let nested: Vec<_> =
            (0..5_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
        let _ = view(nested.concat().as_bytes());
    }
}
