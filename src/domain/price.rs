use std::{fmt, str::FromStr};

use compact_str::CompactString;

use super::Invalid;

/// A price as text, kept exactly as it was written: `7.99`, `0.0`, `1249`.
///
/// The wire format carries prices as strings, and nothing here computes with them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Price(pub(super) CompactString);

impl Price {
    /// Longest accepted text, in bytes.
    pub const LENGTH_MAX: usize = 20;

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How much it is, to be compared: in units of 10⁻¹⁸, exactly.
    pub fn amount(&self) -> u128 {
        let (whole, fraction) = self.0.split_once('.').unwrap_or((&self.0, ""));
        format!("{whole}{fraction:0<18}").parse().expect("twenty bytes of digits at most, and eighteen noughts")
    }
}

impl FromStr for Price {
    type Err = Invalid;

    /// Digits with at most one point between them; no sign, no exponent, no currency.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if text.len() <= Self::LENGTH_MAX && digits(whole) && digits(fraction) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::of("price", "must be a decimal number like 7.99, without sign or currency"))
        }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_text() {
        for text in ["7.99", "0.0", "0", "1249.5", "19.990"] {
            assert_eq!(text.parse::<Price>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn amounts_are_exact() {
        let amount = |text: &str| text.parse::<Price>().unwrap().amount();
        assert_eq!(amount("7.99"), 7_990_000_000_000_000_000);
        assert_eq!((amount("0"), amount("0.0"), amount("007.10")), (0, 0, amount("7.1")));
        assert!(amount("0.000000000000000001") > 0 && amount("99999999999999999999") > amount("99999999999999999.9"));
    }

    #[test]
    fn refuses_what_is_not_a_plain_decimal() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "7,99", "7.9.9", "NaN", " 1", "€5", "٣"] {
            assert!(text.parse::<Price>().is_err(), "{text:?}");
        }
        assert!("1".repeat(21).parse::<Price>().is_err());
    }
}
