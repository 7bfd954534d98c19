//! The Open Inference Protocol: the paths under `/v2`, with its binary data extension.
//!
//! Encoders take `input_ids` (with `attention_mask` and `token_type_ids`) or `text`, and give `embedding`; with `positions` they give
//! `logits`. Decoders take the same and give `output_ids`, padded with -1, and `text`; the parameters
//! `max_tokens`, `temperature`, `top_p`, `seed` and `stop` say how. `deadline_ms` (or `timeout`, in microseconds) is
//! the latency asked for. Tensors that a model does not take are refused by name.

use crate::course::Course;
use crate::detokenise::TextStream;
use crate::gateway::ServedModel;
use crate::http::Front;
use crate::http::ask::{Received, ask_all, model as find, receive, respond};
use crate::http::budget::Share;
use crate::http::error::{ApiError, KeyErrors, ModelErrors, ProtocolErrors};
use crate::http::fields::{Field, Fields, Neutral, list_schema, neutral, required, schema, taken};
use crate::http::inputs::payloads;
use crate::http::json::FromJson;
use crate::http::metadata::{ModelMetadata, VERSION, metadata};
use crate::http::openai::json;
use crate::http::openai::options::{Generates, GenerationOptions};
use crate::http::tensor::{Elements, Tensor, TensorBody, TensorHeader};
use crate::request::Answer;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use statmux_core::backend::{BackendError, Input, Output};
use std::sync::Arc;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema as _, ToSchema};

/// Where the JSON of a body with binary data ends.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const EXTENSIONS: [&str; 4] = ["binary_tensor_data", "model_configuration", "statistics", "model_repository"];

#[derive(Serialize, ToSchema)]
pub(super) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 4],
}

#[derive(Debug, Default)]
pub(super) struct InferRequest {
    id: Option<String>,
    model_name: Option<String>,
    model_version: Option<String>,
    inputs: Vec<TensorHeader>,
    outputs: Option<Vec<RequestedOutput>>,
    parameters: Option<InferParameters>,
}

#[derive(Debug, Default)]
struct RequestedOutput {
    name: String,
    parameters: Option<OutputParameters>,
}

#[derive(Debug, Default)]
struct OutputParameters {
    binary_data: Option<bool>,
}

#[derive(Debug, Default)]
struct InferParameters {
    binary_data_output: Option<bool>,
    timeout: Option<f64>,
    generation: GenerationOptions,
}

impl Fields for InferRequest {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        taken("id", String::schema, "Comes back with the answer.", |ask, v| v.put(&mut ask.id)),
        taken("model_name", String::schema, "The model in the path, once more.", |ask, v| v.put(&mut ask.model_name)),
        taken("model_version", String::schema, "\"1\".", |ask, v| v.put(&mut ask.model_version)),
        required("inputs", list_schema::<TensorHeader>, "", |ask, v| {
            Vec::from_json(v).map(|inputs| ask.inputs = inputs)
        }),
        taken("outputs", list_schema::<RequestedOutput>, "Which are wanted; all if absent.", |ask, v| {
            v.put(&mut ask.outputs)
        }),
        taken("parameters", schema::<InferParameters>, "", |ask, v| v.put(&mut ask.parameters)),
    ]];
}

impl Fields for RequestedOutput {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        required("name", String::schema, "", |output, v| String::from_json(v).map(|name| output.name = name)),
        taken("parameters", schema::<OutputParameters>, "", |output, v| v.put(&mut output.parameters)),
    ]];
}

impl Fields for OutputParameters {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        taken("binary_data", bool::schema, "Whether it is wanted as binary data.", |of, v| v.put(&mut of.binary_data)),
        neutral("classification", &[Neutral::Number(0.0)]),
        neutral("shared_memory_region", &[]),
        neutral("shared_memory_offset", &[Neutral::Number(0.0)]),
        neutral("shared_memory_byte_size", &[Neutral::Number(0.0)]),
    ]];
}

impl AsMut<GenerationOptions> for InferParameters {
    fn as_mut(&mut self) -> &mut GenerationOptions {
        &mut self.generation
    }
}

impl Fields for InferParameters {
    const TABLES: &'static [&'static [Field<Self>]] = &[
        &[
            taken("binary_data_output", bool::schema, "Whether outputs that do not say are binary data.", |of, v| {
                v.put(&mut of.binary_data_output)
            }),
            taken("timeout", f64::schema, "The latency asked for in microseconds; 0 for none.", |of, v| {
                v.put(&mut of.timeout)
            }),
            neutral("priority", &[Neutral::Number(0.0)]),
            neutral("sequence_id", &[Neutral::Number(0.0), Neutral::Text("")]),
            neutral("sequence_start", &[Neutral::Flag(false)]),
            neutral("sequence_end", &[Neutral::Flag(false)]),
        ],
        Self::SAMPLING,
    ];
}

impl utoipa::PartialSchema for InferRequest {
    fn schema() -> RefOr<Schema> {
        schema::<Self>()
    }
}

impl ToSchema for InferRequest {}

#[derive(Serialize, ToSchema)]
pub(super) struct InferResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    model_name: &'a str,
    model_version: &'static str,
    outputs: Vec<TensorBody>,
}

/// What the server is.
#[utoipa::path(get, path = "/v2", tag = "Open Inference Protocol", responses((status = 200, description = "name, version and extensions", body = ServerMetadata), KeyErrors))]
pub(super) async fn server() -> Response {
    let metadata = ServerMetadata { name: "statmux", version: env!("CARGO_PKG_VERSION"), extensions: EXTENSIONS };
    respond(json(&metadata), "application/json", &[])
}

/// Whether the server runs.
#[utoipa::path(get, path = "/v2/health/live", tag = "Open Inference Protocol", responses((status = 200, description = "it runs")))]
pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

/// Whether the server takes requests for some model; what a single one is like, its own `ready` says.
#[utoipa::path(get, path = "/v2/health/ready", tag = "Open Inference Protocol", responses((status = 200, description = "it does"), (status = 503, description = "it does not")))]
pub(super) async fn ready(State(front): State<Arc<Front>>) -> StatusCode {
    status(front.gateway.models().iter().any(|model| front.is_ready(model)))
}

fn status(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// What a model takes and gives.
#[utoipa::path(get, path = "/v2/models/{model}", tag = "Open Inference Protocol", params(("model" = String, Path)),
    responses((status = 200, description = "its tensors", body = ModelMetadata), ModelErrors))]
pub(super) async fn model(State(front): State<Arc<Front>>, Path(name): Path<String>) -> Result<Response, ApiError> {
    Ok(respond(json(&metadata(find(&front, &name)?)), "application/json", &[]))
}

/// What a version of a model takes and gives.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}", tag = "Open Inference Protocol",
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, description = "its tensors", body = ModelMetadata), ModelErrors))]
pub(super) async fn model_version(
    front: State<Arc<Front>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    check_version(&name, &version)?;
    model(front, Path(name)).await
}

/// Whether a group that holds the model is up.
#[utoipa::path(get, path = "/v2/models/{model}/ready", tag = "Open Inference Protocol", params(("model" = String, Path)),
    responses((status = 200, description = "it is"), (status = 503, description = "it is not"), ModelErrors))]
pub(super) async fn model_ready(
    State(front): State<Arc<Front>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let model = find(&front, &name)?;
    Ok(status(front.is_ready(model)))
}

/// Whether a group that holds the version of the model is up.
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/ready", tag = "Open Inference Protocol",
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, description = "it is"), (status = 503, description = "it is not"), ModelErrors))]
pub(super) async fn model_version_ready(
    front: State<Arc<Front>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    check_version(&name, &version)?;
    model_ready(front, Path(name)).await
}

/// Runs a model.
#[utoipa::path(post, path = "/v2/models/{model}/infer", tag = "Open Inference Protocol", request_body = InferRequest,
    params(("model" = String, Path),
        ("x-statmux-deadline-ms" = Option<f64>, Header, description = "the latency asked for, if shorter than the model's SLO")),
    responses((status = 200, description = "the outputs, as JSON or with binary data after it", body = InferResponse),
        ProtocolErrors))]
pub(super) async fn infer(
    State(front): State<Arc<Front>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    run(&front, &name, request).await
}

/// Runs a version of a model.
#[utoipa::path(post, path = "/v2/models/{model}/versions/{version}/infer", tag = "Open Inference Protocol", request_body = InferRequest,
    params(("model" = String, Path), ("version" = String, Path)),
    responses((status = 200, description = "the outputs, as JSON or with binary data after it", body = InferResponse),
        ProtocolErrors))]
pub(super) async fn infer_version(
    front: State<Arc<Front>>,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    check_version(&name, &version)?;
    infer(front, Path(name), request).await
}

/// Every model has one version.
pub(super) fn check_version(name: &str, version: &str) -> Result<(), ApiError> {
    if version == VERSION { Ok(()) } else { Err(ApiError::unknown_version(name, version, VERSION)) }
}

async fn run(front: &Front, name: &str, request: Request) -> Result<Response, ApiError> {
    let received = receive(front, request).await?;
    let model = find(front, name)?;
    let (asked, room, mut binary) = parse(front, &received).await?;
    let InferRequest { id, model_name, model_version, inputs, outputs, parameters } = asked;
    if model_name.is_some_and(|given| given != model.name) {
        return Err(ApiError::invalid("model_name", "`model_name` is not the model in the path"));
    }
    if model_version.is_some_and(|given| !given.is_empty() && given != VERSION) {
        return Err(ApiError::invalid("model_version", format!("`model_version` must be \"{VERSION}\"")));
    }
    let parameters = parameters.unwrap_or_default();
    let micros = parameters.timeout.filter(|&micros| micros != 0.0);
    let in_body = micros.map(|micros| micros / 1000.0).into_iter().chain(parameters.generation.deadline_ms);
    let deadline = received.deadline(in_body.reduce(f64::min))?;
    let read = || inputs.into_iter().map(|tensor| tensor.read(&mut binary)).collect::<Result<Vec<_>, _>>();
    let tensors = front.workbench.work(received.body.len(), read).await??;
    if !binary.is_empty() {
        let message = format!("{} bytes follow that belong to no input", binary.len());
        return Err(ApiError::invalid("inputs", message));
    }
    let payloads = payloads(front, model, &tensors, &parameters.generation).await?;
    drop((tensors, room));
    let outputs = outputs.unwrap_or_default();
    check_outputs(model, &payloads, &outputs)?;
    let (answers, share) = ask_all(front, model, ("inputs", payloads), (received.arrived, deadline)).await?;
    let courses: Vec<Course> = answers.iter().map(|answer| answer.course).collect();
    let size = answers.iter().map(|answer| size(&answer.output)).sum();
    let write = || written(model, id, answers, &outputs, &parameters);
    let (header, data) = front.workbench.finish(size, write).await?;
    let Some(data) = data else { return Ok(respond(share.keep(header), "application/json", &courses)) };
    let length = HeaderValue::from(header.len());
    let body = front.workbench.finish(size, || [header, data].concat()).await;
    let mut response = respond(share.keep(body), "application/octet-stream", &courses);
    response.headers_mut().insert(JSON_LENGTH, length);
    Ok(response)
}

/// About how many bytes an output is.
fn size(output: &Output) -> usize {
    size_of::<f32>()
        * match output {
            Output::Embedding(vector) => vector.len(),
            Output::MaskedLogits(positions) => positions.iter().map(Vec::len).sum(),
            Output::Generated { tokens, .. } => tokens.len(),
        }
}

/// The JSON of an answer, and its binary data if some is wanted.
fn written(
    model: &ServedModel,
    id: Option<String>,
    answers: Vec<Answer>,
    outputs: &[RequestedOutput],
    parameters: &InferParameters,
) -> Result<(Vec<u8>, Option<Vec<u8>>), ApiError> {
    let mut data = Vec::new();
    let mut bodies = Vec::new();
    for tensor in results(model, answers, &parameters.generation.stops())? {
        let wanted = outputs.iter().find(|output| output.name == tensor.name);
        if wanted.is_none() && !outputs.is_empty() {
            continue;
        }
        let own = wanted.and_then(|output| output.parameters.as_ref()?.binary_data);
        let binary = own.or(parameters.binary_data_output).unwrap_or(false);
        bodies.push(tensor.write(binary.then_some(&mut data)));
    }
    let is_binary = bodies.iter().any(TensorBody::is_binary);
    let header = json(&InferResponse { id, model_name: &model.name, model_version: VERSION, outputs: bodies });
    Ok((header, is_binary.then_some(data)))
}

/// Outputs that are wanted must be among those that the payloads lead to, before anything is run for them.
fn check_outputs(model: &ServedModel, payloads: &[Input], wanted: &[RequestedOutput]) -> Result<(), ApiError> {
    let given: Vec<&str> = match payloads.first() {
        Some(Input::MaskedLogits { .. }) => vec!["logits"],
        Some(Input::Generate(_)) if model.text.is_some() => vec!["output_ids", "text"],
        Some(Input::Generate(_)) => vec!["output_ids"],
        _ => vec!["embedding"],
    };
    for (index, output) in wanted.iter().enumerate() {
        if !given.contains(&output.name.as_str()) {
            let message =
                format!("there is no output `{}`; these inputs lead to `{}`", output.name, given.join("`, `"));
            return Err(ApiError::invalid(format!("outputs[{index}].name"), message));
        }
        if wanted[..index].iter().any(|before| before.name == output.name) {
            let message = format!("output `{}` is asked for twice", output.name);
            return Err(ApiError::invalid(format!("outputs[{index}].name"), message));
        }
    }
    Ok(())
}

/// The JSON of a body, its share of memory, and the binary data after it.
async fn parse<'a>(front: &Front, received: &'a Received) -> Result<(InferRequest, Share, &'a [u8]), ApiError> {
    let Some(length) = received.head.headers.get(&JSON_LENGTH) else {
        let (asked, share) = received.read(front).await?;
        return Ok((asked, share, &[]));
    };
    let length = length.to_str().ok().and_then(|text| text.trim().parse().ok());
    let parts = length.and_then(|length| received.body.split_at_checked(length));
    let (json, binary) =
        parts.ok_or_else(|| ApiError::malformed("Inference-Header-Content-Length is no length within the body"))?;
    let (asked, share) = received.read_part(front, json).await?;
    Ok((asked, share, binary))
}

/// All outputs, one row for each answer; texts end before the first of `stops`.
fn results(model: &ServedModel, answers: Vec<Answer>, stops: &[String]) -> Result<Vec<Tensor>, ApiError> {
    let rows = answers.len() as u64;
    let (mut floats, mut continuations) = (Vec::new(), Vec::new());
    let (mut name, mut shape) = ("embedding", vec![rows, u64::from(model.card.embedding)]);
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
    let texts = match &model.text {
        None => None,
        Some(_) => {
            let texts = continuations.iter_mut().map(|tokens| stopped(model, tokens, stops)).collect::<Result<_, _>>();
            let texts = texts.map_err(|error| ApiError::backend(&error))?;
            Some(Tensor { name: "text".to_owned(), shape: vec![rows], elements: Elements::Texts(texts) })
        }
    };
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
    Ok([ids].into_iter().chain(texts).collect())
}

/// The text of `tokens` up to the first of `stops`, and the tokens that it takes.
fn stopped(model: &ServedModel, tokens: &mut Vec<u32>, stops: &[String]) -> Result<String, BackendError> {
    let mut stream = TextStream::new(model.text.clone(), stops.to_vec());
    let mut text = String::new();
    for index in 0..tokens.len() {
        text.push_str(&stream.push(&tokens[index..=index])?);
        if stream.is_stopped() {
            tokens.truncate(index + 1);
            return Ok(text);
        }
    }
    text.push_str(&stream.finish()?);
    Ok(text)
}
