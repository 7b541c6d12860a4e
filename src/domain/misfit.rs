use super::Invalid;

/// What a record is refused for, in one word: a closed list, for labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is no JSON.
    Syntax,
    /// A field that it must have is not there.
    Missing,
    /// A field is of another type.
    Type,
    /// A field breaks a rule of its format.
    Rule,
    /// It fits, and contradicts what is known already.
    Conflict,
}

impl Fault {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Syntax, Self::Missing, Self::Type, Self::Rule, Self::Conflict];

    /// As it stands in dead letters, and in labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Missing => "missing",
            Self::Type => "type",
            Self::Rule => "rule",
            Self::Conflict => "conflict",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// Why a record cannot be used, and where in it; no part of the record is quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Misfit {
    /// What it is refused for.
    pub fault: Fault,
    /// The field that is wrong, as a JSON Pointer (RFC 6901) into the value; `None` where no field is.
    pub pointer: Option<String>,
    /// The same in words for an operator.
    pub reason: String,
}

impl Misfit {
    /// A field, called as records call it, breaks a rule.
    pub fn at(field: &str, invalid: &Invalid) -> Self {
        Self { fault: Fault::Rule, pointer: Some(format!("/{field}")), reason: invalid.to_string() }
    }

    /// The record contradicts what is known of its order.
    pub fn conflict(reason: String) -> Self {
        Self { fault: Fault::Conflict, pointer: Some("/orderid".into()), reason }
    }
}

impl From<Invalid> for Misfit {
    fn from(invalid: Invalid) -> Self {
        Self {
            fault: Fault::Rule,
            pointer: invalid.field.map(|field| format!("/{field}")),
            reason: invalid.to_string(),
        }
    }
}
