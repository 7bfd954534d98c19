//! Scores candidates by simulation; the same result on any number of threads.
//!
//! The fastest engine that is exact under the settings is used: the tight loop in the published simulator's
//! arithmetic where the settings are that simulator's, so that ties fall as they fell there; the tight loop
//! in nanoseconds where every decision falls at an arrival; the loop for late binding where that does what the machine
//! does; the event-driven machine otherwise.

use crate::problem::Problem;
use rayon::prelude::*;
use statmux_core::{ModelId, ModelSpec, Outcome, Placement, PlacementWindows, Span, Time, Workload};
use statmux_sim::arithmetic::Arithmetic;
use statmux_sim::simulate::{model_slos, simulate_with};
use statmux_sim::tight::late::LateTrack;
use statmux_sim::tight::{Arrivals, Tally, Track};
use statmux_sim::{Engine, SimulateError};
use std::sync::atomic::{AtomicU64, Ordering};

/// Placements that are simulated in one pass.
const AT_ONCE: usize = 8;

/// Simulates placements on one workload, which it prepares once.
#[derive(Debug)]
pub struct Evaluator<'a> {
    problem: Problem<'a>,
    prepared: Prepared,
    /// All requests, those left out of `prepared` included: what shares and means are taken over.
    requests: u64,
    evaluations: AtomicU64,
}

#[derive(Debug)]
enum Prepared {
    Peer(Arrivals<f64>),
    Tight(Arrivals<Time>),
    Late { workload: Workload, model_slo: Vec<Span> },
    Events(Workload),
}

/// What a placement did on the workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Requests, requests in time and dispatched requests, by model and by group.
    ///
    /// Under the event-driven machine and late binding a rejected request belongs to no group, so that only served ones count
    /// as dispatched.
    pub tally: Tally,
    /// How good that is.
    pub score: Score,
}

/// How good a placement is on a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Requests answered within their SLO.
    pub in_slo: u64,
    /// All requests.
    pub requests: u64,
    /// Latencies of the served requests together, in seconds.
    pub latency_sum: f64,
    /// Replicas over all groups.
    pub replicas: usize,
}

impl Score {
    /// The published score: SLO attainment, less a ten-thousandth of the mean latency in seconds (rejected
    /// requests count as zero), plus a millionth per replica. Larger is better.
    pub fn published(&self) -> f64 {
        let requests = self.requests.max(1) as f64;
        self.attainment() - self.latency_sum / requests / 10_000.0 + self.replicas as f64 / 1e6
    }

    /// Requests answered in time over all requests; 1 when there were none.
    pub fn attainment(&self) -> f64 {
        if self.requests == 0 { 1.0 } else { self.in_slo as f64 / self.requests as f64 }
    }
}

impl<'a> Evaluator<'a> {
    /// Prepares the train window of `problem`.
    pub fn new(problem: &Problem<'a>) -> Self {
        Self::prepare(problem, problem.train.clone(), problem.train.len() as u64)
    }

    /// An evaluator of the same workload that simulates the requests for `models` only. The others still count
    /// as requests, none of them served in time: scores of placements that hold none but `models` are the same.
    pub fn only(&self, models: &[ModelId]) -> Self {
        let mut wanted = vec![false; self.problem.models.len()];
        for model in models {
            wanted[model.index()] = true;
        }
        let all = self.problem.train;
        let rows: Vec<usize> = (0..all.len()).filter(|&row| wanted[all.model[row].index()]).collect();
        let part = Workload {
            arrived: rows.iter().map(|&row| all.arrived[row]).collect(),
            model: rows.iter().map(|&row| all.model[row]).collect(),
            slo: if all.slo.is_empty() { Vec::new() } else { rows.iter().map(|&row| all.slo[row]).collect() },
            lengths: Vec::new(),
            duration: all.duration,
        };
        Self::prepare(&self.problem, part, self.requests)
    }

    fn prepare(problem: &Problem<'a>, workload: Workload, requests: u64) -> Self {
        let models: &[ModelSpec] = problem.models;
        let prepared = match Engine::fastest(problem.settings, &workload) {
            Engine::Peer => Prepared::Peer(Arrivals::new(&workload, models)),
            Engine::Tight => Prepared::Tight(Arrivals::new(&workload, models)),
            Engine::Late => Prepared::Late { model_slo: model_slos(models), workload },
            Engine::Events => Prepared::Events(workload),
        };
        Self { problem: *problem, prepared, requests, evaluations: AtomicU64::new(0) }
    }

    /// Simulates one placement.
    pub fn evaluate(&self, placement: &Placement) -> Result<Evaluation, SimulateError> {
        self.evaluations.fetch_add(1, Ordering::Relaxed);
        let Problem { cluster, models, settings, .. } = self.problem;
        let tally = match &self.prepared {
            Prepared::Peer(arrivals) => Track::new(placement, cluster, models, settings)?.tally(arrivals),
            Prepared::Tight(arrivals) => Track::new(placement, cluster, models, settings)?.tally(arrivals),
            Prepared::Late { workload, model_slo } => {
                LateTrack::new(placement, cluster, models, settings)?.tally(workload, model_slo)
            }
            Prepared::Events(workload) => self.tally_events(placement, workload)?,
        };
        Ok(self.scored(placement, tally))
    }

    fn scored(&self, placement: &Placement, tally: Tally) -> Evaluation {
        let score = Score {
            in_slo: tally.in_slo.iter().sum(),
            requests: self.requests,
            latency_sum: tally.latency_sum,
            replicas: placement.replicas(),
        };
        Evaluation { tally, score }
    }

    /// Simulates all of `placements`, on as many threads as there are; results are in the order of `placements`.
    pub fn evaluate_all(&self, placements: &[Placement]) -> Result<Vec<Evaluation>, SimulateError> {
        let evaluated: Vec<Result<Vec<Evaluation>, SimulateError>> =
            placements.par_chunks(AT_ONCE).map(|some| self.evaluate_at_once(some)).collect();
        Ok(evaluated.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Simulates `placements` in one pass over the workload, where an engine can.
    fn evaluate_at_once(&self, placements: &[Placement]) -> Result<Vec<Evaluation>, SimulateError> {
        let tallies = match &self.prepared {
            Prepared::Peer(arrivals) => self.tally_at_once(placements, arrivals)?,
            Prepared::Tight(arrivals) => self.tally_at_once(placements, arrivals)?,
            Prepared::Late { .. } | Prepared::Events(_) => {
                return placements.iter().map(|placement| self.evaluate(placement)).collect();
            }
        };
        self.count(placements.len() as u64);
        Ok(placements.iter().zip(tallies).map(|(placement, tally)| self.scored(placement, tally)).collect())
    }

    fn tally_at_once<A: Arithmetic>(
        &self,
        placements: &[Placement],
        arrivals: &Arrivals<A>,
    ) -> Result<Vec<Tally>, SimulateError>
    where
        A::Span: Send + Sync,
    {
        let Problem { cluster, models, settings, .. } = self.problem;
        let tracks = placements.iter().map(|placement| Track::new(placement, cluster, models, settings));
        Ok(Track::tally_many(&tracks.collect::<Result<Vec<_>, _>>()?, arrivals))
    }

    /// How many placements were simulated so far.
    pub fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }

    /// Counts simulations that were done elsewhere on behalf of the same search.
    pub fn count(&self, evaluations: u64) {
        self.evaluations.fetch_add(evaluations, Ordering::Relaxed);
    }

    fn tally_events(&self, placement: &Placement, workload: &Workload) -> Result<Tally, SimulateError> {
        let Problem { cluster, models, settings, .. } = self.problem;
        let windows = PlacementWindows::fixed(placement.clone());
        let run = simulate_with(Engine::Events, cluster, models, &windows, workload, settings, None)?;
        let mut tally = Tally {
            requests: workload.counts(models.len()),
            in_slo: vec![0; models.len()],
            dispatched: vec![0; placement.groups.len()],
            latency_sum: 0.0,
        };
        for (row, outcome) in run.outcomes.iter().enumerate() {
            if let Outcome::Served(served) = outcome {
                tally.in_slo[workload.model[row].index()] += u64::from(served.in_slo);
                tally.dispatched[served.group.index()] += 1;
                tally.latency_sum += served.finished.since(workload.arrived[row]).seconds();
            }
        }
        Ok(tally)
    }
}
