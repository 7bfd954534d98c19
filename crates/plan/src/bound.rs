//! The upper bound on attainment that no placement and no scheduler can exceed: the one definition of it.
//!
//! The argument is in `docs/bound.md`. In short: let all devices be one machine that may preempt, split and
//! foresee; charge each request the fewest device-seconds of any configuration fast enough for its SLO; allow
//! fractions of requests to count. What that machine serves in time, nothing real exceeds. Placements that stay
//! loaded serve, besides, only models that fit into memory side by side.
//!
//! **Invariant:** the bound never falls as devices are added, and [`fewest_devices`] asks [`upper_bound`] itself.

use crate::feasible::{Feasible, fastest, fitting};
use statmux_core::{Cluster, ModelSpec, Workload};
use statmux_sim::SimulationSettings;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How much of a workload can be served in time at best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Requests that can be served in time at most.
    pub in_slo: f64,
    /// The same over all requests; 1 when there are none.
    pub attainment: f64,
    /// Requests that no configuration is fast enough for that the cluster has room for, however idle the devices.
    pub impossible: u64,
}

/// What is bounded, under any scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Placements that hold for the whole of the workload: only models that have a replica are served, and all
    /// replicas together take no more memory than all devices have.
    StayingPlacements,
    /// Those, and any that load and unload models while requests arrive, at no cost.
    AnyPlacements,
}

impl Of {
    /// What is bounded, in words that follow "upper bound for".
    pub fn words(self) -> &'static str {
        match self {
            Self::StayingPlacements => "any placement that stays loaded, under any scheduler",
            Self::AnyPlacements => "any placements, replaced at no cost at any time, under any scheduler",
        }
    }
}

/// What the bound may assume of the system it bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumptions {
    /// Every stage latency is multiplied by `1 + stage_penalty * pp`.
    pub stage_penalty: f64,
    /// Added to every latency; occupies no device, so devices must be done that much earlier. In seconds.
    pub fixed_overhead: f64,
    /// The largest batch; per-request cost is that of the best batch size up to it.
    pub max_batch: u32,
}

impl Assumptions {
    /// Those of `settings`, with batches of any size that was measured: a plan may choose how many requests run
    /// together. The bound that commands report is made with these.
    pub fn any_batch(settings: &SimulationSettings) -> Self {
        Self {
            stage_penalty: settings.stage_penalty,
            fixed_overhead: settings.scheduler.fixed_overhead.seconds(),
            max_batch: u32::MAX,
        }
    }
}

/// The bound for `workload` on `cluster`.
pub fn upper_bound(
    cluster: &Cluster,
    models: &[ModelSpec],
    workload: &Workload,
    assumptions: &Assumptions,
    of: Of,
) -> Bound {
    let configs: Vec<Vec<Feasible<'_>>> = models.iter().map(|model| fitting(cluster, model)).collect();
    let fluid = fluid_bound(cluster, models, &configs, workload, assumptions);
    let in_slo = match of {
        Of::AnyPlacements => fluid.in_slo,
        Of::StayingPlacements => fluid.in_slo.min(most_held(cluster, &configs, workload)),
    };
    let requests = workload.len();
    let attainment = if requests == 0 { 1.0 } else { (in_slo / requests as f64).min(1.0) };
    Bound { in_slo, attainment, ..fluid }
}

/// The fewest devices for which the bound reaches `target`, the cluster being [resized](Cluster::resized): no
/// placement on fewer can reach it. `None` if no number of devices up to a million does.
pub fn fewest_devices(
    cluster: &Cluster,
    models: &[ModelSpec],
    workload: &Workload,
    assumptions: &Assumptions,
    of: Of,
    target: f64,
) -> Option<u32> {
    const MOST: u32 = 1 << 20;
    let bound = |devices: u32| upper_bound(&cluster.resized(devices), models, workload, assumptions, of);
    let reaches = |devices: u32| bound(devices).attainment >= target;
    let (mut low, mut high) = (0, 1);
    while !reaches(high) {
        if high == 1 && ceiling(bound(every_config(cluster, models).min(MOST)), workload) < target {
            return None;
        }
        low = high;
        high = (2 * high <= MOST).then_some(2 * high)?;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if reaches(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// So many devices that more have room for no further configuration of any of `models`: a node for every stage.
fn every_config(cluster: &Cluster, models: &[ModelSpec]) -> u32 {
    let stages = models.iter().flat_map(|model| model.profile.configs()).map(|(config, _)| config.pp).max();
    stages.unwrap_or(1).saturating_mul(cluster.node_size() as u32)
}

/// What `bound` would be with as much speed and memory as one likes.
fn ceiling(bound: Bound, workload: &Workload) -> f64 {
    let requests = workload.len() as u64;
    if requests == 0 { 1.0 } else { (requests - bound.impossible) as f64 / requests as f64 }
}

/// The most requests whose models fit into the cluster's memory; fractions of models count.
fn most_held(cluster: &Cluster, configs: &[Vec<Feasible<'_>>], workload: &Workload) -> f64 {
    let mut left: f64 = cluster.devices().iter().map(|device| device.memory.get() as f64).sum();
    // (requests, bytes that a replica takes of all devices at least), where the model fits at all.
    let item = |(configs, count): (&Vec<Feasible<'_>>, u64)| {
        let bytes = configs.iter().map(|feasible| {
            let of_shards = feasible.profile.stage_weights.iter().map(|weight| weight.get() as f64).sum::<f64>();
            of_shards * f64::from(feasible.config.op)
        });
        bytes.min_by(f64::total_cmp).map(|bytes| (count as f64, bytes))
    };
    let mut items: Vec<(f64, f64)> = configs.iter().zip(workload.counts(configs.len())).filter_map(item).collect();
    // The most requests by memory first: the optimum of the fractional knapsack.
    items.sort_by(|a, b| (b.0 * a.1).total_cmp(&(a.0 * b.1)));
    let mut held = 0.0;
    for (count, bytes) in items {
        let share = if bytes <= left { 1.0 } else { left / bytes };
        held += count * share;
        left -= bytes * share;
        if share < 1.0 {
            break;
        }
    }
    held * (1.0 + 1e-9)
}

fn fluid_bound(
    cluster: &Cluster,
    models: &[ModelSpec],
    configs: &[Vec<Feasible<'_>>],
    workload: &Workload,
    assumptions: &Assumptions,
) -> Bound {
    let speed: f64 = cluster.devices().iter().map(|device| device.speed).sum();
    let fastest = fastest(cluster);
    let costs: Vec<ModelCosts> = configs.iter().map(|of| ModelCosts::new(of, fastest, assumptions)).collect();
    let mut jobs = Vec::with_capacity(workload.len());
    let mut impossible = 0;
    for index in 0..workload.len() {
        let model = workload.model[index].index();
        let slo = match workload.slo.get(index) {
            Some(&own) if own == statmux_core::Span::MAX => f64::INFINITY,
            Some(own) => own.seconds(),
            None => models[model].slo_seconds().unwrap_or(f64::INFINITY),
        };
        // Rounding must not make the bound too small: a nanosecond of grace covers it.
        let window = slo - assumptions.fixed_overhead + GRACE;
        match costs[model].cheapest_within(window) {
            Some(work) => {
                let from = workload.arrived[index].seconds();
                jobs.push(Job { from, until: from + window, work });
            }
            None => impossible += 1,
        }
    }
    let in_slo = most_served(speed, &mut jobs).min(jobs.len() as f64);
    let requests = workload.len();
    let attainment = if requests == 0 { 1.0 } else { (in_slo / requests as f64).min(1.0) };
    Bound { in_slo, attainment, impossible }
}

/// Allowance for the rounding of times to nanoseconds, in seconds: stages, arrivals and SLOs are each off by
/// at most half a nanosecond, and no pipeline has more than a few dozen stages.
const GRACE: f64 = 1e-7;

/// Device-seconds of one request to a model, by how fast it must be.
struct ModelCosts {
    /// (latency at batch size 1, least device-seconds of any batch size), in seconds at the profiled speed.
    configs: Vec<(f64, f64)>,
}

impl ModelCosts {
    fn new(configs: &[Feasible<'_>], fastest: f64, assumptions: &Assumptions) -> Self {
        let config = |&Feasible { config, profile }: &Feasible<'_>| {
            let factor = 1.0 + assumptions.stage_penalty * f64::from(config.pp);
            let sizes = profile.stage_seconds.range(..=assumptions.max_batch.max(1));
            let totals = sizes.map(|(&size, stages)| (size, stages.iter().sum::<f64>() * factor));
            let (mut latency, mut work) = (f64::INFINITY, f64::INFINITY);
            for (size, total) in totals {
                latency = latency.min(total / fastest);
                work = work.min(total * f64::from(config.op) / f64::from(size));
            }
            (latency, work)
        };
        Self { configs: configs.iter().map(config).collect() }
    }

    fn cheapest_within(&self, window: f64) -> Option<f64> {
        let fast_enough = self.configs.iter().filter(|(latency, _)| *latency <= window);
        fast_enough.map(|&(_, work)| work).min_by(f64::total_cmp)
    }
}

/// A request to the relaxed machine: `work` device-seconds between two times.
#[derive(Clone, Copy, Debug)]
struct Job {
    from: f64,
    until: f64,
    work: f64,
}

/// The most jobs (fractions count) that one preemptive machine of `speed` completes in their windows.
///
/// The amounts of work that can be done on sets of jobs form a polymatroid, so the greedy order is optimal:
/// the cheapest jobs first, each class as much as fits beside all cheaper ones. How much work fits for a set
/// is what earliest-deadline-first does on it.
fn most_served(speed: f64, jobs: &mut [Job]) -> f64 {
    let mut costs: Vec<f64> = jobs.iter().map(|job| job.work).collect();
    costs.sort_unstable_by(f64::total_cmp);
    costs.dedup();
    jobs.sort_by(|a, b| a.from.total_cmp(&b.from));
    let (mut served, mut done) = (0.0, 0.0);
    for cost in costs {
        let with_this_class = most_work(speed, jobs.iter().filter(|job| job.work <= cost));
        served += (with_this_class - done).max(0.0) / cost;
        done = with_this_class.max(done);
    }
    served * (1.0 + 1e-9)
}

/// The most work that one preemptive machine does on `jobs` (in order of their beginnings) within their windows.
fn most_work<'j>(speed: f64, jobs: impl Iterator<Item = &'j Job>) -> f64 {
    let mut waiting: BinaryHeap<Reverse<(Deadline, usize)>> = BinaryHeap::new();
    let mut left: Vec<f64> = Vec::new();
    let mut jobs = jobs.peekable();
    let (mut now, mut done) = (0.0_f64, 0.0_f64);
    loop {
        if waiting.is_empty() {
            let Some(next) = jobs.peek() else { return done };
            now = now.max(next.from);
        }
        while let Some(job) = jobs.next_if(|job| job.from <= now) {
            waiting.push(Reverse((Deadline(job.until), left.len())));
            left.push(job.work);
        }
        let Some(&Reverse((Deadline(until), job))) = waiting.peek() else { continue };
        if until <= now {
            waiting.pop();
            continue;
        }
        let stop = jobs.peek().map_or(until, |next| next.from.min(until));
        let finish = now + left[job] / speed;
        if finish <= stop {
            done += left[job];
            now = finish;
            waiting.pop();
        } else {
            let worked = (stop - now) * speed;
            done += worked;
            left[job] -= worked;
            now = stop;
        }
    }
}

/// A finite or infinite number of seconds, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Deadline(f64);

impl Eq for Deadline {}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Of::{AnyPlacements, StayingPlacements};
    use super::*;
    use statmux_core::{Bytes, ConfigProfile, ModelId, ModelProfile, ParallelConfig, Slo, Span, Time};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    const PLAIN: Assumptions = Assumptions { stage_penalty: 0.0, fixed_overhead: 0.0, max_batch: 1 };

    fn model(seconds: f64, slo: f64) -> ModelSpec {
        let config = ConfigProfile {
            stage_seconds: BTreeMap::from([(1, vec![seconds])]),
            stage_weights: vec![Bytes::new(1)],
            stage_activations: BTreeMap::new(),
        };
        let profile = ModelProfile::new("a", "assumed", BTreeMap::from([(ParallelConfig::SINGLE, config)]));
        let slo = Slo::Latency(Span::from_seconds(slo).expect("finite"));
        ModelSpec { name: "a".to_owned(), slo, profile: Arc::new(profile) }
    }

    fn workload(requests: &[(f64, u32)]) -> Workload {
        Workload {
            arrived: requests.iter().map(|&(at, _)| Time::from_seconds(at).expect("finite")).collect(),
            model: requests.iter().map(|&(_, model)| ModelId(model)).collect(),
            duration: Span::from_millis(10_000),
            ..Workload::default()
        }
    }

    #[test]
    fn a_burst_is_served_as_far_as_its_window_reaches() {
        let cluster = Cluster::uniform(2, 8, Bytes::new(1));
        let burst = workload(&[(0.0, 0); 10]);
        // Two devices for three seconds at one second each: six of ten.
        let bound = upper_bound(&cluster, &[model(1.0, 3.0)], &burst, &PLAIN, AnyPlacements);
        assert!((bound.in_slo - 6.0).abs() < 1e-3, "{bound:?}");
        assert_eq!(fewest_devices(&cluster, &[model(1.0, 3.0)], &burst, &PLAIN, AnyPlacements, 1.0), Some(4));
    }

    #[test]
    fn memory_limits_a_fixed_placement() {
        let cluster = Cluster::uniform(1, 8, Bytes::new(1));
        let models = [model(0.001, 9.0), model(0.001, 9.0)];
        // Both models take one byte; the one with three requests goes first.
        let requests = workload(&[(0.0, 0), (1.0, 1), (2.0, 1), (3.0, 1)]);
        assert_eq!(upper_bound(&cluster, &models, &requests, &PLAIN, AnyPlacements).attainment, 1.0);
        let fixed = upper_bound(&cluster, &models, &requests, &PLAIN, StayingPlacements);
        assert!((fixed.in_slo - 3.0).abs() < 1e-3, "{fixed:?}");
    }

    #[test]
    fn cheap_requests_go_first() {
        let cluster = Cluster::uniform(1, 8, Bytes::new(1));
        let models = [model(1.0, 2.0), model(0.25, 2.0)];
        let mixed = workload(&[(0.0, 0), (0.0, 0), (0.0, 1), (0.0, 1), (0.0, 1), (0.0, 1)]);
        // Four quarter-second requests and one of the two long ones.
        let bound = upper_bound(&cluster, &models, &mixed, &PLAIN, AnyPlacements);
        assert!((bound.in_slo - 5.0).abs() < 1e-3, "{bound:?}");
    }

    #[test]
    fn what_is_slower_than_its_slo_is_impossible() {
        let cluster = Cluster::uniform(100, 8, Bytes::new(1));
        let models = [model(1.0, 0.5)];
        let bound = upper_bound(&cluster, &models, &workload(&[(0.0, 0), (1.0, 0)]), &PLAIN, AnyPlacements);
        assert_eq!((bound.impossible, bound.attainment), (2, 0.0));
        assert_eq!(fewest_devices(&cluster, &models, &workload(&[(0.0, 0)]), &PLAIN, AnyPlacements, 0.5), None);
    }
}
