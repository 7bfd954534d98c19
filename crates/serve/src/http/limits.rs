//! What one request may ask for, and what all bodies may hold: checked before anything is computed.
//!
//! A request is measured three times: its body as it comes in (`Budget`), its texts before they are tokenised
//! (`RequestLimits::texts`), and its payloads before they reach the gateway (`RequestLimits::payloads`).

use crate::gateway::ServedModel;
use crate::http::error::ApiError;
use statmux_core::backend::Input;

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
/// How many times its four bytes a number takes until it is sent: they, and beside them a dozen characters.
const A_NUMBER: u64 = 4;
/// Bytes of a token's text, beside its four bytes as a number.
const A_NEW_TOKEN: u64 = 8;

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

    /// The tokens of `texts`, which came in `field`, each as `encode` has them; no text is looked at after the one that
    /// is too many.
    pub(super) fn encoded(
        &self,
        field: &'static str,
        texts: &[String],
        encode: impl Fn(&str) -> Result<Vec<u32>, ApiError>,
    ) -> Result<Vec<Vec<u32>>, ApiError> {
        let mut left = self.tokens;
        let mut lists = Vec::with_capacity(texts.len());
        for text in texts {
            let tokens = encode(text)?;
            left = left.checked_sub(tokens.len() as u64).ok_or_else(|| {
                let message =
                    format!("`{field}` holds more than {} tokens, the most that are taken at once", self.tokens);
                ApiError::invalid(field, message)
            })?;
            lists.push(tokens);
        }
        Ok(lists)
    }

    /// Checks what `payloads` for `model`, which came in `field`, make in tokens and in numbers. Returns the bytes of
    /// memory that they, and their answers until they are sent, may take.
    pub(super) fn payloads(
        &self,
        field: &'static str,
        model: &ServedModel,
        payloads: &[Input],
    ) -> Result<usize, ApiError> {
        self.inputs(field, payloads.len())?;
        let context = u64::from(model.card.max_tokens);
        let (mut tokens, mut numbers, mut new) = (0_u64, 0_u64, 0_u64);
        for payload in payloads {
            let length = payload.tokens().len() as u64;
            match payload {
                Input::Embed(_) => numbers += u64::from(model.card.embedding),
                Input::MaskedLogits { positions, .. } => {
                    numbers = numbers.saturating_add(positions.len() as u64 * u64::from(model.card.vocabulary));
                }
                Input::Generate(generate) => {
                    new += u64::from(generate.max_new_tokens).min(context.saturating_sub(length));
                }
            }
            tokens += length;
        }
        tokens += new;
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
        let memory =
            bytes.saturating_mul(A_NUMBER).saturating_add(new.saturating_mul(A_NEW_TOKEN)).saturating_add(tokens * 4);
        Ok(usize::try_from(memory).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    proptest! {
        #[test]
        fn no_text_is_tokenised_after_the_one_that_is_too_many(
            limit in 0_u64..60,
            lengths in proptest::collection::vec(0_usize..20, 0..20),
        ) {
            let limits = RequestLimits { tokens: limit, ..RequestLimits::default() };
            let texts: Vec<String> = lengths.iter().map(|&length| "x".repeat(length)).collect();
            let asked = Cell::new(0);
            let lists = limits.encoded("input", &texts, |text| {
                asked.set(asked.get() + 1);
                Ok(vec![5; text.len()])
            });
            let mut sum = 0;
            let ends = lengths.iter().position(|&length| {
                sum += length as u64;
                sum > limit
            });
            prop_assert_eq!(lists.is_err(), ends.is_some());
            prop_assert_eq!(asked.get(), ends.map_or(lengths.len(), |end| end + 1));
        }
    }
}
