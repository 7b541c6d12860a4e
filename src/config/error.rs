use std::path::PathBuf;

/// What is wrong with a setting, with the place to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not TOML.
    #[error("{}: {text}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words, with the line.
        text: String,
    },
    /// No such key.
    #[error("{place}: unknown key {key:?}{}", nearest.as_ref().map(|key| format!(", did you mean {key:?}?")).unwrap_or_default())]
    UnknownKey {
        /// File and line, or the environment variable.
        place: String,
        /// The key.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A value that its key cannot have.
    #[error("{place}: {key} {text}")]
    BadValue {
        /// File and line, environment variable, or flag.
        place: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        text: String,
    },
    /// A secret's file cannot be read.
    #[error("{place}: cannot read {path}: {text}")]
    SecretFile {
        /// The environment variable.
        place: String,
        /// The file.
        path: String,
        /// Why.
        text: String,
    },
}
