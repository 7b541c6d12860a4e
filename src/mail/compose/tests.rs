use std::time::Duration;

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

use super::*;

fn options() -> Options {
    Options {
        from: "pedidos@shop.example".parse().unwrap(),
        from_name: Some("La Tienda Ñ".into()),
        domain: None,
        lang: Lang::Es,
        track: Some("http://127.0.0.1:5000/track/".into()),
        templates: None,
        flow: Flow::standard(Duration::from_secs(8)),
    }
}

fn text(message: &Message) -> String {
    String::from_utf8(message.raw.clone()).unwrap().replace("\r\n", "\n")
}

#[test]
fn print_sizes() {
    let composer = Composer::new(options()).unwrap();
    let m = composer.compose(&composer.sample("preparando", Lang::Es)).unwrap();
    println!("{} bytes\n{}", m.raw.len(), text(&m));
    let m = composer.compose(&composer.sample("finalizado", Lang::En)).unwrap();
    println!("{} bytes\n{}", m.raw.len(), &text(&m)[..2000]);
}
