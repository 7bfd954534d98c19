//! The HTTP front: the only module that knows HTTP.
//!
//! [`listen`] accepts connections, `router` lists the paths, `json` and `fields` read bodies, `ask` takes a
//! request through the gateway, `error` turns what went wrong into status codes and bodies.
//!
//! **Invariant:** no handler blocks, and no request reaches the gateway before its payload was checked.

pub(crate) mod access;
mod admin;
mod ask;
pub(crate) mod audit;
mod body;
pub mod cors;
pub(crate) mod entrance;
mod error;
mod fields;
mod inference;
mod inputs;
mod json;
pub mod keys;
pub mod limits;
pub mod listen;
mod middleware;
mod openai;
mod openapi;
mod origin;
mod record;
mod repository;
mod slashes;
mod tensor;
mod workbench;

use crate::gateway::Gateway;
use crate::http::limits::{Budget, RequestLimits};
use crate::http::workbench::Workbench;
use crate::site::Site;
use access::Access;
use axum::Router;
use axum::routing::{get, post};
use keys::KeyRings;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Limits and access of the front.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// The largest body taken.
    pub body_limit: usize,
    /// Memory for all bodies together; beyond it, long ones are turned away.
    pub bodies_limit: usize,
    /// What one request may ask for.
    pub request: RequestLimits,
    /// How long a body may take to come in.
    pub body_timeout: Duration,
    /// How long a connection may take to send a whole request head, waiting for its first byte included.
    pub head_timeout: Duration,
    /// The most connections at once; more are turned away.
    pub connections: usize,
    /// How long a shutdown waits for requests inside.
    pub drain_limit: Duration,
    /// Keys of which clients must show one as `Authorization: Bearer KEY`; without inference keys everybody may ask
    /// models, without admin keys the admin paths are open to this machine at most.
    pub keys: KeyRings,
    /// Names of this server, beside its addresses and `localhost`, that the admin paths answer to.
    pub host_names: Vec<String>,
    /// Whether each request leaves a line in the log at info.
    pub access_log: bool,
    /// Origins of pages that may ask models from a browser, or `*` for all; see [`cors::is_origin`].
    pub cors_origins: Vec<String>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            body_limit: 8 << 20,
            bodies_limit: 256 << 20,
            request: RequestLimits::default(),
            body_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(75),
            connections: 16_384,
            drain_limit: Duration::from_secs(60),
            keys: KeyRings::default(),
            host_names: Vec::new(),
            access_log: false,
            cors_origins: Vec::new(),
        }
    }
}

/// What all handlers share.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) settings: HttpSettings,
    pub(crate) access: Arc<Access>,
    /// Seconds since 1970 at which the server started.
    started_s: u64,
    requests: Arc<AtomicU64>,
    bodies: Arc<Budget>,
    workbench: Arc<Workbench>,
    /// Where another placement is asked for.
    site: Weak<Site>,
}

impl Front {
    /// A front for `gateway`.
    pub(crate) fn new(gateway: Arc<Gateway>, settings: HttpSettings, site: Weak<Site>) -> Arc<Self> {
        let started_s = now_s();
        let access = Arc::new(Access::new(settings.keys.clone(), settings.host_names.clone()));
        let bodies = Budget::new(settings.bodies_limit);
        let places = std::thread::available_parallelism().map_or(1, usize::from);
        let workbench = Arc::new(Workbench::new(places));
        Arc::new(Self { gateway, settings, access, started_s, requests: Arc::default(), bodies, workbench, site })
    }

    /// The same for another gateway.
    pub(crate) fn succeeded(&self, gateway: Arc<Gateway>) -> Arc<Self> {
        let Self { settings, access, started_s, requests, bodies, workbench, site, .. } = self;
        let (settings, requests, site) = (settings.clone(), Arc::clone(requests), Weak::clone(site));
        let (bodies, workbench, access) = (Arc::clone(bodies), Arc::clone(workbench), Arc::clone(access));
        Arc::new(Self { gateway, settings, access, started_s: *started_s, requests, bodies, workbench, site })
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// All paths.
pub(crate) fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route("/v1/models", get(openai::models::list))
        .route("/v1/models/{model}", get(openai::models::one))
        .route("/v1/embeddings", post(openai::embeddings::embed))
        .route("/v1/completions", post(openai::completions::complete))
        .route("/v1/chat/completions", post(openai::chat::chat))
        .route("/v2", get(inference::server))
        .route("/v2/health/live", get(inference::live))
        .route("/v2/health/ready", get(inference::ready))
        .route("/v2/models/stats", get(repository::all_statistics))
        .route("/v2/models/{model}", get(inference::model))
        .route("/v2/models/{model}/ready", get(inference::model_ready))
        .route("/v2/models/{model}/infer", post(inference::infer))
        .route("/v2/models/{model}/config", get(repository::config))
        .route("/v2/models/{model}/stats", get(repository::statistics))
        .route("/v2/models/{model}/versions/{version}", get(inference::model_version))
        .route("/v2/models/{model}/versions/{version}/config", get(repository::config_version))
        .route("/v2/models/{model}/versions/{version}/stats", get(repository::statistics_version))
        .route("/v2/models/{model}/versions/{version}/ready", get(inference::model_version_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(inference::infer_version))
        .route("/v2/repository/index", post(repository::index))
        .route("/metrics", get(admin::metrics))
        .route("/placement", get(admin::shown_placement))
        .route("/admin/placement", get(admin::placement).put(admin::place))
        .route("/admin/drain", get(admin::drain_state).post(admin::drain).delete(admin::resume))
        .route("/openapi.json", get(openapi::document))
        .fallback(slashes::fallback)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(axum::middleware::from_fn(slashes::readable))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&front), middleware::around))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&front), cors::around))
        .with_state(front)
}
