//! `/v1/chat/completions`.
//!
//! Messages become one prompt in the form that the model was trained on, if it comes with a chat template; for others,
//! a line for each (`role: content`), ended by `assistant:`.

use super::generation::{Generation, GenerationOptions};
use super::sse::{Narrator, stream};
use super::{Usage, json};
use crate::gateway::ServedModel;
use crate::http::Front;
use crate::http::ask::{codec, model, receive, respond, submit};
use crate::http::error::{ApiError, ErrorBody};
use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use statmux_core::backend::ChatMessage;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use utoipa::ToSchema;

/// A conversation that is to go on.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ChatRequest {
    model: String,
    messages: Vec<Message>,
    #[serde(flatten)]
    options: GenerationOptions,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Message {
    role: String,
    content: Content,
}

/// A text, or parts of which those of type `text` count.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Part {
    r#type: String,
    #[serde(default)]
    text: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatResponse {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    choices: Vec<ChatChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
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
    responses((status = 200, body = ChatResponse), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn chat(State(front): State<Arc<Front>>, request: Request) -> Result<Response, ApiError> {
    let received = receive(&front, request).await?;
    let asked: ChatRequest = received.json()?;
    let model = model(&front, &asked.model)?;
    let options = asked.options;
    let when = (received.arrived, received.deadline(options.deadline_ms)?);
    let tokens = prompt(model, asked.messages)?;
    let number = front.requests.fetch_add(1, Relaxed);
    let id = format!("chatcmpl-{:x}-{number:x}", front.started_s);
    let length = tokens.len();
    let pending = submit(&front, model, options.input(tokens, number)?, when, options.stream)?;
    let mut generation = Generation::new(pending, model, options.stops()?, length);
    if options.stream {
        let narrator = Chunks { id, created: front.started_s, model: asked.model, usage: options.includes_usage() };
        return stream(generation, narrator).await;
    }
    let whole = generation.whole().await?;
    let message = Said { role: Some("assistant"), content: Some(whole.text) };
    let finish_reason = Some(whole.finish_reason);
    let body = ChatResponse {
        id,
        object: "chat.completion",
        created: front.started_s,
        model: asked.model,
        choices: vec![ChatChoice { index: 0, message: Some(message), delta: None, finish_reason }],
        usage: Some(whole.usage),
    };
    Ok(respond(json(&body), "application/json", &[whole.course]))
}

/// The tokens that ask `model` for the turn after `messages`.
fn prompt(model: &ServedModel, messages: Vec<Message>) -> Result<Vec<u32>, ApiError> {
    if messages.is_empty() {
        return Err(ApiError::invalid("messages", "the conversation is empty"));
    }
    let messages = messages.into_iter().map(Message::text).collect::<Result<Vec<_>, _>>()?;
    let codec = codec(model)?;
    let tokens = match codec.chat(&messages) {
        Ok(None) => codec.encode(&lines(&messages)),
        Ok(Some(tokens)) => Ok(tokens),
        Err(error) => Err(error),
    };
    tokens.map_err(|error| ApiError::backend(&error))
}

impl Message {
    fn text(self) -> Result<ChatMessage, ApiError> {
        let content = match self.content {
            Content::Text(text) => text,
            Content::Parts(parts) if parts.iter().any(|part| part.r#type != "text") => {
                return Err(ApiError::invalid("messages", "only text is understood"));
            }
            Content::Parts(parts) => parts.into_iter().map(|part| part.text).collect(),
        };
        Ok(ChatMessage { role: self.role, content })
    }
}

/// A conversation as models without a form of their own are asked to go on with it.
fn lines(messages: &[ChatMessage]) -> String {
    let mut lines = String::new();
    for ChatMessage { role, content } in messages {
        writeln!(lines, "{role}: {content}").expect("writing to a string succeeds");
    }
    lines.push_str("assistant:");
    lines
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
            usage,
        };
        serde_json::to_string(&chunk).expect("plain data serialises")
    }

    fn choice(delta: Said, finish_reason: Option<&'static str>) -> Vec<ChatChoice> {
        vec![ChatChoice { index: 0, message: None, delta: Some(delta), finish_reason }]
    }
}

impl Narrator for Chunks {
    fn opening(&self) -> Option<String> {
        let role = Said { role: Some("assistant"), content: Some(String::new()) };
        Some(self.chunk(Self::choice(role, None), None))
    }

    fn text(&self, text: &str) -> String {
        let said = Said { role: None, content: Some(text.to_owned()) };
        self.chunk(Self::choice(said, None), None)
    }

    fn end(&self, finish_reason: &'static str, usage: Usage) -> Vec<String> {
        let mut events = vec![self.chunk(Self::choice(Said::default(), Some(finish_reason)), None)];
        if self.usage {
            events.push(self.chunk(Vec::new(), Some(usage)));
        }
        events
    }
}
