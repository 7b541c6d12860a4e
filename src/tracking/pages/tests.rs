use std::time::Duration;

use axum::http::{HeaderMap, Method};

use super::*;
use crate::{
    domain::{Change, Closing, Exits, Lang, Order, OrderId, Product, Waits},
    eventlog::memory::{MemoryLog, Options},
    pages::check::flaws,
    store::ledger::MailStatus,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_764_000_000_000 + seconds * 1_000)
}

fn view(estado: &str, step: u8, waits: Waits) -> OrderView {
    let order = Order {
        id: OrderId::new(1042).unwrap(),
        product: Product::new("620", "</p><script>x</script>", "7.19").unwrap(),
        email: "cliente@example.org".parse().unwrap(),
        lang: None,
        placed_at: at(-90_000),
        handle: None,
        trace: None,
    };
    let (seq, at) = (step, at(0));
    let (estado, exits) = (estado.into(), Exits::default());
    OrderView { order, partition: None, address: None, flow: None, step, estado, seq, at, waits, exits }
}

fn entry(seq: u8, estado: &str, by: Option<&str>, mail: MailStatus) -> HistoryEntry {
    let (by, mail) = (by.map(Into::into), Some(mail));
    let (change, due, offset) = (Change::Entered, None, None);
    HistoryEntry { seq, estado: estado.into(), change, at: at(0), due, offset, by, command: None, reason: None, mail }
}

/// The page of an order ten minutes later, or why it is none of ours.
async fn page(view: &OrderView, history: &[HistoryEntry], lang: Lang, cancellation: Option<Cancellation>) -> String {
    let clock = Clock::manual(at(600));
    let log = Arc::new(MemoryLog::new(clock.clone(), Options::default()));
    let pages = TrackingPages::new(Site::default(), log, clock, "flows".into());
    let uri = format!("/track/x?lang={lang}").parse().unwrap();
    let reader = Reader::of(&Method::GET, &uri, &HeaderMap::new());
    let look = Look { reader: &reader, handle: "00112233445566778899aabbccddeeff", view, history };
    let flow = Flow::standard(Duration::from_secs(8));
    let response = pages.render(&look, Some(&flow), cancellation, at(600));
    assert_eq!(response.status(), StatusCode::OK, "{} {lang}", view.estado);
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let html = String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(flaws(&html), Vec::<String>::new(), "{html}");
    assert!(!html.contains("cliente@") && html.contains("&lt;script&gt;"), "{html}");
    html
}

#[tokio::test]
async fn every_standing_has_a_page_in_both_languages() {
    let refused = Some(Cancellation::Refused);
    for (estado, step, waits, cancellation, words) in [
        ("preparando", 2, Waits::Until(at(8)), None, ["Tenía que salir a las", "It should have left at"]),
        ("entregando", 3, Waits::Until(at(8)), None, ["Tenía que haber avanzado a las", "It should have moved on at"]),
        ("recibido", 1, Waits::Until(at(90_000)), None, ["del 25 nov", "on 25 Nov"]),
        ("recibido", 1, Waits::ForCommand, None, ["una persona de la tienda", "Somebody at the shop"]),
        ("recibido", 1, Waits::Held(None), None, ["Está en pausa", "It is on hold"]),
        ("recibido", 1, Waits::Untold, Some(Cancellation::Pending), ["Está anotado", "It is noted"]),
        ("entregando", 3, Waits::Until(at(700)), refused, ["llegó tarde", "came too late"]),
        ("finalizado", 4, Waits::Closed(Closing::Finished), None, ["en 1 d 1 h", "in 1 d 1 h"]),
        ("rechazado", 1, Waits::Closed(Closing::Refused), None, ["no puede atender", "cannot take this order"]),
        ("en cocina", 2, Waits::Untold, None, ["<h1>En cocina</h1>", "<h1>En cocina</h1>"]),
    ] {
        let view = view(estado, step, waits);
        for (lang, words) in Lang::ALL.into_iter().zip(words) {
            let html = page(&view, &[entry(step, estado, None, MailStatus::Sent)], lang, cancellation).await;
            let plain = html.replace('\u{a0}', " ");
            assert!(plain.contains(words), "{words}: {html}");
        }
    }
}

#[tokio::test]
async fn an_end_says_who_wanted_it_and_whether_that_was_confirmed() {
    let order = view("cancelado", 2, Waits::Closed(Closing::Cancelled));
    for (by, mail, words) in [
        (
            "customer",
            MailStatus::Sent,
            "You cancelled it. Nothing more will be prepared or sent. We confirmed it by mail.",
        ),
        ("shop", MailStatus::Pending, "The shop cancelled it. Nothing more will be prepared or sent. We will confirm"),
        ("shop", MailStatus::Dead, "The shop cancelled it. Nothing more will be prepared or sent.</p>"),
    ] {
        let history = [entry(1, "recibido", None, MailStatus::Dropped), entry(2, "cancelado", Some(by), mail)];
        let html = page(&order, &history, Lang::En, None).await;
        assert!(html.contains(words), "{words}: {html}");
        assert!(html.contains("not sent"), "{html}");
    }
}
