//! Quoted-printable (RFC 2045 §6.7) in pieces: each begins and ends a line on the wire, so that a piece that stands in many
//! mails is encoded once.

/// Longest line without its end, in bytes.
const LINE_MAX: usize = 76;

/// Appends a piece of a text whose lines end in `\n`. Where the text goes on after it, its last line ends in a soft break.
pub(super) fn append(text: &str, out: &mut Vec<u8>) {
    for line in text.split_inclusive('\n') {
        let (line, is_whole) = line.strip_suffix('\n').map_or((line, false), |line| (line, true));
        let mut column = 0;
        for (i, byte) in line.bytes().enumerate() {
            // white space at the end of a line gets lost on the way
            let is_literal = match byte {
                b' ' | b'\t' => !(is_whole && i + 1 == line.len()),
                b'!'..=b'~' => byte != b'=',
                _ => false,
            };
            let width = if is_literal { 1 } else { 3 };
            if column + width >= LINE_MAX {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            column += width;
            if is_literal {
                out.push(byte);
            } else {
                let digit = |half: u8| b"0123456789ABCDEF"[usize::from(half)];
                out.extend_from_slice(&[b'=', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        out.extend_from_slice(if is_whole { b"\r\n" } else { b"=\r\n" });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(pieces: &[&str]) -> String {
        let mut out = Vec::new();
        for piece in pieces {
            append(piece, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_plain_stays_and_the_rest_is_spelt_out() {
        assert_eq!(encoded(&["a = b \n\nñ"]), "a =3D b=20\r\n\r\n=C3=B1=\r\n");
        assert_eq!(encoded(&["a ", "", "b\n"]), "a =\r\nb\r\n");
        let long = encoded(&[&"x".repeat(200)]);
        assert!(long.split("\r\n").all(|line| line.len() <= LINE_MAX), "{long}");
    }

    proptest! {
        #[test]
        fn pieces_are_read_back_as_one_text(pieces in prop::collection::vec("[ =.a-zñ\\t\n€]{0,100}", 0..6)) {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let wire = encoded(&pieces);
            prop_assert!(wire.split("\r\n").all(|line| line.len() <= LINE_MAX && !line.ends_with([' ', '\t'])));
            let mail = format!("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{wire}");
            let parsed = mail_parser::MessageParser::new().parse(&mail).unwrap();
            prop_assert_eq!(parsed.body_text(0).unwrap_or_default().replace("\r\n", "\n"), pieces.concat());
        }
    }
}
