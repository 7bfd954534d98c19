//! A folder with a small scenario, and the binary run in it.

// Each test program uses its own part of this.
#![allow(dead_code)]

pub(crate) mod serving;

use std::process::{Command, Output};

/// A scenario that plans and simulates in milliseconds.
pub(crate) const SCENARIO: &str = r#"version = 1
seed = 3

[cluster]
devices = 4
memory = "13 GiB"

[profiles]
files = ["profile.json"]

[[models]]
name = "m{i}"
count = 4
profile = "small"
slo = { scale = 5.0 }

[workload]
kind = "gamma"
rate = 20.0
cv = 3.0
duration = "60 s"
split = { power_law = 0.5 }

[simulation]
fixed_overhead = "11 ms"
stage_penalty = 0.009
dispatch = "least-clock"
admission = "deadline"
discipline = "fcfs"

[planner]
policy = "alpaserve"
"#;

/// Two configurations of one model: 6 GB, 100 ms.
pub(crate) const PROFILE: &str = r#"{"version": 1, "device": "test", "provenance": "assumed: for tests", "models": {"small": {"configs": [
  {"op": 1, "pp": 1, "stage_latency_s": {"1": [0.1], "2": [0.15]}, "stage_weight_bytes": [6000000000]},
  {"op": 1, "pp": 2, "stage_latency_s": {"1": [0.05, 0.05]}, "stage_weight_bytes": [3000000000, 3000000000]},
  {"op": 2, "pp": 1, "stage_latency_s": {"1": [0.06]}, "stage_weight_bytes": [3000000000]},
  {"op": 1, "pp": 4, "stage_latency_s": {"1": [0.025, 0.026, 0.025, 0.025]}, "stage_weight_bytes": [1500000000, 1500000000, 1500000000, 1500000000]}
]}}}"#;

/// A folder to run the binary in.
pub(crate) struct Session {
    folder: tempfile::TempDir,
}

/// What a run of the binary left behind.
pub(crate) struct Ran {
    /// Exit code.
    pub(crate) code: i32,
    /// Data.
    pub(crate) stdout: String,
    /// Talk.
    pub(crate) stderr: String,
}

impl Session {
    /// A folder with the scenario `s.toml`, `edit`ed, and its profile.
    pub(crate) fn new(edit: impl Fn(String) -> String) -> Self {
        let session = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        session.write("s.toml", &edit(SCENARIO.to_owned()));
        session.write("profile.json", PROFILE);
        session
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A file in the folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("the folder is ours");
    }

    /// The text of a file in the folder.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The names of all files in the folder, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder is ours");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs `statmux` with these arguments, separated by spaces.
    pub(crate) fn run(&self, args: &str) -> Ran {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_statmux"))
            .args(args.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .expect("the binary runs");
        Ran {
            code: output.status.code().expect("not killed"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Runs `args` and expects exit code 2, `expected` on stderr and nothing on stdout.
    pub(crate) fn refuses(&self, args: &str, expected: &[&str]) {
        let ran = self.run(args);
        assert_eq!(ran.code, 2, "{args}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args}");
        for part in expected {
            assert!(ran.stderr.contains(part), "{args}: expected `{part}` in: {}", ran.stderr);
        }
    }

    /// Runs and expects success; the JSON on stdout.
    pub(crate) fn json(&self, args: &str) -> serde_json::Value {
        let ran = self.run(&format!("{args} --format json"));
        assert_eq!(ran.code, 0, "{args}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{args}: {error}: {}", ran.stdout))
    }
}
