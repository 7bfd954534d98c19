//! What becomes of requests under a plan.

use crate::error::ScenarioError;
use crate::scenario::Scenario;
use statmux_core::files::{FileError, PlacementFile, ResultsFile};
use statmux_core::summary::{Finished, GroupUse};
use statmux_core::{Outcome, PlacementWindows, Share, Workload};
use statmux_plan::notes::hops;
use statmux_plan::policy::statmux::Scheduling;
use statmux_plan::unserved::unserved;
use statmux_plan::{Plan, Scene};
use statmux_sim::{Observer, Run, SimulationSettings, simulate, simulate_observed};
use std::borrow::Cow;
use std::path::Path;
use std::time::Instant;

/// A simulated run, and its summary.
#[derive(Clone, Debug)]
pub struct Scored {
    /// What became of each request.
    pub run: Run,
    /// The figures, judged by the scenario's floor.
    pub results: ResultsFile,
}

/// Requests by which the models of `results` fall short of `floor`, together.
pub fn short_of_floor(results: &ResultsFile, floor: Option<Share>) -> u64 {
    let short =
        |floor: Share| results.models.iter().map(|model| floor.short(model.requests, model.served_in_slo)).sum();
    floor.map_or(0, short)
}

impl Scenario {
    /// Simulates `plan` under `workload`, with the scheduling options that it chose.
    ///
    /// # Errors
    /// If it cannot be simulated, for instance since a fault is of a group that is not there.
    pub fn score(&self, plan: &Plan, workload: &Workload) -> Result<Scored, ScenarioError> {
        self.score_under(&self.settings_of(plan), &plan.windows, workload)
    }

    /// Simulates `windows` under `workload` and the scenario's scheduling options.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn score_placement(&self, windows: &PlacementWindows, workload: &Workload) -> Result<Scored, ScenarioError> {
        self.score_under(&self.simulation, windows, workload)
    }

    /// Simulates `windows` under `workload` and the scenario's scheduling options without summing up, telling `observer`
    /// of every stage that ran.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn observe(
        &self,
        windows: &PlacementWindows,
        workload: &Workload,
        observer: Observer<'_>,
    ) -> Result<Run, ScenarioError> {
        let run = simulate_observed(&self.cluster, &self.models, windows, workload, &self.simulation, observer);
        run.map_err(|error| self.blamed(error))
    }

    /// The settings under which `plan` is meant to be run.
    fn settings_of(&self, plan: &Plan) -> Cow<'_, SimulationSettings> {
        match plan.scheduling {
            Some(chosen) => Cow::Owned(chosen.apply(&self.simulation)),
            None => Cow::Borrowed(&self.simulation),
        }
    }

    /// The scheduling options that `plan` was made for, if it chose any, take the place of the scenario's.
    pub fn adopt_plan(&mut self, plan: &Plan) {
        self.simulation = self.settings_of(plan).into_owned();
    }

    /// Reads the placement file at `path`; scheduling options that it was made for take the place of the scenario's.
    ///
    /// # Errors
    /// If it cannot be read, or does not fit the scenario.
    pub fn adopt_placement(&mut self, path: &Path) -> Result<PlacementWindows, FileError> {
        self.adopt(PlacementFile::read(path)?, path)
    }

    /// The same for a placement file that was read from `path` already.
    ///
    /// # Errors
    /// If it does not fit the scenario.
    pub fn adopt(&mut self, file: PlacementFile, path: &Path) -> Result<PlacementWindows, FileError> {
        if let Some(entry) = file.scheduling() {
            self.simulation = Scheduling::read(entry, path)?.apply(&self.simulation);
        }
        file.resolve(path, &self.cluster, &self.models, self.simulation.scheduler.max_batch)
    }

    fn score_under(
        &self,
        settings: &SimulationSettings,
        windows: &PlacementWindows,
        workload: &Workload,
    ) -> Result<Scored, ScenarioError> {
        let began = Instant::now();
        let run = simulate(&self.cluster, &self.models, windows, workload, settings);
        let run = run.map_err(|error| self.blamed(error))?;
        let wall = began.elapsed().as_secs_f64();
        let mut results = self.results_under(settings, windows, workload, (&run.outcomes, &run.groups));
        results.wall_s = wall;
        results.requests_per_wall_second = if wall > 0.0 { workload.len() as f64 / wall } else { 0.0 };
        Ok(Scored { run, results })
    }

    /// The summary of a run of this scenario, simulated or served, with the models that nobody serves, what is assumed of
    /// hops, and judged by the scenario's floor; wall-clock figures are left for the caller to fill in.
    pub fn results(
        &self,
        windows: &PlacementWindows,
        workload: &Workload,
        outcomes: &[Outcome],
        groups: &[GroupUse],
    ) -> ResultsFile {
        self.results_under(&self.simulation, windows, workload, (outcomes, groups))
    }

    fn results_under(
        &self,
        settings: &SimulationSettings,
        windows: &PlacementWindows,
        workload: &Workload,
        (outcomes, groups): (&[Outcome], &[GroupUse]),
    ) -> ResultsFile {
        let (models, warmup, seed) = (&self.models, self.simulation.warmup, self.seed.0);
        let mut results = Finished { workload, models, windows, outcomes, groups, warmup, seed }.results();
        let scene = Scene { cluster: &self.cluster, models, settings, workload, placement: windows };
        results.unserved = unserved(&scene, &results);
        results.notes.extend(hops(&self.cluster, models, windows));
        results.judged_by(self.planner.floor())
    }
}
