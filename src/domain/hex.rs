//! Bytes as hexadecimal digits in lower case. An event has about a hundred of them, and `{:x}` of a `u128` and
//! `from_str_radix` take several times as long.

/// Writes bytes into `digits`, which has room for two digits each.
pub fn encode<'a>(bytes: &[u8], digits: &'a mut [u8]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    std::str::from_utf8(digits).expect("digits are ASCII")
}

/// Reads just as many bytes; `None` when the text is anything else.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips_as_the_standard_library_writes_it(bytes: [u8; 16]) {
            let mut digits = [0; 32];
            let text = encode(&bytes, &mut digits);
            prop_assert_eq!(text, format!("{:032x}", u128::from_be_bytes(bytes)));
            prop_assert_eq!(decode(text), Some(bytes));
        }
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "0", "000", "0G", "0A", "+0", " 0", "é"] {
            assert_eq!(decode::<1>(text), None, "{text:?}");
        }
    }
}
