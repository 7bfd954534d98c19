//! What no plan can exceed, whatever finds it.

use crate::scenario::Scenario;
use statmux_core::Workload;
use statmux_plan::bound::{Assumptions, Of, fewest_devices, upper_bound};
use statmux_plan::policy::find;

/// What the bound that is reported is of, unless a policy replaces models while requests arrive.
pub const BOUND_OF: Of = Of::StayingPlacements;

/// What plans of the policy `name` are held to.
pub fn bounded(name: &str) -> Of {
    if find(name).is_some_and(|info| info.replaces) { Of::AnyPlacements } else { BOUND_OF }
}

impl Scenario {
    /// The upper bound on attainment for `workload`: what no plan exceeds that stays loaded, under any scheduler. Every
    /// command reports this one.
    pub fn bound(&self, workload: &Workload) -> f64 {
        self.bound_of(workload, BOUND_OF)
    }

    /// The same for other plans.
    pub fn bound_of(&self, workload: &Workload, of: Of) -> f64 {
        let assumptions = Assumptions::any_batch(&self.simulation);
        upper_bound(&self.cluster, &self.models, workload, &assumptions, of).attainment
    }

    /// The fewest devices for which [`bound`](Self::bound) reaches `target` on `workload`, and so what no plan can do
    /// with fewer.
    pub fn bound_devices(&self, workload: &Workload, target: f64) -> Option<u32> {
        let assumptions = Assumptions::any_batch(&self.simulation);
        fewest_devices(&self.cluster, &self.models, workload, &assumptions, BOUND_OF, target)
    }

    /// The bound for plans that replace models while requests arrive, if any of the policies `names` makes such plans.
    pub fn bound_replacing<'n>(&self, workload: &Workload, mut names: impl Iterator<Item = &'n str>) -> Option<f64> {
        names.any(|name| bounded(name) == Of::AnyPlacements).then(|| self.bound_of(workload, Of::AnyPlacements))
    }
}
