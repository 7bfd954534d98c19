//! A scenario from file to figures: read it, plan for it, score the plan.
//!
//! ```no_run
//! use statmux_plan::Silent;
//! use statmux_scenario::Scenario;
//! # use std::path::Path;
//!
//! let scenario = Scenario::read(Path::new("scenario.toml"))?;
//! let planned = scenario.plan(None, &Silent)?;
//! let scored = scenario.score(&planned.plan, &scenario.test)?;
//! println!("{}: {}", planned.policy, scored.results.slo_attainment);
//! # Ok::<(), statmux_scenario::ScenarioError>(())
//! ```
//!
//! The command line, the figures and the benchmark suite all stand on these four steps: [`Scenario::read`] (with values
//! replaced, another seed, or requests kept from before: [`Reader`]), [`Scenario::problem`] (what a policy may see),
//! [`Scenario::plan`] and [`Scenario::score`].
//!
//! **Invariant:** what a policy may see is decided in [`Scenario::trained_on_by`] alone. Nothing here prints: what
//! there is to say of a scenario stands in its remarks and warnings.

mod bounds;
mod error;
mod file;
mod overrides;
mod plan;
mod scenario;
mod score;
mod strange;
mod trained_on;
mod workloads;

pub use bounds::{BOUND_OF, bounded};
pub use error::ScenarioError;
pub use overrides::{Override, parse_over};
pub use plan::{Planned, is_clairvoyant};
pub use scenario::{Reader, Scenario, Source};
pub use score::{Scored, short_of_floor};
pub use trained_on::TrainedOn;
pub use workloads::Workloads;
