//! Records as the serialisers of schema registries write them: a zero byte, the number of the schema (four bytes, the highest
//! first), and then what is written by that schema. JSON never begins with a zero, so nobody need say which a record is.

use std::borrow::Cow;

/// What stands before the rest: the byte, and the number.
const HEADER: usize = 5;
const MAGIC: u8 = 0;

/// A record that bears the number of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The number, which one registry gives to one schema for ever.
    pub schema: u32,
    /// What is written by it.
    pub payload: &'a [u8],
}

impl<'a> Framed<'a> {
    /// The parts of such a record; `None` of any other.
    pub fn read(value: &'a [u8]) -> Option<Self> {
        let (header, payload) = value.split_first_chunk::<HEADER>()?;
        let [MAGIC, schema @ ..] = *header else { return None };
        Some(Self { schema: u32::from_be_bytes(schema), payload })
    }

    /// Whether it is a JSON object, going by its ends. In Avro these two bytes can stand there only where a negative or a
    /// broken number, or bytes of a fixed length, come first; no order begins so.
    pub fn is_json(&self) -> bool {
        self.payload.starts_with(b"{") && self.payload.trim_ascii_end().ends_with(b"}")
    }
}

/// The JSON of a record, framed or not; a framed one of another format stays as it is.
pub fn json(value: &[u8]) -> &[u8] {
    match Framed::read(value) {
        Some(framed) if framed.is_json() => framed.payload,
        _ => value,
    }
}

/// A record that bears the number of its schema.
pub fn frame(schema: u32, payload: &[u8]) -> Vec<u8> {
    [&[MAGIC], &schema.to_be_bytes()[..], payload].concat()
}

/// What is known of the schemas whose numbers stand before records.
pub trait Schemas: Send + Sync {
    /// Has a schema looked up, if it is not known yet.
    fn want(&self, schema: u32);

    /// A record's value as JSON, or in words why it will never be; `None` while its schema is not known. It never blocks.
    fn translate(&self, framed: Framed<'_>) -> Option<Result<Vec<u8>, Cow<'static, str>>>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_is_told_from_all_else() {
        let framed = Framed::read(b"\0\0\0\x01\x02{\"a\":1}\n").unwrap();
        assert_eq!((framed.schema, framed.payload, framed.is_json()), (258, &b"{\"a\":1}\n"[..], true));
        assert_eq!(frame(258, framed.payload), b"\0\0\0\x01\x02{\"a\":1}\n");
        assert_eq!(json(b"\0\xff\xff\xff\xff{}"), b"{}");
        assert_eq!(Framed::read(b"\0\xff\xff\xff\xff").unwrap().schema, u32::MAX);
        for other in [&b""[..], b"\0", b"\0\0\0\0", b"{}", b"\x01\0\0\0\x01{}", b" \0\0\0\x01{}"] {
            assert_eq!((Framed::read(other), json(other)), (None, other));
        }
        let avro = b"\0\0\0\0\x01\x22\x083170";
        assert!(!Framed::read(avro).unwrap().is_json() && json(avro) == avro);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(value in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(value.ends_with(json(&value)));
        }
    }
}
