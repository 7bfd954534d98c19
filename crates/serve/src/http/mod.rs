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
mod budget;
pub mod cors;
pub(crate) mod desk;
pub(crate) mod entrance;
mod error;
mod fields;
pub(crate) mod hall;
mod inference;
mod inputs;
mod json;
pub mod keys;
pub mod limits;
pub mod listen;
mod metadata;
mod middleware;
mod openai;
mod openapi;
mod origin;
mod patient;
mod record;
mod replace_error;
mod repository;
pub(crate) mod site;
mod slashes;
mod tensor;
mod workbench;

use crate::gateway::{Gateway, ServedModel};
use crate::http::budget::Budget;
use crate::http::desk::Desk;
use crate::http::limits::RequestLimits;
use crate::http::middleware::Surroundings;
use crate::http::site::Site;
use crate::http::workbench::Workbench;
use axum::Router;
use axum::routing::{get, post};
use keys::KeyRings;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Limits and access of the front.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// The largest body taken.
    pub body_limit: usize,
    /// Memory for all bodies together; beyond it, long ones are turned away.
    pub bodies_limit: usize,
    /// Memory for all answers together, from when they are asked for until they are sent; beyond it, requests for large
    /// ones are turned away.
    pub answers_limit: usize,
    /// What one request may ask for.
    pub request: RequestLimits,
    /// How long a body may take to come in.
    pub body_timeout: Duration,
    /// How long a client may take nothing of an answer before its connection is closed.
    pub send_timeout: Duration,
    /// How long a connection may take to send a whole request head, waiting for its first byte included.
    pub head_timeout: Duration,
    /// The most connections at once; more are turned away.
    pub connections: usize,
    /// How long a server that was told to stop goes on serving while it says that it is not ready, so that balancers
    /// can look elsewhere; being told to drain cuts it short.
    pub drain_delay: Duration,
    /// How long a shutdown waits for requests inside, after that.
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
            answers_limit: 1 << 30,
            request: RequestLimits::default(),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(60),
            head_timeout: Duration::from_secs(75),
            connections: 16_384,
            drain_delay: Duration::ZERO,
            drain_limit: Duration::from_secs(60),
            keys: KeyRings::default(),
            host_names: Vec::new(),
            access_log: false,
            cors_origins: Vec::new(),
        }
    }
}

/// Up to so many bytes a body is ordinary, and gets in beside large ones.
const ORDINARY_BODY: usize = 32 << 10;
/// Up to so many bytes an answer is ordinary: an embedding of thousands of numbers, or thousands of tokens.
const ORDINARY_ANSWER: usize = 128 << 10;

/// What all handlers share.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) settings: Arc<HttpSettings>,
    pub(crate) desk: Arc<Desk>,
    bodies: Arc<Budget>,
    answers: Arc<Budget>,
    workbench: Arc<Workbench>,
    /// Where another placement is asked for.
    site: Weak<Site>,
}

impl Front {
    /// A front for `gateway`.
    pub(crate) fn new(gateway: Arc<Gateway>, desk: Arc<Desk>, site: Weak<Site>) -> Arc<Self> {
        let settings = Arc::clone(&desk.settings);
        let bodies = Budget::new(settings.bodies_limit, ORDINARY_BODY);
        let answers = Budget::new(settings.answers_limit, ORDINARY_ANSWER);
        let places = std::thread::available_parallelism().map_or(1, usize::from);
        let workbench = Arc::new(Workbench::new(places));
        Arc::new(Self { gateway, settings, desk, bodies, answers, workbench, site })
    }

    /// The same for another gateway.
    pub(crate) fn succeeded(&self, gateway: Arc<Gateway>) -> Arc<Self> {
        let (settings, desk, site) = (Arc::clone(&self.settings), Arc::clone(&self.desk), Weak::clone(&self.site));
        let (bodies, answers) = (Arc::clone(&self.bodies), Arc::clone(&self.answers));
        let workbench = Arc::clone(&self.workbench);
        Arc::new(Self { gateway, settings, desk, bodies, answers, workbench, site })
    }

    /// Whether `model` can be asked, for more than a moment.
    fn is_ready(&self, model: &ServedModel) -> bool {
        !self.desk.is_leaving() && self.gateway.is_ready(model)
    }
}

/// All paths.
pub(crate) fn router(front: Arc<Front>) -> Router {
    let (desk, gateway) = (Arc::clone(&front.desk), Some(Arc::clone(&front.gateway)));
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
        .layer(axum::middleware::from_fn_with_state(
            Surroundings { desk: Arc::clone(&desk), gateway },
            middleware::around,
        ))
        .layer(axum::middleware::from_fn_with_state(desk, cors::around))
        .with_state(front)
}
