//! The crates depend on each other as ARCHITECTURE.md draws it, and not otherwise.

use std::collections::BTreeSet;
use std::process::Command;

/// Crate, what it may depend on, what its tests may add.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("core", &[], &[]),
    ("sched", &["core"], &[]),
    ("workload", &["core"], &[]),
    ("report", &["core"], &[]),
    ("candle", &["core"], &["serve"]),
    ("sim", &["core", "sched"], &["workload"]),
    ("plan", &["core", "sched", "sim"], &["workload"]),
    ("serve", &["core", "sched"], &["sim", "workload"]),
    ("scenario", &["core", "sched", "workload", "sim", "plan"], &[]),
    ("figures", &["core", "sched", "sim", "plan", "workload", "scenario", "report"], &[]),
];

#[test]
fn crates_depend_on_each_other_as_drawn() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let mut seen = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().expect("packages have names");
        let Some(short) = name.strip_prefix("statmux-") else { continue };
        let (_, normal, tests) = ARROWS
            .iter()
            .find(|(known, _, _)| *known == short)
            .unwrap_or_else(|| panic!("{name} is not in the drawing"));
        seen.insert(short.to_owned());
        for dependency in package["dependencies"].as_array().expect("a list") {
            let Some(on) = dependency["name"].as_str().and_then(|name| name.strip_prefix("statmux-")) else { continue };
            let allowed = normal.contains(&on) || (dependency["kind"] == "dev" && tests.contains(&on));
            assert!(allowed, "{short} depends on {on}, which ARCHITECTURE.md does not draw");
        }
    }
    for required in ["core", "sched", "workload", "sim", "plan", "scenario", "report", "figures"] {
        assert!(seen.contains(required), "{required} is missing");
    }
}
