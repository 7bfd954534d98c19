//! The scenario file as written: each table belongs to the crate that knows what it means.

use serde::Deserialize;
use statmux_core::files::{ClusterTable, ModelTable};
use statmux_plan::PlannerTable;
use statmux_plan::derive::ProfilesTable;
use statmux_sim::SimulationTable;
use statmux_workload::WorkloadTable;

/// A scenario file (`docs/formats.md`, section 1).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScenarioFile {
    pub(crate) version: u32,
    #[serde(default)]
    pub(crate) seed: u64,
    pub(crate) cluster: ClusterTable,
    pub(crate) profiles: ProfilesTable,
    #[serde(default)]
    pub(crate) models: Vec<ModelTable>,
    pub(crate) workload: Option<WorkloadTable>,
    #[serde(default)]
    pub(crate) simulation: SimulationTable,
    #[serde(default)]
    pub(crate) planner: PlannerTable,
}
