//! Dead letters: a record as it was, and in headers of its own where it came from and why it was refused.

use schemars::JsonSchema;

use super::{Header, Headers, UNREADABLE, content, schema_id};
use crate::domain::{DeadLetter, Fault, Misfit, Source, Timestamp};

const ATTEMPTS: &str = "dead.attempts";
/// With this the names of a dead letter's own headers begin. Those that are not of its position stay with the letter, behind the
/// record's.
pub const OWN: &str = "dead.";
/// Own headers that a letter's other fields hold.
const FIELDS: [&str; 5] = ["dead.topic", "dead.partition", "dead.offset", "dead.reason", ATTEMPTS];
const FAULT: &str = "dead.fault";
const POINTER: &str = "dead.pointer";
const SCHEMA: &str = "dead.schema";
const VERSION: &str = "dead.version";
const PRODUCER: &str = "dead.producer";
/// Longest name of a producer that a letter keeps among its own headers, in bytes.
const PRODUCER_MAX: usize = 256;
/// The header that says what was cut off a dead letter; it stays with the letter, and such a one is not driven again.
pub(super) const CUT: &str = "dead.cut";
/// Most bytes of a dead letter, with some room below the brokers' default for a whole batch (1,048,588): its own headers
/// come on top of a record that was itself as large as they take.
const LETTER_MAX: usize = 1_000_000;
/// Of a letter that is cut, most bytes of its key, and of its headers.
const PART_MAX: usize = 64 * 1024;
/// What a header costs beside its bytes, at most.
const HEADER_COST: usize = 16;
/// Longest reason that is believed.
const REASON_MAX: usize = 2_000;
/// Most times that a record can say that it was driven again; the stores count with a sign.
const ATTEMPTS_MAX: u32 = 1_000_000;

/// The headers of a dead letter: where a record came from that could not be processed, and why it could not.
///
/// Key, value and the other headers are those of the record, unchanged. Each of these headers is text.
#[derive(JsonSchema)]
#[schemars(title = "dead letter")]
#[expect(dead_code, reason = "only its schema is wanted; headers are written one by one")]
pub(super) struct DeadLetterHeaders {
    /// The topic from which the record came.
    #[schemars(rename = "dead.topic", length(min = 1, max = 249), example = &"compra_detalle")]
    topic: String,
    /// The partition of that topic.
    #[schemars(rename = "dead.partition", regex(pattern = "^[0-9]+$"), example = &"3")]
    partition: String,
    /// The offset in that partition.
    #[schemars(rename = "dead.offset", regex(pattern = "^[0-9]+$"), example = &"17")]
    offset: String,
    /// Why it was refused, in words for an operator.
    #[schemars(rename = "dead.reason", example = &"orderid must be a whole number from 1 to 9007199254740991")]
    reason: Option<String>,
    /// How often it was driven again so far.
    #[schemars(rename = "dead.attempts", regex(pattern = "^[0-9]+$"), example = &"0")]
    attempts: Option<String>,
    /// What it was refused for: `syntax` (no JSON), `missing` (a field that it must have), `type`, `rule` (a field breaks one) or
    /// `conflict` (with what is known of the order).
    #[schemars(rename = "dead.fault", example = &"rule", extend("x-since" = 2))]
    fault: Option<String>,
    /// The field that is wrong, as a JSON Pointer (RFC 6901) into the value, which may be a whole CloudEvent; missing where no field is.
    #[schemars(rename = "dead.pointer", regex(pattern = "^(/.*)?$"), example = &"/price", extend("x-since" = 2))]
    pointer: Option<String>,
    /// The `$id` of the schema that it was read by.
    #[schemars(rename = "dead.schema", example = &"urn:encargo:order", extend("x-since" = 2))]
    schema: Option<String>,
    /// The version of the records up to which its reader understands that schema (`x-since`).
    #[schemars(rename = "dead.version", regex(pattern = "^[0-9]+$"), example = &"2", extend("x-since" = 2))]
    version: Option<String>,
    /// Who wrote the record by its own account: the source of a CloudEvent (`ce_source`).
    #[schemars(rename = "dead.producer", length(max = 256), example = &"/shop", extend("x-since" = 2))]
    producer: Option<String>,
    /// What of the record is not kept, of one that was too large; such a one is not driven again.
    #[schemars(
        rename = "dead.cut",
        example = &"0 of 9 bytes of the key, 0 of 0 headers and 737280 of 900000 bytes of the value are kept"
    )]
    cut: Option<String>,
    /// The offsets of the records that the letter stands for, of one that stands for many: so many came that they are not kept one by
    /// one. Under the same source there may be several such letters; the last one names all.
    #[schemars(
        rename = "dead.run",
        regex(pattern = "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"),
        example = &"17-4711,4713",
        extend("x-since" = 2)
    )]
    run: Option<String>,
}

/// Cuts a dead letter that is too large to be written, so that it says so: what is kept of key, headers and value is
/// their beginning, and the whole record is where it came from for as long as its topic keeps it.
pub fn fit_dead_letter(letter: &mut DeadLetter) {
    letter.headers = without_own(&letter.headers);
    let key = letter.key.as_ref().map_or(0, Vec::len);
    let headers: usize = letter.headers.iter().map(cost).sum();
    let (value, count) = (letter.value.len(), letter.headers.len());
    if key + headers + value + letter.reason.len() + 2 * REASON_MAX <= LETTER_MAX {
        note_unreadable(letter);
        return;
    }
    if let Some(key) = &mut letter.key {
        key.truncate(PART_MAX);
    }
    let mut kept = 0;
    let fits = |header: &Header| {
        kept += cost(*header);
        kept <= PART_MAX
    };
    letter.headers = letter.headers.iter().take_while(fits).collect();
    letter.value.truncate(LETTER_MAX - 2 * PART_MAX - 4 * REASON_MAX);
    let text = format!(
        "{} of {key} bytes of the key, {} of {count} headers and {} of {value} bytes of the value are kept",
        letter.key.as_ref().map_or(0, Vec::len),
        letter.headers.len(),
        letter.value.len()
    );
    letter.headers.push(CUT, text.as_bytes());
}

/// Has a letter say why its record does not fit, in words and for machines, by which format, and who wrote it.
pub fn note_misfit(letter: &mut DeadLetter, format: &str, misfit: &Misfit) {
    let is_kept = |(name, _): &Header| *name == CUT || !name.starts_with(OWN);
    let mut headers: Headers = letter.headers.iter().filter(is_kept).collect();
    headers.push(FAULT, misfit.fault.name().as_bytes());
    if let Some(pointer) = &misfit.pointer {
        headers.push(POINTER, pointer.as_bytes());
    }
    headers.push(SCHEMA, schema_id(format).as_bytes());
    headers.push(VERSION, super::VERSION.to_string().as_bytes());
    if let Some(producer) = content::producer(&letter.value, &letter.headers) {
        // the record's own may not be kept, and lists leave long headers out
        headers.push(PRODUCER, &producer.as_bytes()[..producer.floor_char_boundary(PRODUCER_MAX)]);
    }
    letter.headers = headers;
    letter.reason.clone_from(&misfit.reason);
}

/// What a dead letter tells of why its record did not fit; letters of earlier versions tell nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// What it was refused for.
    pub fault: Option<Fault>,
    /// The field that was wrong, as a JSON Pointer.
    pub pointer: Option<&'a str>,
    /// The `$id` of the schema that it was read by.
    pub schema: Option<&'a str>,
    /// The version of the records up to which its reader understood that.
    pub version: Option<u32>,
    /// Who wrote the record, by its own account.
    pub producer: Option<&'a str>,
}

/// Why a dead letter's record did not fit.
pub fn told(headers: &Headers) -> Told<'_> {
    Told {
        fault: headers.text(FAULT).and_then(Fault::named),
        pointer: headers.text(POINTER),
        schema: headers.text(SCHEMA),
        version: headers.text(VERSION).and_then(|version| version.parse().ok()),
        producer: headers.text(PRODUCER).or_else(|| headers.text("ce_source")),
    }
}

fn cost((name, value): Header) -> usize {
    name.len() + value.len() + HEADER_COST
}

/// Has a letter say that headers are missing whose names are not UTF-8; where they stood is left to be seen.
pub fn note_unreadable(letter: &mut DeadLetter) {
    let missing = letter.headers.iter().filter(|(name, _)| *name == UNREADABLE).count();
    if missing > 0 && cut(&letter.headers).is_none() {
        let text = format!("{missing} of {} headers are not kept: their names are not UTF-8", letter.headers.len());
        letter.headers.push(CUT, text.as_bytes());
    }
}

/// The headers of a dead letter of which nothing is kept but where it came from and why; it has neither key nor value.
/// `None` when it is cut so far already.
pub fn position_only(key: Option<&[u8]>, value: &[u8], headers: &Headers) -> Option<Headers> {
    let own = |(name, _): &Header| name.starts_with(OWN) && *name != CUT;
    let mut kept: Headers = headers.iter().filter(own).collect();
    if key.is_none() && value.is_empty() && headers.len() <= kept.len() + 1 {
        return None;
    }
    let text = match cut(headers) {
        Some(text) => format!("{text}, and of that nothing: the topic of the dead letters takes no more"),
        None => format!(
            "nothing of {} bytes of the key, {} headers and {} bytes of the value is kept: the topic of the dead letters \
             takes no more",
            key.map_or(0, <[u8]>::len),
            headers.len() - kept.len(),
            value.len()
        ),
    };
    kept.push(CUT, text.as_bytes());
    Some(kept)
}

/// What was cut off a dead letter; `None` when it is whole.
pub fn cut(headers: &Headers) -> Option<&str> {
    headers.text(CUT)
}

/// The headers of a dead letter: those of the record, then where it came from and why it was refused.
pub fn dead_letter_headers(letter: &DeadLetter) -> Headers {
    let source = &letter.source;
    let mut headers = without_own(&letter.headers);
    headers.extend(letter.headers.iter().filter(is_kept));
    for (name, value) in [
        ("topic", source.topic.clone()),
        ("partition", source.partition.to_string()),
        ("offset", source.offset.to_string()),
        ("reason", letter.reason.clone()),
        ("attempts", letter.attempts.to_string()),
    ] {
        headers.push(&format!("{OWN}{name}"), value.as_bytes());
    }
    headers
}

/// Reads a dead-letter record; `None` when it lacks the headers that say where it came from.
pub fn decode_dead_letter(key: Option<&[u8]>, value: &[u8], headers: &Headers, at: Timestamp) -> Option<DeadLetter> {
    let dead = |name: &str| headers.text(&format!("{OWN}{name}"));
    // anybody can write these: what no topic is called, and numbers that no store keeps, are no source
    let topic = dead("topic").filter(|topic| is_topic(topic))?;
    let mut reason = dead("reason").unwrap_or("unknown").replace(char::is_control, "\u{fffd}");
    reason.truncate(reason.floor_char_boundary(REASON_MAX));
    let mut kept = without_own(headers);
    kept.extend(headers.iter().filter(is_kept));
    Some(DeadLetter {
        source: Source {
            topic: topic.to_owned(),
            partition: dead("partition")?.parse().ok().filter(|number| i32::try_from(*number).is_ok())?,
            offset: dead("offset")?.parse().ok().filter(|offset| i64::try_from(*offset).is_ok())?,
        },
        reason,
        attempts: attempts(headers),
        at,
        key: key.map(<[u8]>::to_vec),
        value: value.to_vec(),
        headers: kept,
    })
}

/// The headers of a dead letter that goes back to its topic: its own, and how often that has happened.
pub fn redrive_headers(letter: &DeadLetter) -> Headers {
    let mut headers = without_own(&letter.headers);
    headers.push(ATTEMPTS, (letter.attempts + 1).to_string().as_bytes());
    headers
}

/// How often a record was driven again, from its headers.
pub fn attempts(headers: &Headers) -> u32 {
    let said: u32 = headers.text(ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or(0);
    said.min(ATTEMPTS_MAX)
}

/// Kafka's rules for a topic's name.
fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Whether an own header stays with its letter.
fn is_kept((name, _): &Header) -> bool {
    name.starts_with(OWN) && !FIELDS.contains(name)
}

/// The headers that are not a dead letter's own: whoever writes these to another topic says nothing by them.
pub fn without_own(headers: &Headers) -> Headers {
    headers.iter().filter(|(name, _)| !name.starts_with(OWN)).collect()
}
