//! One mail, taken apart for the page. Whatever a file holds: broken MIME shows what there is, and its source.

use std::borrow::Cow;

use mail_parser::{Address, ContentType, Message, MessageParser, MimeHeaders, PartType};
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

/// How deep parts within parts are looked at; a mail in a mail is one attachment, whatever it holds.
const DEPTH_MAX: usize = 16;
/// Parts that are looked at.
const PARTS_MAX: usize = 256;
/// Header lines that are shown.
const HEADERS_MAX: usize = 1_000;

/// Takes a message apart; nothing when it has no headers at all.
///
/// The parser is only given what cannot nest: headers, and a part that is no container. It would build mails within
/// mails as deep as the file says, and drop them one inside the other, which ends the process (128,912 levels fit
/// into 1 MiB). Containers are taken apart here, by their boundaries.
pub(super) fn view(raw: &[u8]) -> View {
    let Some(message) = MessageParser::new().parse_headers(raw) else { return View::default() };
    let headers = message.headers_raw().take(HEADERS_MAX);
    let mut view = View {
        headers: headers.map(|(name, value)| (name.to_owned(), unfolded(value))).collect(),
        ..summary(&message)
    };
    let mut parts_left = PARTS_MAX;
    take_apart(raw, 0, &mut parts_left, &mut view);
    view
}

/// Puts the first text and the first HTML of a part into the view, and counts the rest.
fn take_apart(raw: &[u8], depth: usize, parts_left: &mut usize, view: &mut View) {
    if *parts_left == 0 {
        return;
    }
    *parts_left -= 1;
    let head = MessageParser::new().parse_headers(raw);
    let head = head.as_ref();
    let kind = head.and_then(MimeHeaders::content_type);
    let (kind_name, subtype) = kind.map_or(("text", Some("plain")), |kind| (kind.ctype(), kind.subtype()));
    let boundary = kind.and_then(|kind| kind.attribute("boundary")).filter(|boundary| !boundary.is_empty());
    if let ("multipart", Some(boundary)) = (kind_name, boundary) {
        let after_head = head.and_then(|head| head.parts.first()?.headers.last()).map_or(0, |last| last.offset_end);
        let parts = between(&raw[after_head as usize..], boundary.as_bytes());
        if depth == DEPTH_MAX {
            view.attachments += parts.len();
        } else {
            for part in parts {
                take_apart(part, depth + 1, parts_left, view);
            }
        }
        return;
    }
    let is_attached = head.and_then(MimeHeaders::content_disposition).is_some_and(ContentType::is_attachment);
    let place = match subtype {
        _ if is_attached => None,
        Some("plain") if kind_name == "text" => Some(&mut view.text),
        Some("html") if kind_name == "text" => Some(&mut view.html),
        // a container without a boundary, which some programs write for plain text
        _ if kind_name == "multipart" => Some(&mut view.text),
        _ => None,
    };
    match place.filter(|place| place.is_none()) {
        Some(place) => *place = MessageParser::new().parse(raw).as_ref().and_then(text_of),
        None => view.attachments += 1,
    }
}

/// The text of a part that holds no others, decoded.
fn text_of(message: &Message<'_>) -> Option<String> {
    match &message.parts.first()?.body {
        PartType::Text(text) | PartType::Html(text) => Some(text.clone().into_owned()),
        _ => None,
    }
}

/// What lies between the lines of a boundary (RFC 2046 §5.1.1); the end need not be there.
fn between<'raw>(raw: &'raw [u8], boundary: &[u8]) -> Vec<&'raw [u8]> {
    let mut parts = Vec::new();
    let mut begin = None;
    let mut line_at = 0;
    for line_end in memchr::memchr_iter(b'\n', raw).chain([raw.len()]) {
        let line = &raw[line_at..line_end];
        let after = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary)).map(<[u8]>::trim_ascii_end);
        if let Some(b"" | b"--") = after {
            parts.extend(begin.map(|begin: usize| without_line_end(&raw[begin.min(line_at)..line_at])));
            begin = (after == Some(b"")).then_some((line_end + 1).min(raw.len()));
            if begin.is_none() {
                break;
            }
        }
        line_at = line_end + 1;
    }
    parts.extend(begin.map(|begin| &raw[begin..]));
    parts
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
        // what was asked for is about no state
        state: if ours("X-Order-Mail") == "link" { "enlace".to_owned() } else { ours("X-Order-State") },
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

/// The line's end before a boundary belongs to the boundary.
fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
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
    fn the_mail_with_the_link_is_of_no_state() {
        let view = summary_of(b"Subject: x\r\nX-Order-Id: 17\r\nX-Order-Mail: link\r\n\r\n");
        assert_eq!((&*view.order, &*view.state), ("17", "enlace"));
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
    }

    #[test]
    fn shows_the_text_that_a_reader_would_see() {
        let raw = "Subject: x\r\nContent-Type: multipart/mixed; boundary=\"out er\"\r\n\r\npreamble\r\n--out er\r\n\
                   Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\
                   Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                   a=F1o\r\n--inner\r\n--in \r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                   PGI+eDwvYj4=\r\n--in--\r\n--out er\r\nContent-Type: message/rfc822\r\n\r\n\
                   Subject: y\r\n\r\nnot this\r\n--out er\r\nContent-Disposition: attachment\r\n\r\nnor this\r\n\
                   --out er--\r\nepilogue";
        let view = view(raw.as_bytes());
        assert_eq!(view.text.as_deref(), Some("año\r\n--inner"));
        assert_eq!((view.html.as_deref(), view.attachments), (Some("<b>x</b>"), 2));
        // a bounce in a digest: parts without a type of their own
        let digest = view_of("Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: z\n\ninner\n--d--\n");
        assert_eq!(digest.html, None);
    }

    fn view_of(text: &str) -> View {
        view(text.as_bytes())
    }

    /// Whatever nests in whatever, on a stack of 256 KiB: a tenth of what a thread of the server has.
    #[test]
    fn no_nesting_overflows_the_stack() {
        let rfc822 = "Content-Type: message/rfc822\n\n".repeat(1 << 15);
        let encoded = format!(
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{}",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &rfc822)
        );
        let each = |level: fn(usize) -> String| (0..5_000).map(level).collect::<String>();
        let mails = [
            rfc822.clone(),
            encoded,
            each(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")),
            each(|n| format!("Content-Type: multipart/digest; boundary=b{n}\n\n--b{n}\n\n")),
            each(|n| {
                format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\nContent-Type: message/global\n\n")
            }),
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n".repeat(10_000),
            format!("To: {}\n\n", "(".repeat(1 << 18)),
            format!("To: {}\nContent-Type: {}\n\n", "a:<".repeat(1 << 17), "(".repeat(1 << 17)),
            "X: y\n".repeat(1 << 18),
        ];
        on_a_small_stack(move || mails.iter().for_each(|mail| drop(view_of(mail))));
    }

    fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap();
        thread.join().unwrap();
    }

    /// Lines of which mails are made, and mangled.
    const PIECES: [&str; 18] = [
        "Content-Type: message/rfc822\n",
        "Content-Type: message/global\n",
        "Content-Type: multipart/mixed; boundary=b\n",
        "content-type :multipart/digest;boundary=\"b b\"\n",
        "Content-Type: multipart/alternative; boundary=\n",
        "Content-Type: text/html; charset=utf-16\n",
        "Content-Transfer-Encoding: base64\n",
        "Content-Transfer-Encoding: quoted-printable\n",
        "Content-Disposition: attachment; filename*=utf-8''%ff\n",
        "Subject: =?utf-8?B?w7E=?= =?x?Q?=ZZ?=\n",
        "To: (((<a@b.example>, ;:\n",
        "\n",
        "\r\n",
        "--b\n",
        "--b b\n",
        "--b--\n",
        "Q29udGVudC1UeXBlOiBtZXNzYWdlL3JmYzgyMgoK\n",
        "=C3=B1 \u{202e}\0\u{f1}\n",
    ];

    proptest::proptest! {
        #[test]
        fn any_mail_is_shown(
            pieces in proptest::collection::vec((0..PIECES.len(), 1..40_usize), 0..60),
            cut in 0..200_usize,
        ) {
            let mut raw: Vec<u8> = pieces.iter().flat_map(|(n, times)| PIECES[*n].repeat(*times).into_bytes()).collect();
            raw.truncate(raw.len().saturating_sub(cut));
            on_a_small_stack(move || {
                let view = view(&raw);
                assert!(view.attachments <= raw.len() && view.headers.len() <= HEADERS_MAX);
                let _ = summary_of(&raw);
            });
        }
    }
}
