use std::{io, path::PathBuf};

use super::Origin;

/// What is wrong with a setting, with the place to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML.
    #[error("{place}: {text}")]
    Syntax {
        /// File and line.
        place: Origin,
        /// The parser's words.
        text: String,
    },
    /// No such key.
    #[error("{place}: there is no key {key}{}", nearest.as_ref().map(|key| format!("; did you mean {key}?")).unwrap_or_default())]
    UnknownKey {
        /// File and line.
        place: Origin,
        /// The key.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A value that its key cannot have.
    #[error("{place}: {key} {text}")]
    BadValue {
        /// File and line, environment variable, or flag.
        place: Origin,
        /// The key.
        key: String,
        /// What is wrong with it, and what would be right.
        text: String,
    },
    /// A secret's file cannot be read.
    #[error("{place}: cannot read the value of {key} from {}", path.display())]
    SecretFile {
        /// File and line, or environment variable.
        place: Origin,
        /// The key.
        key: String,
        /// The file with the secret.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A variable that is not UTF-8.
    #[error("the environment variable {0} is not UTF-8")]
    NotText(String),
}

/// Result with this module's error.
pub type Result<T> = std::result::Result<T, Error>;
