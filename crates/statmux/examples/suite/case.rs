//! A scenario file, and what a policy's plan does on it.

use super::Result;
use statmux_core::Workload;
use statmux_plan::Silent;
use statmux_plan::bound::Of;
use statmux_scenario::{Override, Reader, Scenario, TrainedOn};
use std::path::Path;

/// A scenario with a train window.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) scenario: Scenario,
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
    /// Reads the scenario at `path` with some of its values replaced.
    pub(super) fn load(path: &Path, overrides: &[Override]) -> Result<Self> {
        Self::new(Scenario::read_with(path, overrides, None)?)
    }

    /// The scenario that `text` describes, as if it stood at `path`.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self> {
        Self::new(Reader::default().parse(path, text)?)
    }

    fn new(scenario: Scenario) -> Result<Self> {
        if scenario.trained_on != TrainedOn::OwnWindow {
            return Err("scenarios of the suite have a train window".into());
        }
        let name = scenario.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, scenario })
    }

    /// Plans with `policy`, written as `name` or `name:key=value,…`, and scores the plan on both windows.
    pub(super) fn score(&self, policy: &str) -> Result<Scored> {
        let (name, keys) = policy.split_once(':').unwrap_or((policy, ""));
        let planner = toml::from_str(&format!("policy = \"{name}\"\n{}", keys.replace(',', "\n")))?;
        let scenario = Scenario { planner, ..self.scenario.clone() };
        let planned = scenario.plan(None, &Silent)?;
        for window in &planned.plan.windows.0 {
            let max_batch = planned.plan.scheduling.map_or(scenario.simulation.scheduler.max_batch, |s| s.max_batch);
            window.placement.check(&scenario.cluster, &scenario.models, max_batch)?;
        }
        // All requests count, whatever the scenario's warm-up.
        let in_slo = |workload: &Workload| -> Result<u64> {
            let run = scenario.score(&planned.plan, workload)?.run;
            Ok(run.outcomes.iter().filter(|outcome| outcome.in_slo()).count() as u64)
        };
        let share = |count: u64, workload: &Workload| count as f64 / workload.len().max(1) as f64;
        let tested = in_slo(&scenario.test)?;
        Ok(Scored {
            train: share(in_slo(&scenario.train)?, &scenario.train),
            test: share(tested, &scenario.test),
            requests: scenario.test.len() as u64,
            missed: scenario.test.len() as u64 - tested,
            fixed_bound: scenario.bound_of(&scenario.test, Of::StayingPlacements),
            bound: scenario.bound_of(&scenario.test, Of::AnyPlacements),
            seconds: planned.wall.as_secs_f64(),
            evaluations: planned.plan.evaluations,
        })
    }
}
