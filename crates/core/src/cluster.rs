//! What hardware there is.

use crate::ids::DeviceId;
use crate::links::Links;
use crate::parallel::ParallelConfig;
use crate::units::Bytes;
use std::collections::BTreeMap;

/// The devices to plan for, in order of their ids, and how they are linked.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    devices: Vec<Device>,
    links: Links,
    /// Devices of a full node: how the cluster would grow.
    node_size: usize,
    /// How many nodes there are, by their number of devices.
    nodes_by_size: BTreeMap<usize, usize>,
}

/// One accelerator.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// The memory that weights (and activations, where the profile states them) may use.
    pub memory: Bytes,
    /// The machine it sits in: the devices of a pipeline stage share one.
    pub node: u32,
    /// Its speed as a multiple of the profiled device's: 2 halves every stage time.
    pub speed: f64,
}

impl Cluster {
    /// A cluster of the given devices, the first with id 0, whose links cost nothing.
    pub fn new(devices: Vec<Device>) -> Self {
        let nodes_by_size = nodes_by_size(&devices);
        let node_size = nodes_by_size.keys().next_back().copied().unwrap_or(1);
        Self { devices, links: Links::FREE, node_size, nodes_by_size }
    }

    /// `devices` equal devices, `per_node` to a machine, whose links cost nothing.
    pub fn uniform(devices: u32, per_node: u32, memory: Bytes) -> Self {
        let per_node = per_node.max(1);
        let device = |i| Device { memory, node: i / per_node, speed: 1.0 };
        Self { node_size: per_node as usize, ..Self::new((0..devices).map(device).collect()) }
    }

    /// The same devices linked by `links`.
    #[must_use]
    pub fn with_links(self, links: Links) -> Self {
        Self { links, ..self }
    }

    /// The first `devices` devices; where there are fewer, more like the last, in nodes as large as the largest.
    #[must_use]
    pub fn resized(&self, devices: u32) -> Self {
        let mut resized = self.devices.clone();
        resized.truncate(devices as usize);
        while let Some(last) = resized.last().filter(|_| resized.len() < devices as usize) {
            let filled = resized.iter().rev().take_while(|device| device.node == last.node).count();
            let node = if filled < self.node_size { last.node } else { last.node + 1 };
            let more = if filled < self.node_size { self.node_size - filled } else { self.node_size };
            let more = more.min(devices as usize - resized.len());
            let device = Device { node, ..last.clone() };
            resized.extend(std::iter::repeat_n(device, more));
        }
        Self { links: self.links, node_size: self.node_size, ..Self::new(resized) }
    }

    /// All devices, in order of their ids.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// What it costs to get from device to device.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there is no device at all.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The device with this id, if it exists.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.get(id.index())
    }

    /// The node that a device sits in; `None` for one that does not exist.
    pub fn node(&self, id: DeviceId) -> Option<u32> {
        self.device(id).map(|device| device.node)
    }

    /// The smallest memory of any device: what a planner that treats devices as equal may use.
    pub fn smallest_memory(&self) -> Bytes {
        self.devices.iter().map(|device| device.memory).min().unwrap_or(Bytes::ZERO)
    }

    /// How many devices a full node has, which a cluster of fewer devices may not show.
    pub fn node_size(&self) -> usize {
        self.node_size
    }

    /// How many devices the largest node has: no stage can be split over more.
    pub fn largest_node(&self) -> usize {
        self.nodes_by_size.keys().next_back().copied().unwrap_or(0)
    }

    /// Whether a group of `config` has room on the empty cluster, every stage within a node.
    pub fn seats(&self, config: ParallelConfig) -> bool {
        let op = (config.op as usize).max(1);
        self.nodes_by_size.iter().map(|(devices, nodes)| devices / op * nodes).sum::<usize>() >= config.pp as usize
    }

    /// Takes the devices of a group of `config` out of `free`, every stage within a node: all of one node where one
    /// has enough (the one with the least to spare), else of as few nodes as possible. `None`, and nothing taken, if
    /// no choice has every stage within a node.
    pub fn seat(&self, free: &mut Vec<DeviceId>, config: ParallelConfig) -> Option<Vec<DeviceId>> {
        let (op, size) = (config.op as usize, config.devices() as usize);
        let mut by_node: BTreeMap<u32, Vec<DeviceId>> = BTreeMap::new();
        for &device in free.iter() {
            by_node.entry(self.node(device)?).or_default().push(device);
        }
        let snug = by_node.values().filter(|devices| devices.len() >= size).min_by_key(|devices| devices.len());
        let taken: Vec<DeviceId> = match snug {
            Some(devices) => devices[..size].to_vec(),
            None => {
                let mut nodes: Vec<&Vec<DeviceId>> = by_node.values().collect();
                nodes.sort_by_key(|devices| std::cmp::Reverse(devices.len() / op));
                let stages = nodes.into_iter().flat_map(|devices| devices.chunks_exact(op));
                stages.take(config.pp as usize).flatten().copied().collect()
            }
        };
        if taken.len() < size {
            return None;
        }
        free.retain(|device| !taken.contains(device));
        Some(taken)
    }
}

fn nodes_by_size(devices: &[Device]) -> BTreeMap<usize, usize> {
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    for device in devices {
        *sizes.entry(device.node).or_default() += 1;
    }
    let mut nodes = BTreeMap::new();
    for size in sizes.into_values() {
        *nodes.entry(size).or_default() += 1;
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u32]) -> Vec<DeviceId> {
        ids.iter().copied().map(DeviceId).collect()
    }

    #[test]
    fn a_resized_cluster_is_one_that_was_made_so() {
        for (per_node, from, to) in [(8, 4, 13), (8, 13, 4), (3, 7, 7), (3, 9, 10), (1, 1, 5), (4, 6, 0)] {
            let memory = Bytes::new(9);
            let (from, to) =
                (Cluster::uniform(from, per_node, memory).resized(to), Cluster::uniform(to, per_node, memory));
            assert_eq!(from, to);
        }
    }

    #[test]
    fn groups_are_seated_with_every_stage_within_a_node() {
        let cluster = Cluster::uniform(11, 4, Bytes::new(1));
        let check = |free: &[u32], (op, pp), expected: Option<&[u32]>| {
            let mut left = ids(free);
            let seated = cluster.seat(&mut left, ParallelConfig::new(op, pp));
            assert_eq!(seated, expected.map(ids), "{free:?} for {op} x {pp}");
            assert_eq!(left.len() + seated.map_or(0, |seated| seated.len()), free.len());
        };
        // The node with the least to spare.
        check(&[0, 1, 2, 3, 4, 5, 8, 9, 10], (2, 1), Some(&[4, 5]));
        check(&[3, 4, 5, 6, 7], (1, 1), Some(&[3]));
        check(&[2, 3, 4, 5], (4, 1), None);
        check(&[1, 2, 3, 5, 6], (2, 2), Some(&[1, 2, 5, 6]));
        check(&[3, 7, 8, 9], (1, 4), Some(&[8, 9, 3, 7]));
        check(&[3, 7, 8], (1, 4), None);
        assert!(cluster.seats(ParallelConfig::new(4, 2)) && !cluster.seats(ParallelConfig::new(4, 3)));
        assert!(cluster.seats(ParallelConfig::new(1, 11)) && !cluster.seats(ParallelConfig::new(5, 1)));
    }
}
