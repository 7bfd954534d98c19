//! Selective replication: every device by itself, models chosen by the fast greedy (`sr-greedy`).

use super::fast_greedy::{Found, fast_greedy};
use super::{Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::{all_devices, equal_groups};
use statmux_core::ParallelConfig;

/// No parallelism: replicas only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectiveReplication;

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "selective-replication",
    about: "every device by itself; replicas of the models that need them most, chosen by simulation",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: &[],
    build: |_| Box::new(SelectiveReplication),
};

impl SelectiveReplication {
    pub(super) fn search(self, search: &Search<'_>) -> Result<Found, PlanError> {
        let cluster = search.problem.cluster;
        let groups = equal_groups(cluster, &all_devices(cluster), ParallelConfig::SINGLE);
        fast_greedy(search, groups, &search.all_models())
    }
}

impl Policy for SelectiveReplication {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let found = self.search(search)?;
        search.report("one-device groups", &found.score);
        Ok(search.plan(found.placement))
    }
}
