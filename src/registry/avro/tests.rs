use proptest::prelude::*;

use super::*;

const ORDER: &str = r#"{ "type": "record", "name": "Order", "namespace": "shop", "fields": [
    { "name": "orderid", "type": "long" },
    { "name": "price", "type": { "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 } },
    { "name": "placed_at", "type": { "type": "long", "logicalType": "timestamp-millis" } },
    { "name": "lang", "type": ["null", { "type": "enum", "name": "Lang", "symbols": ["es", "en"] }] },
    { "name": "other", "type": ["null", "Lang", { "type": "map", "values": { "type": "array", "items": "double" } }] },
    { "name": "gift", "type": "boolean" },
    { "name": "name", "type": "string" } ] }"#;

/// Number 5, 7.99, at second 1, "en", {"a": [0.5]}, true, "Faro".
const BYTES: &[u8] = b"\x0a\x04\x03\x1f\xd0\x0f\x02\x02\x04\x02\x02a\x02\0\0\0\0\0\0\xe0\x3f\0\0\x01\x08Faro";

fn read(schema: &str, bytes: &[u8]) -> Result<Json, Words> {
    Avro::parse(schema)?.json(bytes).map(|json| serde_json::from_slice(&json).unwrap())
}

#[test]
fn a_value_is_read_by_its_schema_with_the_names_of_its_fields() {
    let expected = serde_json::json!({
        "orderid": 5, "price": "7.99", "placed_at": "1970-01-01T00:00:01.000Z", "lang": "en", "other": { "a": [0.5] },
        "gift": true, "name": "Faro",
    });
    assert_eq!(read(ORDER, BYTES), Ok(expected));
}

#[test]
fn decimals_keep_their_digits() {
    let of = |scale: u32, bytes: &[u8]| {
        let schema = format!(r#"{{ "type": "bytes", "logicalType": "decimal", "precision": 38, "scale": {scale} }}"#);
        read(&schema, &[&[bytes.len() as u8 * 2], bytes].concat()).map_err(Cow::into_owned)
    };
    let text = |text: &str| Ok(Json::from(text));
    assert_eq!(of(2, &[5]), text("0.05"));
    assert_eq!(of(0, &[0x7f, 0xff]), text("32767"));
    assert_eq!(of(3, &[0xff]), text("-0.001"));
    assert_eq!(of(1, &[0]), text("0.0"));
    assert_eq!(of(0, &[0x7f; 17]), Err("has a decimal of more than 38 digits".into()));
}

#[test]
fn what_ends_early_or_goes_on_is_refused_wherever_that_is() {
    let avro = Avro::parse(ORDER).unwrap();
    for end in 0..BYTES.len() {
        assert!(avro.json(&BYTES[..end]).is_err(), "{end}");
    }
    assert_eq!(avro.json(&[BYTES, b"\0"].concat()), Err("goes on after what that schema describes".into()));
    assert_eq!(avro.json(&vec![0; VALUE_MAX + 1]), Err("is larger than 1048576 bytes".into()));
}

#[test]
fn schemas_whose_values_could_be_larger_than_their_bytes_are_refused() {
    // three times as many with each record: 3^10
    let laughs = (0..10).fold(r#""int""#.to_owned(), |inner, n| {
        let before = if n == 0 { "int".to_owned() } else { format!("R{}", n - 1) };
        let fields = format!(r#"{{ "name": "a", "type": {inner} }}, {{ "name": "b", "type": "{before}" }}"#);
        let fields = format!(r#"{fields}, {{ "name": "c", "type": "{before}" }}"#);
        format!(r#"{{ "type": "record", "name": "R{n}", "fields": [{fields}] }}"#)
    });
    let refused = [
        ("", "cannot be read"),
        ("{}", "cannot be read"),
        (
            r#"{ "type": "record", "name": "R", "fields": [{ "name": "next", "type": ["null", "R"] }] }"#,
            "within itself",
        ),
        (&laughs, "too deeply"),
        (r#"{ "type": "array", "items": "null" }"#, "takes no bytes"),
        (r#"{ "type": "array", "items": { "type": "record", "name": "R", "fields": [] } }"#, "takes no bytes"),
        (r#"{ "type": "fixed", "name": "F", "size": 0 }"#, "fixed length"),
        (r#"{ "type": "fixed", "name": "F", "size": 4000000000 }"#, "fixed length"),
    ];
    for (schema, told) in refused {
        let words = Avro::parse(schema).err().unwrap_or_else(|| panic!("{schema} is taken"));
        assert!(words.contains(told), "{schema}: {words}");
    }
}

/// A few bytes that promise thousands of millions of items are no reason to make room for them.
#[test]
fn lists_that_promise_more_than_they_bring_are_refused() {
    let lists = r#"{ "type": "array", "items": { "type": "array", "items": { "type": "map", "values": "long" } } }"#;
    let huge = [0xfe, 0xff, 0xff, 0xff, 0x0f]; // 2^31 - 1
    for times in 1..4 {
        assert!(read(lists, &huge.repeat(times)).is_err());
    }
    assert!(read(r#""string""#, &huge).is_err() && read(r#""bytes""#, &huge).is_err());
}

proptest! {
    #[test]
    fn no_bytes_and_no_schema_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..ORDER.len()) {
        let avro = Avro::parse(ORDER).unwrap();
        if let Ok(json) = avro.json(&bytes) {
            prop_assert!(serde_json::from_slice::<Json>(&json).is_ok());
        }
        let mut changed = BYTES.to_vec();
        for (place, byte) in bytes.iter().enumerate().filter(|(place, _)| place % 9 == cut % 9) {
            if let Some(old) = changed.get_mut(place) {
                *old ^= byte;
            }
        }
        drop(avro.json(&changed));
        if let Some(text) = ORDER.get(..cut) {
            prop_assert!(Avro::parse(text).is_err());
        }
    }
}
