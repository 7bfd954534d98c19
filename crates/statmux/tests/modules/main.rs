//! No modules of a crate name each other in a circle: each can be read before those that build on it.

mod graph;
mod source;
mod tokens;

use graph::Graph;
use std::path::Path;
use std::process::Command;

#[test]
fn no_modules_name_each_other_in_a_circle() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let targets = packages.iter().flat_map(|package| package["targets"].as_array().expect("a list"));
    let roots: Vec<&str> = targets.map(|target| target["src_path"].as_str().expect("a path")).collect();
    assert!(roots.len() >= 10, "every crate has a root");
    let mut found = String::new();
    for root in roots {
        for circle in Graph::read(Path::new(root)).circles() {
            found.push_str(&format!("{root}, {circle}\n"));
        }
    }
    assert!(found.is_empty(), "modules name each other in a circle:\n{found}");
}
