//! Between table rows and domain types.

use rusqlite::Row;

use super::{Error, Result};
use crate::{
    domain::{EmailAddress, Order, OrderId, Product, Timestamp, Waits},
    store::{
        columns,
        ledger::{Class, MailId, MailStatus, Suppression},
        orders::{OrderView, unharmed},
    },
};

/// The columns that [`order`] reads, of the table `orders` under the name `o`.
pub(super) const ORDER_COLUMNS: &str =
    "o.id, o.gameid, o.name, o.price, o.usermail, o.lang, o.placed_at, o.trace, o.fingerprint";
/// How many these are.
pub(super) const ORDER_COLUMN_COUNT: usize = 9;

/// An order from [`ORDER_COLUMNS`], the first columns of the row. What the store holds was valid when it was written,
/// so anything else means that the file was changed by another hand.
pub(super) fn order(row: &Row) -> Result<Order> {
    let id = order_id(row, 0)?;
    let damaged = |what| move |_| Error::Fatal(format!("order {id} in the store has no valid {what}"));
    let order = Order {
        id,
        product: Product::new(text(row, 1)?, text(row, 2)?, text(row, 3)?).map_err(damaged("product"))?,
        email: text(row, 4)?.parse().map_err(damaged("e-mail address"))?,
        lang: optional_text(row, 5)?.and_then(|lang| lang.parse().ok()),
        placed_at: time(row, 6)?,
        handle: None,
        trace: optional_text(row, 7)?.and_then(|trace| trace.parse().ok()),
    };
    unharmed(order, row.get(8)?)
}

/// The columns that [`waits`] reads, of a row in `history` as `h`.
pub(super) const WAITS_COLUMNS: &str = "h.last, h.closes, h.next_at, h.waits, h.left_ms";

/// How many these are.
pub(super) const WAITS_COLUMN_COUNT: usize = 5;

/// What an order waits for after an event, from [`WAITS_COLUMNS`].
pub(super) fn waits(row: &Row, first: usize) -> Result<Waits> {
    let closing = columns::closing(row.get(first)?, optional_text(row, first + 1)?);
    let waits = optional_text(row, first + 3)?;
    Ok(columns::waits(closing, optional_time(row, first + 2)?, waits, row.get(first + 4)?))
}

/// The columns that [`order_view`] reads after [`ORDER_COLUMNS`] and [`WAITS_COLUMNS`], of the order's last row in
/// `history` as `h`.
pub(super) const VIEW_COLUMNS: &str =
    "h.estado, h.seq, h.at, h.step, h.exits, h.expect_at, o.partition, o.flow, o.address";

/// An order as it stands, from [`ORDER_COLUMNS`], [`WAITS_COLUMNS`] and [`VIEW_COLUMNS`].
pub(super) fn order_view(row: &Row) -> Result<OrderView> {
    const FIRST: usize = ORDER_COLUMN_COUNT + WAITS_COLUMN_COUNT;
    let (order, seq) = (order(row)?, row.get(FIRST + 1)?);
    Ok(OrderView {
        address: address(optional_text(row, FIRST + 8)?, order.id)?,
        order,
        partition: row.get(FIRST + 6)?,
        flow: optional_text(row, FIRST + 7)?.map(Into::into),
        step: row.get::<_, Option<u8>>(FIRST + 3)?.unwrap_or(seq),
        estado: text(row, FIRST)?.into(),
        seq,
        at: time(row, FIRST + 2)?,
        waits: waits(row, ORDER_COLUMN_COUNT)?,
        exits: columns::exits(row.get(FIRST + 4)?, optional_time(row, FIRST + 5)?),
    })
}

/// The corrected address of an order.
pub(super) fn address(address: Option<&str>, order: OrderId) -> Result<Option<EmailAddress>> {
    let damaged = |_| Error::Fatal(format!("order {order} in the store has no valid corrected address"));
    address.map(|address| address.parse().map_err(damaged)).transpose()
}

/// An order's id.
pub(super) fn order_id(row: &Row, column: usize) -> Result<OrderId> {
    let id = row.get::<_, i64>(column)? as u64;
    OrderId::new(id).map_err(|_| Error::Fatal(format!("the store holds the impossible order number {id}")))
}

/// The key in `history` of an order's state. An order's keys are those from its own with seq 0 to the next order's;
/// ids have 53 bits, so that the product fits.
pub(super) const fn key(order: OrderId, seq: u8) -> i64 {
    (order.get() << 8) as i64 | seq as i64
}

/// A mail's id from its key.
pub(super) fn mail_id(row: &Row, column: usize) -> Result<MailId> {
    let key: i64 = row.get(column)?;
    let order = OrderId::new(key as u64 >> 8)
        .map_err(|_| Error::Fatal(format!("the store holds the impossible mail key {key}")))?;
    Ok(MailId { order, seq: key as u8 })
}

/// A mail's status; `None` when mail was off.
pub(super) fn mail_status(name: Option<&str>) -> Option<MailStatus> {
    MailStatus::ALL.into_iter().find(|status| Some(status.name()) == name)
}

/// The class of a failure.
pub(super) fn class(row: &Row, column: usize) -> Result<Option<Class>> {
    Ok(optional_text(row, column)?.and_then(Class::named))
}

/// A suppressed address from its four columns in the order of the table; `None` when they are absent.
pub(super) fn suppression(row: &Row, first: usize) -> Result<Option<Suppression>> {
    let Some(address) = optional_text(row, first)? else { return Ok(None) };
    let damaged = |_| Error::Fatal("the store holds a suppressed address that is not valid".into());
    Ok(Some(Suppression {
        address: address.parse().map_err(damaged)?,
        at: time(row, first + 1)?,
        reason: row.get(first + 2)?,
        mail: mail_id(row, first + 3)?,
    }))
}

/// A text, without a copy.
pub(super) fn text<'a>(row: &'a Row, column: usize) -> Result<&'a str> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

/// A text that may be absent, without a copy.
pub(super) fn optional_text<'a>(row: &'a Row, column: usize) -> Result<Option<&'a str>> {
    Ok(row.get_ref(column)?.as_str_or_null().map_err(rusqlite::Error::from)?)
}

/// A time.
pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(column)?))
}

/// A time that may be absent.
pub(super) fn optional_time(row: &Row, column: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}
