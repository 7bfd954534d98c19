//! Why requests miss under a placement, and which single changes would have saved them.
//!
//! Start with [`Setting`] (what is looked at), [`Explanation`] (who misses, when and why) and [`remedies`] (what
//! would help). [`losses`] answers what is lost with each group.
//!
//! **Invariant:** every figure is the count of a simulation; nothing is estimated.

mod cause;
mod remedy;

pub use cause::{Cause, Explanation, ModelMisses};
pub use remedy::{Change, Remedy, losses, remedies, without};

use statmux_core::{Cluster, ModelSpec, Outcome, Placement, PlacementWindows, Workload};
use statmux_sim::{SimulateError, SimulationSettings, simulate};

/// A placement at work: what is explained.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The devices.
    pub cluster: &'a Cluster,
    /// The models, by id.
    pub models: &'a [ModelSpec],
    /// How it is simulated.
    pub settings: &'a SimulationSettings,
    /// The placement, the same from beginning to end.
    pub placement: &'a Placement,
    /// What arrives.
    pub workload: &'a Workload,
}

impl Setting<'_> {
    fn outcomes(&self) -> Result<Vec<Outcome>, SimulateError> {
        let windows = PlacementWindows::fixed(self.placement.clone());
        simulate(self.cluster, self.models, &windows, self.workload, self.settings).map(|run| run.outcomes)
    }

    /// How many requests miss their SLO.
    fn missed(&self) -> Result<u64, SimulateError> {
        Ok(self.outcomes()?.iter().filter(|outcome| !outcome.in_slo()).count() as u64)
    }
}
