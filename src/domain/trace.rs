use std::{fmt, str::FromStr};

use super::{Invalid, hex};

/// A W3C trace context (`traceparent`, version 00), carried from the request to every record of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) sampled: bool,
}

impl TraceParent {
    /// A new trace from 24 random bytes.
    pub fn from_random(random: [u8; 24]) -> Self {
        let (trace_id, span_id) = random.split_at(16);
        let mut new = Self {
            trace_id: trace_id.try_into().expect("the first 16 of 24 bytes"),
            span_id: span_id.try_into().expect("the last 8 of 24 bytes"),
            sampled: true,
        };
        // all-zero ids are invalid in the standard
        new.trace_id[0] |= 1;
        new.span_id[0] |= 1;
        new
    }

    /// The trace, as 32 hexadecimal digits: what logs and traces are joined by.
    pub fn trace_id(self) -> String {
        self.to_string()[3..35].to_owned()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"00-********************************-****************-**";
        hex::encode(&self.trace_id, &mut text[3..35]);
        hex::encode(&self.span_id, &mut text[36..52]);
        hex::encode(&[u8::from(self.sampled)], &mut text[53..]);
        f.write_str(std::str::from_utf8(&text).expect("digits and dashes are ASCII"))
    }
}

impl FromStr for TraceParent {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        read(text).ok_or(Invalid::of("traceparent", "must be 00-<32 hex>-<16 hex>-<2 hex>"))
    }
}

fn read(text: &str) -> Option<TraceParent> {
    let mut parts = text.split('-');
    let [version] = hex::decode(parts.next()?)?;
    let (trace_id, span_id) = (hex::decode(parts.next()?)?, hex::decode(parts.next()?)?);
    let [flags] = hex::decode(parts.next()?)?;
    let is_valid = version == 0 && trace_id != [0; 16] && span_id != [0; 8] && parts.next().is_none();
    is_valid.then_some(TraceParent { trace_id, span_id, sampled: flags & 1 == 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
        let new = TraceParent::from_random([0; 24]);
        assert_eq!(new.to_string().parse(), Ok(new));
    }

    #[test]
    fn refuses_other_texts() {
        for text in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0-0-0",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(text.parse::<TraceParent>().is_err(), "{text:?}");
        }
    }
}
