//! Whatever stands in an address, a product or a state, the server sees one mail with our headers and no command more.

use encargo::{domain::Waits, mail::Transport, store::ledger::MailId};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;

/// Header fields that a mail of ours has.
const FIELDS: [&str; 17] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "List-Id",
    "X-Order-Id",
    "X-Order-State",
    "Auto-Submitted",
    "Content-Language",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "X-Auto-Response-Suppress",
    "Feedback-ID",
];

/// Text with what has been used to break out of a command, a header or a part.
fn hostile() -> impl Strategy<Value = String> {
    let fragments = [
        "\r\n",
        "\n",
        "\r",
        "\r\n.\r\n",
        "\n.\n",
        "\0",
        "%0d%0a",
        "%0D%0A.%0d%0a",
        "\r\nBcc: x@evil.example",
        "\r\n\r\n",
        "\r\nMAIL FROM:<x@evil.example>\r\n",
        "\r\nDATA\r\n",
        "\r\nQUIT\r\n",
        "> SIZE=1",
        "<",
        ">",
        "\"a b\"",
        "\\",
        ",",
        "=?utf-8?Q?=0D=0ABcc:_x?=",
        "=?utf-8?B?DQpCY2M6IHg=?=",
        "\u{202e}",
        "\u{2066}",
        "\u{2028}",
        "\u{85}",
        "\u{feff}",
        "--=_1.1--",
        "--=_1.1\r\n",
        "ñ",
        "€",
        "😀",
        ".",
        "@",
        " ",
        "\t",
        "<script>",
        "{{ order }}",
        "{% raw %}",
    ];
    let piece = prop_oneof![
        prop::sample::select(fragments.map(str::to_owned).to_vec()),
        "[a-z0-9.+-]{1,12}",
        any::<char>().prop_map(String::from),
        "a{300}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Addresses of which some are good ones.
fn address() -> impl Strategy<Value = String> {
    let local = prop_oneof!["[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,12}", "[a-zñéü用]{1,9}", hostile()];
    let domain = prop_oneof!["[a-z]{1,9}\\.example", "[a-zñéß例]{1,9}\\.example", hostile()];
    (local, domain).prop_map(|(local, domain)| format!("{local}@{domain}"))
}

/// A leased mail, as far as the types take these values.
fn a_mail(email: &str, product: [&str; 3], estado: &str, seq: u8) -> encargo::store::ledger::Mail {
    let at = Timestamp::from_millis(1_764_000_000_000);
    let [id, name, price] = product;
    let usual = || Product::new("3170", "King's Bounty", "7.99").unwrap();
    let order = Order {
        id: OrderId::new(1).unwrap(),
        product: Product::new(id, name, price).unwrap_or_else(|_| usual()),
        email: email.parse().unwrap_or_else(|_| "ana@example.org".parse().unwrap()),
        lang: None,
        placed_at: at,
        handle: None,
        trace: None,
    };
    let id = MailId { order: order.id, seq };
    encargo::store::ledger::Mail {
        id,
        order,
        address: None,
        estado: estado.into(),
        template: estado.into(),
        step: seq,
        at,
        next: None,
        waits: Waits::Untold,
        expect_at: None,
        begun_at: at,
        attempt: 1,
        tries: 1,
        copies: 0,
        ambiguous: false,
        suppressed: None,
    }
}

#[test]
fn nothing_in_an_order_becomes_a_command_or_a_header() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sink = runtime.block_on(Sink::start());
    let composer = composer();
    let destination = sink.url().parse().unwrap();
    let transport = mail::open(&destination, "shop.example", mail::Timeouts::default(), &crate::harness::real_clock())
        .unwrap()
        .unwrap();
    let transport: &dyn Transport = transport.as_ref();
    let cases = (address(), hostile(), hostile(), hostile(), hostile(), 1_u8..5);
    let mut runner = TestRunner::new(Config { cases: 512, failure_persistence: None, ..Config::default() });
    let result = runner.run(&cases, |(email, id, name, price, estado, seq)| {
        let mail = a_mail(&email, [&id, &name, &price], &estado, seq);
        let message = composer.compose(&mail).unwrap();
        assert_sound(&message.raw);
        let outcomes = runtime.block_on(transport.deliver(vec![message.clone()]));
        prop_assert!(matches!(&outcomes[..], [mail::Outcome::Sent(_)]), "{outcomes:?}");
        let (mut commands, mails) = sink.take();
        commands.retain(|line| line != "EHLO shop.example");
        let address = mail.order.email.to_ascii().unwrap_or(mail.order.email.as_str().into()).into_owned();
        let utf8 = if address.is_ascii() && message.raw.is_ascii() { "" } else { " BODY=8BITMIME SMTPUTF8" };
        let expected =
            [format!("MAIL FROM:<pedidos@shop.example>{utf8}"), format!("RCPT TO:<{address}>"), "DATA".to_owned()];
        prop_assert_eq!(commands, expected);
        prop_assert_eq!(mails.len(), 1);
        prop_assert!(mails[0].raw == message.raw, "the bytes of the mail are what was composed");
        Ok(())
    });
    result.unwrap();
}

/// One message of short lines, each header of which is one of ours.
fn assert_sound(raw: &[u8]) {
    let text = std::str::from_utf8(raw).unwrap();
    assert!(!text.contains('\0'));
    assert_eq!(text.matches('\r').count(), text.matches("\r\n").count(), "{text}");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text}");
    assert!(text.split("\r\n").all(|line| line.len() <= 998), "{text}");
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    for line in head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])) {
        let name = line.split(':').next().unwrap_or_default();
        assert!(FIELDS.contains(&name) && !seen.contains(&name), "{name} in {head}");
        seen.push(name);
    }
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!head.contains(turns), "{head}");
}
