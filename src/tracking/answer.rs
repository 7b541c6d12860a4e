use serde::{Serialize, Serializer};

use crate::{
    domain::{Closing, Handle, Lang, Timestamp},
    store::{
        ledger::MailStatus,
        orders::{HistoryEntry, OrderView},
    },
};

/// An order as programs read it, over HTTP and from the command line. Address and handle are for the shop alone; a
/// customer's tracking address may be passed on.
#[derive(Debug, Serialize)]
pub struct OrderJson<'a> {
    /// The order's number.
    pub orderid: u64,
    /// The product's key.
    pub gameid: &'a str,
    /// The product's name.
    pub name: &'a str,
    /// The price as text.
    pub price: &'a str,
    /// The customer's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usermail: Option<&'a str>,
    /// The customer's language, if the order names one.
    pub lang: Option<Lang>,
    /// The state.
    pub estado: &'a str,
    /// Whether that is the last one.
    pub finished: bool,
    /// When the order was placed.
    pub placed_at: Timestamp,
    /// When it entered the state.
    pub at: Timestamp,
    /// When the next state is due.
    pub next_at: Option<Timestamp>,
    /// The tracking handle.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub handle: Option<Handle>,
    /// The states so far; left out of lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryJson<'a>>,
}

/// A state that an order has entered.
#[derive(Debug, Serialize)]
pub struct HistoryJson<'a> {
    seq: u8,
    estado: &'a str,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<&'static str>,
}

impl<'a> OrderJson<'a> {
    /// Without address and handle.
    pub fn new(view: &'a OrderView, history: &'a [HistoryEntry]) -> Self {
        let order = &view.order;
        let entry = |entry: &'a HistoryEntry| HistoryJson {
            seq: entry.seq,
            estado: &entry.estado,
            at: entry.at,
            mail: entry.mail.map(MailStatus::name),
        };
        Self {
            orderid: order.id.get(),
            gameid: &order.product.id,
            name: &order.product.name,
            price: order.product.price.as_str(),
            usermail: None,
            lang: order.lang,
            estado: &view.estado,
            finished: view.closes() == Some(Closing::Finished),
            placed_at: order.placed_at,
            at: view.at,
            next_at: view.next_at(),
            handle: None,
            history: history.iter().map(entry).collect(),
        }
    }

    /// The same for the shop, with the address and, where it is asked for, the handle.
    pub fn for_shop(view: &'a OrderView, history: &'a [HistoryEntry], handle: Option<Handle>) -> Self {
        Self { usermail: Some(view.order.email.as_str()), handle, ..Self::new(view, history) }
    }
}

#[expect(clippy::ref_option, reason = "serde passes the field like this")]
fn text<S: Serializer>(handle: &Option<Handle>, serializer: S) -> Result<S::Ok, S::Error> {
    match handle {
        Some(handle) => serializer.collect_str(handle),
        None => serializer.serialize_none(),
    }
}
