//! One bound everywhere, more devices never worse, and nobody forgotten: what the numbers of several commands promise.

mod common;

use common::Session;
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number: {value}"))
}

/// A scenario with a train window, less memory than models, and one model that no device is fast enough for.
fn mixed() -> Session {
    Session::new(|text| {
        let more = "\n[[models]]\nname = \"hasty\"\nprofile = \"small\"\nslo = { latency = \"20 ms\" }\n\n[workload]";
        text.replace("count = 4", "count = 6").replace("\n[workload]", more)
    })
}

#[test]
fn every_command_reports_the_same_bound() {
    let session = mixed();
    let planned = session.json("plan s.toml -o p.json");
    let bound = number(&planned["bound"]);
    let compared = session.json("compare s.toml --policies alpaserve,clockwork++");
    let explained = session.json("explain s.toml --placement p.json");
    let swept = session.json("sweep s.toml --over cluster.devices=4 --policies alpaserve --out grid");
    for other in [&compared["bound"], &explained["bound"], &swept["cells"][0]["bound"]] {
        assert_eq!(number(other), bound);
    }
    for of in [&compared["bound_of"], &explained["bound_of"]] {
        assert_eq!(of, &planned["bound_of"]);
    }
    // What replaces models for free is held to a bound of its own.
    let replacing = session.json("plan s.toml --policy clockwork++");
    assert_eq!(replacing["bound"], compared["bound_replacing"]);
    assert!(number(&replacing["bound"]) >= bound && replacing["bound_of"] != planned["bound_of"]);
}

#[test]
fn size_says_the_least_number_of_devices_for_which_the_bound_of_plan_reaches_the_target() {
    let session = mixed();
    let bounds: Vec<f64> = (1..=8)
        .map(|devices| number(&session.json(&format!("plan s.toml --set cluster.devices={devices}"))["bound"]))
        .collect();
    assert!(bounds.is_sorted(), "{bounds:?}");
    for target in [0.3, 0.5, 0.7, 0.8, bounds[2], bounds[3]] {
        let ran = session.run(&format!("size s.toml --target {target} --draws 0 --format json --policies alpaserve"));
        let sized: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let first = bounds.iter().position(|&bound| bound >= target).map(|position| position as u64 + 1);
        assert_eq!(sized["bound"].as_u64(), first, "{target} of {bounds:?}: {sized}");
    }
}

#[test]
fn more_devices_never_do_worse_on_what_was_planned_for() {
    let session = mixed();
    let attained = |devices: u32| {
        let planned = session
            .json(&format!("plan s.toml --policy statmux --set planner.moves=24 --set cluster.devices={devices}"));
        number(&planned["train"]["slo_attainment"])
    };
    let alone: Vec<f64> = (1..=9).map(attained).collect();
    assert!(alone.is_sorted(), "{alone:?}");
    let sweep = "sweep s.toml --over cluster.devices=9,2,5,7,3,8 --policies statmux --set planner.moves=8 --out grid";
    let cells = session.json(sweep)["cells"].as_array().expect("a list").clone();
    let mut swept: Vec<(u64, f64)> = cells
        .iter()
        .map(|cell| {
            let devices = cell["at"][0][1].as_str().and_then(|text| text.parse().ok()).expect("a number of devices");
            (devices, number(&cell["train_slo_attainment"]))
        })
        .collect();
    swept.sort_by_key(|&(devices, _)| devices);
    assert!(swept.is_sorted_by(|fewer, more| fewer.1 <= more.1), "{swept:?}");
}

#[test]
fn whom_nobody_serves_is_named_with_the_reason() {
    let check = |edit: &dyn Fn(String) -> String, expected: &str| {
        let session = Session::new(edit);
        let planned = session.json("plan s.toml -o p.json");
        let unserved = planned["test"]["unserved"].as_array().expect("a list").clone();
        let reasons: Vec<&str> = unserved.iter().filter_map(|model| model["reason"].as_str()).collect();
        assert!(reasons.contains(&expected), "{expected}: {unserved:?}");
        let model = unserved.iter().find(|model| model["reason"] == expected).expect("it is there");
        let name = model["name"].as_str().expect("a name");
        let simulated = session.json("simulate s.toml --placement p.json");
        assert!(simulated["unserved"].as_array().expect("a list").iter().any(|known| known == model));
        assert_eq!(number(&simulated["worst_model"]["slo_attainment"]), 0.0);
        for command in ["plan s.toml", "simulate s.toml --placement p.json", "compare s.toml --policies alpaserve"] {
            let told = session.run(command).stdout;
            assert!(told.contains("Worst model: ") && told.contains(&format!("  {name} (")), "{command}: {told}");
            assert!(told.contains(&format!("{expected}: ")), "{command}: {told}");
        }
    };
    check(&|text| text.replace("scale = 5.0", "latency = \"20 ms\""), "deadline");
    check(&|text| text.replace("13 GiB", "1 GiB"), "memory");
    check(&|text| text.replace("count = 4", "count = 40").replace("rate = 20.0", "rate = 90.0"), "policy");
    let profile = r#"{"version": 1, "models": {"small": {"configs": [
        {"op": 4, "pp": 2, "stage_latency_s": {"1": [0.1, 0.1]}, "stage_weight_bytes": [1, 1]}]}}}"#;
    let wide = Session::new(|text| text.replace("scale = 5.0", "latency = \"1 s\""));
    wide.write("profile.json", profile);
    let planned = wide.json("plan s.toml");
    assert_eq!(planned["test"]["unserved"][0]["reason"], "no_profile", "{planned}");
    assert_eq!(number(&planned["bound"]), 0.0);
}

#[test]
fn the_floor_of_each_model_decides_the_exit_code() {
    let session = mixed();
    let easy = Session::new(|text| text.replace("rate = 20.0", "rate = 0.2"));
    let plan = easy.run("plan s.toml -o p.json --each 95%");
    assert_eq!((plan.code, plan.stdout.contains("Every model reaches the floor of 95")), (0, true), "{}", plan.stdout);
    assert_eq!(easy.run("simulate s.toml --placement p.json --each 0.95").code, 0);
    let missed = session.run("plan s.toml -o p.json --each 95%");
    assert_eq!(missed.code, 3, "{}", missed.stderr);
    assert!(missed.stdout.contains("below the floor of 95") && missed.stdout.contains("hasty"), "{}", missed.stdout);
    assert_eq!(session.run("simulate s.toml --placement p.json --each 95%").code, 3);
    assert_eq!(session.run("simulate s.toml --placement p.json").code, 0);
    let judged = session.run("simulate s.toml --placement p.json --set planner.floor=95% --format json");
    let results: Value = serde_json::from_str(&judged.stdout).expect("JSON");
    assert_eq!((judged.code, &results["floor"]["reached"]), (3, &Value::Bool(false)));
    assert!(results["floor"]["below"].as_array().expect("a list").contains(&Value::from("hasty")));
    for wrong in ["--each 0", "--each 101%", "--each many"] {
        assert_eq!(session.run(&format!("plan s.toml {wrong}")).code, 2, "{wrong}");
    }
    session.refuses("plan s.toml --set planner.floor=2", &["planner.floor"]);
}
