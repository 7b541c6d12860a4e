mod cloudevents;

use std::{fs, path::Path};

use super::*;
use crate::domain::{
    Cause, Closing, Command, CommandCopy, DeadLetter, Exits, Fault, HandleKey, Lang, Source, StateEvent, TraceParent,
    Waits, command::Action, flow::Party,
};

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
    let at = Timestamp::from_millis(1_764_000_008_000);
    let next_at = Some(at + std::time::Duration::from_secs(8));
    StateEvent::of_version_1(order(), 2, "preparando", at, next_at)
}

/// What version 1 wrote must be read for ever; of orders it is what we write today.
#[test]
fn version_1_is_read() {
    let (order, event) = (order(), event());
    assert_eq!(String::from_utf8(encode_order(&order)), String::from_utf8(golden("compra_detalle/v1.json")));
    let read = decode_order(&golden("compra_detalle/v1.json"), &order_headers(&order), RECORD_TIME);
    assert_eq!(read, Ok(order));
    let read = decode_event(&golden("compra_confirmada/v1.json"), &event_headers(&event), RECORD_TIME);
    assert_eq!(read, Ok(event.clone()));
    let last =
        br#"{"orderid":1,"gameid":"1","name":"n","price":"1","usermail":"a@b.example","estado":"listo","seq":3}"#;
    let read = decode_event(last, &Headers::default(), RECORD_TIME).unwrap();
    assert_eq!((read.step, read.closes(), read.flow), (3, Some(Closing::Finished), None), "nothing was due any more");
}

#[test]
fn version_2_is_written_and_read_to_the_byte() {
    let exits = Exits { cancel: Some(Party::Customer), ..Exits::default() };
    let waiting = StateEvent { flow: Some("default@1".into()), next: Some("entregando".into()), exits, ..event() };
    let cancelled = StateEvent {
        estado: "cancelado".into(),
        seq: 4,
        step: 3,
        waits: Waits::Closed(Closing::Cancelled),
        cause: Cause::Command { id: "0b6e".parse().unwrap(), by: "customer".into() },
        reason: Some("demasiado tarde".into()),
        flow: Some("default@1".into()),
        mail: None,
        address: Some("eva@example.org".parse().unwrap()),
        commands: [7, 0xb6e].into(),
        ..event()
    };
    for (name, event) in [("v2", waiting), ("v2-cancelled", cancelled)] {
        let file = golden(&format!("compra_confirmada/{name}.json"));
        assert_eq!(String::from_utf8(encode_event(&event)), String::from_utf8(file.clone()));
        assert_eq!(decode_event(&file, &event_headers(&event), RECORD_TIME), Ok(event));
    }
}

#[test]
fn commands_are_written_and_read_to_the_byte() {
    let command = Command {
        id: "0b6e".parse().unwrap(),
        order: OrderId::new(1).unwrap(),
        by: "shop".into(),
        party: Party::Operator,
        action: Action::Delay(Timestamp::from_millis(1_764_000_600_000)),
        reason: Some("sin repartidor".into()),
    };
    let file = golden("encargo_commands/v1.json");
    assert_eq!(String::from_utf8(encode_command(&command)), String::from_utf8(file.clone()));
    assert_eq!(decode_command(&file, &Headers::default()), Ok(command));
    for (name, copy) in [("v1", None), ("v1-copy", Some(CommandCopy { partition: 3, offset: 17 }))] {
        let outcome = golden(&format!("encargo_outcomes/{name}.json"));
        let read = decode_outcome(&outcome).unwrap();
        assert_eq!(read.copy, copy);
        assert_eq!(String::from_utf8(encode_outcome(&read)), String::from_utf8(outcome));
    }
}

/// Version 1 knew what a field meant, whatever came after it: it goes on with what version 2 writes.
#[test]
fn version_2_only_adds_to_version_1() {
    let json = |name: &str| -> serde_json::Map<_, _> { serde_json::from_slice(&golden(name)).unwrap() };
    let v2 = json("compra_confirmada/v2.json");
    for (field, value) in json("compra_confirmada/v1.json") {
        assert_eq!(v2.get(&field), Some(&value), "{field}");
    }
}

/// Python's `json.dumps` puts spaces and escapes non-ASCII; there are no headers and none of our fields.
#[test]
fn records_of_the_old_services_are_read() {
    let read = decode_order(&golden("compra_detalle/old.json"), &Headers::default(), RECORD_TIME).unwrap();
    assert_eq!(read, Order { lang: None, placed_at: RECORD_TIME, handle: None, trace: None, ..order() });
    let read = decode_event(&golden("compra_confirmada/old.json"), &Headers::default(), RECORD_TIME).unwrap();
    assert_eq!((read.seq, read.at, read.waits, &*read.estado), (2, RECORD_TIME, Waits::Untold, "preparando"));
    assert_eq!((read.step, read.cause), (2, Cause::Timer), "it is not over, only untold");
    let value = br#"{"orderid":1,"gameid":"1","name":"n","price":"1","usermail":"a@b.example","estado":"STATE"}"#;
    let state = |state: &str| String::from_utf8_lossy(value).replace("STATE", state);
    let last = decode_event(state("finalizado").as_bytes(), &Headers::default(), RECORD_TIME).unwrap();
    assert_eq!((last.seq, last.closes()), (4, Some(Closing::Finished)));
    assert!(decode_event(state("perdido").as_bytes(), &Headers::default(), RECORD_TIME).is_err());
    let read = decode_order(&golden("compra_detalle/old-non-ascii.json"), &Headers::default(), RECORD_TIME).unwrap();
    assert_eq!(&*read.product.name, "Pokémon \"Año\" — 東方, -50%");
}

#[test]
fn unknown_fields_are_ignored() {
    let read = decode_order(&golden("compra_detalle/newer.json"), &Headers::default(), RECORD_TIME).unwrap();
    assert_eq!((read.id.get(), read.lang), (1, None));
}

#[test]
fn an_event_of_a_newer_version_is_told_from_poison() {
    let sealed = Headers::from_iter([(SEAL, b"x")]);
    let of_version = |version: u32| {
        let text = String::from_utf8(encode_event(&event())).unwrap();
        text.replacen('{', &format!("{{\"version\":{version},"), 1).into_bytes()
    };
    let read = |value: &[u8], headers: &Headers| decode_event(value, headers, RECORD_TIME);
    assert_eq!(read(&of_version(VERSION + 1), &sealed), Err(Unreadable::Newer(VERSION + 1)));
    assert_eq!(
        read(br#"{"version":9,"orderid":{"shop":1}}"#, &sealed),
        Err(Unreadable::Newer(9)),
        "whatever it is like"
    );
    assert!(read(&of_version(VERSION), &sealed).is_ok());
    assert!(read(&of_version(VERSION + 1), &Headers::default()).is_ok(), "strangers call fields what they like");
    assert!(matches!(read(br#"{"version":1,"orderid":{}}"#, &sealed), Err(Unreadable::Misfit(_))));
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
        let error = decode_order(value, &Headers::default(), RECORD_TIME).unwrap_err();
        assert!(error.to_string().contains(reason), "{value:?}: {error}");
    }
}

/// serde takes the fields in their order for a record, which no contract allows.
#[test]
fn a_list_of_fields_is_no_record() {
    let plain = Headers::default();
    let structured = Headers::from_iter([("content-type", "application/cloudevents+json")]);
    let listed = |name: &str| {
        let text = String::from_utf8(golden(name)).unwrap();
        // in the order in which they are written, which is that of the type
        let values = text.trim().trim_matches(['{', '}']).split(",\"").map(|field| field.split_once("\":").unwrap().1);
        format!("[{}]", values.collect::<Vec<_>>().join(","))
    };
    let order = listed("compra_detalle/v1.json");
    let base64 = r#"["1.0","1","s","t",null,null,null,"e30="]"#.to_owned();
    let enveloped = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data": {order}}}"#);
    let of_order = |value: &str, headers: &Headers| decode_order(value.as_bytes(), headers, RECORD_TIME).map(drop);
    let of_event = |value: &str, headers: &Headers| {
        decode_event(value.as_bytes(), headers, RECORD_TIME).map(drop).map_err(|unreadable| match unreadable {
            Unreadable::Misfit(misfit) => misfit,
            newer @ Unreadable::Newer(_) => panic!("{newer}"),
        })
    };
    let of_command = |value: &str, headers: &Headers| decode_command(value.as_bytes(), headers).map(drop);
    let sealed = Headers::from_iter([(SEAL, b"x")]);
    for (refused, place) in [
        (of_order(&order, &plain), ""),
        (of_order(" \n[1]", &plain), ""),
        (of_order(&enveloped, &structured), "/data"),
        (of_order(&base64, &structured), ""),
        (of_event(&listed("compra_confirmada/v1.json"), &plain), ""),
        (of_event(&format!("[{}]", VERSION + 1), &sealed), ""),
        (of_command(&listed("encargo_commands/v1.json"), &plain), ""),
        (decode_outcome(listed("encargo_outcomes/v1.json").as_bytes()).map(drop), ""),
        (of_order("7", &plain), ""),
        (of_order("\"x\"", &plain), ""),
        (of_order("null", &plain), ""),
    ] {
        let misfit = refused.unwrap_err();
        assert_eq!((misfit.fault, misfit.pointer.as_deref()), (Fault::Type, Some(place)), "{misfit}");
        assert!(misfit.reason.ends_with("must be a JSON object"), "{misfit}");
    }
    assert_eq!(of_order("[1", &plain).unwrap_err().fault, Fault::Syntax);
    assert_eq!(producer(br#"["shop"]"#, &structured), None);
}

/// Whoever writes by the schemas counts characters, as JSON Schema does.
#[test]
fn lengths_are_those_of_the_schemas_in_characters() {
    let golden = |name: &str| serde_json::from_slice::<serde_json::Value>(&golden(name)).unwrap();
    let mut held = 0;
    for (format, sample) in [
        ("order", golden("compra_detalle/v1.json")),
        ("state", golden("compra_confirmada/v2.json")),
        ("command", golden("encargo_commands/v1.json")),
    ] {
        let read = |record: &serde_json::Value| {
            let (value, plain) = (record.to_string().into_bytes(), Headers::default());
            match format {
                "order" => decode_order(&value, &plain, RECORD_TIME).map(drop).map_err(|misfit| misfit.pointer),
                "state" => decode_event(&value, &plain, RECORD_TIME).map(drop).map_err(|unreadable| match unreadable {
                    Unreadable::Misfit(misfit) => misfit.pointer,
                    Unreadable::Newer(version) => panic!("{version}"),
                }),
                _ => decode_command(&value, &plain).map(drop).map_err(|misfit| misfit.pointer),
            }
        };
        let schema = formats().into_iter().find(|known| known.name == format).unwrap().schema().to_value();
        for (field, rules) in schema["properties"].as_object().unwrap() {
            // prices are of ASCII alone; addresses have octets counted besides (RFC 5321), and say so
            let Some(most) = rules["maxLength"].as_u64().filter(|_| !["price", "usermail"].contains(&&**field)) else {
                continue;
            };
            held += 1;
            for letter in ["e", "ñ", "語", "🎮"] {
                let mut record = sample.clone();
                for (length, expected) in [(1, Ok(())), (most, Ok(())), (most + 1, Err(Some(format!("/{field}"))))] {
                    record[field] = letter.repeat(length as usize).into();
                    assert_eq!(read(&record), expected, "{format} {field}: {length} times {letter}");
                }
            }
        }
    }
    assert_eq!(held, 7, "gameid and name twice, estado, by, reason");
}

#[test]
fn a_reason_never_quotes_the_record() {
    let value = br#"{"orderid":"eva@example.org","gameid":"1","name":"n","price":"1","usermail":"eva@example.org"}"#;
    let error = decode_order(value, &Headers::default(), RECORD_TIME).unwrap_err();
    assert!(error.reason.contains("invalid type: string") && !error.reason.contains("eva"), "{error}");
}

#[test]
fn a_misfit_points_at_what_is_wrong() {
    let order = |text: &str| decode_order(text.as_bytes(), &Headers::default(), RECORD_TIME).unwrap_err();
    let good = r#"{"orderid":1,"gameid":"1","name":"n","price":"1","usermail":"a@example.org"}"#;
    for (text, fault, pointer) in [
        ("hola".to_owned(), Fault::Syntax, None),
        (good.replace('}', ""), Fault::Syntax, None),
        ("[]".into(), Fault::Type, Some("")),
        ("7".into(), Fault::Type, Some("")),
        (good.replace("gameid", "appid"), Fault::Missing, Some("/gameid")),
        (good.replace("\"price\":\"1\"", "\"price\":7.99"), Fault::Type, Some("/price")),
        (good.replace("\"name\"", "\"gameid\":\"2\",\"name\""), Fault::Rule, Some("/gameid")),
        (good.replace("\"1\",\"usermail", "\"7,99\",\"usermail"), Fault::Rule, Some("/price")),
        (good.replace("a@example.org", "nobody"), Fault::Rule, Some("/usermail")),
        (good.replace('}', r#","placed_at":"today"}"#), Fault::Rule, Some("/placed_at")),
    ] {
        let misfit = order(&text);
        assert_eq!((misfit.fault, misfit.pointer.as_deref()), (fault, pointer), "{text}: {misfit}");
    }
    let command = decode_command(
        br#"{"orderid":1,"command":" ","do":"cancel","party":"customer","by":"x"}"#,
        &Headers::default(),
    );
    assert_eq!(command.unwrap_err().pointer.as_deref(), Some("/command"));
}

#[test]
fn a_dead_letter_says_where_and_by_which_schema_and_earlier_ones_are_read() {
    let early = golden("compra_dead_letters/v1.json");
    for (name, headers) in [("v1.json", early), ("v2.json", golden("compra_dead_letters/v2.json"))] {
        let headers: std::collections::BTreeMap<String, String> = serde_json::from_slice(&headers).unwrap();
        let written: Headers = headers.iter().collect();
        let letter = decode_dead_letter(None, b"{", &written, RECORD_TIME).expect(name);
        assert_eq!((letter.source.offset, &*letter.reason), (17, "price: must be a number"), "{name}");
        let told = told(&letter.headers);
        match name {
            "v1.json" => assert_eq!((told.fault, told.pointer, told.schema, told.version), (None, None, None, None)),
            _ => {
                let expected = (Some(Fault::Rule), Some("/price"), Some("urn:encargo:order"), Some(2));
                assert_eq!((told.fault, told.pointer, told.schema, told.version), expected);
                let again: std::collections::BTreeMap<_, _> = dead_letter_headers(&letter)
                    .iter()
                    .map(|(name, value)| (name.to_owned(), String::from_utf8(value.to_vec()).unwrap()))
                    .collect();
                assert_eq!(again, headers, "what is written is the sample");
            }
        }
        assert_eq!(redrive_headers(&letter).len(), 1, "nothing but how often");
    }
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
        headers: Headers::from_iter([("x", [0xff])]),
    };
    let headers = dead_letter_headers(&letter);
    assert_eq!(decode_dead_letter(None, b"hola", &headers, RECORD_TIME), Some(letter.clone()));
    assert_eq!(attempts(&redrive_headers(&letter)), 2);
    assert_eq!(decode_dead_letter(None, b"hola", &letter.headers, RECORD_TIME), None);
}

#[test]
fn a_dead_letter_that_is_too_large_is_kept_cut_and_says_so() {
    let big = |length| vec![b'x'; length];
    for (key, value, headers) in [
        (0, 1_048_300, Headers::default()),
        (1_000_000, 0, Headers::default()),
        (0, 0, Headers::from_iter([("h", big(1_000_000))])),
        (300_000, 700_000, Headers::from_iter(vec![("n".repeat(40_000), big(9)); 3])),
        (0, 10, Headers::from_iter(vec![("", b""); 90_000])),
    ] {
        let mut letter = DeadLetter {
            source: Source { topic: "compra_detalle".into(), partition: 2, offset: 77 },
            reason: "no price".into(),
            attempts: 0,
            at: RECORD_TIME,
            key: (key > 0).then(|| big(key)),
            value: big(value),
            headers,
        };
        fit_dead_letter(&mut letter);
        let words = cut(&letter.headers).expect("it says so").to_owned();
        assert!(words.contains(&format!("of {value} bytes of the value")), "{words}");
        let headers = dead_letter_headers(&letter);
        let size = letter.key.as_ref().map_or(0, Vec::len) + letter.value.len();
        let size = size + headers.iter().map(|(name, value)| name.len() + value.len() + 16).sum::<usize>();
        assert!(size < 1_000_000, "{size}");
        let read = decode_dead_letter(letter.key.as_deref(), &letter.value, &headers, RECORD_TIME);
        assert_eq!(read, Some(letter.clone()));
        assert_eq!(cut(&redrive_headers(&letter)), None);
    }
}

#[test]
fn what_is_no_source_in_a_dead_letter_is_not_believed() {
    let letter = |topic: &str, partition: &str, offset: &str, reason: &str, attempts: &str| {
        let fields = [("topic", topic), ("partition", partition), ("offset", offset), ("reason", reason)];
        let fields = fields.into_iter().chain([("attempts", attempts)]);
        let headers = fields.map(|(name, value)| (format!("dead.{name}"), value)).collect();
        decode_dead_letter(None, b"", &headers, RECORD_TIME)
    };
    let long = "t".repeat(250);
    for (topic, partition, offset) in [
        ("", "0", "0"),
        ("a\0b", "0", "0"),
        (&long, "0", "0"),
        ("t", "2147483648", "0"),
        ("t", "0", "9223372036854775808"),
        ("t", "-1", "0"),
    ] {
        assert_eq!(letter(topic, partition, offset, "r", "0"), None, "{topic:?} {partition} {offset}");
    }
    let read = letter("t", "0", "0", &format!("a\0b{}", "é".repeat(5_000)), "4294967295").expect("a source");
    assert!(read.reason.len() <= 2_000 && !read.reason.contains('\0'));
    assert!(redrive_headers(&read).iter().any(|(_, value)| value == b"1000001"));
}

#[test]
fn a_state_with_the_number_zero_has_none() {
    let value =
        br#"{"orderid":1,"gameid":"1","name":"n","price":"1","usermail":"a@example.org","estado":"recibido","seq":0}"#;
    assert_eq!(decode_event(value, &Headers::default(), RECORD_TIME).unwrap().seq, 1);
}
