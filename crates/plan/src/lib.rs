//! Placements by search: which groups of devices, cut how, should hold which models.
//!
//! Start with [`Problem`] (what is asked), [`policy`] (how it is answered, and the list of policies) and
//! [`Evaluator`] (how candidates are judged: by simulating them).
//!
//! **Invariant:** a plan depends on the problem alone; the number of threads changes nothing but the time.

pub mod bound;
pub mod derive;
pub mod enumerate;
pub mod evaluate;
pub mod explain;
pub mod feasible;
pub mod integer;
pub mod intra_op;
pub mod memory;
pub mod notes;
pub mod parameters;
pub mod partition;
pub mod policy;
pub mod problem;
pub mod scene;
pub mod scheduling;
pub mod table;
pub mod unserved;

pub use evaluate::{Evaluation, Evaluator, Score};
pub use parameters::Parameters;
pub use policy::{Plan, PlanError, Policy, PolicyInfo, Progress, Report, Search, Silent};
pub use problem::Problem;
pub use scene::Scene;
pub use table::PlannerTable;

// Random problems are shared with the tests outside, which know this crate by its name.
#[cfg(test)]
extern crate self as statmux_plan;

#[cfg(test)]
#[allow(dead_code, reason = "each test uses a part")]
#[path = "../tests/common/mod.rs"]
mod test_cases;
