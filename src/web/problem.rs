use std::borrow::Cow;

use axum::{
    Router,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// An error as the client sees it: `application/problem+json` (RFC 9457). Causes inside the server stay there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    rare: Option<Box<Rare>>,
    retry_after_s: Option<u32>,
}

/// What few problems have; apart, so that results stay small.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rare {
    members: Map<String, Value>,
    challenge: Option<&'static str>,
    page: Option<&'static str>,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// The field's name.
    pub field: Cow<'static, str>,
    /// What is wrong, and what would be right.
    pub detail: Cow<'static, str>,
}

/// What is wrong (RFC 9457). Some kinds have members of their own besides.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Problem")]
pub(super) struct Body<'a> {
    /// Its kind, for programs: `urn:encargo:problem:` and a word.
    #[serde(rename = "type")]
    #[schemars(example = &"urn:encargo:problem:not-found")]
    kind: String,
    /// The kind in words.
    title: &'a str,
    /// The answer's status.
    status: u16,
    /// What is wrong, and what would be right.
    detail: &'a str,
    /// What is wrong with each field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    members: Option<&'a Map<String, Value>>,
}

impl Problem {
    /// A problem of a kind: `kind` is the last word of its `type`, for programs; `title` says the same for people.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into(), errors: Vec::new(), rare: None, retry_after_s: None }
    }

    /// 400: the request cannot be read.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read", detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 415: the body is of another type than this one.
    pub fn unsupported_type(expected: &'static str) -> Self {
        let detail = format!("the Content-Type must be {expected}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-type", "Unsupported content type", detail)
    }

    /// 422: the request can be read, but fields of it are wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = "see errors for what is wrong with each field";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Invalid request", detail) }
    }

    /// 503: not now, and nothing was done; the client should come back.
    pub fn overloaded(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too much to do", detail).retry_after(1)
    }

    /// 503: something that is needed is away, and nothing was done; the client should come back.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not possible now", detail).retry_after(2)
    }

    /// 500: the log says why, the client is not told.
    pub fn internal() -> Self {
        let detail = "the server's log has the reason";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// The same in other words.
    #[must_use]
    pub fn saying(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// Tells the client when to come back.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Says something more, for programs, in a member of its own (RFC 9457 §3.2).
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.rare.get_or_insert_default().members.insert(name.to_owned(), value.into());
        self
    }

    /// Tells the client how to prove who it is, as `WWW-Authenticate` says it.
    #[must_use]
    pub fn challenge(mut self, challenge: &'static str) -> Self {
        self.rare.get_or_insert_default().challenge = Some(challenge);
        self
    }

    /// Names the words under which browsers are shown it (`NAME_title` and `NAME_text`); without a name those of its
    /// status are.
    #[must_use]
    pub fn shown_as(mut self, page: &'static str) -> Self {
        self.rare.get_or_insert_default().page = Some(page);
        self
    }

    /// The name of the words under which browsers are shown it.
    pub fn page(&self) -> Option<&'static str> {
        self.rare.as_ref()?.page
    }

    /// What it says for programs in a member of its own.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.rare.as_ref()?.members.get(name)
    }

    /// The last word of its `type`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong in general.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// When to come back, in seconds.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            kind: format!("urn:encargo:problem:{}", self.kind),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            members: self.rare.as_ref().map(|rare| &rare.members),
        };
        let json = serde_json::to_vec(&body).expect("strings and numbers always serialise");
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.rare.as_ref().and_then(|rare| rare.challenge) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(self); // for whoever shows it as a page
        response
    }
}

/// Answers unknown paths and wrong methods (these with `Allow`) with problems. Call it on the whole router, last.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .method_not_allowed_fallback(|| async {
            let detail = "this path has other methods: see the Allow header";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
        })
        .fallback(|| async { Problem::not_found("there is nothing at this path") })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(problem: Problem) -> String {
        let bytes = axum::body::to_bytes(problem.into_response().into_body(), 10_000).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn has_the_members_of_the_standard() {
        insta::assert_snapshot!(
            body(Problem::not_found("no such order")).await,
            @r#"{"type":"urn:encargo:problem:not-found","title":"Not found","status":404,"detail":"no such order"}"#
        );
        insta::assert_snapshot!(
            body(Problem::not_found("no such order").with("orderid", 7).with("allowed", vec!["cancel"])).await,
            @r#"{"type":"urn:encargo:problem:not-found","title":"Not found","status":404,"detail":"no such order","allowed":["cancel"],"orderid":7}"#
        );
        let errors = vec![FieldError { field: "email".into(), detail: "must be there".into() }];
        insta::assert_snapshot!(
            body(Problem::invalid(errors)).await,
            @r#"{"type":"urn:encargo:problem:invalid","title":"Invalid request","status":422,"detail":"see errors for what is wrong with each field","errors":[{"field":"email","detail":"must be there"}]}"#
        );
    }

    #[test]
    fn tells_when_to_come_back() {
        let response = Problem::overloaded("wait").retry_after(7).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }
}
