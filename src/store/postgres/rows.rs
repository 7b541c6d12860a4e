//! Between table rows and domain types.

use std::borrow::Cow;

use deadpool_postgres::tokio_postgres::Row;

use super::super::{
    Error, Result,
    ledger::{Class, MailId, MailStatus, Suppression},
    orders::{OrderView, unharmed},
};
use crate::{
    domain::{EmailAddress, Order, OrderId, Product, Timestamp, Waits},
    store::columns,
};

/// The columns that [`order`] reads, of the table `orders` under the name `o`.
pub(super) const ORDER_COLUMNS: &str =
    "o.id, o.gameid, o.name, o.price, o.usermail, o.lang, o.placed_at, o.trace, o.fingerprint";
/// How many these are.
pub(super) const ORDER_COLUMN_COUNT: usize = 9;

/// An order from [`ORDER_COLUMNS`], the first columns of the row. What the store holds was valid when it was written,
/// so anything else means that it was changed by another hand.
pub(super) fn order(row: &Row) -> Result<Order> {
    let id = order_id(row.get(0))?;
    let damaged = |what| move |_| Error::Fatal(format!("order {id} in the store has no valid {what}"));
    let order = Order {
        id,
        product: Product::new(row.get(1), row.get(2), row.get(3)).map_err(damaged("product"))?,
        email: row.get::<_, &str>(4).parse().map_err(damaged("e-mail address"))?,
        lang: row.get::<_, Option<&str>>(5).and_then(|lang| lang.parse().ok()),
        placed_at: time(row, 6),
        handle: None,
        trace: row.get::<_, Option<&str>>(7).and_then(|trace| trace.parse().ok()),
    };
    unharmed(order, row.get(8))
}

/// The columns that [`waits`] reads, of a row in `history` as `h`.
pub(super) const WAITS_COLUMNS: &str = "h.last, h.closes, h.next_at, h.waits, h.left_ms";

/// How many these are.
pub(super) const WAITS_COLUMN_COUNT: usize = 5;

/// What an order waits for after an event, from [`WAITS_COLUMNS`].
pub(super) fn waits(row: &Row, first: usize) -> Waits {
    let closing = columns::closing(row.get(first), row.get(first + 1));
    columns::waits(closing, optional_time(row, first + 2), row.get(first + 3), row.get(first + 4))
}

/// The columns that [`order_view`] reads after [`ORDER_COLUMNS`] and [`WAITS_COLUMNS`], of the order's last row in
/// `history` as `h`.
pub(super) const VIEW_COLUMNS: &str =
    "h.estado, (h.id & 255)::smallint, h.at, h.step, h.exits, h.expect_at, o.partition, o.flow, o.address";
/// The first column after these three.
pub(super) const AFTER_VIEW: usize = ORDER_COLUMN_COUNT + WAITS_COLUMN_COUNT + 9;

/// An order as it stands, from [`ORDER_COLUMNS`], [`WAITS_COLUMNS`] and [`VIEW_COLUMNS`].
pub(super) fn order_view(row: &Row) -> Result<OrderView> {
    const FIRST: usize = ORDER_COLUMN_COUNT + WAITS_COLUMN_COUNT;
    let (order, seq) = (order(row)?, row.get::<_, i16>(FIRST + 1) as u8);
    Ok(OrderView {
        address: address(row.get(FIRST + 8), order.id)?,
        order,
        partition: row.get::<_, Option<i32>>(FIRST + 6).map(|partition| partition as u32),
        flow: row.get::<_, Option<&str>>(FIRST + 7).map(Into::into),
        step: small(row, FIRST + 3).unwrap_or(seq),
        estado: row.get::<_, &str>(FIRST).into(),
        seq,
        at: time(row, FIRST + 2),
        waits: waits(row, ORDER_COLUMN_COUNT),
        exits: columns::exits(small(row, FIRST + 4), optional_time(row, FIRST + 5)),
    })
}

/// The corrected address of an order.
pub(super) fn address(address: Option<&str>, order: OrderId) -> Result<Option<EmailAddress>> {
    let damaged = |_| Error::Fatal(format!("order {order} in the store has no valid corrected address"));
    address.map(|address| address.parse().map_err(damaged)).transpose()
}

/// An order's id.
pub(super) fn order_id(id: i64) -> Result<OrderId> {
    OrderId::new(id as u64).map_err(|_| Error::Fatal(format!("the store holds the impossible order number {id}")))
}

/// The key of an order's state. An order's keys are those from its own with seq 0 to the next order's; ids have 53
/// bits, so that the product fits.
pub(super) const fn key(order: OrderId, seq: u8) -> i64 {
    (order.get() << 8) as i64 | seq as i64
}

/// A mail's id from its key.
pub(super) fn mail_id(key: i64) -> Result<MailId> {
    Ok(MailId { order: order_id(key >> 8)?, seq: key as u8 })
}

/// The column that [`mail_status`] reads, of `history` as `h`, joined by [`MAIL_JOINS`].
pub(super) const MAIL_STATUS: &str = "CASE WHEN NOT h.mail THEN NULL WHEN l.id IS NOT NULL THEN
    CASE WHEN l.sending THEN 'sending' ELSE 'pending' END
    WHEN d.id IS NOT NULL THEN CASE WHEN d.dropped THEN 'dropped' ELSE 'dead' END ELSE 'sent' END";
/// Where a mail can be.
pub(super) const MAIL_JOINS: &str = "LEFT JOIN lane l ON l.id = h.id LEFT JOIN dead_mails d ON d.id = h.id";

/// A mail's status; `None` when mail was off.
pub(super) fn mail_status(row: &Row, column: usize) -> Option<MailStatus> {
    let name: Option<&str> = row.get(column);
    MailStatus::ALL.into_iter().find(|status| Some(status.name()) == name)
}

/// The class of a failure.
pub(super) fn class(row: &Row, column: usize) -> Option<Class> {
    row.get::<_, Option<&str>>(column).and_then(Class::named)
}

/// A suppressed address from its four columns in the order of the table; `None` when they are absent.
pub(super) fn suppression(row: &Row, first: usize) -> Result<Option<Suppression>> {
    let Some(address) = row.get::<_, Option<&str>>(first) else { return Ok(None) };
    let damaged = |_| Error::Fatal("the store holds a suppressed address that is not valid".into());
    Ok(Some(Suppression {
        address: address.parse().map_err(damaged)?,
        at: time(row, first + 1),
        reason: row.get(first + 2),
        mail: mail_id(row.get(first + 3))?,
    }))
}

/// A number below 256 that may be absent.
pub(super) fn small(row: &Row, column: usize) -> Option<u8> {
    row.get::<_, Option<i16>>(column).map(|number| number as u8)
}

/// A time.
pub(super) fn time(row: &Row, column: usize) -> Timestamp {
    Timestamp::from_millis(row.get(column))
}

/// A time that may be absent.
pub(super) fn optional_time(row: &Row, column: usize) -> Option<Timestamp> {
    row.get::<_, Option<i64>>(column).map(Timestamp::from_millis)
}

/// A text without NUL, which PostgreSQL cannot hold; a mail server's reply may have one, and a strange record.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}
