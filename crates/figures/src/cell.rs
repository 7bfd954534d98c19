//! Runs one case: reads the scenario as the command line does, plans, simulates, sums up.

use crate::case::Case;
use crate::error::FiguresError;
use serde::{Deserialize, Serialize};
use statmux_core::files::{self, ClusterTable, FileError, LatencyResult, ModelTable, PlacementFile, ProfilesTable};
use statmux_core::summary::Finished;
use statmux_core::{Cluster, Links, ModelSpec, Outcome, PlacementWindows, Seed, Span, Workload};
use statmux_plan::policy::find;
use statmux_plan::{Evaluator, PlannerTable, Problem, Silent};
use statmux_sim::{Run, SimulationSettings, SimulationTable, StageRun, simulate, simulate_observed};
use statmux_workload::WorkloadTable;
use statmux_workload::table::WorkloadKind;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

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

/// A scenario file, with the tables that the command line reads too.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    version: u32,
    #[serde(default)]
    seed: u64,
    cluster: ClusterTable,
    profiles: ProfilesTable,
    models: Vec<ModelTable>,
    workload: WorkloadTable,
    #[serde(default)]
    simulation: SimulationTable,
    #[serde(default)]
    planner: PlannerTable,
}

/// A scenario with everything it names.
struct Scenario {
    seed: Seed,
    cluster: Cluster,
    models: Vec<ModelSpec>,
    settings: SimulationSettings,
    planner: PlannerTable,
    test: Arc<Workload>,
    train: Option<Arc<Workload>>,
}

/// Runs `case`, whose scenario stands (or would stand) at `path`.
pub fn run(case: &Case, path: &Path, workloads: &Workloads) -> Result<Measured, FiguresError> {
    let scenario = Scenario::read(&case.scenario, path, workloads)?;
    let failed = |cause| FiguresError::Simulate { case: case.name.clone(), cause: Box::new(cause) };
    let planned = match &case.placement {
        Some(text) => Planned {
            windows: scenario.placement(text, path)?,
            settings: scenario.settings.clone(),
            evaluations: 0,
            seconds: 0.0,
        },
        None => scenario.plan(case, path)?,
    };
    let windows = &planned.windows;
    let mut measured = Measured {
        replicas: windows.0.first().map_or(0, |window| window.placement.replicas()),
        shapes: shapes(windows),
        evaluations: planned.evaluations,
        plan_s: planned.seconds,
        ..Measured::default()
    };
    let Scenario { cluster, models, test, .. } = &scenario;
    let settings = &planned.settings;
    let run = match case.wants.utilization {
        Some(bin) => {
            let mut busy = Busy::new(bin, scenario.test.duration);
            let mut observer = |stage: StageRun| busy.add(&stage);
            let run = simulate_observed(cluster, models, windows, test, settings, &mut observer).map_err(failed)?;
            measured.utilization = busy.shares(cluster.len());
            run
        }
        None => simulate(cluster, models, windows, test, settings).map_err(failed)?,
    };
    scenario.sum_up(windows, &run, &mut measured);
    if case.wants.quantiles {
        measured.quantiles = quantiles(test, &run.outcomes);
    }
    Ok(measured)
}

/// Requests replayed from traces, so that the policies of one point need not read the trace again.
///
/// Generated requests are made faster than kept.
#[derive(Debug, Default)]
pub struct Workloads(Mutex<BTreeMap<String, Arc<Workload>>>);

impl Workloads {
    fn test(
        &self,
        table: &WorkloadTable,
        path: &Path,
        names: &[String],
        seed: Seed,
    ) -> Result<Arc<Workload>, FileError> {
        let table = WorkloadTable { train: None, ..table.clone() };
        if table.kind != Some(WorkloadKind::Trace) {
            return table.build(path, names, seed).map(Arc::new);
        }
        self.once(format!("{table:?} {names:?} {seed:?}"), || table.build(path, names, seed))
    }

    fn train(
        &self,
        table: &WorkloadTable,
        path: &Path,
        names: &[String],
        seed: Seed,
    ) -> Result<Option<Arc<Workload>>, FileError> {
        if table.train.is_none() {
            return Ok(None);
        }
        let built = self.once(format!("train of {table:?} {names:?} {seed:?}"), || {
            Ok(table.build_train(path, names, seed)?.expect("there is a table"))
        });
        built.map(Some)
    }

    /// What `build` builds, built at most once but for races, which cost time only.
    fn once(
        &self,
        key: String,
        build: impl FnOnce() -> Result<Workload, FileError>,
    ) -> Result<Arc<Workload>, FileError> {
        let lock = || self.0.lock().expect("no thread panics while it holds this");
        if let Some(known) = lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let built = Arc::new(build()?);
        Ok(Arc::clone(lock().entry(key).or_insert(built)))
    }
}

struct Planned {
    windows: PlacementWindows,
    /// The settings it was planned for.
    settings: SimulationSettings,
    evaluations: u64,
    seconds: f64,
}

impl Scenario {
    fn read(text: &str, path: &Path, workloads: &Workloads) -> Result<Self, FileError> {
        let file: ScenarioFile = files::parse_toml(path, text)?;
        files::check_version(path, file.version)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let profiles = file.profiles.files.iter().map(|name| files::read_profile(&folder.join(name)));
        let models = files::instances(path, &file.models, &profiles.collect::<Result<Vec<_>, _>>()?)?;
        let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
        let seed = Seed(file.seed);
        Ok(Self {
            seed,
            // As published: hops cost nothing.
            cluster: file.cluster.build(path)?.with_links(Links::FREE),
            settings: file.simulation.build(path)?,
            planner: file.planner,
            test: workloads.test(&file.workload, path, &names, seed)?,
            train: workloads.train(&file.workload, path, &names, seed)?,
            models,
        })
    }

    fn placement(&self, text: &str, path: &Path) -> Result<PlacementWindows, FileError> {
        let file: PlacementFile = files::parse_json(path, text)?;
        file.resolve(path, &self.cluster, &self.models, self.settings.scheduler.max_batch)
    }

    fn plan(&self, case: &Case, path: &Path) -> Result<Planned, FiguresError> {
        let policy = self.planner.build(path)?;
        let clairvoyant = find(policy.name()).is_some_and(|info| info.clairvoyant);
        let train = self.train.as_ref().filter(|_| !clairvoyant).unwrap_or(&self.test);
        let problem = Problem {
            cluster: &self.cluster,
            models: &self.models,
            settings: &self.settings,
            train,
            seed: self.seed.stream("planner"),
        };
        let began = std::time::Instant::now();
        let plan = policy.place(&problem, &Evaluator::new(&problem), &Silent);
        let plan = plan.map_err(|cause| FiguresError::Plan { case: case.name.clone(), cause: Box::new(cause) })?;
        let seconds = began.elapsed().as_secs_f64();
        // A plan that chose how to schedule is run the way it was meant.
        let settings = plan.scheduling.map_or_else(|| self.settings.clone(), |chosen| chosen.apply(&self.settings));
        Ok(Planned { windows: plan.windows, settings, evaluations: plan.evaluations, seconds })
    }

    fn sum_up(&self, windows: &PlacementWindows, run: &Run, measured: &mut Measured) {
        let finished = Finished {
            workload: &self.test,
            models: &self.models,
            windows,
            outcomes: &run.outcomes,
            groups: &run.groups,
            warmup: self.settings.warmup,
            seed: self.seed.0,
        };
        let results = finished.results();
        measured.requests = results.requests;
        measured.attainment = results.slo_attainment;
        measured.latency = results.latency_s;
        measured.models = results
            .models
            .iter()
            .map(|model| ModelMeasured {
                attainment: model.slo_attainment,
                mean_s: model.latency_s.map_or(0.0, |latency| latency.mean),
            })
            .collect();
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
