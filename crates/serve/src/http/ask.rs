//! From bodies to questions, through the gateway, to answers.

use crate::gateway::{Pending, Question, ServedModel};
use crate::http::Front;
use crate::http::error::ApiError;
use crate::request::{Answer, Course};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use statmux_core::backend::{Input, Text};
use statmux_core::{Span, Time};
use std::fmt::Write;

/// Where clients say how long they would wait; `deadline_ms` in the body means the same.
const DEADLINE: HeaderName = HeaderName::from_static("x-statmux-deadline-ms");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const GROUP: HeaderName = HeaderName::from_static("x-statmux-group");

/// A request that has come in whole.
pub(crate) struct Received {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    /// When the last byte was here.
    pub(crate) arrived: Time,
}

/// Takes in a request whole, within the limits of the front.
pub(crate) async fn receive(front: &Front, request: Request) -> Result<Received, ApiError> {
    let (head, body) = request.into_parts();
    let limit = front.settings.body_limit;
    let body = Limited::new(body, limit).collect();
    let body = match tokio::time::timeout(front.settings.body_timeout, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(ApiError::body_too_large(limit)),
        Ok(Err(error)) => return Err(ApiError::malformed(format!("the body broke off: {error}"))),
        Err(_) => return Err(ApiError::body_too_slow()),
    };
    Ok(Received { head, body, arrived: front.gateway.clock().now() })
}

impl Received {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|error| ApiError::malformed(format!("the body is wrong: {error}")))
    }

    /// The shorter of the deadlines in the header and in the body.
    pub(crate) fn deadline(&self, in_body: Option<f64>) -> Result<Option<Span>, ApiError> {
        deadline(&self.head.headers, in_body)
    }
}

fn deadline(headers: &HeaderMap, in_body: Option<f64>) -> Result<Option<Span>, ApiError> {
    let wrong = |param| move || ApiError::invalid(param, "a deadline is a positive number of milliseconds");
    let in_header = headers.get(&DEADLINE).map(|value| {
        let number = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
        number.and_then(span).ok_or_else(wrong("x-statmux-deadline-ms"))
    });
    let in_header = in_header.transpose()?;
    let in_body = in_body.map(|number| span(number).ok_or_else(wrong("deadline_ms"))).transpose()?;
    Ok(in_header.into_iter().chain(in_body).min())
}

fn span(milliseconds: f64) -> Option<Span> {
    Span::from_seconds(milliseconds / 1000.0).filter(|&span| span > Span::ZERO)
}

/// The model called `name`.
pub(crate) fn model<'a>(front: &'a Front, name: &str) -> Result<&'a ServedModel, ApiError> {
    front.gateway.model(name).ok_or_else(|| ApiError::unknown_model(name))
}

/// Asks `model` everything in `inputs`, and waits for all answers; the first refusal ends it all.
pub(crate) async fn ask_all(
    front: &Front,
    model: &ServedModel,
    inputs: Vec<Input>,
    arrived: Time,
    deadline: Option<Span>,
) -> Result<Vec<Answer>, ApiError> {
    let mut pending = Vec::with_capacity(inputs.len());
    for input in inputs {
        pending.push(submit(front, model, input, (arrived, deadline), false)?);
    }
    let mut answers = Vec::with_capacity(pending.len());
    for mut pending in pending {
        answers.push(pending.answer().await.map_err(|refusal| ApiError::refused(model, &refusal))?);
    }
    Ok(answers)
}

/// Hands one input to the gateway.
pub(crate) fn submit(
    front: &Front,
    model: &ServedModel,
    input: Input,
    (arrived, deadline): (Time, Option<Span>),
    streams: bool,
) -> Result<Pending, ApiError> {
    let question = Question { model: model.id, input, arrived, deadline, streams };
    front.gateway.submit(question).map_err(|refusal| ApiError::refused(model, &refusal))
}

/// The tokens of `text` in the model's vocabulary.
pub(crate) fn encode(model: &ServedModel, text: &str) -> Result<Vec<u32>, ApiError> {
    codec(model)?.encode(text).map_err(|error| ApiError::backend(&error))
}

/// The model's tokenizer.
pub(crate) fn codec(model: &ServedModel) -> Result<&dyn Text, ApiError> {
    let codec = model.text.as_deref();
    codec.ok_or_else(|| ApiError::invalid("model", "this model has no tokenizer: send token ids"))
}

/// Text or tokens, one or several: what OpenAI calls `input` or `prompt`.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(crate) enum TextOrTokens {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

impl TextOrTokens {
    /// One list of tokens for each item.
    pub(crate) fn tokens(self, model: &ServedModel) -> Result<Vec<Vec<u32>>, ApiError> {
        match self {
            Self::Text(text) => Ok(vec![encode(model, &text)?]),
            Self::Texts(texts) => texts.iter().map(|text| encode(model, text)).collect(),
            Self::Tokens(tokens) => Ok(vec![tokens]),
            Self::TokenLists(lists) => Ok(lists),
        }
    }
}

/// A JSON response that says where and how long its answers ran.
pub(crate) fn respond(body: Vec<u8>, content_type: &'static str, courses: &[Course]) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(axum::http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    note_course(headers, courses);
    response
}

/// Writes the course of the slowest answer into headers: its group, and as `server-timing`, in milliseconds, its
/// `queue`ing time, its `run`ning time, its share of `busy` device time, and the run as `predicted`.
pub(crate) fn note_course(headers: &mut HeaderMap, courses: &[Course]) {
    let Some(course) = courses.iter().max_by_key(|course| course.finished) else { return };
    let mut timing = String::with_capacity(96);
    let spans = [
        ("queue", course.started.since(course.arrived)),
        ("run", course.finished.since(course.started)),
        ("busy", courses.iter().map(|course| course.busy).sum()),
        ("predicted", course.predicted.since(course.started)),
    ];
    for (index, (name, span)) in spans.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let (whole, micros) = (span.nanos() / 1_000_000, span.nanos() / 1_000 % 1_000);
        write!(timing, "{comma}{name};dur={whole}.{micros:03}").expect("writing to a string succeeds");
    }
    headers.insert(SERVER_TIMING, HeaderValue::try_from(timing).expect("digits and words are a valid header"));
    headers.insert(GROUP, HeaderValue::from(course.group.0));
}
