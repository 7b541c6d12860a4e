//! Settings: flag over environment over file over the defaults in `default.toml`, which is compiled in.
//!
//! Every key has an environment variable: `ENCARGO_<SECTION>_<KEY>`, and a shorter one for some. Whatever is wrong is
//! told with the file and line, the variable or the flag that it stands in.

mod checks;
mod error;
mod layers;
mod names;
mod settings;
mod tree;
mod values;
mod words;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

pub use error::{Error, Result};
pub use layers::{Entry, Layers, Origin};
pub use names::variable;
pub use settings::*;
pub use values::{FlowFile, LogUrl, Part, Sender, StoreUrl, Zone};

use crate::files;

/// The commented defaults, as `encargo config init` writes them.
pub const DEFAULT: &str = include_str!("default.toml");

/// The file that is read from the working folder when no other is named.
pub const FILE: &str = "encargo.toml";

/// Settings in force, and where each comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Each key with its value and origin.
    pub layers: Layers,
    /// What looks like a mistake but harms nothing.
    pub warnings: Vec<String>,
}

/// Reads all layers. `file` must exist when it is given; `flags` are keys with their values as text.
pub fn load(file: Option<&Path>, flags: &[(&'static str, String)]) -> Result<Loaded> {
    load_from(file, std::env::vars_os(), flags)
}

fn load_from(
    file: Option<&Path>,
    variables: impl Iterator<Item = (OsString, OsString)>,
    flags: &[(&'static str, String)],
) -> Result<Loaded> {
    let mut layers = Layers::defaults();
    let path = file.map(Path::to_owned).or_else(|| Some(PathBuf::from(FILE)).filter(|path| path.exists()));
    let mut warnings = Vec::new();
    if let Some(path) = path {
        layers.file(&path, &read(&path)?)?;
        warnings.extend(others_read_secrets(&path, &layers));
    }
    warnings.extend(layers.environment(variables)?);
    for (key, value) in flags {
        layers.flag(key, value)?;
    }
    let config = layers.settings()?;
    Ok(Loaded { config, layers, warnings })
}

/// A word when passwords stand in a file that others may read.
fn others_read_secrets(path: &Path, layers: &Layers) -> Option<String> {
    let has_secrets = layers.secrets().iter().any(|secret| !secret.is_empty());
    let mode = files::open_to_others(path).filter(|_| has_secrets)?;
    let path = path.display();
    Some(format!("{path} holds a password and is open to others (mode {mode}): chmod 600 {path}"))
}

/// Checks a file alone, without environment and flags.
pub fn check(file: &Path) -> Result<()> {
    let mut layers = Layers::defaults();
    layers.file(file, &read(file)?)?;
    layers.settings().map(drop)
}

/// A file of settings that is larger is none of ours.
const SIZE_MAX: u64 = 1 << 20;

fn read(path: &Path) -> Result<String> {
    files::read_text(path, SIZE_MAX).map_err(|source| Error::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
