//! `/v1/embeddings`.

use super::{Usage, json};
use crate::http::Front;
use crate::http::ask::{TextOrTokens, ask_all, model, receive, respond};
use crate::http::error::{ApiError, ErrorBody};
use crate::request::Course;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use statmux_core::backend::{Input, Output};
use std::sync::Arc;
use utoipa::ToSchema;

/// What is to be embedded.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbeddingsRequest {
    model: String,
    input: TextOrTokens,
    /// `float` or `base64` (little-endian 32-bit floats).
    encoding_format: Option<String>,
    /// The length of the model's vectors; no other is offered.
    dimensions: Option<u32>,
    /// The latency asked for, if shorter than the model's SLO.
    deadline_ms: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingsResponse<'a> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: Usage,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

/// Vectors that stand for texts.
#[utoipa::path(post, path = "/v1/embeddings", tag = "OpenAI", request_body = EmbeddingsRequest,
    params(("x-statmux-deadline-ms" = Option<f64>, Header, description = "the latency asked for, if shorter than the model's SLO")),
    responses((status = 200, body = EmbeddingsResponse), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn embed(State(front): State<Arc<Front>>, request: Request) -> Result<Response, ApiError> {
    let received = receive(&front, request).await?;
    let asked: EmbeddingsRequest = received.json()?;
    let model = model(&front, &asked.model)?;
    let base64 = match asked.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(ApiError::invalid("encoding_format", "encoding_format is `float` or `base64`")),
    };
    if asked.dimensions.is_some_and(|dimensions| dimensions != model.card.hidden) {
        let message = format!("{} gives vectors of length {}", model.name, model.card.hidden);
        return Err(ApiError::invalid("dimensions", message));
    }
    let deadline = received.deadline(asked.deadline_ms)?;
    let lists = asked.input.tokens(model)?;
    if lists.is_empty() {
        return Err(ApiError::invalid("input", "the input is an empty list"));
    }
    let tokens = lists.iter().map(Vec::len).sum();
    let inputs = lists.into_iter().map(|tokens| Input::Embed { tokens }).collect();
    let answers = ask_all(&front, model, inputs, received.arrived, deadline).await?;
    let courses: Vec<Course> = answers.iter().map(|answer| answer.course).collect();
    let vectors = answers.into_iter().enumerate().map(|(index, answer)| match answer.output {
        Output::Embedding(numbers) => Ok(Embedding { object: "embedding", index, embedding: vector(numbers, base64) }),
        _ => Err(ApiError::malformed("the model answered something else than an embedding")),
    });
    let data = vectors.collect::<Result<_, _>>()?;
    let body = EmbeddingsResponse { object: "list", data, model: &model.name, usage: Usage::new(tokens, 0) };
    Ok(respond(json(&body), "application/json", &courses))
}

fn vector(numbers: Vec<f32>, base64: bool) -> Vector {
    if !base64 {
        return Vector::Numbers(numbers);
    }
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Vector::Base64(STANDARD.encode(bytes))
}
