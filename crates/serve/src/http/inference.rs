//! The Open Inference Protocol: the paths under `/v2`, with its binary data extension.
//!
//! Encoders take `input_ids` (and `attention_mask`) or `text`, and give `embedding`; with `positions` they give
//! `logits`. Decoders take the same and give `output_ids`, padded with -1, and `text`; the parameters
//! `max_tokens`, `temperature`, `top_p` and `seed` say how. `deadline_ms` (or `timeout`, in microseconds) is the
//! latency asked for.

use crate::gateway::ServedModel;
use crate::http::Front;
use crate::http::ask::{Received, ask_all, encode, model as find, receive, respond};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::openai::generation::GenerationOptions;
use crate::http::openai::json;
use crate::http::tensor::{Elements, Tensor, TensorBody, TensorHeader};
use crate::request::{Answer, Course};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use statmux_core::backend::{Input, Output, Task};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use utoipa::ToSchema;

/// Where the JSON of a body with binary data ends.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const VERSION: &str = "1";

#[derive(Serialize, ToSchema)]
pub(super) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 1],
}

#[derive(Serialize, ToSchema)]
pub(super) struct ModelMetadata<'a> {
    name: &'a str,
    versions: [&'static str; 1],
    platform: String,
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
}

/// A tensor that a model takes or gives; -1 stands for any length.
#[derive(Serialize, ToSchema)]
pub(super) struct TensorMetadata {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<i64>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct InferRequest {
    id: Option<String>,
    inputs: Vec<TensorHeader>,
    #[serde(default)]
    outputs: Vec<RequestedOutput>,
    #[serde(default)]
    parameters: InferParameters,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RequestedOutput {
    name: String,
    #[serde(default)]
    parameters: OutputParameters,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct OutputParameters {
    /// Whether it is wanted as binary data.
    #[serde(default)]
    binary_data: bool,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct InferParameters {
    /// Whether all outputs are wanted as binary data.
    #[serde(default)]
    binary_data_output: bool,
    /// The latency asked for in microseconds, as Triton counts.
    timeout: Option<f64>,
    #[serde(flatten)]
    generation: GenerationOptions,
}

#[derive(Serialize, ToSchema)]
pub(super) struct InferResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    model_name: &'a str,
    model_version: &'static str,
    outputs: Vec<TensorBody>,
}

/// What the server is.
#[utoipa::path(get, path = "/v2", tag = "Open Inference Protocol", responses((status = 200, body = ServerMetadata)))]
pub(super) async fn server() -> Response {
    let metadata =
        ServerMetadata { name: "statmux", version: env!("CARGO_PKG_VERSION"), extensions: ["binary_tensor_data"] };
    respond(json(&metadata), "application/json", &[])
}

/// Whether the server runs.
#[utoipa::path(get, path = "/v2/health/live", tag = "Open Inference Protocol", responses((status = 200)))]
pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

/// Whether the server takes requests for every model that it holds.
#[utoipa::path(get, path = "/v2/health/ready", tag = "Open Inference Protocol", responses((status = 200), (status = 503)))]
pub(super) async fn ready(State(front): State<Arc<Front>>) -> StatusCode {
    let mut held = front.gateway.models().iter().filter(|model| !model.holders.is_empty());
    status(!front.gateway.is_draining() && held.all(|model| front.gateway.is_ready(model)))
}

fn status(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// What a model takes and gives.
#[utoipa::path(get, path = "/v2/models/{model}", tag = "Open Inference Protocol", params(("model" = String, Path)),
    responses((status = 200, body = ModelMetadata), (status = 404, body = ErrorBody)))]
pub(super) async fn model(State(front): State<Arc<Front>>, Path(name): Path<String>) -> Response {
    match find(&front, &name) {
        Ok(model) => respond(json(&metadata(model)), "application/json", &[]),
        Err(error) => error.into_protocol_response(),
    }
}

pub(super) async fn model_version(front: State<Arc<Front>>, Path((name, _)): Path<(String, String)>) -> Response {
    model(front, Path(name)).await
}

/// Whether a group that holds the model is up.
#[utoipa::path(get, path = "/v2/models/{model}/ready", tag = "Open Inference Protocol", params(("model" = String, Path)),
    responses((status = 200), (status = 404, body = ErrorBody), (status = 503)))]
pub(super) async fn model_ready(State(front): State<Arc<Front>>, Path(name): Path<String>) -> Response {
    match find(&front, &name) {
        Ok(model) => status(!front.gateway.is_draining() && front.gateway.is_ready(model)).into_response(),
        Err(error) => error.into_protocol_response(),
    }
}

pub(super) async fn model_version_ready(front: State<Arc<Front>>, Path((name, _)): Path<(String, String)>) -> Response {
    model_ready(front, Path(name)).await
}

/// Runs a model.
#[utoipa::path(post, path = "/v2/models/{model}/infer", tag = "Open Inference Protocol", request_body = InferRequest,
    params(("model" = String, Path),
        ("x-statmux-deadline-ms" = Option<f64>, Header, description = "the latency asked for, if shorter than the model's SLO")),
    responses((status = 200, body = InferResponse), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn infer(State(front): State<Arc<Front>>, Path(name): Path<String>, request: Request) -> Response {
    run(&front, &name, request).await.unwrap_or_else(ApiError::into_protocol_response)
}

pub(super) async fn infer_version(
    front: State<Arc<Front>>,
    Path((name, _)): Path<(String, String)>,
    request: Request,
) -> Response {
    infer(front, Path(name), request).await
}

async fn run(front: &Front, name: &str, request: Request) -> Result<Response, ApiError> {
    let received = receive(front, request).await?;
    let model = find(front, name)?;
    let (asked, mut binary) = parse(&received)?;
    let InferRequest { id, inputs, outputs, parameters } = asked;
    let in_body = parameters.timeout.map(|micros| micros / 1000.0).or(parameters.generation.deadline_ms);
    let deadline = received.deadline(in_body)?;
    let tensors = inputs.into_iter().map(|tensor| tensor.read(&mut binary)).collect::<Result<Vec<_>, _>>()?;
    let payloads = payloads(front, model, &tensors, &parameters.generation)?;
    let answers = ask_all(front, model, payloads, received.arrived, deadline).await?;
    let courses: Vec<Course> = answers.iter().map(|answer| answer.course).collect();
    let tensors = results(model, answers)?;
    if let Some(unknown) = outputs.iter().find(|output| tensors.iter().all(|tensor| tensor.name != output.name)) {
        let message = format!("there is no output `{}`; see /v2/models/{}", unknown.name, model.name);
        return Err(ApiError::invalid("outputs", message));
    }
    let mut data = Vec::new();
    let mut bodies = Vec::new();
    for tensor in tensors {
        let wanted = outputs.iter().find(|output| output.name == tensor.name);
        if wanted.is_none() && !outputs.is_empty() {
            continue;
        }
        let binary = wanted.map_or(parameters.binary_data_output, |output| output.parameters.binary_data);
        bodies.push(tensor.write(binary.then_some(&mut data)));
    }
    let header = json(&InferResponse { id, model_name: &model.name, model_version: VERSION, outputs: bodies });
    if data.is_empty() {
        return Ok(respond(header, "application/json", &courses));
    }
    let length = HeaderValue::from(header.len());
    let mut response = respond([header, data].concat(), "application/octet-stream", &courses);
    response.headers_mut().insert(JSON_LENGTH, length);
    Ok(response)
}

/// The JSON of a body, and the binary data after it.
fn parse(received: &Received) -> Result<(InferRequest, &[u8]), ApiError> {
    let Some(length) = received.head.headers.get(&JSON_LENGTH) else { return Ok((received.json()?, &[])) };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    let parts = length.and_then(|length| received.body.split_at_checked(length));
    let (json, binary) =
        parts.ok_or_else(|| ApiError::malformed("Inference-Header-Content-Length is no length within the body"))?;
    let asked = serde_json::from_slice(json);
    Ok((asked.map_err(|error| ApiError::malformed(format!("the body is wrong: {error}")))?, binary))
}

/// One payload for each row of the inputs.
fn payloads(
    front: &Front,
    model: &ServedModel,
    tensors: &[Tensor],
    options: &GenerationOptions,
) -> Result<Vec<Input>, ApiError> {
    let named = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
    let wrong = |message: &str| ApiError::invalid("inputs", message);
    let mut lists: Vec<Vec<u32>> = match (named("input_ids"), named("text")) {
        (Some(ids), None) => {
            let rows = ids.rows().ok_or_else(|| wrong("input_ids is a row or rows of integers"))?;
            rows.into_iter().map(indices).collect::<Option<_>>().ok_or_else(|| wrong("input_ids has negative ids"))?
        }
        (None, Some(Tensor { elements: Elements::Texts(texts), .. })) => {
            texts.iter().map(|text| encode(model, text)).collect::<Result<_, _>>()?
        }
        _ => return Err(wrong("give either input_ids (integers) or text (BYTES)")),
    };
    if lists.is_empty() {
        return Err(wrong("the inputs are empty"));
    }
    if let Some(mask) = named("attention_mask") {
        let rows = mask.rows().filter(|rows| rows.len() == lists.len());
        let rows = rows.ok_or_else(|| wrong("attention_mask has the shape of input_ids"))?;
        for (tokens, mask) in lists.iter_mut().zip(rows) {
            tokens.truncate(mask.iter().take_while(|&&on| on != 0).count());
        }
    }
    let positions = match named("positions") {
        None => None,
        Some(positions) => {
            let rows = positions.rows().filter(|rows| rows.len() == lists.len());
            let rows = rows.ok_or_else(|| wrong("positions has as many rows as the input"))?;
            let rows: Option<Vec<_>> = rows.into_iter().map(indices).collect();
            Some(rows.ok_or_else(|| wrong("positions has negative indices"))?)
        }
    };
    let payloads = lists.into_iter().enumerate().map(|(row, tokens)| match (&positions, model.card.task) {
        (Some(positions), _) => Ok(Input::MaskedLogits { tokens, positions: positions[row].clone() }),
        (None, Task::Encode { .. }) => Ok(Input::Embed { tokens }),
        (None, Task::Generate) => options.input(tokens, front.requests.fetch_add(1, Relaxed)),
    });
    payloads.collect()
}

fn indices(row: &[i64]) -> Option<Vec<u32>> {
    row.iter().map(|&id| u32::try_from(id).ok()).collect()
}

/// All outputs, one row for each answer.
fn results(model: &ServedModel, answers: Vec<Answer>) -> Result<Vec<Tensor>, ApiError> {
    let rows = answers.len() as u64;
    let (mut floats, mut continuations) = (Vec::new(), Vec::new());
    let (mut name, mut shape) = ("embedding", vec![rows, u64::from(model.card.hidden)]);
    for answer in answers {
        match answer.output {
            Output::Embedding(vector) => {
                shape = vec![rows, vector.len() as u64];
                floats.extend(vector);
            }
            Output::MaskedLogits(positions) => {
                (name, shape) = ("logits", vec![rows, positions.len() as u64, u64::from(model.card.vocabulary)]);
                floats.extend(positions.into_iter().flatten());
            }
            Output::Generated { tokens, .. } => continuations.push(tokens),
        }
    }
    if continuations.is_empty() {
        return Ok(vec![Tensor { name: name.to_owned(), shape, elements: Elements::Floats(floats) }]);
    }
    let width = continuations.iter().map(Vec::len).max().unwrap_or(0);
    let padded = continuations.iter().flat_map(|tokens| {
        let ids = tokens.iter().map(|&token| i64::from(token));
        ids.chain(std::iter::repeat(-1)).take(width)
    });
    let ids = Tensor {
        name: "output_ids".to_owned(),
        shape: vec![rows, width as u64],
        elements: Elements::Integers(padded.collect()),
    };
    let Some(codec) = &model.text else { return Ok(vec![ids]) };
    let texts = continuations.iter().map(|tokens| codec.decode(tokens)).collect::<Result<_, _>>();
    let texts = texts.map_err(|error| ApiError::backend(&error))?;
    Ok(vec![ids, Tensor { name: "text".to_owned(), shape: vec![rows], elements: Elements::Texts(texts) }])
}

fn metadata(model: &ServedModel) -> ModelMetadata<'_> {
    let tensor = |name, datatype, shape: &[i64]| TensorMetadata { name, datatype, shape: shape.to_vec() };
    let mut inputs = vec![tensor("input_ids", "INT64", &[-1, -1]), tensor("attention_mask", "INT64", &[-1, -1])];
    let mut outputs = Vec::new();
    if model.text.is_some() {
        inputs.push(tensor("text", "BYTES", &[-1]));
    }
    match model.card.task {
        Task::Encode { masked_logits } => {
            outputs.push(tensor("embedding", "FP32", &[-1, i64::from(model.card.hidden)]));
            if masked_logits {
                inputs.push(tensor("positions", "INT64", &[-1, -1]));
                outputs.push(tensor("logits", "FP32", &[-1, -1, i64::from(model.card.vocabulary)]));
            }
        }
        Task::Generate => {
            outputs.push(tensor("output_ids", "INT64", &[-1, -1]));
            if model.text.is_some() {
                outputs.push(tensor("text", "BYTES", &[-1]));
            }
        }
    }
    let platform = format!("statmux_{}", model.card.architecture);
    ModelMetadata { name: &model.name, versions: [VERSION], platform, inputs, outputs }
}
