//! The scheduler on a virtual clock: what would happen if this placement met that workload.
//!
//! Start with [`simulate()`]. It drives the scheduler's machine event by event ([`engine`]), or, where every
//! decision falls at an arrival or where a first stage frees up, runs the same rules in a tight loop ([`tight`]);
//! tests hold the two equal to the nanosecond.
//!
//! **Invariant:** a run depends on its arguments alone: same arguments, same outcomes, on any machine.

mod agenda;
pub mod arithmetic;
mod branchless;
pub mod engine;
pub mod fault;
pub mod settings;
pub mod simulate;
pub mod table;
pub mod tight;

pub use engine::{Observer, StageRun};
pub use fault::{Fault, FaultKind};
pub use settings::SimulationSettings;
pub use simulate::{Engine, Run, SimulateError, simulate, simulate_observed};
pub use table::SimulationTable;
