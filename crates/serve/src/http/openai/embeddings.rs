//! `/v1/embeddings`.

use super::{Usage, json};
use crate::course::Course;
use crate::gateway::ServedModel;
use crate::http::Front;
use crate::http::ask::{TextOrTokens, ask_all, model, receive, respond};
use crate::http::error::{ApiError, OpenAiErrors};
use crate::http::fields::{Field, Fields, ignored, required, schema, taken};
use crate::http::json::FromJson;
use crate::request::Answer;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use statmux_core::backend::{Input, Output};
use std::sync::Arc;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema as _, ToSchema};

/// What is to be embedded.
#[derive(Debug, Default)]
pub(crate) struct EmbeddingsRequest {
    model: String,
    input: Option<TextOrTokens>,
    encoding_format: Option<String>,
    dimensions: Option<u32>,
    deadline_ms: Option<f64>,
}

impl Fields for EmbeddingsRequest {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        required("model", String::schema, "Which model.", |ask, v| String::from_json(v).map(|name| ask.model = name)),
        required("input", TextOrTokens::schema, "One text or several.", |ask, v| v.put(&mut ask.input)),
        taken("encoding_format", String::schema, "`float`, or `base64` of little-endian 32-bit floats.", |ask, v| {
            v.put(&mut ask.encoding_format)
        }),
        taken("dimensions", u32::schema, "The length of the model's vectors; no other is offered.", |ask, v| {
            v.put(&mut ask.dimensions)
        }),
        taken("deadline_ms", f64::schema, "The latency asked for, if shorter than the model's SLO.", |ask, v| {
            v.put(&mut ask.deadline_ms)
        }),
        ignored("user"),
    ]];
}

impl utoipa::PartialSchema for EmbeddingsRequest {
    fn schema() -> RefOr<Schema> {
        schema::<Self>()
    }
}

impl ToSchema for EmbeddingsRequest {}

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
    responses((status = 200, description = "a vector for each text", body = EmbeddingsResponse), OpenAiErrors))]
pub(crate) async fn embed(State(front): State<Arc<Front>>, request: Request) -> Result<Response, ApiError> {
    let received = receive(&front, request).await?;
    let (asked, room): (EmbeddingsRequest, _) = received.read(&front).await?;
    let model = model(&front, &asked.model)?;
    let base64 = match asked.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let message = format!("`encoding_format` must be \"float\" or \"base64\", but is \"{other}\"");
            return Err(ApiError::invalid("encoding_format", message));
        }
    };
    if asked.dimensions.is_some_and(|dimensions| dimensions != model.card.embedding) {
        let message = format!("{} gives vectors of length {}", model.name, model.card.embedding);
        return Err(ApiError::invalid("dimensions", message));
    }
    let deadline = received.deadline(asked.deadline_ms)?;
    let lists = asked.input.expect("it is required").tokens(&front, model, "input").await?;
    if lists.is_empty() {
        return Err(ApiError::invalid("input", "`input` is an empty list: give at least one text"));
    }
    let tokens = lists.iter().map(Vec::len).sum();
    let inputs = lists.into_iter().map(Input::embed).collect();
    drop(room);
    let (answers, share) = ask_all(&front, model, ("input", inputs), (received.arrived, deadline)).await?;
    let courses: Vec<Course> = answers.iter().map(|answer| answer.course).collect();
    let size = answers.len() * model.card.embedding as usize * size_of::<f32>();
    let write = || written(model, answers, tokens, base64);
    let body = front.workbench.finish(size, write).await?;
    Ok(respond(share.keep(body), "application/json", &courses))
}

/// The JSON of answers to so many tokens.
fn written(model: &ServedModel, answers: Vec<Answer>, tokens: usize, base64: bool) -> Result<Vec<u8>, ApiError> {
    let vectors = answers.into_iter().enumerate().map(|(index, answer)| match answer.output {
        Output::Embedding(numbers) => Ok(Embedding { object: "embedding", index, embedding: vector(numbers, base64) }),
        _ => Err(ApiError::malformed("the model answered something else than an embedding")),
    });
    let data = vectors.collect::<Result<_, _>>()?;
    Ok(json(&EmbeddingsResponse { object: "list", data, model: &model.name, usage: Usage::new(tokens, 0) }))
}

fn vector(numbers: Vec<f32>, base64: bool) -> Vector {
    if !base64 {
        return Vector::Numbers(numbers);
    }
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Vector::Base64(STANDARD.encode(bytes))
}
