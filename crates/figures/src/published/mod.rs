//! The published results, embedded, and what is needed to make their cases again.

pub mod arrivals;
pub mod twister;

pub use arrivals::Arrivals;

use crate::error::FiguresError;
use flate2::read::GzDecoder;
use serde::Deserialize;

const ROWS: &[u8] = include_bytes!("../../data/alpaserve-results.csv.gz");

/// One published experiment point.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Row {
    /// Its number.
    pub row_id: u32,
    /// Which experiment it belongs to.
    pub family: String,
    /// Which quantity that experiment varies.
    pub exp_name: String,
    /// `gamma`, `azure_v1` or `azure_v2`.
    pub workload: String,
    /// The architecture of all models, where they are equal.
    pub model_type: String,
    /// Models.
    pub num_models: usize,
    /// Devices.
    pub num_devices: u32,
    /// Requests per second, for synthetic traffic.
    pub total_rate: Option<f64>,
    /// By what the rate of a trace is multiplied.
    pub rate_scale: Option<f64>,
    /// CV of the gaps, for synthetic traffic.
    pub cv: Option<f64>,
    /// The CV of a resampled trace, or what it is multiplied by.
    pub cv_scale: Option<f64>,
    /// Deadline over latency alone on one device.
    pub slo_scale: f64,
    /// The policy, by its published name.
    pub policy: String,
    /// The result.
    pub attainment: f64,
    /// `simulate` or `run` (on real devices).
    pub mode: String,
    /// `shape:model,model` per group, separated by `;`; empty where none was recorded.
    pub placement: String,
}

/// Groups as (op, pp, models by number).
pub type Groups = Vec<(u32, u32, Vec<usize>)>;

/// All published rows.
pub fn rows() -> Result<Vec<Row>, FiguresError> {
    let rows = csv::Reader::from_reader(GzDecoder::new(ROWS)).into_deserialize();
    rows.collect::<Result<_, _>>().map_err(|cause| FiguresError::Embedded(cause.to_string()))
}

/// The six architectures of the mixed experiments, in the order in which they take turns.
pub const MIXED: [&str; 6] = ["bert-6.7b", "moe-5.3b", "bert-2.6b", "moe-2.4b", "bert-1.3b", "moe-1.3b"];

/// The three of the experiments on transformers alone.
pub const TRANSFORMERS: [&str; 3] = ["bert-6.7b", "bert-2.6b", "bert-1.3b"];

impl Row {
    /// The architecture of each model.
    pub fn models(&self) -> Vec<&'static str> {
        let equal = MIXED.into_iter().find(|&name| name == self.model_type);
        let set: &[&'static str] = match equal {
            Some(_) => equal.as_slice(),
            None if self.family.contains("bert") => &TRANSFORMERS,
            None => &MIXED,
        };
        set.iter().copied().cycle().take(self.num_models).collect()
    }

    /// The requests that the placement was scored on; only synthetic ones can be drawn again.
    pub fn arrivals(&self) -> Option<Arrivals> {
        Some(Arrivals { models: self.num_models, rate: self.total_rate?, cv: self.cv?, seconds: 200.0 })
    }

    /// Our name of the policy, and its parameters as lines of the `[planner]` table.
    pub fn planner(&self) -> String {
        let planner = match self.policy.as_str() {
            "mp-search" => "policy = \"alpaserve\"",
            "mp-search-sep" => "policy = \"alpaserve-buckets\"",
            "mp-round-robin" => "policy = \"round-robin\"",
            "mp-greedy-4" => "policy = \"greedy-k\"\ngroup_size = 4",
            "sr-replace-60" => "policy = \"clockwork++\"\ninterval = \"60 s\"",
            "sr-replace-21600" => "policy = \"clockwork++\"\ninterval = \"21600 s\"",
            _ => "policy = \"selective-replication\"",
        };
        format!("{planner}\n")
    }

    /// The name under which the policy is shown.
    pub fn policy_label(&self) -> &'static str {
        match self.policy.as_str() {
            "mp-search" => "AlpaServe",
            "mp-search-sep" => "AlpaServe, buckets",
            "mp-round-robin" => "round robin",
            "mp-greedy-4" => "greedy, 4 stages",
            "sr-replace-60" | "sr-replace-21600" => "Clockwork++",
            _ => "SR",
        }
    }

    /// The published placement.
    pub fn groups(&self) -> Result<Option<Groups>, FiguresError> {
        if self.placement.is_empty() {
            return Ok(None);
        }
        let damaged = || FiguresError::Embedded(format!("the placement of row {} cannot be read", self.row_id));
        let group = |text: &str| -> Option<(u32, u32, Vec<usize>)> {
            let (shape, models) = text.split_once(':')?;
            let (op, pp) = shape.strip_prefix("d1o")?.split_once('p')?;
            let models = models.split(',').filter(|model| !model.is_empty()).map(str::parse);
            Some((op.parse().ok()?, pp.parse().ok()?, models.collect::<Result<_, _>>().ok()?))
        };
        let groups: Option<Groups> = self.placement.split(';').map(group).collect();
        groups.map(Some).ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let rows = rows().expect("the embedded table is whole");
        assert_eq!(rows.len(), 1080);
        let placed = rows.iter().filter(|row| row.groups().expect("placements are read").is_some()).count();
        assert_eq!(placed, 1011);
        for row in &rows {
            let devices: u32 = row.groups().expect("read").iter().flatten().map(|(op, pp, _)| op * pp).sum();
            assert!(devices <= row.num_devices, "row {}", row.row_id);
            assert_eq!(row.models().len(), row.num_models);
            assert_eq!(row.arrivals().is_some(), row.workload == "gamma");
        }
    }
}
