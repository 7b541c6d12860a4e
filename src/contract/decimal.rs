//! Numbers of schemas, exactly: two that differ in their last digit are no less different.

use std::cmp::Ordering;

use serde_json::Value;

/// `mantissa · 10^exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    mantissa: i128,
    exponent: i32,
    nearly: f64,
}

impl Decimal {
    /// The number that a value is.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let number = value.as_number()?;
        let text = number.to_string();
        let (digits, power) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mantissa = format!("{whole}{fraction}").parse().ok()?;
        let exponent = power.parse::<i32>().ok()? - fraction.len() as i32;
        Some(Self { mantissa, exponent, nearly: number.as_f64()? })
    }

    /// Whether one is so many times the other, a whole number of times.
    pub(super) fn is_multiple_of(self, other: Self) -> bool {
        self.aligned(other).is_some_and(|[all, one]| one != 0 && all % one == 0)
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        // those whose digits lie too far apart differ in their size
        let exactly = self.aligned(other).map(|[one, other]| one.cmp(&other));
        exactly.unwrap_or_else(|| self.nearly.total_cmp(&other.nearly))
    }

    /// Both as multiples of one power of ten, if that can be written.
    fn aligned(self, other: Self) -> Option<[i128; 2]> {
        let least = self.exponent.min(other.exponent);
        let at = |number: Self| {
            let power = 10_i128.checked_pow(number.exponent.abs_diff(least))?;
            number.mantissa.checked_mul(power)
        };
        Some([at(self)?, at(other)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::of(&serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn numbers_are_compared_to_the_last_digit() {
        for (one, other, expected) in [
            ("18446744073709551615", "18446744073709551614", Ordering::Greater),
            ("9007199254740993", "9007199254740992", Ordering::Greater),
            ("-9223372036854775808", "-9223372036854775807", Ordering::Less),
            ("1", "1.0", Ordering::Equal),
            ("1e2", "100", Ordering::Equal),
            ("0.1", "1e-1", Ordering::Equal),
            ("1e300", "18446744073709551615", Ordering::Greater),
            ("5e-324", "0", Ordering::Greater),
            ("-1e300", "5e-324", Ordering::Less),
        ] {
            assert_eq!(number(one).compare(number(other)), expected, "{one} and {other}");
            assert_eq!(number(other).compare(number(one)), expected.reverse(), "{other} and {one}");
        }
    }

    #[test]
    fn multiples_are_those_of_decimals() {
        for (all, one, expected) in [
            ("0.1", "0.01", true),
            ("0.3", "0.1", true),
            ("0.01", "0.1", false),
            ("1", "0.3", false),
            ("1e300", "1e299", true),
            ("1e300", "1e-300", false), // it is, and nobody has such
            ("7", "0", false),
        ] {
            assert_eq!(number(all).is_multiple_of(number(one)), expected, "{all} of {one}");
        }
    }
}
