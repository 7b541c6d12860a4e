use std::{fmt, hash::Hasher as _, str::FromStr};

use siphasher::sip::SipHasher13;

use super::{Invalid, OrderId, hex};

/// A part of a trace, as whoever looks at the trace tells it from others.
pub type SpanId = [u8; 8];

/// A W3C trace context (`traceparent`, version 00), carried from the request to every record of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: SpanId,
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

    /// The same as it stands in a span.
    pub const fn trace(self) -> [u8; 16] {
        self.trace_id
    }

    /// The span that what follows belongs under; of an order that is in the log, that which put it there.
    pub const fn span(self) -> SpanId {
        self.span_id
    }

    /// Whether who began the trace wants it kept.
    pub const fn is_sampled(self) -> bool {
        self.sampled
    }

    /// The same trace, for what follows under another span.
    #[must_use]
    pub const fn under(self, span_id: SpanId) -> Self {
        Self { span_id, ..self }
    }

    /// Kept only if this part of all traces has it, from 0 to 1. Whoever decides by the same part decides alike.
    #[must_use]
    pub fn sampled(self, part: f64) -> Self {
        let [.., a, b, c, d] = self.trace_id; // random also where the rest of an id is a time or a number
        let sampled = f64::from(u32::from_be_bytes([a, b, c, d])) < part * (f64::from(u32::MAX) + 1.0);
        Self { sampled, ..self }
    }

    /// The span of the request by which the order came.
    pub fn request(self) -> SpanId {
        self.derived(0, 0)
    }

    /// The span of an order's event with that number. Every process finds it anew: no record has to bear it, and what happens
    /// twice after a crash is the same span. Several orders may have come under one span of somebody else's.
    pub fn event(self, order: OrderId, seq: u8) -> SpanId {
        if seq == 0 { self.span_id } else { self.derived(order.get(), seq.into()) }
    }

    /// The span in which that event became visible.
    pub fn projection(self, order: OrderId, seq: u8) -> SpanId {
        self.derived(order.get(), 0x100 | u16::from(seq))
    }

    fn derived(self, order: u64, what: u16) -> SpanId {
        let mut hasher = SipHasher13::new();
        hasher.write(&self.span_id);
        hasher.write_u64(order);
        hasher.write_u16(what);
        hasher.finish().max(1).to_be_bytes() // all-zero ids are invalid
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
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn round_trips() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
        let new = TraceParent::from_random([0; 24]);
        assert_eq!(new.to_string().parse(), Ok(new));
    }

    #[test]
    fn spans_of_an_order_are_told_apart_and_found_again() {
        let trace: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let [first, second] = [1, 2].map(|id| OrderId::new(id).unwrap());
        let spans = |trace: TraceParent| {
            let events = (1..=u8::MAX).flat_map(|seq| [(first, seq), (second, seq)]);
            let of_events = events.flat_map(|(order, seq)| [trace.event(order, seq), trace.projection(order, seq)]);
            [trace.span(), trace.request()].into_iter().chain(of_events).collect::<Vec<_>>()
        };
        let all = spans(trace);
        assert_eq!(all, spans(trace));
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert!(spans(trace.under([7; 8])).iter().all(|span| !all.contains(span)), "of another request in the trace");
        assert_eq!(trace.event(first, 0), trace.span(), "what is no event's follows the order itself");
    }

    #[test]
    fn a_part_of_all_traces_is_sampled() {
        let traces = |part| {
            let all = (0..=u8::MAX).map(|last| TraceParent::from_random([last.reverse_bits(); 24]).sampled(part));
            all.filter(|trace| trace.is_sampled()).count()
        };
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(traces), [0, 64, 128, 256]);
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
