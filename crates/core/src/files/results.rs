//! Result files: what a run achieved (`docs/formats.md`, section 5).

use crate::metrics::{Counts, LatencySummary, Share};
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
    /// The model with requests whose attainment is lowest; absent without requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_model: Option<WorstModel>,
    /// Models without a replica, and those of whose requests none was answered in time, with the reason.
    #[serde(default)]
    pub unserved: Vec<UnservedModel>,
    /// How the models stand to the floor that each was promised; absent where none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<FloorResult>,
    /// What a reader should know of these figures, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// One entry per group and window.
    pub groups: Vec<GroupResult>,
    /// Wall-clock time of the simulation itself.
    pub wall_s: f64,
    /// Requests simulated per second of wall-clock time.
    pub requests_per_wall_second: f64,
    /// What in the scenario looks like a mistake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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

/// The model that got least.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct WorstModel {
    /// Its name.
    pub name: String,
    /// Requests for it.
    pub requests: u64,
    /// Of these, answered in time.
    pub served_in_slo: u64,
    /// The same as a share.
    pub slo_attainment: f64,
}

impl WorstModel {
    /// The share of its requests answered in time, from the counts: the same wherever these were written and read.
    pub fn attainment(&self) -> f64 {
        self.served_in_slo as f64 / self.requests.max(1) as f64
    }
}

/// Which models fall short of the share that every model was promised.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct FloorResult {
    /// The share.
    pub slo_attainment: f64,
    /// Whether every model with requests reaches it.
    pub reached: bool,
    /// The names of those that do not, the worst first.
    pub below: Vec<String>,
}

/// A model that nobody serves.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct UnservedModel {
    /// Its name.
    pub name: String,
    /// Requests for it, none of which was answered in time.
    pub requests: u64,
    /// How many groups hold it (the most over all windows).
    pub replicas: u32,
    /// `no_profile`, `memory`, `deadline`, `policy`, `placement` or `load`; `docs/metrics.md` explains them.
    pub reason: String,
    /// The reason in words, with its figures.
    pub detail: String,
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

impl ResultsFile {
    /// The same results, judged by `floor`.
    #[must_use]
    pub fn judged_by(mut self, floor: Option<Share>) -> Self {
        self.floor = floor.map(|floor| {
            let below: Vec<String> = self.below(floor).into_iter().map(|model| model.name.clone()).collect();
            FloorResult { slo_attainment: floor.get(), reached: below.is_empty(), below }
        });
        self
    }

    /// Whether every model reaches the floor that these results were judged by, if any.
    pub fn keeps_floor(&self) -> bool {
        self.floor.as_ref().is_none_or(|floor| floor.reached)
    }

    /// The models that got less than `floor` of their requests in time, the worst first.
    pub fn below(&self, floor: Share) -> Vec<&ModelResult> {
        let short = |model: &&ModelResult| floor.short(model.requests, model.served_in_slo) > 0;
        let mut below: Vec<&ModelResult> = self.models.iter().filter(short).collect();
        below.sort_by(|a, b| a.slo_attainment.total_cmp(&b.slo_attainment));
        below
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
