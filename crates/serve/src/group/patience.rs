//! How long a stage may take before it counts as hung: its patience follows the work that a batch carries.
//!
//! A profile says how long a stage takes for texts of one length. A text of `n` tokens is taken to be the work of
//! `n (1 + n / h)` tokens, with `h` the model's hidden size: the matrix products grow with `n`, attention with its
//! square, and this counts attention several times over, for it is often the slower part. A lap may take
//! `factor x predicted x max(1, work / profiled work)`, and never less than the minimum.

use statmux_core::Span;
use statmux_core::backend::{Input, ModelCard};

/// The length of the texts behind a profile that does not say.
const PROFILED_TOKENS: u32 = 16;

/// How long a stage may take before it counts as hung.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Times the prediction.
    pub(crate) factor: f64,
    /// But at least this.
    pub(crate) minimum: Span,
    /// To load its weights.
    pub(crate) opening: Span,
}

/// What compares the work of a batch of one model with what was profiled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Yardstick {
    hidden: f64,
    vocabulary: f64,
    profiled: f64,
}

/// What the longest member of a batch carries through a lap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// Its text so far.
    pub(crate) tokens: u64,
    /// Positions that get a word from the whole vocabulary.
    pub(crate) positions: u64,
}

impl Load {
    /// The load of the first lap of a batch of `inputs`.
    pub(crate) fn of(inputs: &[Input]) -> Self {
        let longest = |count: fn(&Input) -> usize| inputs.iter().map(count).max().unwrap_or(0) as u64;
        let tokens = longest(|input| input.tokens().len());
        let positions = longest(|input| match input {
            Input::MaskedLogits { positions, .. } => positions.len(),
            Input::Embed(_) | Input::Generate(_) => 0,
        });
        Self { tokens, positions }
    }

    /// The load of the lap after this one: there is one more token.
    pub(crate) fn next_lap(self) -> Self {
        Self { tokens: self.tokens + 1, ..self }
    }
}

impl Yardstick {
    /// For the model of `card`, profiled with texts of so many tokens.
    pub(crate) fn new(card: &ModelCard, profiled_tokens: Option<u32>) -> Self {
        let hidden = f64::from(card.hidden.max(1));
        let mut yardstick = Self { hidden, vocabulary: f64::from(card.vocabulary), profiled: 1.0 };
        let tokens = u64::from(profiled_tokens.unwrap_or(PROFILED_TOKENS).max(1));
        yardstick.profiled = yardstick.work(Load { tokens, positions: 0 });
        yardstick
    }

    /// How many times the profiled work `load` is; at least 1.
    pub(crate) fn times_profiled(&self, load: Load) -> f64 {
        (self.work(load) / self.profiled).max(1.0)
    }

    /// In tokens of a short text.
    fn work(&self, Load { tokens, positions }: Load) -> f64 {
        let tokens = tokens as f64;
        // A position costs a product with all words; a token's products with the weights of one layer are some twelve
        // squares of the hidden size.
        let words = positions as f64 * self.vocabulary / (12.0 * self.hidden);
        tokens * (1.0 + tokens / self.hidden) + words
    }
}

impl Patience {
    /// How long a stage may take that is predicted to take `predicted` for `times_profiled` less work.
    pub(crate) fn with(&self, predicted: Span, times_profiled: f64) -> Span {
        predicted.scale(self.factor * times_profiled).max(self.minimum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::backend::Task;

    fn yardstick(hidden: u32, profiled: Option<u32>) -> Yardstick {
        let task = Task::Encode { masked_logits: true };
        let architecture = "any".to_owned();
        let (vocabulary, max_tokens, embedding, token_types) = (30_000, 4096, hidden, 2);
        let usual_answer = None;
        let card =
            ModelCard { architecture, task, vocabulary, max_tokens, hidden, embedding, token_types, usual_answer };
        Yardstick::new(&card, profiled)
    }

    fn times(hidden: u32, profiled: Option<u32>, tokens: u64, positions: u64) -> f64 {
        yardstick(hidden, profiled).times_profiled(Load { tokens, positions })
    }

    #[test]
    fn patience_grows_with_the_work_and_never_shrinks() {
        for hidden in [1, 8, 128, 4096] {
            for profiled in [None, Some(1), Some(16), Some(128), Some(4096)] {
                let length = u64::from(profiled.unwrap_or(16));
                assert_eq!(times(hidden, profiled, length, 0), 1.0);
                assert_eq!(times(hidden, profiled, 0, 0), 1.0, "a short text is not hurried");
                let mut last = 1.0;
                for tokens in [length + 1, 3 * length, 10 * length, 100 * length] {
                    let now = times(hidden, profiled, tokens, 0);
                    // At least in proportion to the tokens, at most to their square.
                    let ratio = tokens as f64 / length as f64;
                    assert!(
                        now > last && now >= ratio && now <= ratio * ratio,
                        "{hidden} {profiled:?} {tokens}: {now}"
                    );
                    assert!(times(hidden, profiled, tokens, 50) > now, "words cost something too");
                    last = now;
                }
            }
        }
    }

    #[test]
    fn a_long_prompt_of_a_model_profiled_short_has_time() {
        let patience = Patience { factor: 20.0, minimum: Span::from_millis(5_000), opening: Span::MAX };
        let predicted = Span::from_millis(50);
        let allowed = |tokens| patience.with(predicted, times(768, Some(16), tokens, 0));
        assert_eq!(allowed(16), Span::from_millis(5_000));
        // 1,100 tokens are the work of 2,675, or 163 times that of 16.
        assert!(allowed(1_100) > Span::from_millis(160_000), "{}", allowed(1_100));
        assert!(allowed(1_100) < Span::from_millis(170_000), "{}", allowed(1_100));
        assert_eq!(patience.with(Span::MAX, 1e300), Span::MAX);
    }

    #[test]
    fn a_batch_is_as_long_as_its_longest_member() {
        let embed = |length: usize| Input::embed(vec![1; length]);
        let guess = Input::masked_logits(vec![1; 3], vec![0, 1]);
        assert_eq!(Load::of(&[embed(5), embed(9), guess]), Load { tokens: 9, positions: 2 });
        assert_eq!(Load::of(&[embed(5)]).next_lap().next_lap(), Load { tokens: 7, positions: 0 });
        assert_eq!(Load::of(&[]), Load { tokens: 0, positions: 0 });
    }
}
