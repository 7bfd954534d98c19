//! The OpenAPI document, from the types that parse and write the bodies.

use crate::http::ask::respond;
use crate::http::openai::{chat, completions, embeddings, json, models};
use crate::http::{admin, error, inference};
use axum::response::Response;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(title = "statmux", description = "Many models from few devices, within their latency objectives"),
    paths(
        models::list,
        models::one,
        embeddings::embed,
        completions::complete,
        chat::chat,
        inference::server,
        inference::live,
        inference::ready,
        inference::model,
        inference::model_ready,
        inference::infer,
        admin::metrics,
        admin::placement,
        admin::place,
        admin::drain
    ),
    components(schemas(error::ErrorBody, error::ProtocolErrorBody))
)]
struct Document;

/// `/openapi.json`.
pub(super) async fn document() -> Response {
    respond(json(&Document::openapi()), "application/json", &[])
}
