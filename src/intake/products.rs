//! `GET /products`: what can be ordered, as JSON.
//!
//! - `q=WORDS&limit=N`: the best matches as a list, as ever: exact words or beginnings of words, and nothing that was not asked
//!   for, since a program may order the first.
//! - `page=N` besides: one page of all matches with their number, misspelt words taken for the nearest.
//! - `order=`, `over=`, `up_to=`: what comes first, and which prices.
//! - `sample=N`, perhaps with `seed=N`: some at random.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::place::OrderService;
use crate::{
    catalog::{Hit, Order, Search},
    domain::{Price, Product, has_length},
    pages::Tile,
    web::{FieldError, Problem, query_field},
};

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;
/// Of what is searched for, in characters.
const QUERY_LENGTH_MAX: usize = 200;

/// A product as clients see it.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Product")]
pub(super) struct Item<'a> {
    /// For the form of the old service.
    row: usize,
    /// For `POST /orders`.
    product: &'a str,
    /// Its name.
    name: &'a str,
    /// Its price as the catalogue writes it.
    price: &'a str,
    /// What stands for a picture, as four letters.
    tile: String,
    /// The name in pieces, by turns one that was not looked for (perhaps empty) and one that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<&'a str>>,
}

/// One page of what was found.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Page")]
pub(super) struct Answer<'a> {
    /// How many were found, on all pages.
    total: usize,
    /// Which page this is, from 1.
    page: usize,
    /// How many pages there are.
    pages: usize,
    /// How many there are at any price.
    at_any_price: usize,
    /// How many products the catalogue has.
    catalog: usize,
    /// What was probably meant; with `total` 0 as much of it as there is.
    spelling: Option<&'a str>,
    /// The products of this page.
    items: Vec<Item<'a>>,
}

pub(super) async fn list(State(service): State<Arc<OrderService>>, uri: Uri) -> Result<Response, Problem> {
    // all of it, also what is not asked for then: what is no number is one nowhere
    let limit = number(&uri, "limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let page = number(&uri, "page", 1..=usize::MAX)?.unwrap_or(1);
    let sample = number(&uri, "sample", 1..=LIMIT_MAX)?;
    let seed = number(&uri, "seed", 0..=u64::MAX)?;
    let words = query_field(&uri, "q").unwrap_or_default();
    if !has_length(&words, 0..=QUERY_LENGTH_MAX) {
        return Err(invalid("q", "must have at most 200 characters"));
    }
    let search = search(&uri, &words)?;
    if let Some(count) = sample {
        // without chance, always the same
        let seed = seed.or_else(|| service.random.u64().ok()).unwrap_or_default();
        let items: Vec<Item> = service.catalog.random(seed, count).into_iter().map(|(row, p)| item(row, p)).collect();
        return Ok(Json(items).into_response());
    }
    let Some(search) = search else {
        let found = service.catalog.search(&words, limit);
        let items: Vec<Item> = found.into_iter().map(|(row, product)| item(row, product)).collect();
        return Ok(Json(items).into_response());
    };
    let found = service.catalog.find(&search);
    let answer = Answer {
        total: found.total,
        page,
        pages: found.total.div_ceil(limit),
        at_any_price: found.at_any_price,
        catalog: service.catalog.len(),
        spelling: found.spelling.as_deref(),
        items: found.page(page, limit).into_iter().map(hit).collect(),
    };
    Ok(Json(answer).into_response())
}

/// What is looked for, if the request wants more than a plain list.
fn search<'a>(uri: &Uri, words: &'a str) -> Result<Option<Search<'a>>, Problem> {
    let asked = ["page", "order", "over", "up_to"].map(|name| query_field(uri, name));
    if asked.iter().all(Option::is_none) {
        return Ok(None);
    }
    let [_, order, over, up_to] = asked;
    let order = match order.as_deref() {
        None | Some("best") => Order::Best,
        Some("cheapest") => Order::Cheapest,
        Some("dearest") => Order::Dearest,
        Some("name") => Order::Name,
        Some(_) => return Err(invalid("order", "must be best, cheapest, dearest or name")),
    };
    let price = |name, text: Option<String>| {
        let parsed = text.map(|text| text.parse::<Price>()).transpose();
        parsed.map_err(|_| invalid(name, "must be a decimal number like 7.99"))
    };
    Ok(Some(Search { words, over: price("over", over)?, up_to: price("up_to", up_to)?, order }))
}

fn number<N>(uri: &Uri, name: &'static str, range: RangeInclusive<N>) -> Result<Option<N>, Problem>
where
    N: FromStr + PartialOrd + Display,
{
    let Some(text) = query_field(uri, name) else { return Ok(None) };
    // `parse` takes a leading plus
    let digits = Some(&text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
    let wrong = || {
        let detail = format!("must be a whole number from {} to {}", range.start(), range.end());
        Problem::invalid(vec![FieldError { field: name.into(), detail: detail.into() }])
    };
    number.map(Some).ok_or_else(wrong)
}

fn item(row: usize, product: &Product) -> Item<'_> {
    let Product { id, name, price } = product;
    Item { row, product: id, name, price: price.as_str(), tile: Tile::of(id).to_string(), parts: None }
}

fn hit(hit: Hit<'_>) -> Item<'_> {
    Item { parts: Some(hit.parts()), ..item(hit.row, hit.product) }
}

fn invalid(field: &'static str, detail: &'static str) -> Problem {
    Problem::invalid(vec![FieldError { field: field.into(), detail: detail.into() }])
}
