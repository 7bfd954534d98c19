//! The OpenAPI document, from the types that parse and write the bodies.

use crate::http::ask::respond;
use crate::http::error::OpenAiKeyErrors;
use crate::http::openai::{chat, completions, embeddings, json, models};
use crate::http::{admin, error, inference, repository};
use axum::response::Response;
use utoipa::openapi::SecurityRequirement;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

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
        inference::model_version,
        inference::model_version_ready,
        inference::infer_version,
        repository::config,
        repository::config_version,
        repository::statistics_version,
        repository::all_statistics,
        repository::statistics,
        repository::index,
        admin::metrics,
        admin::shown_placement,
        admin::placement,
        admin::place,
        admin::drain_state,
        admin::drain,
        admin::resume,
        document
    ),
    modifiers(&Keys),
    components(schemas(error::ErrorBody, error::ProtocolErrorBody))
)]
struct Document;

/// Says how to show a key, where keys are asked for.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        if let Some(components) = &mut document.components {
            components.add_security_scheme("key", bearer);
        }
        let with_key = SecurityRequirement::new("key", [] as [&str; 0]);
        // Servers without keys ask for none.
        document.security = Some(vec![SecurityRequirement::default(), with_key]);
    }
}

/// All paths, for programs.
#[utoipa::path(get, path = "/openapi.json", tag = "Operation",
    responses((status = 200, description = "an OpenAPI document", content_type = "application/json"), OpenAiKeyErrors))]
pub(super) async fn document() -> Response {
    respond(json(&Document::openapi()), "application/json", &[])
}
