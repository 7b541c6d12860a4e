//! Headers of records, and what fulfilment knows its own events by.

use std::{
    fmt::{self, Display},
    io::Write as _,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A record's headers: names and raw values in order, repeats allowed.
///
/// They are kept as they stand in the embedded log: name and value in turn, each after its length in LEB128. Memory of its own
/// for each of them would be more allocations than the rest of a record takes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<u8>);

/// A header's name and its raw value.
pub type Header<'a> = (&'a str, &'a [u8]);

impl Headers {
    /// From what [`as_bytes`](Self::as_bytes) gave; `None` when it is something else.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let mut rest = &*bytes;
        while !rest.is_empty() {
            take_header(&mut rest)?;
        }
        Some(Self(bytes))
    }

    /// All of them as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends one.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        put(name.as_bytes(), &mut self.0);
        put(value, &mut self.0);
    }

    /// Appends one whose value is what is displayed: no text of its own is made of that.
    pub(super) fn push_shown(&mut self, name: &str, value: &dyn Display) {
        put(name.as_bytes(), &mut self.0);
        let at = self.0.len();
        self.0.push(0); // the length, once it is known
        write!(self.0, "{value}").expect("memory takes what is written");
        match u8::try_from(self.0.len() - at - 1) {
            Ok(length) if length < 0x80 => self.0[at] = length,
            _ => {
                let value = self.0.split_off(at + 1);
                self.0.truncate(at);
                put(&value, &mut self.0);
            }
        }
    }

    /// A copy with room for so many bytes more.
    pub(super) fn with_room(&self, bytes: usize) -> Self {
        let mut copy = Vec::with_capacity(self.0.len() + bytes);
        copy.extend_from_slice(&self.0);
        Self(copy)
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Header<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| take_header(&mut rest).expect("only whole headers are put in"))
        })
    }

    /// How many there are; counts them.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the first one with that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The same, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, headers: I) {
        for (name, value) in headers {
            self.push(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut all = Self::default();
        all.extend(headers);
        all
    }
}

/// `[[name, [byte, …]], …]`: so they stand in the stores, with dead letters.
impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<(String, Vec<u8>)>::deserialize(deserializer)?.into_iter().collect())
    }
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

fn take_header<'a>(bytes: &mut &'a [u8]) -> Option<Header<'a>> {
    let name = std::str::from_utf8(take(bytes)?).ok()?;
    Some((name, take(bytes)?))
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

/// The header by which fulfilment knows its own events again.
pub const SEAL: &str = "encargo_seal";

/// What stands for the name of a header that is not UTF-8. The Kafka library gives neither its name nor its value.
pub const UNREADABLE: &str = "\u{fffd}";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(headers in prop::collection::vec((".{0,9}", prop::collection::vec(any::<u8>(), 0..300)), 0..5)) {
            let (mut pushed, mut shown) = (Headers::default(), Headers::default());
            for (name, value) in &headers {
                let text = String::from_utf8_lossy(value);
                pushed.push(name, text.as_bytes());
                shown.push_shown(name, &text);
            }
            prop_assert_eq!(shown, pushed);
            let packed = headers.iter().cloned().collect::<Headers>();
            prop_assert_eq!(packed.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect::<Vec<_>>(), headers);
            prop_assert_eq!(Headers::from_bytes(packed.as_bytes().to_vec()), Some(packed));
        }

        #[test]
        fn damage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Headers::from_bytes(bytes);
        }
    }

    #[test]
    fn refuses_what_was_cut_off() {
        let whole = Headers::from_iter([("traceparent", [b'x'; 200])]);
        let bytes = whole.as_bytes();
        for cut in 1..bytes.len() {
            assert_eq!(Headers::from_bytes(bytes[..cut].to_vec()), None, "{cut} of {}", bytes.len());
        }
        assert_eq!(Headers::from_bytes(vec![0xff; 12]), None, "a length without end");
    }
}
