//! What our records say as CloudEvents, and those of others that are whole events.

use super::*;
use crate::domain::{CommandOutcome, Invalid};

const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";
const TRACE: &str = "00-09090909090909090909090909090909-0909090909090909-01";

fn headers(name: &str) -> Headers {
    let headers: Vec<(String, String)> = serde_json::from_slice(&golden(&format!("headers/{name}.json"))).unwrap();
    headers.into_iter().collect()
}

fn command() -> Command {
    decode_command(&golden("encargo_commands/v1.json"), &Headers::default()).unwrap()
}

fn outcome() -> CommandOutcome {
    decode_outcome(&golden("encargo_outcomes/v1-copy.json")).unwrap()
}

fn of_type(media: &str) -> Headers {
    Headers::from_iter([("content-type", media)])
}

#[test]
fn records_have_the_headers_of_the_samples_and_so_many_bytes() {
    let sent = Timestamp::from_millis(1_764_000_009_000);
    for (name, written, before, now) in [
        ("order", order_headers(&order()), 180, 350),
        ("state", event_headers(&event()), 193, 363),
        ("forwarded", forwarded_headers(&event()), 190, 360),
        ("command", command_headers(&command(), sent), 118, 219),
        ("outcome", outcome_headers(&outcome()), 128, 234),
    ] {
        assert_eq!(written, headers(&format!("{name}-v2")), "{name}");
        let sizes = [headers(&format!("{name}-v1")), written].map(|headers| headers.as_bytes().len());
        assert_eq!(sizes, [before, now], "docs/contracts.md tells what {name} costs");
    }
}

#[test]
fn each_copy_of_a_command_has_an_outcome_of_its_own() {
    let of_copy = |copy| outcome_headers(&CommandOutcome { copy, ..outcome() });
    let id = |copy| of_copy(copy).text("ce_id").map(str::to_owned);
    assert_ne!(id(Some(CommandCopy { partition: 3, offset: 17 })), id(Some(CommandCopy { partition: 3, offset: 18 })));
    assert_eq!(id(None).as_deref(), Some("0b6e"), "in outcomes of before");
}

#[test]
fn headers_of_before_are_read() {
    let (order, event) = (order(), event());
    assert_eq!(decode_order(&golden("compra_detalle/v1.json"), &headers("order-v1"), RECORD_TIME), Ok(order));
    assert_eq!(decode_event(&golden("compra_confirmada/v1.json"), &headers("state-v1"), RECORD_TIME), Ok(event));
    assert_eq!(decode_command(&golden("encargo_commands/v1.json"), &headers("command-v1")), Ok(command()));
    let forwarded = ["forwarded-v1", "forwarded-v2", "state-v1", "state-v2"].map(|name| is_forwarded(&headers(name)));
    assert_eq!(forwarded, [true, true, false, false]);
}

#[test]
fn a_trace_is_read_under_either_name() {
    let read = |headers: &[(&str, &str)]| {
        let headers = headers.iter().copied().collect();
        decode_order(&golden("compra_detalle/v1.json"), &headers, RECORD_TIME).unwrap().trace
    };
    let other = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let trace = order().trace;
    assert_eq!(read(&[("traceparent", TRACE)]), trace);
    assert_eq!(read(&[("traceparent", other), ("ce_traceparent", TRACE)]), trace, "that of the event");
    assert_eq!(read(&[("traceparent", TRACE), ("ce_traceparent", "none")]), trace);
    assert_eq!(read(&[]), None);
}

#[test]
fn a_whole_event_is_read_as_its_data() {
    let structured = |name: &str| golden(&format!("structured/{name}.json"));
    for media in [STRUCTURED, "application/cloudevents+json", "Application/CloudEvents+JSON ;charset=utf-8"] {
        for name in ["order", "order-base64"] {
            assert_eq!(decode_order(&structured(name), &of_type(media), RECORD_TIME), Ok(order()), "{name} {media}");
        }
    }
    let plain = decode_event(&golden("compra_confirmada/v2.json"), &headers("state-v1"), RECORD_TIME);
    assert_eq!(decode_event(&structured("state"), &of_type(STRUCTURED), RECORD_TIME), plain);
    let named = Headers::from_iter([("Content-Type", STRUCTURED)]);
    assert_eq!(decode_command(&structured("command"), &named), Ok(command()));
    assert!(
        decode_order(&structured("order"), &Headers::default(), RECORD_TIME).is_err(),
        "nobody says that it is one"
    );
    assert_eq!(
        decode_order(&golden("compra_detalle/v1.json"), &of_type("text/plain"), RECORD_TIME).map(|order| order.id),
        Ok(order().id),
        "what is no event is read as it ever was"
    );
}

#[test]
fn what_is_no_whole_event_is_refused_with_where_and_why() {
    let good = String::from_utf8(golden("structured/order.json")).unwrap();
    let base64 = String::from_utf8(golden("structured/order-base64.json")).unwrap();
    let read = |text: &str| decode_order(text.as_bytes(), &of_type(STRUCTURED), RECORD_TIME).unwrap_err();
    for (text, fault, pointer) in [
        ("hola".to_owned(), Fault::Syntax, None),
        ("[]".into(), Fault::Type, Some("")),
        (good.replace("specversion", "version"), Fault::Missing, Some("/specversion")),
        (good.replace("\"1.0\"", "\"0.3\""), Fault::Rule, Some("/specversion")),
        (good.replace("\"1.0\"", "1.0"), Fault::Type, Some("/specversion")),
        (good.replace("\"s-1\"", "\"\""), Fault::Rule, Some("/id")),
        (good.replace("\"id\"", "\"ident\""), Fault::Missing, Some("/id")),
        (good.replace("\"source\"", "\"from\""), Fault::Missing, Some("/source")),
        (good.replace("\"type\"", "\"kind\""), Fault::Missing, Some("/type")),
        (good.replace("application/json", "application/xml"), Fault::Rule, Some("/datacontenttype")),
        (good.replace("\"data\"", "\"content\""), Fault::Missing, Some("/data")),
        (good.replace("\"data\"", "\"data_base64\":\"e30=\",\"data\""), Fault::Rule, Some("/data_base64")),
        (good.replace("gameid", "appid"), Fault::Missing, Some("/data/gameid")),
        (good.replace("\"7.99\"", "7.99"), Fault::Type, Some("/data/price")),
        (good.replace("ana@example.org", "nobody"), Fault::Rule, Some("/data/usermail")),
        (base64.replace("\"data_base64\": \"", "\"data_base64\": \"!"), Fault::Rule, Some("/data_base64")),
        (base64.replace("\"data_base64\"", "\"data_base64\":\"e30=\",\"was\""), Fault::Missing, Some("/data_base64")),
    ] {
        let misfit = read(&text);
        assert_eq!((misfit.fault, misfit.pointer.as_deref()), (fault, pointer), "{text}: {misfit}");
        assert!(!misfit.reason.contains("ana@"), "{misfit}");
    }
    let words = read(&good.replace("specversion", "version")).reason;
    assert!(words.starts_with("a structured CloudEvent: ") && words.contains("specversion"), "{words}");
    let words = read(&base64.replace("\"data_base64\"", "\"data_base64\":\"e30=\",\"was\"")).reason;
    assert!(words.contains("\"/orderid\"") && words.contains("missing field `orderid`"), "{words}");
    for media in ["application/cloudevents+avro", "application/cloudevents-batch+json", "application/cloudevents"] {
        let misfit = decode_order(good.as_bytes(), &of_type(media), RECORD_TIME).unwrap_err();
        assert_eq!((misfit.fault, misfit.pointer.as_deref()), (Fault::Rule, None), "{media}");
        assert!(misfit.reason.contains("application/cloudevents+json alone is read"), "{misfit}");
    }
}

#[test]
fn a_producer_is_known_in_either_mode_and_in_a_flood() {
    let (value, shop) = (golden("structured/order.json"), "https://shop.example.org/orders");
    assert_eq!(producer(&value, &of_type(STRUCTURED)).as_deref(), Some(shop));
    assert_eq!(producer(&value, &headers("order-v2")).as_deref(), Some("/encargo/intake"));
    assert_eq!(producer(b"hola", &of_type(STRUCTURED)), None);
    let mut letter = DeadLetter {
        source: Source { topic: "compra_detalle".into(), partition: 2, offset: 77 },
        reason: String::new(),
        attempts: 0,
        at: RECORD_TIME,
        key: None,
        value,
        headers: of_type(STRUCTURED),
    };
    note_misfit(&mut letter, "order", &Invalid::of("price", "must be a number").into());
    assert_eq!(told(&first_of_run(letter).headers).producer, Some(shop));
}
