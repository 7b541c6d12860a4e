//! A server's reply, read within bounds whatever the server writes (RFC 5321 §4.2).

use crate::domain::foreign_text::{is_legible, mask_addresses};

/// Longest text of a reply that is kept, in bytes; what a server writes beyond it is read and dropped.
const KEPT_MAX: usize = 2 << 10;
/// A reply longer than this is no reply, in bytes.
const LENGTH_MAX: usize = 64 << 10;
/// Longest description of a reply, in characters.
const TEXT_MAX: usize = 300;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// The enhanced status code (RFC 3463), where there is one.
    pub(super) status: Option<(u8, u16, u16)>,
    /// The lines' texts without the code, one a line; fit for a log, whatever the server wrote (promise I7).
    pub(super) text: String,
}

/// What was read is no reply of a server that is in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the answer is not SMTP")]
    NotSmtp,
    #[error("the answer has no end")]
    Endless,
}

/// Takes bytes as they come until a reply is whole.
#[derive(Debug, Default)]
pub(super) struct Reader {
    code: Option<u16>,
    text: Vec<u8>,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    length: usize,
}

impl Reader {
    /// Reads on; returns how many bytes it took, and the reply once it is whole. What follows the reply is left.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Reply>), Malformed> {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let end = memchr::memchr(b'\n', rest);
            let taken = end.map_or(rest.len(), |at| at + 1);
            used += taken;
            self.length += taken;
            if self.length > LENGTH_MAX {
                return Err(Malformed::Endless);
            }
            let room = KEPT_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&rest[..end.unwrap_or(taken).min(room)]);
            if end.is_some() && self.end_line()? {
                return Ok((used, Some(self.take())));
            }
        }
        Ok((used, None))
    }

    /// Whether the line was the last of its reply.
    fn end_line(&mut self) -> Result<bool, Malformed> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let (code, rest) = line.split_at_checked(3).ok_or(Malformed::NotSmtp)?;
        let valid = matches!(code, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']);
        let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
        // another code within a reply: these are two replies in a tangle
        if !valid || self.code.is_some_and(|first| first != code) {
            return Err(Malformed::NotSmtp);
        }
        self.code = Some(code);
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(Malformed::NotSmtp),
        };
        let room = KEPT_MAX.saturating_sub(self.text.len());
        self.text.extend_from_slice(&text[..text.len().min(room)]);
        if !last && room > text.len() {
            self.text.push(b'\n');
        }
        Ok(last)
    }

    fn take(&mut self) -> Reply {
        let this = std::mem::take(self);
        let text = String::from_utf8_lossy(&this.text);
        // here and nowhere else, so that no way out of a reply can forget it
        let legible: String = text.chars().map(|c| if c == '\n' || is_legible(c) { c } else { ' ' }).collect();
        Reply { code: this.code.unwrap_or(0), status: status(&text), text: mask_addresses(&legible).into_owned() }
    }
}

/// `5.1.1` at the beginning of a text, or `(#5.1.1)` anywhere in it, as qmail has it.
fn status(text: &str) -> Option<(u8, u16, u16)> {
    let mut words = text.split_whitespace();
    let first = words.next()?;
    let marked = |word: &str| enhanced(word.trim_start_matches('(').strip_prefix('#')?.trim_end_matches([')', '.']));
    enhanced(first).or_else(|| marked(first)).or_else(|| words.find_map(marked))
}

fn enhanced(word: &str) -> Option<(u8, u16, u16)> {
    let mut parts = word.split('.');
    let mut number = |digits_max: usize| {
        let part = parts.next().filter(|part| part.len() <= digits_max)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u16>().ok()).flatten()
    };
    let (class, subject, detail) = (number(1)?, number(3)?, number(3)?);
    (matches!(class, 2 | 4 | 5) && parts.next().is_none()).then_some((class as u8, subject, detail))
}

impl Reply {
    /// Code and text on one line, of bounded length: this goes to logs.
    pub(super) fn describe(&self) -> String {
        let mut line = format!("{} ", self.code);
        line.extend(self.text.split_whitespace().flat_map(|word| [word, " "]).flat_map(str::chars).take(TEXT_MAX));
        line.truncate(line.trim_end().len());
        line
    }

    /// Hides these words, which are secret.
    pub(super) fn hide<'a>(&mut self, secrets: impl IntoIterator<Item = &'a String>) {
        for secret in secrets {
            if !secret.is_empty() && self.text.contains(&**secret) {
                self.text = self.text.replace(&**secret, "***");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<(usize, Option<Reply>), Malformed> {
        Reader::default().read(bytes)
    }

    fn reply(text: &str) -> Reply {
        read(text.as_bytes()).unwrap().1.unwrap()
    }

    #[test]
    fn replies_are_read_one_by_one() {
        let (used, first) = read(b"250-2.1.0 one\r\n250 two\r\n354 go\r\n").unwrap();
        assert_eq!(
            (used, first.unwrap()),
            (24, Reply { code: 250, status: Some((2, 1, 0)), text: "2.1.0 one\ntwo".into() })
        );
        assert_eq!(reply("250\r\n"), Reply { code: 250, status: None, text: String::new() });
        assert_eq!(reply("451 4.7.650 later\n").status, Some((4, 7, 650)), "a line feed alone ends a line as well");
        assert_eq!(read(b"250 o").unwrap().1, None);
        for text in ["550 5.1 x\r\n", "550 1.1.1 x\r\n", "550 5.1.1.1 x\r\n", "550 5.a.1 x\r\n", "550 5.99999.1 x\r\n"]
        {
            assert_eq!(reply(text).status, None, "{text}");
        }
    }

    #[test]
    fn what_is_no_reply_is_told_as_such() {
        for bytes in [
            &b"HTTP/1.1 400\r\n"[..],
            b"25\r\n",
            b"150 x\r\n",
            b"650 x\r\n",
            b"250_x\r\n",
            b"250-a\r\n354 b\r\n",
            b"\r\n",
        ] {
            assert_eq!(read(bytes), Err(Malformed::NotSmtp), "{bytes:?}");
        }
    }

    #[test]
    fn an_over_long_reply_is_understood_and_cut_and_an_endless_one_ends() {
        let long = format!("250-{}\r\n250 2.0.0 queued\r\n", "é".repeat(20_000));
        let reply = reply(&long);
        assert_eq!(reply.code, 250);
        assert!(reply.text.len() <= KEPT_MAX + 3 && reply.describe().chars().count() <= TEXT_MAX + 4);
        assert_eq!(read("250-more\r\n".repeat(10_000).as_bytes()), Err(Malformed::Endless));
        assert_eq!(read(&vec![b'2'; LENGTH_MAX + 1]), Err(Malformed::Endless));
    }

    #[test]
    fn a_code_in_the_way_of_qmail_is_understood() {
        assert_eq!(reply("554 Sorry, no mailbox here by that name. (#5.1.1)\r\n").status, Some((5, 1, 1)));
        assert_eq!(reply("550 #5.1.0 Address rejected.\r\n").status, Some((5, 1, 0)));
        assert_eq!(reply("554 build 5.1.1 of June\r\n").status, None);
    }

    #[test]
    fn whatever_a_server_writes_is_fit_for_a_log() {
        let text =
            "550-5.1.1 <Ana@España.example>: user\r\n550 \u{1b}[1munknown\u{202e} ana@españa.example eva@x.es\r\n";
        let reply = reply(text);
        assert_eq!(reply.describe(), "550 5.1.1 <A***@España.example>: user [1munknown a***@españa.example e***@x.es");
        assert!(!reply.text.contains('\u{202e}') && !reply.text.contains("Ana@"), "nor is it kept: {:?}", reply.text);
    }

    #[test]
    fn secrets_are_hidden() {
        let mut reply = reply("535 5.7.8 c2Vjcg== of ana\r\n");
        reply.hide(&["c2Vjcg==".into(), "ana".into(), String::new()]);
        assert_eq!(reply.describe(), "535 5.7.8 *** of ***");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference_and_memory_is_bounded(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300) {
            for prefix in [&b""[..], b"250-", b"250 ok\r\n"] {
                let bytes = [prefix, &bytes].concat();
                let whole = read(&bytes);
                let (first, second) = bytes.split_at(cut.min(bytes.len()));
                let mut reader = Reader::default();
                let in_pieces = match reader.read(first) {
                    Ok((used, None)) => reader.read(second).map(|(more, reply)| (used + more, reply)),
                    other => other,
                };
                prop_assert_eq!(whole, in_pieces);
            }
        }
    }
}
