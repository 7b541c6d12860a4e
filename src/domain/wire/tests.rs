use std::{fs, path::Path};

use super::*;
use crate::domain::{HandleKey, Lang, TraceParent};

const RECORD_TIME: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let mut bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(bytes.pop(), Some(b'\n'), "{name} ends with a line feed that is not part of the record");
    bytes
}

fn order() -> Order {
    let id = OrderId::new(1).unwrap();
    Order {
        id,
        product: Product::new("3170", "King's Bounty: Armored Princess", "7.99").unwrap(),
        email: "ana@example.org".parse().unwrap(),
        lang: Some(Lang::Es),
        placed_at: Timestamp::from_millis(1_764_000_000_000),
        handle: Some(HandleKey::new([7; 16]).seal(id)),
        trace: Some(TraceParent::from_random([9; 24])),
    }
}

fn event() -> StateEvent {
    let order = Box::new(order());
    let at = Timestamp::from_millis(1_764_000_008_000);
    let next_at = Some(at + std::time::Duration::from_secs(8));
    StateEvent { order, estado: "preparando".into(), seq: Some(2), at, next_at }
}

/// What version 1 wrote must be read for ever, and is what we write today.
#[test]
fn version_1_is_written_and_read_to_the_byte() {
    let (order, event) = (order(), event());
    assert_eq!(String::from_utf8(encode_order(&order)), String::from_utf8(golden("compra_detalle/v1.json")));
    assert_eq!(String::from_utf8(encode_event(&event)), String::from_utf8(golden("compra_confirmada/v1.json")));
    let read = decode_order(&golden("compra_detalle/v1.json"), &order_headers(&order), RECORD_TIME);
    assert_eq!(read, Ok(order));
    let read = decode_event(&golden("compra_confirmada/v1.json"), &event_headers(&event), RECORD_TIME);
    assert_eq!(read, Ok(event));
}

/// Python's `json.dumps` puts spaces and escapes non-ASCII; there are no headers and none of our fields.
#[test]
fn records_of_the_old_services_are_read() {
    let read = decode_order(&golden("compra_detalle/old.json"), &vec![], RECORD_TIME).unwrap();
    assert_eq!(read, Order { lang: None, placed_at: RECORD_TIME, handle: None, trace: None, ..order() });
    let read = decode_event(&golden("compra_confirmada/old.json"), &vec![], RECORD_TIME).unwrap();
    assert_eq!((read.seq, read.at, read.next_at, &*read.estado), (None, RECORD_TIME, None, "preparando"));
    let read = decode_order(&golden("compra_detalle/old-non-ascii.json"), &vec![], RECORD_TIME).unwrap();
    assert_eq!(&*read.product.name, "Pokémon \"Año\" — 東方, -50%");
}

#[test]
fn unknown_fields_are_ignored() {
    let read = decode_order(&golden("compra_detalle/newer.json"), &vec![], RECORD_TIME).unwrap();
    assert_eq!((read.id.get(), read.lang), (1, None));
}

#[test]
fn poison_is_refused_with_a_reason() {
    for (value, reason) in [
        (&b""[..], "EOF"),
        (b"hola", "expected"),
        (b"{}", "missing field"),
        (b"\xff\xfe", "expected"),
        (br#"{"orderid":0,"gameid":"1","name":"n","price":"1","usermail":"a@b"}"#, "orderid"),
        (br#"{"orderid":-1,"gameid":"1","name":"n","price":"1","usermail":"a@b"}"#, "invalid value"),
        (br#"{"orderid":1,"gameid":1,"name":"n","price":"1","usermail":"a@b"}"#, "invalid type"),
        (br#"{"orderid":1,"gameid":"1","name":"n","price":"gratis","usermail":"a@b"}"#, "price"),
        (br#"{"orderid":1,"gameid":"1","name":"n","price":"1","usermail":"nadie"}"#, "e-mail"),
        (br#"{"orderid":1,"gameid":"1","name":"a\r\nb","price":"1","usermail":"a@b"}"#, "name"),
    ] {
        let error = decode_order(value, &vec![], RECORD_TIME).unwrap_err();
        assert!(error.0.contains(reason), "{value:?}: {error}");
    }
}

#[test]
fn a_reason_never_quotes_the_record() {
    let value = br#"{"orderid":"eva@example.org","gameid":"1","name":"n","price":"1","usermail":"eva@example.org"}"#;
    let error = decode_order(value, &vec![], RECORD_TIME).unwrap_err();
    assert!(error.0.contains("invalid type: string") && !error.0.contains("eva"), "{error}");
}

#[test]
fn a_dead_letter_keeps_the_record_and_counts_attempts() {
    let letter = DeadLetter {
        source: Source { topic: "compra_detalle".into(), partition: 2, offset: 77 },
        reason: "no price".into(),
        attempts: 1,
        at: RECORD_TIME,
        key: None,
        value: b"hola".to_vec(),
        headers: vec![("x".into(), vec![0xff])],
    };
    let headers = dead_letter_headers(&letter);
    assert_eq!(decode_dead_letter(None, b"hola", &headers, RECORD_TIME), Some(letter.clone()));
    assert_eq!(attempts(&redrive_headers(&letter)), 2);
    assert_eq!(decode_dead_letter(None, b"hola", &letter.headers, RECORD_TIME), None);
}
