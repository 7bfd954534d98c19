//! Models dealt in turn to pipelines of four (`mp-rr`).

use super::filling::Filling;
use super::{Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::{all_devices, groups_and_leftover};
use statmux_core::ParallelConfig;

/// Pipelines of four, and shorter ones of what is left over. Models are dealt in order: a model that is new to
/// the group whose turn it is and fits is added, and it is the next group's turn. Passes over the models go on
/// until one adds nothing; dealing stops when the group whose turn it is is full, even if others are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundRobin;

/// Stages of a group, as published.
const STAGES: u32 = 4;

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "round-robin",
    about: "models dealt in turn to pipelines of four until one is full; simulates nothing",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: &[],
    build: |_| Box::new(RoundRobin),
};

impl Policy for RoundRobin {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, .. } = *search;
        let config = ParallelConfig::new(1, STAGES);
        let groups = groups_and_leftover(problem.cluster, &all_devices(problem.cluster), config);
        let mut filling = Filling::new(problem, groups);
        let models = search.all_models();
        let mut turn = 0;
        let mut added = filling.groups() > 0;
        while added {
            added = false;
            for &model in &models {
                if filling.fits(turn, model) {
                    filling.add_in_place(turn, model);
                    turn = (turn + 1) % filling.groups();
                    added = true;
                }
            }
        }
        Ok(search.plan(filling.placement()))
    }
}
