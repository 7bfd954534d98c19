//! Remarks on a placement: what a careful reader would notice, as plain sentences.

use crate::problem::Problem;
use statmux_core::{Bytes, Cluster, Group, ModelSpec, Placement, PlacementWindows};

/// A device with less than this share of its memory free is called nearly full.
const NEARLY_FULL: f64 = 0.02;

/// Lists longer than this are cut short.
const NAMES: usize = 5;

/// What is worth knowing of `windows`: idle devices, models without replica, lone replicas, memory near the limit.
///
/// Of several windows, only models that have requests but never a replica are remarked on.
pub fn remarks(problem: &Problem<'_>, windows: &PlacementWindows) -> Vec<String> {
    match windows.0.as_slice() {
        [window] => {
            let placement = &window.placement;
            let remarks = [
                unused_devices(problem, placement),
                idle_groups(placement),
                without_replica(problem, windows),
                lone_replicas(problem, placement),
                nearly_full(problem, placement),
            ];
            remarks.into_iter().flatten().collect()
        }
        _ => without_replica(problem, windows).into_iter().collect(),
    }
}

/// What is assumed of hops between stages, if any group of `windows` that holds a model pays for one.
pub fn hops(cluster: &Cluster, models: &[ModelSpec], windows: &PlacementWindows) -> Option<String> {
    let links = cluster.links();
    let costs = |group: &Group, stage: usize| {
        let between = group.hops_between_nodes(stage, cluster);
        (!links.hop(between).is_free()).then_some(between)
    };
    let (mut groups, mut between, mut within, mut unknown) = (0, false, false, false);
    for group in windows.0.iter().flat_map(|window| &window.placement.groups) {
        let hops: Vec<bool> = (1..group.config.pp as usize).filter_map(|next| costs(group, next - 1)).collect();
        if hops.is_empty() || group.models.is_empty() {
            continue;
        }
        groups += 1;
        between |= hops.contains(&true);
        within |= hops.contains(&false);
        let profiles = group.models.iter().filter_map(|model| models[model.index()].profile.config(group.config));
        unknown |= profiles.into_iter().any(|profile| profile.stage_activations.is_empty());
    }
    if groups == 0 {
        return None;
    }
    let mut kinds = Vec::new();
    if within {
        kinds.push(format!("{} within a machine", links.within_node));
    }
    if between {
        kinds.push(format!("{} between machines", links.between_nodes));
    }
    let whose = if links.stated { "as [cluster.links] says" } else { "the default of [cluster.links]" };
    let mut note = format!(
        "Hops between the stages of {} take {} ({whose})",
        count(groups, "group", "groups"),
        kinds.join(" and ")
    );
    if unknown {
        note.push_str(&format!("; profiles without activation sizes are taken to send {} a request", links.activation));
    }
    Some(note + ".")
}

fn unused_devices(problem: &Problem<'_>, placement: &Placement) -> Option<String> {
    let unused = problem.cluster.len().saturating_sub(placement.devices());
    (unused > 0).then(|| format!("{} in no group.", count(unused, "device is", "devices are")))
}

fn idle_groups(placement: &Placement) -> Option<String> {
    let idle: Vec<&Group> = placement.groups.iter().filter(|group| group.models.is_empty()).collect();
    let devices: usize = idle.iter().map(|group| group.devices.len()).sum();
    let groups = count(idle.len(), "group holds", "groups hold");
    (!idle.is_empty()).then(|| format!("{groups} no model: {} idle.", count(devices, "device is", "devices are")))
}

fn without_replica(problem: &Problem<'_>, windows: &PlacementWindows) -> Option<String> {
    let mut held = vec![false; problem.models.len()];
    for group in windows.0.iter().flat_map(|window| &window.placement.groups) {
        for model in &group.models {
            held[model.index()] = true;
        }
    }
    let requests = problem.train.counts(problem.models.len());
    let without: Vec<usize> = (0..held.len()).filter(|&index| !held[index]).collect();
    if without.is_empty() {
        return None;
    }
    let refused: u64 = without.iter().map(|&index| requests[index]).sum();
    let share = refused as f64 / problem.train.len().max(1) as f64 * 100.0;
    let names: Vec<&str> = without.iter().map(|&index| problem.models[index].name.as_str()).collect();
    let have = if names.len() == 1 { "has" } else { "have" };
    Some(if refused == 0 {
        format!("{} {have} no replica, and no requests in the train window.", list(&names))
    } else {
        format!(
            "{} {have} no replica: {refused} requests of the train window ({share:.1} %) are refused.",
            list(&names)
        )
    })
}

fn lone_replicas(problem: &Problem<'_>, placement: &Placement) -> Option<String> {
    let holders = placement.holders(problem.models.len());
    let lone = holders.iter().filter(|groups| groups.len() == 1).count();
    let held = holders.iter().filter(|groups| !groups.is_empty()).count();
    (lone > 0 && placement.groups.len() > 1).then(|| {
        format!(
            "{lone} of {} a single replica: losing its group stops them.",
            count(held, "placed model has", "placed models have")
        )
    })
}

fn nearly_full(problem: &Problem<'_>, placement: &Placement) -> Option<String> {
    let mut fullest: Option<(f64, usize, Bytes)> = None;
    for (index, group) in placement.groups.iter().enumerate() {
        for (stage, needed) in group.stage_memory(problem.models, problem.max_batch())?.into_iter().enumerate() {
            let devices = group.stage_devices(stage).iter().filter_map(|&device| problem.cluster.device(device));
            let memory = devices.map(|device| device.memory).min()?;
            let free = 1.0 - needed.get() as f64 / memory.get().max(1) as f64;
            if fullest.is_none_or(|(least, ..)| free < least) {
                fullest = Some((free, index, memory.saturating_sub(needed)));
            }
        }
    }
    let (free, group, left) = fullest.filter(|&(free, ..)| free < NEARLY_FULL)?;
    Some(format!(
        "Memory is nearly full: a device of group {group} has {left} ({:.1} %) left for all that is not weights.",
        free * 100.0
    ))
}

/// "1 device is", "2 devices are".
fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// "a", "a and b", "a, b and 3 more".
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] if names.len() < NAMES => format!("{} and {last}", names.join(", ")),
        _ => format!("{} and {} more", names[..NAMES - 1].join(", "), names.len() - NAMES + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_short() {
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list(&["a", "b", "c", "d", "e"]), "a, b, c, d and e");
        assert_eq!(list(&["a", "b", "c", "d", "e", "f"]), "a, b, c, d and 2 more");
    }
}
