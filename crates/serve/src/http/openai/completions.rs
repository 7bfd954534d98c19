//! `/v1/completions`.

use super::generation::{Generation, GenerationOptions};
use super::sse::{Narrator, stream};
use super::{Usage, json};
use crate::http::Front;
use crate::http::ask::{TextOrTokens, model, receive, respond, submit};
use crate::http::error::{ApiError, ErrorBody};
use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use utoipa::ToSchema;

/// A text that is to go on.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CompletionRequest {
    model: String,
    prompt: TextOrTokens,
    /// Whether the answer begins with the prompt; not offered.
    #[serde(default)]
    echo: bool,
    #[serde(flatten)]
    options: GenerationOptions,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletionResponse {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
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
    responses((status = 200, body = CompletionResponse), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn complete(State(front): State<Arc<Front>>, request: Request) -> Result<Response, ApiError> {
    let received = receive(&front, request).await?;
    let asked: CompletionRequest = received.json()?;
    let model = model(&front, &asked.model)?;
    let options = asked.options;
    if asked.echo {
        return Err(ApiError::invalid("echo", "echo is not offered"));
    }
    let when = (received.arrived, received.deadline(options.deadline_ms)?);
    let prompts = asked.prompt.tokens(model)?;
    if prompts.is_empty() || (options.stream && prompts.len() > 1) {
        return Err(ApiError::invalid("prompt", "give one prompt, or several without `stream`"));
    }
    let number = front.requests.fetch_add(1, Relaxed);
    let id = format!("cmpl-{:x}-{number:x}", front.started_s);
    let mut generations = Vec::with_capacity(prompts.len());
    for tokens in prompts {
        let length = tokens.len();
        let pending = submit(&front, model, options.input(tokens, number)?, when, options.stream)?;
        generations.push(Generation::new(pending, model, options.stops()?, length));
    }
    if options.stream {
        let generation = generations.pop().expect("one prompt: checked above");
        let narrator = Chunks { id, created: front.started_s, model: asked.model, usage: options.includes_usage() };
        return stream(generation, narrator).await;
    }
    let (mut choices, mut courses, mut usage) = (Vec::new(), Vec::new(), Usage::default());
    for (index, generation) in generations.iter_mut().enumerate() {
        let whole = generation.whole().await?;
        usage = Usage::new(
            usage.prompt_tokens + whole.usage.prompt_tokens,
            usage.completion_tokens + whole.usage.completion_tokens,
        );
        choices.push(Choice { text: whole.text, index, logprobs: None, finish_reason: Some(whole.finish_reason) });
        courses.push(whole.course);
    }
    let (object, created) = ("text_completion", front.started_s);
    let body = CompletionResponse { id, object, created, model: asked.model, choices, usage: Some(usage) };
    Ok(respond(json(&body), "application/json", &courses))
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
            usage,
        };
        serde_json::to_string(&chunk).expect("plain data serialises")
    }

    fn choice(text: &str, finish_reason: Option<&'static str>) -> Vec<Choice> {
        vec![Choice { text: text.to_owned(), index: 0, logprobs: None, finish_reason }]
    }
}

impl Narrator for Chunks {
    fn opening(&self) -> Option<String> {
        None
    }

    fn text(&self, text: &str) -> String {
        self.chunk(Self::choice(text, None), None)
    }

    fn end(&self, finish_reason: &'static str, usage: Usage) -> Vec<String> {
        let mut events = vec![self.chunk(Self::choice("", Some(finish_reason)), None)];
        if self.usage {
            events.push(self.chunk(Vec::new(), Some(usage)));
        }
        events
    }
}
