//! `GET /`: some of everything, or what is found by words, price and order.

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use minijinja::{Value, context};

use super::{
    Shop,
    asked::{Asked, ORDERS},
};
use crate::{
    catalog::{Found, Hit},
    domain::{Lang, Price, Product},
    pages::{Reader, format},
    words::word,
};

/// Products on a page of what was found, and on the start page.
const ON_PAGE: usize = 48;
const AT_RANDOM: usize = 18;

pub(super) fn show(shop: &Shop, request: &Request) -> Response {
    let reader = Reader::of(request.method(), request.uri(), request.headers());
    let mut asked = Asked::of(request.uri());
    let shared = context! { count => shop.service.catalog.len(), q => &asked.words };
    if asked.is_start() {
        // drawn once for those who come back from a product
        let seed = asked.seed.or_else(|| shop.service.random.u64().ok()).unwrap_or_default();
        asked.seed = Some(seed);
        let drawn = shop.service.catalog.random(seed, AT_RANDOM);
        let items: Vec<Value> =
            drawn.into_iter().map(|(_, product)| item(product, vec![&product.name], &asked)).collect();
        return shop.pages.render("search.html", &reader, context! { items, is_start => true, ..shared });
    }
    asked.seed = None;
    let found = shop.service.catalog.find(&asked.search());
    let pages = found.total.div_ceil(ON_PAGE).max(1);
    asked.page = asked.page.min(pages);
    let hits = found.page(asked.page, ON_PAGE);
    let turn = |page: usize| (1..=pages).contains(&page).then(|| asked.on_page(page).link("/", &[]));
    let first = (asked.page - 1) * ON_PAGE;
    let turning = (pages > 1).then(|| {
        let place = context! { from => first + 1, to => first + hits.len() };
        context! { before => turn(asked.page - 1), after => turn(asked.page + 1), ..place }
    });
    let filter = Filter { shop, lang: reader.lang, asked: &asked };
    let values = context! {
        items => hits.iter().map(|hit| found_item(hit, &asked)).collect::<Vec<_>>(),
        kept => kept(&asked),
        prices => filter.prices(),
        orders => orders(&asked, reader.lang),
        said => said(&found, &asked, reader.lang),
        turning,
        is_start => false,
        empty => (found.total == 0).then(|| filter.in_the_way(&found)),
        ..shared
    };
    shop.pages.render("search.html", &reader, values).into_response()
}

fn found_item(hit: &Hit, asked: &Asked) -> Value {
    item(hit.product, hit.parts(), asked)
}

fn item(product: &Product, parts: Vec<&str>, asked: &Asked) -> Value {
    let link = asked.link("/checkout", &[("product", &product.id)]);
    let parts: Vec<Value> = parts.into_iter().map(Value::from).collect();
    context! { id => &*product.id, price => product.price.as_str(), parts, link }
}

/// What a new search keeps of this one.
fn kept(asked: &Asked) -> Vec<Value> {
    let fields = asked.on_page(1).fields().into_iter().filter(|(name, _)| *name != "q");
    fields.map(|(name, value)| context! { name, value }).collect()
}

fn orders(asked: &Asked, lang: Lang) -> Vec<Value> {
    let links = ORDERS.iter().map(|(order, name)| {
        let key = if name.is_empty() { "sort_best".to_owned() } else { format!("sort_{name}") };
        let link = asked.in_order(*order).link("/", &[]);
        context! { words => word(lang, &key), link, is_chosen => *order == asked.order }
    });
    links.collect()
}

/// How many were found, in a sentence.
fn said(found: &Found, asked: &Asked, lang: Lang) -> String {
    let count = format::number(lang, found.total as u64);
    let key = match (found.total, asked.words.is_empty()) {
        (0, _) => return word(lang, "none_short").to_owned(),
        (1, true) => "found_one",
        (_, true) => "found_all",
        (1, false) => "found_one_for",
        (_, false) => "found_for",
    };
    let words = found.spelling.as_deref().unwrap_or(&asked.words);
    let said = word(lang, key).replace("{n}", &count).replace("{q}", words);
    match &found.spelling {
        None => said,
        // what was typed is not what is shown, and the reader has to know
        Some(_) => format!("{said}. {}.", word(lang, "none_title").replace("{q}", &asked.words)),
    }
}

/// The prices that are looked for, and the others that might be.
struct Filter<'a> {
    shop: &'a Shop,
    lang: Lang,
    asked: &'a Asked,
}

impl Filter<'_> {
    /// Any price, what costs nothing, and what is for sale in parts; besides whatever the address says, if it is none of these.
    fn prices(&self) -> Vec<Value> {
        let catalog = &self.shop.service.catalog;
        let free: Option<Price> = catalog.has_free().then(|| "0".parse().ok()).flatten();
        let steps = catalog.price_steps();
        let mut ranges = vec![(None, None)];
        ranges.extend(free.as_ref().map(|free| (None, Some(free))));
        ranges.extend(steps.first().map(|first| (None, Some(first))));
        ranges.extend(steps.windows(2).map(|pair| (Some(&pair[0]), Some(&pair[1]))));
        ranges.extend(steps.last().map(|last| (Some(last), None)));
        if ranges.len() == 1 && !self.asked.has_filter() {
            return Vec::new(); // everything costs the same
        }
        let is_known = ranges.iter().any(|(over, up_to)| self.asked.is_at(*over, *up_to));
        ranges.extend((!is_known).then_some((self.asked.over.as_ref(), self.asked.up_to.as_ref())));
        let chips = ranges.into_iter().map(|(over, up_to)| {
            let link = self.asked.at(over, up_to).link("/", &[]);
            context! { words => self.range(over, up_to), link, is_chosen => self.asked.is_at(over, up_to) }
        });
        chips.collect()
    }

    fn range(&self, over: Option<&Price>, up_to: Option<&Price>) -> String {
        let said = |key: &str, price: &Price| word(self.lang, key).replace("{p}", &self.price(price));
        match (over, up_to) {
            (None, None) => word(self.lang, "price_any").to_owned(),
            (None, Some(most)) if most.amount() == 0 => word(self.lang, "free").to_owned(),
            (None, Some(most)) => said("price_to", most),
            (Some(least), None) => said("price_over", least),
            (Some(least), Some(most)) => self.between(least, most),
        }
    }

    /// With the currency once, where the language has it.
    fn between(&self, least: &Price, most: &Price) -> String {
        let bare = |price: &Price| format::price(self.lang, "", price.as_str());
        match self.lang {
            Lang::Es => format!("{}–{}", bare(least), self.price(most)),
            Lang::En => format!("{}–{}", self.price(least), bare(most)),
        }
    }

    fn price(&self, price: &Price) -> String {
        format::price(self.lang, &self.shop.currency, price.as_str())
    }

    /// What there is to say where nothing was found: what was probably meant, and which prices were in the way.
    fn in_the_way(&self, found: &Found) -> Value {
        let Self { asked, lang, .. } = self;
        let name = |key: &str| word(*lang, key).replace("{q}", &asked.words);
        let title = match (found.at_any_price, asked.words.is_empty()) {
            (0, _) => name("none_title"),
            (_, true) => word(*lang, "none_priced").to_owned(),
            (_, false) => name("none_priced_for"),
        };
        let maybe = found.spelling.as_ref().map(|words| context! { words, link => asked.named(words).link("/", &[]) });
        let priced = asked.has_filter().then(|| {
            let range = self.range(asked.over.as_ref(), asked.up_to.as_ref());
            let any = asked.at(None, None).link("/", &[]);
            context! { range, any, count => found.at_any_price }
        });
        context! { title, maybe, priced }
    }
}
