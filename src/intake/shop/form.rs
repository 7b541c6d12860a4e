//! The form of the checkout, and its key.

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt, KeyInit},
};

use crate::domain::{EmailAddress, Invalid, Lang, fingerprint};

/// A form as it was sent.
#[derive(Default)]
pub(super) struct Form {
    pub(super) key: String,
    pub(super) product: String,
    /// As the page had it.
    pub(super) price: String,
    pub(super) email: String,
    pub(super) lang: String,
}

impl Form {
    pub(super) fn of(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let field = match &*name {
                "key" => &mut form.key,
                "product" => &mut form.product,
                "price" => &mut form.price,
                "email" => &mut form.email,
                "lang" => &mut form.lang,
                _ => continue,
            };
            *field = value.trim().into();
        }
        form.lang = Lang::meant_by(&form.lang).map(|lang| lang.code().to_owned()).unwrap_or_default();
        form
    }

    /// The address, or the key of the words that say what is wrong with it.
    pub(super) fn email(&self) -> Result<EmailAddress, &'static str> {
        self.email.parse().map_err(|_: Invalid| match self.email.rsplit_once('@') {
            _ if self.email.is_empty() => "mail_none",
            None => "mail_no_at",
            Some((_, domain)) if !domain.contains('.') => "mail_bad",
            Some(_) => "mail_odd",
        })
    }

    /// Gives the form another key, after its own has placed an order with something else in it: always the same for the same
    /// fields, so that this one, too, orders once.
    pub(super) fn renew(&mut self) {
        let first = self.key.split('.').next().unwrap_or_default();
        let fields = [&self.product, &self.email, &self.lang].map(String::as_bytes);
        self.key = format!("{first}.{:016x}", fingerprint(&fields));
    }
}

/// The key of the form at an address in a browser, which has a secret of its own. Whoever made up the address knows what
/// is in it, but not the key: nobody else can ask with it for the answer that an order had.
pub(super) fn key_of(address: u128, browser: u128) -> String {
    let mut block = address.to_be_bytes().into();
    Aes128::new(&browser.to_be_bytes().into()).encrypt_block(&mut block);
    hex(u128::from_be_bytes(block.into()))
}

/// As addresses and cookies have it.
pub(super) fn hex(number: u128) -> String {
    format!("{number:032x}")
}

/// What [`hex`] wrote, if it is that.
pub(super) fn number(text: &str) -> Option<u128> {
    is_hex(text, 32).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The keys that pages make, and no others.
pub(super) fn is_ours(key: &str) -> bool {
    let (first, renewed) = key.split_once('.').map_or((key, None), |(first, renewed)| (first, Some(renewed)));
    is_hex(first, 32) && renewed.is_none_or(|renewed| is_hex(renewed, 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_whatever_it_has_twice_or_too_much() {
        let form = Form::of(b"key=a&product=+1+&email=+ana%2Bx%40example.org%0d%0a&lang=EN-us&other=x&price=");
        assert_eq!((&*form.key, &*form.product, &*form.email), ("a", "1", "ana+x@example.org"));
        assert_eq!((&*form.lang, &*form.price), ("en", ""));
        assert_eq!(Form::of(b"lang=%0d%0aX:y").lang, "");
        assert_eq!(Form::of(b"\xff\xfe=%ff&email=%ff").email, "\u{fffd}");
    }

    #[test]
    fn a_key_is_that_of_one_address_in_one_browser() {
        let keys = [(1, 1), (1, 2), (2, 1)].map(|(address, browser)| key_of(address, browser));
        assert!(keys.iter().all(|key| is_ours(key) && number(key).is_some()), "{keys:?}");
        assert_eq!(keys[0], key_of(1, 1));
        assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2], "{keys:?}");
        for text in ["", "1", "+0000000000000000000000000000001", "0x000000000000000000000000000001"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number(&hex(u128::MAX)), Some(u128::MAX));
    }

    #[test]
    fn another_form_has_another_key_and_the_same_form_the_same() {
        let form = |email: &str, key: &str| Form { key: key.into(), email: email.into(), ..Form::default() };
        let first = "0123456789abcdef0123456789abcdef";
        let renewed = |email: &str, key: &str| {
            let mut form = form(email, key);
            form.renew();
            form.key
        };
        let ana = renewed("ana@example.org", first);
        assert!(is_ours(first) && is_ours(&ana), "{ana}");
        assert_eq!(renewed("ana@example.org", &ana), ana, "however often");
        assert_ne!(renewed("eva@example.org", &ana), ana);
        for key in
            ["", "x", &first[1..], &format!("{first}."), &format!("{first}.12"), &format!("{ana}.{}", &ana[33..])]
        {
            assert!(!is_ours(key), "{key}");
        }
    }
}
