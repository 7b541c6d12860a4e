use std::{borrow::Cow, fmt, str::FromStr};

use super::Invalid;

/// An e-mail address that can be put into a header or an SMTP command as it stands.
///
/// The dot-atom form of RFC 5322 §3.4.1, with the non-ASCII characters of RFC 6531 allowed. Quoted local parts and
/// address literals are refused: hardly anyone has one, and they are the usual way to smuggle commands.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(Box<str>);

impl EmailAddress {
    /// Longest accepted address in bytes (RFC 5321 §4.5.3.1.3: a path has 256, two of them brackets).
    pub const LENGTH_MAX: usize = 254;
    const LOCAL_MAX: usize = 64;
    const LABEL_MAX: usize = 63;

    /// The whole address; for headers, envelopes and the customer, never for a log.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The address in ASCII, its domain as RFC 5890 A-labels; `None` when the local part is not ASCII, which only
    /// SMTPUTF8 (RFC 6531) can carry, or when the domain has no such form.
    pub fn to_ascii(&self) -> Option<Cow<'_, str>> {
        if self.0.is_ascii() {
            return Some(Cow::Borrowed(&self.0));
        }
        let (local, domain) = self.0.rsplit_once('@')?;
        let domain = idna::domain_to_ascii_strict(domain).ok().filter(|_| local.is_ascii())?;
        // the longer form must be an address still
        Some(Cow::Owned(format!("{local}@{domain}").parse::<Self>().ok()?.0.into()))
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
        const SHAPE: Invalid = Invalid::because("e-mail address: must look like name@example.org");
        if text.len() > Self::LENGTH_MAX {
            return Err(Invalid::because("e-mail address: must have at most 254 bytes"));
        }
        let (local, domain) = text.rsplit_once('@').ok_or(SHAPE)?;
        if local.len() > Self::LOCAL_MAX || !local.split('.').all(is_atom) {
            return Err(SHAPE);
        }
        if !domain.split('.').all(is_label) {
            return Err(SHAPE);
        }
        Ok(Self(text.into()))
    }
}

/// RFC 5322 `atext`, and letters, digits and marks beyond ASCII; no control, space, format or bidi characters.
fn is_atom(text: &str) -> bool {
    !text.is_empty()
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
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || is_plain_unicode(c))
}

fn is_plain_unicode(c: char) -> bool {
    !c.is_ascii() && c.is_alphanumeric()
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
    fn accepts_what_customers_have() {
        for text in [
            "ana@example.org",
            "cliente@localhost",
            "a.b+tag@sub.example.co",
            "o'brien@example.org",
            "josé@españa.example",
            "用户@例子.example",
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
            "a..b@example.org",
            ".a@example.org",
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
    fn is_masked_for_logs() {
        let address: EmailAddress = "ana.perez@example.org".parse().unwrap();
        assert_eq!(address.masked(), "a***@example.org");
        assert_eq!(format!("{address:?}"), "a***@example.org");
    }
}
