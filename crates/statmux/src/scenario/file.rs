//! The scenario file as written: each table belongs to the crate that knows what it means.

use serde::Deserialize;
use statmux_core::files::{ClusterTable, ModelTable, ProfilesTable};
use statmux_plan::PlannerTable;
use statmux_sim::SimulationTable;
use statmux_workload::WorkloadTable;

/// A scenario file (`docs/formats.md`, section 1).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioFile {
    pub(super) version: u32,
    #[serde(default)]
    pub(super) seed: u64,
    pub(super) cluster: ClusterTable,
    pub(super) profiles: ProfilesTable,
    #[serde(default)]
    pub(super) models: Vec<ModelTable>,
    pub(super) workload: Option<WorkloadTable>,
    #[serde(default)]
    pub(super) simulation: SimulationTable,
    #[serde(default)]
    pub(super) planner: PlannerTable,
}
