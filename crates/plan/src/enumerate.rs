//! Group sizes and parallel configurations worth trying.

use statmux_core::{Cluster, DeviceId, Group, ParallelConfig, Placement};

/// All devices of a cluster, in order.
pub fn all_devices(cluster: &Cluster) -> Vec<DeviceId> {
    (0..cluster.len()).map(DeviceId::from_index).collect()
}

/// As many empty groups of this configuration as `devices` make, in order; what is left over stays unused.
pub fn equal_groups(devices: &[DeviceId], config: ParallelConfig) -> Vec<Group> {
    let group = |devices: &[DeviceId]| Group { devices: devices.to_vec(), config, models: Vec::new() };
    devices.chunks_exact((config.devices() as usize).max(1)).map(group).collect()
}

/// Empty pipelines of 1, 2, 4, … stages, smallest first, that use all of `devices`: one for each bit of their
/// number.
pub fn pipelines_by_bits(mut devices: &[DeviceId]) -> Vec<Group> {
    let mut groups = Vec::new();
    for bit in 0..usize::BITS {
        if devices.len() & (1 << bit) != 0 {
            let (these, rest) = devices.split_at(1 << bit);
            groups.extend(equal_groups(these, ParallelConfig::new(1, 1 << bit)));
            devices = rest;
        }
    }
    groups
}

/// Groups of one configuration, and pipelines of what devices are left over.
pub fn groups_and_leftover(devices: &[DeviceId], config: ParallelConfig) -> Vec<Group> {
    let size = (config.devices() as usize).max(1);
    let (main, left) = devices.split_at(devices.len() / size * size);
    let mut groups = equal_groups(main, config);
    groups.extend(pipelines_by_bits(left));
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

/// Hands the devices to the groups in order, if that makes no difference but to the eye: all devices are alike
/// and all groups have the same size. (The search sorts groups, and each takes its devices along.)
pub fn in_device_order(mut placement: Placement, cluster: &Cluster) -> Placement {
    let alike =
        cluster.devices().windows(2).all(|pair| pair[0].memory == pair[1].memory && pair[0].speed == pair[1].speed);
    let one_size = placement.groups.windows(2).all(|pair| pair[0].devices.len() == pair[1].devices.len());
    if alike && one_size {
        let mut devices: Vec<DeviceId> = placement.groups.iter().flat_map(|group| group.devices.clone()).collect();
        devices.sort_unstable();
        let mut devices = devices.into_iter();
        for group in &mut placement.groups {
            group.devices = devices.by_ref().take(group.devices.len()).collect();
        }
    }
    placement
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let devices: Vec<_> = (0..7).map(DeviceId).collect();
        let groups = groups_and_leftover(&devices, ParallelConfig::new(2, 2));
        let sizes: Vec<_> = groups.iter().map(|group| (group.config.op, group.config.pp)).collect();
        assert_eq!(sizes, [(2, 2), (1, 1), (1, 2)]);
        assert_eq!(groups.into_iter().flat_map(|group| group.devices).collect::<Vec<_>>(), devices);
    }
}
