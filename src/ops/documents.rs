//! The documents that say what topics hold and what this listener answers, for whoever reads or writes there.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    contract::{Deployment, documents},
    web::Problem,
};

/// Each document by its path.
type Documents = Arc<Vec<(String, Bytes)>>;

/// `/asyncapi.json`, `/schemas/NAME.json` and `/openapi.json`.
pub(super) fn router(deployment: &Deployment) -> Router {
    let openapi = ("openapi.json".to_owned(), super::openapi());
    let documents = documents(deployment).into_iter().chain([openapi]);
    let documents = documents.map(|(path, document)| (path, document.to_string().into()));
    let openapi = |State(documents): State<Documents>| async move { find(&documents, "openapi.json") };
    let asyncapi = |State(documents): State<Documents>| async move { find(&documents, "asyncapi.json") };
    let schema = |State(documents): State<Documents>, Path(name): Path<String>| async move {
        find(&documents, &format!("schemas/{name}"))
    };
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/asyncapi.json", get(asyncapi))
        .route("/schemas/{schema}", get(schema))
        .with_state(Documents::new(documents.collect()))
}

fn find(documents: &Documents, path: &str) -> Result<Response, Problem> {
    let found = documents.iter().find(|(name, _)| name == path);
    let (_, document) = found.ok_or_else(|| Problem::not_found("there is no such document"))?;
    Ok(([(CONTENT_TYPE, "application/json")], document.clone()).into_response())
}
