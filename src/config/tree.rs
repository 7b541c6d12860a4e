//! Dotted keys in and out of TOML tables.

use toml::{Table, Value, de::DeTable};

/// Calls `each` with every value that is no table, and its dotted key.
pub(super) fn flatten(prefix: &str, table: &Table, each: &mut impl FnMut(String, &Value)) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, each),
            leaf => each(key, leaf),
        }
    }
}

/// Puts a value where its dotted key says.
pub(super) fn insert_at(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        // what stands under an open table is one name, dots and all
        Some((open @ ("dwells" | "kafka"), name)) => {
            let inner = table.entry(open).or_insert_with(|| Value::Table(Table::new()));
            inner.as_table_mut().expect("a section is a table").insert(name.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            insert_at(inner.as_table_mut().expect("a section is a table"), rest, value);
        }
    }
}

/// Where a key stands in the text.
pub(super) fn start_of(table: &DeTable<'_>, key: &str) -> usize {
    let named = |wanted: &str| table.iter().find(|(name, _)| name.get_ref() == wanted);
    // a name in quotes may have dots of its own
    if let Some((name, _)) = named(key) {
        return name.span().start;
    }
    let Some((name, rest)) = key.split_once('.') else { return 0 };
    let Some((_, value)) = named(name) else { return 0 };
    value.get_ref().as_table().map_or(value.span().start, |inner| start_of(inner, rest))
}

/// The line of a place in the text, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}
