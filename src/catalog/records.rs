//! Records of a CSV file, with the lines in which they stand.

use csv::StringRecord;

/// Line number and what is wrong there.
pub(super) type Wrong = (u64, String);

/// The line that a record begins in: the reader counts from the end of the one before, empty lines included.
pub(super) fn line_of(record: &StringRecord, text: &str) -> u64 {
    let Some(position) = record.position() else { return 1 };
    let before = text.as_bytes().get(position.byte() as usize..).unwrap_or_default();
    let empty = before.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| **byte == b'\n').count();
    position.line() + empty as u64
}

pub(super) fn read(reader: &mut csv::Reader<&[u8]>, record: &mut StringRecord) -> Result<bool, Wrong> {
    reader.read_record(record).map_err(|error| (error.position().map_or(0, csv::Position::line), error.to_string()))
}
