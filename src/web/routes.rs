use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, header::ORIGIN},
    response::{IntoResponse, Response},
};
use hyper_util::service::TowerToHyperService;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::cors::CorsLayer;

use super::{Origin, Problem, cors};

/// The routes of a listener, which may come later than the listener; until then every request is answered 503. A
/// cheap handle.
#[derive(Clone, Default)]
pub struct Routes {
    router: Arc<OnceLock<TowerToHyperService<Router>>>,
    cors: Option<CorsLayer>,
}

impl Routes {
    /// Routes that come later. Scripts of these origins may read why a request was refused before any route was asked;
    /// what else they may read is the routes' own matter.
    pub fn of(origins: &[Origin]) -> Self {
        Self { router: Arc::default(), cors: cors(origins) }
    }

    /// Opens the listener. Only the first call counts.
    pub fn open(&self, router: Router) {
        // with_state builds the routes once, not again for each request
        let _ = self.router.set(TowerToHyperService::new(router.with_state(())));
    }

    pub(super) fn get(&self) -> Option<&TowerToHyperService<Router>> {
        self.router.get()
    }

    /// The answer to a request from that origin that no route was asked about.
    pub(super) async fn refuse(&self, origin: Option<HeaderValue>, problem: Problem) -> Response {
        let (Some(cors), Some(origin)) = (&self.cors, origin) else { return problem.into_response() };
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(ORIGIN, origin);
        let refusing = cors.layer(service_fn(|_| ready(Ok::<_, Infallible>(problem.clone().into_response()))));
        refusing.oneshot(request).await.unwrap_or_else(|never| match never {})
    }
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        let routes = Self::default();
        routes.open(router);
        routes
    }
}
