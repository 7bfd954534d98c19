//! For operators: metrics, what is loaded where, draining.

use crate::gateway::Gateway;
use crate::http::Front;
use crate::http::ask::{receive, respond};
use crate::http::error::{AdminErrors, ApiError, ErrorBody, OpenAiKeyErrors, PlaceErrors};
use crate::http::openai::json;
use crate::http::replace_error::ReplaceError;
use crate::statistics::exposition::Form;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::Response;
use serde::Serialize;
use statmux_core::files::{PlacementFile, parse_json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use utoipa::ToSchema;

/// What is loaded where, and how it is.
#[derive(Serialize, ToSchema)]
pub(super) struct PlacementBody<'a> {
    /// Whether nothing more is taken in, because the server was told to drain or to stop.
    draining: bool,
    /// Whether nothing more is taken in, because another placement is about to be served.
    replacing: bool,
    /// Requests inside.
    inside: usize,
    groups: Vec<GroupBody<'a>>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct GroupBody<'a> {
    devices: Vec<u32>,
    op: u32,
    pp: u32,
    models: Vec<&'a str>,
    /// `up`, `restarting` or `taken_out`.
    state: &'static str,
    restarts: u64,
    /// Why it was last lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<String>,
    /// Memory in use on the fullest device of each stage.
    stage_memory_bytes: Vec<u64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct DrainBody {
    /// Whether nothing more is taken in.
    draining: bool,
    /// Requests inside.
    inside: usize,
}

/// Metrics for Prometheus, as OpenMetrics for those who accept it.
#[utoipa::path(get, path = "/metrics", tag = "Operation", responses((status = 200, description = "the metrics as text", content_type = "text/plain", body = String), OpenAiKeyErrors))]
pub(super) async fn metrics(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    let form = Form::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    respond(front.gateway.statistics().exposition(form).into_bytes(), form.content_type(), &[])
}

/// What is loaded where, and how it is.
#[utoipa::path(get, path = "/admin/placement", tag = "Operation", responses((status = 200, description = "groups, and what they hold", body = PlacementBody), AdminErrors))]
pub(super) async fn placement(State(front): State<Arc<Front>>) -> Response {
    describe(&front)
}

/// The same for those who only look, such as load generators.
#[utoipa::path(get, path = "/placement", tag = "Operation", responses((status = 200, description = "groups, and what they hold", body = PlacementBody), OpenAiKeyErrors))]
pub(super) async fn shown_placement(State(front): State<Arc<Front>>) -> Response {
    describe(&front)
}

/// Serves from another placement: answers what is inside, stops all groups, starts the new ones, and answers when
/// each is up or taken out. Requests that arrive meanwhile are refused with `replacing`.
#[utoipa::path(put, path = "/admin/placement", tag = "Operation",
    request_body(content = String, content_type = "application/json", description = "a placement file of one window"),
    responses((status = 200, description = "it serves from it", body = PlacementBody),
        (status = 409, description = "another change is under way", body = ErrorBody), PlaceErrors))]
pub(super) async fn place(State(front): State<Arc<Front>>, request: Request) -> Result<Response, ApiError> {
    let received = receive(&front, request).await?;
    let read = || {
        let text = std::str::from_utf8(&received.body);
        let text = text.map_err(|_| ApiError::malformed("the placement is not UTF-8 text"))?;
        parse_json(Path::new("the placement"), text).map_err(|error| ApiError::malformed(error.to_string()))
    };
    // Whoever operates a full server is not turned away.
    let file: PlacementFile = front.workbench.finish(received.body.len(), read).await?;
    let site = front.site.upgrade().ok_or_else(|| ApiError::not_replaced(&ReplaceError::Draining))?;
    let placement = site.resolve(file).map_err(|error| ApiError::invalid("windows", error.to_string()))?;
    // On a thread that may wait; it goes on even if the client leaves.
    let change = {
        let site = Arc::clone(&site);
        tokio::task::spawn_blocking(move || site.replace(&placement))
    };
    change.await.expect("replacing does not panic").map_err(|error| ApiError::not_replaced(&error))?;
    Ok(describe(&site.front()))
}

fn describe(front: &Front) -> Response {
    let gateway = &front.gateway;
    let models = gateway.models();
    let groups = gateway.placement().groups.iter().zip(&gateway.board().groups).map(|(group, board)| GroupBody {
        devices: group.devices.iter().map(|device| device.0).collect(),
        op: group.config.op,
        pp: group.config.pp,
        models: group.models.iter().map(|model| models[model.index()].name.as_str()).collect(),
        state: board.state(),
        restarts: board.restarts.load(Relaxed),
        last_failure: board.last_failure.lock().expect("nobody panics while holding it").clone(),
        stage_memory_bytes: board.stages.iter().map(|stage| stage.memory.load(Relaxed)).collect(),
    });
    let body = PlacementBody {
        draining: gateway.is_draining(),
        replacing: gateway.is_replacing(),
        inside: gateway.inside(),
        groups: groups.collect(),
    };
    respond(json(&body), "application/json", &[])
}

/// Whether it drains.
#[utoipa::path(get, path = "/admin/drain", tag = "Operation", responses((status = 200, description = "whether it drains", body = DrainBody), AdminErrors))]
pub(super) async fn drain_state(State(front): State<Arc<Front>>) -> Response {
    drain_body(&front.gateway)
}

/// Takes in nothing more until told otherwise; what is inside runs to its end. Meanwhile it is not ready.
#[utoipa::path(post, path = "/admin/drain", tag = "Operation", responses((status = 200, description = "nothing more is taken in", body = DrainBody), AdminErrors))]
pub(super) async fn drain(State(front): State<Arc<Front>>) -> Response {
    match front.site.upgrade() {
        Some(site) => site.tell(Gateway::drain),
        None => front.gateway.drain(),
    }
    drain_body(&front.gateway)
}

/// Takes requests again after a drain; a server that is about to stop does not.
#[utoipa::path(delete, path = "/admin/drain", tag = "Operation", responses((status = 200, description = "requests are taken in", body = DrainBody),
    (status = 409, description = "it is about to stop", body = ErrorBody), AdminErrors))]
pub(super) async fn resume(State(front): State<Arc<Front>>) -> Result<Response, ApiError> {
    let resumed = !front.desk.is_leaving() && front.site.upgrade().is_some_and(|site| site.tell(Gateway::resume));
    if resumed { Ok(drain_body(&front.gateway)) } else { Err(ApiError::stopping()) }
}

fn drain_body(gateway: &Gateway) -> Response {
    respond(json(&DrainBody { draining: gateway.is_draining(), inside: gateway.inside() }), "application/json", &[])
}
