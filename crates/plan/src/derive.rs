//! A model's profile derived from measurements of its single layers.
//!
//! Measuring every parallel configuration of every model takes long. Measuring each layer once per batch
//! size does not, and the two passes ([`partition`] and [`intra_op`])
//! predict the rest: where to cut the layers into stages, and what splitting each over devices costs.
//! The result says "derived" in its provenance, so that nobody takes it for measured.

use crate::intra_op::{self, IntraOpError, Mesh, Operator, OperatorKind};
use crate::partition::{self, Chain, PartitionError, StageMemory};
use statmux_core::ParallelConfig;
use statmux_core::profile::{ConfigProfile, ModelProfile};
use statmux_core::units::{Bytes, Span};
use std::collections::BTreeMap;

/// What was measured of one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerCosts {
    /// Its name in messages.
    pub name: String,
    /// Seconds by devices it is split over (`op`), then by batch size. Degrees that were not measured are
    /// predicted from `operators`; degree 1 too, as their sum.
    pub seconds: BTreeMap<u32, BTreeMap<u32, f64>>,
    /// Its weights, all of them. Where `operators` are given and `op` was not measured, theirs count instead.
    pub weights: Bytes,
    /// Working memory for one request; a batch of `b` takes `b` times as much.
    pub activations: Bytes,
    /// What it hands to the next layer for one request.
    pub output: Bytes,
    /// The operators inside, in order; may be empty where all wanted degrees were measured.
    pub operators: Vec<OperatorCosts>,
}

/// What was measured of one operator on one device.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorCosts {
    /// Its name in messages.
    pub name: String,
    /// In which ways it may be split.
    pub kind: OperatorKind,
    /// Seconds by batch size.
    pub seconds: BTreeMap<u32, f64>,
    /// Its weights.
    pub weights: Bytes,
    /// Its output for one request.
    pub output: Bytes,
    /// It can be split over any number of devices that divides this one (heads, columns).
    pub splits: u32,
}

/// The links between devices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Links {
    /// Bytes per second between neighbours inside a stage.
    pub inside_bandwidth: f64,
    /// Time of one step around the ring inside a stage apart from the bytes.
    pub inside_latency: Span,
    /// Bytes per second from one stage to the next.
    pub between_bandwidth: f64,
    /// Time of one hand-over between stages apart from the bytes.
    pub between_latency: Span,
    /// How well an operator split over two or more devices uses them (1 is perfect).
    pub efficiency: f64,
}

/// Which configurations to derive.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Devices per stage.
    pub ops: Vec<u32>,
    /// Stages; numbers above the number of layers are passed over.
    pub pps: Vec<u32>,
    /// Batch sizes; 1 must be among them, for profiles always have it.
    pub batches: Vec<u32>,
    /// What a device can hold; configurations that need more are passed over.
    pub memory: Option<Bytes>,
}

/// Why a profile cannot be derived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeriveError {
    /// Nothing says how long a layer takes.
    #[error("layer {layer} has no time for batch size {batch} at op {op}, and no operators to predict it from")]
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
    /// A bandwidth or efficiency that is not above zero.
    #[error("bandwidths and efficiency must be above 0 and finite")]
    Links,
    /// Degrees, stages and batch sizes count from 1.
    #[error("op, pp and batch sizes must be at least 1, and batch size 1 must be among them")]
    Wanted,
    /// Every wanted configuration was passed over; the last reason is kept.
    #[error("no wanted configuration can be carried out")]
    Nothing(#[source] Option<PartitionError>),
}

/// Derives `name`'s profile under every wanted configuration.
///
/// The cut and the way each layer is split are chosen at batch size 1 and hold for all batch sizes, as
/// weights do not move when the batch changes. Transfers between stages are charged to the stage that
/// receives. A stage's activations are those of its hungriest layer, not divided by `op`.
pub fn derive_profile(
    name: &str,
    source: &str,
    layers: &[LayerCosts],
    links: &Links,
    wanted: &Wanted,
) -> Result<ModelProfile, DeriveError> {
    links.check()?;
    let counts = wanted.ops.iter().chain(&wanted.pps).chain(&wanted.batches);
    if counts.min().is_none_or(|&least| least == 0) || !wanted.batches.contains(&1) {
        return Err(DeriveError::Wanted);
    }
    let mut configs = BTreeMap::new();
    let mut passed_over = None;
    for &op in &wanted.ops {
        let split =
            layers.iter().map(|layer| layer.split(op, links, &wanted.batches)).collect::<Result<Vec<_>, _>>()?;
        for &pp in &wanted.pps {
            match stages(layers, &split, links, pp, wanted) {
                Ok(profile) => {
                    configs.insert(ParallelConfig::new(op, pp), profile);
                }
                Err(error) => passed_over = Some(error),
            }
        }
    }
    if configs.is_empty() {
        return Err(DeriveError::Nothing(passed_over));
    }
    Ok(ModelProfile::new(name, format!("derived: from per-layer costs ({source})"), configs))
}

/// One layer under one degree.
struct SplitLayer {
    /// Time by batch size.
    times: BTreeMap<u32, Span>,
    /// Weights on each device.
    weights: Bytes,
}

impl LayerCosts {
    fn split(&self, op: u32, links: &Links, batches: &[u32]) -> Result<SplitLayer, DeriveError> {
        let unmeasured = |batch| DeriveError::Unmeasured { layer: self.name.clone(), op, batch };
        if let Some(measured) = self.seconds.get(&op) {
            let time = |&batch: &u32| {
                let &seconds = measured.get(&batch).ok_or_else(|| unmeasured(batch))?;
                Ok((batch, span(&self.name, batch, seconds)?))
            };
            let weights = Bytes::new(self.weights.get().div_ceil(u64::from(op)));
            return Ok(SplitLayer { times: batches.iter().map(time).collect::<Result<_, _>>()?, weights });
        }
        if self.operators.is_empty() {
            return Err(unmeasured(1));
        }
        let mesh = Mesh {
            degree: op,
            bandwidth: links.inside_bandwidth,
            step_latency: links.inside_latency,
            efficiency: if op == 1 { 1.0 } else { links.efficiency },
        };
        let chosen = match intra_op::cheapest(&self.operators(1, op)?, &mesh, None) {
            Ok(chosen) => chosen,
            Err(IntraOpError::Memory { .. }) => unreachable!("without a memory limit every assignment is allowed"),
        };
        let time = |&batch: &u32| {
            let operators = self.operators(batch, op)?;
            Ok((batch, intra_op::cost(&operators, &mesh, &chosen.strategies).time()))
        };
        Ok(SplitLayer { times: batches.iter().map(time).collect::<Result<_, _>>()?, weights: chosen.weights })
    }

    fn operators(&self, batch: u32, op: u32) -> Result<Vec<Operator>, DeriveError> {
        let at_batch = |operator: &OperatorCosts| {
            let unmeasured =
                || DeriveError::Unmeasured { layer: format!("{} ({})", self.name, operator.name), op, batch };
            let &seconds = operator.seconds.get(&batch).ok_or_else(unmeasured)?;
            Ok(Operator {
                name: operator.name.clone(),
                kind: operator.kind,
                compute: span(&operator.name, batch, seconds)?,
                weights: operator.weights,
                output: operator.output * u64::from(batch),
                splits: operator.splits,
            })
        };
        self.operators.iter().map(at_batch).collect()
    }
}

impl Links {
    fn check(&self) -> Result<(), DeriveError> {
        let numbers = [self.inside_bandwidth, self.between_bandwidth, self.efficiency];
        let sound = numbers.iter().all(|&number| number > 0.0 && number.is_finite());
        sound.then_some(()).ok_or(DeriveError::Links)
    }

    fn hand_over(&self, bytes: Bytes) -> Span {
        Span::from_seconds(bytes.get() as f64 / self.between_bandwidth).unwrap_or(Span::MAX) + self.between_latency
    }
}

fn span(name: &str, batch: u32, seconds: f64) -> Result<Span, DeriveError> {
    let error = || DeriveError::Time { name: name.to_owned(), seconds: seconds.to_string(), batch };
    Span::from_seconds(seconds).ok_or_else(error)
}

fn stages(
    layers: &[LayerCosts],
    split: &[SplitLayer],
    links: &Links,
    pp: u32,
    wanted: &Wanted,
) -> Result<ConfigProfile, PartitionError> {
    let weights: Vec<_> = split.iter().map(|layer| layer.weights).collect();
    let times = |batch| split.iter().map(|layer| layer.times[&batch]).collect::<Vec<_>>();
    let transfers =
        |batch| layers.iter().map(|layer| links.hand_over(layer.output * u64::from(batch))).collect::<Vec<_>>();
    let memory = wanted.memory.map(|limit| StageMemory { layers: &weights, limit });
    let (single, hand_overs) = (times(1), transfers(1));
    let cut = partition::cut(&Chain { layers: &single, transfers: &hand_overs, memory }, pp as usize)?.stages;

    let mut profile = ConfigProfile {
        stage_weights: cut.iter().map(|stage| weights[stage.clone()].iter().copied().sum()).collect(),
        ..ConfigProfile::default()
    };
    for &batch in &wanted.batches {
        let (times, transfers) = (times(batch), transfers(batch));
        let chain = Chain { layers: &times, transfers: &transfers, memory: None };
        let seconds = cut.iter().map(|stage| partition::stage_time(&chain, stage).seconds()).collect();
        profile.stage_seconds.insert(batch, seconds);
        let hungriest = |stage: &std::ops::Range<usize>| {
            layers[stage.clone()].iter().map(|layer| layer.activations * u64::from(batch)).max().unwrap_or(Bytes::ZERO)
        };
        profile.stage_activations.insert(batch, cut.iter().map(hungriest).collect());
    }
    Ok(profile)
}

/// Where a pipeline of `n` stages loses time against `n` perfect slices, in seconds of all its devices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InterOpOverhead {
    /// Handing activations from stage to stage: `max(sum of stages - single, 0)`.
    pub communication: f64,
    /// Waiting for the slowest stage: `max(n x slowest - communication - single, 0)`.
    pub uneven_partition: f64,
}

/// Splits a pipeline's overhead into its two causes, given the latency on one device and the stages' times, in seconds.
pub fn inter_op_overhead(single: f64, stages: &[f64]) -> InterOpOverhead {
    let communication = (stages.iter().sum::<f64>() - single).max(0.0);
    let slowest = stages.iter().copied().fold(0.0, f64::max);
    let uneven_partition = (stages.len() as f64 * slowest - communication - single).max(0.0);
    InterOpOverhead { communication, uneven_partition }
}

/// What splitting operators over `devices` costs beyond a perfect split, in seconds: `split - single / devices`.
pub fn intra_op_overhead(single: f64, split: f64, devices: u32) -> f64 {
    split - single / f64::from(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn measured(name: &str, ms: f64, weights: u64) -> LayerCosts {
        let by_batch = |share: f64| BTreeMap::from([(1, ms * share * 1e-3), (4, 3.0 * ms * share * 1e-3)]);
        LayerCosts {
            name: name.to_owned(),
            seconds: BTreeMap::from([(1, by_batch(1.0)), (2, by_batch(0.6))]),
            weights: Bytes::new(weights * MIB),
            activations: Bytes::new(3 * MIB),
            output: Bytes::new(MIB),
            operators: Vec::new(),
        }
    }

    /// An embedding, eight blocks, and a head that takes as long as three blocks.
    fn model() -> Vec<LayerCosts> {
        let mut layers = vec![measured("embedding", 1.0, 200)];
        layers.extend((0..8).map(|i| measured(&format!("block {i}"), 4.0, 50)));
        layers.push(measured("head", 12.0, 200));
        layers
    }

    fn links() -> Links {
        Links {
            inside_bandwidth: 100e9,
            inside_latency: Span::from_nanos(5_000),
            between_bandwidth: 10e9,
            between_latency: Span::from_nanos(10_000),
            efficiency: 0.9,
        }
    }

    fn wanted(memory: Option<Bytes>) -> Wanted {
        Wanted { ops: vec![1, 2], pps: vec![1, 2, 4, 16], batches: vec![1, 4], memory }
    }

    #[test]
    fn a_profile_is_derived_and_says_so() {
        let profile = derive_profile("toy", "unit test", &model(), &links(), &wanted(None)).unwrap();
        assert!(profile.provenance.starts_with("derived"));
        let configs: Vec<_> = profile.configs().map(|(config, _)| (config.op, config.pp)).collect();
        assert_eq!(configs, [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4)]);
        assert!((profile.single_device_seconds().unwrap() - 0.045).abs() < 1e-12);

        let four = profile.config(ParallelConfig::new(1, 4)).unwrap();
        let transfer = MIB as f64 / 10e9 + 10e-6;
        // Embedding and two blocks; three blocks; three blocks; the head.
        let expected = [0.009, 0.012 + transfer, 0.012 + transfer, 0.012 + transfer];
        for (stage, expected) in four.stage_seconds[&1].iter().zip(expected) {
            assert!((stage - expected).abs() < 2e-9, "{stage} {expected}");
        }
        assert_eq!(four.stage_weights, [300, 150, 150, 200].map(|mib| Bytes::new(mib * MIB)));
        assert_eq!(four.stage_activations[&4], [Bytes::new(12 * MIB); 4]);
        let two = profile.config(ParallelConfig::new(2, 1)).unwrap();
        assert_eq!(two.stage_weights, [Bytes::new(400 * MIB)]);
        assert!((two.stage_seconds[&4][0] - 0.6 * 3.0 * 0.045).abs() < 1e-9);
    }

    #[test]
    fn configurations_that_do_not_fit_are_passed_over() {
        let profile = derive_profile("toy", "", &model(), &links(), &wanted(Some(Bytes::new(450 * MIB)))).unwrap();
        let configs: Vec<_> = profile.configs().map(|(config, _)| (config.op, config.pp)).collect();
        assert_eq!(configs, [(1, 2), (1, 4), (2, 1), (2, 2), (2, 4)]);
        let nothing = derive_profile("toy", "", &model(), &links(), &wanted(Some(Bytes::new(MIB)))).unwrap_err();
        assert!(matches!(nothing, DeriveError::Nothing(Some(PartitionError::Stages { .. }))));
    }

    #[test]
    fn what_was_not_measured_is_named() {
        let wanted = Wanted { ops: vec![4], ..wanted(None) };
        let error = derive_profile("toy", "", &model(), &links(), &wanted).unwrap_err();
        assert_eq!(error, DeriveError::Unmeasured { layer: "embedding".to_owned(), op: 4, batch: 1 });
    }

    #[test]
    fn degrees_are_predicted_from_operators() {
        let product = |name: &str, output| OperatorCosts {
            name: name.to_owned(),
            kind: OperatorKind::Product,
            seconds: BTreeMap::from([(1, 2e-3)]),
            weights: Bytes::new(50 * MIB),
            output: Bytes::new(output),
            splits: 64,
        };
        let layer =
            LayerCosts { operators: vec![product("up", 40 * MIB), product("down", 10 * MIB)], ..LayerCosts::default() };
        let wanted = Wanted { ops: vec![1, 8], pps: vec![1, 2], batches: vec![1], memory: None };
        let links = Links { efficiency: 1.0, ..links() };
        let profile = derive_profile("mlp", "", &[layer.clone(), layer], &links, &wanted).unwrap();
        let split = profile.config(ParallelConfig::new(8, 1)).unwrap();
        let all_reduce = 2.0 * 7.0 / 8.0 * (10 * MIB) as f64 / 100e9 + 14.0 * 5e-6;
        assert!((split.stage_seconds[&1][0] - 2.0 * (0.5e-3 + all_reduce)).abs() < 1e-8);
        assert_eq!(split.stage_weights, [Bytes::new(200 * MIB / 8)]);
        let single = profile.single_device_seconds().unwrap();
        assert!((intra_op_overhead(single, split.stage_seconds[&1][0], 8) - 2.0 * all_reduce).abs() < 1e-8);
    }

    #[test]
    fn overheads_are_split_as_published() {
        let overhead = inter_op_overhead(1.0, &[0.25, 0.30, 0.26, 0.27]);
        assert!((overhead.communication - 0.08).abs() < 1e-12);
        assert!((overhead.uneven_partition - 0.12).abs() < 1e-12);
        let perfect = inter_op_overhead(1.0, &[0.5, 0.5]);
        assert_eq!((perfect.communication, perfect.uneven_partition), (0.0, 0.0));
    }
}
