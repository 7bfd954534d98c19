//! A model's profile derived from measurements of its single layers.
//!
//! Measuring every parallel configuration of every model takes long. Measuring each layer once per batch
//! size does not, and the two passes ([`partition`] and [`intra_op`](crate::intra_op))
//! predict the rest: where to cut the layers into stages, and what splitting each over devices costs.
//! The result says "derived" in its provenance, so that nobody takes it for measured.
//!
//! [`LayerCosts`] say what is known of the layers (a table in a file, [`read_layers`], or a measurement),
//! [`Wanted`] which configurations to derive, [`Links`] what is assumed of the devices; [`derive_profile`] does it.

mod costs;
mod layers_file;
mod links;
mod overhead;
mod profiles;
mod profiles_table;
mod shares;
mod split;
mod wanted;

pub use costs::{LayerCosts, LayerKind, OperatorCosts, common_batches};
pub use layers_file::{LayersTable, ModelLayers, layers_csv, parse_layers, read_layers};
pub use links::{LinkRate, LinkRateError, Links, NAMED_LINKS};
pub use overhead::{InterOpOverhead, inter_op_overhead, intra_op_overhead};
pub use profiles::{DerivedProfiles, Deriving, derive_tables};
pub use profiles_table::{NamedProfile, ProfilesTable};
pub use shares::{Unsplit, by_shares, shares};
pub use wanted::{LARGEST_OP, LARGEST_PP, Wanted};

use crate::partition::{self, Chain, PartitionError, StageMemory};
use costs::{bytes_at, span};
use split::SplitLayer;
use statmux_core::ParallelConfig;
use statmux_core::profile::{ConfigProfile, ModelProfile};
use statmux_core::units::{Bytes, Span};
use std::collections::BTreeMap;
use std::ops::Range;

/// The most layers that are cut: three times the operators of the deepest models there are.
pub const MOST_LAYERS: usize = 1024;

/// Why a profile cannot be derived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeriveError {
    /// Nothing says how long a layer takes.
    #[error("layer {layer} has no time for batch size {batch} at op {op}, and nothing to predict it from")]
    Unmeasured {
        /// The layer, by name.
        layer: String,
        /// Devices per stage.
        op: u32,
        /// Requests per batch.
        batch: u32,
    },
    /// A time that is negative, not a number, or longer than 584 years.
    #[error("`{name}` takes {seconds} seconds at batch size {batch}, which is no length of time")]
    Time {
        /// The layer or operator, by name.
        name: String,
        /// What was given.
        seconds: String,
        /// Requests per batch.
        batch: u32,
    },
    /// More devices cannot be used better than perfectly.
    #[error("the efficiency of split operators must be above 0 and at most 1")]
    Efficiency,
    /// Degrees, stages and batch sizes count from 1.
    #[error("op, pp and batch sizes must be at least 1, and batch size 1 must be among them")]
    Wanted,
    /// More layers than are cut in reasonable time.
    #[error("{0} layers are more than the {MOST_LAYERS} that are cut into stages")]
    Layers(usize),
    /// Every wanted configuration was passed over; the last reason is kept.
    #[error("no wanted configuration can be carried out")]
    Nothing(#[source] Option<PartitionError>),
}

/// A derived profile, and what is to be said of it.
#[derive(Clone, Debug)]
pub struct Derived {
    /// Stage times and memory of every configuration that can be carried out.
    pub profile: ModelProfile,
    /// The layers of each stage, by configuration.
    pub stages: BTreeMap<ParallelConfig, Vec<Range<usize>>>,
    /// Degrees above 1 of which some layer was not measured but predicted from its operators.
    pub predicted: Vec<u32>,
    /// Configurations that were passed over, and why.
    pub passed_over: Vec<(ParallelConfig, PartitionError)>,
}

/// Derives `name`'s profile under every wanted configuration.
///
/// The cut and the way each layer is split are chosen at batch size 1 and hold for all batch sizes, as
/// weights do not move when the batch changes. Transfers between stages are charged to the stage that
/// receives. A stage's activations are those of its hungriest layer, or what it hands on if that is more, not
/// divided by `op`. A limit on memory decides where to cut wherever some cut keeps it; configurations that no cut
/// makes fit are cut for speed alone, for their times are asked for too, and planners see that they do not fit.
pub fn derive_profile(
    name: &str,
    source: &str,
    layers: &[LayerCosts],
    links: &Links,
    wanted: &Wanted,
) -> Result<Derived, DeriveError> {
    links.check()?;
    wanted.check()?;
    if layers.len() > MOST_LAYERS {
        return Err(DeriveError::Layers(layers.len()));
    }
    let (mut configs, mut all_stages) = (BTreeMap::new(), BTreeMap::new());
    let (mut predicted, mut passed_over) = (Vec::new(), Vec::new());
    for &op in &wanted.ops {
        let split = layers.iter().map(|layer| SplitLayer::of(layer, op, links, &wanted.batches));
        let split = split.collect::<Result<Vec<_>, _>>()?;
        if split.iter().any(|layer| layer.predicted) {
            predicted.push(op);
        }
        for &pp in &wanted.pps {
            let config = ParallelConfig::new(op, pp);
            match stages(layers, &split, links, pp, wanted) {
                Ok((stages, profile)) => {
                    configs.insert(config, profile);
                    all_stages.insert(config, stages);
                }
                Err(StagesError::Passed(error)) => passed_over.push((config, error)),
                Err(StagesError::Wrong(error)) => return Err(error),
            }
        }
    }
    if configs.is_empty() {
        return Err(DeriveError::Nothing(passed_over.pop().map(|(_, error)| error)));
    }
    let cuts = all_stages.iter().filter_map(|(&config, stages)| Some((config, served_cut(layers, stages)?)));
    let cuts = cuts.filter(|(config, _)| config.pp > 1).collect();
    let profile = ModelProfile::new(name, format!("derived: from per-layer costs ({source})"), configs);
    Ok(Derived { profile: profile.with_cuts(cuts), stages: all_stages, predicted, passed_over })
}

enum StagesError {
    Passed(PartitionError),
    Wrong(DeriveError),
}

fn stages(
    layers: &[LayerCosts],
    split: &[SplitLayer],
    links: &Links,
    pp: u32,
    wanted: &Wanted,
) -> Result<(Vec<Range<usize>>, ConfigProfile), StagesError> {
    let weights: Vec<_> = split.iter().map(|layer| layer.weights).collect();
    let hand_over = |layer: &LayerCosts, batch| links.hand_over(bytes_at(&layer.outputs, batch));
    let cut = {
        let times = layers.iter().zip(split).map(|(layer, split)| span(&layer.name, 1, split.seconds[&1]));
        let times = times.collect::<Result<Vec<_>, _>>().map_err(StagesError::Wrong)?;
        let transfers: Vec<_> = layers.iter().map(|layer| hand_over(layer, 1)).collect();
        let memory = wanted.memory.map(|limit| StageMemory { layers: &weights, limit });
        let chain = Chain { layers: &times, transfers: &transfers, memory };
        let cut = match partition::cut(&chain, pp as usize) {
            Err(PartitionError::Memory { .. }) => partition::cut(&Chain { memory: None, ..chain }, pp as usize),
            cut => cut,
        };
        cut.map_err(StagesError::Passed)?.stages
    };
    let mut profile = ConfigProfile {
        stage_weights: cut.iter().map(|stage| stage_weights(layers, &weights, stage)).collect(),
        ..ConfigProfile::default()
    };
    let knows_bytes = layers.iter().any(|layer| !layer.activations.is_empty() || !layer.outputs.is_empty());
    for &batch in &wanted.batches {
        let seconds = cut.iter().map(|stage| {
            let received = stage.start.checked_sub(1).map_or(Span::ZERO, |before| hand_over(&layers[before], batch));
            split[stage.clone()].iter().map(|layer| layer.seconds[&batch]).sum::<f64>() + received.seconds()
        });
        profile.stage_seconds.insert(batch, seconds.collect());
        let bytes = |stage: &Range<usize>| {
            let working = layers[stage.clone()].iter().map(|layer| bytes_at(&layer.activations, batch));
            working.chain([bytes_at(&layers[stage.end - 1].outputs, batch)]).max().unwrap_or(Bytes::ZERO)
        };
        if knows_bytes {
            profile.stage_activations.insert(batch, cut.iter().map(bytes).collect());
        }
    }
    Ok((cut, profile))
}

/// What each device of a stage holds: what its layers hold, without what first and last layer share if both are there.
fn stage_weights(layers: &[LayerCosts], weights: &[Bytes], stage: &Range<usize>) -> Bytes {
    let all: Bytes = weights[stage.clone()].iter().copied().sum();
    let [_, .., last] = layers else { return all };
    if *stage != (0..layers.len()) || last.weights == Bytes::ZERO {
        return all;
    }
    let held = u128::from(weights[layers.len() - 1].get());
    let tied = u128::from(last.tied.min(last.weights).get()) * held / u128::from(last.weights.get());
    all.saturating_sub(Bytes::new(u64::try_from(tied).unwrap_or(u64::MAX)))
}

/// The first layer of each stage but the first as a server counts them, if the table says which those are.
fn served_cut(layers: &[LayerCosts], stages: &[Range<usize>]) -> Option<Vec<usize>> {
    let first = |stage: &Range<usize>| layers[stage.start..].iter().find_map(|layer| layer.block);
    let cut: Vec<usize> = stages[1..].iter().map(first).collect::<Option<_>>()?;
    let last = layers.iter().filter_map(|layer| layer.block).max()?;
    let sound = cut.first() != Some(&0) && cut.is_sorted_by(|a, b| a < b) && cut.iter().all(|&first| first <= last);
    sound.then_some(cut)
}

#[cfg(test)]
mod tests;
