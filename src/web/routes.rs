use std::{
    convert::Infallible,
    future::ready,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, Uri, header::ORIGIN},
    response::{IntoResponse, Response},
};
use hyper_util::service::TowerToHyperService;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::cors::CorsLayer;

use super::{Origin, Problem, cors};

/// Who asked for a page: a request without its body.
pub struct Browser {
    /// The method.
    pub method: Method,
    /// The address.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
}

/// Shows a browser's answer as a page, if it is a problem: its extension says so.
pub type Dress = Arc<dyn Fn(&Browser, Response) -> Response + Send + Sync>;

/// The routes of a listener, which may come later than the listener; until then every request is answered 503. A
/// cheap handle.
#[derive(Clone, Default)]
pub struct Routes {
    router: Arc<OnceLock<TowerToHyperService<Router>>>,
    cors: Option<CorsLayer>,
    dress: Option<Dress>,
}

impl Routes {
    /// Routes that come later. Scripts of these origins may read why a request was refused before any route was asked;
    /// what else they may read is the routes' own matter.
    pub fn of(origins: &[Origin]) -> Self {
        Self { cors: cors(origins), ..Self::default() }
    }

    /// The same, with problems shown to browsers like this.
    #[must_use]
    pub fn dressed(self, dress: Dress) -> Self {
        Self { dress: Some(dress), ..self }
    }

    /// Opens the listener. Only the first call counts.
    pub fn open(&self, router: Router) {
        // with_state builds the routes once, not again for each request
        let _ = self.router.set(TowerToHyperService::new(router.with_state(())));
    }

    pub(super) fn get(&self) -> Option<&TowerToHyperService<Router>> {
        self.router.get()
    }

    pub(super) fn dress(&self, browser: &Browser, answer: Response) -> Response {
        match &self.dress {
            Some(dress) => dress(browser, answer),
            None => answer,
        }
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
