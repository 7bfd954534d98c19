//! How a group of devices shares the work of a model.

use std::fmt;

/// How a group splits a model: into `pp` stages, each over `op` devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParallelConfig {
    /// Intra-operator (tensor) degree: devices per stage.
    pub op: u32,
    /// Pipeline stages.
    pub pp: u32,
}

impl ParallelConfig {
    /// One device, one stage: no parallelism.
    pub const SINGLE: Self = Self { op: 1, pp: 1 };

    /// `op` devices per stage, `pp` stages.
    pub const fn new(op: u32, pp: u32) -> Self {
        Self { op, pp }
    }

    /// Devices in a group of this shape.
    pub const fn devices(self) -> u32 {
        self.op * self.pp
    }
}

impl fmt::Display for ParallelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op {} x pp {}", self.op, self.pp)
    }
}
