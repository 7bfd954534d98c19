//! GPT-2: a decoder with normalisation before each block (Radford et al., 2019).

use super::{ConfigError, Part, PartPlan, Sizes, StopTokens};
use crate::cache::LayerCache;
use crate::kernels::activation::Activation;
use crate::kernels::linear::sum_parts;
use crate::kernels::lookup::lookup;
use crate::kernels::norm::layer_norm;
use crate::lap::Lap;
use crate::parallel::Shard;
use crate::parallel::attention::{AttentionNames, HeadCounts, Inputs, SelfAttention};
use crate::parallel::layers::{ColumnLinear, LinearName, RowLinear, WordTable};
use crate::parallel::team::{Member, ShardError};
use crate::weights::Loader;
use candle_core::Tensor;
use serde::Deserialize;
use statmux_core::backend::BackendError;

/// What `config.json` says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) n_positions: usize,
    pub(crate) n_embd: usize,
    pub(crate) n_layer: usize,
    pub(crate) n_head: usize,
    #[serde(default)]
    pub(crate) n_inner: Option<usize>,
    #[serde(default = "default_activation")]
    pub(crate) activation_function: String,
    #[serde(default = "default_epsilon")]
    pub(crate) layer_norm_epsilon: f64,
    #[serde(default, rename = "eos_token_id")]
    pub(crate) stop: StopTokens,
    #[serde(default)]
    pub(crate) scale_attn_by_inverse_layer_idx: bool,
}

fn default_activation() -> String {
    "gelu_new".into()
}

fn default_epsilon() -> f64 {
    1e-5
}

impl Config {
    pub(crate) fn sizes(&self) -> Sizes {
        let heads = self.n_head;
        Sizes {
            layers: self.n_layer,
            hidden: self.n_embd,
            widest: self.n_inner.unwrap_or(4 * self.n_embd),
            heads: HeadCounts { queries: heads, keys: heads, dim: self.n_embd.checked_div(heads).unwrap_or(0) },
            vocabulary: self.vocab_size,
            max_tokens: self.n_positions,
            token_types: 0,
            experts: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let unsupported = |reason: String| Err(ConfigError::Unsupported { reason });
        if Activation::named(&self.activation_function).is_none() {
            return unsupported(format!("activation_function \"{}\" is not known", self.activation_function));
        }
        if !self.n_embd.is_multiple_of(self.n_head) {
            return unsupported("n_embd is no multiple of n_head".into());
        }
        if self.scale_attn_by_inverse_layer_idx {
            return unsupported("scale_attn_by_inverse_layer_idx is not supported".into());
        }
        Ok(())
    }
}

/// One shard of some layers.
pub(crate) struct Gpt2Part {
    embeddings: Option<Embeddings>,
    layers: Vec<Layer>,
    head: Option<Head>,
}

struct Embeddings {
    words: WordTable,
    positions: Tensor,
}

/// The last normalisation and the word vectors, which are the embeddings' own.
struct Head {
    norm: Norm,
    words: WordTable,
}

impl Gpt2Part {
    pub(crate) fn load(config: &Config, loader: &Loader<'_>, plan: &PartPlan) -> Result<Self, BackendError> {
        let prefix = if loader.has("transformer.wte.weight") { "transformer." } else { "" };
        let words =
            || WordTable::load(loader, plan.shard, &format!("{prefix}wte.weight"), config.vocab_size, config.n_embd);
        let embeddings = if plan.first {
            let length = config.n_positions;
            let positions = loader.table(&format!("{prefix}wpe.weight"), length, config.n_embd, 0..length)?;
            Some(Embeddings { words: words()?, positions })
        } else {
            None
        };
        let layer = |layer| Layer::load(config, loader, plan.shard, &format!("{prefix}h.{layer}"));
        let layers = plan.layers.clone().map(layer).collect::<Result<_, _>>()?;
        let head = if plan.last {
            let words = embeddings.as_ref().map_or_else(words, |embeddings| Ok(embeddings.words.clone()))?;
            Some(Head { norm: Norm::load(config, loader, &format!("{prefix}ln_f"))?, words })
        } else {
            None
        };
        Ok(Self { embeddings, layers, head })
    }
}

impl Part for Gpt2Part {
    fn embed(&self, lap: &Lap, member: &Member<'_>) -> Result<Tensor, ShardError> {
        let embeddings = self.embeddings.as_ref().expect("first stages have the embeddings");
        let words = embeddings.words.embed(&lap.tokens, member)?;
        let positions = lookup(&embeddings.positions, &(0..embeddings.positions.dim(0)?), &lap.positions)?;
        Ok(sum_parts(&[words], None, Some(&positions))?)
    }

    fn layers(
        &self,
        hidden: Tensor,
        lap: &Lap,
        cache: &mut [LayerCache],
        member: &Member<'_>,
    ) -> Result<Tensor, ShardError> {
        let mut layers = self.layers.iter().zip(cache);
        layers.try_fold(hidden, |hidden, (layer, cache)| layer.forward(&hidden, lap, cache, member))
    }

    fn logits(&self, rows: &Tensor) -> Result<Tensor, ShardError> {
        let head = self.head.as_ref().expect("last stages have the head");
        head.words.scores(&head.norm.forward(rows)?)
    }
}

struct Layer {
    first_norm: Norm,
    attention: SelfAttention,
    second_norm: Norm,
    up: ColumnLinear,
    down: RowLinear,
    activation: Activation,
}

impl Layer {
    fn load(config: &Config, loader: &Loader<'_>, shard: Shard, name: &str) -> Result<Self, BackendError> {
        let Sizes { hidden, widest, heads, .. } = config.sizes();
        let linear = |which: &str, inputs, outputs| {
            LinearName::torch(format!("{name}.{which}"), inputs, outputs).stored_in_out()
        };
        let names = AttentionNames {
            inputs: Inputs::Fused(linear("attn.c_attn", hidden, 3 * hidden)),
            output: linear("attn.c_proj", hidden, hidden),
        };
        let part = shard.part(widest);
        Ok(Self {
            first_norm: Norm::load(config, loader, &format!("{name}.ln_1"))?,
            attention: SelfAttention::load(loader, shard, heads, &names)?,
            second_norm: Norm::load(config, loader, &format!("{name}.ln_2"))?,
            up: ColumnLinear::load(loader, &[(&linear("mlp.c_fc", hidden, widest), part.clone())])?,
            down: RowLinear::load(loader, &linear("mlp.c_proj", widest, hidden), part)?,
            activation: Activation::named(&config.activation_function).expect("checked when the file was read"),
        })
    }

    fn forward(
        &self,
        hidden: &Tensor,
        lap: &Lap,
        cache: &mut LayerCache,
        member: &Member<'_>,
    ) -> Result<Tensor, ShardError> {
        let normal = self.first_norm.forward(hidden)?;
        let hidden = self.attention.decode(&normal, Some(hidden), lap, cache, None, member)?;
        let inner = self.up.forward(&self.second_norm.forward(&hidden)?, self.activation)?;
        self.down.forward(&inner, Some(&hidden), member)
    }
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl Norm {
    fn load(config: &Config, loader: &Loader<'_>, name: &str) -> Result<Self, BackendError> {
        Ok(Self {
            weight: loader.vector(&format!("{name}.weight"), config.n_embd)?,
            bias: loader.vector(&format!("{name}.bias"), config.n_embd)?,
            epsilon: config.layer_norm_epsilon,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ShardError> {
        Ok(layer_norm(x, &self.weight, &self.bias, self.epsilon)?)
    }
}
