//! More devices never do worse on what is planned for: the better plan of fewer devices stands.
//!
//! Devices may idle, so a plan for the first few devices of a cluster is one for all of them. After the search, the
//! same search is made for fewer and fewer devices as long as the bound lets them do better, and the best of all
//! plans stands.

use super::judge::{Judge, Score};
use super::limit::Limit;
use super::{Scheduling, Statmux};
use crate::bound::{Assumptions, Of, upper_bound};
use crate::evaluate::Evaluator;
use crate::policy::{Plan, PlanError, Search};
use crate::problem::Problem;

/// With a clock, how long fewer devices are looked at, as a share of the time that the search for all took.
const SHARE_OF_SPENT: f64 = 0.2;

impl Statmux {
    /// `plan`, which was found for all devices, or a better one of fewer.
    pub(super) fn or_of_fewer(&self, search: &Search<'_>, plan: Plan, limit: &Limit<'_>) -> Result<Plan, PlanError> {
        let Search { problem, evaluator, progress } = *search;
        let all = problem.cluster.len() as u32;
        let limit = &limit.share_of_spent(SHARE_OF_SPENT);
        if self.smaller == 0 || all == 1 || limit.is_over() {
            return Ok(plan);
        }
        let mut best = (self.standing(problem, &plan)?, plan, all);
        for devices in (1..all).rev().take(self.smaller as usize) {
            let cluster = problem.cluster.resized(devices);
            let smaller = Problem { cluster: &cluster, ..*problem };
            if limit.is_over() || !could_beat(&smaller, best.0) {
                break;
            }
            let own = Evaluator::new(&smaller);
            let smaller = Search { problem: &smaller, evaluator: &own, progress };
            let (found, _) = self.search(&smaller, &limit.half_of_rest())?;
            evaluator.count(own.evaluations());
            let standing = self.standing(problem, &found)?;
            if standing < best.0 {
                best = (standing, found, devices);
            }
        }
        let (_, mut plan, devices) = best;
        if devices < all {
            // Left idle on purpose: filled, they would set a mark that the next number of devices could miss.
            plan.notes.push(format!(
                "Made for {devices} of the {all} devices: no plan found for more of them does better on the requests that \
                 were planned for. A longer search may."
            ));
        }
        plan.evaluations = evaluator.evaluations();
        Ok(plan)
    }

    /// What `plan` comes to on the requests that are planned for.
    fn standing(&self, problem: &Problem<'_>, plan: &Plan) -> Result<Score, PlanError> {
        let settings = plan.scheduling.unwrap_or_else(|| Scheduling::of(problem.settings)).apply(problem.settings);
        let placement = &plan.windows.0[0].placement;
        let judge = Judge::new(problem, &settings, std::slice::from_ref(problem.train), self.floor);
        Ok(judge.full(placement)?.score())
    }
}

/// Whether any plan for the cluster of `smaller` could do better than `standing`.
fn could_beat(smaller: &Problem<'_>, standing: Score) -> bool {
    if standing.short > 0 || standing.missed == 0 {
        return standing.short > 0;
    }
    let Problem { cluster, models, train, settings, .. } = *smaller;
    let assumptions = Assumptions::any_batch(settings);
    let most = upper_bound(cluster, models, train, &assumptions, Of::StayingPlacements).in_slo;
    most + 1e-6 >= (train.len() as u64 - standing.missed + 1) as f64
}
