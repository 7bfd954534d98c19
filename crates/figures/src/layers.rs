//! Stage times derived layer by layer, for models whose pipelines were never published.
//!
//! The measured profile scales the stages of bert-1.3b to all models. But what makes stages uneven, the embedding and
//! the output layer, weighs less in larger models. Here each model is a chain of equal blocks between an embedding and
//! an output layer, with weights as measured on bert-1.3b and scaled to the width of the model, cut and made into a
//! profile by the planner's own [`derive`](statmux_plan::derive). Time on one device is as published, and so is the
//! measured gain of splitting operators over devices.

use crate::error::FiguresError;
use statmux_core::{Bytes, ConfigProfile, ModelProfile, ParallelConfig, Profile};
use statmux_plan::derive::{Unsplit, by_shares, shares};
use statmux_plan::partition::PartitionError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A model as a chain of layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Architecture {
    /// Its name in the profile.
    pub name: &'static str,
    /// Equal blocks.
    pub blocks: usize,
    /// Time of the embedding, in blocks.
    pub embedding: f64,
    /// Time of the output layer, in blocks.
    pub output: f64,
}

/// Embedding and output layer of bert-1.3b in blocks, from its eight measured stages: (21.61 - 18.9) / 6.3 and
/// (23.78 - 18.9) / 6.3, where the stages between them hold three blocks of 6.3 ms.
const EMBEDDING: f64 = 0.43;
const OUTPUT: f64 = 0.78;
/// The width of bert-1.3b. A block's work grows with the square of the width, that of the ends with the width.
const WIDTH: f64 = 2048.0;

const fn bert(name: &'static str, blocks: usize, width: f64) -> Architecture {
    Architecture { name, blocks, embedding: EMBEDDING * WIDTH / width, output: OUTPUT * WIDTH / width }
}

/// The six models of the published sets. Blocks and widths of the BERTs are published; of the mixtures of experts
/// it is assumed that 16 blocks stand between ends as heavy as those of bert-1.3b.
pub const ARCHITECTURES: [Architecture; 6] = [
    bert("bert-1.3b", 24, 2048.0),
    bert("bert-2.6b", 32, 2560.0),
    bert("bert-6.7b", 32, 4096.0),
    bert("moe-1.3b", 16, 2048.0),
    bert("moe-2.4b", 16, 2048.0),
    bert("moe-5.3b", 16, 2048.0),
];

impl Architecture {
    /// Time of each layer in blocks: embedding, blocks, output.
    pub fn layers(&self) -> Vec<f64> {
        let blocks = std::iter::repeat_n(1.0, self.blocks);
        std::iter::once(self.embedding).chain(blocks).chain([self.output]).collect()
    }

    /// Share of the whole time in each of `stages` stages of as many blocks, as cut by hand.
    pub fn equal_shares(&self, stages: usize) -> Vec<f64> {
        let all = self.embedding + self.output + self.blocks as f64;
        let blocks = |stage: usize| (self.blocks * (stage + 1) / stages - self.blocks * stage / stages) as f64;
        let share = |stage: usize| {
            let ends = if stage == 0 { self.embedding } else { 0.0 };
            let ends = ends + if stage + 1 == stages { self.output } else { 0.0 };
            (blocks(stage) + ends) / all
        };
        (0..stages).map(share).collect()
    }

    /// Share of the whole time in each of `stages` stages, the slowest as fast as it can be.
    pub fn shares(&self, stages: usize) -> Result<Vec<f64>, FiguresError> {
        shares(&self.layers(), stages).map_err(embedded)
    }

    /// The same if a cut may also fall between the attention and the MLP of a block: one and two thirds of its weights.
    pub fn half_block_shares(&self, stages: usize) -> Result<Vec<f64>, FiguresError> {
        let halves = (0..self.blocks).flat_map(|_| [1.0 / 3.0, 2.0 / 3.0]);
        let layers: Vec<f64> = std::iter::once(self.embedding).chain(halves).chain([self.output]).collect();
        shares(&layers, stages).map_err(embedded)
    }
}

fn embedded(cause: PartitionError) -> FiguresError {
    FiguresError::Embedded(cause.to_string())
}

/// The profile of all six models, derived layer by layer from `measured`.
pub fn derive(measured: &Profile) -> Result<Profile, FiguresError> {
    let provenance = "derived: latency on one device published; stages cut from equal blocks between an embedding and an \
                      output layer, whose weight was measured on bert-1.3b and scaled to each model's width; gain of \
                      splitting operators measured on bert-1.3b; blocks of the mixtures of experts assumed";
    let mut models = BTreeMap::new();
    for architecture in ARCHITECTURES {
        let missing = || FiguresError::Embedded(format!("no profile of {}", architecture.name));
        let base = measured.models.get(architecture.name).ok_or_else(missing)?;
        let whole = base.configs().map(|(config, of)| {
            let unsplit = base.config(ParallelConfig::new(config.op, 1)).ok_or_else(missing)?;
            let seconds = unsplit.stage_seconds.iter().map(|(&batch, stages)| (batch, stages.iter().sum()));
            Ok((config, Unsplit { seconds: seconds.collect(), stage_weights: of.stage_weights.clone() }))
        });
        let whole = whole.collect::<Result<Vec<_>, FiguresError>>()?;
        let configs = by_shares(&architecture.layers(), whole).map_err(embedded)?;
        let model = ModelProfile::new(architecture.name, provenance, configs);
        models.insert(architecture.name.to_owned(), Arc::new(model));
    }
    Ok(Profile { device: measured.device.clone(), provenance: provenance.to_owned(), models })
}

/// The very large model: it fits no single device, and the published scripts give it 4.6 s whatever the group.
pub const LARGE: Architecture = bert("bert-104b", 128, 8192.0);
const LARGE_SECONDS: f64 = 4.6;
const LARGE_BYTES: u64 = 208_000_000_000;

/// The profile of [`LARGE`] on 16 and 32 devices: all stages together take the published time in a pure pipeline, and
/// less where operators are split, as measured on bert-1.3b.
pub fn derive_large(measured: &Profile) -> Result<Profile, FiguresError> {
    let missing = || FiguresError::Embedded("no profile of bert-1.3b".to_owned());
    let base = measured.models.get("bert-1.3b").ok_or_else(missing)?;
    let alone = base.single_device_seconds().ok_or_else(missing)?;
    let mut configs = BTreeMap::new();
    for (op, pp) in [(1, 16), (2, 8), (4, 4), (8, 2), (1, 32), (2, 16), (4, 8), (8, 4)] {
        let split = base.config(ParallelConfig::new(op, 1)).ok_or_else(missing)?;
        let gain = split.stage_seconds[&1].iter().sum::<f64>() / alone;
        let shares = LARGE.shares(pp as usize)?;
        let seconds = shares.into_iter().map(|share| share * LARGE_SECONDS * gain).collect();
        let profile = ConfigProfile {
            stage_seconds: BTreeMap::from([(1, seconds)]),
            stage_weights: even_weights(Bytes::new(LARGE_BYTES.div_ceil(u64::from(op))), pp),
            stage_activations: BTreeMap::new(),
        };
        configs.insert(ParallelConfig::new(op, pp), profile);
    }
    let provenance = "derived: 4.6 s and 208 GB published; stages cut from 128 equal blocks between an embedding and an \
                      output layer; gain of splitting operators measured on bert-1.3b";
    let model = Arc::new(ModelProfile::new(LARGE.name, provenance, configs));
    let models = BTreeMap::from([(LARGE.name.to_owned(), model)]);
    Ok(Profile { device: measured.device.clone(), provenance: provenance.to_owned(), models })
}

/// The weights that a device of each of `stages` equal stages holds.
pub fn even_weights(whole: Bytes, stages: u32) -> Vec<Bytes> {
    vec![Bytes::new(whole.get().div_ceil(u64::from(stages))); stages as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_weigh_less_in_larger_models() {
        let uneven = |index: usize| {
            let shares = ARCHITECTURES[index].shares(8).expect("more layers than stages");
            8.0 * shares.into_iter().fold(0.0, f64::max)
        };
        let [small, middle, large] = [uneven(0), uneven(1), uneven(2)];
        assert!(small > middle && middle > large, "{small} {middle} {large}");
        assert!((1.10..1.14).contains(&middle), "{middle}");
    }
}
