//! A model whose files are open: how it is cut into stages, and what it can be asked.

use crate::parallel::partition::{balance, from_cuts};
use crate::source::OpenedModel;
use statmux_core::backend::{BackendError, Generate, Input, Sampling};
use statmux_core::{ModelId, ParallelConfig};
use std::collections::BTreeMap;
use std::ops::Range;

/// A model that can be loaded.
pub(crate) struct Model {
    pub(crate) opened: OpenedModel,
    pub(crate) masked_logits: bool,
    /// As in the choice of the model.
    pub(crate) cuts: BTreeMap<ParallelConfig, Vec<usize>>,
}

impl Model {
    /// The layers of each stage under `config`.
    pub(crate) fn stages(&self, id: ModelId, config: ParallelConfig) -> Result<Vec<Range<usize>>, BackendError> {
        let sizes = self.opened.config.sizes();
        let bad = |what: &str, count: usize| {
            Err(BackendError::BadPlan { reason: format!("model {id} has {count} {what}, too few for {config}") })
        };
        let shards = config.op as usize;
        if sizes.heads.queries < shards {
            return bad("attention heads", sizes.heads.queries);
        }
        if let Some(experts) = sizes.experts.filter(|&experts| experts < shards) {
            return bad("experts", experts);
        }
        if sizes.vocabulary < shards || sizes.widest < shards {
            return bad("words or inner values", sizes.vocabulary.min(sizes.widest));
        }
        if let Some(cuts) = self.cuts.get(&config) {
            let stages = from_cuts(cuts, sizes.layers).filter(|stages| stages.len() == config.pp as usize);
            return stages.ok_or_else(|| BackendError::BadPlan {
                reason: format!("cuts {cuts:?} do not make {} stages of {} layers", config.pp, sizes.layers),
            });
        }
        let (costs, head) = self.opened.config.costs();
        match balance(&costs, 0.0, head, config.pp as usize) {
            Some(stages) => Ok(stages),
            None => bad("layers", sizes.layers),
        }
    }

    /// Whether the model can answer `input`.
    pub(crate) fn check(&self, input: &Input) -> Result<(), BackendError> {
        let (sizes, max_tokens) = (self.opened.config.sizes(), self.opened.max_tokens);
        let bad = |reason: String| Err(BackendError::BadInput { reason });
        let architecture = self.opened.config.architecture();
        let tokens = match input {
            Input::Embed(_) | Input::MaskedLogits { .. } if self.opened.config.is_decoder() => {
                return bad(format!("the model is a decoder ({architecture}): it generates, and does not embed"));
            }
            Input::Generate(_) if !self.opened.config.is_decoder() => {
                return bad(format!("the model is an encoder ({architecture}): it embeds, and does not generate"));
            }
            Input::MaskedLogits { .. } if !self.masked_logits => {
                return bad("the model has no masked-language-model head".into());
            }
            Input::Embed(passage) | Input::MaskedLogits { passage, .. } => {
                passage.check_marks(sizes.token_types as u32)?;
                passage.present().map(|index| passage.tokens[index]).collect()
            }
            Input::Generate(generate) => {
                check_generate(generate)?;
                if generate.tokens.len() >= max_tokens {
                    let (found, most) = (generate.tokens.len(), max_tokens);
                    return bad(format!("the prompt has {found} tokens and leaves no room in the context of {most}"));
                }
                generate.tokens.clone()
            }
        };
        if tokens.is_empty() {
            return bad("the text has no tokens".into());
        }
        if tokens.len() > max_tokens {
            return bad(format!("the text has {} tokens; the model takes {}", tokens.len(), max_tokens));
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= sizes.vocabulary) {
            return bad(format!("token {token} is not in the vocabulary of {} words", sizes.vocabulary));
        }
        let Input::MaskedLogits { passage, positions } = input else { return Ok(()) };
        if positions.len() > max_tokens {
            return bad(format!("{} positions are more than the {} tokens of a text", positions.len(), max_tokens));
        }
        if let Some(&position) = positions.iter().find(|&&position| !passage.has(position as usize)) {
            let length = passage.tokens.len();
            return match passage.tokens.get(position as usize) {
                None => bad(format!("position {position} is beyond the text of {length} tokens")),
                Some(_) => bad(format!("position {position} is padding: there is nothing to guess")),
            };
        }
        Ok(())
    }
}

fn check_generate(generate: &Generate) -> Result<(), BackendError> {
    let bad = |reason: &str| Err(BackendError::BadInput { reason: reason.to_owned() });
    if generate.max_new_tokens == 0 {
        return bad("max_new_tokens must be at least 1");
    }
    if let Sampling::Draw { temperature, top_p, .. } = generate.sampling {
        if !(temperature > 0.0 && temperature.is_finite()) {
            return bad("the temperature must be above 0");
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return bad("top_p must be above 0 and at most 1");
        }
    }
    Ok(())
}
