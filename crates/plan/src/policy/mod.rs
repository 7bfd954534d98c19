//! How placements are found: a file per policy, and the list of them all.
//!
//! To add one: write `policy/<name>.rs` with a struct that implements [`Policy`] and a constant `INFO`, and add
//! the constant to [`ALL`]. Command line, documentation and the test of all policies read that list.

pub mod alpaserve;
pub mod beam;
pub mod buckets;
pub mod clockwork;
pub mod equal;
mod fast_greedy;
mod filling;
pub mod greedy_k;
pub mod integer_program;
pub mod round_robin;
pub mod selective_replication;
pub mod statmux;
pub mod uniform_replication;

use crate::enumerate::in_device_order;
use crate::evaluate::{Evaluator, Score};
use crate::integer::IntegerProgramError;
use crate::parameters::Parameters;
use crate::problem::Problem;
use statmux_core::{ModelId, Placement, PlacementError, PlacementWindows};
use statmux_sim::SimulateError;

/// Every policy, in the order in which it is listed.
pub const ALL: &[PolicyInfo] = &[
    statmux::INFO,
    alpaserve::INFO,
    buckets::INFO,
    selective_replication::INFO,
    beam::INFO,
    integer_program::SELECTIVE_REPLICATION_ILP,
    clockwork::INFO,
    uniform_replication::INFO,
    round_robin::INFO,
    greedy_k::INFO,
    integer_program::MODEL_PARALLEL_ILP,
    equal::INFO,
];

/// The policy a scenario uses that names none.
pub const DEFAULT: &str = statmux::INFO.name;

/// A way to find placements.
pub trait Policy: Send + Sync {
    /// Its name in scenarios.
    fn name(&self) -> &'static str;

    /// Searches a placement for the problem of `search`.
    ///
    /// The same problem gives the same plan on any number of threads, unless the search is asked to stop.
    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError>;
}

/// What there is to say of a policy without running it.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInfo {
    /// Its name in scenarios.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Whether it follows rules that were published under this name, or one that stands for it.
    pub published: bool,
    /// Whether it is meant to see the very requests it will be judged on, as published.
    pub clairvoyant: bool,
    /// Whether its plans may load other models while requests arrive.
    pub replaces: bool,
    /// Whether it looks for the best plan it can find, and is free to leave devices idle: where it finds a worse plan
    /// on more devices, the better one of fewer stands. Published policies are left as they were published.
    pub improves: bool,
    /// The keys of the `[planner]` table that it uses.
    pub parameters: &'static [Parameter],
    /// Makes the policy from those keys.
    pub build: fn(&Parameters) -> Box<dyn Policy>,
}

/// A key of the `[planner]` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The key.
    pub key: &'static str,
    /// What it sets, and its default.
    pub about: &'static str,
}

/// A placement that was found, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What to load where, and when.
    pub windows: PlacementWindows,
    /// The scheduling options it was made for; `None` for those of the scenario.
    pub scheduling: Option<statmux::Scheduling>,
    /// How many candidates were simulated.
    pub evaluations: u64,
    /// What a reader should know of the search, as sentences.
    pub notes: Vec<String>,
    /// Figures that only some policies have.
    pub details: Details,
}

/// Figures that only some policies have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// The value of the integer program's objective.
    pub ilp_objective: Option<f64>,
    /// No solution of the integer program has a larger objective than this.
    pub ilp_bound: Option<f64>,
    /// Whether no placement can be better by the policy's own measure.
    pub proven: Option<bool>,
}

/// Why no placement was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The cluster is too small for what the policy was told to build.
    #[error("{policy} needs {needed} devices {why}, but the cluster has {available}")]
    TooFewDevices {
        /// The policy.
        policy: &'static str,
        /// How many it needs.
        needed: usize,
        /// What for.
        why: String,
        /// How many there are.
        available: usize,
    },
    /// A policy that leaves no choice was told to build something that cannot be carried out.
    #[error("{policy}: {cause}")]
    Impossible {
        /// The policy.
        policy: &'static str,
        /// What is wrong with it.
        cause: PlacementError,
    },
    /// An integer program has no meaning for a model.
    #[error("{policy} cannot plan for {model}: {cause}")]
    IntegerProgram {
        /// The policy.
        policy: &'static str,
        /// The model.
        model: String,
        /// What is wrong with it.
        cause: IntegerProgramError,
    },
    /// A candidate could not be simulated.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
}

/// Told how a search gets on, from any thread, and asked whether to go on.
pub trait Progress: Sync {
    /// Something was found out.
    fn report(&self, report: Report<'_>);

    /// Whether to stop: the search then returns the best it has.
    fn stop(&self) -> bool {
        false
    }
}

/// How a search gets on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report<'a> {
    /// The candidate that was just finished.
    pub candidate: &'a str,
    /// Its SLO attainment on the requests it was judged on.
    pub attainment: f64,
    /// What no candidate can exceed on the same requests, where the search knows.
    pub bound: Option<f64>,
    /// Candidates simulated so far.
    pub evaluations: u64,
}

/// Tells nobody, and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Report<'_>) {}
}

/// The policy of this name.
pub fn find(name: &str) -> Option<&'static PolicyInfo> {
    ALL.iter().find(|info| info.name == name)
}

/// What every policy is given, in one place.
#[derive(Clone, Copy)]
pub struct Search<'s> {
    /// What a placement is searched for.
    pub problem: &'s Problem<'s>,
    /// Judges candidates; it was made from the problem.
    pub evaluator: &'s Evaluator<'s>,
    /// Told how the search gets on, and asked whether to go on.
    pub progress: &'s dyn Progress,
}

impl Search<'_> {
    /// Every model, in order.
    fn all_models(&self) -> Vec<ModelId> {
        (0..self.problem.models.len()).map(ModelId::from_index).collect()
    }

    /// The plan that is one placement for the whole run.
    fn plan(&self, placement: Placement) -> Plan {
        self.plan_windows(PlacementWindows::fixed(in_device_order(placement, self.problem.cluster)))
    }

    /// A candidate was finished.
    fn report(&self, candidate: &str, score: &Score) {
        let evaluations = self.evaluator.evaluations();
        self.progress.report(Report { candidate, attainment: score.attainment(), bound: None, evaluations });
    }

    /// Checks that there are `needed` devices for what `why` says.
    fn needs(&self, policy: &'static str, needed: usize, why: impl FnOnce() -> String) -> Result<(), PlanError> {
        let available = self.problem.cluster.len();
        if needed <= available {
            return Ok(());
        }
        Err(PlanError::TooFewDevices { policy, needed, why: why(), available })
    }

    fn plan_windows(&self, windows: PlacementWindows) -> Plan {
        let mut notes = Vec::new();
        if self.progress.stop() {
            notes.push("The search was stopped early: this is the best placement it had seen.".to_owned());
        }
        let evaluations = self.evaluator.evaluations();
        Plan { windows, scheduling: None, evaluations, notes, details: Details::default() }
    }
}
