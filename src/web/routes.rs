use std::sync::{Arc, OnceLock};

use axum::Router;
use hyper_util::service::TowerToHyperService;

/// The routes of a listener, which may come later than the listener; until then every request is answered 503. A
/// cheap handle.
#[derive(Clone, Default)]
pub struct Routes(Arc<OnceLock<TowerToHyperService<Router>>>);

impl Routes {
    /// Opens the listener. Only the first call counts.
    pub fn open(&self, router: Router) {
        // with_state builds the routes once, not again for each request
        let _ = self.0.set(TowerToHyperService::new(router.with_state(())));
    }

    pub(super) fn get(&self) -> Option<&TowerToHyperService<Router>> {
        self.0.get()
    }
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        let routes = Self::default();
        routes.open(router);
        routes
    }
}
