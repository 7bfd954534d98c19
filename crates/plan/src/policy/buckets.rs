//! AlpaServe's search with models of similar latency apart from the others (`mp-search-sep`).
//!
//! Small models should not queue behind large ones: models are put in buckets by latency, the devices are split
//! over the buckets in every way that is promising, and each bucket is searched by itself. The best of these is
//! returned if it beats the search with all models in one bucket.

use super::alpaserve::{self, Alpaserve};
use super::fast_greedy::Found;
use super::{Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::{all_devices, are_alike, reseated};
use crate::evaluate::Evaluator;
use rayon::prelude::*;
use statmux_core::{DeviceId, ModelId, ModelSpec, Placement};
use std::collections::BTreeMap;

/// The search within each bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets(pub Alpaserve);

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "alpaserve-buckets",
    about: "as alpaserve, but models of similar latency share devices only among themselves where that is better",
    published: true,
    clairvoyant: false,
    replaces: false,
    improves: false,
    parameters: alpaserve::PARAMETERS,
    build: |parameters| Box::new(Buckets(Alpaserve::new(parameters))),
};

/// Latencies that differ by less than this share of a bucket's first belong to the bucket.
const SIMILAR: f64 = 0.38;

/// Splits of the devices are pruned until fewer than this are left.
const FEW_SPLITS: usize = 100;

/// How far a bucket's share of the throughput may be from its share of the requests, tried in turn.
const THRESHOLDS: [f64; 5] = [1.0, 0.5, 0.3, 0.2, 0.1];

/// Models of similar latency.
#[derive(Clone, Debug, PartialEq)]
struct Bucket {
    models: Vec<ModelId>,
    /// Latency of its first model on one device, in seconds.
    latency: f64,
}

/// One bucket's search: which bucket, its first device, and how many it has.
type Part = (usize, usize, usize);

impl Buckets {
    /// The best concatenation of one search per bucket, over all promising splits of the devices.
    fn separate(&self, search: &Search<'_>, buckets: &[Bucket]) -> Result<Option<Found>, PlanError> {
        let devices = all_devices(search.problem.cluster);
        let splits = promising(splits(devices.len(), buckets.len()), buckets, &search.problem.rates());
        let alike = are_alike(search.problem.cluster);
        // Where devices are alike, it matters only how many a bucket has.
        let part = |bucket: usize, first: usize, size: usize| (bucket, if alike { 0 } else { first }, size);
        let needed: BTreeMap<Part, ()> =
            splits.iter().flat_map(|split| parts(split)).map(|(b, first, size)| (part(b, first, size), ())).collect();
        let evaluators: Vec<_> = buckets.iter().map(|bucket| search.evaluator.only(&bucket.models)).collect();
        let solve = |(key, ()): (Part, ())| {
            let (bucket, first, size) = key;
            let own = Search { evaluator: &evaluators[bucket], ..*search };
            let found = self.0.search(&own, &devices[first..first + size], &buckets[bucket].models)?;
            Ok((key, found.map(|found| found.placement).unwrap_or_default()))
        };
        let solved: Vec<Result<(Part, Placement), PlanError>> = needed.into_par_iter().map(solve).collect();
        let solved: BTreeMap<Part, Placement> = solved.into_iter().collect::<Result<_, _>>()?;
        search.evaluator.count(evaluators.iter().map(Evaluator::evaluations).sum());
        let concatenate = |split: &Vec<usize>| {
            let groups = parts(split).into_iter().flat_map(|(bucket, first, size)| {
                let key = part(bucket, first, size);
                solved[&key].groups.iter().cloned().map(move |mut group| {
                    for device in &mut group.devices {
                        *device = DeviceId::from_index(device.index() + first - key.1);
                    }
                    group
                })
            });
            // Where devices are alike, a bucket's groups were made for the first of them.
            let placement = Placement { groups: groups.collect() };
            if alike { reseated(placement, search.problem.cluster) } else { Some(placement) }
        };
        let placements: Vec<_> = splits.iter().filter_map(concatenate).collect();
        let evaluations = search.evaluator.evaluate_all(&placements)?;
        let mut best: Option<Found> = None;
        for (placement, evaluation) in placements.into_iter().zip(evaluations) {
            if best.as_ref().is_none_or(|best| evaluation.score.published() > best.score.published()) {
                best = Some(Found { placement, score: evaluation.score });
            }
        }
        Ok(best)
    }
}

impl Policy for Buckets {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, progress, .. } = *search;
        let mixed = self.0.search(search, &all_devices(problem.cluster), &search.all_models())?;
        let buckets = buckets(problem.models);
        let worth_trying = buckets.len() > 1 && !progress.stop();
        let apart = if worth_trying { self.separate(search, &buckets)? } else { None };
        let better = |apart: &Found| mixed.as_ref().is_none_or(|m| apart.score.published() > m.score.published());
        let (found, how) = match apart.filter(better) {
            Some(apart) => (Some(apart), "apart"),
            None => (mixed, "together"),
        };
        let mut plan = search.plan(found.map(|found| found.placement).unwrap_or_default());
        plan.notes.push(format!("{} buckets of models of similar latency; best placed {how}.", buckets.len()));
        Ok(plan)
    }
}

/// Puts each model, in order, in the first bucket whose first model has a similar latency, else in a new one.
fn buckets(models: &[ModelSpec]) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for (index, model) in models.iter().enumerate() {
        let latency = latency(model);
        let similar = |bucket: &&mut Bucket| (latency - bucket.latency).abs() / bucket.latency < SIMILAR;
        match buckets.iter_mut().find(similar) {
            Some(bucket) => bucket.models.push(ModelId::from_index(index)),
            None => buckets.push(Bucket { models: vec![ModelId::from_index(index)], latency }),
        }
    }
    buckets
}

/// Seconds alone on one device; for a model that was never measured there, on as few devices as it was.
fn latency(model: &ModelSpec) -> f64 {
    let smallest = model.profile.configs().min_by_key(|(config, _)| config.devices());
    let fallback = || smallest.and_then(|(_, profile)| profile.stage_seconds.get(&1)).map(|s| s.iter().sum());
    model.profile.single_device_seconds().or_else(fallback).unwrap_or(1.0)
}

/// The ways to split `devices` over `buckets` with at least one each, chosen from the last bucket to the first.
/// Of `n` devices left a bucket may get `i` if `i` is at most `n mod 8`, or leaves a multiple of 8, or if `n` is
/// one.
fn splits(devices: usize, buckets: usize) -> Vec<Vec<usize>> {
    let whole_nodes = |devices: usize| devices.is_multiple_of(8);
    let allowed = |left: usize, part: usize| part <= left % 8 || whole_nodes(left - part) || whole_nodes(left);
    if buckets <= 1 {
        return if buckets == 1 && devices > 0 { vec![vec![devices]] } else { Vec::new() };
    }
    let parts = (1..devices).filter(|&part| allowed(devices, part));
    parts
        .flat_map(|part| {
            splits(devices - part, buckets - 1).into_iter().map(move |mut split| {
                split.push(part);
                split
            })
        })
        .collect()
}

/// The splits whose throughput is divided most like the requests: thresholds are lowered until few are left.
fn promising(mut splits: Vec<Vec<usize>>, buckets: &[Bucket], rates: &[f64]) -> Vec<Vec<usize>> {
    // Single precision as published.
    let rate = |bucket: &Bucket| bucket.models.iter().map(|model| rates[model.index()]).sum::<f64>() as f32;
    let rates: Vec<f32> = buckets.iter().map(rate).collect();
    let total: f32 = rates.iter().sum();
    if total == 0.0 {
        splits.truncate(FEW_SPLITS);
        return splits;
    }
    let shares: Vec<f64> = rates.iter().map(|&rate| f64::from(rate / total)).collect();
    let distance = |split: &[usize]| {
        let throughputs: Vec<f64> =
            split.iter().zip(buckets).map(|(&part, bucket)| part as f64 / bucket.latency).collect();
        let total: f64 = throughputs.iter().sum();
        let apart = throughputs.iter().zip(&shares).map(|(throughput, share)| (share - throughput / total).abs());
        apart.fold(0.0, f64::max)
    };
    for threshold in THRESHOLDS {
        if splits.len() < FEW_SPLITS {
            break;
        }
        splits.retain(|split| distance(split) < threshold);
    }
    splits
}

/// The parts of a split: bucket, first device, number of devices.
fn parts(split: &[usize]) -> Vec<Part> {
    let mut first = 0;
    let mut parts = Vec::with_capacity(split.len());
    for (bucket, &size) in split.iter().enumerate() {
        parts.push((bucket, first, size));
        first += size;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_split_as_published() {
        assert_eq!(splits(3, 2), [[2, 1], [1, 2]]);
        assert_eq!(splits(2, 3), Vec::<Vec<usize>>::new());
        // Of 11 devices the last bucket may take up to 3, or leave 8: 3 again.
        assert_eq!(splits(11, 2), [[10, 1], [9, 2], [8, 3]]);
        assert_eq!(splits(8, 2).len(), 7);
        assert_eq!(splits(5, 1), [[5]]);
    }

    #[test]
    fn many_splits_are_pruned_by_their_share_of_the_requests() {
        let bucket = |index, latency| Bucket { models: vec![ModelId(index)], latency };
        let buckets = [bucket(0, 1.0), bucket(1, 1.0), bucket(2, 2.0)];
        let all = splits(64, 3);
        assert!(all.len() >= FEW_SPLITS);
        let few = promising(all.clone(), &buckets, &[1.0, 1.0, 1.0]);
        assert!(!few.is_empty() && few.len() < FEW_SPLITS, "{}", few.len());
        assert!(few.contains(&vec![16, 16, 32]), "the fair split is among them");
        let five = splits(5, 3);
        assert_eq!(promising(five.clone(), &buckets, &[1.0, 0.0, 0.0]), five, "few splits are left alone");
    }
}
