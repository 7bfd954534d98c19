//! Models that nobody serves, and why: what an attainment over all requests does not show.

use crate::Scene;
use crate::feasible::{fastest, fitting, largest_memory, seated};
use crate::memory::{Footprint, Room};
use statmux_core::files::{ResultsFile, UnservedModel};
use statmux_core::{Group, Placement, PlacementWindows};

/// Why a model is not served, the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// The cluster has no room for any configuration of its profile.
    NoProfile,
    /// Its weights fit into no device under any configuration.
    Memory,
    /// No configuration is fast enough for its SLO.
    Deadline,
    /// It could be served, but has no replica.
    Policy,
    /// Its replicas are all where it is too slow.
    Placement,
    /// Its replicas are fast enough, but others were served.
    Load,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::NoProfile => "no_profile",
            Self::Memory => "memory",
            Self::Deadline => "deadline",
            Self::Policy => "policy",
            Self::Placement => "placement",
            Self::Load => "load",
        }
    }
}

/// The models of `results` that have no replica, or requests of which none was answered in time; those with the most
/// requests first.
pub fn unserved(scene: &Scene<'_, PlacementWindows>, results: &ResultsFile) -> Vec<UnservedModel> {
    let mut unserved: Vec<(usize, UnservedModel)> = Vec::new();
    for (index, result) in results.models.iter().enumerate() {
        let missed_all = result.requests > 0 && result.served_in_slo == 0;
        if result.replicas > 0 && !missed_all {
            continue;
        }
        let (reason, detail) = reason(scene, index, result.replicas);
        let name = result.name.clone();
        let (requests, replicas, reason) = (result.requests, result.replicas, reason.name().to_owned());
        unserved.push((index, UnservedModel { name, requests, replicas, reason, detail }));
    }
    unserved.sort_by(|(a, x), (b, y)| y.requests.cmp(&x.requests).then(a.cmp(b)));
    unserved.into_iter().map(|(_, model)| model).collect()
}

fn reason(scene: &Scene<'_, PlacementWindows>, model: usize, replicas: u32) -> (Reason, String) {
    let Scene { cluster, settings, .. } = *scene;
    let spec = &scene.models[model];
    let profile = &spec.profile.name;
    let seated = seated(cluster, spec);
    if seated.is_empty() {
        let smallest = spec.profile.configs().map(|(config, _)| config).min_by_key(|config| config.devices());
        let needs = smallest.map_or_else(String::new, |config| format!("; the smallest is {config}"));
        let (devices, node) = (cluster.len(), cluster.largest_node());
        let what =
            format!("no configuration of profile \"{profile}\" has room on {devices} devices, {node} to a machine");
        return (Reason::NoProfile, what + &needs);
    }
    let fitting = fitting(cluster, spec);
    let Some(least) = seated.iter().map(|feasible| (feasible.memory(), feasible.config)).min() else {
        unreachable!("some configuration is seated")
    };
    if fitting.is_empty() {
        let (needed, config) = least;
        let memory = largest_memory(cluster);
        return (Reason::Memory, format!("a device needs {needed} for it at least (as {config}) and has {memory}"));
    }
    let overhead = settings.scheduler.fixed_overhead.seconds();
    let alone = |feasible: &crate::feasible::Feasible<'_>| {
        feasible.latency(settings.stage_penalty, fastest(cluster)) + overhead
    };
    let quickest = fitting.iter().map(alone).fold(f64::INFINITY, f64::min);
    let slo = longest_slo(scene, model);
    if quickest > slo {
        return (Reason::Deadline, format!("it takes {} alone at best, its SLO is {}", ms(quickest), ms(slo)));
    }
    if replicas == 0 {
        return (Reason::Policy, left_out(scene, model));
    }
    let groups = scene.placement.0.iter().flat_map(|window| &window.placement.groups);
    let holders = groups.filter(|group| group.models.iter().any(|held| held.index() == model));
    let here = holders.filter_map(|group| {
        let stages = group.stage_seconds(cluster, spec, settings.stage_penalty, 1)?;
        Some((stages.iter().sum::<f64>() + overhead, group.config))
    });
    match here.min_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((latency, config)) if latency > slo => {
            let what = format!("it takes {} where it is ({config}), its SLO is {}", ms(latency), ms(slo));
            (Reason::Placement, format!("{what}; alone it could take {}", ms(quickest)))
        }
        _ => (Reason::Load, "its replicas are fast enough when idle, but were busy with other requests".to_owned()),
    }
}

/// The longest SLO of any request to `model`, in seconds.
fn longest_slo(scene: &Scene<'_, PlacementWindows>, model: usize) -> f64 {
    let seconds = |span: statmux_core::Span| {
        if span == statmux_core::Span::MAX { f64::INFINITY } else { span.seconds() }
    };
    let own = scene.workload.slo.iter().zip(&scene.workload.model).filter(|(_, of)| of.index() == model);
    let own = own.map(|(&slo, _)| seconds(slo)).max_by(f64::total_cmp);
    own.unwrap_or_else(|| scene.models[model].slo_seconds().unwrap_or(f64::INFINITY))
}

/// What the policy had for a model that it gave no replica.
fn left_out(scene: &Scene<'_, PlacementWindows>, model: usize) -> String {
    let placement = |window: &statmux_core::Window| room_for(scene, &window.placement, model);
    let Some(first) = scene.placement.0.first() else { return "nothing is placed".to_owned() };
    match placement(first) {
        Some(group) => format!("the policy left it out, though group {group} has room for it"),
        None if first.placement.devices() < scene.cluster.len() => {
            let idle = scene.cluster.len() - first.placement.devices();
            format!("the policy left it out; {idle} devices are in no group")
        }
        None => "the policy gave the memory to others".to_owned(),
    }
}

/// The first group that has room for `model`.
fn room_for(scene: &Scene<'_, PlacementWindows>, placement: &Placement, model: usize) -> Option<usize> {
    let max_batch = scene.settings.scheduler.max_batch.max(1);
    let footprint = |group: &Group, model: usize| Footprint::new(&scene.models[model], group.config, max_batch);
    let fits = |group: &&Group| {
        let held = group.models.iter().filter_map(|held| footprint(group, held.index()));
        let room = held.fold(Room::new(group, scene.cluster), Room::with);
        footprint(group, model).is_some_and(|footprint| room.with(footprint).holds())
    };
    placement.groups.iter().enumerate().find(|(_, group)| fits(group)).map(|(index, _)| index)
}

fn ms(seconds: f64) -> String {
    if seconds.is_finite() { format!("{:.1} ms", 1e3 * seconds) } else { "unlimited".to_owned() }
}
