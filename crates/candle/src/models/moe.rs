//! A mixture-of-experts encoder: BERT, every other layer of which has experts instead of one feed-forward block.
//!
//! As in GShard (Lepikhin et al., 2020) a gate sends each token to its two likeliest experts, whose answers are
//! weighted by the gate's probabilities, scaled to a sum of one. Unlike in training, no expert refuses tokens for
//! want of capacity: an answer must not depend on what else is in the batch. Shards have whole experts each.
//!
//! There is no standard for such files. Ours have BERT's names, and in layers with experts `moe.gate.weight` and
//! `moe.experts.N.{intermediate,output}.dense.{weight,bias}`; `model_type` is `moe-bert`.

use super::bert::{AttentionBlock, Config as BertConfig, Embeddings, MaskedHead, Norm, prefix};
use super::{Part, PartPlan, Sizes};
use crate::cache::LayerCache;
use crate::kernels::activation::Activation;
use crate::lap::Lap;
use crate::parallel::Shard;
use crate::parallel::layers::{ColumnLinear, LinearName, RowLinear};
use crate::parallel::team::{Member, ShardError};
use crate::weights::Loader;
use candle_core::Tensor;
use serde::Deserialize;
use statmux_core::backend::BackendError;

/// What `config.json` says: all that BERT's says, and the experts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Config {
    #[serde(flatten)]
    pub(crate) bert: BertConfig,
    pub(crate) num_experts: usize,
    /// Every how many layers one has experts; 2 as in GShard if not said.
    #[serde(default = "default_frequency")]
    pub(crate) moe_layer_frequency: usize,
}

fn default_frequency() -> usize {
    2
}

impl Config {
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes { experts: Some(self.num_experts), ..self.bert.sizes() }
    }

    /// Whether layer `layer`, counted from 0, has experts.
    pub(crate) fn has_experts(&self, layer: usize) -> bool {
        (layer + 1).is_multiple_of(self.moe_layer_frequency.max(1))
    }
}

/// One shard of some layers.
pub(crate) struct MoePart {
    embeddings: Option<Embeddings>,
    layers: Vec<Layer>,
    head: Option<MaskedHead>,
}

impl MoePart {
    pub(crate) fn load(config: &Config, loader: &Loader<'_>, plan: &PartPlan) -> Result<Self, BackendError> {
        let prefix = prefix(loader);
        let embeddings = plan.first.then(|| Embeddings::load(&config.bert, loader, plan.shard, prefix)).transpose()?;
        let layer = |layer| {
            let name = format!("{prefix}encoder.layer.{layer}");
            Layer::load(config, loader, plan.shard, &name, config.has_experts(layer))
        };
        let layers = plan.layers.clone().map(layer).collect::<Result<_, _>>()?;
        let head = MaskedHead::load(&config.bert, loader, plan, prefix, embeddings.as_ref())?;
        Ok(Self { embeddings, layers, head })
    }
}

impl Part for MoePart {
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

struct Layer {
    attention: AttentionBlock,
    feed_forward: FeedForward,
    norm: Norm,
    activation: Activation,
}

enum FeedForward {
    Dense { up: ColumnLinear, down: RowLinear },
    Experts(Experts),
}

impl Layer {
    fn load(
        config: &Config,
        loader: &Loader<'_>,
        shard: Shard,
        name: &str,
        experts: bool,
    ) -> Result<Self, BackendError> {
        let (hidden, inner) = (config.bert.hidden_size, config.bert.intermediate_size);
        let feed_forward = if experts {
            FeedForward::Experts(Experts::load(config, loader, shard, name)?)
        } else {
            let part = shard.part(inner);
            let up = LinearName::torch(format!("{name}.intermediate.dense"), hidden, inner);
            let down = LinearName::torch(format!("{name}.output.dense"), inner, hidden);
            FeedForward::Dense {
                up: ColumnLinear::load(loader, &[(&up, part.clone())])?,
                down: RowLinear::load(loader, &down, part)?,
            }
        };
        Ok(Self {
            attention: AttentionBlock::load(&config.bert, loader, shard, name)?,
            feed_forward,
            norm: Norm::load(&config.bert, loader, &format!("{name}.output.LayerNorm"))?,
            activation: config.bert.activation(),
        })
    }

    fn forward(&self, hidden: &Tensor, lap: &Lap, member: &Member<'_>) -> Result<Tensor, ShardError> {
        let hidden = self.attention.forward(hidden, lap, member)?;
        let sum = match &self.feed_forward {
            FeedForward::Dense { up, down } => {
                down.forward(&up.forward(&hidden, self.activation)?, Some(&hidden), member)?
            }
            FeedForward::Experts(experts) => experts.forward(&hidden, self.activation, member)?,
        };
        self.norm.forward(&sum)
    }
}

/// The gate, whole on every shard, and this shard's experts.
struct Experts {
    gate: ColumnLinear,
    own: Vec<Expert>,
    /// The number of the first of them.
    first: usize,
}

struct Expert {
    up: ColumnLinear,
    down: ColumnLinear,
}

impl Experts {
    fn load(config: &Config, loader: &Loader<'_>, shard: Shard, name: &str) -> Result<Self, BackendError> {
        let (hidden, inner) = (config.bert.hidden_size, config.bert.intermediate_size);
        let own = shard.part(config.num_experts);
        let first = own.start;
        let gate = LinearName::torch(format!("{name}.moe.gate"), hidden, config.num_experts).unbiased();
        let expert = |number| {
            let name = format!("{name}.moe.experts.{number}");
            let up = LinearName::torch(format!("{name}.intermediate.dense"), hidden, inner);
            let down = LinearName::torch(format!("{name}.output.dense"), inner, hidden);
            Ok(Expert { up: ColumnLinear::whole(loader, &up)?, down: ColumnLinear::whole(loader, &down)? })
        };
        let own = own.map(expert).collect::<Result<_, BackendError>>()?;
        Ok(Self { gate: ColumnLinear::whole(loader, &gate)?, own, first })
    }

    /// The experts' answers plus `hidden`.
    fn forward(&self, hidden: &Tensor, activation: Activation, member: &Member<'_>) -> Result<Tensor, ShardError> {
        let gates = self.gate.forward(hidden, Activation::Identity)?.to_vec2::<f32>()?;
        let choices: Vec<_> = gates.iter().map(|gates| two_likeliest(gates)).collect();
        let mut sum = hidden.zeros_like()?;
        for (expert, number) in self.own.iter().zip(self.first..) {
            let (rows, weights): (Vec<u32>, Vec<f32>) = choices
                .iter()
                .zip(0u32..)
                .flat_map(|(choice, row)| choice.iter().map(move |&(expert, weight)| (expert, row, weight)))
                .filter(|&(expert, ..)| expert == number)
                .map(|(_, row, weight)| (row, weight))
                .unzip();
            if rows.is_empty() {
                continue;
            }
            let weights = Tensor::from_vec(weights, (rows.len(), 1), hidden.device())?;
            let rows = Tensor::new(rows, hidden.device())?;
            let inner = expert.up.forward(&hidden.index_select(&rows, 0)?, activation)?;
            let answer = expert.down.forward(&inner, Activation::Identity)?;
            sum = sum.index_add(&rows, &answer.broadcast_mul(&weights)?, 0)?;
        }
        member.sum(sum, None, Some(hidden))
    }
}

/// The two experts with the highest gates (the lower number on a tie), and their weights, which add up to one.
fn two_likeliest(gates: &[f32]) -> [(usize, f32); 2] {
    let best = |without: Option<usize>| {
        let mut best: Option<usize> = None;
        for (expert, &gate) in gates.iter().enumerate() {
            if Some(expert) != without && best.is_none_or(|best| gate > gates[best]) {
                best = Some(expert);
            }
        }
        best.expect("there are at least two experts")
    };
    let first = best(None);
    let second = best(Some(first));
    // The softmax over all experts, scaled to a sum of one over two, is the softmax over the two.
    let share = 1.0 / (1.0 + (gates[second] - gates[first]).exp());
    [(first, share), (second, 1.0 - share)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_likeliest_experts_share_the_weight() {
        let [(first, more), (second, less)] = two_likeliest(&[0.0, 2.0, -1.0, 1.0]);
        assert_eq!((first, second), (1, 3));
        assert!((more + less - 1.0).abs() < 1e-6 && (more / less - 1f32.exp()).abs() < 1e-5);
        assert_eq!(two_likeliest(&[1.0, 1.0, 1.0]).map(|(expert, _)| expert), [0, 1]);
        assert_eq!(two_likeliest(&[f32::NEG_INFINITY, f32::NAN]).map(|(expert, _)| expert), [0, 1]);
    }
}
