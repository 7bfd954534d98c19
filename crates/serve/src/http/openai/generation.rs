//! What completions and chat have in common: answers on their way, and what came of them.

use super::Usage;
use super::options::GenerationOptions;
use crate::course::Course;
use crate::detokenise::TextStream;
use crate::gateway::{Event, Pending, ServedModel};
use crate::http::Front;
use crate::http::ask::submit_all;
use crate::http::budget::Share;
use crate::http::error::ApiError;
use crate::http::workbench::Workbench;
use futures_util::future::try_join_all;
use statmux_core::backend::{BackendError, Finish, Output};
use statmux_core::{Span, Time};
use std::sync::Arc;

/// All answers of a request on their way, prompt by prompt.
pub(crate) struct Choices {
    pub(crate) generations: Vec<Generation>,
    /// Tokens of all prompts, each counted once.
    pub(crate) prompt_tokens: usize,
    /// Of the memory for all answers, until this one is sent.
    pub(crate) share: Share,
}

impl Choices {
    /// Asks `model` to go on with each of `prompts`, which came in `field`; `default` is the most tokens to add to a prompt of a length.
    pub(crate) fn ask(
        front: &Front,
        model: &ServedModel,
        (field, prompts): (&'static str, Vec<Vec<u32>>),
        options: &GenerationOptions,
        default: impl Fn(usize) -> u32,
        when: (Time, Option<Span>),
    ) -> Result<Self, ApiError> {
        let prompt_tokens = prompts.iter().map(Vec::len).sum();
        let answers = prompts.len().saturating_mul(options.answers()? as usize);
        front.settings.request.inputs(field, answers)?;
        let inputs = options.inputs(prompts, default)?;
        let (pending, share) = submit_all(front, model, (field, inputs), when, options.streams())?;
        let generation = |pending| Generation {
            pending,
            text: TextStream::new(model.text.clone(), options.stops()),
            model: model.clone(),
            new_tokens: 0,
            workbench: Arc::clone(&front.workbench),
        };
        Ok(Self { generations: pending.into_iter().map(generation).collect(), prompt_tokens, share })
    }

    /// All answers whole, what they took, and their share of memory.
    pub(crate) async fn whole(mut self) -> Result<(Vec<Whole>, Usage, Share), ApiError> {
        // The first refusal ends it all: what has not started yet is cancelled.
        let answers = try_join_all(self.generations.iter_mut().map(Generation::whole)).await?;
        let new_tokens = answers.iter().map(|whole| whole.new_tokens).sum();
        Ok((answers, Usage::new(self.prompt_tokens, new_tokens), self.share))
    }
}

/// An answer on its way to a client: tokens in, text out.
pub(crate) struct Generation {
    pending: Pending,
    text: TextStream,
    model: ServedModel,
    new_tokens: usize,
    workbench: Arc<Workbench>,
}

/// About how much work a token is, in bytes of text.
const WORK_A_TOKEN: usize = 16;

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    End { text: String, finish_reason: &'static str, new_tokens: usize, course: Course },
}

impl Generation {
    /// The next piece that is not empty, or the end.
    pub(crate) async fn next(&mut self) -> Result<Piece, ApiError> {
        loop {
            match self.pending.next().await {
                Event::Token(token) => {
                    self.new_tokens += 1;
                    let text = self.text.push(&[token]).map_err(|error| ApiError::backend(&error))?;
                    if !text.is_empty() {
                        return Ok(Piece::Text(text));
                    }
                }
                Event::Answer(answer) => {
                    let answer = answer.map_err(|refusal| ApiError::refused(&self.model, &refusal))?;
                    let Output::Generated { tokens, finish } = answer.output else {
                        return Err(ApiError::malformed("the model answered something else than a text"));
                    };
                    let rest = tokens.get(self.new_tokens..).unwrap_or_default();
                    let stream = &mut self.text;
                    let text = self.workbench.finish(rest.len() * WORK_A_TOKEN, || last(stream, rest)).await;
                    let text = text.map_err(|error| ApiError::backend(&error))?;
                    let stopped = finish == Finish::Stop || self.text.is_stopped();
                    let finish_reason = if stopped { "stop" } else { "length" };
                    return Ok(Piece::End { text, finish_reason, new_tokens: tokens.len(), course: answer.course });
                }
            }
        }
    }

    /// The whole answer at once.
    async fn whole(&mut self) -> Result<Whole, ApiError> {
        let mut whole = String::new();
        loop {
            match self.next().await? {
                Piece::Text(text) => whole.push_str(&text),
                Piece::End { text, finish_reason, new_tokens, course } => {
                    whole.push_str(&text);
                    return Ok(Whole { text: whole, finish_reason, new_tokens, course });
                }
            }
        }
    }
}

/// The text of the last tokens.
fn last(stream: &mut TextStream, tokens: &[u32]) -> Result<String, BackendError> {
    let mut text = stream.push(tokens)?;
    text.push_str(&stream.finish()?);
    Ok(text)
}

/// A finished answer.
pub(crate) struct Whole {
    pub(crate) text: String,
    pub(crate) finish_reason: &'static str,
    pub(crate) new_tokens: usize,
    pub(crate) course: Course,
}
