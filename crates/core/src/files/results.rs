//! Result files: what a run achieved (`docs/formats.md`, section 5).

use crate::metrics::{Counts, LatencySummary};
use serde::{Deserialize, Serialize};

/// The summary of a run, simulated or served.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct ResultsFile {
    /// File version.
    pub version: u32,
    /// The scenario's seed.
    pub seed: u64,
    /// All requests.
    pub requests: u64,
    /// Answered within their SLO.
    pub served_in_slo: u64,
    /// Answered too late.
    pub served_late: u64,
    /// Not answered: refused, without replica, or lost.
    pub rejected: u64,
    /// How many of `rejected` asked for a model that no group held.
    pub no_replica: u64,
    /// How many of `rejected` were lost with a group.
    pub failed: u64,
    /// Requests answered in time over all requests.
    pub slo_attainment: f64,
    /// Requests per second answered in time.
    pub goodput_rps: f64,
    /// The time over which requests arrived.
    pub duration_s: f64,
    /// Over served requests; absent when none was served.
    pub latency_s: Option<LatencyResult>,
    /// One entry per model.
    pub models: Vec<ModelResult>,
    /// One entry per group and window.
    pub groups: Vec<GroupResult>,
    /// Wall-clock time of the simulation itself.
    pub wall_s: f64,
    /// Requests simulated per second of wall-clock time.
    pub requests_per_wall_second: f64,
}

/// Latencies in seconds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[allow(missing_docs)]
pub struct LatencyResult {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

/// What one model got.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct ModelResult {
    /// Its name.
    pub name: String,
    /// Requests for it.
    pub requests: u64,
    /// Answered within the SLO.
    pub served_in_slo: u64,
    /// Answered too late.
    pub served_late: u64,
    /// Not answered.
    pub rejected: u64,
    /// Share of its requests answered in time; 1 when it had none.
    pub slo_attainment: f64,
    /// Its SLO in seconds; absent without one.
    pub slo_s: Option<f64>,
    /// How many groups hold it (the most over all windows).
    pub replicas: u32,
    /// Over its served requests.
    pub latency_s: Option<LatencyResult>,
}

/// What one group did.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct GroupResult {
    /// The window the group belongs to, from 0.
    pub window: u32,
    /// Its devices.
    pub devices: Vec<u32>,
    /// Intra-operator degree.
    pub op: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Names of the models it holds.
    pub models: Vec<String>,
    /// Requests it served.
    pub requests: u64,
    /// Busy device time over device time available while requests arrived, averaged over its stages.
    pub utilization: f64,
}

impl From<LatencySummary> for LatencyResult {
    fn from(summary: LatencySummary) -> Self {
        let LatencySummary { mean, p50, p90, p99, max } = summary;
        Self { mean, p50, p90, p99, max }
    }
}

impl ModelResult {
    /// The entry of the model `name` that ended with `counts`.
    pub fn new(
        name: String,
        counts: &Counts,
        slo_s: Option<f64>,
        replicas: u32,
        latency: Option<LatencySummary>,
    ) -> Self {
        Self {
            name,
            requests: counts.requests,
            served_in_slo: counts.in_slo,
            served_late: counts.late,
            rejected: counts.rejected + counts.no_replica + counts.failed,
            slo_attainment: counts.attainment(),
            slo_s,
            replicas,
            latency_s: latency.map(LatencyResult::from),
        }
    }
}
