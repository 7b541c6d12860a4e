//! `/orders.csv`: the orders of a list, for spreadsheets. Written as it is read, so that its length costs no memory.

use std::{borrow::Cow, io};

use axum::{
    extract::State,
    http::header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use csv::{Terminator, Writer, WriterBuilder};

use super::{Desk, says::Voice, sought::Sought, unavailable};
use crate::{
    domain::Waits,
    pages::Reader,
    store::orders::OrderView,
    web::{Fields, Problem, Stopping, pour},
};

/// Most orders of a file, the newest.
pub(super) const ROWS_MAX: usize = 100_000;
/// Orders that are read at once.
const PAGE: usize = 500;
/// Files that are written at the same time.
pub(super) const DOWNLOADS_MAX: usize = 2;
/// Tells spreadsheets that the file is UTF-8; they take it for something else otherwise.
const BOM: &str = "\u{feff}";

pub(super) async fn download(
    State(desk): State<Desk>,
    reader: Reader,
    stop: Stopping,
    Fields(sought): Fields<Sought>,
) -> Result<Response, Problem> {
    let place = desk.0.downloads.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::overloaded("others download orders at this moment").retry_after(5))?;
    let store = desk.0.deps.watch.store().map_err(unavailable)?.clone();
    let now = desk.0.deps.env.clock.now();
    let body = pour(stop, async move |pieces| {
        let _place = place;
        let voice = Voice { lang: reader.lang, site: &desk.0.deps.site, now };
        pieces.send(Ok(heads(voice)?.into())).await.map_err(io::Error::other)?;
        let mut query = sought.query(now, PAGE);
        let mut left = ROWS_MAX;
        while let Some(asked) = &mut query
            && left > 0
        {
            let orders = store.orders(asked.clone()).await.map_err(io::Error::other)?;
            left -= orders.len().min(left);
            pieces.send(Ok(rows(&orders, voice)?.into())).await.map_err(io::Error::other)?;
            asked.limit = PAGE.min(left);
            asked.below = orders.last().map(|view| view.order.id);
            if orders.len() < PAGE {
                break;
            }
        }
        Ok(())
    });
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"orders.csv\""),
    ];
    Ok((headers, body).into_response())
}

fn heads(voice: Voice<'_>) -> io::Result<Vec<u8>> {
    let mut out = writer(BOM.into());
    out.write_record(
        ["order", "product", "price_filter", "customer", "state", "since", "next"].map(|key| voice.word(key)),
    )?;
    finished(out)
}

fn rows(orders: &[OrderView], voice: Voice<'_>) -> io::Result<Vec<u8>> {
    let mut out = writer(Vec::new());
    for view in orders {
        let (id, since) = (view.order.id.to_string(), view.at.to_string());
        let next = match view.waits {
            Waits::Held(_) => voice.word("is_held").into(),
            Waits::ForCommand => voice.word("for_somebody").into(),
            _ => view.next_at().map(|at| at.to_string()).unwrap_or_default(),
        };
        let state = voice.state(&view.estado);
        let product = &view.order.product;
        let texts = [&*id, &product.name, product.price.as_str(), view.recipient().as_str(), &state, &since, &next];
        out.write_record(texts.map(inert).map(Cow::into_owned))?;
    }
    finished(out)
}

/// Lines end as RFC 4180 has it.
fn writer(begun: Vec<u8>) -> Writer<Vec<u8>> {
    WriterBuilder::new().terminator(Terminator::CRLF).from_writer(begun)
}

fn finished(out: Writer<Vec<u8>>) -> io::Result<Vec<u8>> {
    out.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// A text that no spreadsheet takes for a formula: customers choose their addresses, and formulas can send what is in a sheet
/// elsewhere. An apostrophe before it makes it a text (OWASP, "CSV Injection").
fn inert(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        return format!("'{text}").into();
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_formula() {
        for text in ["=1+1", "+34", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"] {
            assert_eq!(inert(text), format!("'{text}"));
        }
        for text in ["", "Portal 2", "a=1", "2026-11-29", "ana@example.org"] {
            assert_eq!(inert(text), text);
        }
    }
}
