//! Headers as one blob: name and value in turn, each after its length in LEB128.

use crate::domain::wire::{Headers, read_header};

/// Appends the encoding of `headers` to `out`.
pub(super) fn encode(headers: &Headers, out: &mut Vec<u8>) {
    for (name, value) in headers {
        put(name.as_bytes(), out);
        put(value, out);
    }
}

/// Reads what [`encode`] wrote; `None` when it was something else.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Headers> {
    let mut headers = Headers::new();
    while !bytes.is_empty() {
        let name = std::str::from_utf8(take(&mut bytes)?).ok()?;
        headers.push(read_header(name, take(&mut bytes)?));
    }
    Some(headers)
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut length = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let (taken, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            return Some(taken);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(headers in prop::collection::vec((".{0,9}", prop::collection::vec(any::<u8>(), 0..300)), 0..5)) {
            let headers = headers.iter().map(|(name, value)| read_header(name, value)).collect();
            let mut bytes = Vec::new();
            encode(&headers, &mut bytes);
            prop_assert_eq!(decode(&bytes), Some(headers));
        }

        #[test]
        fn damage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn refuses_what_was_cut_off() {
        let mut bytes = Vec::new();
        encode(&vec![("traceparent".into(), vec![b'x'; 200].into())], &mut bytes);
        for cut in 1..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "{cut} of {}", bytes.len());
        }
        assert_eq!(decode(&[0xff; 12]), None, "a length without end");
    }
}
