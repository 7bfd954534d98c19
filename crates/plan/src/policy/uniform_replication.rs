//! Every model on as many devices, in a fixed pattern (`sr-uniform`).

use super::filling::Filling;
use super::{Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::{all_devices, equal_groups};
use crate::memory::Footprint;
use statmux_core::{Bytes, ModelId, ParallelConfig};

/// Device `i` holds models `i`, `i + 1`, … (counted around), as many as copies of model 0 fit. With fewer
/// devices than models some get no replica.
///
/// The published rule is meant for models of one size. Here a model of the pattern that does not fit beside
/// those before it is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniformReplication;

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "uniform-replication",
    about: "device i holds models i, i+1, …, as many as fit; simulates nothing",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: &[],
    build: |_| Box::new(UniformReplication),
};

impl Policy for UniformReplication {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, .. } = *search;
        let devices = all_devices(problem.cluster);
        let mut filling = Filling::new(problem, equal_groups(problem.cluster, &devices, ParallelConfig::SINGLE));
        let models = problem.models.len();
        let first = problem.models.first().and_then(|m| Footprint::new(m, ParallelConfig::SINGLE, problem.max_batch()));
        for (group, device) in problem.cluster.devices().iter().enumerate() {
            let copies = first.map_or(0, |first| copies(first, device.memory)).min(models as u64) as usize;
            for model in (group..group + copies).map(|position| ModelId::from_index(position % models)) {
                if filling.fits(group, model) {
                    filling.add_in_place(group, model);
                }
            }
        }
        Ok(search.plan(filling.placement()))
    }
}

/// How many copies of a model `memory` holds.
fn copies(model: Footprint, memory: Bytes) -> u64 {
    let weights = memory.saturating_sub(model.activations).get();
    weights.checked_div(model.weights.get()).unwrap_or(u64::MAX)
}
