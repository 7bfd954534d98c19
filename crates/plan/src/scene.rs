//! A placement and all that it is judged in: what is explained, and where reasons are looked for.

use statmux_core::{Cluster, ModelSpec, Placement, Workload};
use statmux_sim::SimulationSettings;

/// A placement at work. `P` is a [`Placement`] that stays from beginning to end, or
/// [`PlacementWindows`](statmux_core::PlacementWindows) that take turns.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a, P = Placement> {
    /// The devices.
    pub cluster: &'a Cluster,
    /// The models, by id.
    pub models: &'a [ModelSpec],
    /// How it is simulated.
    pub settings: &'a SimulationSettings,
    /// What arrives.
    pub workload: &'a Workload,
    /// What is loaded where.
    pub placement: &'a P,
}
