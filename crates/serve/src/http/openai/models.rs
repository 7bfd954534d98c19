//! `/v1/models`.

use super::json;
use crate::gateway::ServedModel;
use crate::http::Front;
use crate::http::ask::{model, respond};
use crate::http::error::{ApiError, OpenAiKeyErrors, OpenAiModelErrors};
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(crate) struct ModelList<'a> {
    object: &'static str,
    data: Vec<ModelObject<'a>>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ModelObject<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

fn object<'a>(front: &Front, model: &'a ServedModel) -> ModelObject<'a> {
    ModelObject { id: &model.name, object: "model", created: front.desk.started_s, owned_by: "statmux" }
}

/// All models.
#[utoipa::path(get, path = "/v1/models", tag = "OpenAI", responses((status = 200, description = "all models", body = ModelList), OpenAiKeyErrors))]
pub(crate) async fn list(State(front): State<Arc<Front>>) -> Response {
    let data = front.gateway.models().iter().map(|model| object(&front, model)).collect();
    respond(json(&ModelList { object: "list", data }), "application/json", &[])
}

/// One model.
#[utoipa::path(get, path = "/v1/models/{model}", tag = "OpenAI", params(("model" = String, Path)),
    responses((status = 200, description = "the model", body = ModelObject), OpenAiModelErrors))]
pub(crate) async fn one(State(front): State<Arc<Front>>, Path(name): Path<String>) -> Result<Response, ApiError> {
    Ok(respond(json(&object(&front, model(&front, &name)?)), "application/json", &[]))
}
