//! The names of keys and of environment variables.

use std::collections::BTreeMap;

/// Environment variables that are shorter than their key would make them; their flags are as short.
const SHORT: [(&str, &str); 6] = [
    ("ENCARGO_LOG", "log.url"),
    ("ENCARGO_STORE", "store.url"),
    ("ENCARGO_MAIL", "mail.url"),
    ("ENCARGO_CATALOG", "catalog.path"),
    ("ENCARGO_DWELL", "flow.dwell"),
    ("ENCARGO_OTLP", "telemetry.otlp"),
];
/// What all our variables begin with.
pub(super) const PREFIX: &str = "ENCARGO_";
/// Variables that are no keys.
const NOT_KEYS: [&str; 2] = ["ENCARGO_CONFIG", "ENCARGO_KILL_ROUNDS"];
/// What all variables begin with that only the tests read.
const TESTS: &str = "ENCARGO_TEST_";

/// Whether a variable that looks like ours stands for no setting, and rightly so.
pub(super) fn is_no_key(name: &str) -> bool {
    NOT_KEYS.contains(&name) || name.starts_with(TESTS)
}
/// The table of dwells, where any state's name may stand: `flow.dwells.STATE`.
pub(super) const DWELLS: &str = "flow.dwells";
/// The table of the Kafka client's properties, whose names only the client knows.
pub(super) const KAFKA: &str = "log.kafka";
/// How alike two names must be for one to be taken as a slip of the other, from 0 to 1.
const ALIKE: f64 = 0.6;

/// Every variable with its key.
pub(super) fn variables<'a>(keys: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let long = keys.map(|key| (variable(key), key.to_owned()));
    let open = (variable(DWELLS), DWELLS.to_owned());
    long.chain([open]).chain(SHORT.map(|(name, key)| (name.to_owned(), key.to_owned()))).collect()
}

/// The key of a variable that names a property of the Kafka client: `ENCARGO_LOG_KAFKA_SASL_USERNAME`.
pub(super) fn kafka_property(name: &str) -> Option<String> {
    let property = name.strip_prefix(&variable(KAFKA))?.strip_prefix('_')?;
    let (property, file) = property.strip_suffix("_FILE").map_or((property, ""), |property| (property, "_file"));
    Some(format!("{KAFKA}.{}{file}", property.to_lowercase().replace('_', ".")))
}

/// Whether a key stands in a table where any name may stand.
pub(super) fn is_open(key: &str) -> bool {
    [DWELLS, KAFKA]
        .iter()
        .any(|table| key.strip_prefix(table).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.')))
}

/// The variable of the environment that sets a key: `ENCARGO_HTTP_COMMAND_WAIT`. Some have a shorter one besides.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "_"))
}

/// The flag of a key, if it had one.
pub(super) fn flag(key: &str) -> String {
    // `encargo log init` is about the log alone, so its flags need not say so
    if let Some(name) = ["log.partitions", "log.replication", "log.min_insync"].iter().find(|other| **other == key) {
        return format!("--{}", name["log.".len()..].replace('_', "-"));
    }
    let short = SHORT.iter().find(|(_, other)| *other == key).map(|(name, _)| (*name).to_owned());
    let name = short.unwrap_or_else(|| variable(key));
    format!("--{}", name[PREFIX.len()..].to_lowercase().replace('_', "-"))
}

/// The known key that was probably meant: it differs by a slip, or the section was left out or mistaken.
pub(super) fn nearest_key<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    nearest(key, known.clone()).or_else(|| {
        let name = last(key);
        let mut alike = known.filter(|other| likeness(name, last(other)) >= ALIKE);
        let only = alike.next()?;
        // of several that are alike, none is more likely than the others
        alike.next().is_none().then(|| only.to_owned())
    })
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The known variable that was probably meant.
pub(super) fn nearest_variable<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    // what they all begin with would make any two look alike
    let bare = nearest(name.trim_start_matches(PREFIX), known.map(|name| name.trim_start_matches(PREFIX)))?;
    Some(format!("{PREFIX}{bare}"))
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = known.map(|known| (likeness(name, known), known));
    let (score, best) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (score >= ALIKE).then(|| best.to_owned())
}

fn likeness(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b)
}
