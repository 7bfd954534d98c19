//! Which devices form groups, how each group is parallelised, and which models it holds.
//!
//! A placement is an immutable value: planners propose it, [`Placement::check`] says whether it can be
//! carried out, simulator and server carry it out with no choices left.

use crate::cluster::Cluster;
use crate::ids::{DeviceId, GroupId, ModelId};
use crate::model::ModelSpec;
use crate::parallel::ParallelConfig;
use crate::units::{Bytes, Time};
use std::collections::BTreeMap;

/// A set of devices that act as one pipeline, and the models loaded on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Its devices: the first `op` are stage 0, the next `op` stage 1, and so on.
    pub devices: Vec<DeviceId>,
    /// How each model is split.
    pub config: ParallelConfig,
    /// The models it holds a replica of, in increasing order, each once.
    pub models: Vec<ModelId>,
}

/// Groups of devices and the replicas on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The groups, in order of their ids.
    pub groups: Vec<Group>,
}

/// A placement and when it takes effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Requests that arrive strictly later than this use it (the first window serves all before the second).
    pub starts: Time,
    /// What is loaded where.
    pub placement: Placement,
}

/// A placement that may change over time: one window unless a policy re-places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementWindows(pub Vec<Window>);

/// Why a placement cannot be carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    #[error("group {} ({config}) needs {} devices but lists {listed}", .group.0, .config.devices())]
    #[allow(missing_docs)]
    WrongSize { group: GroupId, config: ParallelConfig, listed: usize },
    #[error("group {} uses device {}, but the cluster has {available} devices (0 to {})", .group.0, .device.0, .available.saturating_sub(1))]
    #[allow(missing_docs)]
    NoSuchDevice { group: GroupId, device: DeviceId, available: usize },
    #[error("device {} is used by group {} and again by group {}", .device.0, .first.0, .second.0)]
    #[allow(missing_docs)]
    DeviceUsedTwice { device: DeviceId, first: GroupId, second: GroupId },
    #[error("group {} ({config}) has stage {stage} on several machines (devices {}): the {} devices of a stage must share one", .group.0, .devices.iter().map(|device| device.0.to_string()).collect::<Vec<_>>().join(", "), .config.op)]
    #[allow(missing_docs)]
    StageAcrossNodes { group: GroupId, config: ParallelConfig, stage: usize, devices: Vec<DeviceId> },
    #[error("group {} lists model {model} twice", .group.0)]
    #[allow(missing_docs)]
    ModelTwice { group: GroupId, model: String },
    #[error("group {} holds {model}, whose profile \"{profile}\" has no measurement for {config}; it has {known}", .group.0)]
    #[allow(missing_docs)]
    NoProfile { group: GroupId, model: String, profile: String, config: ParallelConfig, known: String },
    #[error("group {} does not fit: a device of stage {stage} needs {needed} for weights and activations but has {memory}, {} too little", .group.0, .needed.saturating_sub(*.memory))]
    #[allow(missing_docs)]
    OutOfMemory { group: GroupId, stage: usize, needed: Bytes, memory: Bytes },
}

impl Placement {
    /// Checks that the cluster can carry this placement out: devices exist and are used once, the devices of a stage
    /// share a node, every configuration has a profile, and every device holds its part of all its group's models.
    ///
    /// A device needs the weights of its stage of every model on the group, and room for the largest
    /// activations any of them has at batch sizes up to `max_batch` (zero where the profile has none).
    pub fn check(&self, cluster: &Cluster, models: &[ModelSpec], max_batch: u32) -> Result<(), PlacementError> {
        let mut owner = BTreeMap::new();
        for (index, group) in self.groups.iter().enumerate() {
            let id = GroupId::from_index(index);
            if group.devices.len() != group.config.devices() as usize {
                return Err(PlacementError::WrongSize { group: id, config: group.config, listed: group.devices.len() });
            }
            for &device in &group.devices {
                if cluster.device(device).is_none() {
                    return Err(PlacementError::NoSuchDevice { group: id, device, available: cluster.len() });
                }
                if let Some(first) = owner.insert(device, id) {
                    return Err(PlacementError::DeviceUsedTwice { device, first, second: id });
                }
            }
            if let Some(stage) = group.stage_across_nodes(cluster) {
                let devices = group.stage_devices(stage).to_vec();
                return Err(PlacementError::StageAcrossNodes { group: id, config: group.config, stage, devices });
            }
            group.check_models(id, cluster, models, max_batch)?;
        }
        Ok(())
    }

    /// How many replicas there are over all groups.
    pub fn replicas(&self) -> usize {
        self.groups.iter().map(|group| group.models.len()).sum()
    }

    /// How many devices the groups use.
    pub fn devices(&self) -> usize {
        self.groups.iter().map(|group| group.devices.len()).sum()
    }

    /// For each of `models` models, the groups that hold it, in increasing order.
    pub fn holders(&self, models: usize) -> Vec<Vec<GroupId>> {
        let mut holders = vec![Vec::new(); models];
        for (index, group) in self.groups.iter().enumerate() {
            for model in &group.models {
                holders[model.index()].push(GroupId::from_index(index));
            }
        }
        holders
    }
}

impl Group {
    /// The memory each stage's devices need: weights of all models, and the largest activations of any.
    ///
    /// `None` if a model has no profile for this group's configuration.
    pub fn stage_memory(&self, models: &[ModelSpec], max_batch: u32) -> Option<Vec<Bytes>> {
        let stages = self.config.pp as usize;
        let mut weights = vec![Bytes::ZERO; stages];
        let mut activations = vec![Bytes::ZERO; stages];
        for model in &self.models {
            let config = models[model.index()].profile.config(self.config)?;
            for (sum, &stage) in weights.iter_mut().zip(&config.stage_weights) {
                *sum += stage;
            }
            for (peak, stage) in activations.iter_mut().zip(config.activations(max_batch)) {
                *peak = (*peak).max(stage);
            }
        }
        Some(weights.into_iter().zip(activations).map(|(weights, activations)| weights + activations).collect())
    }

    /// The devices of stage `stage`.
    pub fn stage_devices(&self, stage: usize) -> &[DeviceId] {
        let op = self.config.op as usize;
        &self.devices[stage * op..(stage + 1) * op]
    }

    /// The speed of stage `stage`: that of its slowest device.
    pub fn stage_speed(&self, stage: usize, cluster: &Cluster) -> f64 {
        let speeds = self.stage_devices(stage).iter().filter_map(|&device| cluster.device(device));
        let slowest = speeds.map(|device| device.speed).fold(f64::INFINITY, f64::min);
        if slowest.is_finite() { slowest } else { 1.0 }
    }

    /// The first stage whose devices sit in more than one node, if any does.
    pub fn stage_across_nodes(&self, cluster: &Cluster) -> Option<usize> {
        let split = |&stage: &usize| {
            let devices = self.stage_devices(stage);
            devices.iter().any(|&device| cluster.node(device) != cluster.node(devices[0]))
        };
        (0..self.config.pp as usize).find(split)
    }

    /// Whether the hop from stage `stage` to the next leads to another node; `false` for the last stage.
    pub fn hops_between_nodes(&self, stage: usize, cluster: &Cluster) -> bool {
        let node = |stage: usize| cluster.node(self.stage_devices(stage)[0]);
        stage + 1 < self.config.pp as usize && node(stage) != node(stage + 1)
    }

    /// Seconds on each stage for a batch of `batch` requests to `model`: the profile's, stretched by
    /// `1 + stage_penalty * pp` and divided by the stage's speed, and what the hop to the next stage takes by the
    /// cluster's links. `None` if that was not measured.
    pub fn stage_seconds(
        &self,
        cluster: &Cluster,
        model: &ModelSpec,
        stage_penalty: f64,
        batch: u32,
    ) -> Option<Vec<f64>> {
        let penalty = 1.0 + stage_penalty * f64::from(self.config.pp);
        let profile = model.profile.config(self.config)?;
        let seconds = profile.stage_seconds.get(&batch)?;
        let stage_seconds = seconds.iter().enumerate().map(|(stage, s)| s * penalty / self.stage_speed(stage, cluster));
        let mut stage_seconds: Vec<f64> = stage_seconds.collect();
        let links = cluster.links();
        if !links.are_free() {
            for (stage, seconds) in stage_seconds.iter_mut().enumerate().take(self.config.pp as usize - 1) {
                let assumed = links.activation.get() as f64 * f64::from(batch);
                let bytes = profile.sent_bytes(stage, batch).unwrap_or(assumed);
                *seconds += links.hop(self.hops_between_nodes(stage, cluster)).seconds(bytes);
            }
        }
        Some(stage_seconds)
    }

    fn check_models(
        &self,
        id: GroupId,
        cluster: &Cluster,
        models: &[ModelSpec],
        max_batch: u32,
    ) -> Result<(), PlacementError> {
        for (position, model) in self.models.iter().enumerate() {
            let spec = &models[model.index()];
            if self.models[..position].contains(model) {
                return Err(PlacementError::ModelTwice { group: id, model: spec.name.clone() });
            }
            if spec.profile.config(self.config).is_none() {
                let known: Vec<_> = spec.profile.configs().map(|(config, _)| config.to_string()).collect();
                return Err(PlacementError::NoProfile {
                    group: id,
                    model: spec.name.clone(),
                    profile: spec.profile.name.clone(),
                    config: self.config,
                    known: known.join(", "),
                });
            }
        }
        let needed = self.stage_memory(models, max_batch).expect("every model has a profile: checked above");
        for (stage, needed) in needed.into_iter().enumerate() {
            let memory = self.stage_devices(stage).iter().map(|&device| cluster.devices()[device.index()].memory).min();
            let memory = memory.unwrap_or(Bytes::ZERO);
            if needed > memory {
                return Err(PlacementError::OutOfMemory { group: id, stage, needed, memory });
            }
        }
        Ok(())
    }
}

impl PlacementWindows {
    /// One placement for the whole run.
    pub fn fixed(placement: Placement) -> Self {
        Self(vec![Window { starts: Time::ZERO, placement }])
    }

    /// The most devices any window uses.
    pub fn devices(&self) -> usize {
        self.0.iter().map(|window| window.placement.devices()).max().unwrap_or(0)
    }
}
