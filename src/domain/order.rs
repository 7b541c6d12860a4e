use std::{fmt, num::NonZeroU64, str::FromStr};

use compact_str::CompactString;

use super::{EmailAddress, Handle, Invalid, Lang, Price, Timestamp, TraceParent, has_length};

/// An order's number: a positive integer below 2^53, so that every JSON reader holds it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(NonZeroU64);

impl OrderId {
    /// The largest id, 2^53 − 1.
    pub const MAX: u64 = (1 << 53) - 1;

    /// An id from a number in 1..2^53.
    pub const fn new(id: u64) -> Result<Self, Invalid> {
        match NonZeroU64::new(id) {
            Some(nonzero) if id <= Self::MAX => Ok(Self(nonzero)),
            _ => Err(Invalid::of("orderid", "must be a whole number from 1 to 9007199254740991")),
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OrderId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // `parse` takes a leading plus, which no id ever had
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        Self::new(text.parse().ok().filter(|_| digits).unwrap_or(0))
    }
}

/// What is sold: one row of the catalogue, copied into the order so that a later catalogue changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Product {
    /// The shop's key of the product (`appid` in the catalogue, `gameid` on the wire).
    pub id: CompactString,
    /// The name, unchanged: quotes, leading signs and non-ASCII included.
    pub name: CompactString,
    /// The price as text.
    pub price: Price,
}

impl Product {
    /// Longest product key, in characters.
    pub const ID_LENGTH_MAX: usize = 64;
    /// Longest product name, in characters.
    pub const NAME_LENGTH_MAX: usize = 1_024;

    /// Checks key and name; both must be there, bounded, and free of control characters.
    pub fn new(id: &str, name: &str, price: &str) -> Result<Self, Invalid> {
        if !has_length(id, 1..=Self::ID_LENGTH_MAX) || id.contains(char::is_control) {
            return Err(Invalid::of("gameid", "must have 1 to 64 characters and no control characters"));
        }
        if !has_length(name, 1..=Self::NAME_LENGTH_MAX) || name.contains(is_harmful) {
            return Err(Invalid::of("name", "must have 1 to 1024 characters and no control characters"));
        }
        Ok(Self { id: id.into(), name: name.into(), price: price.parse()? })
    }

    /// Whether its key is this text, or its name contains it, ASCII letters in either case.
    pub fn matches(&self, text: &str) -> bool {
        *self.id == *text || self.name.to_ascii_lowercase().contains(&text.to_ascii_lowercase())
    }
}

/// Control characters, but for those that Windows-1252 quotes, dashes and trade marks become when they are taken for
/// Latin-1: catalogues in the field have such names, and these have no effect on a terminal, a header or a line.
fn is_harmful(c: char) -> bool {
    c.is_control() && !matches!(c, '\u{91}'..='\u{97}' | '\u{99}')
}

/// A placed order. Equal content means equal `id`, `product` and `email`: the five fields of the old wire format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its number, unique for ever.
    pub id: OrderId,
    /// What was ordered.
    pub product: Product,
    /// Whom to tell.
    pub email: EmailAddress,
    /// In which language; `None` leaves it to the configuration.
    pub lang: Option<Lang>,
    /// When it was placed; on records of the old services, the time of the record.
    pub placed_at: Timestamp,
    /// The unguessable handle for tracking; absent on records of the old services.
    pub handle: Option<Handle>,
    /// The trace in which it was placed.
    pub trace: Option<TraceParent>,
}

impl Order {
    /// A hash of the five fields of the old wire format: the same for an identical repeat, different (but for a
    /// chance of 2^-64) for another order under the same id. Stable across versions and machines (FNV-1a).
    pub fn fingerprint(&self) -> u64 {
        let id = self.id.get().to_le_bytes();
        let fields = [
            id.as_slice(),
            self.product.id.as_bytes(),
            self.product.name.as_bytes(),
            self.product.price.as_str().as_bytes(),
            self.email.as_str().as_bytes(),
        ];
        fingerprint(&fields)
    }
}

/// FNV-1a of some fields.
pub fn fingerprint(fields: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for field in fields {
        // 0xff never occurs in UTF-8, so it separates the fields
        for byte in field.iter().chain([&0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_positive_and_exact_in_json() {
        for text in ["1", "17", "9007199254740991", "007"] {
            assert!(text.parse::<OrderId>().is_ok(), "{text:?}");
        }
        for text in ["", "0", "-1", "+1", "1.0", " 1", "9007199254740992", "99999999999999999999", "١"] {
            assert!(text.parse::<OrderId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_may_be_odd_but_not_harmful() {
        for name in ["Inception™\u{99}", " \"a, b\" ", "-1", "It\u{92}s"] {
            assert_eq!(*Product::new("1", name, "1").unwrap().name, *name);
        }
        // line ends, the escape, and the C1 controls that begin a terminal's sequences or end a line
        for c in ['\0', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{90}', '\u{9b}', '\u{9d}'] {
            assert!(Product::new("1", &format!("a{c}b"), "1").is_err(), "{c:?}");
        }
    }

    #[test]
    fn the_fingerprint_sees_every_old_field_and_no_new_one() {
        let order = Order {
            id: OrderId::new(1).unwrap(),
            product: Product::new("3170", "King's Bounty", "7.99").unwrap(),
            email: "ana@example.org".parse().unwrap(),
            lang: None,
            placed_at: Timestamp::default(),
            handle: None,
            trace: None,
        };
        let same = Order { lang: Some(Lang::En), placed_at: Timestamp::from_millis(5), ..order.clone() };
        assert_eq!(order.fingerprint(), same.fingerprint());
        let others = [
            Order { id: OrderId::new(2).unwrap(), ..order.clone() },
            Order { email: "eva@example.org".parse().unwrap(), ..order.clone() },
            Order { product: Product::new("317", "0King's Bounty", "7.99").unwrap(), ..order.clone() },
            Order { product: Product::new("3170", "King's Bounty", "8.99").unwrap(), ..order.clone() },
        ];
        for other in others {
            assert_ne!(order.fingerprint(), other.fingerprint(), "{other:?}");
        }
    }
}
