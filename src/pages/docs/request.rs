//! A request as a command that can be copied.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// All but what stands for itself in an address (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where it is sent, and with what key.
pub(super) struct Setting<'a> {
    pub(super) address: &'a str,
    /// The variable of the shell that has it.
    pub(super) key: Option<String>,
}

/// The command, with the examples of the document; what has none is a variable of the shell.
pub(super) fn curl(setting: &Setting<'_>, method: &str, path: &str, operation: &Value) -> String {
    let mut path = path.to_owned();
    let (mut query, mut headers) = (Vec::new(), Vec::new());
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        let example = text(&parameter["example"]);
        match (parameter["in"].as_str(), example) {
            (Some("path"), example) => {
                let variable = || format!("${}", name.to_ascii_uppercase());
                let value = example.map_or_else(variable, |value| encoded(&value));
                path = path.replace(&format!("{{{name}}}"), &value);
            }
            (Some("query"), Some(value)) => query.push(format!("{name}={}", encoded(&value))),
            (Some("header"), Some(value)) => headers.push(format!(" -H {}", quoted(&format!("{name}: {value}")))),
            _ => {}
        }
    }
    if let Some(key) = setting.key.as_ref().filter(|_| operation["security"].is_array()) {
        headers.push(format!(" -H \"Authorization: Bearer ${key}\""));
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let body = body(operation);
    let verb = if method == "post" && body.is_empty() { " -X POST" } else { "" };
    format!("curl -i{verb} \"{}{path}{query}\"{}{body}", setting.address, headers.concat())
}

fn body(operation: &Value) -> String {
    let contents = operation["requestBody"]["content"].as_object().into_iter().flatten();
    let Some((media, body)) = contents.into_iter().next() else { return String::new() };
    let Some(example) = text(&body["example"]) else { return String::new() };
    // which is what curl sends unless told
    let is_form = media == "application/x-www-form-urlencoded";
    let kind = if is_form { String::new() } else { format!(" -H {}", quoted(&format!("Content-Type: {media}"))) };
    format!("{kind} -d {}", quoted(&example))
}

fn text(example: &Value) -> Option<String> {
    match example {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        json => Some(json.to_string()),
    }
}

fn encoded(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

/// For the shell, as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
