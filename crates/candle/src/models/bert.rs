//! BERT: an encoder with normalisation after each block (Devlin et al., 2018).

use super::{ConfigError, Part, PartPlan, Sizes};
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
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    #[serde(default = "default_activation")]
    pub(crate) hidden_act: String,
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "default_types")]
    pub(crate) type_vocab_size: usize,
    #[serde(default = "default_epsilon")]
    pub(crate) layer_norm_eps: f64,
    #[serde(default)]
    pub(crate) position_embedding_type: Option<String>,
}

fn default_activation() -> String {
    "gelu".into()
}

fn default_types() -> usize {
    2
}

fn default_epsilon() -> f64 {
    1e-12
}

impl Config {
    pub(crate) fn sizes(&self) -> Sizes {
        let heads = self.num_attention_heads;
        Sizes {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            widest: self.intermediate_size,
            heads: HeadCounts { queries: heads, keys: heads, dim: self.hidden_size.checked_div(heads).unwrap_or(0) },
            vocabulary: self.vocab_size,
            max_tokens: self.max_position_embeddings,
            token_types: self.type_vocab_size,
            experts: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let unsupported = |reason: String| Err(ConfigError::Unsupported { reason });
        if Activation::named(&self.hidden_act).is_none() {
            return unsupported(format!("hidden_act \"{}\" is not known", self.hidden_act));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return unsupported("hidden_size is no multiple of num_attention_heads".into());
        }
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => Ok(()),
            Some(other) => unsupported(format!("position_embedding_type \"{other}\"; only absolute ones are known")),
        }
    }

    pub(super) fn activation(&self) -> Activation {
        Activation::named(&self.hidden_act).expect("checked when the file was read")
    }
}

/// One shard of some layers.
pub(crate) struct BertPart {
    embeddings: Option<Embeddings>,
    layers: Vec<Layer>,
    head: Option<MaskedHead>,
}

impl BertPart {
    pub(crate) fn load(config: &Config, loader: &Loader<'_>, plan: &PartPlan) -> Result<Self, BackendError> {
        let prefix = prefix(loader);
        let embeddings = plan.first.then(|| Embeddings::load(config, loader, plan.shard, prefix)).transpose()?;
        let layer = |layer| Layer::load(config, loader, plan.shard, &format!("{prefix}encoder.layer.{layer}"));
        let layers = plan.layers.clone().map(layer).collect::<Result<_, _>>()?;
        let head = MaskedHead::load(config, loader, plan, prefix, embeddings.as_ref())?;
        Ok(Self { embeddings, layers, head })
    }
}

impl Part for BertPart {
    fn embed(&self, lap: &Lap, member: &Member<'_>) -> Result<Tensor, ShardError> {
        self.embeddings.as_ref().expect("first stages have the embeddings").forward(lap, member)
    }

    fn layers(
        &self,
        hidden: Tensor,
        lap: &Lap,
        _cache: &mut [LayerCache],
        member: &Member<'_>,
    ) -> Result<Tensor, ShardError> {
        self.layers.iter().try_fold(hidden, |hidden, layer| layer.forward(&hidden, lap, member))
    }

    fn logits(&self, rows: &Tensor) -> Result<Tensor, ShardError> {
        self.head.as_ref().expect("inputs that ask for logits are refused without a head").forward(rows)
    }
}

/// Checkpoints of the bare model have no prefix.
pub(super) fn prefix(loader: &Loader<'_>) -> &'static str {
    if loader.has("bert.embeddings.word_embeddings.weight") { "bert." } else { "" }
}

struct Layer {
    attention: AttentionBlock,
    up: ColumnLinear,
    down: RowLinear,
    norm: Norm,
    activation: Activation,
}

impl Layer {
    fn load(config: &Config, loader: &Loader<'_>, shard: Shard, name: &str) -> Result<Self, BackendError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let part = shard.part(inner);
        let up = LinearName::torch(format!("{name}.intermediate.dense"), hidden, inner);
        let down = LinearName::torch(format!("{name}.output.dense"), inner, hidden);
        Ok(Self {
            attention: AttentionBlock::load(config, loader, shard, name)?,
            up: ColumnLinear::load(loader, &[(&up, part.clone())])?,
            down: RowLinear::load(loader, &down, part)?,
            norm: Norm::load(config, loader, &format!("{name}.output.LayerNorm"))?,
            activation: config.activation(),
        })
    }

    fn forward(&self, hidden: &Tensor, lap: &Lap, member: &Member<'_>) -> Result<Tensor, ShardError> {
        let hidden = self.attention.forward(hidden, lap, member)?;
        let inner = self.up.forward(&hidden, self.activation)?;
        self.norm.forward(&self.down.forward(&inner, Some(&hidden), member)?)
    }
}

/// Attention, the residual sum, and its normalisation.
pub(super) struct AttentionBlock {
    attention: SelfAttention,
    norm: Norm,
}

impl AttentionBlock {
    pub(super) fn load(config: &Config, loader: &Loader<'_>, shard: Shard, name: &str) -> Result<Self, BackendError> {
        let hidden = config.hidden_size;
        let input = |which: &str| LinearName::torch(format!("{name}.attention.self.{which}"), hidden, hidden);
        let names = AttentionNames {
            inputs: Inputs::Separate { query: input("query"), key: input("key"), value: input("value") },
            output: LinearName::torch(format!("{name}.attention.output.dense"), hidden, hidden),
        };
        Ok(Self {
            attention: SelfAttention::load(loader, shard, config.sizes().heads, &names)?,
            norm: Norm::load(config, loader, &format!("{name}.attention.output.LayerNorm"))?,
        })
    }

    pub(super) fn forward(&self, hidden: &Tensor, lap: &Lap, member: &Member<'_>) -> Result<Tensor, ShardError> {
        self.norm.forward(&self.attention.encode(hidden, Some(hidden), lap, member)?)
    }
}

/// A layer normalisation, whole on every shard.
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl Norm {
    pub(super) fn load(config: &Config, loader: &Loader<'_>, name: &str) -> Result<Self, BackendError> {
        // The oldest checkpoints call them gamma and beta.
        let current = format!("{name}.weight");
        let old = !loader.has(&current) && loader.has(&format!("{name}.gamma"));
        let (weight, bias) =
            if old { (format!("{name}.gamma"), format!("{name}.beta")) } else { (current, format!("{name}.bias")) };
        Ok(Self {
            weight: loader.vector(&weight, config.hidden_size)?,
            bias: loader.vector(&bias, config.hidden_size)?,
            epsilon: config.layer_norm_eps,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ShardError> {
        Ok(layer_norm(x, &self.weight, &self.bias, self.epsilon)?)
    }
}

/// Word, position and type vectors; the words are cut over shards, the rest is whole on each.
pub(super) struct Embeddings {
    words: WordTable,
    positions: Tensor,
    /// The vectors of the first and the second text of a pair.
    types: Tensor,
    norm: Norm,
}

impl Embeddings {
    pub(super) fn load(config: &Config, loader: &Loader<'_>, shard: Shard, prefix: &str) -> Result<Self, BackendError> {
        let name = |what: &str| format!("{prefix}embeddings.{what}");
        let (hidden, positions) = (config.hidden_size, config.max_position_embeddings);
        let types = config.type_vocab_size;
        Ok(Self {
            words: WordTable::load(loader, shard, &name("word_embeddings.weight"), config.vocab_size, hidden)?,
            positions: loader.table(&name("position_embeddings.weight"), positions, hidden, 0..positions)?,
            types: loader.table(&name("token_type_embeddings.weight"), types, hidden, 0..types)?,
            norm: Norm::load(config, loader, &name("LayerNorm"))?,
        })
    }

    pub(super) fn forward(&self, lap: &Lap, member: &Member<'_>) -> Result<Tensor, ShardError> {
        let words = self.words.embed(&lap.tokens, member)?;
        let positions = lookup(&self.positions, &(0..self.positions.dim(0)?), &lap.positions)?;
        let types = lookup(&self.types, &(0..self.types.dim(0)?), &lap.types)?;
        self.norm.forward(&sum_parts(&[words, types], None, Some(&positions))?)
    }
}

/// Guesses words: a dense layer, whole on every shard, then inner products with the word vectors.
pub(super) struct MaskedHead {
    transform: ColumnLinear,
    activation: Activation,
    norm: Norm,
    words: WordTable,
    bias: Tensor,
}

impl MaskedHead {
    /// Loads the head if the plan asks for it.
    pub(super) fn load(
        config: &Config,
        loader: &Loader<'_>,
        plan: &PartPlan,
        prefix: &str,
        embeddings: Option<&Embeddings>,
    ) -> Result<Option<Self>, BackendError> {
        if !(plan.last && plan.masked_logits) {
            return Ok(None);
        }
        let (hidden, words) = (config.hidden_size, config.vocab_size);
        let transform = LinearName::torch("cls.predictions.transform.dense", hidden, hidden);
        let table = match embeddings {
            Some(embeddings) => embeddings.words.clone(),
            None => {
                let name = format!("{prefix}embeddings.word_embeddings.weight");
                WordTable::load(loader, plan.shard, &name, words, hidden)?
            }
        };
        Ok(Some(Self {
            transform: ColumnLinear::whole(loader, &transform)?,
            activation: config.activation(),
            norm: Norm::load(config, loader, "cls.predictions.transform.LayerNorm")?,
            bias: loader.vectors(&[("cls.predictions.bias".into(), words, table.own())])?,
            words: table,
        }))
    }

    pub(super) fn forward(&self, rows: &Tensor) -> Result<Tensor, ShardError> {
        let transformed = self.norm.forward(&self.transform.forward(rows, self.activation)?)?;
        let scores = self.words.scores(&transformed)?;
        Ok(sum_parts(&[scores], Some(&self.bias), None)?)
    }
}
