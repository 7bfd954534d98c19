//! Group sizes and parallel configurations worth trying, and which devices make groups of them.
//!
//! **Invariant:** the devices of a stage share a node.

use statmux_core::{Cluster, DeviceId, Group, ParallelConfig, Placement};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// All devices of a cluster, in order.
pub fn all_devices(cluster: &Cluster) -> Vec<DeviceId> {
    (0..cluster.len()).map(DeviceId::from_index).collect()
}

/// As many empty groups of this configuration as `devices` make, in order; what is left over stays unused.
///
/// Groups are made within nodes first; stages that are left over in several nodes then make groups together.
pub fn equal_groups(cluster: &Cluster, devices: &[DeviceId], config: ParallelConfig) -> Vec<Group> {
    let (op, size) = ((config.op as usize).max(1), (config.devices() as usize).max(1));
    let group = |devices: Vec<DeviceId>| Group { devices, config, models: Vec::new() };
    let mut groups = Vec::new();
    let mut stages: Vec<&[DeviceId]> = Vec::new();
    let nodes = by_node(cluster, devices);
    for node in &nodes {
        let (whole, rest) = node.split_at(node.len() / size * size);
        groups.extend(whole.chunks_exact(size).map(|devices| group(devices.to_vec())));
        stages.extend(rest.chunks_exact(op));
    }
    groups.extend(stages.chunks_exact((config.pp as usize).max(1)).map(|stages| group(stages.concat())));
    groups.sort_by_key(|group| group.devices[0]);
    groups
}

/// `devices` by node, nodes in order of their first device.
fn by_node(cluster: &Cluster, devices: &[DeviceId]) -> Vec<Vec<DeviceId>> {
    let mut nodes: Vec<(Option<u32>, Vec<DeviceId>)> = Vec::new();
    for &device in devices {
        let node = cluster.node(device);
        match nodes.iter_mut().rev().find(|(known, _)| *known == node) {
            Some((_, devices)) => devices.push(device),
            None => nodes.push((node, vec![device])),
        }
    }
    nodes.into_iter().map(|(_, devices)| devices).collect()
}

/// Empty pipelines of 1, 2, 4, … stages, smallest first, that use all of `devices`: one for each bit of their
/// number.
fn pipelines_by_bits(mut devices: &[DeviceId]) -> Vec<Group> {
    let mut groups = Vec::new();
    for bit in 0..usize::BITS {
        if devices.len() & (1 << bit) != 0 {
            let (these, rest) = devices.split_at(1 << bit);
            let config = ParallelConfig::new(1, 1 << bit);
            groups.push(Group { devices: these.to_vec(), config, models: Vec::new() });
            devices = rest;
        }
    }
    groups
}

/// Groups of one configuration, and pipelines of what devices are left over.
pub fn groups_and_leftover(cluster: &Cluster, devices: &[DeviceId], config: ParallelConfig) -> Vec<Group> {
    let mut groups = equal_groups(cluster, devices, config);
    let used: BTreeSet<DeviceId> = groups.iter().flat_map(|group| group.devices.iter().copied()).collect();
    let left: Vec<DeviceId> = devices.iter().copied().filter(|device| !used.contains(device)).collect();
    groups.extend(pipelines_by_bits(&left));
    groups
}

/// The configurations AlpaServe's search tries for all groups of a partition, in its order: group sizes 1, 2,
/// 4, … up to `devices` (above 8, multiples of 8), and for each its pipelines from short to long.
pub fn configurations(devices: usize, max_pp: u32, max_op: u32) -> Vec<ParallelConfig> {
    let sizes = (0..u32::BITS).map(|bit| 1_u32 << bit).take_while(|&size| size as usize <= devices);
    let divisors = |size: u32| (1..=size).filter(move |pp| size.is_multiple_of(*pp));
    sizes
        .filter(|size| *size <= 8 || size.is_multiple_of(8))
        .flat_map(|size| divisors(size).map(move |pp| ParallelConfig::new(size / pp, pp)))
        .filter(|config| config.pp <= max_pp && config.op <= max_op)
        .collect()
}

/// Whether all devices have the same memory and speed, so that it does not matter which a group has.
pub fn are_alike(cluster: &Cluster) -> bool {
    cluster.devices().windows(2).all(|pair| pair[0].memory == pair[1].memory && pair[0].speed == pair[1].speed)
}

/// Hands the devices to the groups in order, if that makes no difference but to the eye: all devices are alike, and
/// groups trade theirs only with groups of the same configuration whose hops cost the same. (The search sorts groups,
/// and each takes its devices along.)
pub fn in_device_order(mut placement: Placement, cluster: &Cluster) -> Placement {
    let one_size = placement.groups.windows(2).all(|pair| pair[0].devices.len() == pair[1].devices.len());
    if !are_alike(cluster) || !one_size {
        return placement;
    }
    let kind = |group: &Group| {
        let hops = if cluster.links().are_free() { 0..0 } else { 0..group.config.pp as usize };
        (group.config, hops.map(|stage| group.hops_between_nodes(stage, cluster)).collect::<Vec<bool>>())
    };
    let mut devices: BTreeMap<_, Vec<Vec<DeviceId>>> = BTreeMap::new();
    for group in &placement.groups {
        devices.entry(kind(group)).or_default().push(group.devices.clone());
    }
    devices.values_mut().for_each(|lists| lists.sort_unstable_by(|a, b| b.cmp(a)));
    for group in &mut placement.groups {
        group.devices = devices.get_mut(&kind(group)).and_then(Vec::pop).expect("as many lists as groups");
    }
    placement
}

/// `placement` with every stage within a node, if devices are only to be traded for that: as it is where that holds
/// already, else the groups with the widest stages choose first. `None` if that leaves some group without room.
///
/// Devices must be alike.
pub fn reseated(mut placement: Placement, cluster: &Cluster) -> Option<Placement> {
    if placement.groups.iter().all(|group| group.stage_across_nodes(cluster).is_none()) {
        return Some(placement);
    }
    let mut free = all_devices(cluster);
    let mut order: Vec<usize> = (0..placement.groups.len()).collect();
    order.sort_by_key(|&index| Reverse((placement.groups[index].config.op, placement.groups[index].devices.len())));
    for index in order {
        placement.groups[index].devices = cluster.seat(&mut free, placement.groups[index].config)?;
    }
    Some(placement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::Bytes;

    #[test]
    fn configurations_come_in_the_published_order() {
        let of = |devices, max_pp, max_op| {
            let configs = configurations(devices, max_pp, max_op);
            configs.into_iter().map(|config| (config.op, config.pp)).collect::<Vec<_>>()
        };
        assert_eq!(of(4, 8, 4), [(1, 1), (2, 1), (1, 2), (4, 1), (2, 2), (1, 4)]);
        assert_eq!(of(16, 8, 4)[6..], [(4, 2), (2, 4), (1, 8), (4, 4), (2, 8)]);
        assert_eq!(of(3, 1, 1), [(1, 1)]);
        assert_eq!(of(0, 8, 4), []);
    }

    #[test]
    fn leftover_devices_make_pipelines_from_short_to_long() {
        let cluster = Cluster::uniform(7, 8, Bytes::new(1));
        let devices = all_devices(&cluster);
        let groups = groups_and_leftover(&cluster, &devices, ParallelConfig::new(2, 2));
        let sizes: Vec<_> = groups.iter().map(|group| (group.config.op, group.config.pp)).collect();
        assert_eq!(sizes, [(2, 2), (1, 1), (1, 2)]);
        assert_eq!(groups.into_iter().flat_map(|group| group.devices).collect::<Vec<_>>(), devices);
    }

    #[test]
    fn groups_are_made_within_nodes_first() {
        let cluster = Cluster::uniform(12, 6, Bytes::new(1));
        let check = |(op, pp), expected: &[&[u32]]| {
            let groups = equal_groups(&cluster, &all_devices(&cluster), ParallelConfig::new(op, pp));
            let devices = groups.iter().map(|group| group.devices.iter().map(|device| device.0).collect::<Vec<_>>());
            assert_eq!(devices.collect::<Vec<_>>(), expected, "{op} x {pp}");
        };
        check((1, 4), &[&[0, 1, 2, 3], &[4, 5, 10, 11], &[6, 7, 8, 9]]);
        check((2, 2), &[&[0, 1, 2, 3], &[4, 5, 10, 11], &[6, 7, 8, 9]]);
        check((4, 1), &[&[0, 1, 2, 3], &[6, 7, 8, 9]]);
        check((4, 2), &[&[0, 1, 2, 3, 6, 7, 8, 9]]);
        check((8, 1), &[]);
    }

    #[test]
    fn groups_whose_stages_span_nodes_are_seated_anew() {
        let cluster = Cluster::uniform(8, 4, Bytes::new(1));
        let group = |devices: &[u32], op| Group {
            devices: devices.iter().copied().map(DeviceId).collect(),
            config: ParallelConfig::new(op, devices.len() as u32 / op),
            models: Vec::new(),
        };
        let across = Placement { groups: vec![group(&[0, 1], 1), group(&[2, 3, 4, 5], 4), group(&[6, 7], 2)] };
        let anew = reseated(across, &cluster).expect("there is room");
        assert!(anew.groups.iter().all(|group| group.stage_across_nodes(&cluster).is_none()), "{anew:?}");
        let three = Placement { groups: vec![group(&[0, 1, 2], 3), group(&[3, 4, 5], 3)] };
        assert!(reseated(three, &cluster).is_some());
        let cramped = Cluster::uniform(8, 2, Bytes::new(1));
        assert_eq!(reseated(Placement { groups: vec![group(&[0, 1, 2], 3)] }, &cramped), None);
    }
}
