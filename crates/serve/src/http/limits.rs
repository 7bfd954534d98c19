//! What one request may ask for, and what all bodies may hold: checked before anything is computed.
//!
//! A request is measured three times: its body as it comes in (`Budget`), its texts before they are tokenised
//! (`RequestLimits::texts`), and its payloads before they reach the gateway (`RequestLimits::payloads`).

use crate::gateway::ServedModel;
use crate::http::error::ApiError;
use statmux_core::backend::Input;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What one request may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Texts, prompts times answers, or rows.
    pub inputs: usize,
    /// Tokens of all inputs together, those to be generated included.
    pub tokens: u64,
    /// Bytes of one text or conversation. What cannot fit a model's context is refused sooner.
    pub text_bytes: usize,
    /// Bytes of numbers in the answer: four for each component of an embedding, and for each word at each position.
    pub answer_bytes: u64,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { inputs: 2048, tokens: 1 << 19, text_bytes: 1 << 20, answer_bytes: 64 << 20 }
    }
}

/// No vocabulary has tokens that are longer on average: more bytes a token than this do not fit a context.
const BYTES_A_TOKEN: usize = 64;
/// Texts up to this long are always tokenised.
const SHORT_TEXT: usize = 4 << 10;

impl RequestLimits {
    /// Checks how many inputs `field` asks for.
    pub(super) fn inputs(&self, field: &'static str, count: usize) -> Result<(), ApiError> {
        match count > self.inputs {
            true => {
                let message = format!("`{field}` asks for {count} answers; up to {} are given at once", self.inputs);
                Err(ApiError::invalid(field, message))
            }
            false => Ok(()),
        }
    }

    /// Checks texts of so many bytes before `model` tokenises them.
    pub(super) fn texts(
        &self,
        field: &'static str,
        model: &ServedModel,
        lengths: impl IntoIterator<Item = usize>,
    ) -> Result<(), ApiError> {
        let context = (model.card.max_tokens as usize).saturating_mul(BYTES_A_TOKEN).max(SHORT_TEXT);
        let most = self.text_bytes.min(context);
        match lengths.into_iter().find(|&length| length > most) {
            Some(length) => {
                let message = format!(
                    "`{field}` holds a text of {length} bytes; up to {most} are taken by {}, whose context is {} tokens",
                    model.name, model.card.max_tokens
                );
                Err(ApiError::invalid(field, message))
            }
            None => Ok(()),
        }
    }

    /// Checks what `payloads` for `model`, which came in `field`, make in tokens and in numbers.
    pub(super) fn payloads(
        &self,
        field: &'static str,
        model: &ServedModel,
        payloads: &[Input],
    ) -> Result<(), ApiError> {
        self.inputs(field, payloads.len())?;
        let context = u64::from(model.card.max_tokens);
        let (mut tokens, mut numbers) = (0_u64, 0_u64);
        for payload in payloads {
            let length = payload.tokens().len() as u64;
            match payload {
                Input::Embed(_) => numbers += u64::from(model.card.embedding),
                Input::MaskedLogits { positions, .. } => {
                    numbers = numbers.saturating_add(positions.len() as u64 * u64::from(model.card.vocabulary));
                }
                Input::Generate(generate) => {
                    tokens += u64::from(generate.max_new_tokens).min(context.saturating_sub(length));
                }
            }
            tokens += length;
        }
        let bytes = numbers.saturating_mul(4);
        if tokens > self.tokens {
            let message = format!("`{field}` asks for {tokens} tokens in all; up to {} are taken at once", self.tokens);
            return Err(ApiError::invalid(field, message));
        }
        if bytes > self.answer_bytes {
            let most = self.answer_bytes;
            let message = format!("`{field}` asks for {bytes} bytes of numbers; up to {most} are given at once");
            return Err(ApiError::invalid(field, message));
        }
        Ok(())
    }
}

/// Memory for bodies that are coming in or being answered, shared by all connections.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    taken: AtomicUsize,
}

/// So much of a body is not counted, so that ordinary requests get in beside large ones.
const UNCOUNTED: usize = 16 << 10;

/// One body's part of the budget; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    held: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }

    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), held: 0 }
    }
}

impl Share {
    /// Notes that the body takes `bytes` now.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let counted = bytes.saturating_sub(UNCOUNTED);
        let more = counted.saturating_sub(self.held);
        if more == 0 {
            return Ok(());
        }
        if self.budget.taken.fetch_add(more, Relaxed) + more > self.budget.limit {
            self.budget.taken.fetch_sub(more, Relaxed);
            return Err(ApiError::overloaded("the bodies of other requests take all the memory there is for them"));
        }
        self.held += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.held, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_what_there_is_and_give_it_back() {
        let budget = Budget::new(100);
        let (mut first, mut second) = (budget.share(), budget.share());
        assert!(first.grow_to(UNCOUNTED).is_ok() && budget.taken.load(Relaxed) == 0);
        assert!(first.grow_to(UNCOUNTED + 60).is_ok());
        assert!(second.grow_to(UNCOUNTED + 41).is_err());
        assert!(second.grow_to(UNCOUNTED + 40).is_ok() && first.grow_to(UNCOUNTED + 60).is_ok());
        assert!(first.grow_to(UNCOUNTED + 61).is_err());
        drop(first);
        assert!(second.grow_to(UNCOUNTED + 100).is_ok());
        drop(second);
        assert_eq!(budget.taken.load(Relaxed), 0);
    }
}
