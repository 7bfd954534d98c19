//! What hardware there is.

use crate::ids::DeviceId;
use crate::units::Bytes;

/// The devices to plan for, in order of their ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    devices: Vec<Device>,
}

/// One accelerator.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// The memory that weights (and activations, where the profile states them) may use.
    pub memory: Bytes,
    /// The machine it sits in: devices of one node are linked fastest.
    pub node: u32,
    /// Its speed as a multiple of the profiled device's: 2 halves every stage time.
    pub speed: f64,
}

impl Cluster {
    /// A cluster of the given devices; the first has id 0.
    pub fn new(devices: Vec<Device>) -> Self {
        Self { devices }
    }

    /// `devices` equal devices, `per_node` to a machine.
    pub fn uniform(devices: u32, per_node: u32, memory: Bytes) -> Self {
        Self::new((0..devices).map(|i| Device { memory, node: i / per_node.max(1), speed: 1.0 }).collect())
    }

    /// All devices, in order of their ids.
    pub fn devices(&self) -> &[Device] {
        &self.devices
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

    /// The smallest memory of any device: what a planner that treats devices as equal may use.
    pub fn smallest_memory(&self) -> Bytes {
        self.devices.iter().map(|device| device.memory).min().unwrap_or(Bytes::ZERO)
    }
}
