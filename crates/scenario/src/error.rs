//! Why a scenario could not be planned for or scored.

use statmux_core::files::FileError;
use statmux_plan::PlanError;
use statmux_sim::SimulateError;

/// Why a scenario could not be planned for or scored. The messages are those of the causes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A file is to change: it cannot be read, or what it asks for cannot be carried out.
    #[error(transparent)]
    File(#[from] FileError),
    /// The search failed.
    #[error(transparent)]
    Plan(PlanError),
    /// The simulation failed.
    #[error(transparent)]
    Simulate(SimulateError),
}

impl ScenarioError {
    /// Whether the user's input is at fault, not the program.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::File(error) if !error.is_while_writing())
    }
}
