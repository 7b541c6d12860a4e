use std::time::Duration;

use wildmatch::WildMatch;

use crate::domain::Product;

/// How long an order stays in a step: the same for all products, but for those that an exception fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dwell {
    /// For products without an exception.
    pub usual: Duration,
    /// The first that fits a product counts.
    pub exceptions: Vec<Exception>,
}

/// A dwell of its own for some products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Which products.
    pub products: Pattern,
    /// How long their orders stay.
    pub dwell: Duration,
}

/// Some products: those whose key and name fit what is given of the two. `*` stands for any characters, also none, and
/// `?` for one. The name's letters fit in either case, the key's do not: it is an identifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    key: Option<WildMatch>,
    name: Option<WildMatch>,
}

/// That of durations in words: `1y` is 365 days and a quarter.
const YEAR_S: u64 = 31_557_600;

impl Eq for Pattern {} // characters compare, which the library does not say

impl Dwell {
    /// Longest dwell: whatever is longer is a slip, and times must be countable.
    pub const MAX: Duration = Duration::from_secs(10 * YEAR_S);

    /// The same for all products.
    pub const fn always(usual: Duration) -> Self {
        Self { usual, exceptions: Vec::new() }
    }

    /// That of a product.
    pub fn of(&self, product: &Product) -> Duration {
        let fitting = self.exceptions.iter().find(|exception| exception.products.fits(product));
        fitting.map_or(self.usual, |exception| exception.dwell)
    }
}

impl Pattern {
    /// Products by their key, by their name, or by both; `None` when nothing is given, which would be all of them.
    pub fn new(key: Option<&str>, name: Option<&str>) -> Option<Self> {
        let given = key.or(name).is_some();
        given.then(|| Self { key: key.map(WildMatch::new), name: name.map(WildMatch::new_case_insensitive) })
    }

    /// Whether a product is one of these.
    pub fn fits(&self, product: &Product) -> bool {
        self.key.as_ref().is_none_or(|key| key.matches(&product.id))
            && self.name.as_ref().is_none_or(|name| name.matches(&product.name))
    }

    /// What was given for the key.
    pub fn key(&self) -> Option<String> {
        self.key.as_ref().map(WildMatch::pattern)
    }

    /// What was given for the name.
    pub fn name(&self) -> Option<String> {
        self.name.as_ref().map(WildMatch::pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_keys_exactly_and_names_in_either_case() {
        let product = Product::new("44-A", "Pizza Ñandú (grande)", "9.00").unwrap();
        for (key, name, fits) in [
            (Some("44-A"), None, true),
            (Some("44-*"), None, true),
            (Some("44-a"), None, false),
            (Some("4"), None, false),
            (None, Some("*pizza*"), true),
            (None, Some("*ÑANDÚ*"), true),
            (None, Some("pizza ?andú*"), true),
            (None, Some("pizza"), false),
            (Some("44*"), Some("*grande?"), true),
            (Some("45*"), Some("*grande?"), false),
        ] {
            assert_eq!(Pattern::new(key, name).unwrap().fits(&product), fits, "{key:?} {name:?}");
        }
        assert_eq!(Pattern::new(None, None), None);
    }

    #[test]
    fn the_first_exception_that_fits_counts() {
        let exception = |key, seconds| {
            let products = Pattern::new(Some(key), None).unwrap();
            Exception { products, dwell: Duration::from_secs(seconds) }
        };
        let usual = Duration::from_secs(8);
        let dwell = Dwell { usual, exceptions: vec![exception("10", 1), exception("1*", 2)] };
        let of = |key| dwell.of(&Product::new(key, "x", "1").unwrap()).as_secs();
        assert_eq!(["10", "11", "2"].map(of), [1, 2, 8]);
    }
}
