//! Text that a stranger wrote (a mail server's reply, for one), made fit for logs, pages and the store: no whole e-mail
//! address, and no character that moves, hides or turns round what stands beside it.

use std::borrow::Cow;

/// Whether a character shows as itself and changes nothing around it: no control, bidi or invisible format character.
pub fn is_legible(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// What an at sign looks like: itself, as in a link, as in JSON, and as keyboards of the far east have it.
pub const AT_SIGNS: [&str; 5] = ["@", "%40", "\\u0040", "\u{ff20}", "\u{fe6b}"];

/// Masks whatever looks like an e-mail address, as `a***@example.org`. Rather a word too much than an address too few:
/// in doubt everything before an at sign belongs to it.
pub fn mask_addresses(text: &str) -> Cow<'_, str> {
    if !AT_SIGNS.iter().any(|sign| text.contains(sign)) {
        return Cow::Borrowed(text);
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(ends_address).unwrap_or(rest.len());
        mask_word(&rest[..end], &mut masked);
        let next = rest[end..].chars().next().map_or(end, |c| end + c.len_utf8());
        masked.push_str(&rest[end..next]);
        rest = &rest[next..];
    }
    Cow::Owned(masked)
}

fn ends_address(c: char) -> bool {
    c.is_whitespace() || !is_legible(c) || "<>()[],;:".contains(c) // quotes, braces and bars belong to some addresses
}

fn mask_word(word: &str, masked: &mut String) {
    let at = AT_SIGNS.iter().filter_map(|sign| Some((word.rfind(sign)?, sign.len())));
    let Some((at, length)) = at.max() else { return masked.push_str(word) };
    let domain = &word[at + length..];
    if at == 0 || domain.is_empty() {
        // `@example.org`, or half an address at the end of a line: hide what there is of it
        masked.push_str(if at == 0 { word } else { "***@" });
        return;
    }
    masked.extend(word.chars().next());
    masked.push_str("***@");
    masked.push_str(domain);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whatever_looks_like_an_address_is_masked() {
        for (text, masked) in [
            ("nothing here", "nothing here"),
            ("<ana@example.org>: user unknown", "<a***@example.org>: user unknown"),
            ("to=ana@example.org, proto", "t***@example.org, proto"),
            ("mailto:ana.p@example.org; eva@x.es", "mailto:a***@example.org; e***@x.es"),
            ("SRS0=x=y=shop.example=ana@relay.example", "S***@relay.example"),
            ("a@b.example@c.example", "a***@c.example"),
            ("a@b.example/c@d.example", "a***@d.example"),
            ("https://x.example/?q=ana%40example.org", "https:/***@example.org"),
            ("用户@例子.example ", "用***@例子.example "),
            ("ana@ example.org", "***@ example.org"),
            ("\"a..b\"@carrier.example", "\"***@carrier.example"),
            ("ana@1 and eva@localhost", "a***@1 and e***@localhost"),
            ("a{na}@x.example|b", "a***@x.example|b"),
            ("{\"usermail\":\"ana\\u0040x.example\"}", "{\"usermail\":\"***@x.example\"}"),
            ("ana\u{ff20}x.example", "a***@x.example"),
            ("@ana", "@ana"),
        ] {
            assert_eq!(mask_addresses(text), masked);
        }
    }

    proptest! {
        #[test]
        fn no_address_of_a_customer_is_left_whole(
            before in "[a-z<: =/|{\"]{0,4}", local in "[a-z0-9!#$%&'+/=?^_`{|}~é本.-]{1,12}",
            domain in "[a-z0-9é][a-z0-9-]{0,5}(\\.[a-z0-9]{1,4}){0,2}", after in "[a-z>: =/|}\"]{0,4}",
        ) {
            let address = format!("{local}@{domain}");
            prop_assume!(address.parse::<crate::domain::EmailAddress>().is_ok());
            let text = format!("{before}{address}{after}");
            let masked = mask_addresses(&text);
            prop_assert!(!masked.contains(&address) && !masked.contains(&format!("{local}@")), "{} became {}", text, masked);
        }

        #[test]
        fn no_address_is_left_whole(
            before in "[a-zA-Z<: é=/%@.-]{0,12}", local in "[a-z][a-z0-9.+_é-]{1,20}", domain in "[a-z]{1,8}\\.[a-z]{2,4}",
            after in "[a-zA-Z>: é=/%@.-]{0,12}", at in prop::sample::select(vec!["@", "%40"]),
        ) {
            let address = format!("{local}{at}{domain}");
            let text = format!("{before}{address}{after}");
            let masked = mask_addresses(&text);
            prop_assert!(!masked.contains(&address), "{} became {}", text, masked);
        }
    }
}
