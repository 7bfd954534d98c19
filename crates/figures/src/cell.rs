//! Runs one case: reads the scenario as the command line does, plans, simulates, sums up.

use crate::case::Case;
use crate::error::FiguresError;
use serde::{Deserialize, Serialize};
use statmux_core::files::{LatencyResult, ModelResult, ResultsFile, parse_json};
use statmux_core::{Links, Outcome, PlacementWindows, Span, Workload};
use statmux_plan::Silent;
use statmux_scenario::{Reader, Scored, Workloads};
use statmux_sim::StageRun;
use std::path::Path;

/// What came out of a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Requests counted.
    pub requests: u64,
    /// Requests answered in time over all requests.
    pub attainment: f64,
    /// Latencies of the served requests; absent when none was served.
    pub latency: Option<LatencyResult>,
    /// Replicas in the first window.
    pub replicas: usize,
    /// Shapes of the groups of the first window, such as `4 x (op 1, pp 4)`.
    pub shapes: String,
    /// Candidates simulated by the planner.
    pub evaluations: u64,
    /// Seconds the planner took.
    pub plan_s: f64,
    /// Latencies in seconds at evenly spaced quantiles, if wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
    /// Share of all devices busy, by bin of time, if wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub utilization: Vec<f64>,
    /// Attainment of each model, in the order of the scenario.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelMeasured>,
}

/// What one model got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelMeasured {
    /// Its attainment.
    pub attainment: f64,
    /// Mean latency over its served requests in seconds; zero when none was served.
    pub mean_s: f64,
}

/// How many quantiles are kept.
const QUANTILES: usize = 400;

/// Runs `case`, whose scenario stands (or would stand) at `path`.
pub fn run(case: &Case, path: &Path, workloads: &Workloads) -> Result<Measured, FiguresError> {
    let reader = Reader { kept: Some(workloads), ..Reader::default() };
    let mut scenario = reader.parse(path, &case.scenario)?;
    // As published: hops cost nothing.
    scenario.cluster = scenario.cluster.with_links(Links::FREE);
    let failed = |cause| FiguresError::Case { case: case.name.clone(), cause: Box::new(cause) };
    let mut measured = Measured::default();
    let windows = match &case.placement {
        Some(text) => scenario.adopt(parse_json(path, text)?, path)?,
        None => {
            let planned = scenario.plan(None, &Silent).map_err(failed)?;
            // A plan that chose how to schedule is run the way it was meant.
            scenario.adopt_plan(&planned.plan);
            measured.evaluations = planned.plan.evaluations;
            measured.plan_s = planned.wall.as_secs_f64();
            planned.plan.windows
        }
    };
    measured.replicas = windows.0.first().map_or(0, |window| window.placement.replicas());
    measured.shapes = shapes(&windows);
    let Scored { run, results } = match case.wants.utilization {
        Some(bin) => {
            let mut busy = Busy::new(bin, scenario.test.duration);
            let mut observer = |stage: StageRun| busy.add(&stage);
            let run = scenario.observe(&windows, &scenario.test, &mut observer).map_err(failed)?;
            measured.utilization = busy.shares(scenario.cluster.len());
            let results = scenario.results(&windows, &scenario.test, &run.outcomes, &run.groups);
            Scored { run, results }
        }
        None => scenario.score_placement(&windows, &scenario.test).map_err(failed)?,
    };
    measured.sum_up(&results);
    if case.wants.quantiles {
        measured.quantiles = quantiles(&scenario.test, &run.outcomes);
    }
    Ok(measured)
}

impl Measured {
    fn sum_up(&mut self, results: &ResultsFile) {
        self.requests = results.requests;
        self.attainment = results.slo_attainment;
        self.latency = results.latency_s;
        let model = |model: &ModelResult| ModelMeasured {
            attainment: model.slo_attainment,
            mean_s: model.latency_s.map_or(0.0, |latency| latency.mean),
        };
        self.models = results.models.iter().map(model).collect();
    }
}

/// The shapes of the first window's groups and how many there are of each.
fn shapes(windows: &PlacementWindows) -> String {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for group in windows.0.first().iter().flat_map(|window| &window.placement.groups) {
        let shape = format!("(op {}, pp {})", group.config.op, group.config.pp);
        match counted.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, count)) => *count += 1,
            None => counted.push((shape, 1)),
        }
    }
    counted.into_iter().map(|(shape, count)| format!("{count} x {shape}")).collect::<Vec<_>>().join(" + ")
}

fn quantiles(workload: &Workload, outcomes: &[Outcome]) -> Vec<f64> {
    let latencies = outcomes.iter().zip(&workload.arrived).filter_map(|(outcome, &arrived)| outcome.latency(arrived));
    let mut latencies: Vec<Span> = latencies.collect();
    latencies.sort_unstable();
    let last = latencies.len().saturating_sub(1);
    let at = |step: usize| latencies.get(step * last / (QUANTILES - 1)).map_or(0.0, |latency| latency.seconds());
    (0..QUANTILES).map(at).collect()
}

/// Busy stage time by bin of time.
struct Busy {
    bin: Span,
    seconds: Vec<f64>,
}

impl Busy {
    fn new(bin: Span, duration: Span) -> Self {
        Self { bin, seconds: vec![0.0; duration.nanos().div_ceil(bin.nanos()) as usize] }
    }

    fn add(&mut self, stage: &StageRun) {
        let mut from = stage.started.nanos();
        while from < stage.ended.nanos() {
            let index = (from / self.bin.nanos()) as usize;
            let until = stage.ended.nanos().min((index as u64 + 1) * self.bin.nanos());
            if let Some(seconds) = self.seconds.get_mut(index) {
                *seconds += Span::from_nanos(until - from).seconds();
            }
            from = until;
        }
    }

    /// Device-seconds busy over device-seconds there are. Stages of one device each.
    fn shares(self, devices: usize) -> Vec<f64> {
        let all = self.bin.seconds() * devices as f64;
        self.seconds.into_iter().map(|seconds| seconds / all).collect()
    }
}
