//! Why requests miss under a placement, and which single changes would have saved them.
//!
//! Start with [`Scene`] (what is looked at), [`Explanation`] (who misses, when and why) and [`remedies`] (what
//! would help). [`losses`] answers what is lost with each group.
//!
//! **Invariant:** every figure is the count of a simulation; nothing is estimated.

mod cause;
mod remedy;

pub use cause::{Cause, Explanation, ModelMisses};
pub use remedy::{Change, Remedy, losses, remedies, without};

use crate::Scene;
use statmux_core::{Outcome, PlacementWindows};
use statmux_sim::{SimulateError, simulate};

impl Scene<'_> {
    fn outcomes(&self) -> Result<Vec<Outcome>, SimulateError> {
        let windows = PlacementWindows::fixed(self.placement.clone());
        simulate(self.cluster, self.models, &windows, self.workload, self.settings).map(|run| run.outcomes)
    }

    /// How many requests miss their SLO.
    fn missed(&self) -> Result<u64, SimulateError> {
        Ok(self.outcomes()?.iter().filter(|outcome| !outcome.in_slo()).count() as u64)
    }
}
