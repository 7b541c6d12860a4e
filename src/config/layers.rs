use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use toml::{Table, Value, de::DeTable};

use super::{
    Config, DEFAULT, Error, Result,
    names::{self, DWELLS, KAFKA, PREFIX},
    tree::{flatten, insert_at, line_of, start_of},
    values::without_password,
    words::{in_words, kind, shown},
};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag on the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// Whether it differs from the default.
    pub changed: bool,
    /// Where it comes from.
    pub origin: Origin,
}

/// Every key with its default.
static DEFAULTS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let table: Table = DEFAULT.parse().expect("the built-in defaults are valid, a test reads them");
    let mut defaults = BTreeMap::new();
    flatten("", &table, &mut |key, value| drop(defaults.insert(key, value.clone())));
    defaults
});

/// All keys, dotted, with the values in force.
#[derive(Clone, PartialEq)]
pub struct Layers(BTreeMap<String, Entry>);

/// Keys whose values are never shown.
const SECRETS: [&str; 5] = ["tracking.api_key", "store.password", "mail.password", "ops.token", "registry.password"];
/// Keys whose values may hold a password: like the secrets, they can be kept in a file of their own.
const URLS: [&str; 4] = ["log.url", "store.url", "mail.url", "registry.url"];

impl Layers {
    pub(super) fn defaults() -> Self {
        let entry = |value: &Value| Entry { value: value.clone(), changed: false, origin: Origin::Default };
        Self(DEFAULTS.iter().map(|(key, value)| (key.clone(), entry(value))).collect())
    }

    /// Every key with its entry, by name; secrets are masked.
    pub fn shown(&self) -> impl Iterator<Item = (&str, Entry)> {
        self.0.iter().map(|(key, entry)| {
            let mut entry = entry.clone();
            let text = entry.value.as_str().unwrap_or_default();
            if is_secret(key) && !text.is_empty() {
                entry.value = "(set, hidden)".into();
            } else if URLS.contains(&key.as_str()) {
                entry.value = without_password(text).into();
            }
            (key.as_str(), entry)
        })
    }

    /// What no log may say: the values of secrets, and passwords and users in URLs.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        for (key, entry) in &self.0 {
            let text = entry.value.as_str().unwrap_or_default();
            if is_secret(key) {
                secrets.push(text.to_owned());
            } else if URLS.contains(&key.as_str())
                && let Some((login, _)) = text.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'))
                && let Some((_, password)) = login.split_once(':')
            {
                let decoded = percent_encoding::percent_decode_str(password).decode_utf8_lossy().into_owned();
                secrets.extend([password.to_owned(), decoded]);
            }
        }
        secrets
    }

    pub(super) fn file(&mut self, path: &Path, text: &str) -> Result<()> {
        let at = |offset| Origin::File(path.to_owned(), line_of(text, offset));
        let syntax = |e: toml::de::Error| Error::Syntax {
            place: at(e.span().map_or(0, |span| span.start)),
            text: format!("not valid TOML: {}", e.message()),
        };
        let table: Table = text.parse().map_err(syntax)?;
        let spans = DeTable::parse(text).map_err(syntax)?;
        let mut values = Vec::new();
        flatten("", &table, &mut |key, value| values.push((key, value.clone())));
        for (key, value) in &values {
            let origin = at(start_of(spans.get_ref(), key));
            let Some(base) = base_of_file_key(key) else {
                self.insert(key, value.clone(), origin)?;
                continue;
            };
            if values.iter().any(|(other, _)| other == base) {
                return Err(bad(origin, key, format!("is set together with {base}: keep one of them")));
            }
            let Some(file) = value.as_str() else {
                return Err(bad(origin, key, "must be the path of a file, in quotes".into()));
            };
            let secret = read_secret(&origin, base, file)?;
            self.insert(base, secret.into(), origin)?;
        }
        Ok(())
    }

    /// Returns what to warn of.
    pub(super) fn environment(&mut self, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<String>> {
        let names = names::variables(self.0.keys().map(String::as_str));
        let mut ours = BTreeMap::new();
        for (name, text) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let text = text.into_string().map_err(|_| Error::NotText(name.to_owned()))?;
            // empty is how scripts and compose files say "not set"
            if !text.is_empty() && !names::is_no_key(name) {
                ours.insert(name.to_owned(), text);
            }
        }
        let mut warnings = Vec::new();
        for (name, text) in &ours {
            let origin = Origin::Environment(name.clone());
            if let Some(key) = names.get(name) {
                self.set(key, text, origin)?;
                continue;
            }
            if let Some(key) = names::kafka_property(name) {
                let (key, value) = match base_of_file_key(&key) {
                    Some(base) => (base.to_owned(), read_secret(&origin, base, text)?),
                    None => (key, text.clone()),
                };
                self.insert(&key, value.into(), origin)?;
                continue;
            }
            let base = name.strip_suffix("_FILE").and_then(|base| Some((base, names.get(base)?)));
            match base.filter(|(_, key)| may_be_in_file(key)) {
                Some((base, key)) if ours.contains_key(base) => {
                    return Err(bad(origin, key, format!("is also set by {base}: keep one of them")));
                }
                Some((_, key)) => {
                    let secret = read_secret(&origin, key, text)?;
                    self.insert(key, secret.into(), origin)?;
                }
                None => {
                    let hint = names::nearest_variable(name, names.keys().map(String::as_str));
                    let hint = hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
                    warnings.push(format!("the environment variable {name} means nothing here{hint}"));
                }
            }
        }
        Ok(warnings)
    }

    pub(super) fn flag(&mut self, key: &str, text: &str) -> Result<()> {
        self.set(key, text, Origin::Flag(names::flag(key)))
    }

    /// Sets a key from text: as it stands where text is expected, a list separated by commas.
    fn set(&mut self, key: &str, text: &str, origin: Origin) -> Result<()> {
        if key == DWELLS {
            for part in text.split(',') {
                let Some((name, value)) = part.split_once('=') else {
                    return Err(bad(origin, key, format!("must look like STATE=8s,STATE=500ms, not {text:?}")));
                };
                self.insert(&format!("{DWELLS}.{}", name.trim()), value.trim().into(), origin.clone())?;
            }
            return Ok(());
        }
        let value = match self.0.get(key).map(|entry| &entry.value) {
            Some(Value::Integer(_)) => text.trim().parse().map_or_else(|_| text.into(), Value::Integer),
            Some(Value::Boolean(_)) => text.trim().parse().map_or_else(|_| text.into(), Value::Boolean),
            Some(Value::Array(_)) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(Into::into).collect())
            }
            _ => text.into(),
        };
        self.insert(key, value, origin)
    }

    fn insert(&mut self, key: &str, value: Value, origin: Origin) -> Result<()> {
        let value = if names::is_open(key) { as_text(value) } else { value };
        match self.0.get(key) {
            Some(entry) if entry.value.type_str() != value.type_str() => {
                let text = format!("must be {}, not {}", kind(&entry.value), shown(&value));
                return Err(bad(origin, key, text));
            }
            Some(_) if value.as_integer().is_some_and(|number| number < 0) => {
                return Err(bad(origin, key, "must not be negative".into()));
            }
            Some(_) => {}
            None if names::is_open(key) && value.is_str() => {}
            None if names::is_open(key) => {
                return Err(bad(origin, key, format!("must be text in quotes, not {}", shown(&value))));
            }
            None if [DWELLS, KAFKA].contains(&key)
                || self.0.keys().any(|known| known.starts_with(&format!("{key}."))) =>
            {
                return Err(bad(origin, key, format!("is a section: write [{key}] and its keys below")));
            }
            None => {
                let nearest = names::nearest_key(key, self.0.keys().map(String::as_str));
                return Err(Error::UnknownKey { place: origin, key: key.to_owned(), nearest });
            }
        }
        let changed = DEFAULTS.get(key) != Some(&value);
        self.0.insert(key.to_owned(), Entry { value, changed, origin });
        Ok(())
    }

    pub(super) fn settings(&self) -> Result<Config> {
        let mut table = Table::new();
        for (key, entry) in &self.0 {
            insert_at(&mut table, key, entry.value.clone());
        }
        let config: Config = serde_path_to_error::deserialize(Value::Table(table))
            .map_err(|e| self.bad_value(e.path().to_string(), in_words(e.inner().message())))?;
        config.check().map_err(|(key, text)| self.bad_value(key, text))?;
        Ok(config)
    }

    fn bad_value(&self, key: String, text: String) -> Error {
        // an element of a list, `flow.states[0]`, stands where the list does
        let whole = key.split('[').next().unwrap_or(&key);
        let place = self.0.get(whole).map_or(Origin::Default, |entry| entry.origin.clone());
        Error::BadValue { place, key, text }
    }
}

impl fmt::Debug for Layers {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

fn bad(place: Origin, key: &str, text: String) -> Error {
    Error::BadValue { place, key: key.to_owned(), text }
}

fn may_be_in_file(key: &str) -> bool {
    SECRETS.contains(&key) || URLS.contains(&key) || is_kafka_property(key)
}

fn is_kafka_property(key: &str) -> bool {
    names::is_open(key) && key.starts_with(KAFKA)
}

/// Any property of the Kafka client whose name says that it holds a secret is one: rather one too many.
fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 4] = ["password", "secret", "key.pem", "oauthbearer"];
    SECRETS.contains(&key) || is_kafka_property(key) && WORDS.iter().any(|word| key.contains(word))
}

/// Numbers and truth values as the client library reads them.
fn as_text(value: Value) -> Value {
    match value {
        Value::Integer(_) | Value::Boolean(_) => value.to_string().into(),
        other => other,
    }
}

/// `tracking.api_key` of `tracking.api_key_file`.
fn base_of_file_key(key: &str) -> Option<&str> {
    key.strip_suffix("_file").filter(|base| may_be_in_file(base))
}

/// A secret is shorter.
const SECRET_MAX: u64 = 64 << 10;

fn read_secret(place: &Origin, key: &str, path: &str) -> Result<String> {
    let text = crate::files::read_text(Path::new(path), SECRET_MAX).map_err(|source| Error::SecretFile {
        place: place.clone(),
        key: key.to_owned(),
        path: path.into(),
        source,
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(bad(place.clone(), key, format!("cannot come from {path}, which is empty")));
    }
    Ok(text.to_owned())
}
