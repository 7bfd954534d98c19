//! Where requests come from: arrival processes, recorded traces, and what is done to them.
//!
//! Start with [`WorkloadTable`], the `[workload]` table of a scenario, which leads to all the rest: our own
//! [`requests`] files, [`arrival`] processes with a [`split`] over models, and public trace [formats](mod@format) that are
//! [`recorded`] calls until a [`transform`] makes them requests.
//!
//! **Invariant:** all chance comes from a [`Seed`](statmux_core::Seed), and each model draws from a stream of its own.

mod clock;
mod datetime;
mod input;
mod merge;
mod messages;
mod names;
mod rows;

pub mod arrival;
pub mod format;
pub mod inspect;
pub mod recorded;
pub mod requests;
pub mod split;
pub mod synth;
pub mod table;
pub mod transform;

pub use format::Format;
pub use table::{Built, WorkloadTable};
