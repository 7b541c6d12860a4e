//! A mail as it crosses the wire: after DATA (RFC 5321 §4.5.2) with its dots doubled and the lone dot at the end, after BDAT
//! (RFC 3030 §2) as it is, behind its length; and nothing that a server could take for the end before that.

/// Longest line without its end, in bytes (RFC 5321 §4.5.3.1.6).
const LINE_MAX: usize = 998;

/// Why a mail must not be sent as it stands. The composer makes none of these; this is the last line of defence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("it has a line feed or a carriage return of its own")]
    BareLineEnd,
    #[error("it has a line of more than 998 bytes")]
    LongLine,
    #[error("it has a NUL")]
    Nul,
}

/// Appends the mail to `out`, ready for DATA. On a flaw `out` is left as it was.
pub(super) fn append(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Flaw> {
    check(raw)?;
    out.reserve(raw.len() + raw.len() / 64 + 8);
    if raw.starts_with(b".") {
        out.push(b'.');
    }
    // few lines begin with a dot: what is between them is one copy
    let mut begin = 0;
    for end in memchr::memmem::find_iter(raw, b"\n.") {
        out.extend_from_slice(&raw[begin..=end]);
        out.push(b'.');
        begin = end + 1;
    }
    out.extend_from_slice(&raw[begin..]);
    out.extend_from_slice(last_end(raw));
    out.extend_from_slice(b".\r\n");
    Ok(())
}

/// Appends BDAT and the mail as its only chunk. On a flaw `out` is left as it was.
pub(super) fn append_chunk(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Flaw> {
    check(raw)?;
    let end = last_end(raw);
    out.extend_from_slice(format!("BDAT {} LAST\r\n", raw.len() + end.len()).as_bytes());
    out.extend_from_slice(raw);
    out.extend_from_slice(end);
    Ok(())
}

/// The end of the last line, where it lacks one.
fn last_end(raw: &[u8]) -> &'static [u8] {
    if raw.is_empty() || raw.ends_with(b"\n") { b"" } else { b"\r\n" }
}

/// In a few passes over the whole, since one call for each line costs more than the bytes do.
fn check(raw: &[u8]) -> Result<(), Flaw> {
    if memchr::memchr(0, raw).is_some() {
        return Err(Flaw::Nul);
    }
    let (mut begin, mut ends) = (0, 0);
    for at in memchr::memchr_iter(b'\n', raw) {
        let Some(text) = raw[begin..at].strip_suffix(b"\r") else { return Err(Flaw::BareLineEnd) };
        if text.len() > LINE_MAX {
            return Err(Flaw::LongLine);
        }
        (begin, ends) = (at + 1, ends + 1);
    }
    // each line feed has one before it, so any other is one of its own
    if memchr::memchr_iter(b'\r', raw).count() != ends {
        return Err(Flaw::BareLineEnd);
    }
    if raw.len() - begin > LINE_MAX { Err(Flaw::LongLine) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn on_the_wire(raw: &[u8]) -> Result<Vec<u8>, Flaw> {
        let mut out = b"DATA".to_vec();
        let result = append(raw, &mut out);
        assert!(out.starts_with(b"DATA") && (result.is_ok() || out.len() == 4));
        result.map(|()| out.split_off(4))
    }

    #[test]
    fn dots_are_doubled_and_the_end_is_unmistakable() {
        assert_eq!(on_the_wire(b"A: b\r\n\r\n.\r\n..\r\na.\r\n").unwrap(), b"A: b\r\n\r\n..\r\n...\r\na.\r\n.\r\n");
        assert_eq!(on_the_wire(b"no end").unwrap(), b"no end\r\n.\r\n");
        assert_eq!(on_the_wire(b"").unwrap(), b".\r\n");
    }

    #[test]
    fn a_chunk_is_the_mail_behind_its_length() {
        let chunk = |raw: &[u8]| {
            let mut out = b"RCPT".to_vec();
            let result = append_chunk(raw, &mut out);
            assert!(out.starts_with(b"RCPT") && (result.is_ok() || out.len() == 4));
            result.map(|()| String::from_utf8(out.split_off(4)).unwrap())
        };
        assert_eq!(chunk(b"A: b\r\n\r\n.\r\n").unwrap(), "BDAT 11 LAST\r\nA: b\r\n\r\n.\r\n");
        assert_eq!(chunk(b"no end").unwrap(), "BDAT 8 LAST\r\nno end\r\n");
        assert_eq!(chunk(b"").unwrap(), "BDAT 0 LAST\r\n");
        assert_eq!(chunk(b"a\nMAIL FROM:<x@y>\r\n"), Err(Flaw::BareLineEnd));
    }

    #[test]
    fn what_could_smuggle_is_refused() {
        for (raw, flaw) in [
            (&b"a\n.\r\nMAIL FROM:<x@y>\r\n"[..], Flaw::BareLineEnd),
            (b"a\r.\r\n", Flaw::BareLineEnd),
            (b"a\r\r\n", Flaw::BareLineEnd),
            (b"a\r", Flaw::BareLineEnd),
            (b"a\0b\r\n", Flaw::Nul),
            (&[b'a'; 999], Flaw::LongLine),
        ] {
            assert_eq!(on_the_wire(raw), Err(flaw), "{raw:?}");
        }
        assert!(on_the_wire(&[b'a'; 998]).is_ok());
    }

    proptest! {
        #[test]
        fn a_server_reads_back_what_was_meant(raw in prop::collection::vec(prop::sample::select(&[".", "\r\n", "a", "b"][..]), 0..40)) {
            let raw = raw.concat().into_bytes();
            let wire = on_the_wire(&raw).unwrap();
            let end = wire.windows(5).position(|five| five == b"\r\n.\r\n");
            prop_assert!(wire == b".\r\n" || end == Some(wire.len() - 5), "one end, at the end: {wire:?}");
            let mut read = Vec::new();
            for line in wire[..wire.len() - 3].split_inclusive(|byte| *byte == b'\n') {
                read.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            }
            let mut meant = raw;
            if !meant.is_empty() && !meant.ends_with(b"\r\n") {
                meant.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(read, meant);
        }
    }
}
