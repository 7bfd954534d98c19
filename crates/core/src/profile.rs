//! Stage times and memory of models, by parallel configuration and batch size.
//!
//! Latencies are kept as the seconds the file gave: the scheduler rounds them to nanoseconds once,
//! and the peer's arithmetic rounds them to single precision once, each from the same number.

use crate::parallel::ParallelConfig;
use crate::units::{Bytes, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Measurements of a set of models on one kind of device.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The kind of device measured.
    pub device: String,
    /// Whether the numbers were measured, fitted, assumed or published, and where they are from.
    pub provenance: String,
    /// One entry per architecture.
    pub models: BTreeMap<String, Arc<ModelProfile>>,
}

/// Time and memory of one model under every configuration that was measured.
#[derive(Clone, Debug, Default)]
pub struct ModelProfile {
    /// The architecture's name in the profile file.
    pub name: String,
    /// What is known of the origin of these numbers: the provenance of the file they came from.
    pub provenance: String,
    configs: BTreeMap<ParallelConfig, ConfigProfile>,
    /// By configuration: the first layer of each stage but the first.
    cuts: BTreeMap<ParallelConfig, Vec<usize>>,
    /// The length of the texts measured, if known.
    tokens: Option<u32>,
}

/// Time and memory of one model under one parallel configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigProfile {
    /// Seconds per stage, by batch size; batch size 1 is always there.
    pub stage_seconds: BTreeMap<u32, Vec<f64>>,
    /// Weights per device of each stage.
    pub stage_weights: Vec<Bytes>,
    /// Activations per device of each stage, by batch size; empty when not measured.
    pub stage_activations: BTreeMap<u32, Vec<Bytes>>,
}

impl ModelProfile {
    /// A profile of the architecture `name` with the given configurations.
    pub fn new(
        name: impl Into<String>,
        provenance: impl Into<String>,
        configs: BTreeMap<ParallelConfig, ConfigProfile>,
    ) -> Self {
        Self { name: name.into(), provenance: provenance.into(), configs, cuts: BTreeMap::new(), tokens: None }
    }

    /// The same profile with another word on where its numbers are from.
    pub fn with_provenance(self, provenance: impl Into<String>) -> Self {
        Self { provenance: provenance.into(), ..self }
    }

    /// The same profile, of stages that begin at the given layers: for each configuration, the first layer of each
    /// stage but the first.
    pub fn with_cuts(self, cuts: BTreeMap<ParallelConfig, Vec<usize>>) -> Self {
        Self { cuts, ..self }
    }

    /// The same profile, measured with texts of so many tokens (prompts, for decoders).
    pub fn with_tokens(self, tokens: Option<u32>) -> Self {
        Self { tokens, ..self }
    }

    /// How many tokens the texts had that were measured, prompts for decoders; unknown where the profile does not say.
    pub fn tokens(&self) -> Option<u32> {
        self.tokens
    }

    /// Where the model was cut when it was measured, by configuration; a server must cut it likewise. Configurations
    /// that are not there were cut as the backend does by itself.
    pub fn cuts(&self) -> &BTreeMap<ParallelConfig, Vec<usize>> {
        &self.cuts
    }

    /// The measurements under `config`, if it was measured.
    pub fn config(&self, config: ParallelConfig) -> Option<&ConfigProfile> {
        self.configs.get(&config)
    }

    /// Every measured configuration, in order of `op`, then `pp`.
    pub fn configs(&self) -> impl Iterator<Item = (ParallelConfig, &ConfigProfile)> {
        self.configs.iter().map(|(&config, profile)| (config, profile))
    }

    /// Latency alone on one device at batch size 1, in seconds: what SLO scales multiply.
    pub fn single_device_seconds(&self) -> Option<f64> {
        self.config(ParallelConfig::SINGLE)?.stage_seconds.get(&1).map(|stages| stages.iter().sum())
    }
}

impl ConfigProfile {
    /// The batch sizes measured, smallest first.
    pub fn batch_sizes(&self) -> impl Iterator<Item = u32> {
        self.stage_seconds.keys().copied()
    }

    /// Per-stage latencies at `batch`, each stretched by `factor` and rounded to nanoseconds.
    pub fn stage_spans(&self, batch: u32, factor: f64) -> Option<Vec<Span>> {
        let seconds = self.stage_seconds.get(&batch)?;
        seconds.iter().map(|&stage| Span::from_seconds(stage * factor)).collect()
    }

    /// What each device of a group must hold for this model: the largest stage's weights.
    pub fn largest_stage_weight(&self) -> Bytes {
        self.stage_weights.iter().copied().max().unwrap_or(Bytes::ZERO)
    }

    /// Bytes that each device of stage `stage` hands on for a batch of `batch` requests: its activations, in
    /// proportion where that batch size was not measured. `None` where no activations were.
    pub fn sent_bytes(&self, stage: usize, batch: u32) -> Option<f64> {
        let below = self.stage_activations.range(..=batch).next_back();
        let (&size, stages) = below.or_else(|| self.stage_activations.iter().next())?;
        Some(stages.get(stage)?.get() as f64 * f64::from(batch) / f64::from(size))
    }

    /// Activation memory of each stage at the largest batch size up to `max_batch`; zero where not measured.
    pub fn activations(&self, max_batch: u32) -> Vec<Bytes> {
        let stages = self.stage_weights.len();
        let mut peak = vec![Bytes::ZERO; stages];
        for sizes in self.stage_activations.range(..=max_batch).map(|(_, sizes)| sizes) {
            for (peak, &size) in peak.iter_mut().zip(sizes) {
                *peak = (*peak).max(size);
            }
        }
        peak
    }
}
