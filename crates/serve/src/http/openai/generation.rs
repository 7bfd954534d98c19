//! What completions and chat have in common: how to go on, and what came of it.

use super::Usage;
use super::text::TextStream;
use crate::gateway::{Event, Pending, ServedModel};
use crate::http::error::ApiError;
use crate::request::Course;
use serde::Deserialize;
use statmux_core::backend::{Finish, Generate, Input, Output, Sampling};
use utoipa::ToSchema;

/// Tokens generated where nobody says how many.
const DEFAULT_MAX_TOKENS: u32 = 16;

/// How a text is to go on: the fields that completions and chat share.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(crate) struct GenerationOptions {
    /// The most tokens to add; 16 if absent.
    pub(crate) max_tokens: Option<u32>,
    /// The newer name of `max_tokens` in chats.
    pub(crate) max_completion_tokens: Option<u32>,
    /// 0 for the likeliest tokens; 1 if absent.
    pub(crate) temperature: Option<f64>,
    /// Draws only from the likeliest tokens with this much probability together.
    pub(crate) top_p: Option<f64>,
    /// The same seed and prompt give the same answer.
    pub(crate) seed: Option<i64>,
    /// Texts that end the answer.
    pub(crate) stop: Option<Stop>,
    /// Whether tokens are sent as they come, as server-sent events.
    #[serde(default)]
    pub(crate) stream: bool,
    pub(crate) stream_options: Option<StreamOptions>,
    /// Only 1 is offered.
    pub(crate) n: Option<u32>,
    /// The latency asked for, if shorter than the model's SLO.
    pub(crate) deadline_ms: Option<f64>,
}

/// One text or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Stop {
    One(String),
    Several(Vec<String>),
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(crate) struct StreamOptions {
    /// Whether a last event tells the usage.
    #[serde(default)]
    pub(crate) include_usage: bool,
}

impl GenerationOptions {
    /// The payload for a prompt; `draw` seeds the sampling where the client does not.
    pub(crate) fn input(&self, tokens: Vec<u32>, draw: u64) -> Result<Input, ApiError> {
        if self.n.is_some_and(|n| n != 1) {
            return Err(ApiError::invalid("n", "only one answer is given: n is 1"));
        }
        let max_new_tokens = self.max_completion_tokens.or(self.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS);
        if max_new_tokens == 0 {
            return Err(ApiError::invalid("max_tokens", "at least one token must be asked for"));
        }
        let temperature = self.temperature.unwrap_or(1.0);
        if !(0.0..=100.0).contains(&temperature) {
            return Err(ApiError::invalid("temperature", "temperature lies between 0 and 100"));
        }
        let top_p = self.top_p.unwrap_or(1.0);
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(ApiError::invalid("top_p", "top_p lies above 0 and up to 1"));
        }
        let seed = self.seed.map_or(draw, i64::cast_unsigned);
        let sampling = if temperature == 0.0 { Sampling::Greedy } else { Sampling::Draw { temperature, top_p, seed } };
        Ok(Input::Generate(Generate { tokens, max_new_tokens, stop_tokens: Vec::new(), sampling }))
    }

    pub(crate) fn stops(&self) -> Result<Vec<String>, ApiError> {
        let stops = match &self.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop.clone()],
            Some(Stop::Several(stops)) => stops.clone(),
        };
        if stops.len() > 4 || stops.iter().any(String::is_empty) {
            return Err(ApiError::invalid("stop", "stop is up to four texts that are not empty"));
        }
        Ok(stops)
    }

    pub(crate) fn includes_usage(&self) -> bool {
        self.stream_options.is_some_and(|options| options.include_usage)
    }
}

/// An answer on its way to a client: tokens in, text out.
pub(crate) struct Generation {
    pending: Pending,
    text: TextStream,
    model: ServedModel,
    prompt_tokens: usize,
    new_tokens: usize,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    End { text: String, finish_reason: &'static str, usage: UsageCounts, course: Course },
}

/// Tokens of prompt and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsageCounts {
    prompt: usize,
    new: usize,
}

impl From<UsageCounts> for Usage {
    fn from(counts: UsageCounts) -> Self {
        Self::new(counts.prompt, counts.new)
    }
}

impl Generation {
    pub(crate) fn new(pending: Pending, model: &ServedModel, stops: Vec<String>, prompt_tokens: usize) -> Self {
        let text = TextStream::new(model.text.clone(), stops);
        Self { pending, text, model: model.clone(), prompt_tokens, new_tokens: 0 }
    }

    /// The next piece that is not empty, or the end.
    pub(crate) async fn next(&mut self) -> Result<Piece, ApiError> {
        loop {
            match self.pending.next().await {
                Event::Token(token) => {
                    self.new_tokens += 1;
                    let text = self.text.push(&[token])?;
                    if !text.is_empty() {
                        return Ok(Piece::Text(text));
                    }
                }
                Event::Answer(answer) => {
                    let answer = answer.map_err(|refusal| ApiError::refused(&self.model, &refusal))?;
                    let Output::Generated { tokens, finish } = answer.output else {
                        return Err(ApiError::malformed("the model answered something else than a text"));
                    };
                    let mut text = self.text.push(tokens.get(self.new_tokens..).unwrap_or_default())?;
                    text.push_str(&self.text.finish()?);
                    let stopped = finish == Finish::Stop || self.text.is_stopped();
                    let usage = UsageCounts { prompt: self.prompt_tokens, new: tokens.len() };
                    let finish_reason = if stopped { "stop" } else { "length" };
                    return Ok(Piece::End { text, finish_reason, usage, course: answer.course });
                }
            }
        }
    }

    /// The whole answer at once.
    pub(crate) async fn whole(&mut self) -> Result<Whole, ApiError> {
        let mut whole = String::new();
        loop {
            match self.next().await? {
                Piece::Text(text) => whole.push_str(&text),
                Piece::End { text, finish_reason, usage, course } => {
                    whole.push_str(&text);
                    return Ok(Whole { text: whole, finish_reason, usage: usage.into(), course });
                }
            }
        }
    }
}

/// A finished answer.
pub(crate) struct Whole {
    pub(crate) text: String,
    pub(crate) finish_reason: &'static str,
    pub(crate) usage: Usage,
    pub(crate) course: Course,
}
