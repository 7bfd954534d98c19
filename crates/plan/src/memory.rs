//! Whether one more model fits a group: the published rule, and activations on top of it.
//!
//! Every device of a group must hold the largest stage of each of the group's models, and room for the largest
//! activations any of them has at the batch sizes that may run (zero where the profile has none). That is at
//! least as strict as [`Placement::check`](statmux_core::Placement::check), which counts stage by stage.

use statmux_core::{Bytes, Cluster, Group, ModelSpec, ParallelConfig};

/// What one model asks of each device of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// The weights of its largest stage.
    pub weights: Bytes,
    /// The activations of its largest stage, at the largest batch that may run.
    pub activations: Bytes,
}

impl Footprint {
    /// The footprint of `model` under `config`; `None` if its profile does not have that.
    pub fn new(model: &ModelSpec, config: ParallelConfig, max_batch: u32) -> Option<Self> {
        let profile = model.profile.config(config)?;
        let activations = profile.activations(max_batch).into_iter().max().unwrap_or(Bytes::ZERO);
        Some(Self { weights: profile.largest_stage_weight(), activations })
    }
}

/// The memory of a group's smallest device, and what its models take of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    budget: Bytes,
    weights: Bytes,
    activations: Bytes,
}

impl Room {
    /// The room on an empty group.
    pub fn new(group: &Group, cluster: &Cluster) -> Self {
        let memory = group.devices.iter().filter_map(|&device| cluster.device(device)).map(|device| device.memory);
        Self { budget: memory.min().unwrap_or(Bytes::ZERO), weights: Bytes::ZERO, activations: Bytes::ZERO }
    }

    /// The room that is taken once a model is added, whether or not it fits.
    #[must_use]
    pub fn with(self, model: Footprint) -> Self {
        Self {
            budget: self.budget,
            weights: self.weights + model.weights,
            activations: self.activations.max(model.activations),
        }
    }

    /// Whether what is taken is at most the device's memory.
    pub fn holds(&self) -> bool {
        self.taken() <= self.budget
    }

    /// Whether what is taken is less than the device's memory: the published beam search's stricter test.
    pub fn holds_strictly(&self) -> bool {
        self.taken() < self.budget
    }

    /// What is taken of each device.
    pub fn taken(&self) -> Bytes {
        self.weights + self.activations
    }

    /// What each device has.
    pub fn budget(&self) -> Bytes {
        self.budget
    }
}
