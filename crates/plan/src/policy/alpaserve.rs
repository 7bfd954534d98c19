//! AlpaServe's search with all models in one bucket (`mp-search` in its code).
//!
//! Every group size that is a power of two, and every way to cut a group into stages and shards, is filled by
//! the fast greedy; the first best score wins. Devices that are left over form pipelines of their own.

use super::fast_greedy::{Found, fast_greedy};
use super::{Parameter, Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::{all_devices, configurations, groups_and_leftover};
use crate::parameters::Parameters;
use rayon::prelude::*;
use statmux_core::{DeviceId, ModelId};

/// The largest configurations that are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alpaserve {
    /// The most stages of a group.
    pub max_pp: u32,
    /// The most devices a stage is split over.
    pub max_op: u32,
}

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter { key: "max_pp", about: "the most stages of a group (8)" },
    Parameter { key: "max_op", about: "the most devices a stage is split over (4)" },
];

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "alpaserve",
    about: "tries every group size and way to cut models, fills each by simulation; all models in one bucket",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: PARAMETERS,
    build: |parameters| Box::new(Alpaserve::new(parameters)),
};

impl Alpaserve {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self { max_pp: parameters.max_pp.unwrap_or(8), max_op: parameters.max_op.unwrap_or(4) }
    }

    /// The best placement of `candidates` on `devices`; `None` without any configuration to try.
    pub(super) fn search(
        &self,
        search: &Search<'_>,
        devices: &[DeviceId],
        candidates: &[ModelId],
    ) -> Result<Option<Found>, PlanError> {
        // A stage does not go beyond a node.
        let max_op = self.max_op.min(search.problem.cluster.largest_node() as u32);
        let configs = configurations(devices.len(), self.max_pp, max_op);
        let fill = |&config| {
            let found = fast_greedy(search, groups_and_leftover(search.problem.cluster, devices, config), candidates)?;
            search.report(&format!("groups of {config} on {} devices", devices.len()), &found.score);
            Ok(found)
        };
        // Collected by position before comparison, so that the first best does not depend on threads.
        let found: Vec<Result<Found, PlanError>> = configs.par_iter().with_max_len(1).map(fill).collect();
        let mut best: Option<Found> = None;
        for found in found {
            let found = found?;
            if best.as_ref().is_none_or(|best| found.score.published() > best.score.published()) {
                best = Some(found);
            }
        }
        Ok(best)
    }
}

impl Policy for Alpaserve {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, .. } = *search;
        let models = search.all_models();
        let found = self.search(search, &all_devices(problem.cluster), &models)?;
        let placement = found.map(|found| found.placement).unwrap_or_default();
        Ok(search.plan(placement))
    }
}
