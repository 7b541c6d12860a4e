//! What a page of the shop was asked for, and the links that ask for something else.

use axum::http::Uri;

use crate::{
    catalog::{Order, Search},
    domain::Price,
    web::query_fields,
};

/// Of what is searched for, in characters.
const QUERY_LENGTH_MAX: usize = 200;
/// The orders of the links, with the names that they have in an address.
pub(super) const ORDERS: [(Order, &str); 4] =
    [(Order::Best, ""), (Order::Cheapest, "cheapest"), (Order::Dearest, "dearest"), (Order::Name, "name")];

/// What an address asks for. What it says wrongly, it does not say: nobody types these fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) words: String,
    pub(super) over: Option<Price>,
    pub(super) up_to: Option<Price>,
    pub(super) order: Order,
    /// From 1.
    pub(super) page: usize,
    /// Which products the start page draws.
    pub(super) seed: Option<u64>,
}

impl Asked {
    pub(super) fn of(uri: &Uri) -> Self {
        let mut asked = Self { page: 1, ..Self::default() };
        for (name, value) in query_fields(uri) {
            match name.as_str() {
                "q" => asked.words = value.chars().take(QUERY_LENGTH_MAX).collect::<String>().trim().into(),
                "over" => asked.over = value.parse().ok().filter(|price: &Price| price.amount() > 0),
                "up_to" => asked.up_to = value.parse().ok(),
                "order" => {
                    asked.order =
                        ORDERS.iter().find(|(_, name)| *name == value).map_or(Order::Best, |(order, _)| *order);
                }
                "page" => asked.page = value.parse().unwrap_or(1).max(1),
                "seed" => asked.seed = value.parse().ok(),
                _ => {}
            }
        }
        asked
    }

    pub(super) fn search(&self) -> Search<'_> {
        Search { words: &self.words, over: self.over.clone(), up_to: self.up_to.clone(), order: self.order }
    }

    /// Whether nothing is looked for: then the shop shows some of everything.
    pub(super) fn is_start(&self) -> bool {
        self.words.is_empty() && !self.has_filter() && self.order == Order::Best && self.page == 1
    }

    pub(super) fn has_filter(&self) -> bool {
        self.over.is_some() || self.up_to.is_some()
    }

    pub(super) fn is_at(&self, over: Option<&Price>, up_to: Option<&Price>) -> bool {
        self.over.as_ref() == over && self.up_to.as_ref() == up_to
    }

    /// The same words at other prices.
    pub(super) fn at(&self, over: Option<&Price>, up_to: Option<&Price>) -> Self {
        Self { over: over.cloned(), up_to: up_to.cloned(), page: 1, ..self.clone() }
    }

    /// The same in another order.
    pub(super) fn in_order(&self, order: Order) -> Self {
        Self { order, page: 1, ..self.clone() }
    }

    /// Another page of the same.
    pub(super) fn on_page(&self, page: usize) -> Self {
        Self { page, ..self.clone() }
    }

    /// Other words, at any price.
    pub(super) fn named(&self, words: &str) -> Self {
        Self { words: words.to_owned(), over: None, up_to: None, page: 1, ..self.clone() }
    }

    /// What an address says to ask for this, in plain names and percent signs whatever was typed.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let order = ORDERS.iter().find(|(order, _)| *order == self.order).map_or("", |(_, name)| *name);
        let price = |price: &Option<Price>| price.as_ref().map(ToString::to_string).unwrap_or_default();
        let fields = [
            ("q", self.words.clone()),
            ("over", price(&self.over)),
            ("up_to", price(&self.up_to)),
            ("order", order.to_owned()),
            ("page", if self.page > 1 { self.page.to_string() } else { String::new() }),
            ("seed", self.seed.map(|seed| seed.to_string()).unwrap_or_default()),
        ];
        fields.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// The address that asks for this, after other fields.
    pub(super) fn link(&self, path: &str, first: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(first).extend_pairs(self.fields());
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_asks_for_what_was_asked_and_nothing_else() {
        let link = |uri: &str| Asked::of(&uri.parse().unwrap()).link("/", &[]);
        for (uri, expected) in [
            ("/", "/"),
            ("/?q=&over=&page=1&x=y", "/"),
            ("/?q=portal+2&over=5&up_to=10&order=name&page=3", "/?q=portal+2&over=5&up_to=10&order=name&page=3"),
            ("/?q=%22%3E%0d%0aX:%20y&order=%0d%0a&over=-1&up_to=NaN&page=x&seed=-1", "/?q=%22%3E%0D%0AX%3A+y"),
            ("/?over=0&seed=7", "/?seed=7"),
        ] {
            assert_eq!(link(uri), expected, "{uri}");
        }
        let long = format!("/?q={}", "%C3%B1".repeat(300));
        assert_eq!(Asked::of(&long.parse().unwrap()).words, "ñ".repeat(200));
        let asked = Asked::of(&"/?q=a&up_to=5&page=2&order=cheapest".parse().unwrap());
        assert_eq!(asked.at(None, None).link("/", &[]), "/?q=a&order=cheapest");
        assert_eq!(asked.named("b").link("/", &[("product", "1/../&")]), "/?product=1%2F..%2F%26&q=b&order=cheapest");
    }
}
