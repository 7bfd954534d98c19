//! What connections meet: what is served, once there is something, and before that a server that lives, is not ready,
//! and asks everybody to come back.

use crate::http::desk::Desk;
use crate::http::error::{ApiError, no_such_method};
use crate::http::middleware::{self, Surroundings};
use crate::http::site::Site;
use crate::http::{cors, inference};
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use std::sync::{Arc, OnceLock};

/// What connections meet.
pub(crate) struct Hall {
    pub(crate) desk: Arc<Desk>,
    site: OnceLock<Arc<Site>>,
    /// What there is without a site.
    loading: Router,
}

impl Hall {
    /// A hall without a site.
    pub(crate) fn new(desk: Arc<Desk>) -> Arc<Self> {
        let surroundings = Surroundings { desk: Arc::clone(&desk), gateway: None };
        let loading = Router::new()
            .route("/v2/health/live", get(inference::live))
            .route("/v2/health/ready", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
            .fallback(|| async { ApiError::loading() })
            .method_not_allowed_fallback(no_such_method)
            .layer(from_fn(super::slashes::readable))
            .layer(from_fn_with_state(surroundings, middleware::around))
            .layer(from_fn_with_state(Arc::clone(&desk), cors::around));
        Arc::new(Self { desk, site: OnceLock::new(), loading })
    }

    /// From now on there is something to serve. Only once.
    pub(crate) fn open(&self, site: Arc<Site>) {
        assert!(self.site.set(site).is_ok(), "a hall is opened once");
    }

    /// What is served, if anything is yet.
    pub(crate) fn site(&self) -> Option<&Arc<Site>> {
        self.site.get()
    }

    /// The paths at present.
    pub(crate) fn router(&self) -> Router {
        self.site().map_or_else(|| self.loading.clone(), |site| site.router())
    }
}
