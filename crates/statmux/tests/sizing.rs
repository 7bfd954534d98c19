//! `statmux size`: its answers hold, its reasons are true, and it says what it does.

mod common;

use common::Session;
use serde_json::Value;

fn answer(sized: &Value) -> u64 {
    sized["answer"]["value"].as_u64().unwrap_or_else(|| panic!("whole devices: {sized}"))
}

#[test]
fn the_size_found_holds_and_the_next_smaller_does_not() {
    let session = Session::new(|text| text);
    let sized = session.json("size s.toml --target 95% --policies alpaserve --draws 0");
    let devices = answer(&sized);
    assert_eq!(sized["policies"][0]["on_this_traffic"], devices);
    assert!(sized["bound"].as_u64() <= Some(devices));
    let attained = |devices: u64| {
        let planned = session.json(&format!("plan s.toml --policy alpaserve --set cluster.devices={devices}"));
        planned["test"]["slo_attainment"].as_f64().expect("a number")
    };
    assert!(attained(devices) >= 0.95 && attained(devices - 1) < 0.95, "{devices}");
    let out_of_reach = session.run("size s.toml --target 100% --policies selective-replication --most-devices 1");
    assert_eq!(out_of_reach.code, 3, "{}", out_of_reach.stderr);
}

#[test]
fn the_other_axes_stay_within_the_bound() {
    let session = Session::new(|text| text);
    for axis in ["rate", "cv", "slo"] {
        let sized = session.json(&format!("size s.toml --target 50% --axis {axis} --policies alpaserve --draws 4"));
        let (value, bound) = (&sized["answer"]["value"], &sized["bound"]);
        let (value, bound) = (value.as_f64().expect("it is reached"), bound.as_f64().expect("it is reached"));
        assert!(if axis == "slo" { bound <= value } else { bound >= value }, "{axis}: {bound} and {value}");
    }
}

#[test]
fn the_answer_is_kept_on_draws_and_its_plan_is_written() {
    let session = Session::new(|text| text);
    let sized = session.json("size s.toml --target 95% --policies alpaserve --draws 20 --confidence 90% -o p.json");
    let devices = answer(&sized);
    let tried = sized["policies"][0]["tried"].as_array().expect("a list");
    let at = |devices: u64| tried.iter().find(|tried| tried["value"] == devices);
    let kept = at(devices).expect("it was tried")["draws"]["kept"].as_u64().expect("a number");
    assert!((18..=20).contains(&kept), "{sized}");
    assert!(
        at(devices - 1).is_none_or(|tried| tried["draws"]["kept"].as_u64().is_none_or(|kept| kept < 18)),
        "{sized}"
    );
    let risk = sized["answer"]["risk_at_most"].as_f64().expect("a number");
    assert!(risk > 0.0 && risk < 0.35, "{risk}");
    let simulated = session.json(&format!("simulate s.toml --set cluster.devices={devices} --placement p.json"));
    assert_eq!(simulated["slo_attainment"], at(devices).expect("it was tried")["attainment"]);
    // The same question has the same answer.
    let again = session.json("size s.toml --target 95% --policies alpaserve --draws 20 --confidence 90% -o q.json");
    assert_eq!(again["answer"]["value"], devices);
    assert_eq!(session.read("p.json"), session.read("q.json"));
}

#[test]
fn a_record_is_drawn_in_blocks() {
    let session = Session::new(|scenario| {
        let from = scenario.find("[workload]").expect("there");
        let to = scenario.find("[simulation]").expect("there");
        scenario.replace(&scenario[from..to], "[workload]\nkind = \"requests\"\nfile = \"r.csv\"\n\n")
    });
    let rows: String = (0..600).map(|n| format!("{:.3},m{}\n", f64::from(n) * 0.1, n * n % 4)).collect();
    session.write("r.csv", &format!("arrival_s,model\n{rows}"));
    let size = "size s.toml --target 95% --policies alpaserve --draws 8";
    let sized = session.json(size);
    assert_eq!(sized["draws"]["of"], "blocks of the record");
    assert!((sized["draws"]["block_s"].as_f64().expect("a number") - 2.5).abs() < 3.0, "{sized}");
    let sized = session.json(&format!("{size} --block 7s"));
    assert_eq!(sized["draws"]["block_s"], 7.0);
    session.refuses(&format!("{size} --block 2h"), &["s.toml", "block", "help:"]);
    session.refuses(&format!("{size} --block 0s"), &["s.toml", "block"]);
}

/// Runs until `expected` is said of policies that reach the target with no number of devices.
fn ceiling(edit: impl Fn(String) -> String, policies: &str, expected: &[&str]) {
    let session = Session::new(edit);
    let ran = session.run(&format!("size s.toml --target 99% --policies {policies}"));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    for part in expected {
        assert!(ran.stdout.contains(part), "expected `{part}` in: {}", ran.stdout);
    }
    assert!(!ran.stderr.contains("1,024") && !ran.stderr.contains("1024"), "{}", ran.stderr);
}

#[test]
fn what_no_number_of_devices_reaches_is_not_tried_on_a_thousand() {
    // No configuration is fast enough for two of the four models.
    let tight = |text: String| {
        let model = "[[models]]\nname = \"m{i}\"\ncount = 4\nprofile = \"small\"\nslo = { scale = 5.0 }\n";
        assert!(text.contains(model));
        let models = "[[models]]\nname = \"m{i}\"\ncount = 2\nprofile = \"small\"\nslo = { scale = 5.0 }\n\n\
                      [[models]]\nname = \"t{i}\"\ncount = 2\nprofile = \"small\"\nslo = { latency = \"40 ms\" }\n";
        text.replace(model, models)
    };
    let no = "no number of devices reaches 99";
    ceiling(tight, "alpaserve,selective-replication", &[no, "t0", "its deadline of 40", "fastest configuration"]);
    // Fast enough only when split over devices, which one of the policies never does.
    let split = |text: String| tight(text).replace("40 ms", "85 ms");
    ceiling(split, "selective-replication", &[no, "it stays at", "t0", "on one device"]);
}

#[test]
fn it_says_what_it_tries_and_quiet_says_nothing() {
    let session = Session::new(|text| text);
    let size = "size s.toml --target 95% --policies alpaserve --draws 3";
    let ran = session.run(size);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for said in ["the bound", "alpaserve, ", "devices: planning", "% in time", "draws"] {
        assert!(ran.stderr.contains(said), "expected `{said}` in: {}", ran.stderr);
    }
    for shown in ["kept on draws", "worst draw", "bound", "risk", "can do with fewer than"] {
        assert!(ran.stdout.contains(shown), "expected `{shown}` in: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains('±'));
    assert_eq!(session.run(&format!("{size} -q")).stderr, "");
}
