//! Choosing models for given groups by simulating once a round: AlpaServe's fast greedy.
//!
//! A round simulates the placement so far, goes through the groups from the one with the fewest dispatched
//! requests and through the models from the one with the most unserved requests, and adds the first model that
//! is new to the group and fits. Rounds end when nothing fits. Unlike the original, which returns the last
//! placement, the best one on the way is returned by the published score; the last, where scores tie.

use super::filling::Filling;
use super::{PlanError, Search};
use crate::evaluate::{Evaluation, Score};
use statmux_core::{Group, ModelId, Placement};

/// The best placement a search has seen.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) placement: Placement,
    pub(super) score: Score,
}

/// Fills `groups` with models out of `candidates` (in increasing order).
pub(super) fn fast_greedy(search: &Search<'_>, groups: Vec<Group>, candidates: &[ModelId]) -> Result<Found, PlanError> {
    let mut filling = Filling::new(search.problem, groups);
    let mut best: Option<Found> = None;
    loop {
        let placement = filling.placement();
        let Evaluation { tally, score } = search.evaluator.evaluate(&placement)?;
        let groups = argsort(&tally.dispatched);
        let unserved: Vec<f64> =
            candidates.iter().map(|m| unserved(tally.requests[m.index()], tally.in_slo[m.index()])).collect();
        let models: Vec<ModelId> = argsort(&unserved).into_iter().rev().map(|index| candidates[index]).collect();
        if best.as_ref().is_none_or(|best| score.published() >= best.score.published()) {
            best = Some(Found { placement, score });
        }
        let pair = groups
            .into_iter()
            .find_map(|group| models.iter().find(|&&model| filling.fits(group, model)).map(|&model| (group, model)));
        match pair {
            Some((group, model)) if !search.progress.stop() => filling.add(group, model),
            _ => return Ok(best.expect("every round leaves a best placement")),
        }
    }
}

/// The published count of unserved requests. The small constant keeps models without requests from dividing by
/// zero; it also gives fully served models about 1e-6 unserved requests with rounding noise, and that noise
/// orders them, so the operations stand in the published order.
fn unserved(requests: u64, in_slo: u64) -> f64 {
    let requests = requests as f64;
    let goodput = in_slo as f64 / (requests + 1e-6);
    requests * (1.0 - goodput)
}

/// The positions of `values` from the smallest to the largest; equal values keep their order.
fn argsort<T: PartialOrd>(values: &[T]) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..values.len()).collect();
    positions.sort_by(|&a, &b| values[a].partial_cmp(&values[b]).expect("counts are numbers"));
    positions
}
