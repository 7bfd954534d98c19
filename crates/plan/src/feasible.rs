//! Which configurations of a model a cluster could run at all: the one answer that the bound and the reasons of
//! unserved models are made of.

use statmux_core::{Bytes, Cluster, ConfigProfile, ModelSpec, ParallelConfig};

/// A configuration of a model's profile that has room on an empty cluster, every stage within a node.
#[derive(Clone, Copy, Debug)]
pub struct Feasible<'a> {
    /// The configuration.
    pub config: ParallelConfig,
    /// What was measured under it.
    pub profile: &'a ConfigProfile,
}

impl Feasible<'_> {
    /// What the device of the fullest stage needs at least: its weights, and its activations without batching.
    pub fn memory(&self) -> Bytes {
        let activations = self.profile.activations(1).into_iter().chain(std::iter::repeat(Bytes::ZERO));
        let stages = self.profile.stage_weights.iter().zip(activations);
        stages.map(|(&weights, activations)| weights + activations).max().unwrap_or(Bytes::ZERO)
    }

    /// Seconds for one request alone on idle devices of `speed`, hops between stages not counted.
    pub fn latency(&self, stage_penalty: f64, speed: f64) -> f64 {
        let alone = self.profile.stage_seconds.get(&1).map_or(f64::INFINITY, |stages| stages.iter().sum());
        alone * (1.0 + stage_penalty * f64::from(self.config.pp)) / speed
    }
}

/// The configurations of `model` that `cluster` has devices for.
pub fn seated<'a>(cluster: &Cluster, model: &'a ModelSpec) -> Vec<Feasible<'a>> {
    let configs = model.profile.configs().map(|(config, profile)| Feasible { config, profile });
    configs.filter(|feasible| cluster.seats(feasible.config)).collect()
}

/// Of those, the ones whose every stage fits into the memory of the largest device.
pub fn fitting<'a>(cluster: &Cluster, model: &'a ModelSpec) -> Vec<Feasible<'a>> {
    let largest = largest_memory(cluster);
    seated(cluster, model).into_iter().filter(|feasible| feasible.memory() <= largest).collect()
}

/// The memory of the device that has the most.
pub fn largest_memory(cluster: &Cluster) -> Bytes {
    cluster.devices().iter().map(|device| device.memory).max().unwrap_or(Bytes::ZERO)
}

/// The speed of the fastest device; 0 without devices.
pub fn fastest(cluster: &Cluster) -> f64 {
    cluster.devices().iter().map(|device| device.speed).fold(0.0, f64::max)
}
