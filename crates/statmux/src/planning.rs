//! What several commands do: plan with a policy, and score a placement on a workload.

use crate::args::{Common, PlacementArg};
use crate::output::{End, UsageError, say};
use crate::scenario::{Scenario, TrainedOn};
use statmux_core::files::{FileError, PlacementFile, ResultsFile};
use statmux_core::summary::Finished;
use statmux_core::{DeviceId, PlacementWindows, Share, Workload};
use statmux_plan::bound::{Assumptions, Of, fewest_devices, upper_bound};
use statmux_plan::explain::without;
use statmux_plan::notes::hops;
use statmux_plan::policy::find;
use statmux_plan::policy::statmux::Scheduling;
use statmux_plan::unserved::{Scene, unserved};
use statmux_plan::{Evaluator, Plan, PlanError, Problem, Progress};
use statmux_sim::{Run, SimulateError, SimulationSettings, simulate};
use std::path::Path;
use std::time::{Duration, Instant};

/// A plan, and what it took.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The policy's name.
    pub(crate) policy: &'static str,
    /// What it proposes.
    pub(crate) plan: Plan,
    /// How long the search took.
    pub(crate) wall: Duration,
    /// Whether the policy saw the requests it is scored on because it must (clairvoyant), though there is a
    /// train window.
    pub(crate) clairvoyant: bool,
}

impl Planned {
    /// Whether no group holds a model, as where a search was stopped before it had found anything.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.plan.windows.0.iter().all(|window| window.placement.replicas() == 0)
    }
}

/// Plans with the scenario's policy, or with `policy` instead.
pub(crate) fn plan(scenario: &Scenario, policy: Option<&str>, progress: &dyn Progress) -> anyhow::Result<Planned> {
    let built = scenario.planner.build_each(&scenario.path, &[policy.unwrap_or(scenario.planner.policy())])?;
    let policy = built.into_iter().next().expect("one name was given");
    let name = policy.name();
    let clairvoyant = find(name).is_some_and(|info| info.clairvoyant) && scenario.trained_on == TrainedOn::OwnWindow;
    let train: &Workload = if clairvoyant { &scenario.test } else { &scenario.train };
    let problem = Problem {
        cluster: &scenario.cluster,
        models: &scenario.models,
        settings: &scenario.simulation,
        train,
        seed: scenario.seed.stream("planner"),
    };
    let began = Instant::now();
    let evaluator = Evaluator::new(&problem);
    let plan = policy.place(&problem, &evaluator, progress).map_err(|error| match error {
        // What a scenario asks for cannot be built: the file is to change, not the program.
        PlanError::TooFewDevices { .. } | PlanError::Impossible { .. } | PlanError::IntegerProgram { .. } => {
            anyhow::Error::from(FileError::at_field(
                &scenario.path,
                "planner",
                format!("cannot be carried out: {error}"),
            ))
        }
        PlanError::Simulate(error) => blamed(scenario, error),
        other => anyhow::Error::from(other),
    })?;
    Ok(Planned { policy: name, plan, wall: began.elapsed(), clairvoyant })
}

/// Remarks on stderr about keys of `[planner]` that none of the policies asked for uses.
pub(crate) fn tell_unused(scenario: &Scenario, policies: &[&str], common: Common) {
    for (key, users) in scenario.planner.unused(policies).into_iter().filter(|_| !common.quiet) {
        let users = users.join(", ");
        say(format!("note: {}: planner.{key} is not used here; it is for {users}", scenario.path.display()));
    }
}

/// What the bound that is reported is of, unless a policy replaces models while requests arrive.
pub(crate) const BOUND_OF: Of = Of::StayingPlacements;

/// The upper bound on attainment for `workload`: what no plan exceeds that stays loaded, under any scheduler. Every
/// command reports this one.
pub(crate) fn bound(scenario: &Scenario, workload: &Workload) -> f64 {
    bound_of(scenario, workload, BOUND_OF)
}

/// The same for other plans.
pub(crate) fn bound_of(scenario: &Scenario, workload: &Workload, of: Of) -> f64 {
    let assumptions = Assumptions::any_batch(&scenario.simulation);
    upper_bound(&scenario.cluster, &scenario.models, workload, &assumptions, of).attainment
}

/// The fewest devices for which [`bound`] reaches `target` on `workload`, and so what no plan can do with fewer.
pub(crate) fn bound_devices(scenario: &Scenario, workload: &Workload, target: f64) -> Option<u32> {
    let assumptions = Assumptions::any_batch(&scenario.simulation);
    fewest_devices(&scenario.cluster, &scenario.models, workload, &assumptions, BOUND_OF, target)
}

/// What plans of the policy `name` are held to.
pub(crate) fn bounded(name: &str) -> Of {
    if find(name).is_some_and(|info| info.replaces) { Of::AnyPlacements } else { BOUND_OF }
}

/// The bound for plans that replace models while requests arrive, if any of the policies `names` makes such plans.
pub(crate) fn bound_replacing<'n>(
    scenario: &Scenario,
    workload: &Workload,
    mut names: impl Iterator<Item = &'n str>,
) -> Option<f64> {
    names.any(|name| bounded(name) == Of::AnyPlacements).then(|| bound_of(scenario, workload, Of::AnyPlacements))
}

/// The share of its requests that every model is to be served in time: what the command line asks for, else what
/// the scenario's `[planner] floor` says. Results of [`score_plan`] and [`score`] are judged by the scenario's.
pub(crate) fn with_floor(mut scenario: Scenario, each: Option<Share>) -> Scenario {
    scenario.planner = scenario.planner.with_floor(each);
    scenario
}

/// Requests by which the models of `results` fall short of `floor`, together.
pub(crate) fn short_of_floor(results: &ResultsFile, floor: Option<Share>) -> u64 {
    let short =
        |floor: Share| results.models.iter().map(|model| floor.short(model.requests, model.served_in_slo)).sum();
    floor.map_or(0, short)
}

/// How a command ends whose results may have been judged by a floor.
pub(crate) fn end_of(results: &ResultsFile) -> End {
    if results.keeps_floor() { End::Done } else { End::TargetMissed }
}

/// What the arguments leave of a placement: groups that use a lost device serve nobody. Its scheduling options are
/// adopted as by [`adopt_placement`].
pub(crate) fn adopt_what_is_left(scenario: &mut Scenario, args: &PlacementArg) -> anyhow::Result<PlacementWindows> {
    let mut windows = adopt_placement(scenario, &args.placement)?;
    if let Some(unknown) = args.without.iter().find(|&&device| device as usize >= scenario.cluster.len()) {
        let last = scenario.cluster.len() - 1;
        return Err(UsageError(format!("--without {unknown}: the cluster has devices 0 to {last}")).into());
    }
    let devices: Vec<DeviceId> = args.without.iter().copied().map(DeviceId).collect();
    for window in &mut windows.0 {
        window.placement = without(&window.placement, &devices);
    }
    Ok(windows)
}

/// Reads the placement file at `path`; scheduling options that it was made for take the place of the scenario's.
pub(crate) fn adopt_placement(scenario: &mut Scenario, path: &Path) -> Result<PlacementWindows, FileError> {
    adopt(scenario, PlacementFile::read(path)?, path)
}

/// The same for a placement file that was read from `path` already.
pub(crate) fn adopt(scenario: &mut Scenario, file: PlacementFile, path: &Path) -> Result<PlacementWindows, FileError> {
    if let Some(entry) = file.scheduling() {
        scenario.simulation = Scheduling::read(entry, path)?.apply(&scenario.simulation);
    }
    file.resolve(path, &scenario.cluster, &scenario.models, scenario.simulation.scheduler.max_batch)
}

/// Simulates `plan` under `workload`, with the scheduling options that it chose.
pub(crate) fn score_plan(scenario: &Scenario, plan: &Plan, workload: &Workload) -> anyhow::Result<(Run, ResultsFile)> {
    score_under(scenario, plan.scheduling, &plan.windows, workload)
}

/// Simulates `windows` under `workload` and the scenario's scheduling options.
pub(crate) fn score(
    scenario: &Scenario,
    windows: &PlacementWindows,
    workload: &Workload,
) -> anyhow::Result<(Run, ResultsFile)> {
    score_under(scenario, None, windows, workload)
}

/// The error of a simulation; a fault of a group that is not there is the scenario's.
fn blamed(scenario: &Scenario, error: SimulateError) -> anyhow::Error {
    match error {
        SimulateError::NoSuchGroup { .. } => {
            FileError::at_field(&scenario.path, "simulation.faults", format!("do not fit: {error}")).into()
        }
        other => other.into(),
    }
}

/// Simulates `windows` under `workload`; `scheduling` goes before the scenario's options.
fn score_under(
    scenario: &Scenario,
    scheduling: Option<Scheduling>,
    windows: &PlacementWindows,
    workload: &Workload,
) -> anyhow::Result<(Run, ResultsFile)> {
    let began = Instant::now();
    let chosen = scheduling.map(|scheduling| scheduling.apply(&scenario.simulation));
    let settings = chosen.as_ref().unwrap_or(&scenario.simulation);
    let run = simulate(&scenario.cluster, &scenario.models, windows, workload, settings);
    let run = run.map_err(|error| blamed(scenario, error))?;
    let wall = began.elapsed().as_secs_f64();
    let finished = Finished {
        workload,
        models: &scenario.models,
        windows,
        outcomes: &run.outcomes,
        groups: &run.groups,
        warmup: scenario.simulation.warmup,
        seed: scenario.seed.0,
    };
    let results = finished.results();
    let mut results = with_fates(scenario, settings, workload, windows, results);
    results.wall_s = wall;
    results.requests_per_wall_second = if wall > 0.0 { workload.len() as f64 / wall } else { 0.0 };
    Ok((run, results))
}

/// `results` with the models that nobody serves, what is assumed of hops, and judged by the scenario's floor.
pub(crate) fn with_fates(
    scenario: &Scenario,
    settings: &SimulationSettings,
    workload: &Workload,
    windows: &PlacementWindows,
    mut results: ResultsFile,
) -> ResultsFile {
    let scene = Scene { cluster: &scenario.cluster, models: &scenario.models, settings, workload, windows };
    results.unserved = unserved(&scene, &results);
    results.notes.extend(hops(&scenario.cluster, &scenario.models, windows));
    results.judged_by(scenario.planner.floor())
}
