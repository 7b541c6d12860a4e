//! What a server's reply means. RFC 5321 §4.2.1: 2yz and 3yz go on, 4yz may succeed later, 5yz never will.

use smtp_proto::Response;

use crate::{domain::EmailAddress, mail::Outcome};

/// Longest text of a reply that is kept, in characters.
const TEXT_MAX: usize = 300;

/// A reply that ends the attempt. A 421 speaks of the server, whatever it answers to.
pub(super) fn refusal(step: &str, reply: &Response<String>, to: &EmailAddress) -> Outcome {
    let text = format!("{step}: {}", describe(reply, to));
    match reply.code {
        421 => Outcome::Unreachable(text),
        500..=599 => Outcome::Permanent(text),
        // 1yz, and 2yz or 3yz out of place: the two sides are out of step, which a new session mends
        _ => Outcome::Transient(text),
    }
}

/// Code and text of a reply, without the customer's address.
pub(super) fn describe(reply: &Response<String>, to: &EmailAddress) -> String {
    one_line(reply, &masked(&reply.message, to))
}

/// Code and text of a reply that is not about a mail.
pub(super) fn greeting(reply: &Response<String>) -> String {
    one_line(reply, &reply.message)
}

/// Of bounded length and without control characters: this goes to logs.
fn one_line(reply: &Response<String>, text: &str) -> String {
    let [class, subject, detail] = reply.esc;
    let mut line = match class {
        0 => format!("{} ", reply.code),
        _ => format!("{} {class}.{subject}.{detail} ", reply.code),
    };
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    line.extend(words.flat_map(|word| [word, " "]).flat_map(str::chars).take(TEXT_MAX));
    line.truncate(line.trim_end().len());
    line
}

/// Servers like to repeat the address, sometimes in lower case.
fn masked(text: &str, to: &EmailAddress) -> String {
    let lower = to.as_str().to_lowercase();
    text.replace(to.as_str(), &to.masked()).replace(&lower, &to.masked())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, message: &str) -> Response<String> {
        Response { code, esc: [0; 3], message: message.into() }
    }

    #[test]
    fn codes_decide() {
        let to = "Ana@example.org".parse().unwrap();
        let kind = |code| refusal("RCPT TO", &reply(code, "x"), &to);
        assert_eq!(kind(450), Outcome::Transient("RCPT TO: 450 x".into()));
        assert_eq!(kind(550), Outcome::Permanent("RCPT TO: 550 x".into()));
        assert_eq!(kind(421), Outcome::Unreachable("RCPT TO: 421 x".into()));
        assert!(matches!(kind(354), Outcome::Transient(_)));
    }

    #[test]
    fn descriptions_are_fit_for_a_log() {
        let to: EmailAddress = "Ana@example.org".parse().unwrap();
        let text = "<Ana@example.org>: user\r\n\u{1b}[1munknown ana@example.org\n";
        let described = describe(&Response { code: 550, esc: [5, 1, 1], message: text.into() }, &to);
        assert_eq!(described, "550 5.1.1 <A***@example.org>: user [1munknown A***@example.org");
        assert!(describe(&reply(550, &"é".repeat(5_000)), &to).chars().count() <= TEXT_MAX + 10);
    }
}
