use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Invalid;

/// The language in which a customer is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// Spanish, the default.
    #[default]
    Es,
    /// English.
    En,
}

impl Lang {
    /// Every language, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Es, Self::En];

    /// The ISO 639-1 code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Es => "es",
            Self::En => "en",
        }
    }

    /// The language of the first of some language tags (RFC 5646) that is one of ours, whatever its region or script:
    /// `en-US`, `es_MX.UTF-8`, `EN`, `fr, en;q=0.5`. Clients send what their system says, which says it in many ways.
    pub fn meant_by(tags: &str) -> Option<Self> {
        tags.split([',', ' ']).find_map(|tag| {
            let primary = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            Self::ALL.into_iter().find(|lang| primary.eq_ignore_ascii_case(lang.code()))
        })
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Lang {
    type Err = Invalid;

    /// For whoever can be told that it is wrong; an order is never refused for its language, see [`Lang::meant_by`].
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::meant_by(text).ok_or(Invalid::of("lang", "must be \"es\" or \"en\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_means_its_primary_language() {
        for (tags, meant) in [
            ("es", Some(Lang::Es)),
            ("EN", Some(Lang::En)),
            ("en-US", Some(Lang::En)),
            ("es-MX", Some(Lang::Es)),
            ("en_GB", Some(Lang::En)),
            ("es-Latn-419", Some(Lang::Es)),
            ("es_ES.UTF-8", Some(Lang::Es)),
            (" en ", Some(Lang::En)),
            ("fr, en;q=0.5,es;q=0.2", Some(Lang::En)),
            ("fr", None),
            ("eng", None),
            ("enx-US", None),
            ("x-en", None),
            ("", None),
            ("-", None),
            ("ñ", None),
            ("español", None),
        ] {
            assert_eq!(Lang::meant_by(tags), meant, "{tags:?}");
        }
    }
}
