//! Commands as users type them: what they print, what they write, how they end.

mod common;

use common::Session;

#[test]
fn a_plan_is_written_and_simulates_as_planned() {
    let session = Session::new(|text| text);
    let planned = session.json("plan s.toml -o p.json");
    let simulated = session.json("simulate s.toml --placement p.json --requests-out r.csv");
    assert_eq!(planned["test"]["slo_attainment"], simulated["slo_attainment"]);
    assert_eq!(planned["train"]["requests"], simulated["requests"]);
    assert!(planned["bound"].as_f64() >= simulated["slo_attainment"].as_f64());
    assert_eq!(planned["trained_on"], "test window");
    let requests = simulated["requests"].as_u64().expect("a number");
    let by_outcome = ["served_in_slo", "served_late", "rejected"].map(|key| simulated[key].as_u64().expect("a number"));
    assert_eq!(by_outcome.iter().sum::<u64>(), requests);
    let rows = session.read("r.csv");
    assert_eq!(rows.lines().count() as u64, requests + 1);
    assert_eq!(rows.lines().next(), Some("request,model,arrival_s,group,start_s,finish_s,outcome"));
    let in_slo = rows.lines().filter(|row| row.ends_with(",in_slo")).count() as u64;
    assert_eq!(in_slo, by_outcome[0]);
    assert!(session.run("plan s.toml").stdout.contains("optimistic"));
}

#[test]
fn a_plan_keeps_its_scheduling_options_in_its_file() {
    let session = Session::new(|text| text.replace("policy = \"alpaserve\"", "policy = \"statmux\"\nmoves = 16"));
    let planned = session.json("plan s.toml -o p.json");
    assert!(planned["gap"].as_f64().expect("a number") >= 0.0);
    assert_eq!(planned["placement"]["scheduling"]["dispatch"], "late-binding");
    let simulated = session.json("simulate s.toml --placement p.json");
    assert_eq!(planned["test"]["slo_attainment"], simulated["slo_attainment"]);
    // Without the key, the scenario's own options hold.
    let file: serde_json::Value = serde_json::from_str(&session.read("p.json")).expect("JSON");
    let mut bare = file;
    bare.as_object_mut().expect("an object").remove("scheduling");
    session.write("bare.json", &bare.to_string());
    let bare = session.json("simulate s.toml --placement bare.json");
    assert_ne!(bare["latency_s"], simulated["latency_s"]);
}

#[test]
fn a_budget_is_a_time_or_a_number_of_simulations() {
    let plan = |budget: &str, policy: &str, arguments: &str| {
        let planner = format!("policy = \"{policy}\"\nbudget = {budget}");
        let session = Session::new(|text| text.replace("policy = \"alpaserve\"", &planner));
        session.run(&format!("plan s.toml {arguments}")).code
    };
    assert_eq!(plan("\"50 ms\"", "statmux", ""), 0);
    assert_eq!(plan("\"50 h\"", "statmux", "--budget 50ms"), 0);
    assert_eq!(plan("20", "selective-replication-beam", ""), 0);
    assert_eq!(plan("0", "selective-replication-beam", ""), 2);
    assert_eq!(plan("-1", "statmux", ""), 2);
    assert_eq!(plan("\"soon\"", "statmux", ""), 2);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let session = Session::new(|text| text);
    let run = |seed: u32, name: &str| {
        assert_eq!(session.run(&format!("plan s.toml -o {name} --seed {seed}")).code, 0);
        session.run(&format!("simulate s.toml --placement {name} --requests-out {name}.csv --seed {seed}"));
        (session.read(name), session.read(&format!("{name}.csv")))
    };
    assert_eq!(run(7, "a"), run(7, "b"));
    assert_ne!(run(7, "c").1, run(8, "d").1);
}

#[test]
fn policies_are_compared_on_the_test_window() {
    let session = Session::new(|text| text.replace("[simulation]", "[workload.train]\nseed = 9\n\n[simulation]"));
    let compared = session.json("compare s.toml --policies alpaserve,selective-replication,clockwork++");
    let policies = compared["policies"].as_array().expect("a list");
    assert_eq!(policies.len(), 3);
    assert_eq!(policies[0]["trained_on"], "train window");
    assert_eq!(policies[2]["trained_on"], "test window (clairvoyant policy)");
    assert_eq!(policies[0]["test"]["requests"], policies[2]["test"]["requests"]);
}

#[test]
fn a_sweep_takes_up_finished_cells() {
    let session = Session::new(|text| text);
    let sweep = "sweep s.toml --over cluster.devices=2,4 --policies selective-replication,alpaserve --out grid";
    let first = session.json(sweep);
    assert_eq!(first["cells"].as_array().expect("a list").len(), 4);
    assert_eq!(first["unfinished"], 0);
    let table = session.read("grid/sweep.csv");
    let again = session.json(sweep);
    // Finished cells come back as they were, wall-clock times included.
    assert_eq!(first, again);
    assert_eq!(table, session.read("grid/sweep.csv"));
    assert!(session.read("grid/sweep.svg").starts_with("<svg"));
}

#[test]
fn policies_lists_what_a_scenario_can_name() {
    let session = Session::new(|text| text);
    let listed = session.run("policies").stdout;
    for name in ["alpaserve", "clockwork++", "least-clock", "late-binding", "edf", "deadline"] {
        assert!(listed.lines().any(|line| line.contains(name)), "{name}");
    }
}

#[test]
fn every_miss_is_explained_and_every_change_is_tried() {
    let session = Session::new(|text| text);
    let planned = session.json("plan s.toml -o p.json");
    let explained = session.json("explain s.toml --placement p.json");
    let missed = explained["missed"].as_u64().expect("a number");
    assert_eq!(explained["slo_attainment"], planned["test"]["slo_attainment"]);
    let sum = |list: &serde_json::Value, key: &str| -> u64 {
        list.as_array().expect("a list").iter().map(|entry| entry[key].as_u64().expect("a number")).sum()
    };
    assert_eq!((sum(&explained["causes"], "requests"), sum(&explained["models"], "missed")), (missed, missed));
    assert!(explained["remedies"].as_array().expect("a list").iter().all(|r| r["missed"].as_u64() < Some(missed)));
    // What is said of a lost group is what a run without one of its devices shows.
    let loss = &explained["losses"][0];
    let device = loss["devices"][0].as_u64().expect("a number");
    let without = session.json(&format!("simulate s.toml --placement p.json --without {device}"));
    let left = without["served_late"].as_u64().expect("a number") + without["rejected"].as_u64().expect("a number");
    assert_eq!(loss["missed"], left);
    assert_eq!(session.run("simulate s.toml --placement p.json --without 4").code, 2);
}

#[test]
fn figures_are_made_by_name_and_taken_up_again() {
    let session = Session::new(|text| text);
    let listed = session.json("figures --list");
    assert!(listed["figures"].as_array().expect("a list").len() > 20);
    let first = session.json("figures paper8 paper10 --quick --out made");
    assert_eq!(first["figures"].as_array().expect("a list").len(), 2);
    assert!(session.read("made/paper10.svg").starts_with("<svg"));
    assert!(session.read("made/index.html").contains("paper8"));
    assert_eq!(first, session.json("figures paper8 paper10 --quick --out made"));
    let unknown = session.run("figures fig99");
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("fig9"), "{}", unknown.stderr);
    assert_eq!(session.run("figures paper8 --trace maf9=. --out made").code, 2);
    assert_eq!(session.run("figures paper8 --trace maf1 --out made").code, 2);
    assert_eq!(session.run("figures paper8 --trace maf1=made/scenarios --out made").code, 2);
}
