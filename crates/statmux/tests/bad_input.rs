//! Bad input: one clear message, exit code 2, nothing half-written.

mod common;

use common::{PROFILE, Session};

/// Runs `args` on the scenario with `from` replaced by `to`, and expects exit code 2 and `expected` on stderr.
fn check(args: &str, from: &str, to: &str, expected: &[&str]) {
    let session = Session::new(|text| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    let before = session.files();
    let ran = session.run(args);
    assert_eq!(ran.code, 2, "{to}: {}", ran.stderr);
    for part in expected {
        assert!(ran.stderr.contains(part), "{to}: expected `{part}` in: {}", ran.stderr);
    }
    assert_eq!(ran.stdout, "", "{to}");
    assert_eq!(session.files(), before, "{to}");
}

#[test]
fn wrong_scenarios_say_where_and_what() {
    let plan = "plan s.toml -o p.json";
    check(plan, "devices = 4", "device = 4", &["s.toml:5", "unknown key `device`", "devices"]);
    check(plan, "devices = 4", "devices = 0", &["cluster.devices", "is 0"]);
    check(plan, "devices = 4", "devices = -4", &["s.toml:5"]);
    check(plan, "\"13 GiB\"", "13", &["s.toml:6", "13 GiB"]);
    check(plan, "\"13 GiB\"", "\"13 bananas\"", &["s.toml:6", "13 bananas"]);
    check(plan, "profile.json", "profil.json", &["profil.json", "cannot read"]);
    check(plan, "\"small\"", "\"smal\"", &["models[0].profile", "unknown profile `smal`", "small"]);
    check(plan, "m{i}", "m", &["has no {i}"]);
    check(plan, "scale = 5.0", "scale = -5.0", &["not positive"]);
    check(plan, "scale = 5.0", "scale = nan", &["not positive"]);
    check(plan, "version = 1", "version = 2", &["version", "reads version 1"]);
    check(plan, "least-clock", "last-clock", &["simulation.dispatch", "last-clock", "least-clock"]);
    check(plan, "\"alpaserve\"", "\"alpaserv\"", &["alpaserv", "alpaserve"]);
    check(plan, "rate = 20.0", "rate = nan", &["rate"]);
    check(plan, "rate = 20.0", "rate = -1.0", &["rate"]);
    check(plan, "rate = 20.0", "rate = 0.0", &["rate"]);
    check(plan, "cv = 3.0", "cw = 3.0", &["cw", "cv"]);
    check(plan, "duration = \"60 s\"", "duration = \"0 s\"", &["duration"]);
    check(plan, "\"gamma\"", "\"gama\"", &["gama", "gamma"]);
    check(plan, "version = 1", "version = = 1", &["s.toml:1"]);
    check("plan s.toml --set cluster.devices=x", "seed = 3", "seed = 4", &["cluster.devices"]);
    check("sweep s.toml --over cluster.devises=1,2 --policies alpaserve", "seed = 3", "seed = 4", &["cluster.devises"]);
    check("compare s.toml --policies alpaserve,nobody", "seed = 3", "seed = 4", &["nobody"]);
    check("size s.toml --target 101%", "seed = 3", "seed = 4", &["--target", "at most at 1"]);
    check(
        "size s.toml --target 99% --axis cv",
        "\"gamma\"\nrate = 20.0\ncv = 3.0",
        "\"poisson\"\nrate = 20.0",
        &["workload.cv"],
    );
    check("plan nowhere.toml", "seed = 3", "seed = 4", &["nowhere.toml", "cannot read"]);
    check("frobnicate s.toml", "seed = 3", "seed = 4", &["frobnicate"]);
}

#[test]
fn wrong_request_files_name_the_row() {
    let requests = |text: &str, expected: &[&str]| {
        let session = Session::new(|scenario| {
            let from = scenario.find("[workload]").expect("there");
            let to = scenario.find("[simulation]").expect("there");
            scenario.replace(&scenario[from..to], "[workload]\nkind = \"requests\"\nfile = \"r.csv\"\n\n")
        });
        session.write("r.csv", text);
        let ran = session.run("plan s.toml");
        assert_eq!(ran.code, 2, "{text}: {}", ran.stderr);
        for part in expected {
            assert!(ran.stderr.contains(part), "{text}: expected `{part}` in: {}", ran.stderr);
        }
    };
    requests("arrival_s,model\n2.0,m0\n1.0,m1\n", &["r.csv", "3"]);
    requests("arrival_s,model\n-2.0,m0\n", &["r.csv", "2", "-2"]);
    requests("arrival_s,model\nNaN,m0\n", &["r.csv", "2"]);
    requests("arrival_s,model\n1.0,m9\n", &["r.csv", "2", "m9"]);
    requests("arrival_s,modell\n1.0,m0\n", &["r.csv", "modell", "model"]);
    requests("arrival_s,model\n1.0\n", &["r.csv", "2"]);
    requests("arrival_s,model\n", &["r.csv", "no request"]);
    requests("", &["r.csv"]);
}

#[test]
fn impossible_placements_say_which_group_and_by_how_much() {
    let session = Session::new(|text| text);
    let placement = |groups: &str, expected: &[&str]| {
        session.write(
            "p.json",
            &format!("{{\"version\": 1, \"windows\": [{{\"start_s\": 0.0, \"groups\": [{groups}]}}]}}"),
        );
        let ran = session.run("simulate s.toml --placement p.json --requests-out r.csv");
        assert_eq!(ran.code, 2, "{groups}: {}", ran.stderr);
        for part in expected {
            assert!(ran.stderr.contains(part), "{groups}: expected `{part}` in: {}", ran.stderr);
        }
        assert!(!session.files().contains(&"r.csv".to_owned()));
    };
    placement(r#"{"op": 1, "pp": 1, "models": ["m0", "m1", "m2"]}"#, &["group 0", "GiB too little"]);
    placement(r#"{"op": 1, "pp": 3, "models": ["m0"]}"#, &["group 0", "no measurement for op 1 x pp 3"]);
    placement(r#"{"op": 1, "pp": 1, "models": ["x0"]}"#, &["unknown model `x0`"]);
    placement(r#"{"devices": [7], "op": 1, "pp": 1, "models": ["m0"]}"#, &["device 7", "4 devices"]);
    let twice = r#"{"devices": [1], "op": 1, "pp": 1, "models": []}, {"devices": [1], "op": 1, "pp": 1, "models": []}"#;
    placement(twice, &["device 1 is used by group 0 and again by group 1"]);
    placement(r#"{"devices": [0, 1], "op": 1, "pp": 1, "models": []}"#, &["needs 1 devices but lists 2"]);
    placement(r#"{"op": 1, "pp": 1, "modells": []}"#, &["modells", "models"]);
    placement(r#"{"op": 1, "pp": 1, "models": []"#, &["p.json"]);
}

#[test]
fn wrong_profiles_name_the_field() {
    let session = Session::new(|text| text);
    session.write("profile.json", &PROFILE.replace("[0.1]", "[0.1, 0.1]"));
    let ran = session.run("plan s.toml");
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("profile.json: models[\"small\"].configs[0].stage_latency_s has 2 numbers for 1 stages")
    );
}
