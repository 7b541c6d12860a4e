//! Forms that change something: only those that this desk has made are taken.

use axum::{body::Bytes, http::StatusCode};
use subtle::ConstantTimeEq as _;

use crate::{env::Env, web::Problem};

/// What stands in every form, and no other site can read.
pub(super) struct Secret(String);

/// The fields of a form that was made here.
pub(super) struct Form(Vec<(String, String)>);

impl Secret {
    /// A new one for each process: forms of before a restart have to be loaded again.
    pub(super) fn new(env: &Env) -> Self {
        let mut random = [0; 16];
        if let Err(error) = env.random.fill(&mut random) {
            tracing::error!(%error, "the system has no random numbers, so the desk takes no form");
            return Self(String::new());
        }
        Self(format!("{:032x}", u128::from_be_bytes(random)))
    }

    /// For a form.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Reads a form, which must hold the secret.
    pub(super) fn read(&self, body: &Bytes) -> Result<Form, Problem> {
        let form = Form(form_urlencoded::parse(body).into_owned().collect());
        let is_ours = !self.0.is_empty() && bool::from(form.get("form").as_bytes().ct_eq(self.0.as_bytes()));
        if is_ours {
            return Ok(form);
        }
        let detail = "Este formulario no es de esta página, o es de antes de un reinicio: vuelve a cargarla.\n\
                      This form is not from this page, or from before a restart: load the page again.";
        Err(Problem::new(StatusCode::FORBIDDEN, "foreign-form", "Not a form of this page", detail))
    }
}

impl Form {
    /// A field without what surrounds it; empty when it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.trim())
    }

    /// A field that says something.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, domain::Timestamp};

    #[test]
    fn only_a_form_with_the_secret_is_taken() {
        let env = Env::simulated(Clock::manual(Timestamp::from_millis(0)), 7);
        let (secret, other) = (Secret::new(&env), Secret::new(&env));
        let read = |text: String| secret.read(&Bytes::from(text));
        let form = read(format!("form={}&reason=+me+equivoqu%C3%A9+&by=", secret.text())).ok().unwrap();
        assert_eq!((form.get("reason"), form.given("by"), form.get("x")), ("me equivoqué", None, ""));
        for wrong in ["", "form=", &format!("form={}", other.text()), &format!("form={}x", secret.text())] {
            assert_eq!(read(wrong.to_owned()).err().unwrap().status(), StatusCode::FORBIDDEN, "{wrong}");
        }
        let without = Secret(String::new());
        assert!(without.read(&Bytes::from("form=")).is_err());
    }
}
