//! Our mails as others see them: Python's `email` package, which knows nothing of ours, reads what the composer made.

use std::{collections::HashSet, path::Path, process::Command, time::Duration};

use encargo::{
    clock::Clock,
    domain::{Closing, EmailAddress, Flow, Lang, Order, OrderId, Product, Timestamp, Waits},
    mail::{self, Composer},
    store::ledger::{Mail, MailId},
};
use serde_json::Value;

use crate::harness::{process::output, smtp::Sink};

fn options() -> mail::compose::Options {
    mail::compose::Options {
        from: "pedidos@shop.example".parse().unwrap(),
        from_name: Some("La Tienda Ñ, S.L.".into()),
        domain: None,
        deployment: "d3".into(),
        lang: Lang::Es,
        zone: jiff::tz::TimeZone::UTC,
        track: Some("https://shop.example/track/".into()),
        handles: None,
        templates: None,
        flow: Flow::standard(Duration::from_secs(8)),
    }
}

fn a_mail(order: u64, seq: u8, lang: Lang, product: &str, to: &str) -> Mail {
    let at = Timestamp::from_millis(1_764_000_000_000);
    let order = Order {
        id: OrderId::new(order).unwrap(),
        product: Product::new("3170", product, "1249.00").unwrap(),
        email: to.parse().unwrap(),
        lang: Some(lang),
        placed_at: at,
        handle: Some("00112233445566778899aabbccddeeff".parse().unwrap()),
        trace: None,
    };
    let id = MailId { order: order.id, seq };
    let estado = Flow::STATES[usize::from(seq) - 1];
    let waits = if seq < 4 { Waits::Until(at + Duration::from_secs(8)) } else { Waits::Closed(Closing::Finished) };
    Mail {
        id,
        order,
        address: None,
        estado: estado.into(),
        template: estado.into(),
        step: seq,
        at,
        next: None,
        waits,
        expect_at: None,
        begun_at: at,
        attempt: 1,
        tries: 1,
        copies: 0,
        ambiguous: false,
        suppressed: None,
    }
}

/// What Python reads in a folder of mails.
fn seen(folder: &Path) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/mail_seen/read.py");
    let output = output(Command::new("python3").arg(script).arg(folder));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let fields = mail["headers"].as_array().unwrap();
    let mut values = fields.iter().filter(|field| field[0] == name);
    let value = values.next().unwrap_or_else(|| panic!("{name} is missing in {mail}"));
    assert!(values.next().is_none(), "{name} comes twice in {mail}");
    value[1].as_str().unwrap()
}

#[test]
fn python_reads_every_mail_without_defects() {
    let long = "Cañón de nieve ñandú € 🎲 ".repeat(8); // 200 characters
    assert_eq!(long.chars().count(), 200);
    let products = [
        "King's Bounty: Armored Princess",
        long.trim_end(),
        "日本語の本 👩‍👩‍👧 \"comillas\" <b>&amp;</b>",
        "=?utf-8?Q?=0D=0ABcc:_x@evil.example?=",
        ".\u{202e}gnp.exe\u{2067} %0d%0aBcc: x",
        "كتاب عن الحديقة",
    ];
    let composer = Composer::new(options()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (number, product) in (1..).zip(products) {
        for lang in Lang::ALL {
            for seq in 1..=4 {
                let to = if number % 2 == 0 { "josé@correo-ñ.example" } else { "ana.o'neill+x@example.org" };
                let mail = a_mail(number, seq, lang, product, to);
                let raw = composer.compose(&mail).unwrap().raw;
                assert!(raw.split(|byte| *byte == b'\n').all(|line| line.len() <= 999), "a line is too long");
                std::fs::write(folder.path().join(format!("{:03}", expected.len())), raw).unwrap();
                expected.push(mail);
            }
        }
    }
    let seen = seen(folder.path());
    assert_eq!(seen.len(), expected.len());
    for (mail, expected) in seen.iter().zip(&expected) {
        assert_sound(mail, expected);
    }
}

fn assert_sound(mail: &Value, expected: &Mail) {
    let id = expected.id;
    assert_eq!(mail["defects"], serde_json::json!([]));
    assert_eq!(mail["types"], serde_json::json!(["multipart/alternative", "text/plain", "text/html"]));
    assert_eq!(mail["to"], serde_json::json!([expected.order.email.as_str()]));
    assert_eq!(mail["from"], serde_json::json!([["La Tienda Ñ, S.L.", "pedidos@shop.example"]]));
    assert_eq!(mail["date"], "2025-11-24T16:00:00+00:00");
    assert_eq!(header(mail, "Message-ID"), format!("<{}.{}.d3@shop.example>", id.order, id.seq));
    assert_eq!(header(mail, "List-Id"), "<orders.shop.example>");
    assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(mail, "X-Order-Id"), id.order.to_string());
    let names: HashSet<_> =
        mail["headers"].as_array().unwrap().iter().map(|field| field[0].as_str().unwrap()).collect();
    assert!(!names.contains("Bcc") && names.contains("References") == (id.seq != 1), "{names:?}");
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let product = expected.order.product.name.replace(turns, "");
    let (subject, text) = (header(mail, "Subject"), mail["text"].as_str().unwrap());
    let short: String = product.chars().take(60).collect();
    assert!(subject.contains(short.trim_end()) && subject.contains(&id.order.to_string()), "{subject}");
    let link = "https://shop.example/track/00112233445566778899aabbccddeeff";
    for part in [&*product, "1249.00", link] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert_eq!(text.contains("16:00:08"), id.seq < 4, "what comes next has its time: {text}");
    let html = mail["html"].as_str().unwrap();
    assert!(!html.contains(turns) && !html.contains("<script") && html.contains("color-scheme"), "{html}");
    // nothing is fetched when the mail is opened
    assert!(!["<img", "src=", "<link", "url(", "@import"].iter().any(|word| html.contains(word)), "{html}");
}

#[tokio::test]
async fn a_test_mail_goes_out_once_and_under_an_id_of_its_own() {
    let sink = Sink::start().await;
    let to: EmailAddress = "ana@example.org".parse().unwrap();
    let clock = Clock::manual(Timestamp::from_millis(1_764_000_000_000));
    let destination = sink.url().parse().unwrap();
    let report = mail::check(options(), &destination, Some(to), mail::Timeouts::default(), &clock).await;
    assert!(report.problems.is_empty(), "{report:?}");
    assert!(report.fine.iter().any(|line| line.contains("a test mail to ana@example.org was accepted")), "{report:?}");
    let mails = sink.mails();
    assert_eq!((mails.len(), &*mails[0].to), (1, "ana@example.org"));
    assert_eq!(mails[0].header("Message-ID"), Some("<trial.1764000000000.d3@shop.example>"));
}
