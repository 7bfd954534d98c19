//! The `[planner]` table: what is read, and what is refused in which words.

use statmux_core::files::{FileError, parse_toml};
use statmux_plan::PlannerTable;
use std::path::Path;

fn built(text: &str, names: &[&str]) -> Result<Vec<&'static str>, FileError> {
    let path = Path::new("s.toml");
    let table: PlannerTable = parse_toml(path, text)?;
    let built = if names.is_empty() { vec![table.build(path)?] } else { table.build_each(path, names)? };
    Ok(built.iter().map(|policy| policy.name()).collect())
}

#[track_caller]
fn refused(text: &str, names: &[&str], expected: &str) {
    let error = built(text, names).map(|names| names.join(", ")).expect_err("it is wrong").to_string();
    assert_eq!(error, expected);
}

#[test]
fn policies_are_built_from_their_keys() {
    assert_eq!(built("", &[]).expect("the default"), ["statmux"]);
    assert_eq!(built("policy = 'greedy-k'\ngroup_size = 8", &[]).expect("sound"), ["greedy-k"]);
    assert_eq!(built("policy = 'clockwork++'\ninterval = '1 h'", &[]).expect("sound"), ["clockwork++"]);
    assert_eq!(built("policy = 'equal'\nop = 2\npp = 8", &[]).expect("sound"), ["equal"]);
    // Compared policies take what they use of the table's keys.
    let names = ["clockwork++", "greedy-k"];
    assert_eq!(built("policy = 'alpaserve'\nmax_pp = 4\ninterval = '60 s'", &names).expect("sound"), names);
}

#[test]
fn keys_that_nothing_uses_are_told() {
    let unused = |text: &str, names: &[&str]| {
        let table: PlannerTable = parse_toml(Path::new("s.toml"), text).expect("sound");
        table.unused(names)
    };
    let own = unused("policy = 'alpaserve'\ninterval = '60 s'\nmax_pp = 4", &[]);
    assert_eq!(own, [("interval", vec!["clockwork++"])]);
    assert_eq!(unused("group_size = 4", &["alpaserve", "equal"]), [("group_size", vec!["greedy-k"])]);
    // A key of one of the compared policies, or of the table's own, has its use.
    assert_eq!(unused("policy = 'alpaserve'\nmax_pp = 4\ninterval = '60 s'", &["clockwork++", "round-robin"]), []);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    refused("policy = 'greedy-k'\ngroup_size = 0", &[], "s.toml: planner.group_size is 0: it must be positive");
    let error = built("policy = 'alpaserv'", &[]).expect_err("unknown").to_string();
    assert!(error.contains("unknown policy `alpaserv`") && error.contains("did you mean `alpaserve`?"), "{error}");
    let error = built("polcy = 'alpaserve'", &[]).expect_err("unknown").to_string();
    assert!(error.contains("s.toml:1: unknown key `polcy`"), "{error}");
}
