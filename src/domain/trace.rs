use std::{fmt, str::FromStr};

use super::Invalid;

/// A W3C trace context (`traceparent`, version 00), carried from the request to every record of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
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
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace_id), u64::from_be_bytes(self.span_id));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const SHAPE: Invalid = Invalid::because("traceparent: must be 00-<32 hex>-<16 hex>-<2 hex>");
        let hex = |part: &str, length: usize| {
            let digits = part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            digits.then(|| u128::from_str_radix(part, 16).ok()).flatten().ok_or(SHAPE)
        };
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(SHAPE);
        let (version, trace, span, flags) = (hex(next()?, 2)?, hex(next()?, 32)?, hex(next()?, 16)?, hex(next()?, 2)?);
        if version != 0 || trace == 0 || span == 0 || parts.next().is_some() {
            return Err(SHAPE);
        }
        Ok(Self { trace_id: trace.to_be_bytes(), span_id: (span as u64).to_be_bytes(), sampled: flags & 1 == 1 })
    }
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
