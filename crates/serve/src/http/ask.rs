//! From bodies to questions, through the gateway, to answers.

use crate::course::Course;
use crate::gateway::{Pending, Question, ServedModel};
use crate::http::Front;
use crate::http::body::Unpacking;
use crate::http::budget::{Share, Shortage};
use crate::http::error::ApiError;
use crate::http::fields::any_of;
use crate::http::json::{FromJson, Json, Wrong};
use crate::request::Answer;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use futures_util::future::try_join_all;
use http_body_util::BodyExt;
use statmux_core::backend::{Input, Text};
use statmux_core::{Span, Time};
use std::fmt::Write;
use utoipa::PartialSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

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
    /// Its part of the memory for bodies, until the request is answered.
    share: Share,
}

/// Takes in a request whole, within the limits of the front.
pub(crate) async fn receive(front: &Front, request: Request) -> Result<Received, ApiError> {
    let (head, mut body) = request.into_parts();
    let mut unpacking = Unpacking::begin(&head.headers, front.settings.body_limit, front.bodies.share())?;
    let whole = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ApiError::malformed(format!("the body broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            for (index, piece) in data.chunks(unpacking.piece()).enumerate() {
                if index > 0 {
                    tokio::task::yield_now().await;
                }
                unpacking.push(piece)?;
            }
        }
        unpacking.finish()
    };
    let whole = tokio::time::timeout(front.settings.body_timeout, whole).await;
    let (body, share) = whole.unwrap_or_else(|_| Err(ApiError::body_too_slow()))?;
    Ok(Received { head, body: Bytes::from(body), arrived: front.gateway.clock().now(), share })
}

impl Received {
    /// What the body says, and its share of the memory for bodies, until it has become something else.
    pub(crate) async fn read<T: FromJson>(&self, front: &Front) -> Result<(T, Share), ApiError> {
        self.read_part(front, &self.body).await
    }

    /// The same of a part of it.
    pub(crate) async fn read_part<T: FromJson>(&self, front: &Front, json: &[u8]) -> Result<(T, Share), ApiError> {
        let mut share = self.share.another();
        let said = front.workbench.work(json.len(), || Ok(T::from_json(Json::parse(json, &mut share)?)?)).await?;
        said.map(|said| (said, share))
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

/// Asks `model` everything in `inputs`, which came in `field`, and waits for all answers; the first refusal ends it all.
/// The share is of the memory for all answers, and is to last until this one is sent.
pub(crate) async fn ask_all(
    front: &Front,
    model: &ServedModel,
    (field, inputs): (&'static str, Vec<Input>),
    when: (Time, Option<Span>),
) -> Result<(Vec<Answer>, Share), ApiError> {
    let (mut pending, share) = submit_all(front, model, (field, inputs), when, false)?;
    // Whatever has not started when one is refused is cancelled: nobody waits for it any more.
    let answers = try_join_all(pending.iter_mut().map(Pending::answer)).await;
    let answers = answers.map_err(|refusal| ApiError::refused(model, &refusal).blaming(field))?;
    Ok((answers, share))
}

/// Hands all inputs, which came in `field`, to the gateway, which takes them in as a whole or not at all, once their
/// answers have their share of memory.
pub(crate) fn submit_all(
    front: &Front,
    model: &ServedModel,
    (field, inputs): (&'static str, Vec<Input>),
    (arrived, deadline): (Time, Option<Span>),
    streams: bool,
) -> Result<(Vec<Pending>, Share), ApiError> {
    let memory = front.settings.request.payloads(field, model, &inputs)?;
    let mut share = front.answers.share();
    share.hold(memory).map_err(|shortage| match shortage {
        Shortage::ForNow => ApiError::overloaded("the answers to other requests take all the memory there is for them"),
        Shortage::ForEver { room } => {
            let message = format!("`{field}` asks for an answer that takes {memory} bytes of memory; there are {room}");
            ApiError::invalid(field, message)
        }
    })?;
    let question = |input| Question { model: model.id, input, arrived, deadline, streams };
    let questions = inputs.into_iter().map(question).collect();
    let taken = front.gateway.submit_together(questions);
    let pending = taken.map_err(|refusal| ApiError::refused(model, &refusal).blaming(field))?;
    Ok((pending, share))
}

/// The tokens of each of `texts`, which came in `field`, in the model's vocabulary.
pub(crate) async fn encode(
    front: &Front,
    model: &ServedModel,
    field: &'static str,
    texts: &[String],
) -> Result<Vec<Vec<u32>>, ApiError> {
    let limits = &front.settings.request;
    limits.inputs(field, texts.len())?;
    limits.texts(field, model, texts.iter().map(String::len))?;
    let codec = codec(model)?;
    let bytes = texts.iter().map(String::len).sum();
    let tokens = |text: &str| codec.encode(text).map_err(|error| ApiError::backend(&error).blaming(field));
    front.workbench.work(bytes, || limits.encoded(field, texts, tokens)).await?
}

/// The model's tokenizer.
pub(crate) fn codec(model: &ServedModel) -> Result<&dyn Text, ApiError> {
    let codec = model.text.as_deref();
    codec.ok_or_else(|| ApiError::invalid("model", "this model has no tokenizer: send token ids"))
}

/// Text or tokens, one or several: what OpenAI calls `input` or `prompt`.
#[derive(Clone, Debug)]
pub(crate) enum TextOrTokens {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

impl FromJson for TextOrTokens {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        const EXPECTED: &str = "a text, a list of texts, a list of token ids, or a list of lists of token ids";
        match value {
            Json::Text(text) => Ok(Self::Text(text)),
            // Nothing of whatever kind, rather than one text without tokens.
            Json::Integers(numbers) if numbers.is_empty() => Ok(Self::TokenLists(Vec::new())),
            Json::Integers(numbers) => Ok(Self::Tokens(token_ids(&numbers)?)),
            Json::List(items) if matches!(items[0], Json::Text(_)) => {
                let texts = items.into_iter().enumerate().map(|(index, item)| match item {
                    Json::Text(text) => Ok(text),
                    other => Err(other.instead_of("a text, as the items before it").in_item(index)),
                });
                texts.collect::<Result<_, _>>().map(Self::Texts)
            }
            Json::List(items) if matches!(items[0], Json::Integers(_)) => {
                let lists = items.into_iter().enumerate().map(|(index, item)| match item {
                    Json::Integers(numbers) => token_ids(&numbers).map_err(|wrong| wrong.in_item(index)),
                    other => Err(other.instead_of("a list of token ids").in_item(index)),
                });
                lists.collect::<Result<_, _>>().map(Self::TokenLists)
            }
            Json::List(items) => {
                let odd = items.iter().position(|item| !matches!(item, Json::Integer(_))).unwrap_or(0);
                let expected = if odd > 0 { "a token id, as the items before it" } else { "a text or a token id" };
                Err(items[odd].instead_of(expected).in_item(odd))
            }
            other => Err(other.instead_of(EXPECTED)),
        }
    }
}

fn token_ids(numbers: &[i64]) -> Result<Vec<u32>, Wrong> {
    let token = |(index, &number): (usize, &i64)| {
        u32::try_from(number).map_err(|_| Json::Integer(number).instead_of("a token id").in_item(index))
    };
    numbers.iter().enumerate().map(token).collect()
}

impl TextOrTokens {
    pub(crate) fn schema() -> RefOr<Schema> {
        let (texts, tokens) = (Vec::<String>::schema(), Vec::<u32>::schema());
        any_of([String::schema(), texts, tokens, Vec::<Vec<u32>>::schema()])
    }

    /// One list of tokens for each item of `field`.
    pub(crate) async fn tokens(
        self,
        front: &Front,
        model: &ServedModel,
        field: &'static str,
    ) -> Result<Vec<Vec<u32>>, ApiError> {
        match self {
            Self::Text(text) => encode(front, model, field, &[text]).await,
            Self::Texts(texts) => encode(front, model, field, &texts).await,
            Self::Tokens(tokens) => Ok(vec![tokens]),
            Self::TokenLists(lists) => Ok(lists),
        }
    }
}

/// A response that says where and how long its answers ran.
pub(crate) fn respond(body: impl Into<Body>, content_type: &'static str, courses: &[Course]) -> Response {
    let mut response = Response::new(body.into());
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
