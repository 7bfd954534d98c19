//! What a scenario may say, but hardly means: named, with the numbers that show it.

use statmux_core::{
    Bytes, Cluster, ConfigProfile, ModelProfile, ModelSpec, ParallelConfig, Profile, Span, Time, Workload,
};
use statmux_sim::SimulationSettings;
use std::collections::{BTreeMap, BTreeSet};

/// What is looked at.
pub(crate) struct Looked<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) models: &'a [ModelSpec],
    pub(crate) settings: &'a SimulationSettings,
    pub(crate) test: &'a Workload,
}

/// Weights of a whole model below this are hardly counted in bytes.
const FEW_BYTES: f64 = 65_536.0;

/// A stage outside this range of seconds is hardly measured in seconds.
const STAGE_SECONDS: std::ops::RangeInclusive<f64> = 1e-7..=1e3;

/// A batch may take so many times less than a smaller one, or more than in proportion, by bad luck of measuring.
const MUCH: f64 = 2.0;
const VERY_MUCH: f64 = 10.0;

impl Looked<'_> {
    /// One sentence for each thing that looks like a mistake.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for profile in self.profiles().values() {
            warnings.extend(of_profile(profile));
        }
        warnings.extend(self.too_large());
        warnings.extend(self.too_slow());
        warnings.extend(self.own_slos());
        warnings.extend(self.late_faults());
        warnings
    }

    /// The profiles in use, by name.
    fn profiles(&self) -> BTreeMap<&str, &ModelProfile> {
        self.models.iter().map(|model| (model.profile.name.as_str(), &*model.profile)).collect()
    }

    /// Configurations of as many devices as there are.
    fn possible<'a>(&self, model: &'a ModelSpec) -> impl Iterator<Item = (ParallelConfig, &'a ConfigProfile)> {
        let devices = self.cluster.len();
        model.profile.configs().filter(move |(config, _)| config.op as usize * config.pp as usize <= devices)
    }

    /// Models that no device has room for a part of.
    fn too_large(&self) -> Vec<String> {
        let most = self.cluster.devices().iter().map(|device| device.memory).max().unwrap_or_default();
        let needs = |model: &ModelSpec| {
            let needed = self.possible(model).map(|(_, measured)| measured.largest_stage_weight()).min();
            needed.is_none_or(|needed| needed > most).then_some(needed)
        };
        self.grouped(needs, |who, needed| match needed {
            Some(needed) => {
                format!("{who} fits on no device: even split, it needs {needed} of one, and the largest has {most}")
            }
            None => format!("{who} has no profiled configuration of {} devices or fewer", self.cluster.len()),
        })
    }

    /// Models whose SLO is shorter than any configuration takes alone.
    fn too_slow(&self) -> Vec<String> {
        let late = |model: &ModelSpec| {
            let slo = model.slo_seconds().filter(|slo| slo.is_finite())?;
            let (config, seconds) = self.fastest(model)?;
            (seconds > slo).then_some((slo.to_bits(), config, seconds.to_bits()))
        };
        self.grouped(late, |who, (slo, config, seconds)| {
            let (slo, seconds) = (shown(f64::from_bits(slo)), shown(f64::from_bits(seconds)));
            format!("{who} can never meet its SLO of {slo}: at its fastest ({config}) it takes {seconds} alone")
        })
    }

    /// The configuration that serves a single request soonest, and how long that takes in seconds.
    fn fastest(&self, model: &ModelSpec) -> Option<(ParallelConfig, f64)> {
        let speed = self.cluster.devices().iter().map(|device| device.speed).fold(0.0, f64::max);
        let overhead = self.settings.scheduler.fixed_overhead.seconds();
        let alone = |(config, measured): (ParallelConfig, &ConfigProfile)| {
            let stages: f64 = measured.stage_seconds.get(&1)?.iter().sum();
            let penalty = 1.0 + self.settings.stage_penalty * f64::from(config.pp);
            Some((config, stages * penalty / speed + overhead))
        };
        self.possible(model).filter_map(alone).min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Requests whose own SLO is shorter than their model takes alone.
    fn own_slos(&self) -> Option<String> {
        if self.test.slo.is_empty() {
            return None;
        }
        let least: Vec<Span> = self
            .models
            .iter()
            .map(|model| self.fastest(model).and_then(|(_, seconds)| Span::from_seconds(seconds)).unwrap_or_default())
            .collect();
        let hopeless = |(slo, model): (&Span, &statmux_core::ModelId)| *slo < least[model.index()];
        let mut late = self.test.slo.iter().zip(&self.test.model).filter(|&pair| hopeless(pair));
        let (slo, model) = late.next()?;
        let (count, all) = (1 + late.count(), self.test.len());
        let name = &self.models[model.index()].name;
        Some(format!(
            "{count} of {all} requests can never meet their own SLO; the first is for `{name}`: {slo}, which takes {} alone",
            least[model.index()]
        ))
    }

    /// Faults after the last request.
    fn late_faults(&self) -> Vec<String> {
        let last = self.test.arrived.last().copied().unwrap_or_default();
        let ends = last.max(Time::ZERO + self.test.duration);
        let faults = self.settings.faults.iter().enumerate().filter(|(_, fault)| fault.at > ends);
        let late = |(index, fault): (usize, &statmux_sim::Fault)| {
            format!("simulation.faults[{index}] comes at {}, when requests have ended ({ends})", fault.at)
        };
        faults.map(late).collect()
    }

    /// A sentence for the models of which `what` says the same.
    fn grouped<K: PartialEq + Copy>(
        &self,
        what: impl Fn(&ModelSpec) -> Option<K>,
        sentence: impl Fn(String, K) -> String,
    ) -> Vec<String> {
        let mut groups: Vec<(K, Vec<&str>)> = Vec::new();
        for model in self.models {
            let Some(key) = what(model) else { continue };
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, names)) => names.push(&model.name),
                None => groups.push((key, vec![&model.name])),
            }
        }
        groups.into_iter().map(|(key, names)| sentence(listed(&names), key)).collect()
    }
}

/// Models in use whose profile is in several files, of which the last holds.
pub(crate) fn profiled_twice(models: &[ModelSpec], profiles: &[Profile]) -> Vec<String> {
    let used: BTreeSet<&str> = models.iter().map(|model| model.profile.name.as_str()).collect();
    let files = |name: &str| profiles.iter().filter(|profile| profile.models.contains_key(name)).count();
    let twice = used.into_iter().map(|name| (name, files(name))).filter(|&(_, files)| files > 1);
    twice
        .map(|(name, files)| format!("profile `{name}` is in {files} of the profile files; the last one's holds"))
        .collect()
}

/// What is odd about the numbers of a profile.
fn of_profile(profile: &ModelProfile) -> Vec<String> {
    let name = &profile.name;
    let mut warnings = Vec::new();
    let whole = |config: ParallelConfig, measured: &ConfigProfile| {
        measured.stage_weights.iter().map(|weight| weight.get() as f64).sum::<f64>() * f64::from(config.op)
    };
    let most = profile.configs().map(|(config, measured)| whole(config, measured)).fold(0.0, f64::max);
    for (config, measured) in profile.configs() {
        let weights = whole(config, measured);
        if weights < FEW_BYTES || weights < most / VERY_MUCH {
            let weights = Bytes::new(weights as u64);
            let than = if weights.get() as f64 >= FEW_BYTES { ", far less than in another configuration" } else { "" };
            warnings
                .push(format!("profile `{name}` ({config}): weights of {weights} in all{than}; are they in bytes?"));
        }
        let stages = measured.stage_seconds.values().flatten();
        if let Some(&odd) = stages.into_iter().find(|seconds| !STAGE_SECONDS.contains(seconds)) {
            warnings.push(format!("profile `{name}` ({config}): a stage takes {odd:e} s; is it in seconds?"));
        }
        warnings.extend(of_batches(measured).map(|what| format!("profile `{name}` ({config}): {what}")));
    }
    warnings
}

/// Batch sizes that do not fit each other.
fn of_batches(measured: &ConfigProfile) -> Option<String> {
    let total = |stages: &Vec<f64>| stages.iter().sum::<f64>();
    let sizes: Vec<(u32, f64)> = measured.stage_seconds.iter().map(|(&size, stages)| (size, total(stages))).collect();
    sizes.windows(2).find_map(|pair| {
        let [(small, quick), (large, slow)] = [pair[0], pair[1]];
        let ratio = slow / quick;
        let odd = ratio < 1.0 / MUCH || ratio > VERY_MUCH * f64::from(large) / f64::from(small);
        odd.then(|| {
            format!(
                "batch size {small} takes {} and batch size {large} takes {}; is that meant?",
                shown(quick),
                shown(slow)
            )
        })
    })
}

/// Names as the subject of a sentence in the singular: `model a`, `each of a, b and 3 more models`.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let quoted: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len() {
        1 => format!("model {}", quoted[0]),
        count if count <= SHOWN => format!("each of the models {}", quoted.join(", ")),
        count => format!("each of the models {} and {} more", quoted.join(", "), count - SHOWN),
    }
}

/// Seconds for people.
fn shown(seconds: f64) -> String {
    Span::from_seconds(seconds).map_or_else(|| format!("{seconds} s"), |span| span.to_string())
}
