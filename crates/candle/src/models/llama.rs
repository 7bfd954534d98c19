//! Llama: a decoder with rotary positions, shared key heads and gated feed-forward blocks (Touvron et al., 2023).

use super::{ConfigError, Part, PartPlan, Sizes, StopTokens};
use crate::cache::LayerCache;
use crate::kernels::activation::{Activation, gated_silu};
use crate::kernels::norm::rms_norm;
use crate::lap::Lap;
use crate::parallel::Shard;
use crate::parallel::attention::{AttentionNames, HeadCounts, Inputs, SelfAttention};
use crate::parallel::layers::{ColumnLinear, LinearName, RowLinear, WordTable};
use crate::parallel::team::{Member, ShardError};
use crate::weights::Loader;
use candle_core::Tensor;
use serde::Deserialize;
use statmux_core::backend::BackendError;
use std::f64::consts::TAU;

/// What `config.json` says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    #[serde(default)]
    pub(crate) num_key_value_heads: Option<usize>,
    #[serde(default)]
    pub(crate) head_dim: Option<usize>,
    #[serde(default = "default_positions")]
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "default_epsilon")]
    pub(crate) rms_norm_eps: f64,
    #[serde(default)]
    pub(crate) rope_theta: Option<f64>,
    /// How older files state a longer context.
    #[serde(default)]
    pub(crate) rope_scaling: Option<Rope>,
    /// How newer files state all of the above.
    #[serde(default)]
    pub(crate) rope_parameters: Option<Rope>,
    #[serde(default)]
    pub(crate) tie_word_embeddings: bool,
    #[serde(default)]
    pub(crate) attention_bias: bool,
    #[serde(default)]
    pub(crate) mlp_bias: bool,
    #[serde(default = "default_activation")]
    pub(crate) hidden_act: String,
    #[serde(default, rename = "eos_token_id")]
    pub(crate) stop: StopTokens,
}

/// How positions turn into angles.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Rope {
    #[serde(default, alias = "type")]
    rope_type: Option<String>,
    #[serde(default)]
    rope_theta: Option<f64>,
    #[serde(default)]
    factor: Option<f64>,
    #[serde(default)]
    low_freq_factor: Option<f64>,
    #[serde(default)]
    high_freq_factor: Option<f64>,
    #[serde(default)]
    original_max_position_embeddings: Option<f64>,
}

fn default_positions() -> usize {
    2048
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_activation() -> String {
    "silu".into()
}

impl Config {
    pub(crate) fn sizes(&self) -> Sizes {
        let queries = self.num_attention_heads;
        let dim = self.head_dim.unwrap_or(self.hidden_size.checked_div(queries).unwrap_or(0));
        Sizes {
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            widest: 2 * self.intermediate_size,
            heads: HeadCounts { queries, keys: self.num_key_value_heads.unwrap_or(queries), dim },
            vocabulary: self.vocab_size,
            max_tokens: self.max_position_embeddings,
            token_types: 0,
            experts: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let unsupported = |reason: String| Err(ConfigError::Unsupported { reason });
        if self.hidden_act != "silu" {
            return unsupported(format!("hidden_act \"{}\"; Llama's is silu", self.hidden_act));
        }
        if !self.sizes().heads.dim.is_multiple_of(2) {
            return unsupported("an odd head size cannot be rotated".into());
        }
        let rope = self.rope();
        match rope.rope_type.as_deref() {
            None | Some("default") => Ok(()),
            Some("linear") if rope.factor.is_some() => Ok(()),
            Some("llama3")
                if rope.factor.is_some()
                    && rope.low_freq_factor.is_some()
                    && rope.high_freq_factor.is_some()
                    && rope.original_max_position_embeddings.is_some() =>
            {
                Ok(())
            }
            Some(other) => unsupported(format!("rope_type \"{other}\" is not known, or lacks one of its factors")),
        }
    }

    /// All that is said of rotary positions, newer or older.
    fn rope(&self) -> Rope {
        let mut rope = self.rope_parameters.clone().or_else(|| self.rope_scaling.clone()).unwrap_or_default();
        rope.rope_theta = rope.rope_theta.or(self.rope_theta);
        rope
    }

    /// Radians per position for each pair of a head's values.
    fn frequencies(&self) -> Vec<f64> {
        let rope = self.rope();
        let theta = rope.rope_theta.unwrap_or(10_000.0);
        let dim = self.sizes().heads.dim;
        let plain = (0..dim / 2).map(|pair| theta.powf(-(2.0 * pair as f64) / dim as f64));
        let factor = rope.factor.unwrap_or(1.0);
        match rope.rope_type.as_deref() {
            Some("linear") => plain.map(|frequency| frequency / factor).collect(),
            Some("llama3") => {
                let low = rope.low_freq_factor.expect("checked when the file was read");
                let high = rope.high_freq_factor.expect("checked when the file was read");
                let original = rope.original_max_position_embeddings.expect("checked when the file was read");
                // Slow turns are slowed further, fast ones kept, and those between blended.
                let blend = |frequency: f64| {
                    let turns = original * frequency / TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    frequency * (kept + (1.0 - kept) / factor)
                };
                plain.map(blend).collect()
            }
            _ => plain.collect(),
        }
    }
}

/// One shard of some layers.
pub(crate) struct LlamaPart {
    words: Option<WordTable>,
    layers: Vec<Layer>,
    frequencies: Vec<f64>,
    head: Option<Head>,
}

struct Head {
    norm: Norm,
    words: WordTable,
}

impl LlamaPart {
    pub(crate) fn load(config: &Config, loader: &Loader<'_>, plan: &PartPlan) -> Result<Self, BackendError> {
        let table = |name: &str| WordTable::load(loader, plan.shard, name, config.vocab_size, config.hidden_size);
        let words = plan.first.then(|| table(EMBEDDINGS)).transpose()?;
        let layer = |layer| Layer::load(config, loader, plan.shard, &format!("model.layers.{layer}"));
        let layers = plan.layers.clone().map(layer).collect::<Result<_, _>>()?;
        let head = if plan.last {
            let words = match &words {
                Some(words) if config.tie_word_embeddings => words.clone(),
                None if config.tie_word_embeddings => table(EMBEDDINGS)?,
                _ => table("lm_head.weight")?,
            };
            Some(Head { norm: Norm::load(config, loader, "model.norm")?, words })
        } else {
            None
        };
        Ok(Self { words, layers, frequencies: config.frequencies(), head })
    }
}

const EMBEDDINGS: &str = "model.embed_tokens.weight";

impl Part for LlamaPart {
    fn embed(&self, lap: &Lap, member: &Member<'_>) -> Result<Tensor, ShardError> {
        self.words.as_ref().expect("first stages have the embeddings").embed(&lap.tokens, member)
    }

    fn layers(
        &self,
        hidden: Tensor,
        lap: &Lap,
        cache: &mut [LayerCache],
        member: &Member<'_>,
    ) -> Result<Tensor, ShardError> {
        let mut layers = self.layers.iter().zip(cache);
        layers.try_fold(hidden, |hidden, (layer, cache)| layer.forward(&hidden, lap, cache, &self.frequencies, member))
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
    gate_and_up: ColumnLinear,
    down: RowLinear,
}

impl Layer {
    fn load(config: &Config, loader: &Loader<'_>, shard: Shard, name: &str) -> Result<Self, BackendError> {
        let (hidden, inner, heads) = (config.hidden_size, config.intermediate_size, config.sizes().heads);
        let linear = |which: &str, inputs, outputs, bias| {
            let layer = LinearName::torch(format!("{name}.{which}"), inputs, outputs);
            if bias { layer } else { layer.unbiased() }
        };
        let (queries, keys) = (heads.queries * heads.dim, heads.keys * heads.dim);
        let names = AttentionNames {
            inputs: Inputs::Separate {
                query: linear("self_attn.q_proj", hidden, queries, config.attention_bias),
                key: linear("self_attn.k_proj", hidden, keys, config.attention_bias),
                value: linear("self_attn.v_proj", hidden, keys, config.attention_bias),
            },
            output: linear("self_attn.o_proj", queries, hidden, config.attention_bias),
        };
        let part = shard.part(inner);
        let gate = linear("mlp.gate_proj", hidden, inner, config.mlp_bias);
        let up = linear("mlp.up_proj", hidden, inner, config.mlp_bias);
        let down = linear("mlp.down_proj", inner, hidden, config.mlp_bias);
        Ok(Self {
            first_norm: Norm::load(config, loader, &format!("{name}.input_layernorm"))?,
            attention: SelfAttention::load(loader, shard, heads, &names)?,
            second_norm: Norm::load(config, loader, &format!("{name}.post_attention_layernorm"))?,
            gate_and_up: ColumnLinear::load(loader, &[(&gate, part.clone()), (&up, part.clone())])?,
            down: RowLinear::load(loader, &down, part)?,
        })
    }

    fn forward(
        &self,
        hidden: &Tensor,
        lap: &Lap,
        cache: &mut LayerCache,
        frequencies: &[f64],
        member: &Member<'_>,
    ) -> Result<Tensor, ShardError> {
        let normal = self.first_norm.forward(hidden)?;
        let hidden = self.attention.decode(&normal, Some(hidden), lap, cache, Some(frequencies), member)?;
        let inner = self.gate_and_up.forward(&self.second_norm.forward(&hidden)?, Activation::Identity)?;
        self.down.forward(&gated_silu(&inner)?, Some(&hidden), member)
    }
}

struct Norm {
    weight: Tensor,
    epsilon: f64,
}

impl Norm {
    fn load(config: &Config, loader: &Loader<'_>, name: &str) -> Result<Self, BackendError> {
        let weight = loader.vector(&format!("{name}.weight"), config.hidden_size)?;
        Ok(Self { weight, epsilon: config.rms_norm_eps })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ShardError> {
        Ok(rms_norm(x, &self.weight, self.epsilon)?)
    }
}
