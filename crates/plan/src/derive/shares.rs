//! Pipelines of a model whose time as a whole was measured, and of whose layers only the proportions are known.

use crate::partition::{self, Chain, PartitionError};
use statmux_core::ParallelConfig;
use statmux_core::profile::ConfigProfile;
use statmux_core::units::{Bytes, Span};
use std::collections::BTreeMap;

/// The whole of a model under each configuration that is wanted of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unsplit {
    /// Seconds of all stages together, by batch size.
    pub seconds: BTreeMap<u32, f64>,
    /// Weights on each device, by stage.
    pub stage_weights: Vec<Bytes>,
}

/// Share of the whole time in each of `stages` stages of `layers`, which are given in any common unit, the slowest
/// stage as fast as it can be.
///
/// # Panics
/// If a layer is negative or not a number, or above a million units.
pub fn shares(layers: &[f64], stages: usize) -> Result<Vec<f64>, PartitionError> {
    const SCALE: f64 = 1e-3;
    let spans = layers.iter().map(|&layer| Span::from_seconds(layer * SCALE).expect("no layer is negative"));
    let spans: Vec<Span> = spans.collect();
    let cut = partition::cut(&Chain { layers: &spans, transfers: &[], memory: None }, stages)?;
    let all: f64 = layers.iter().sum();
    Ok(cut.stages.iter().map(|stage| layers[stage.clone()].iter().sum::<f64>() / all).collect())
}

/// Stage times of every configuration in `whole`: those of the whole model in proportion to its layers, cut so that
/// the slowest stage is as fast as it can be. Hand-overs between stages cost nothing.
pub fn by_shares(
    layers: &[f64],
    whole: impl IntoIterator<Item = (ParallelConfig, Unsplit)>,
) -> Result<BTreeMap<ParallelConfig, ConfigProfile>, PartitionError> {
    let derived = |(config, whole): (ParallelConfig, Unsplit)| {
        let shares = shares(layers, config.pp as usize)?;
        let stages = |(batch, seconds): (u32, f64)| (batch, shares.iter().map(|share| share * seconds).collect());
        let profile = ConfigProfile {
            stage_seconds: whole.seconds.into_iter().map(stages).collect(),
            stage_weights: whole.stage_weights,
            stage_activations: BTreeMap::new(),
        };
        Ok((config, profile))
    };
    whole.into_iter().map(derived).collect()
}
