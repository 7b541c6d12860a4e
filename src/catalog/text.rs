//! From the bytes of a file to text, whatever program wrote it.

use std::borrow::Cow;

use super::records::Wrong;

const SAVE: &str =
    "save it as \"CSV UTF-8\" (Excel), or as text CSV with the character set Unicode (UTF-8) (LibreOffice)";

/// The text without a byte order mark, its lines ended by line feeds. UTF-8 and UTF-16 say what they are; one-byte
/// encodings do not, and a wrong guess would spoil every name that is not ASCII.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Wrong> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest)?.into(),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?.into(),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?.into(),
        [b'P', b'K', 3, 4, ..] | [0xd0, 0xcf, 0x11, 0xe0, ..] => {
            return Err((1, format!("this is a spreadsheet's own format, not CSV: {SAVE}")));
        }
        _ if bytes.iter().take(1_000).any(|byte| *byte == 0) => {
            return Err((1, format!("this is not text in UTF-8, perhaps UTF-16 without its mark: {SAVE}")));
        }
        _ => Cow::Borrowed(utf8(bytes)?),
    };
    let lone_return = text.as_bytes().windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n');
    Ok(if lone_return { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text })
}

fn utf8(bytes: &[u8]) -> Result<&str, Wrong> {
    std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        (line as u64, format!("not valid UTF-8, perhaps Windows-1252: {SAVE}"))
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Wrong> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let text = String::from_utf16(&pairs.iter().copied().map(unit).collect::<Vec<_>>()).ok();
    text.filter(|_| odd.is_empty()).ok_or_else(|| (1, format!("not valid UTF-16, though it begins so: {SAVE}")))
}

/// Without blanks around it, those of no width included.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}'))
}
