use super::{EmailAddress, Handle, Lang, Order, OrderId, Price, Product, Timestamp, TraceParent};

/// An order in one allocation of little more than its texts: for whoever holds a million of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedOrder(Box<[u8]>);

// What follows the id, the time and these flags: handle, trace and texts, each text after its length in two bytes.
const SPANISH: u8 = 1;
const ENGLISH: u8 = 1 << 1;
const HANDLE: u8 = 1 << 2;
const TRACE: u8 = 1 << 3;
const SAMPLED: u8 = 1 << 4;

impl From<&Order> for PackedOrder {
    fn from(order: &Order) -> Self {
        let Order { id, product, email, lang, placed_at, handle, trace } = order;
        let mut flags = match lang {
            None => 0,
            Some(Lang::Es) => SPANISH,
            Some(Lang::En) => ENGLISH,
        };
        let mut parts: Vec<&[u8]> = Vec::with_capacity(3);
        if let Some(Handle(handle)) = handle {
            flags |= HANDLE;
            parts.push(handle);
        }
        if let Some(TraceParent { trace_id, span_id, sampled }) = trace {
            flags |= TRACE | if *sampled { SAMPLED } else { 0 };
            parts.extend([trace_id.as_slice(), span_id]);
        }
        let texts = [&product.id, &product.name, product.price.as_str(), email.as_str()];
        let length =
            parts.iter().map(|part| part.len()).sum::<usize>() + texts.map(|text| 2 + text.len()).iter().sum::<usize>();
        let mut bytes = Vec::with_capacity(8 + 8 + 1 + length);
        bytes.extend(id.get().to_le_bytes());
        bytes.extend(placed_at.as_millis().to_le_bytes());
        bytes.push(flags);
        bytes.extend(parts.into_iter().flatten());
        for text in texts {
            bytes.extend((text.len() as u16).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        Self(bytes.into())
    }
}

impl PackedOrder {
    /// Its number.
    pub fn id(&self) -> OrderId {
        Reader(&self.0).id()
    }

    /// The whole order.
    pub fn unpack(&self) -> Order {
        let mut reader = Reader(&self.0);
        let id = reader.id();
        let placed_at = Timestamp::from_millis(i64::from_le_bytes(reader.take()));
        let [flags] = reader.take();
        let has = |flag| flags & flag != 0;
        let lang = if has(SPANISH) { Some(Lang::Es) } else { has(ENGLISH).then_some(Lang::En) };
        let handle = has(HANDLE).then(|| Handle(reader.take()));
        let trace =
            has(TRACE).then(|| TraceParent { trace_id: reader.take(), span_id: reader.take(), sampled: has(SAMPLED) });
        let (product, name) = (reader.text().into(), reader.text().into());
        let product = Product { id: product, name, price: Price(reader.text().into()) };
        Order { id, product, email: EmailAddress(reader.text().into()), lang, placed_at, handle, trace }
    }
}

/// What of a packed order is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("packed above");
        self.0 = rest;
        *taken
    }

    fn id(&mut self) -> OrderId {
        OrderId::new(u64::from_le_bytes(self.take())).expect("an id when it was packed")
    }

    fn text(&mut self) -> &'a str {
        let length = u16::from_le_bytes(self.take());
        let (text, rest) = self.0.split_at(usize::from(length));
        self.0 = rest;
        str::from_utf8(text).expect("a text when it was packed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_unpacked_as_it_was() {
        let longest = "🎮".repeat(Product::NAME_LENGTH_MAX);
        let products = [("1010", "Counter-Strike", "7.19"), ("x", &longest, "12345678901234567.89")];
        let traces = [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-1bf92f3577b34da6a3ce929d0e0e4736-10f067aa0ba902b7-00",
        ];
        let traces: Vec<TraceParent> = traces.iter().map(|trace| trace.parse().unwrap()).collect();
        for (id, name, price) in products {
            for lang in [None, Some(Lang::Es), Some(Lang::En)] {
                for (number, trace) in [(1, None), (77, Some(traces[0])), (OrderId::MAX, Some(traces[1]))] {
                    let order = Order {
                        id: OrderId::new(number).unwrap(),
                        product: Product::new(id, name, price).unwrap(),
                        email: "ana+ñandú@correo.example".parse().unwrap(),
                        lang,
                        placed_at: Timestamp::from_millis(-1 + number as i64),
                        handle: trace.map(|_| Handle([0xa7; 16])),
                        trace,
                    };
                    let packed = PackedOrder::from(&order);
                    assert_eq!((packed.id(), packed.unpack()), (order.id, order));
                }
            }
        }
    }
}
