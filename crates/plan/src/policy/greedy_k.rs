//! Pipelines of one given length, filled by the fast greedy (`mp-greedy`).

use super::fast_greedy::fast_greedy;
use super::{Parameter, Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::{all_devices, equal_groups};
use statmux_core::ParallelConfig;

/// All groups are pipelines of `group_size` stages; devices that are left over stay unused, as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GreedyK {
    /// Stages, and devices, of every group.
    pub group_size: u32,
}

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "greedy-k",
    about: "pipelines of one given length; models chosen by simulation",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: &[Parameter { key: "group_size", about: "stages, and devices, of every group (4)" }],
    build: |parameters| Box::new(GreedyK { group_size: parameters.group_size.unwrap_or(4) }),
};

impl Policy for GreedyK {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, .. } = *search;
        search.needs(self.name(), self.group_size as usize, || "for one group".to_owned())?;
        let config = ParallelConfig::new(1, self.group_size);
        let groups = equal_groups(problem.cluster, &all_devices(problem.cluster), config);
        let found = fast_greedy(search, groups, &search.all_models())?;
        search.report(&format!("groups of {config}"), &found.score);
        Ok(search.plan(found.placement))
    }
}
