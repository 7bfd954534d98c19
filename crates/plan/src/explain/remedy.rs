//! Single changes, each tried by simulation: what it would have saved, and what a lost group would cost.

use super::Explanation;
use super::cause::fits;
use crate::Scene;
use crate::memory::{Footprint, Room};
use rayon::prelude::*;
use statmux_core::{
    Cluster, DeviceId, Group, GroupId, ModelId, ModelSpec, ParallelConfig, Placement, Slo, Span, Workload,
};
use statmux_sched::{Admission, AnyDiscipline, Dispatch};
use statmux_sim::SimulateError;

/// How much longer the SLOs are made.
const LONGER: f64 = 1.3;

/// How many of the models that miss most are given another replica.
const MODELS: usize = 8;

/// A change to a running system.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Other scheduling rules; costs nothing.
    Scheduling {
        /// Which group takes a request.
        dispatch: Dispatch,
        /// In what order a group runs them.
        discipline: AnyDiscipline,
    },
    /// One more replica, in memory that is free.
    Replica {
        /// Of this model.
        model: ModelId,
        /// On this group.
        group: GroupId,
    },
    /// One more device like the first, as a group of its own.
    Device {
        /// The models it holds.
        models: Vec<ModelId>,
    },
    /// Every SLO multiplied by this factor.
    LongerSlo(f64),
}

/// A change and what it would have left.
#[derive(Clone, Debug, PartialEq)]
pub struct Remedy {
    /// What is changed.
    pub change: Change,
    /// Requests that miss all the same.
    pub missed: u64,
}

/// The best change of each kind, those that leave the fewest misses first; only changes that help.
pub fn remedies(scene: &Scene<'_>, explanation: &Explanation) -> Result<Vec<Remedy>, SimulateError> {
    let kinds = [schedulings(scene), replicas(scene, explanation), devices(scene, explanation), longer_slos()];
    let mut best = Vec::new();
    for changes in kinds {
        let tried: Vec<_> = changes.par_iter().map(|change| missed_with(scene, change)).collect();
        let mut left: Option<Remedy> = None;
        for (change, missed) in changes.into_iter().zip(tried) {
            let missed = missed?;
            if missed < left.as_ref().map_or(explanation.missed(), |remedy| remedy.missed) {
                left = Some(Remedy { change, missed });
            }
        }
        best.extend(left);
    }
    best.sort_by_key(|remedy| remedy.missed);
    Ok(best)
}

/// Misses if each group in turn were lost from the beginning, by group.
pub fn losses(scene: &Scene<'_>) -> Result<Vec<u64>, SimulateError> {
    let lost = |group: &Group| Scene { placement: &without(scene.placement, &group.devices), ..*scene }.missed();
    let losses: Vec<_> = scene.placement.groups.par_iter().map(lost).collect();
    losses.into_iter().collect()
}

/// `placement` after the loss of `devices`: groups that use any of them hold nothing any more. Ids stay.
pub fn without(placement: &Placement, devices: &[DeviceId]) -> Placement {
    let mut left = placement.clone();
    for group in left.groups.iter_mut().filter(|group| group.devices.iter().any(|device| devices.contains(device))) {
        group.models.clear();
    }
    left
}

fn missed_with(scene: &Scene<'_>, change: &Change) -> Result<u64, SimulateError> {
    match change {
        Change::Scheduling { dispatch, discipline } => {
            let mut settings = scene.settings.clone();
            settings.scheduler.dispatch = *dispatch;
            settings.scheduler.discipline = *discipline;
            Scene { settings: &settings, ..*scene }.missed()
        }
        Change::Replica { model, group } => {
            let mut placement = scene.placement.clone();
            let models = &mut placement.groups[group.index()].models;
            models.push(*model);
            models.sort_unstable();
            Scene { placement: &placement, ..*scene }.missed()
        }
        Change::Device { models } => {
            let cluster = with_device(scene.cluster);
            let mut placement = scene.placement.clone();
            placement.groups.push(extra_group(scene.cluster, models.clone()));
            Scene { cluster: &cluster, placement: &placement, ..*scene }.missed()
        }
        Change::LongerSlo(factor) => {
            let models: Vec<ModelSpec> = scene.models.iter().map(|model| longer(model, *factor)).collect();
            let slo = scene.workload.slo.iter().map(|&slo| stretched(slo, *factor)).collect();
            let workload = Workload { slo, ..scene.workload.clone() };
            Scene { models: &models, workload: &workload, ..*scene }.missed()
        }
    }
}

fn schedulings(scene: &Scene<'_>) -> Vec<Change> {
    let now = &scene.settings.scheduler;
    // Without admission, waiting requests are never given up, and comparing rules says little.
    if now.admission == Admission::None {
        return Vec::new();
    }
    let all = Dispatch::ALL.into_iter().flat_map(|dispatch| AnyDiscipline::ALL.map(|order| (dispatch, order)));
    let other = all.filter(|&rules| rules != (now.dispatch, now.discipline));
    other.map(|(dispatch, discipline)| Change::Scheduling { dispatch, discipline }).collect()
}

fn replicas(scene: &Scene<'_>, explanation: &Explanation) -> Vec<Change> {
    let groups = &scene.placement.groups;
    let most_missed = explanation.models.iter().take(MODELS).map(|misses| misses.model);
    let additions = most_missed.flat_map(|model| {
        let takes = move |&group: &usize| !groups[group].models.contains(&model) && fits(scene, group, model);
        (0..groups.len()).filter(takes).map(move |group| Change::Replica { model, group: GroupId(group as u32) })
    });
    additions.collect()
}

/// One more device: with as many of the models that miss most as it holds, and with the first of them alone.
fn devices(scene: &Scene<'_>, explanation: &Explanation) -> Vec<Change> {
    let max_batch = scene.settings.scheduler.max_batch.max(1);
    let cluster = with_device(scene.cluster);
    let mut taken = Room::new(&extra_group(scene.cluster, Vec::new()), &cluster);
    let mut held = Vec::new();
    for misses in &explanation.models {
        let model = &scene.models[misses.model.index()];
        let Some(footprint) = Footprint::new(model, ParallelConfig::SINGLE, max_batch) else { continue };
        if taken.with(footprint).holds() {
            taken = taken.with(footprint);
            held.push(misses.model);
        }
    }
    let prefixes = (1..=held.len().min(MODELS)).map(|count| {
        let mut models = held[..count].to_vec();
        models.sort_unstable();
        Change::Device { models }
    });
    prefixes.collect()
}

fn longer_slos() -> Vec<Change> {
    vec![Change::LongerSlo(LONGER)]
}

fn with_device(cluster: &Cluster) -> Cluster {
    let mut devices = cluster.devices().to_vec();
    devices.extend(devices.first().cloned());
    Cluster::new(devices).with_links(*cluster.links())
}

fn extra_group(cluster: &Cluster, models: Vec<ModelId>) -> Group {
    Group { devices: vec![DeviceId(cluster.len() as u32)], config: ParallelConfig::SINGLE, models }
}

fn longer(model: &ModelSpec, factor: f64) -> ModelSpec {
    let slo = match model.slo {
        Slo::None => Slo::None,
        Slo::Latency(span) => Slo::Latency(stretched(span, factor)),
        Slo::Scale(scale) => Slo::Scale(scale * factor),
    };
    ModelSpec { slo, ..model.clone() }
}

fn stretched(span: Span, factor: f64) -> Span {
    if span == Span::MAX { span } else { Span::from_seconds(span.seconds() * factor).unwrap_or(Span::MAX) }
}
