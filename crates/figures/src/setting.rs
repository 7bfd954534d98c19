//! Writes scenario files: the few keys in which the experiments differ, and all others as published.

use std::fmt::Write as _;

/// The bytes that 13 GB of a 16 GB V100 leave for weights in the published experiments.
pub const MEMORY: &str = "13 GiB";

/// What an experiment says; everything else is as in the published simulator.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The root of all chance.
    pub seed: u64,
    /// How many devices.
    pub devices: u32,
    /// Memory of one device.
    pub memory: String,
    /// The profile file in the data folder.
    pub profile: String,
    /// The architecture of each model, in order.
    pub models: Vec<&'static str>,
    /// The deadline as a multiple of the latency alone on one device.
    pub slo: Slo,
    /// The lines of the `[workload]` table.
    pub workload: String,
    /// The lines of the `[workload.train]` table, if the planner sees other requests than those that are scored.
    pub train: Option<String>,
    /// The lines of the `[simulation]` table.
    pub simulation: String,
    /// The lines of the `[planner]` table.
    pub planner: String,
}

/// A deadline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slo {
    /// None: every request is served.
    None,
    /// A multiple of the model's latency alone on one device at batch size 1.
    Scale(f64),
    /// The same number of seconds for every model: for models that fit no single device.
    Seconds(f64),
}

/// The rules of the published fast simulator.
pub const PUBLISHED_RULES: &str = "fixed_overhead = \"11 ms\"\nstage_penalty = 0.009\ndispatch = \"least-clock\"\n\
                                   admission = \"deadline\"\ndiscipline = \"fcfs\"\n";

impl Setting {
    /// `models` on `devices` devices of 13 GiB under the published rules, without workload and policy yet.
    pub fn new(devices: u32, models: Vec<&'static str>) -> Self {
        Self {
            seed: 0,
            devices,
            memory: MEMORY.to_owned(),
            profile: crate::support::V100.to_owned(),
            models,
            slo: Slo::Scale(5.0),
            workload: String::new(),
            train: None,
            simulation: PUBLISHED_RULES.to_owned(),
            planner: String::new(),
        }
    }

    /// The scenario file.
    pub fn to_toml(&self) -> String {
        let mut text = format!("version = 1\nseed = {}\n\n[cluster]\ndevices = {}\n", self.seed, self.devices);
        let _ = write!(text, "devices_per_node = 8\nmemory = \"{}\"\n\n", self.memory);
        let _ = write!(text, "[profiles]\nfiles = [\"../../data/{}\"]\n", self.profile);
        self.write_models(&mut text);
        let _ = write!(text, "\n[workload]\n{}", self.workload);
        if let Some(train) = &self.train {
            let _ = write!(text, "\n[workload.train]\n{train}");
        }
        let _ = write!(text, "\n[simulation]\n{}", self.simulation);
        if !self.planner.is_empty() {
            let _ = write!(text, "\n[planner]\n{}", self.planner);
        }
        text
    }

    /// Equal models are written as one entry, mixed ones one by one, so that model `i` is always called `m{i}`.
    fn write_models(&self, text: &mut String) {
        let slo = match self.slo {
            Slo::None => "\"none\"".to_owned(),
            Slo::Scale(scale) => format!("{{ scale = {scale:?} }}"),
            Slo::Seconds(seconds) => format!("{{ latency = \"{seconds} s\" }}"),
        };
        let first = self.models.first().copied().unwrap_or_default();
        if self.models.iter().all(|&model| model == first) {
            let count = self.models.len();
            let _ =
                write!(text, "\n[[models]]\nname = \"m{{i}}\"\ncount = {count}\nprofile = \"{first}\"\nslo = {slo}\n");
            return;
        }
        for (index, model) in self.models.iter().enumerate() {
            let _ = write!(text, "\n[[models]]\nname = \"m{index}\"\nprofile = \"{model}\"\nslo = {slo}\n");
        }
    }
}

/// `[workload]` lines of Gamma arrivals: total requests per second, CV of each model's gaps, seconds, split.
pub fn gamma(rate: f64, cv: f64, seconds: f64, split: &str) -> String {
    format!("kind = \"gamma\"\nrate = {rate:?}\ncv = {cv:?}\nduration = \"{seconds} s\"\nsplit = {split}\n")
}

/// The split of the published mixed experiments.
pub const POWER_LAW: &str = "{ power_law = 0.5 }";

/// `[planner]` lines of a policy without parameters.
pub fn policy(name: &str) -> String {
    format!("policy = \"{name}\"\n")
}

/// The text of a placement file with one window: groups as (op, pp, models by number).
pub fn placement(groups: &[(u32, u32, Vec<usize>)]) -> String {
    let group = |(op, pp, models): &(u32, u32, Vec<usize>)| {
        let models: Vec<String> = models.iter().map(|model| format!("\"m{model}\"")).collect();
        format!("{{ \"op\": {op}, \"pp\": {pp}, \"models\": [{}] }}", models.join(", "))
    };
    let groups: Vec<String> = groups.iter().map(group).collect();
    format!(
        "{{ \"version\": 1, \"windows\": [ {{ \"start_s\": 0.0, \"groups\": [\n  {}\n] }} ] }}\n",
        groups.join(",\n  ")
    )
}
