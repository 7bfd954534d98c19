//! `/v1/chat/completions`.
//!
//! Messages become one prompt in the form that the model was trained on, if it comes with a chat template; for others,
//! a line for each (`role: content`), ended by `assistant:`.

use super::generation::{Choices, Whole};
use super::messages::{Message, lines, turns};
use super::options::{Generates, GenerationOptions};
use super::sse::{Narrator, stream};
use super::{Usage, json};
use crate::course::Course;
use crate::gateway::ServedModel;
use crate::http::Front;
use crate::http::ask::{codec, model, receive, respond};
use crate::http::desk::now_s;
use crate::http::error::{ApiError, OpenAiErrors};
use crate::http::fields::{Field, Fields, Neutral, ignored, list_schema, neutral, required, schema, taken};
use crate::http::json::FromJson;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use statmux_core::backend::ChatMessage;
use std::sync::Arc;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema as _, ToSchema};

/// A conversation that is to go on.
#[derive(Debug, Default)]
pub(crate) struct ChatRequest {
    model: String,
    messages: Vec<Message>,
    options: GenerationOptions,
}

impl AsMut<GenerationOptions> for ChatRequest {
    fn as_mut(&mut self) -> &mut GenerationOptions {
        &mut self.options
    }
}

impl Fields for ChatRequest {
    const TABLES: &'static [&'static [Field<Self>]] = &[OWN, Self::SAMPLING, Self::SHARED];
}

const OWN: &[Field<ChatRequest>] = &[
    required("model", String::schema, "Which model.", |ask, v| String::from_json(v).map(|name| ask.model = name)),
    required("messages", list_schema::<Message>, "The conversation so far.", |ask, v| {
        Vec::from_json(v).map(|messages| ask.messages = messages)
    }),
    taken(
        "max_completion_tokens",
        u32::schema,
        "The newer name of `max_tokens`; if absent, all the context has room for.",
        |ask, v| v.put(&mut ask.options.max_completion_tokens),
    ),
    neutral("logprobs", &[Neutral::Flag(false)]),
    neutral("top_logprobs", &[Neutral::Number(0.0)]),
    neutral("response_format", &[Neutral::Type("text")]),
    neutral("tools", &[Neutral::EmptyList]),
    neutral("tool_choice", &[Neutral::Text("none"), Neutral::Text("auto")]),
    neutral("parallel_tool_calls", &[Neutral::Flag(true), Neutral::Flag(false)]),
    neutral("functions", &[Neutral::EmptyList]),
    neutral("function_call", &[Neutral::Text("none"), Neutral::Text("auto")]),
    neutral("modalities", &[Neutral::Only("text")]),
    neutral("audio", &[]),
    neutral("prediction", &[]),
    neutral("web_search_options", &[]),
    neutral("reasoning_effort", &[Neutral::Text("none")]),
    neutral("verbosity", &[Neutral::Text("medium")]),
    neutral("store", &[Neutral::Flag(false)]),
    neutral("service_tier", &[Neutral::Text("auto"), Neutral::Text("default")]),
    ignored("metadata"),
    ignored("safety_identifier"),
    ignored("prompt_cache_key"),
    ignored("prompt_cache_retention"),
];

impl utoipa::PartialSchema for ChatRequest {
    fn schema() -> RefOr<Schema> {
        schema::<Self>()
    }
}

impl ToSchema for ChatRequest {}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatResponse {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    choices: Vec<ChatChoice>,
    /// In streams only where asked for, and then null but for the last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    usage: Option<Option<Usage>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChoice {
    index: usize,
    /// The whole answer; absent in events of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Said>,
    /// A piece of it, in events of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Said>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// The next turn of a conversation.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "OpenAI", request_body = ChatRequest,
    params(("x-statmux-deadline-ms" = Option<f64>, Header, description = "the latency asked for, if shorter than the model's SLO")),
    responses((status = 200, description = "the answers, or events of them", body = ChatResponse), OpenAiErrors))]
pub(crate) async fn chat(State(front): State<Arc<Front>>, request: Request) -> Result<Response, ApiError> {
    let received = receive(&front, request).await?;
    let (ChatRequest { model: name, messages, options }, room) = received.read(&front).await?;
    let model = model(&front, &name)?;
    let when = (received.arrived, received.deadline(options.deadline_ms)?);
    let prompt = prompt(&front, model, messages).await?;
    drop(room);
    let id = format!("chatcmpl-{}", front.desk.fresh_id());
    // To the end of the context, or as far as the model usually goes; a prompt that leaves no room is refused for that.
    let usual = model.card.usual_answer.unwrap_or(u32::MAX);
    let left = |prompt: usize| model.card.max_tokens.saturating_sub(u32::try_from(prompt).unwrap_or(u32::MAX));
    let most = |prompt: usize| left(prompt).min(usual).max(1);
    let choices = Choices::ask(&front, model, ("messages", vec![prompt]), &options, most, when)?;
    if options.streams() {
        let narrator = Chunks { id, created: now_s(), model: name, usage: options.includes_usage() };
        return stream(choices, narrator).await;
    }
    let (answers, usage, share) = choices.whole().await?;
    let courses: Vec<Course> = answers.iter().map(|whole| whole.course).collect();
    let size = answers.iter().map(|whole| whole.text.len()).sum();
    let choice = |(index, whole): (usize, Whole)| ChatChoice {
        index,
        message: Some(Said { role: Some("assistant"), content: Some(whole.text) }),
        delta: None,
        finish_reason: Some(whole.finish_reason),
    };
    let body = ChatResponse {
        id,
        object: "chat.completion",
        created: now_s(),
        model: name,
        choices: answers.into_iter().enumerate().map(choice).collect(),
        usage: Some(Some(usage)),
    };
    let body = front.workbench.finish(size, || json(&body)).await;
    Ok(respond(share.keep(body), "application/json", &courses))
}

/// About how much templates write around a turn.
const MARKUP: usize = 16;

/// Bytes of what a template may write of a turn.
fn length(turn: &ChatMessage) -> usize {
    let more = if turn.more.is_empty() { 0 } else { json(&turn.more).len() };
    MARKUP + turn.role.len() + turn.content.as_ref().map_or(0, String::len) + more
}

/// The tokens that ask `model` for the turn after `messages`.
async fn prompt(front: &Front, model: &ServedModel, messages: Vec<Message>) -> Result<Vec<u32>, ApiError> {
    let turns = turns(messages)?;
    let bytes = turns.iter().map(length).sum();
    front.settings.request.texts("messages", model, [bytes])?;
    let codec = codec(model)?;
    let tokens = || match codec.chat(&turns) {
        Ok(None) => codec.encode(&lines(&turns)),
        Ok(Some(tokens)) => Ok(tokens),
        Err(error) => Err(error),
    };
    front.workbench.work(bytes, tokens).await?.map_err(|error| ApiError::backend(&error).blaming("messages"))
}

/// The events of a streamed answer.
struct Chunks {
    id: String,
    created: u64,
    model: String,
    usage: bool,
}

impl Chunks {
    fn chunk(&self, choices: Vec<ChatChoice>, usage: Option<Usage>) -> String {
        let chunk = ChatResponse {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model.clone(),
            choices,
            usage: self.usage.then_some(usage),
        };
        serde_json::to_string(&chunk).expect("plain data serialises")
    }

    fn choice(index: usize, delta: Said, finish_reason: Option<&'static str>) -> Vec<ChatChoice> {
        vec![ChatChoice { index, message: None, delta: Some(delta), finish_reason }]
    }
}

impl Narrator for Chunks {
    fn opening(&self, index: usize) -> Option<String> {
        let role = Said { role: Some("assistant"), content: Some(String::new()) };
        Some(self.chunk(Self::choice(index, role, None), None))
    }

    fn text(&self, index: usize, text: &str) -> String {
        let said = Said { role: None, content: Some(text.to_owned()) };
        self.chunk(Self::choice(index, said, None), None)
    }

    fn end(&self, index: usize, finish_reason: &'static str) -> String {
        self.chunk(Self::choice(index, Said::default(), Some(finish_reason)), None)
    }

    fn usage(&self, usage: Usage) -> Option<String> {
        self.usage.then(|| self.chunk(Vec::new(), Some(usage)))
    }
}
