//! The products by what they cost.

use std::ops::Range;

use crate::domain::{Price, Product};

/// Which parts of what is for sale cost at most a step: a half, three quarters, nine tenths.
const PARTS: [(usize, usize); 3] = [(1, 2), (3, 4), (9, 10)];

/// Places by price, the cheapest first, and the prices that divide them.
#[derive(Debug)]
pub(super) struct Prices {
    ascending: Vec<u32>,
    /// What each of them costs, in the same order.
    amounts: Vec<u128>,
    steps: Vec<Price>,
}

impl Prices {
    pub(super) fn new(products: &[Product]) -> Self {
        let mut ascending: Vec<u32> = (0..products.len() as u32).collect();
        ascending.sort_by_cached_key(|place| (products[*place as usize].price.amount(), *place));
        let amounts: Vec<u128> = ascending.iter().map(|place| products[*place as usize].price.amount()).collect();
        let steps = steps(&amounts);
        Self { ascending, amounts, steps }
    }

    pub(super) fn ascending(&self) -> &[u32] {
        &self.ascending
    }

    /// The dearest first, equals by place.
    pub(super) fn descending(&self) -> impl Iterator<Item = &u32> {
        let mut rest = self.ascending.as_slice();
        self.amounts.chunk_by(|one, other| one == other).rev().flat_map(move |equal| {
            let (cheaper, equal) = rest.split_at(rest.len() - equal.len());
            rest = cheaper;
            equal
        })
    }

    pub(super) fn has_free(&self) -> bool {
        self.amounts.first() == Some(&0)
    }

    pub(super) fn steps(&self) -> &[Price] {
        &self.steps
    }

    /// Which of the ascending ones cost more than `over` and at most `up_to`.
    pub(super) fn range(&self, over: Option<&Price>, up_to: Option<&Price>) -> Range<usize> {
        let not_over = |price: &Price| {
            let most = price.amount();
            self.amounts.partition_point(|amount| *amount <= most)
        };
        let end = up_to.map_or(self.amounts.len(), not_over);
        over.map_or(0, not_over).min(end)..end
    }
}

fn steps(ascending: &[u128]) -> Vec<Price> {
    let sold = &ascending[ascending.partition_point(|amount| *amount == 0)..];
    let mut steps: Vec<(u128, Price)> = Vec::new();
    for (numerator, denominator) in PARTS {
        let Some(amount) = sold.get((sold.len() * numerator / denominator).min(sold.len().saturating_sub(1))) else {
            break;
        };
        let Some((round, price)) = round_up(*amount) else { break };
        let is_next = steps.last().is_none_or(|(last, _)| *last < round);
        if is_next && sold.last().is_some_and(|dearest| *dearest > round) {
            steps.push((round, price));
        }
    }
    steps.into_iter().map(|(_, price)| price).collect()
}

/// The next 1, 2 or 5 with noughts behind it, or with two decimals at most.
fn round_up(amount: u128) -> Option<(u128, Price)> {
    let noughts = (0..18).map(|noughts| format!("1{}", "0".repeat(noughts)));
    let units = ["0.01", "0.1"].into_iter().map(str::to_owned).chain(noughts);
    let round = units.flat_map(|unit| ["1", "2", "5"].map(|digit| unit.replace('1', digit)));
    round
        .filter_map(|text| text.parse::<Price>().ok())
        .map(|price| (price.amount(), price))
        .find(|(round, _)| *round >= amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(texts: &[&str]) -> Prices {
        let products: Vec<_> = texts.iter().map(|price| Product::new("1", "x", price).unwrap()).collect();
        Prices::new(&products)
    }

    #[test]
    fn a_range_is_open_below_and_closed_above() {
        let prices = prices(&["5", "0", "10.00", "5.01", "10", "0.0"]);
        assert_eq!(prices.ascending(), [1, 5, 0, 3, 2, 4]);
        assert_eq!(prices.descending().copied().collect::<Vec<_>>(), [2, 4, 3, 0, 1, 5]);
        let of = |over: &str, up_to: &str| {
            let price = |text: &str| (!text.is_empty()).then(|| text.parse::<Price>().unwrap());
            prices.ascending()[prices.range(price(over).as_ref(), price(up_to).as_ref())].to_vec()
        };
        assert_eq!(of("", ""), [1, 5, 0, 3, 2, 4]);
        assert_eq!(of("", "0"), [1, 5]);
        assert_eq!(of("", "5"), [1, 5, 0]);
        assert_eq!(of("5", "10"), [3, 2, 4]);
        assert_eq!(of("5.0", "5.01"), [3]);
        assert_eq!((of("10", ""), of("7", "6"), of("9", "0")), (vec![], vec![], vec![]));
    }

    #[test]
    fn steps_are_round_and_leave_something_on_both_sides() {
        let steps = |texts: &[&str]| prices(texts).steps().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(steps(&["0", "2.09", "4.79", "4.99", "7.49", "14.99", "18.99", "421.99"]), ["10", "20"]);
        assert_eq!(steps(&["0.05", "0.07", "0.3", "0.35", "900"]), ["0.5"]);
        assert_eq!(steps(&["1200", "15000", "19999", "180000", "99999999999999999999"]), ["20000", "200000"]);
        assert_eq!(steps(&["5", "5", "5"]), [""; 0]);
        assert_eq!(steps(&["0"]), [""; 0]);
    }
}
