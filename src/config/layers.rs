use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use toml::{Table, Value, de::DeTable};

use super::{Config, DEFAULT, Error};

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
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// All keys, dotted, with the values in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Layers(BTreeMap<String, Entry>);

/// Environment variables that are shorter than their key would make them.
const SHORT_NAMES: [(&str, &str); 5] = [
    ("ENCARGO_LOG", "log.url"),
    ("ENCARGO_STORE", "store.url"),
    ("ENCARGO_MAIL", "mail.url"),
    ("ENCARGO_CATALOG", "catalog.path"),
    ("ENCARGO_DWELL", "flow.dwell"),
];
/// Keys under which any name may stand.
const OPEN_TABLE: &str = "flow.dwells.";
/// Variables that are no keys.
const NOT_KEYS: [&str; 1] = ["ENCARGO_CONFIG"];
/// Keys whose values are never shown.
const SECRETS: [&str; 1] = ["tracking.api_key"];

impl Layers {
    pub(super) fn defaults() -> Self {
        let table: Table = DEFAULT.parse().expect("the built-in defaults are valid, a test reads them");
        let mut layers = Self(BTreeMap::new());
        flatten("", &table, &mut |key, value| {
            layers.0.insert(key, Entry { value: value.clone(), origin: Origin::Default });
        });
        layers
    }

    /// Every key with its entry, by name; secrets are masked.
    pub fn shown(&self) -> impl Iterator<Item = (&str, Entry)> {
        self.0.iter().map(|(key, entry)| {
            let mut entry = entry.clone();
            if SECRETS.contains(&key.as_str()) && entry.value.as_str() != Some("") {
                entry.value = Value::String("(set, hidden)".into());
            }
            (key.as_str(), entry)
        })
    }

    pub(super) fn file(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let syntax = |e: toml::de::Error| {
            let line = e.span().map_or(1, |span| line_of(text, span.start));
            Error::Syntax { path: path.to_owned(), text: format!("line {line}: {}", e.message()) }
        };
        let table: Table = text.parse().map_err(syntax)?;
        let spans = DeTable::parse(text).map_err(syntax)?;
        let mut values = Vec::new();
        flatten("", &table, &mut |key, value| values.push((key, value.clone())));
        for (key, value) in values {
            let line = line_of(text, start_of(spans.get_ref(), &key));
            let origin = Origin::File(path.to_owned(), line);
            self.insert(&key, value, origin)?;
        }
        Ok(())
    }

    pub(super) fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Result<(), Error> {
        let names = self.variable_names();
        for (name, text) in variables.filter(|(name, _)| name.starts_with("ENCARGO_")) {
            if NOT_KEYS.contains(&name.as_str()) {
                continue;
            }
            let (base, text) = match name.strip_suffix("_FILE").filter(|base| names.contains_key(*base)) {
                Some(base) => (base, read_secret(&name, &text)?),
                None => (name.as_str(), text),
            };
            match names.get(base) {
                Some(key) => self.set(key, &text, Origin::Environment(name.clone()))?,
                None => {
                    let hint = nearest(&name, names.keys().map(String::as_str));
                    let hint = hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
                    eprintln!("encargo: the environment variable {name} means nothing here{hint}");
                }
            }
        }
        Ok(())
    }

    /// Every variable with its key: the short names, and `ENCARGO_<SECTION>_<KEY>` for all.
    fn variable_names(&self) -> BTreeMap<String, String> {
        let long = self.0.keys().map(|key| (format!("ENCARGO_{}", key.to_uppercase().replace('.', "_")), key.clone()));
        long.chain(SHORT_NAMES.map(|(name, key)| (name.to_owned(), key.to_owned()))).collect()
    }

    /// Sets a key from text: as it stands where a string is expected, parsed as TOML elsewhere.
    pub(super) fn set(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), Error> {
        let expected = self.0.get(key).map(|entry| entry.value.clone());
        let value = match expected {
            Some(Value::String(_)) | None => Value::String(text.to_owned()),
            Some(Value::Array(_)) if !text.trim_start().starts_with('[') => {
                Value::Array(text.split(',').map(|part| Value::String(part.trim().to_owned())).collect())
            }
            Some(_) => text.parse().map_err(|_| Error::BadValue {
                place: origin.to_string(),
                key: key.to_owned(),
                text: format!("cannot be {text:?}"),
            })?,
        };
        self.insert(key, value, origin)
    }

    fn insert(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), Error> {
        let open = key.strip_prefix(OPEN_TABLE).is_some_and(|name| !name.is_empty());
        match self.0.get(key) {
            None if !open => {
                let nearest = nearest(key, self.0.keys().map(String::as_str));
                return Err(Error::UnknownKey { place: origin.to_string(), key: key.to_owned(), nearest });
            }
            Some(entry) if entry.value.type_str() != value.type_str() => {
                let text = format!("must be a {}, not a {}", entry.value.type_str(), value.type_str());
                return Err(Error::BadValue { place: origin.to_string(), key: key.to_owned(), text });
            }
            _ => {}
        }
        self.0.insert(key.to_owned(), Entry { value, origin });
        Ok(())
    }

    pub(super) fn settings(&self) -> Result<Config, Error> {
        let mut table = Table::new();
        for (key, entry) in &self.0 {
            insert_at(&mut table, key, entry.value.clone());
        }
        let config: Config = serde_path_to_error::deserialize(Value::Table(table))
            .map_err(|e| self.bad_value(&e.path().to_string(), e.inner().message().to_owned()))?;
        config.check().map_err(|(key, text)| self.bad_value(key, text))?;
        Ok(config)
    }

    fn bad_value(&self, key: &str, text: String) -> Error {
        let place = self.0.get(key).map_or_else(|| "configuration".to_owned(), |entry| entry.origin.to_string());
        Error::BadValue { place, key: key.to_owned(), text }
    }
}

fn flatten(prefix: &str, table: &Table, each: &mut impl FnMut(String, &Value)) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, each),
            leaf => each(key, leaf),
        }
    }
}

fn insert_at(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            insert_at(inner.as_table_mut().expect("a section is a table"), rest, value);
        }
    }
}

fn start_of(table: &DeTable<'_>, key: &str) -> usize {
    let (name, rest) = key.split_once('.').unwrap_or((key, ""));
    let found = table.iter().find(|(other, _)| other.get_ref() == name);
    match found {
        Some((_, value)) if !rest.is_empty() => {
            value.get_ref().as_table().map_or(value.span().start, |inner| start_of(inner, rest))
        }
        Some((name, _)) => name.span().start,
        None => 0,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 > 0.7).then(|| best.1.to_owned())
}

fn read_secret(place: &str, path: &str) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::SecretFile {
        place: place.to_owned(),
        path: path.to_owned(),
        text: e.to_string(),
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
