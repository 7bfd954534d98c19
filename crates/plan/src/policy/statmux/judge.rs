//! How good a placement is: simulated on pieces of traffic, and only where it differs from what is known.
//!
//! Groups that share no model do not touch each other, so a placement falls into parts; a part that was judged
//! before is not simulated again. Pieces are gone through in turn, and a placement that falls behind is given up.

use crate::bound::{Assumptions, Of, upper_bound};
use crate::evaluate::Evaluator;
use crate::problem::Problem;
use statmux_core::{Cluster, Group, ModelSpec, Placement, Share, Span, Workload};
use statmux_sim::simulate::model_slos;
use statmux_sim::tight::late::{self, LateTrack};
use statmux_sim::{SimulateError, SimulationSettings};

/// Simulates placements on the same pieces of traffic under the same settings.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    cluster: &'a Cluster,
    models: &'a [ModelSpec],
    settings: &'a SimulationSettings,
    model_slo: Vec<Span>,
    pieces: Vec<Piece<'a>>,
    floor: Option<Share>,
}

#[derive(Debug)]
struct Piece<'a> {
    workload: &'a Workload,
    requests: Vec<u64>,
    seconds: f64,
    /// Where the loop for late binding does not apply.
    evaluator: Option<Evaluator<'a>>,
}

/// What a placement came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Requests not answered in time, by piece.
    pub(super) misses: Vec<u64>,
    /// The same by model, over all pieces.
    pub(super) misses_by_model: Vec<u64>,
    /// By model: requests by which it falls short of the floor, over all pieces; all zero without a floor.
    pub(super) short_by_model: Vec<u64>,
    /// Share of the time that each group's devices compute.
    pub(super) busy: Vec<f64>,
    parts: Vec<Part>,
}

/// Groups that share models with each other and with no other group, and what they came to.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    groups: Vec<Group>,
    results: Vec<PartResult>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct PartResult {
    /// (model, requests in time).
    in_slo: Vec<(usize, u64)>,
    /// By group of the part: share of the piece that its devices compute.
    busy: Vec<f64>,
}

impl Verdict {
    /// Requests not answered in time.
    pub(super) fn total(&self) -> u64 {
        self.misses.iter().sum()
    }

    /// How good that is.
    pub(super) fn score(&self) -> Score {
        Score { short: self.short_by_model.iter().sum(), missed: self.total() }
    }
}

/// How good a placement is; smaller is better, and the floor goes before the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// Requests by which models fall short of the floor that each is promised, together; 0 without a floor.
    pub(super) short: u64,
    /// Requests not answered in time.
    pub(super) missed: u64,
}

impl Score {
    /// Whether nothing is left to be wished for.
    pub(super) fn is_perfect(self) -> bool {
        self.short == 0 && self.missed == 0
    }
}

impl<'a> Judge<'a> {
    /// A judge of placements for `problem` under `settings`, on `pieces`, with a `floor` for every model.
    pub(super) fn new(
        problem: &Problem<'a>,
        settings: &'a SimulationSettings,
        pieces: &'a [Workload],
        floor: Option<Share>,
    ) -> Self {
        let Problem { cluster, models, seed, .. } = *problem;
        let piece = |workload: &'a Workload| {
            let first = workload.arrived.first().copied().unwrap_or_default();
            let last = workload.arrived.last().copied().unwrap_or_default();
            let late = late::applies(settings, workload);
            let of_piece = Problem { cluster, models, settings, train: workload, seed };
            Piece {
                workload,
                requests: workload.counts(models.len()),
                seconds: last.since(first).seconds().max(1e-3),
                evaluator: (!late).then(|| Evaluator::new(&of_piece)),
            }
        };
        let pieces = pieces.iter().map(piece).collect();
        Self { cluster, models, settings, model_slo: model_slos(models), pieces, floor }
    }

    /// Requests of all pieces.
    pub(super) fn requests(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.workload.len() as u64).sum()
    }

    /// The attainment over all pieces that no placement and no scheduler exceed.
    pub(super) fn bound(&self) -> f64 {
        let assumptions = Assumptions {
            stage_penalty: self.settings.stage_penalty,
            fixed_overhead: self.settings.scheduler.fixed_overhead.seconds(),
            max_batch: self.settings.scheduler.max_batch,
        };
        let of_piece = |piece: &Piece<'_>| {
            upper_bound(self.cluster, self.models, piece.workload, &assumptions, Of::StayingPlacements).in_slo
        };
        let in_slo: f64 = self.pieces.iter().map(of_piece).sum();
        if self.pieces.is_empty() { 1.0 } else { (in_slo / self.requests() as f64).min(1.0) }
    }

    /// By model: requests by which it falls short of the floor.
    fn short(&self, misses_by_model: &[u64]) -> Vec<u64> {
        let Some(floor) = self.floor else { return vec![0; misses_by_model.len()] };
        let short = |(model, &missed): (usize, &u64)| {
            let requests = self.pieces.iter().map(|piece| piece.requests[model]).sum::<u64>();
            floor.short(requests, requests - missed)
        };
        misses_by_model.iter().enumerate().map(short).collect()
    }

    /// Judges `placement` to the end.
    pub(super) fn full(&self, placement: &Placement) -> Result<Verdict, SimulateError> {
        Ok(self.judge(placement, &[], |_| u64::MAX)?.expect("nothing is given up"))
    }

    /// Judges `placement`. Parts are taken over from `known`; what has missed more than `allowed` requests by the
    /// end of some piece (all up to it counted) is given up.
    pub(super) fn judge(
        &self,
        placement: &Placement,
        known: &[&Verdict],
        allowed: impl Fn(usize) -> u64,
    ) -> Result<Option<Verdict>, SimulateError> {
        let indices = parts(placement, self.models.len());
        let mut parts = Vec::with_capacity(indices.len());
        let mut reused = Vec::with_capacity(indices.len());
        for part in &indices {
            let groups: Vec<Group> = part.iter().map(|&index| placement.groups[index].clone()).collect();
            let same = known.iter().flat_map(|verdict| &verdict.parts).find(|part| part.groups == groups);
            reused.push(same.map(|part| part.results.as_slice()));
            parts.push(Part { groups, results: Vec::with_capacity(self.pieces.len()) });
        }
        let mut tracks: Vec<Option<LateTrack>> = Vec::with_capacity(parts.len());
        tracks.resize_with(parts.len(), || None);
        let mut misses: Vec<u64> = Vec::with_capacity(self.pieces.len());
        for (number, piece) in self.pieces.iter().enumerate() {
            let mut missed = piece.workload.len() as u64;
            for ((part, reused), track) in parts.iter_mut().zip(&reused).zip(&mut tracks) {
                let result = match reused {
                    Some(results) => results[number].clone(),
                    None => self.simulate(&part.groups, piece, track)?,
                };
                missed -= result.in_slo.iter().map(|(_, count)| count).sum::<u64>();
                part.results.push(result);
            }
            misses.push(missed);
            if misses.iter().sum::<u64>() > allowed(number) {
                return Ok(None);
            }
        }
        let mut misses_by_model = vec![0; self.models.len()];
        for piece in &self.pieces {
            misses_by_model.iter_mut().zip(&piece.requests).for_each(|(sum, count)| *sum += count);
        }
        let mut busy = vec![0.0; placement.groups.len()];
        for (part, indices) in parts.iter().zip(&indices) {
            for result in &part.results {
                result.in_slo.iter().for_each(|&(model, count)| misses_by_model[model] -= count);
                indices.iter().zip(&result.busy).for_each(|(&group, share)| busy[group] += share);
            }
        }
        busy.iter_mut().for_each(|share| *share /= self.pieces.len() as f64);
        let short_by_model = self.short(&misses_by_model);
        Ok(Some(Verdict { misses, misses_by_model, short_by_model, busy, parts }))
    }

    fn simulate(
        &self,
        groups: &[Group],
        piece: &Piece<'_>,
        track: &mut Option<LateTrack>,
    ) -> Result<PartResult, SimulateError> {
        let placement = || Placement { groups: groups.to_vec() };
        let mut held: Vec<usize> = groups.iter().flat_map(|group| &group.models).map(|model| model.index()).collect();
        held.sort_unstable();
        held.dedup();
        let (in_slo, busy) = match &piece.evaluator {
            Some(evaluator) => {
                let tally = evaluator.evaluate(&placement())?.tally;
                // Which of its models a group ran is not told: shares of all requests do.
                let all = tally.dispatched.iter().sum::<u64>().max(1) as f64;
                let busy = tally.dispatched.iter().map(|&count| count as f64 / all).collect();
                (tally.in_slo, busy)
            }
            None => {
                if track.is_none() {
                    *track = Some(LateTrack::new(&placement(), self.cluster, self.models, self.settings)?);
                }
                let track = track.as_ref().expect("it was just made");
                let counts = track.counts(piece.workload, &self.model_slo);
                let share =
                    |(busy, group): (&Span, &Group)| busy.seconds() / f64::from(group.config.pp) / piece.seconds;
                (counts.in_slo, counts.busy.iter().zip(groups).map(share).collect())
            }
        };
        Ok(PartResult { in_slo: held.into_iter().map(|model| (model, in_slo[model])).collect(), busy })
    }
}

/// The parts of a placement, as positions of groups in increasing order; idle groups are parts of their own.
fn parts(placement: &Placement, models: usize) -> Vec<Vec<usize>> {
    let mut root: Vec<usize> = (0..placement.groups.len()).collect();
    fn find(root: &mut [usize], mut at: usize) -> usize {
        while root[at] != at {
            root[at] = root[root[at]];
            at = root[at];
        }
        at
    }
    let mut first: Vec<Option<usize>> = vec![None; models];
    for (index, group) in placement.groups.iter().enumerate() {
        for model in &group.models {
            match first[model.index()] {
                None => first[model.index()] = Some(index),
                Some(other) => {
                    let (a, b) = (find(&mut root, other), find(&mut root, index));
                    root[a.max(b)] = a.min(b);
                }
            }
        }
    }
    let mut parts: Vec<Vec<usize>> = vec![Vec::new(); placement.groups.len()];
    for index in 0..placement.groups.len() {
        parts[find(&mut root, index)].push(index);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::{ModelId, ParallelConfig};

    #[test]
    fn groups_that_share_models_make_a_part() {
        let group = |models: &[u32]| Group {
            devices: Vec::new(),
            config: ParallelConfig::SINGLE,
            models: models.iter().copied().map(ModelId).collect(),
        };
        let placement = Placement { groups: [&[0, 1][..], &[2], &[], &[1, 3], &[3], &[2]].map(group).to_vec() };
        assert_eq!(parts(&placement, 4), [vec![0, 3, 4], vec![1, 5], vec![2]]);
    }
}
