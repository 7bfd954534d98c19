//! Selective replication by beam search over single additions (`sr-search`).
//!
//! The original algorithm behind the fast greedy: it simulates every possible addition, which is far slower.

use super::fast_greedy::Found;
use super::filling::Filling;
use super::{Parameter, Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::{all_devices, equal_groups, in_device_order};
use statmux_core::{ModelId, ParallelConfig};
use std::collections::BTreeSet;

/// Every device by itself. Each round tries every model on every group of every placement in the beam (groups
/// in the outer loop, models in the inner one), drops what was seen before, and keeps the best; equal scores
/// favour what was tried later. The best placement ever scored is returned; equal scores favour the earlier.
///
/// As published, a model fits if less than the device's memory is taken: a device is never filled to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beam {
    /// How many placements are kept each round.
    pub width: usize,
    /// Rounds begin only while fewer placements than this were simulated.
    pub budget: u64,
}

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "selective-replication-beam",
    about: "every device by itself; replicas chosen by beam search, simulating every possible addition: slow",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: &[
        Parameter { key: "beam", about: "placements kept each round (3)" },
        Parameter { key: "budget", about: "no round begins after this many simulations (no limit)" },
    ],
    build: |parameters| {
        let width = parameters.beam.unwrap_or(3) as usize;
        Box::new(Beam { width, budget: parameters.budget.unwrap_or(u64::MAX) })
    },
};

impl Beam {
    fn search(&self, search: &Search<'_>) -> Result<Option<Found>, PlanError> {
        let cluster = search.problem.cluster;
        let groups = equal_groups(cluster, &all_devices(cluster), ParallelConfig::SINGLE);
        let mut beam = vec![Filling::new(search.problem, groups)];
        let mut seen = BTreeSet::new();
        let mut best: Option<Found> = None;
        while search.evaluator.evaluations() < self.budget && !search.progress.stop() {
            let next: Vec<Filling> = beam
                .iter()
                .flat_map(|filling| additions(filling, &search.all_models()))
                .filter(|filling| seen.insert(in_device_order(filling.placement(), search.problem.cluster).groups))
                .collect();
            if next.is_empty() {
                break;
            }
            let placements: Vec<_> = next.iter().map(Filling::placement).collect();
            let evaluations = search.evaluator.evaluate_all(&placements)?;
            let mut order: Vec<usize> = (0..next.len()).collect();
            let score = |index: usize| evaluations[index].score.published();
            order.sort_by(|&a, &b| score(a).total_cmp(&score(b)));
            order.reverse();
            order.truncate(self.width);
            let top = order[0];
            if best.as_ref().is_none_or(|best| score(top) > best.score.published()) {
                best = Some(Found { placement: placements[top].clone(), score: evaluations[top].score });
            }
            search.report(&format!("{} replicas", placements[top].replicas()), &evaluations[top].score);
            beam = order.into_iter().map(|index| next[index].clone()).collect();
        }
        Ok(best)
    }
}

/// Every placement that holds one replica more than `filling`.
fn additions(filling: &Filling, models: &[ModelId]) -> Vec<Filling> {
    let mut additions = Vec::new();
    for group in 0..filling.groups() {
        for &model in models.iter().filter(|&&model| filling.fits_strictly(group, model)) {
            let mut addition = filling.clone();
            addition.add(group, model);
            additions.push(addition);
        }
    }
    additions
}

impl Policy for Beam {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, .. } = *search;
        let found = self.search(search)?;
        let groups = || equal_groups(problem.cluster, &all_devices(problem.cluster), ParallelConfig::SINGLE);
        let empty = || Filling::new(problem, groups()).placement();
        Ok(search.plan(found.map_or_else(empty, |found| found.placement)))
    }
}
