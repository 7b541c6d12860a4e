use std::time::Duration;

use mail_parser::MessageParser;
use proptest::prelude::*;

use super::{
    text::{boundary, shortened, visible},
    *,
};
use crate::{
    domain::{
        OrderId, Product, Step, Waits,
        flow::{End, Leave, Parts},
    },
    store::ledger::MailId,
};

fn options() -> Options {
    Options {
        from: "pedidos@shop.example".parse().unwrap(),
        from_name: Some("La Tienda Ñ".into()),
        domain: None,
        deployment: "d3".into(),
        lang: Lang::Es,
        zone: TimeZone::UTC,
        track: Some("http://127.0.0.1:5000/track/".into()),
        handles: None,
        templates: None,
        flow: Flow::standard(Duration::from_secs(8)),
    }
}

fn composer() -> Composer {
    Composer::new(options()).unwrap()
}

/// A mail as it is sent, but for the HTML part, which is decoded to be readable.
fn sent(state: &str, lang: Lang) -> String {
    let composer = composer();
    let message = composer.compose(&composer.sample(state, lang)).unwrap();
    let raw = std::str::from_utf8(&message.raw).unwrap();
    let (before, after) = raw.split_once("Content-Type: text/html").unwrap();
    let (_, end) = after.rsplit_once("\r\n--").unwrap();
    let parsed = MessageParser::new().parse(&message.raw).unwrap();
    format!("{before}(decoded)\r\n{}\r\n--{end}", parsed.body_html(0).unwrap()).replace("\r\n", "\n")
}

#[test]
fn a_shop_whose_domain_is_beyond_ascii_writes_as_every_server_takes_it() {
    let from = "pedidos@españa.example".parse().unwrap();
    let composer = Composer::new(Options { from, ..options() }).unwrap();
    let message = composer.compose(&composer.sample("recibido", Lang::Es)).unwrap();
    let raw = std::str::from_utf8(&message.raw).unwrap();
    assert!(raw.is_ascii() && raw.contains("<pedidos@xn--espaa-rta.example>"), "{raw}");
    assert!(raw.contains("@xn--espaa-rta.example>\r\n") && message.message_id.ends_with("@xn--espaa-rta.example"));
}

#[test]
fn a_mail_in_spanish() {
    insta::assert_snapshot!(sent("preparando", Lang::Es));
}

#[test]
fn a_mail_in_english() {
    insta::assert_snapshot!(sent("recibido", Lang::En));
}

/// Text and page of a mail as a customer's program decodes them.
fn read(raw: &[u8]) -> (String, String) {
    let parsed = MessageParser::new().parse(raw).unwrap();
    let text = |part: Cow<str>| part.replace("\r\n", "\n");
    (text(parsed.body_text(0).unwrap()), text(parsed.body_html(0).unwrap()))
}

#[test]
fn a_mail_out_of_its_mould_is_the_one_that_the_templates_make() {
    let composer = composer();
    for state in composer.states() {
        for lang in Lang::ALL {
            let sample = composer.sample(&state, lang);
            let product = Product::new("1", "\u{202e}<b>Añejo</b> & \"=?x?=\" '/' 漢字 {{ order }}", "0.50").unwrap();
            let odd = Mail { order: Order { product, ..sample.order.clone() }, ..sample.clone() };
            let later = Mail { next: Some("horneando".into()), waits: Waits::ForCommand, ..sample.clone() };
            for mail in [sample.clone(), odd, later, sample] {
                let Rendered { text, html, .. } = composer.render(&mail).unwrap();
                assert!(matches!(composer.parts(&mail).unwrap().2, Html::Encoded(_)), "{state}");
                assert_eq!(read(&composer.compose(&mail).unwrap().raw), (text, html));
            }
        }
    }
    assert!(composer.moulds.lock().unwrap().len() > 10, "they are kept");
}

#[test]
fn templates_that_look_at_what_they_say_have_no_mould() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("es")).unwrap();
    std::fs::write(folder.path().join("es/recibido.html"), "<p>{{ price|replace('.', ',') }}").unwrap();
    let composer = Composer::new(Options { templates: Some(folder.path().into()), ..options() }).unwrap();
    let html = |state| read(&composer.compose(&composer.sample(state, Lang::Es)).unwrap().raw).1;
    assert_eq!(html("recibido"), "<p>7,99");
    assert!(html("preparando").contains("7.99"));
}

#[test]
fn a_state_of_odd_letters_is_told_as_it_is() {
    let composer = composer();
    let state = format!("a{}b", mark(1));
    let (text, html) = read(&composer.compose(&composer.sample(&state, Lang::Es)).unwrap().raw);
    assert!(text.contains(&*state.replace('a', "A")) && html.contains(&*state.replace('a', "A")), "{text}");
}

#[test]
fn a_repeat_has_the_same_bytes() {
    let mail = composer().sample("entregando", Lang::Es);
    let again = Mail { attempt: 7, ambiguous: true, ..mail.clone() };
    assert_eq!(composer().compose(&mail).unwrap().raw, composer().compose(&again).unwrap().raw);
}

#[test]
fn the_mails_of_an_order_form_one_thread() {
    let composer = composer();
    for (seq, state) in (1..).zip(Flow::STATES) {
        let raw = composer.compose(&composer.sample(state, Lang::En)).unwrap().raw;
        let mail = MessageParser::new().parse(&raw).unwrap();
        assert_eq!(mail.message_id(), Some(&*format!("1024.{seq}.d3@shop.example")));
        let first = (seq != 1).then_some("1024.1.d3@shop.example");
        assert_eq!((mail.in_reply_to().as_text(), mail.references().as_text()), (first, first));
    }
}

#[test]
fn a_link_is_a_mail_of_its_own_in_the_thread_of_its_order() {
    let composer = composer();
    for (lang, subject) in [(Lang::Es, "El enlace a tu pedido 1024"), (Lang::En, "The link to your order 1024")] {
        let sample = composer.sample("enlace", lang);
        let message = composer.compose(&sample).unwrap();
        let mail = MessageParser::new().parse(&message.raw).unwrap();
        assert!(mail.subject().unwrap().starts_with(subject), "{:?}", mail.subject());
        assert_eq!(mail.in_reply_to().as_text(), Some("1024.1.d3@shop.example"));
        assert_eq!((mail.header_raw("X-Order-Mail"), mail.header_raw("X-Order-State")), (Some(" link\r\n"), None));
        let (text, html) = (mail.body_text(0).unwrap(), mail.body_html(0).unwrap());
        for body in [&text.into_owned(), &html.replace("&#x2f;", "/")] {
            assert!(body.contains("http://127.0.0.1:5000/track/") && !body.contains(labels(lang)["footer"]), "{body}");
        }
        assert!(!mail.body_text(0).unwrap().contains(&words::state(lang, "enlace")));
        let again = Mail { at: sample.at + Duration::from_mins(10), ..sample.clone() };
        assert_ne!(composer.compose(&again).unwrap().message_id, message.message_id);
        let repeat = Mail { attempt: 2, ambiguous: true, ..sample };
        assert_eq!(composer.compose(&repeat).unwrap().raw, message.raw);
    }
}

#[test]
fn the_order_decides_the_language_and_then_the_settings() {
    let composer = Composer::new(Options { lang: Lang::En, ..options() }).unwrap();
    let mail = composer.sample("finalizado", Lang::Es);
    let subject = |mail: &Mail| composer.render(mail).unwrap().subject;
    assert!(subject(&mail).starts_with("Pedido 1024 completado"));
    let order = Order { lang: None, ..mail.order.clone() };
    assert!(subject(&Mail { order, ..mail }).starts_with("Order 1024 complete"));
}

#[test]
fn states_that_the_flow_does_not_know_are_told_by_name() {
    let composer = composer();
    let mail = composer.sample("en aduana", Lang::Es);
    let rendered = composer.render(&mail).unwrap();
    assert_eq!(rendered.subject.trim(), "Pedido 1024, En aduana: King's Bounty: Armored Princess");
    assert!(rendered.text.contains("«En aduana»") && !rendered.text.contains("Lo siguiente"));
    // a record of another deployment: our number, but another state
    let foreign = Mail { estado: "finalizado".into(), next: None, ..composer.sample("recibido", Lang::Es) };
    assert!(!composer.render(&foreign).unwrap().text.contains("Lo siguiente"));
}

/// A flow whose second state waits for somebody and is told in the words of the third, and whose third is not mailed.
fn kitchen(mail: &str) -> Flow {
    let mut steps =
        ["recibido", "horneando", "entregando", "finalizado"].map(|state| Step::timer(state, Duration::from_secs(8)));
    steps[1].leave = Some(Leave::Command { expect: Some(Duration::from_mins(20)) });
    steps[1].mail = Some(mail.into());
    steps[2].mail = None;
    let [cancelled, refused] = ["tirado", "sin sitio"].map(End::named);
    let (name, steps) = ("cocina".to_owned(), steps.to_vec());
    Flow::of(Parts { name, version: 2, steps, cancelled: Some(cancelled), refused: Some(refused) }).unwrap()
}

const BAR: &str = "table-layout:fixed";

#[test]
fn an_order_that_ended_beside_the_line_is_told_so() {
    let composer = composer();
    for (lang, state, subject, text) in [
        (Lang::Es, "cancelado", "Pedido 1024 cancelado: ", "no se preparará ni se enviará nada más"),
        (Lang::En, "cancelado", "Order 1024 cancelled: ", "nothing more will be prepared or sent"),
        (Lang::Es, "rechazado", "Pedido 1024 no aceptado: ", "no podemos aceptar tu pedido"),
        (Lang::En, "rechazado", "Order 1024 not accepted: ", "we cannot accept your order"),
    ] {
        let mail = composer.sample(state, lang);
        let rendered = composer.render(&mail).unwrap();
        assert!(rendered.subject.starts_with(subject), "{}", rendered.subject);
        assert!(rendered.text.contains(text) && rendered.html.contains(text), "{}", rendered.text);
        assert!(!rendered.html.contains(BAR) && !rendered.text.contains("Lo siguiente"), "nothing comes any more");
        let raw = composer.compose(&mail).unwrap().raw;
        let references = MessageParser::new().parse(&raw).unwrap().references().as_text().map(str::to_owned);
        assert_eq!(references.as_deref(), Some("1024.1.d3@shop.example"), "in the thread of the order");
    }
}

#[test]
fn ends_of_any_name_are_told_in_the_words_of_their_kind() {
    let composer = Composer::new(Options { flow: kitchen("entregando"), ..options() }).unwrap();
    for (state, subject) in [("tirado", "Pedido 1024 cancelado"), ("sin sitio", "Pedido 1024 no aceptado")] {
        let rendered = composer.render(&composer.sample(state, Lang::Es)).unwrap();
        assert!(rendered.subject.starts_with(subject), "{}", rendered.subject);
    }
}

#[test]
fn a_mail_goes_to_the_corrected_address() {
    let composer = composer();
    let address = Some("eva@example.com".parse().unwrap());
    let message = composer.compose(&Mail { address, ..composer.sample("preparando", Lang::Es) }).unwrap();
    assert_eq!(message.to.as_str(), "eva@example.com");
    let raw = std::str::from_utf8(&message.raw).unwrap();
    assert!(raw.contains("<eva@example.com>") && !raw.contains("cliente@example.org"), "{raw}");
}

#[test]
fn a_flow_decides_which_states_are_mailed_and_how() {
    let composer = Composer::new(Options { flow: kitchen("entregando"), ..options() }).unwrap();
    let rendered = composer.render(&composer.sample("horneando", Lang::Es)).unwrap();
    assert!(rendered.text.contains("Tu pedido va en camino"), "{}", rendered.text);
    assert!(rendered.text.contains("Estado: Horneando"));
    assert!(
        rendered.text.contains("Lo siguiente: En camino, hacia las 10:20 (UTC)"),
        "what is expected: {}",
        rendered.text
    );
    let mailed = ["recibido", "horneando", "finalizado", "tirado", "sin sitio"];
    assert_eq!(composer.states()[..5], mailed, "and those for which there are templates");
    let refused = Composer::new(Options { flow: kitchen("aviso"), ..options() }).err().unwrap().to_string();
    for named in
        ["cocina", "horneando", "\"aviso\"", "cancelado, enlace, entregando, finalizado, generic", "mail.templates"]
    {
        assert!(refused.contains(named), "{named} in {refused}");
    }
}

#[test]
fn how_far_an_order_is_goes_by_its_place_in_the_flow() {
    let composer = composer();
    let sample = composer.sample("preparando", Lang::Es);
    let tells = |mail: &Mail| {
        let Rendered { text, html, .. } = composer.render(mail).unwrap();
        let next = text.lines().find_map(|line| line.strip_prefix("Lo siguiente: ")).map(str::to_owned);
        (next, html.contains(BAR))
    };
    let next = |state: &str| Some(format!("{state}, hacia las 10:00:08 (UTC)"));
    assert_eq!(tells(&sample), (next("En camino"), true));
    // it was held before, so that its events have later numbers
    let mut held = sample.clone();
    held.id.seq = 4;
    assert_eq!(tells(&held), (next("En camino"), true));
    // a record of version 1 does not tell what follows
    assert_eq!(tells(&Mail { next: None, ..sample.clone() }), (next("En camino"), true));
    // another flow, or another version of this one
    assert_eq!(tells(&Mail { next: Some("horneando".into()), ..sample.clone() }), (next("Horneando"), false));
    assert_eq!(tells(&Mail { step: 3, ..sample.clone() }), (next("En camino"), false));
    let last = Mail { next: None, waits: Waits::Closed(Closing::Finished), ..sample.clone() };
    assert_eq!(tells(&last), (None, false));
    // nobody says when
    let waits = Waits::ForCommand;
    assert_eq!(tells(&Mail { waits, ..sample.clone() }), (Some("En camino".into()), true));
    assert_eq!(tells(&Mail { step: 0, ..sample }), (next("En camino"), false), "no place at all");
}

#[test]
fn settings_that_make_no_sound_mail_are_refused() {
    let refused = |options| Composer::new(options).err().unwrap().to_string();
    assert!(refused(Options { domain: Some("ñ.example".into()), ..options() }).contains("plain ASCII"));
    assert!(refused(Options { domain: Some("a>\r\nX: y".into()), ..options() }).contains("plain ASCII"));
    assert!(refused(Options { from_name: Some("a\r\nBcc: x".into()), ..options() }).contains("control characters"));
}

#[test]
fn an_override_that_does_not_render_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("en")).unwrap();
    std::fs::write(folder.path().join("en/recibido.txt"), "Hello\n{{ odrer }}").unwrap();
    let error = Composer::new(Options { templates: Some(folder.path().into()), ..options() }).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("en/recibido.txt") && text.contains("odrer") && text.contains("line 2"), "{text}");
}

#[test]
fn a_boundary_never_stands_in_a_part() {
    let id = MailId { order: OrderId::new(7).unwrap(), seq: 2 };
    assert_eq!(boundary(id, "text", "html"), "=_7.2");
    assert_eq!(boundary(id, "--=_7.2", "html --=_7.2_--"), "=_7.2__");
}

#[test]
fn what_looks_like_an_encoded_word_is_shown_as_it_is() {
    let composer = composer();
    let mut mail = composer.sample("recibido", Lang::En);
    for name in ["=?utf-8?Q?=0D=0ABcc:_x@evil.example?=", "ñ =?utf-8?B?DQo=?=", &"=? ".repeat(50)] {
        mail.order.product = Product::new("1", name, "1").unwrap();
        let raw = composer.compose(&mail).unwrap().raw;
        let parsed = MessageParser::new().parse(&raw).unwrap();
        let expected = format!("Order 1024 received: {}", shortened(name));
        assert_eq!(parsed.subject(), Some(&*expected));
    }
}

/// Names of the header fields, in order, unfolded.
fn header_names(raw: &str) -> Vec<&str> {
    let (head, _) = raw.split_once("\r\n\r\n").unwrap();
    let lines = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    lines.map(|line| line.split_once(':').unwrap().0).collect()
}

/// Anything that a product can be called, attempts at headers and commands among it.
fn product_names() -> impl Strategy<Value = String> {
    let hostile = prop::sample::select(vec![
        "%0d%0aBcc: x@evil.example",
        "=?utf-8?Q?=0D=0ABcc:_x?=",
        "\u{2028}Bcc: x",
        "--=_1024.1--",
        "</td><script>x</script>",
        "{{ 7*7 }}",
        ".",
        "\u{202e}abc",
        "ñandú €",
        "🎲 漢字",
        "\"><img src=x>",
        " . ",
        "From x",
    ]);
    prop::collection::vec(prop_oneof![3 => hostile.prop_map(str::to_owned), 2 => "[^\\p{Cc}]{1,30}"], 1..8)
        .prop_map(|parts| parts.concat())
        .prop_filter("a product", |name| Product::new("1", name, "1").is_ok())
}

fn addresses() -> impl Strategy<Value = EmailAddress> {
    let text = prop_oneof![
        "[a-z!#$%&'*+/=?^_`{|}~.-]{1,64}@[a-z.-]{1,40}",
        "[a-zñé用]{1,10}@[a-zñé用]{1,20}",
        ".{1,20}@.{1,20}"
    ];
    text.prop_filter_map("an address", |text| text.parse().ok())
}

proptest! {
    #[test]
    fn nothing_in_an_order_breaks_out_of_its_place(
        name in product_names(),
        to in addresses(),
        state in prop_oneof![prop::sample::select(&Flow::STATES).prop_map(str::to_owned), "[^\\p{Cc}]{1,16}"],
        lang in prop::sample::select(&Lang::ALL),
    ) {
        let composer = composer();
        let mut mail = composer.sample(&state, lang);
        let plain = composer.render(&mail).unwrap();
        mail.order.product = Product::new("1", &name, "7.99").unwrap();
        mail.order.email = to.clone();
        let message = composer.compose(&mail).unwrap();

        let raw = std::str::from_utf8(&message.raw).unwrap();
        prop_assert!(!raw.replace("\r\n", "").contains(['\r', '\n', '\0']));
        prop_assert!(raw.split("\r\n").all(|line| line.len() <= 998));
        let ascii = to.to_ascii();
        prop_assert!(raw.is_ascii() || ascii.is_none());
        let mut names = vec!["From", "To", "Subject", "Date", "Message-ID"];
        if mail.id.seq != 1 {
            names.extend(["In-Reply-To", "References"]);
        }
        names.extend(["X-Order-Id", "X-Order-State", "List-Id", "Auto-Submitted", "X-Auto-Response-Suppress"]);
        names.extend(["Content-Language", "MIME-Version", "Content-Type"]);
        prop_assert_eq!(header_names(raw), names);

        let parsed = MessageParser::new().parse(&message.raw).unwrap();
        let written = ascii.as_deref().unwrap_or(to.as_str());
        prop_assert_eq!(parsed.to().and_then(|to| to.first()).and_then(|to| to.address()), Some(written));
        prop_assert_eq!((parsed.text_body_count(), parsed.html_body_count(), parsed.attachment_count()), (1, 1, 0));
        let text = parsed.body_text(0).unwrap();
        prop_assert!(text.contains(&*visible(&name)), "{:?} lacks {:?}", text, name);
        let html = parsed.body_html(0).unwrap();
        prop_assert_eq!(html.matches('<').count(), plain.html.matches('<').count(), "no tag comes from an order");
    }
}
