use axum::body::Bytes;

/// The fields of a form; that it was made here is seen to before (`src/ops/access/mod.rs`).
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn of(body: &Bytes) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// A field without what surrounds it; empty when it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.trim())
    }

    /// A field that says something.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }
}
