//! What a policy may see of a scenario, and what it makes of it.

use crate::error::ScenarioError;
use crate::scenario::Scenario;
use crate::trained_on::TrainedOn;
use statmux_core::Workload;
use statmux_core::files::FileError;
use statmux_plan::policy::find;
use statmux_plan::{Evaluator, Plan, PlanError, Problem, Progress, Search};
use statmux_sim::SimulateError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whether the policy of this name is meant to see the very requests that it is scored on.
pub fn is_clairvoyant(policy: &str) -> bool {
    find(policy).is_some_and(|info| info.clairvoyant)
}

/// A plan, and what it took.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The policy's name.
    pub policy: &'static str,
    /// What it proposes.
    pub plan: Plan,
    /// How long the search took.
    pub wall: Duration,
    /// What the policy saw.
    pub trained_on: TrainedOn,
}

impl Planned {
    /// Whether no group holds a model, as where a search was stopped before it had found anything.
    pub fn holds_nothing(&self) -> bool {
        self.plan.windows.0.iter().all(|window| window.placement.replicas() == 0)
    }
}

impl Scenario {
    /// Which requests the policy of this name may see: those to train on, unless it is clairvoyant.
    pub fn trained_on_by(&self, policy: &str) -> TrainedOn {
        match self.trained_on {
            TrainedOn::OwnWindow if is_clairvoyant(policy) => TrainedOn::Clairvoyant,
            trained_on => trained_on,
        }
    }

    /// Those requests.
    pub fn seen(&self, trained_on: TrainedOn) -> &Arc<Workload> {
        match trained_on {
            TrainedOn::TestWindow | TrainedOn::OwnWindow => &self.train,
            TrainedOn::Clairvoyant => &self.test,
        }
    }

    /// All that the policy of this name may know.
    pub fn problem(&self, policy: &str) -> Problem<'_> {
        Problem {
            cluster: &self.cluster,
            models: &self.models,
            settings: &self.simulation,
            train: self.seen(self.trained_on_by(policy)),
            seed: self.seed.stream("planner"),
        }
    }

    /// Plans with the scenario's policy, or with `policy` instead.
    ///
    /// # Errors
    /// [`ScenarioError::File`] if what the scenario asks for cannot be built.
    pub fn plan(&self, policy: Option<&str>, progress: &dyn Progress) -> Result<Planned, ScenarioError> {
        let built = self.planner.build_each(&self.path, &[policy.unwrap_or(self.planner.policy())])?;
        let policy = built.into_iter().next().expect("one name was given");
        let name = policy.name();
        let problem = self.problem(name);
        let began = Instant::now();
        let evaluator = Evaluator::new(&problem);
        let search = Search { problem: &problem, evaluator: &evaluator, progress };
        let plan = policy.place(&search).map_err(|error| match error {
            // What a scenario asks for cannot be built: the file is to change, not the program.
            PlanError::TooFewDevices { .. } | PlanError::Impossible { .. } | PlanError::IntegerProgram { .. } => {
                let what = format!("cannot be carried out: {error}");
                ScenarioError::File(FileError::at_field(&self.path, "planner", what))
            }
            PlanError::Simulate(error) => self.blamed(error),
            other => ScenarioError::Plan(other),
        })?;
        Ok(Planned { policy: name, plan, wall: began.elapsed(), trained_on: self.trained_on_by(name) })
    }

    /// The error of a simulation; a fault of a group that is not there is the scenario's.
    pub(crate) fn blamed(&self, error: SimulateError) -> ScenarioError {
        match error {
            SimulateError::NoSuchGroup { .. } => {
                let what = format!("do not fit: {error}");
                ScenarioError::File(FileError::at_field(&self.path, "simulation.faults", what))
            }
            other => ScenarioError::Simulate(other),
        }
    }
}
