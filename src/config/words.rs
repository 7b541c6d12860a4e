//! What is wrong with a value, in words.

use toml::Value;

/// What a key wants, with its default as an example.
pub(super) fn kind(default: &Value) -> String {
    match default {
        Value::String(text) if text.is_empty() => "text in quotes".into(),
        Value::String(_) => format!("text in quotes, like {default}"),
        Value::Integer(_) => format!("a whole number, like {default}"),
        Value::Boolean(_) => "true or false".into(),
        Value::Array(_) => format!("a list, like {default}"),
        other => format!("a {}", other.type_str()),
    }
}

pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
        scalar => scalar.to_string(),
    }
}

/// serde's words for what the types refuse, where they are not ours already.
pub(super) fn in_words(message: &str) -> String {
    match message {
        m if m.starts_with("invalid value: integer") => "is too large".into(),
        m if m.starts_with("invalid type: ") => m.replacen("invalid type: ", "cannot be the ", 1),
        m if m.starts_with("unknown variant ") => m.replacen("unknown variant ", "cannot be ", 1).replace('`', "\""),
        m => m.to_owned(),
    }
}
