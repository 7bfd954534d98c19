//! The architectures, one to a file.
//!
//! To add one: write its file with a `Config` (what `config.json` says) and a [`Part`] (one shard of some of its
//! layers), then add a variant to [`Config`] and an arm to each `match` below. The tests over all presets then demand
//! that sharded and staged outputs equal the whole's.

mod bert;
mod gpt2;
mod llama;
mod moe;

use crate::cache::LayerCache;
use crate::lap::Lap;
use crate::parallel::Shard;
use crate::parallel::attention::HeadCounts;
use crate::parallel::team::{Member, ShardError};
use crate::weights::Loader;
use candle_core::Tensor;
use statmux_core::backend::BackendError;
use std::ops::Range;

pub(crate) use bert::Config as Bert;
pub(crate) use gpt2::Config as Gpt2;
pub(crate) use llama::Config as Llama;
pub(crate) use moe::Config as Moe;

/// One shard's part of one stage of a model.
pub(crate) trait Part: Send + Sync {
    /// The vectors that enter the first layer. Called on first stages only.
    fn embed(&self, lap: &Lap, member: &Member<'_>) -> Result<Tensor, ShardError>;

    /// What the stage's layers make of `hidden`. Decoders find their keys and values in `cache`.
    fn layers(
        &self,
        hidden: Tensor,
        lap: &Lap,
        cache: &mut [LayerCache],
        member: &Member<'_>,
    ) -> Result<Tensor, ShardError>;

    /// For some rows of the last layer's output, the logits of this shard's words. Called on last stages only.
    fn logits(&self, rows: &Tensor) -> Result<Tensor, ShardError>;
}

/// Which part of a model to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartPlan {
    pub(crate) shard: Shard,
    pub(crate) layers: Range<usize>,
    /// Whether the part begins with the embeddings.
    pub(crate) first: bool,
    /// Whether the part ends with the head.
    pub(crate) last: bool,
    /// Whether an encoder's masked-language-model head is wanted.
    pub(crate) masked_logits: bool,
}

/// What `config.json` says of a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Config {
    Bert(Bert),
    Moe(Moe),
    Gpt2(Gpt2),
    Llama(Box<Llama>),
}

/// Sizes that all architectures have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    /// The widest activation between two linear layers.
    pub(crate) widest: usize,
    pub(crate) heads: HeadCounts,
    pub(crate) vocabulary: usize,
    pub(crate) max_tokens: usize,
    /// Kinds of text that it tells apart by its token types.
    pub(crate) token_types: usize,
    /// Experts in each layer that has any.
    pub(crate) experts: Option<usize>,
}

/// Why a `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("config.json is not understood")]
    Syntax(#[from] serde_json::Error),
    #[error("config.json has model_type \"{found}\"; known are {}", MODEL_TYPES.join(", "))]
    UnknownArchitecture { found: String },
    #[error("config.json: {reason}")]
    Unsupported { reason: String },
}

const MODEL_TYPES: [&str; 4] = ["bert", "moe-bert", "gpt2", "llama"];

impl Config {
    /// Reads a Hugging Face `config.json`.
    pub(crate) fn from_json(text: &str) -> Result<Self, ConfigError> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        let found = value.get("model_type").and_then(|kind| kind.as_str()).unwrap_or("");
        let config = match found {
            "bert" => Self::Bert(serde_json::from_value(value)?),
            "moe-bert" => Self::Moe(serde_json::from_value(value)?),
            "gpt2" => Self::Gpt2(serde_json::from_value(value)?),
            "llama" => Self::Llama(serde_json::from_value(value)?),
            _ => return Err(ConfigError::UnknownArchitecture { found: found.to_owned() }),
        };
        config.check()?;
        Ok(config)
    }

    pub(crate) fn architecture(&self) -> &'static str {
        match self {
            Self::Bert(_) => "bert",
            Self::Moe(_) => "moe-bert",
            Self::Gpt2(_) => "gpt2",
            Self::Llama(_) => "llama",
        }
    }

    pub(crate) fn is_decoder(&self) -> bool {
        matches!(self, Self::Gpt2(_) | Self::Llama(_))
    }

    pub(crate) fn sizes(&self) -> Sizes {
        match self {
            Self::Bert(config) => config.sizes(),
            Self::Moe(config) => config.sizes(),
            Self::Gpt2(config) => config.sizes(),
            Self::Llama(config) => config.sizes(),
        }
    }

    /// Tokens that end an answer.
    pub(crate) fn stop_tokens(&self) -> Vec<u32> {
        match self {
            Self::Bert(_) | Self::Moe(_) => Vec::new(),
            Self::Gpt2(config) => config.stop.tokens(),
            Self::Llama(config) => config.stop.tokens(),
        }
    }

    /// What each layer, and the head, costs per token: weights it multiplies with.
    pub(crate) fn costs(&self) -> (Vec<f64>, f64) {
        let sizes = self.sizes();
        let Sizes { layers, hidden, vocabulary, .. } = sizes;
        let attention = (2 * (sizes.heads.queries + sizes.heads.keys) * sizes.heads.dim * hidden) as f64;
        let feed_forward = |layer| match self {
            Self::Bert(config) => (2 * hidden * config.intermediate_size) as f64,
            Self::Moe(config) => {
                (2 * hidden * config.bert.intermediate_size * if config.has_experts(layer) { 2 } else { 1 }) as f64
            }
            Self::Gpt2(_) => (2 * hidden * sizes.widest) as f64,
            Self::Llama(config) => (3 * hidden * config.intermediate_size) as f64,
        };
        let costs = (0..layers).map(|layer| attention + feed_forward(layer)).collect();
        // Encoders' heads run for few tokens or none; decoders' for every token they generate.
        (costs, if self.is_decoder() { (hidden * vocabulary) as f64 } else { 0.0 })
    }

    /// Loads one part.
    pub(crate) fn load(&self, loader: &Loader<'_>, plan: &PartPlan) -> Result<Box<dyn Part>, BackendError> {
        Ok(match self {
            Self::Bert(config) => Box::new(bert::BertPart::load(config, loader, plan)?),
            Self::Moe(config) => Box::new(moe::MoePart::load(config, loader, plan)?),
            Self::Gpt2(config) => Box::new(gpt2::Gpt2Part::load(config, loader, plan)?),
            Self::Llama(config) => Box::new(llama::LlamaPart::load(config, loader, plan)?),
        })
    }

    /// Refuses what cannot be computed, so that the rest of the crate need not look again.
    fn check(&self) -> Result<(), ConfigError> {
        let unsupported = |reason: String| Err(ConfigError::Unsupported { reason });
        let sizes = self.sizes();
        let counts = [
            ("layers", sizes.layers),
            ("hidden size", sizes.hidden),
            ("attention heads", sizes.heads.queries),
            ("key and value heads", sizes.heads.keys),
            ("head size", sizes.heads.dim),
            ("vocabulary", sizes.vocabulary),
            ("positions", sizes.max_tokens),
            ("intermediate size", sizes.widest),
            ("experts", sizes.experts.unwrap_or(2).saturating_sub(1)),
        ];
        for (what, count) in counts {
            if count == 0 || count > 1 << 24 {
                return unsupported(format!("its number of {what} cannot be used"));
            }
        }
        if !sizes.heads.queries.is_multiple_of(sizes.heads.keys) {
            return unsupported("the attention heads are no multiple of the key and value heads".into());
        }
        match self {
            Self::Bert(config) => config.check(),
            Self::Moe(config) => config.bert.check(),
            Self::Gpt2(config) => config.check(),
            Self::Llama(config) => config.check(),
        }
    }
}

/// One token, several, or none.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum StopTokens {
    One(u32),
    Many(Vec<u32>),
    #[default]
    None,
}

impl StopTokens {
    pub(crate) fn tokens(&self) -> Vec<u32> {
        match self {
            Self::One(token) => vec![*token],
            Self::Many(tokens) => tokens.clone(),
            Self::None => Vec::new(),
        }
    }
}
