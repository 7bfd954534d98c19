//! A small scenario and the files it names.

#![allow(dead_code, reason = "each test uses a part")]

use statmux_scenario::Scenario;
use std::path::{Path, PathBuf};

pub(crate) const PROFILE: &str = r#"{ "version": 1, "device": "a test", "provenance": "assumed", "models": { "small": { "configs": [
  { "op": 1, "pp": 1, "stage_latency_s": { "1": [0.1] }, "stage_weight_bytes": [1000000000] },
  { "op": 1, "pp": 2, "stage_latency_s": { "1": [0.06, 0.06] }, "stage_weight_bytes": [500000000, 500000000] } ] } } }"#;

pub(crate) const REQUESTS: &str = "arrival_s,model\n0.0,m0\n0.1,m1\n0.2,m0\n0.9,m1\n1.5,m0\n";

/// `[simulation]` lines of the published simulator.
pub(crate) const PEER: &str = "fixed_overhead = \"11 ms\"\nstage_penalty = 0.009\ndispatch = \"least-clock\"\n\
                               admission = \"deadline\"\ndiscipline = \"fcfs\"\n";

/// `[workload]` lines of requests that are drawn.
pub(crate) const GAMMA: &str = "kind = \"gamma\"\nrate = 8.0\ncv = 3.0\nduration = \"20 s\"\n";

/// `[workload]` lines of requests that are recorded.
pub(crate) const RECORDED: &str = "kind = \"trace\"\nformat = \"requests\"\nfiles = [\"r.csv\"]\nmapping = \"by-name\"\n\
                                   [workload.train]\nmax_requests = 3\n";

/// A scenario with these lines of `[workload]` and `[simulation]`.
pub(crate) fn scenario(workload: &str, simulation: &str) -> String {
    format!(
        "version = 1\nseed = 3\n[cluster]\ndevices = 2\ndevices_per_node = 1\nmemory = \"2 GB\"\n\
         [profiles]\nfiles = [\"p.json\"]\n\
         [[models]]\nname = \"m{{i}}\"\ncount = 2\nprofile = \"small\"\nslo = {{ scale = 3.0 }}\n\
         [workload]\n{workload}\n[planner]\npolicy = \"selective-replication\"\n[simulation]\n{simulation}\n"
    )
}

/// A folder with the scenario `text` and the files it names, and the scenario's path.
pub(crate) fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [("p.json", PROFILE), ("r.csv", REQUESTS), ("s.toml", text)] {
        std::fs::write(folder.path().join(name), text).expect("the folder is ours");
    }
    let path = folder.path().join("s.toml");
    (folder, path)
}

pub(crate) fn read(path: &Path) -> Scenario {
    Scenario::read(path).unwrap_or_else(|error| panic!("{error}"))
}
