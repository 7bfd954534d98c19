//! A scenario file, and what a policy's plan does on it.

use super::Result;
use serde::Deserialize;
use statmux_core::files::{self, ClusterTable, ModelTable, ProfilesTable};
use statmux_core::{Cluster, ModelSpec, Profile, Seed, Workload};
use statmux_plan::bound::{Assumptions, Of, upper_bound};
use statmux_plan::policy::find;
use statmux_plan::{Evaluator, PlannerTable, Problem, Silent};
use statmux_sim::{SimulationSettings, SimulationTable, simulate};
use statmux_workload::WorkloadTable;
use std::path::Path;
use std::time::Instant;

#[derive(Deserialize)]
struct ScenarioFile {
    seed: u64,
    cluster: ClusterTable,
    profiles: ProfilesTable,
    models: Vec<ModelTable>,
    workload: WorkloadTable,
    simulation: SimulationTable,
}

/// A scenario with a train window, read.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) cluster: Cluster,
    models: Vec<ModelSpec>,
    settings: SimulationSettings,
    train: Workload,
    pub(super) test: Workload,
    seed: Seed,
}

/// What a plan came to.
pub(super) struct Scored {
    /// SLO attainment on the train window.
    pub(super) train: f64,
    /// SLO attainment on the test window.
    pub(super) test: f64,
    /// Requests of the test window.
    pub(super) requests: u64,
    /// Of these, not answered in time.
    pub(super) missed: u64,
    /// No plan of one placement exceeds this on the test window.
    pub(super) fixed_bound: f64,
    /// No plan at all does.
    pub(super) bound: f64,
    /// How long planning took.
    pub(super) seconds: f64,
    evaluations: u64,
}

impl Scored {
    /// A line for people.
    pub(super) fn line(&self, scenario: &str, policy: &str) -> String {
        format!(
            "{scenario:<24} {policy:<30} train {:.4} test {:.4} bound {:.4} missed {:>6} of {:>7} {:>8.2} s {:>7} evaluations",
            self.train, self.test, self.fixed_bound, self.missed, self.requests, self.seconds, self.evaluations
        )
    }
}

impl Case {
    /// Reads the scenario at `path` after `edit` changed it.
    pub(super) fn load(path: &Path, edit: impl FnOnce(&mut toml::Table)) -> Result<Self> {
        let mut table: toml::Table = toml::from_str(&files::read_text(path)?)?;
        edit(&mut table);
        Self::build(path, table)
    }

    /// The scenario that `table` describes, as if it stood at `path`.
    pub(super) fn build(path: &Path, mut table: toml::Table) -> Result<Self> {
        table.remove("version");
        table.remove("planner");
        let file = ScenarioFile::deserialize(table)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let profiles = file.profiles.files.iter().map(|name| files::read_profile(&folder.join(name)));
        let profiles: Vec<Profile> = profiles.collect::<std::result::Result<_, _>>()?;
        let models = files::instances(path, &file.models, &profiles)?;
        let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
        let seed = Seed(file.seed);
        let settings = file.simulation.build(path)?;
        let train = file.workload.build_train(path, &names, seed)?;
        Ok(Self {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            cluster: settings.linked(file.cluster.build(path)?),
            models,
            settings,
            train: train.ok_or("scenarios of the suite have a train window")?,
            test: file.workload.build(path, &names, seed)?,
            seed,
        })
    }

    /// Plans with `policy`, written as `name` or `name:key=value,…`, and scores the plan on both windows.
    pub(super) fn score(&self, policy: &str) -> Result<Scored> {
        let (name, keys) = policy.split_once(':').unwrap_or((policy, ""));
        let clairvoyant = find(name).is_some_and(|info| info.clairvoyant);
        let problem = Problem {
            cluster: &self.cluster,
            models: &self.models,
            settings: &self.settings,
            train: if clairvoyant { &self.test } else { &self.train },
            seed: self.seed.stream("planner"),
        };
        let planner: PlannerTable = toml::from_str(&format!("policy = \"{name}\"\n{}", keys.replace(',', "\n")))?;
        let policy = planner.build(Path::new("suite"))?;
        let began = Instant::now();
        let plan = policy.place(&problem, &Evaluator::new(&problem), &Silent)?;
        let seconds = began.elapsed().as_secs_f64();
        let chosen = plan.scheduling.map(|scheduling| scheduling.apply(&self.settings));
        let settings = chosen.as_ref().unwrap_or(&self.settings);
        for window in &plan.windows.0 {
            window.placement.check(&self.cluster, &self.models, settings.scheduler.max_batch)?;
        }
        let in_slo = |workload: &Workload| -> Result<u64> {
            let run = simulate(&self.cluster, &self.models, &plan.windows, workload, settings)?;
            Ok(run.outcomes.iter().filter(|outcome| outcome.in_slo()).count() as u64)
        };
        let assumptions = Assumptions::any_batch(settings);
        let bound = |of: Of| upper_bound(&self.cluster, &self.models, &self.test, &assumptions, of).attainment;
        let share = |count: u64, workload: &Workload| count as f64 / workload.len().max(1) as f64;
        let tested = in_slo(&self.test)?;
        Ok(Scored {
            train: share(in_slo(&self.train)?, &self.train),
            test: share(tested, &self.test),
            requests: self.test.len() as u64,
            missed: self.test.len() as u64 - tested,
            fixed_bound: bound(Of::StayingPlacements),
            bound: bound(Of::AnyPlacements),
            seconds,
            evaluations: plan.evaluations,
        })
    }
}
