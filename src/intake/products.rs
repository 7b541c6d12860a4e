//! `GET /products?q=&limit=`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::place::OrderService;
use crate::web::{FieldError, Problem, query_field};

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;
const QUERY_BYTES_MAX: usize = 200;

/// A product as clients see it.
#[derive(Serialize)]
struct Item<'a> {
    /// For the form of the old service.
    row: usize,
    /// For `POST /orders`.
    product: &'a str,
    name: &'a str,
    price: &'a str,
}

pub(super) async fn list(State(desk): State<Arc<OrderService>>, uri: Uri) -> Result<Response, Problem> {
    let q = query_field(&uri, "q").unwrap_or_default();
    let limit = query_field(&uri, "limit");
    if q.len() > QUERY_BYTES_MAX {
        return Err(invalid("q", "must have at most 200 bytes"));
    }
    let limit = match limit.map(|limit| limit.parse()) {
        None => LIMIT_DEFAULT,
        Some(Ok(limit @ 1..=LIMIT_MAX)) => limit,
        Some(_) => return Err(invalid("limit", "must be a whole number from 1 to 100")),
    };
    let found = desk.catalog.search(&q, limit);
    let items: Vec<Item> = found
        .into_iter()
        .map(|(row, product)| Item { row, product: &product.id, name: &product.name, price: product.price.as_str() })
        .collect();
    Ok(Json(items).into_response())
}

fn invalid(field: &'static str, detail: &'static str) -> Problem {
    Problem::invalid(vec![FieldError { field: field.into(), detail: detail.into() }])
}
