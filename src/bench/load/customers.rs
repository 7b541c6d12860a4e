//! Who orders what: each order of a load has an address, a product and a key of its own, all from its number.

use crate::audit::Placed;

/// The customers of a load.
#[derive(Debug, Clone)]
pub struct Customers {
    /// Begins addresses and keys, so that the orders of two loads are told apart: letters, digits and hyphens.
    pub run: String,
    /// Keys of the products, in turn; at least one.
    pub products: Vec<String>,
    /// Every n-th order has no idempotency key; 1: none has one, 0: all have.
    pub unkeyed: u64,
}

impl Customers {
    /// The address of an order.
    pub fn email(&self, number: u64) -> String {
        format!("{}-{number}@example.org", self.run)
    }

    /// The product of an order.
    pub fn product(&self, number: u64) -> &str {
        &self.products[(number % self.products.len() as u64) as usize]
    }

    /// The idempotency key of an order, if it has one.
    pub fn key(&self, number: u64) -> Option<String> {
        let has_one = self.unkeyed == 0 || number % self.unkeyed != self.unkeyed - 1;
        has_one.then(|| format!("{}-{number}", self.run))
    }

    /// The body of the request, in JSON.
    pub fn body(&self, number: u64) -> String {
        serde_json::json!({ "product": self.product(number), "email": self.email(number) }).to_string()
    }

    /// The order as the auditor knows it, once it has an id.
    pub fn placed(&self, number: u64, id: u64) -> Placed {
        Placed { id, product: self.product(number).to_owned(), email: self.email(number) }
    }

    /// Whether an order with this address is one of theirs.
    pub fn is_theirs(&self, email: &str) -> bool {
        email.strip_prefix(&self.run).is_some_and(|rest| rest.starts_with('-'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_its_own() {
        let customers = Customers { run: "b1".into(), products: vec!["1010".into(), "1020".into()], unkeyed: 5 };
        assert_eq!(customers.body(3), r#"{"email":"b1-3@example.org","product":"1020"}"#);
        let keys: Vec<_> = (0..6).map(|number| customers.key(number).is_some()).collect();
        assert_eq!(keys, [true, true, true, true, false, true]);
        let keyed =
            |unkeyed| (0..9).filter(|number| Customers { unkeyed, ..customers.clone() }.key(*number).is_some()).count();
        assert_eq!((keyed(0), keyed(1)), (9, 0));
        assert!(customers.is_theirs("b1-3@example.org") && !customers.is_theirs("b12-3@example.org"));
    }
}
