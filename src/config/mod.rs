//! Settings: flag over environment over file over the defaults in `default.toml`, which is compiled in.

mod error;
mod layers;
mod settings;

use std::path::Path;

use anyhow::Context as _;

pub use error::Error;
pub use layers::{Entry, Layers, Origin};
pub use settings::*;

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
}

/// Reads all layers. `file` must exist when it is given; `flags` are keys with values in TOML or plain text.
pub fn load(file: Option<&Path>, flags: &[(&'static str, String)]) -> anyhow::Result<Loaded> {
    let mut layers = Layers::defaults();
    let path = file.map(Path::to_owned).or_else(|| Some(FILE.into()).filter(|path: &std::path::PathBuf| path.exists()));
    if let Some(path) = path {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        layers.file(&path, &text)?;
    }
    layers.environment(std::env::vars())?;
    for (key, value) in flags {
        layers.set(key, value, Origin::Flag)?;
    }
    let config = layers.settings()?;
    Ok(Loaded { config, layers })
}

#[cfg(test)]
mod tests;
