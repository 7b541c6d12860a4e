use std::{borrow::Cow, fmt, str::FromStr};

use compact_str::CompactString;
use unicode_normalization::char::is_combining_mark;

use super::Invalid;

/// An e-mail address without any character that could end a header or an SMTP command.
///
/// The dot-atom form of RFC 5322 §3.4.1, with the letters, digits and marks of RFC 6531 allowed. Dots in a row, at the
/// beginning or at the end are no dot-atom, but Japanese carriers gave such addresses out, and they work: they are taken
/// as people write them, with quotes or without, and stand in quotes on the wire. Any other quoted local part and address
/// literals are refused: hardly anyone has one, and they are the usual way to smuggle commands.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(pub(super) CompactString);

impl EmailAddress {
    /// Longest accepted address in bytes (RFC 5321 §4.5.3.1.3: a path has 256, two of them brackets).
    pub const LENGTH_MAX: usize = 254;
    const LOCAL_MAX: usize = 64;
    const LABEL_MAX: usize = 63;

    /// The whole address as its owner writes it, never for a log. On the wire stands [`EmailAddress::to_ascii`].
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`.
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(local, _)| local)
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// What stands for the mailbox that it leads to in all likelihood: whatever its letters' case, and without a `+tag`.
    pub fn mailbox(&self) -> String {
        let address = self.as_str().to_lowercase();
        match address.rsplit_once('@').map(|(local, domain)| (local.split_once('+'), domain)) {
            Some((Some((local, _)), domain)) if !local.is_empty() => format!("{local}@{domain}"),
            _ => address,
        }
    }

    /// The address in ASCII as headers and commands have it: its domain as RFC 5890 A-labels, its local part in quotes
    /// where the dots need them. `None` when the local part is not ASCII, which only SMTPUTF8 (RFC 6531) can carry, or
    /// when the domain has no such form.
    pub fn to_ascii(&self) -> Option<Cow<'_, str>> {
        let (local, _) = self.0.rsplit_once('@').filter(|(local, _)| local.is_ascii())?;
        if self.0.is_ascii() && !has_odd_dots(local) {
            return Some(Cow::Borrowed(&self.0));
        }
        let domain = self.ascii_domain()?;
        let plain = format!("{local}@{domain}");
        // the longer form must be an address still
        plain.parse::<Self>().ok()?;
        Some(Cow::Owned(if has_odd_dots(local) { format!("\"{local}\"@{domain}") } else { plain }))
    }

    /// The domain as RFC 5890 A-labels; `None` when it has no such form, and so no place in the DNS.
    pub fn ascii_domain(&self) -> Option<Cow<'_, str>> {
        if self.domain().is_ascii() {
            return Some(Cow::Borrowed(self.domain()));
        }
        idna::domain_to_ascii_strict(self.domain()).ok().map(Cow::Owned)
    }

    /// First character and domain, `a***@example.org`: enough to recognise an address, fit for a log.
    pub fn masked(&self) -> String {
        let first = self.0.chars().next().unwrap_or('*');
        format!("{first}***@{}", self.domain())
    }
}

impl FromStr for EmailAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const SHAPE: Invalid = Invalid::of("e-mail address", "must look like name@example.org");
        if text.len() > Self::LENGTH_MAX {
            return Err(Invalid::of("e-mail address", "must have at most 254 bytes"));
        }
        let (written, domain) = text.rsplit_once('@').ok_or(SHAPE)?;
        let unquoted = written.strip_prefix('"').and_then(|local| local.strip_suffix('"'));
        let local = unquoted.unwrap_or(written);
        // 64 bytes as it goes over the wire, where quotes count
        let length = local.len() + if has_odd_dots(local) { 2 } else { 0 };
        if length > Self::LOCAL_MAX || !is_local(local) || !domain.split('.').all(is_label) {
            return Err(SHAPE);
        }
        Ok(if unquoted.is_some() { Self(format!("{local}@{domain}").into()) } else { Self(text.into()) })
    }
}

/// Whether a local part is no dot-atom because of where its dots are.
fn has_odd_dots(local: &str) -> bool {
    local.split('.').any(str::is_empty)
}

/// Atoms with dots between them. ASCII alone may have its dots anywhere: nobody gave out any other.
fn is_local(local: &str) -> bool {
    let mut atoms = local.split('.').filter(|atom| !atom.is_empty()).peekable();
    atoms.peek().is_some() && atoms.all(is_atom) && (local.is_ascii() || !has_odd_dots(local))
}

/// RFC 5322 `atext`, and letters, digits and marks beyond ASCII; no control, space, format or bidi characters.
fn is_atom(text: &str) -> bool {
    !text.starts_with(is_combining_mark)
        && text.chars().all(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' => true,
            c if c.is_ascii() => "!#$%&'*+-/=?^_`{|}~".contains(c),
            c => is_plain_unicode(c),
        })
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= EmailAddress::LABEL_MAX
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.starts_with(is_combining_mark)
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || is_joiner(c) || is_plain_unicode(c))
}

/// What some scripts need between two letters of a domain (RFC 5892 appendix A.1); IDNA knows where.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Marks are vowels and tones in many scripts, and the accents of text that is decomposed.
fn is_plain_unicode(c: char) -> bool {
    !c.is_ascii() && (c.is_alphanumeric() || is_combining_mark(c))
}

impl fmt::Debug for EmailAddress {
    /// Masked, so that a `{:?}` in a log message cannot leak an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_mailbox_are_told() {
        let of = |text: &str| text.parse::<EmailAddress>().unwrap().mailbox();
        for same in ["Ana@Example.org", "ana+1@example.org", "ana+@example.org", "ana+a+b@example.org"] {
            assert_eq!(of(same), "ana@example.org", "{same}");
        }
        assert_ne!(of("+a@example.org"), of("+b@example.org"));
    }

    #[test]
    fn accepts_what_customers_have() {
        for text in [
            "ana@example.org",
            "cliente@localhost",
            "a.b+tag@sub.example.co",
            "o'brien@example.org",
            "josé@españa.example",
            "用户@例子.example",
            "संपर्क@डाटामेल.भारत",
            "ผู้ใช้@ตัวอย่าง.ไทย",
            "தொடர்பு@எடுத்துக்காட்டு.இந்தியா",
            "যোগাযোগ@উদাহরণ.ভারত",
            "почта@пример.рф",
            "jose\u{301}@espan\u{303}a.example",
            "ana@نامه\u{200c}ای.example",
            "taro..yamada@carrier.example",
            "hanako.@carrier.example",
            ".x.@carrier.example",
        ] {
            assert_eq!(text.parse::<EmailAddress>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_what_could_become_a_command_or_a_header() {
        for text in [
            "",
            "@",
            "ana",
            "ana@",
            "@example.org",
            "a b@example.org",
            "\"a b\"@example.org",
            "a@b@example.org",
            "ana@example.org\r\nBcc: x@y.z",
            "ana@exa\nmple.org",
            "ana\0@example.org",
            "<ana@example.org>",
            "ana@[127.0.0.1]",
            "\"a\\\"b\"@example.org",
            "\"\"@example.org",
            "\"a.b@example.org",
            ".@example.org",
            "jos\u{e9}..b@example.org",
            "\u{301}a@example.org",
            "ana@\u{301}a.org",
            "a\u{200d}b@example.org",
            "ana@-x.org",
            "ana@x..org",
            "ana@example.org ",
            "a,b@example.org",
            "a\u{202e}b@example.org",
            "a;b@example.org",
            "a:b@x.org",
            "a(b)@x.org",
        ] {
            assert!(text.parse::<EmailAddress>().is_err(), "{text:?}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        assert!(long.parse::<EmailAddress>().is_err());
    }

    #[test]
    fn a_domain_beyond_ascii_has_an_ascii_form_and_a_local_part_has_none() {
        let ascii = |text: &str| text.parse::<EmailAddress>().unwrap().to_ascii().map(Cow::into_owned);
        assert_eq!(ascii("Ana@Example.org").unwrap(), "Ana@Example.org");
        assert_eq!(ascii("ana@españa.example").unwrap(), "ana@xn--espaa-rta.example");
        assert_eq!(ascii("ana@例子.example").unwrap(), "ana@xn--fsqu00a.example");
        assert_eq!(ascii("josé@example.org"), None);
    }

    #[test]
    fn odd_dots_stand_in_quotes_on_the_wire() {
        for written in ["a..b@carrier.example", "\"a..b\"@carrier.example"] {
            let address: EmailAddress = written.parse().unwrap();
            assert_eq!(address.as_str(), "a..b@carrier.example");
            assert_eq!(address.to_ascii().unwrap(), "\"a..b\"@carrier.example");
        }
        let idn: EmailAddress = "a.@españa.example".parse().unwrap();
        assert_eq!(idn.to_ascii().unwrap(), "\"a.\"@xn--espaa-rta.example");
        let needless: EmailAddress = "\"a.b\"@example.org".parse().unwrap();
        assert_eq!(needless.to_ascii().unwrap(), "a.b@example.org");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_taken_is_safe_on_the_wire_in_one_form(
            text in r#"["a-zé\u{301}ñअ़्ू\u{e49}本.+<> \r\n\u{202e}\u{200d}]{0,12}@[a-zé\u{301}ñअ़्ू\u{e49}本.\-\u{200d}"]{0,12}"#
        ) {
            use unicode_normalization::UnicodeNormalization as _;
            let Ok(address) = text.parse::<EmailAddress>() else { return Ok(()) };
            let harmful = |text: &str| text.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;:()\u{202e}".contains(c));
            proptest::prop_assert!(!harmful(address.as_str()) && !address.as_str().contains('"'));
            let Some(wire) = address.to_ascii() else {
                let local = address.as_str().rsplit_once('@').unwrap().0;
                proptest::prop_assert!(!local.is_ascii() || address.ascii_domain().is_none() || wire_is_longer(&address));
                return Ok(());
            };
            proptest::prop_assert!(wire.is_ascii() && !harmful(&wire));
            let again: EmailAddress = wire.parse().unwrap();
            proptest::prop_assert_eq!(again.to_ascii().unwrap(), &*wire);
            // composed or not, it is the same mailbox
            for form in [text.nfc().collect::<String>(), text.nfd().collect()] {
                let other = form.parse::<EmailAddress>();
                proptest::prop_assert_eq!(other.as_ref().ok().and_then(EmailAddress::to_ascii), Some(wire.clone()));
            }
        }
    }

    /// The A-labels of short domains can be longer than a label may be.
    fn wire_is_longer(address: &EmailAddress) -> bool {
        address.ascii_domain().is_some_and(|domain| domain.len() > address.domain().len())
    }

    #[test]
    fn is_masked_for_logs() {
        let address: EmailAddress = "ana.perez@example.org".parse().unwrap();
        assert_eq!(address.masked(), "a***@example.org");
        assert_eq!(format!("{address:?}"), "a***@example.org");
    }
}
