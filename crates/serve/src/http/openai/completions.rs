//! `/v1/completions`.

use super::generation::{Choices, Whole};
use super::options::{DEFAULT_MAX_TOKENS, Generates, GenerationOptions};
use super::sse::{Narrator, stream};
use super::{Usage, json};
use crate::course::Course;
use crate::http::Front;
use crate::http::ask::{TextOrTokens, model, receive, respond};
use crate::http::desk::now_s;
use crate::http::error::{ApiError, OpenAiErrors};
use crate::http::fields::{Field, Fields, Neutral, neutral, required, schema, taken};
use crate::http::json::FromJson;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use std::sync::Arc;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema as _, ToSchema};

/// A text that is to go on.
#[derive(Debug, Default)]
pub(crate) struct CompletionRequest {
    model: String,
    prompt: Option<TextOrTokens>,
    best_of: Option<u32>,
    options: GenerationOptions,
}

impl AsMut<GenerationOptions> for CompletionRequest {
    fn as_mut(&mut self) -> &mut GenerationOptions {
        &mut self.options
    }
}

impl Fields for CompletionRequest {
    const TABLES: &'static [&'static [Field<Self>]] = &[OWN, Self::SAMPLING, Self::SHARED];
}

const OWN: &[Field<CompletionRequest>] = &[
    required("model", String::schema, "Which model.", |ask, v| String::from_json(v).map(|name| ask.model = name)),
    required("prompt", TextOrTokens::schema, "What is to go on: one text or several.", |ask, v| v.put(&mut ask.prompt)),
    taken("best_of", u32::schema, "Not offered: 1, or as many as `n`.", |ask, v| v.put(&mut ask.best_of)),
    neutral("echo", &[Neutral::Flag(false)]),
    neutral("logprobs", &[Neutral::Flag(false)]),
    neutral("suffix", &[Neutral::Text("")]),
];

impl utoipa::PartialSchema for CompletionRequest {
    fn schema() -> RefOr<Schema> {
        schema::<Self>()
    }
}

impl ToSchema for CompletionRequest {}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletionResponse {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// In streams only where asked for, and then null but for the last event.
    #[schema(value_type = Option<Usage>)]
    usage: Option<Option<Usage>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Choice {
    text: String,
    index: usize,
    /// Not offered.
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

/// What comes after a text.
#[utoipa::path(post, path = "/v1/completions", tag = "OpenAI", request_body = CompletionRequest,
    params(("x-statmux-deadline-ms" = Option<f64>, Header, description = "the latency asked for, if shorter than the model's SLO")),
    responses((status = 200, description = "the texts, or events of them", body = CompletionResponse), OpenAiErrors))]
pub(crate) async fn complete(State(front): State<Arc<Front>>, request: Request) -> Result<Response, ApiError> {
    let received = receive(&front, request).await?;
    let (CompletionRequest { model: name, prompt, best_of, options }, room) = received.read(&front).await?;
    let model = model(&front, &name)?;
    let answers = options.answers()?;
    if best_of.is_some_and(|best_of| best_of != 1 && best_of != answers) {
        let message = "`best_of` is not offered: leave it out, or give 1 or as many as `n`";
        return Err(ApiError::invalid("best_of", message));
    }
    let when = (received.arrived, received.deadline(options.deadline_ms)?);
    let prompts = prompt.expect("it is required").tokens(&front, model, "prompt").await?;
    if prompts.is_empty() {
        return Err(ApiError::invalid("prompt", "`prompt` is an empty list: give at least one text"));
    }
    drop(room);
    let id = format!("cmpl-{}", front.desk.fresh_id());
    let choices = Choices::ask(&front, model, ("prompt", prompts), &options, |_| DEFAULT_MAX_TOKENS, when)?;
    if options.streams() {
        let narrator = Chunks { id, created: now_s(), model: name, usage: options.includes_usage() };
        return stream(choices, narrator).await;
    }
    let (answers, usage, share) = choices.whole().await?;
    let courses: Vec<Course> = answers.iter().map(|whole| whole.course).collect();
    let size = answers.iter().map(|whole| whole.text.len()).sum();
    let choice = |(index, whole): (usize, Whole)| Choice::new(index, whole.text, Some(whole.finish_reason));
    let body = CompletionResponse {
        id,
        object: "text_completion",
        created: now_s(),
        model: name,
        choices: answers.into_iter().enumerate().map(choice).collect(),
        usage: Some(Some(usage)),
    };
    let body = front.workbench.finish(size, || json(&body)).await;
    Ok(respond(share.keep(body), "application/json", &courses))
}

impl Choice {
    fn new(index: usize, text: String, finish_reason: Option<&'static str>) -> Self {
        Self { text, index, logprobs: None, finish_reason }
    }
}

/// The events of a streamed completion.
struct Chunks {
    id: String,
    created: u64,
    model: String,
    usage: bool,
}

impl Chunks {
    fn chunk(&self, choices: Vec<Choice>, usage: Option<Usage>) -> String {
        let chunk = CompletionResponse {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.model.clone(),
            choices,
            usage: self.usage.then_some(usage),
        };
        serde_json::to_string(&chunk).expect("plain data serialises")
    }
}

impl Narrator for Chunks {
    fn opening(&self, _index: usize) -> Option<String> {
        None
    }

    fn text(&self, index: usize, text: &str) -> String {
        self.chunk(vec![Choice::new(index, text.to_owned(), None)], None)
    }

    fn end(&self, index: usize, finish_reason: &'static str) -> String {
        self.chunk(vec![Choice::new(index, String::new(), Some(finish_reason))], None)
    }

    fn usage(&self, usage: Usage) -> Option<String> {
        self.usage.then(|| self.chunk(Vec::new(), Some(usage)))
    }
}
